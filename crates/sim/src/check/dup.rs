//! A message that comes again under its identifier says DUP [MQTT5-3.3.1-1]. One that its publisher sent again may be
//! another, under the same identifier by chance.

use std::collections::BTreeMap;

use martlet_codec::Qos;

use super::Found;
use super::view::View;
use crate::history::Fact;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    // What is not finished: by session and identifier, the message and the connection that it came over.
    let mut open = BTreeMap::new();
    for at in &view.history.facts {
        match &at.fact {
            Fact::Received {
                client,
                conn,
                message,
                qos,
                dup,
                id,
                ..
            } if *qos > Qos::AtMostOnce => {
                let Some(epoch) = view.epoch(*conn) else { continue };
                let before = open.insert((epoch, *id), (*message, *conn));
                if let (Some((old, over)), false) = (before, *dup)
                    && old == *message
                    && over != *conn
                    && view.sent.get(message).is_none_or(|sent| sent.times == 1)
                {
                    found.of_message(*message, *client, format!("m{message} came again without DUP"));
                }
            }
            Fact::Finished { conn, id, .. } => {
                if let Some(epoch) = view.epoch(*conn) {
                    open.remove(&(epoch, *id));
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
    fn finds_a_resend_without_dup() {
        for (dup, expected) in [(true, 0), (false, 1)] {
            let mut hand = ByHand::pair(Qos::AtLeastOnce);
            let message = hand.publish_acknowledged(Qos::AtLeastOnce);
            hand.receive(message, Qos::AtLeastOnce, false);
            hand.reconnect_subscriber(true);
            hand.receive(message, Qos::AtLeastOnce, dup);
            assert_eq!(hand.found_by("dup").len(), expected);
        }
    }
}
