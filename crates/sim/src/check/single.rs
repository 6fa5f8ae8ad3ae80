//! A client identifier has one connection at a time [MQTT5-3.1.4-3].

use std::collections::BTreeMap;

use super::Found;
use super::view::View;
use crate::history::Fact;

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut live = BTreeMap::new();
    for at in &view.history.facts {
        match &at.fact {
            Fact::BrokerAccepted { client, conn, .. } => {
                if let Some(old) = live.insert(*client, *conn) {
                    found.of_client(*client, format!("#{conn} was accepted while #{old} was there"));
                }
            }
            Fact::BrokerEnded {
                client: Some(client),
                conn,
                ..
            } if live.get(client) == Some(conn) => _ = live.remove(client),
            Fact::Crashed { .. } => live.clear(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_two_connections() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        assert_eq!(hand.count_by("single"), 0);
        hand.reconnect_subscriber(true);
        assert_eq!(hand.count_by("single"), 0);
        hand.accept_subscriber(true);
        assert_eq!(hand.count_by("single"), 1);
    }
}
