//! Sessions that have ended and may still be in the store.

use std::collections::BTreeSet;

use martlet_session::{Now, Ticket};

use super::Shard;
use super::keep::Passing;
use crate::connection::ClientId;
use crate::registry::{Keyed, keyed};
use crate::store::{Change, Durability};

/// Until the end of a session is durable its client identifier stays claimed by this shard, and a CONNACK that says
/// that there is no session waits. Else a crash could bring back what a client was told is gone. As many as there were
/// stored sessions, at most.
#[derive(Debug)]
pub(super) struct Lingering {
    clients: Keyed<ClientId, Vec<Ended>>,
    tickets: Keyed<Ticket, Vec<ClientId>>,
    /// Clients with an end that could not be stored.
    failed: BTreeSet<ClientId>,
}

/// The end of one session.
#[derive(Debug)]
struct Ended {
    number: u64,
    /// The batch that it is in; none: that one failed.
    ticket: Option<Ticket>,
}

/// Ends that are submitted again at a time.
const AGAIN_AT_ONCE: usize = 64;

impl Lingering {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            clients: keyed(seed),
            tickets: keyed(seed),
            failed: BTreeSet::new(),
        }
    }

    pub(super) fn holds(&self, client_id: &str) -> bool {
        !self.clients.is_empty() && self.clients.contains_key(client_id)
    }

    fn add(&mut self, client_id: &ClientId, number: u64, ticket: Ticket) {
        let ended = Ended {
            number,
            ticket: Some(ticket),
        };
        self.clients.entry(client_id.clone()).or_default().push(ended);
        self.wait(client_id, ticket);
    }

    fn wait(&mut self, client_id: &ClientId, ticket: Ticket) {
        self.tickets.entry(ticket).or_default().push(client_id.clone());
    }

    fn numbers(&self, client_id: &str) -> Vec<u64> {
        let ends = self.clients.get(client_id).into_iter().flatten();
        ends.map(|ended| ended.number).collect()
    }

    /// All ends of a client are in the batch of this ticket from now on; their numbers.
    fn move_to(&mut self, client_id: &ClientId, ticket: Ticket) -> Vec<u64> {
        let Some(ends) = self.clients.get_mut(client_id) else {
            return Vec::new();
        };
        for ended in ends.iter_mut() {
            ended.ticket = Some(ticket);
        }
        self.failed.remove(client_id);
        self.wait(client_id, ticket);
        self.numbers(client_id)
    }

    /// A batch has ended; the clients of which nothing lingers any more.
    fn settle(&mut self, ticket: Ticket, failed: bool) -> Vec<ClientId> {
        let mut gone = Vec::new();
        for client_id in self.tickets.remove(&ticket).unwrap_or_default() {
            let Some(ends) = self.clients.get_mut(&client_id) else {
                continue;
            };
            if failed {
                let mut is_left = false;
                for ended in ends.iter_mut().filter(|ended| ended.ticket == Some(ticket)) {
                    ended.ticket = None;
                    is_left = true;
                }
                // What another batch holds by now is left to that one.
                if is_left {
                    self.failed.insert(client_id);
                }
                continue;
            }
            ends.retain(|ended| ended.ticket != Some(ticket));
            if ends.is_empty() {
                self.clients.remove(&client_id);
                gone.push(client_id);
            }
        }
        gone
    }
}

impl Shard {
    /// The end of a session goes out with this turn.
    pub(super) fn linger(&mut self, client_id: &ClientId, number: u64) {
        let ticket = self.loose_ticket(self.shared.settings.durability);
        self.lingering.add(client_id, number, ticket);
    }

    /// The ends of a client's sessions once more, for a batch whose success says that none is left; if it is to survive
    /// less than ends are, it says that to nobody else.
    pub(super) fn ends_again(
        &mut self,
        client_id: &ClientId,
        ticket: Ticket,
        durability: Durability,
    ) -> Vec<Change> {
        let numbers = if durability < self.shared.settings.durability {
            self.lingering.numbers(client_id)
        } else {
            self.lingering.move_to(client_id, ticket)
        };
        numbers.into_iter().map(|number| self.end_again(number)).collect()
    }

    fn end_again(&self, number: u64) -> Change {
        // What is being passed on is still needed.
        let over = self.passing.get(&number).and_then(Passing::over);
        over.map_or_else(|| Change::ended(number), Change::Session)
    }

    /// A batch has ended, perhaps with ends of sessions in it.
    pub(super) fn settle_lingering(&mut self, now: Now, ticket: Ticket, failed: bool) {
        for client_id in self.lingering.settle(ticket, failed) {
            self.release(&client_id);
        }
        if !failed && !self.lingering.failed.is_empty() {
            self.end_failed_again(now);
        }
    }

    /// The store keeps something again, so it may keep what it could not.
    fn end_failed_again(&mut self, now: Now) {
        self.submit_loose(now);
        let durability = self.shared.settings.durability;
        let failed: Vec<_> = self
            .lingering
            .failed
            .iter()
            .take(AGAIN_AT_ONCE)
            .cloned()
            .collect();
        let ticket = self.loose_ticket(durability);
        for client_id in failed {
            for change in self.ends_again(&client_id, ticket, durability) {
                self.keep(change);
            }
        }
    }

    /// A client identifier is free, if nothing of its client is left.
    pub(super) fn release(&self, client_id: &ClientId) {
        if self.sessions.index_of(client_id).is_none() && !self.lingering.holds(client_id) {
            self.shared.registry.release(client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::shard::nowhere::Nowhere;
    use crate::{DelayedStore, Input, ListenerRules, Peer, Seed, Settings, Shared};

    const START: Now = Now {
        mono_ms: 0,
        wall_ms: 0,
    };
    /// CONNECT of version 3.1.1: clean session, and not.
    const CLEAN: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c";
    const STORED: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x00\0\0\0\x01c";
    /// CONNACK: accepted, with and without a session, and server unavailable.
    const PRESENT: &[u8] = &[0x20, 2, 1, 0];
    const ACCEPTED: &[u8] = &[0x20, 2, 0, 0];
    const REFUSED: &[u8] = &[0x20, 2, 0, 3];

    struct Broker {
        shard: Shard,
        store: Arc<Mutex<DelayedStore>>,
    }

    impl Broker {
        fn new() -> Self {
            Self::with_store(DelayedStore::new(3))
        }

        fn with_store(store: DelayedStore) -> Self {
            let settings = Settings {
                sys_interval_ms: None,
                ..Settings::default()
            };
            let listener = |durability| ListenerRules {
                durability,
                ..ListenerRules::default()
            };
            let listeners = vec![listener(Durability::Fsync), listener(Durability::Os)];
            let shared = Shared::new(settings, listeners, 1, &mut Seed::new(1));
            let store = Arc::new(Mutex::new(store));
            let shard = Shard::new(0, shared, Box::new(Arc::clone(&store)), Seed::new(2), START);
            Self { shard, store }
        }

        /// Connects, and disconnects by closing once the store has no more to do; what was answered at once, and then.
        fn comes_and_goes(&mut self, connect: &[u8]) -> (Vec<u8>, Vec<u8>) {
            let conn = self.connects(connect);
            let at_once = self.answer(conn);
            self.store_rests();
            let answer = self.answer(conn);
            self.shard.handle(START, Input::Closed(conn), &mut Nowhere);
            (at_once, answer)
        }

        fn connects(&mut self, connect: &[u8]) -> crate::ConnId {
            self.connects_to(0, connect)
        }

        fn connects_to(&mut self, listener: u16, connect: &[u8]) -> crate::ConnId {
            let peer = Peer {
                address: ([127, 0, 0, 1], 1).into(),
                listener,
            };
            let conn = self.shard.open(START, peer);
            self.shard
                .handle(START, Input::Bytes(conn, connect), &mut Nowhere);
            conn
        }

        fn answer(&self, conn: crate::ConnId) -> Vec<u8> {
            let mut slices = [std::io::IoSlice::new(&[]); 4];
            let output = self.shard.output(conn);
            let n = output.map_or(0, |output| output.slices(&mut slices));
            slices[..n].iter().flat_map(|slice| slice.to_vec()).collect()
        }

        fn store_rests(&mut self) {
            while self.store_ends_one() {}
        }

        fn store_ends_one(&mut self) -> bool {
            let ends = self.store.lock().end_one();
            if ends {
                self.shard.handle(START, Input::Stored, &mut Nowhere);
            }
            ends
        }

        fn claims(&self) -> usize {
            self.shard.shared.registry.len()
        }
    }

    #[test]
    fn nobody_is_told_that_a_session_is_gone_that_is_still_stored() {
        let mut broker = Broker::new();
        assert_eq!(broker.comes_and_goes(STORED).1, ACCEPTED);
        broker.store_rests();
        broker.store.lock().set_failing(true);
        assert_eq!(broker.comes_and_goes(CLEAN).1, REFUSED);
        // Its end failed before this one came, so it must be asked for again.
        for connect in [CLEAN, STORED, CLEAN] {
            let (at_once, answer) = broker.comes_and_goes(connect);
            assert!(at_once.is_empty());
            assert_eq!(answer, REFUSED);
        }
        assert_eq!(broker.claims(), 1);
        broker.store.lock().set_failing(false);
        assert_eq!(broker.comes_and_goes(CLEAN).1, ACCEPTED);
        assert_eq!(broker.claims(), 0);
        assert_eq!(
            broker.comes_and_goes(CLEAN).0,
            ACCEPTED,
            "there is nothing to wait for"
        );
    }

    #[test]
    fn an_end_that_failed_is_submitted_again_when_something_else_is_kept() {
        let mut broker = Broker::new();
        broker.comes_and_goes(STORED);
        broker.store_rests();
        broker.store.lock().set_failing(true);
        broker.comes_and_goes(CLEAN);
        broker.store.lock().set_failing(false);
        let other = b"\x10\x0d\0\x04MQTT\x04\x00\0\0\0\x01d";
        assert_eq!(broker.comes_and_goes(other).1, ACCEPTED);
        broker.store_rests();
        assert_eq!(broker.claims(), 1, "that of the other");
        let is_end = |change: &Change| matches!(change, Change::Ended { .. });
        assert!(broker.store.lock().log().iter().any(is_end));
    }

    #[test]
    fn a_session_that_could_not_be_stored_leaves_nothing_behind() {
        let mut broker = Broker::new();
        broker.store.lock().set_failing(true);
        assert_eq!(broker.comes_and_goes(STORED).1, REFUSED);
        assert_eq!(broker.claims(), 0);
        broker.store.lock().set_failing(false);
        assert_eq!(broker.comes_and_goes(STORED).1, ACCEPTED);
        assert_eq!(broker.comes_and_goes(STORED).1, PRESENT);
    }

    #[test]
    fn a_client_is_gone_with_the_last_of_its_ends() {
        let mut lingering = Lingering::new(1);
        let client_id = ClientId::from("a");
        lingering.add(&client_id, 7, Ticket(1));
        lingering.add(&client_id, 8, Ticket(2));
        assert!(lingering.settle(Ticket(1), false).is_empty() && lingering.holds("a"));
        assert_eq!(lingering.settle(Ticket(2), false), [client_id]);
        assert!(!lingering.holds("a") && lingering.tickets.is_empty());
    }

    #[test]
    fn what_failed_counts_when_it_is_submitted_again() {
        let mut lingering = Lingering::new(1);
        let client_id = ClientId::from("a");
        lingering.add(&client_id, 7, Ticket(1));
        assert!(lingering.settle(Ticket(1), true).is_empty());
        assert!(lingering.holds("a") && lingering.failed.len() == 1);
        assert_eq!(lingering.move_to(&client_id, Ticket(2)), [7]);
        assert!(lingering.failed.is_empty());
        assert_eq!(lingering.settle(Ticket(2), false), [client_id]);
    }

    #[test]
    fn a_batch_that_is_overtaken_decides_nothing() {
        let mut lingering = Lingering::new(1);
        let client_id = ClientId::from("a");
        lingering.add(&client_id, 7, Ticket(1));
        lingering.move_to(&client_id, Ticket(2));
        assert!(lingering.settle(Ticket(1), false).is_empty() && lingering.holds("a"));
        assert_eq!(lingering.settle(Ticket(2), false), [client_id]);
    }

    #[test]
    fn a_batch_that_is_overtaken_and_fails_leaves_nothing_to_try_again() {
        // Which of the two batches ends first, the seed says.
        for seed in 0..8 {
            let mut broker = Broker::with_store(DelayedStore::new(seed));
            broker.comes_and_goes(STORED);
            broker.store_rests();
            let conn = broker.connects(CLEAN);
            broker.store.lock().set_failing(true);
            assert!(broker.store_ends_one());
            broker.store.lock().set_failing(false);
            let ends = (0..8).take_while(|_| broker.store_ends_one()).count();
            assert!(ends < 8, "seed {seed}: what is to be tried again has no end");
            broker.shard.handle(START, Input::Closed(conn), &mut Nowhere);
            broker.store_rests();
            assert!(broker.shard.lingering.failed.is_empty());
            assert_eq!(broker.claims(), 0);
        }
    }

    #[test]
    fn an_end_that_only_the_system_has_still_lingers() {
        let mut told = 0;
        for seed in 0..8 {
            let mut broker = Broker::with_store(DelayedStore::new(seed));
            broker.comes_and_goes(STORED);
            broker.store_rests();
            let conn = broker.connects_to(1, CLEAN);
            broker.store_ends_one();
            // The batch of the end itself waits for a sync, and that of the CONNACK here does not.
            if broker.answer(conn) == ACCEPTED {
                told += 1;
                assert!(broker.shard.lingering.holds("c"));
            }
            broker.store_rests();
            assert_eq!(broker.answer(conn), ACCEPTED);
            assert!(!broker.shard.lingering.holds("c"));
        }
        assert!(told > 0);
    }
}
