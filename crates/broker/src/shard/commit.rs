//! What waits for the store, and what happens when a batch comes to an end.

use martlet_codec::{FilterBuf, PacketId, ReasonCode};
use martlet_session::{Link, Now, Offer, Ticket};

use super::held::Parked;
use super::subscribe::Replay;
use super::subscribing::Changed;
use super::{Shard, Sink};
use crate::connection::{ConnId, Phase};
use crate::event::{Ending, Event};
use crate::reason::Reason;
use crate::router::SessionRef;
use crate::store::{Batch, Change, Durability, StoreEvent};

/// What a ticket is waited for with.
#[derive(Debug)]
pub(super) enum Pending {
    /// An acknowledgement that the session owes.
    Ack { session: SessionRef },
    /// A message of QoS 2: until it is durable it is routed to nobody.
    Publish { publisher: SessionRef },
    /// Packets of QoS 2 to clients, whose identifiers are not used before.
    Identifiers {
        identifiers: Vec<(SessionRef, PacketId)>,
    },
    /// CONNACK, which is in the output of the link.
    Connect {
        conn: ConnId,
        session: u32,
        link: Box<Link>,
        /// Whether the session begins with it.
        is_new: bool,
    },
    /// SUBACK, and the retained messages behind it.
    Subscribe {
        conn: ConnId,
        session: SessionRef,
        id: PacketId,
        reasons: Vec<ReasonCode>,
        replays: Vec<Replay>,
        changed: Vec<Changed>,
    },
    /// UNSUBACK, and the end of what it promises.
    Unsubscribe {
        conn: ConnId,
        session: SessionRef,
        id: PacketId,
        reasons: Vec<ReasonCode>,
        filters: Vec<FilterBuf>,
    },
}

impl Shard {
    pub(super) fn submit(&mut self, now: Now, durability: Durability, changes: Vec<Change>) -> Ticket {
        let ticket = self.ticket();
        self.submit_with(now, ticket, durability, changes);
        ticket
    }

    pub(super) fn submit_with(
        &mut self,
        now: Now,
        ticket: Ticket,
        durability: Durability,
        changes: Vec<Change>,
    ) {
        let batch = Batch {
            ticket: Some(ticket),
            durability,
            changes,
            is_loose: false,
        };
        self.store.submit(now, batch);
    }

    /// A ticket for a batch. Those of different shards differ, so that one store can serve them all.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket << 16 | u64::from(self.index))
    }

    /// Batches have ended.
    pub(super) fn stored(&mut self, now: Now, sink: &mut impl Sink) {
        while let Some(event) = self.store.poll() {
            let (ticket, failed) = match event {
                StoreEvent::Durable(ticket) => (ticket, false),
                StoreEvent::Failed(ticket) => (ticket, true),
                StoreEvent::Page(page) => {
                    self.page(now, page, sink);
                    continue;
                }
            };
            self.settle_lingering(now, ticket, failed);
            if !self.retaining.is_empty()
                && let Some((topic, version)) = self.retaining.remove(&ticket)
            {
                self.shared.retained.settle(topic.as_topic(), version, !failed);
                if failed && !self.pending.contains_key(&ticket) {
                    // Of QoS 0, or a will: its publisher is not told.
                    let reason = Reason::StoreFailed;
                    self.counters().count(reason, 1);
                    sink.event(Event::Dropped {
                        client_id: None,
                        topic: Some(topic.as_str()),
                        reason,
                        count: 1,
                    });
                }
            }
            if let Some(pending) = self.pending.remove(&ticket) {
                self.ended(now, ticket, pending, failed, sink);
            }
        }
    }

    fn ended(&mut self, now: Now, ticket: Ticket, pending: Pending, failed: bool, sink: &mut impl Sink) {
        match pending {
            Pending::Ack { session } => self.settle(now, session, ticket, failed, sink),
            Pending::Publish { publisher } => {
                self.settle(now, publisher, ticket, failed, sink);
                for Parked {
                    message,
                    route,
                    chosen,
                } in self.held.end(publisher, ticket, failed)
                {
                    let mut offer = Offer::kept(&message);
                    self.deliver(now, &mut offer, &route, Some(publisher), &chosen, sink);
                }
            }
            Pending::Identifiers { identifiers } => {
                self.identifiers_ended(now, identifiers, failed, sink);
            }
            Pending::Connect {
                conn,
                session,
                link,
                is_new,
            } => {
                // The connection may have ended meanwhile, and its session may be another's.
                if self
                    .connection(conn)
                    .is_none_or(|c| c.phase != Phase::Accepted { session })
                {
                    return;
                }
                if failed {
                    // Nobody was told that it is connected, so it has no will either, and no session that was not.
                    let slot = self.sessions.get_mut(session);
                    slot.will = None;
                    let name = slot.me;
                    if is_new {
                        // It is not in the store, so its end is nothing to store either.
                        slot.session.number = 0;
                        self.shared.stored.set(name, 0);
                    }
                    self.refuse_accepted(now, conn, Reason::NotStored, sink);
                    if is_new && self.sessions.find_mut(name).is_some() {
                        self.end_session(now, session, sink);
                    }
                    return;
                }
                self.attach(now, conn, session, link);
                self.resume(now, conn, sink);
            }
            Pending::Subscribe {
                conn,
                session,
                id,
                mut reasons,
                replays,
                changed,
            } => {
                for changed in &changed {
                    self.subscribing_ended(session, changed, ticket, failed);
                }
                if !self.is_live(conn, session.index) {
                    return;
                }
                let session = session.index;
                if failed {
                    let link = self.sessions.get(session).session.link.as_ref();
                    if link.is_some_and(|link| !link.agreed.can_refuse_subscribe) {
                        // Its SUBACK knows no refusal.
                        self.end(now, conn, Ending::Broker(Reason::NotStored), None, sink);
                        return;
                    }
                    reasons.fill(ReasonCode::QuotaExceeded);
                    self.suback(now, conn, session, id, &reasons, Vec::new(), sink);
                } else {
                    self.suback(now, conn, session, id, &reasons, replays, sink);
                }
            }
            Pending::Unsubscribe {
                conn,
                session,
                id,
                mut reasons,
                filters,
            } => {
                for filter in &filters {
                    let filter = filter.as_filter();
                    if self.unsubscribing.end(session, filter, ticket) && !failed {
                        self.leave_subscription(session, filter, sink);
                    }
                }
                if !self.is_live(conn, session.index) {
                    return;
                }
                if failed {
                    let link = self.sessions.get(session.index).session.link.as_ref();
                    if link.is_some_and(|link| !link.agreed.can_refuse_publish) {
                        // Its UNSUBACK cannot say that the subscription stays.
                        self.end(now, conn, Ending::Broker(Reason::NotStored), None, sink);
                        return;
                    }
                    reasons.fill(ReasonCode::Unspecified);
                }
                self.unsuback(conn, session.index, id, &reasons);
            }
        }
    }

    fn is_live(&mut self, conn: ConnId, session: u32) -> bool {
        self.connection(conn)
            .is_some_and(|connection| connection.phase == Phase::Live { session })
    }

    /// Acknowledgements of a session that waited for this ticket may leave.
    fn settle(&mut self, now: Now, name: SessionRef, ticket: Ticket, failed: bool, sink: &mut impl Sink) {
        let reason = Reason::StoreFailed;
        let failure = failed.then_some((reason.code(), reason.text()));
        let Some(slot) = self.sessions.find_mut(name) else {
            return;
        };
        let refused = if failed {
            slot.session.owes_for_messages(ticket)
        } else {
            0
        };
        let is_told = slot.session.settle(ticket, failure);
        let (conn, saturated) = (slot.conn, slot.session.is_saturated());
        self.dropped_unseen(Some(name), reason, refused as u64, sink);
        let Some(conn) = conn else { return };
        if !is_told {
            self.end(now, conn, Ending::Broker(Reason::CannotTell), None, sink);
            return;
        }
        self.mark_dirty(conn);
        if !saturated && self.connection(conn).is_some_and(|connection| connection.waits) {
            self.resume(now, conn, sink);
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

    const NOW: Now = Now {
        mono_ms: 0,
        wall_ms: 0,
    };

    fn connect(client_id: u8) -> Vec<u8> {
        [b"\x10\x0d\0\x04MQTT\x04\x00\0\0\0\x01", &[client_id][..]].concat()
    }

    /// PUBLISH of QoS 1 with 100 bytes.
    fn publish(topic: u8, id: u8) -> Vec<u8> {
        [&[0x32, 0x69, 0, 1, topic, 0, id][..], &[b'.'; 100]].concat()
    }

    /// A group of two, of which one takes one message at a time, and gets each once more by a subscription of its own;
    /// the other one is stored, and gets what that leaves no room for.
    struct Broker {
        shard: Shard,
        store: Arc<Mutex<DelayedStore>>,
    }

    impl Broker {
        fn new(seed: u64) -> Self {
            let mut settings = Settings {
                sys_interval_ms: None,
                ..Settings::default()
            };
            settings.session.queue.messages_max = 0;
            let shared = Shared::new(settings, vec![ListenerRules::default()], 1, &mut Seed::new(1));
            let store = Arc::new(Mutex::new(DelayedStore::new(seed)));
            let shard = Shard::new(0, shared, Box::new(Arc::clone(&store)), Seed::new(2), NOW);
            let mut broker = Self { shard, store };
            let one_at_a_time = b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x21\0\x01\0\x01a\x82\x14\0\x01\0\0\x01t\x01\0\x0a$share/g/t\x01";
            broker.sends(one_at_a_time);
            broker.sends(&[&connect(b'b'), &b"\x82\x0f\0\x01\0\x0a$share/g/t\x01"[..]].concat());
            broker.rests();
            broker
        }

        fn sends(&mut self, bytes: &[u8]) -> ConnId {
            let peer = Peer {
                address: ([127, 0, 0, 1], 1).into(),
                listener: 0,
            };
            let conn = self.shard.open(NOW, peer);
            self.shard.handle(NOW, Input::Bytes(conn, bytes), &mut Nowhere);
            conn
        }

        /// The store ends all that it has at once, until it has nothing.
        fn rests(&mut self) {
            while self.store.lock().end_one() {
                while self.store.lock().end_one() {}
                self.shard.handle(NOW, Input::Stored, &mut Nowhere);
            }
        }
    }

    /// What a connection has to read.
    fn output(broker: &Broker, conn: ConnId) -> Vec<u8> {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let n = broker.shard.output(conn).unwrap().slices(&mut slices);
        slices[..n].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    const CONNECT_5: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01p";

    #[test]
    fn at_qos_2_pubrec_waits_for_the_member_that_takes_the_message() {
        for fails in [false, true] {
            let mut broker = Broker::new(1);
            // It takes no more than 64 bytes, and is asked before anything is acknowledged.
            let small = b"\x10\x13\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\x40\0\x01c\x82\x10\0\x01\0\0\x0a$share/h/u\x02";
            broker.sends(small);
            let stored = broker.sends(&[&connect(b'd'), &b"\x82\x0f\0\x01\0\x0a$share/h/u\x02"[..]].concat());
            broker.rests();
            let before = output(&broker, stored);
            broker.store.lock().set_failing(fails);
            let publish = [&[0x34, 0x6a, 0, 1, b'u', 0, 1, 0][..], &[b'.'; 100]].concat();
            let conn = broker.sends(&[CONNECT_5, &publish].concat());
            let connack = output(&broker, conn).len();
            assert_eq!(output(&broker, stored), before);
            broker.rests();
            // With a reason string it is longer.
            let pubrec = output(&broker, conn).split_off(connack);
            assert_eq!((pubrec[0], &pubrec[2..4]), (0x50, &[0, 1][..]));
            assert_eq!(pubrec.get(4), fails.then_some(&0x97));
            assert_eq!(output(&broker, stored).len() > before.len(), !fails);
        }
    }

    #[test]
    fn what_the_store_refuses_reaches_nobody() {
        let mut broker = Broker::new(1);
        let stored = broker.sends(&[&connect(b'c'), &b"\x82\x06\0\x01\0\x01u\x01"[..]].concat());
        let other = broker.sends(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01d\x82\x06\0\x01\0\x01u\x01");
        broker.rests();
        let (before, others) = (output(&broker, stored), output(&broker, other));
        broker.store.lock().set_refusing(true);
        let publish = [&[0x32, 0x6a, 0, 1, b'u', 0, 1, 0][..], &[b'.'; 100]].concat();
        let conn = broker.sends(&[CONNECT_5, &publish].concat());
        assert!(
            output(&broker, conn)
                .windows(5)
                .any(|bytes| bytes[0] == 0x40 && bytes[4] == 0x97)
        );
        assert_eq!(
            (output(&broker, stored), output(&broker, other)),
            (before, others)
        );
        assert_eq!(broker.shard.counters().of(Reason::StoreFailed), 1);
        // What is for nobody who is stored goes on.
        let rest = broker.sends(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01e\x82\x06\0\x01\0\x01v\x01");
        let before = output(&broker, rest).len();
        broker.sends(&[CONNECT_5, &[0x32, 7, 0, 1, b'v', 0, 2, 0, b'.']].concat());
        assert!(output(&broker, rest).len() > before);
    }

    #[test]
    fn each_publisher_of_a_turn_gets_its_own_acknowledgements() {
        // Which of them has its turn first, the seed says.
        (0..8).for_each(two_publishers);
    }

    fn two_publishers(seed: u64) {
        let mut broker = Broker::new(seed);
        let one = broker.sends(&[connect(b'p'), publish(b't', 1), publish(b't', 2)].concat());
        let other = broker.sends(&[connect(b'q'), publish(b'u', 3)].concat());
        broker.rests();
        for (conn, ids) in [(one, &[1, 2][..]), (other, &[3])] {
            let mut expected = vec![0x20, 2, 0, 0];
            for id in ids {
                expected.extend_from_slice(&[0x40, 2, 0, *id]);
            }
            assert_eq!(output(&broker, conn), expected, "{ids:?}");
        }
    }

    #[test]
    fn each_message_is_counted_that_is_refused() {
        let mut broker = Broker::new(1);
        broker.store.lock().set_failing(true);
        let mut bytes = CONNECT_5.to_vec();
        // The first waits for what it is stored for anew, the others are stored for the member that takes them.
        for id in 1..=3 {
            bytes.extend_from_slice(&[0x32, 0x6a, 0, 1, b't', 0, id, 0]);
            bytes.extend_from_slice(&[b'.'; 100]);
        }
        broker.sends(&bytes);
        broker.rests();
        assert_eq!(broker.shard.counters().of(Reason::StoreFailed), 3);
    }
}
