//! At the end all is at rest, and nothing is left when all have gone.

use super::Found;
use super::view::View;
use crate::history::Fact;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    for at in &view.history.facts {
        match &at.fact {
            Fact::Rested { is_quiet: false, why } => found.add(None, None, format!("no rest: {why}")),
            Fact::NotStarted { what } => found.add(None, None, format!("cannot start: {what}")),
            Fact::Emptied { rest } if !rest.is_empty() => {
                found.add(None, None, format!("left behind: {rest}"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use crate::history::Fact;
    use martlet_codec::Qos;

    #[test]
    fn finds_what_is_left() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        hand.history.note(Fact::Rested {
            is_quiet: false,
            why: "messages".to_owned(),
        });
        hand.history.note(Fact::Emptied {
            rest: "a session".to_owned(),
        });
        assert_eq!(hand.count_by("quiet"), 2);
    }
}
