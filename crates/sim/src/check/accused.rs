//! Clients that keep the rules are not closed for breaking them, and read nothing that breaks them.

use super::Found;
use super::view::View;
use crate::history::Fact;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    for at in &view.history.facts {
        match &at.fact {
            Fact::BrokerEnded {
                client,
                conn,
                accused: true,
                why,
                ..
            } => found.add(None, *client, format!("#{conn} was closed: {why}")),
            Fact::Nonsense { client, conn, what } => found.of_client(*client, format!("#{conn}: {what}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_an_accusation() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        assert_eq!(hand.count_by("accused"), 0);
        hand.accuse_subscriber();
        assert_eq!(hand.count_by("accused"), 1);
    }
}
