//! A session is there as long as it was promised, and not after Clean Start or a goodbye that ended it.

use std::collections::{BTreeMap, BTreeSet};

use martlet_session::NEVER;

use super::Found;
use super::view::View;
use crate::history::{ClientNo, Fact};

/// A session that a client was promised.
struct Promise {
    expiry_s: u32,
    /// When its connection ended; none: it did not.
    ended_ms: Option<u64>,
}

pub(super) fn check(view: &View<'_>, found: &mut Found) {
    let mut promises: BTreeMap<ClientNo, Promise> = BTreeMap::new();
    // Connections whose goodbye ends the session, and the clients of whom the broker has heard it.
    let mut ending = BTreeSet::new();
    let mut over: BTreeSet<ClientNo> = BTreeSet::new();
    for at in &view.history.facts {
        match &at.fact {
            Fact::Connecting {
                client, clean_start, ..
            } if *clean_start => _ = promises.remove(client),
            Fact::BrokerAccepted { client, conn, .. } => {
                let conn = &view.conns[conn];
                let (_, session_present) = conn.accepted.expect("it was accepted");
                let is_there = promises
                    .get(client)
                    .is_some_and(|promise| promise.holds_at(at.ms));
                if is_there && !session_present && !conn.clean_start {
                    found.of_client(*client, "its session is gone".to_owned());
                }
                if session_present && conn.clean_start {
                    found.of_client(*client, "its session is there in spite of Clean Start".to_owned());
                }
                if session_present && over.contains(client) {
                    found.of_client(*client, "its session is there although it ended it".to_owned());
                }
                over.remove(client);
                // A promise is what the client was told.
                match (conn.is_confirmed, promises.get_mut(client)) {
                    (true, _) => {
                        let promise = Promise {
                            expiry_s: conn.expiry_s,
                            ended_ms: None,
                        };
                        promises.insert(*client, promise);
                    }
                    (false, Some(promise)) => {
                        // A crash may forget that it was accepted, and then it counts as away all the time.
                        promise.expiry_s = promise.expiry_s.min(conn.expiry_s);
                    }
                    (false, None) => {}
                }
            }
            Fact::Leaving {
                client,
                conn,
                ends_session: true,
            } => {
                promises.remove(client);
                ending.insert(*conn);
            }
            Fact::BrokerEnded {
                client: Some(client),
                conn,
                by_goodbye,
                ..
            } => {
                if *by_goodbye && ending.contains(conn) {
                    over.insert(*client);
                }
                if let Some(promise) = promises.get_mut(client) {
                    promise.ended_ms.get_or_insert(at.ms);
                }
            }
            Fact::Crashed { keeps: false, .. } => promises.clear(),
            Fact::Crashed { keeps: true, .. } => {
                // A goodbye has no answer, so nobody was promised that its effect is durable.
                over.clear();
                for promise in promises.values_mut() {
                    promise.ended_ms.get_or_insert(at.ms);
                }
            }
            _ => {}
        }
    }
}

impl Promise {
    fn holds_at(&self, ms: u64) -> bool {
        match self.expiry_s {
            0 => false,
            NEVER => true,
            expiry_s => self
                .ended_ms
                .is_none_or(|ended_ms| ms < ended_ms + u64::from(expiry_s) * 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::by_hand::ByHand;
    use martlet_codec::Qos;

    #[test]
    fn finds_a_session_that_is_gone() {
        for (present, expected) in [(true, 0), (false, 1)] {
            let mut hand = ByHand::pair(Qos::AtLeastOnce);
            hand.reconnect_subscriber(present);
            assert_eq!(hand.count_by("sessions"), expected);
        }
    }

    #[test]
    fn finds_a_session_that_should_be_gone() {
        let mut hand = ByHand::pair(Qos::AtLeastOnce);
        hand.end_subscriber();
        hand.connect_subscriber(true);
        hand.accept_subscriber(true);
        assert_eq!(hand.count_by("sessions"), 1);
    }

    #[test]
    fn finds_a_session_that_its_client_ended() {
        for (hears, expected) in [(true, 1), (false, 0)] {
            let mut hand = ByHand::pair(Qos::AtLeastOnce);
            hand.end_subscriber_for_good(hears);
            hand.connect_subscriber(false);
            hand.accept_subscriber(true);
            assert_eq!(hand.count_by("sessions"), expected);
        }
    }
}
