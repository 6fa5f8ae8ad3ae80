//! PUBACK and PUBREC leave in the order of their messages [MQTT5-4.6.0-2] [MQTT5-4.6.0-3].

use std::collections::BTreeMap;

use super::Found;
use super::view::View;
use crate::history::{Fact, Step};

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut places = BTreeMap::new();
    let mut last = BTreeMap::new();
    for (place, at) in view.history.facts.iter().enumerate() {
        match &at.fact {
            Fact::Published { conn, message, .. } => _ = places.insert((*conn, *message), place),
            Fact::Acknowledged {
                client,
                conn,
                message,
                step,
                ..
            } if *step != Step::PubComp => {
                let Some(place) = places.get(&(*conn, *message)) else {
                    found.of_message(
                        *message,
                        *client,
                        format!("{step:?} of m{message}, which was not sent"),
                    );
                    continue;
                };
                let before = last.insert((*conn, *step == Step::PubAck), *place);
                if before.is_some_and(|before| before > *place) {
                    found.of_message(
                        *message,
                        *client,
                        format!("{step:?} of m{message} came out of turn"),
                    );
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
    fn finds_an_acknowledgement_out_of_turn() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        let first = hand.publish(Qos::AtLeastOnce);
        let second = hand.publish(Qos::AtLeastOnce);
        hand.acknowledge(second);
        assert!(hand.found_by("acks").is_empty());
        hand.acknowledge(first);
        assert_eq!(hand.found_by("acks"), [first]);
    }
}
