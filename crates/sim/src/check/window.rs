//! No client has more unfinished messages than it takes, or than we allow [MQTT5-3.3.4-9]. That we keep to what we
//! allow ourselves shows in that no client is accused.

use std::collections::{BTreeMap, BTreeSet};

use martlet_codec::Qos;

use super::Found;
use super::view::View;
use crate::history::Fact;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut open: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
    for at in &view.history.facts {
        match &at.fact {
            Fact::Received {
                client,
                conn,
                message,
                qos,
                id,
                ..
            } if *qos > Qos::AtMostOnce => {
                let open = open.entry(*conn).or_default();
                open.insert(*id);
                let asked = view.conns.get(conn).map_or(u16::MAX, |conn| conn.window);
                let window = usize::from(asked.min(view.history.inflight_max));
                if open.len() > window {
                    let what = format!("{} messages under way, {window} allowed", open.len());
                    found.of_message(*message, *client, what);
                }
            }
            Fact::Finished { conn, id, .. } => {
                if let Some(open) = open.get_mut(conn) {
                    open.remove(id);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_one_too_many() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        hand.history.inflight_max = 2;
        let messages: Vec<_> = (0..3)
            .map(|_| hand.publish_acknowledged(Qos::AtLeastOnce))
            .collect();
        hand.receive(messages[0], Qos::AtLeastOnce, false);
        hand.receive(messages[1], Qos::AtLeastOnce, false);
        assert!(hand.found_by("window").is_empty());
        hand.receive(messages[2], Qos::AtLeastOnce, false);
        assert_eq!(hand.found_by("window"), [messages[2]]);
    }

    #[test]
    fn one_that_is_finished_makes_room() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        hand.history.inflight_max = 1;
        for _ in 0..2 {
            let message = hand.publish_acknowledged(Qos::AtLeastOnce);
            hand.receive(message, Qos::AtLeastOnce, false);
            hand.finish(message);
        }
        assert!(hand.found_by("window").is_empty());
    }
}
