//! The half that receives: identifiers of QoS 2, acknowledgements that are owed, and the receive
//! maximum that this end announced.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{PacketId, ReasonCode, Violation};

/// Names a commit that an acknowledgement waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Which acknowledgement is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// Of a QoS 1 PUBLISH.
    PubAck,
    /// Of a QoS 2 PUBLISH.
    PubRec,
    /// Of a PUBREL.
    PubComp,
}

/// An acknowledgement that is owed to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// Which one.
    pub kind: AckKind,
    /// Of which packet.
    pub id: PacketId,
    /// What it says.
    pub reason: ReasonCode,
}

/// What an incoming PUBLISH of QoS 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// New: route it, then owe PUBREC.
    New,
    /// Its identifier was not released yet: owe PUBREC again, route nothing [MQTT5-4.3.3-10].
    Repeat,
}

/// Received and unfinished messages of QoS 1 and 2.
#[derive(Debug, Default)]
pub struct Received {
    /// Identifiers of QoS 2 before PUBREL; `true`: it holds a slot of this connection's receive maximum.
    unreleased: HashMap<PacketId, bool, FixedState>,
    /// In the order in which they must leave [MQTT5-4.6.0-2] [MQTT5-4.6.0-3].
    owed: VecDeque<Waiting>,
    /// Whether one waits for a ticket that is older than one in front of it: then their tickets do not ascend.
    is_mixed: bool,
    /// Identifiers of QoS 2 whose batch was under way when the connection ended: free again if it fails.
    uncertain: Vec<(Ticket, PacketId)>,
    /// Slots of the receive maximum in use.
    used: u32,
}

/// An acknowledgement on its way.
#[derive(Debug)]
struct Waiting {
    owed: Owed,
    /// What it waits for; of one that waits for nothing, what the one in front of it does.
    ticket: Ticket,
    is_settled: bool,
}

impl Waiting {
    fn waits_for(&self, ticket: Ticket) -> bool {
        !self.is_settled && self.ticket == ticket
    }
}

impl Received {
    /// A PUBLISH of QoS 1 came; always a new message, whatever its DUP says [MQTT5-4.3.2-5].
    /// `max` is the announced receive maximum [MQTT5-3.3.4-7].
    pub fn publish_qos1(&mut self, max: u16) -> Result<(), Violation> {
        self.take_slot(max)
    }

    /// A PUBLISH of QoS 2 came.
    pub fn publish_qos2(&mut self, id: PacketId, max: u16) -> Result<Arrival, Violation> {
        match self.unreleased.get_mut(&id) {
            Some(true) => return Ok(Arrival::Repeat),
            Some(counted) => {
                *counted = true;
                self.take_slot(max)?;
                return Ok(Arrival::Repeat);
            }
            None => {}
        }
        self.take_slot(max)?;
        self.unreleased.insert(id, true);
        Ok(Arrival::New)
    }

    /// An identifier of QoS 2 that was not released when it was stored.
    pub fn restore(&mut self, id: PacketId) {
        self.unreleased.insert(id, false);
    }

    /// The identifiers of QoS 2 that are not released, in any order.
    pub fn unreleased(&self) -> impl Iterator<Item = PacketId> {
        self.unreleased.keys().copied()
    }

    fn take_slot(&mut self, max: u16) -> Result<(), Violation> {
        if self.used >= u32::from(max) {
            return Err(Violation::ReceiveMaximum);
        }
        self.used += 1;
        Ok(())
    }

    /// Whether all slots are in use: a version 3 peer is not read then, as it knows no limit.
    pub fn is_full(&self, max: u16) -> bool {
        self.used >= u32::from(max)
    }

    /// Whether more slots are in use than there are.
    pub fn exceeds(&self, max: u16) -> bool {
        self.used > u32::from(max)
    }

    /// PUBREL came; the reason code of the PUBCOMP that it gets [MQTT5-4.3.3-11].
    pub fn pubrel(&mut self, id: PacketId) -> ReasonCode {
        match self.unreleased.remove(&id) {
            Some(counted) => {
                self.used -= u32::from(counted);
                ReasonCode::Success
            }
            None => ReasonCode::PacketIdentifierNotFound,
        }
    }

    /// Owes an acknowledgement that may leave once all before it have left and `ticket`, if there is
    /// one, is settled.
    pub fn owe(&mut self, owed: Owed, ticket: Option<Ticket>) {
        let last = self.owed.back().map(|last| last.ticket);
        match last {
            None => self.is_mixed = false,
            Some(last) => self.is_mixed |= ticket.is_some_and(|ticket| ticket < last),
        }
        self.owed.push_back(Waiting {
            owed,
            ticket: ticket.or(last).unwrap_or(Ticket(0)),
            is_settled: ticket.is_none(),
        });
    }

    /// Where the acknowledgements are that may wait for that ticket.
    fn places(&self, ticket: Ticket) -> std::ops::Range<usize> {
        if self.is_mixed {
            return 0..self.owed.len();
        }
        // Most wait at the front.
        let start = match self.owed.front() {
            Some(front) if front.ticket >= ticket => 0,
            _ => self.owed.partition_point(|waiting| waiting.ticket < ticket),
        };
        let length = self
            .owed
            .range(start..)
            .take_while(|waiting| waiting.ticket == ticket);
        start..start + length.count()
    }

    /// The commit came to an end: with success the acknowledgements that wait for it say what they were
    /// to say, else they carry `failure`.
    pub fn settle(&mut self, ticket: Ticket, failure: Option<ReasonCode>) -> bool {
        let mut found = false;
        if let Some(at) = self.uncertain.iter().position(|(of, _)| *of == ticket) {
            let (_, id) = self.uncertain.swap_remove(at);
            if failure.is_some() {
                self.unreleased.remove(&id);
            }
        }
        let places = self.places(ticket);
        for waiting in self.owed.range_mut(places) {
            if !waiting.waits_for(ticket) {
                continue;
            }
            waiting.is_settled = true;
            found = true;
            if let Some(reason) = failure {
                let owed = &mut waiting.owed;
                owed.reason = reason;
                if owed.kind == AckKind::PubComp {
                    // Nobody is told that it is free, and the store has it still.
                    self.unreleased.entry(owed.id).or_insert(false);
                }
            }
        }
        found
    }

    /// What waits for that commit.
    pub fn owed_on(&self, ticket: Ticket) -> impl Iterator<Item = Owed> {
        let waiting = self.owed.range(self.places(ticket));
        waiting.filter_map(move |waiting| waiting.waits_for(ticket).then_some(waiting.owed))
    }

    /// Whether nothing is owed, so that an acknowledgement that waits for nothing may leave at once.
    pub fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// Acknowledgements that are owed.
    pub fn owed_len(&self) -> usize {
        self.owed.len()
    }

    /// The next acknowledgement that may leave; it counts as sent.
    pub fn next_ready(&mut self) -> Option<Owed> {
        let Waiting { owed, .. } = self.owed.pop_front_if(|waiting| waiting.is_settled)?;
        self.sent(owed);
        Some(owed)
    }

    /// An acknowledgement leaves: its slot is free, and after a PUBREC of 0x80 and above its
    /// identifier is too [MQTT5-4.3.3-9].
    pub fn sent(&mut self, owed: Owed) {
        match owed.kind {
            AckKind::PubAck => self.used -= 1,
            AckKind::PubRec if owed.reason.is_error() => {
                if self.unreleased.remove(&owed.id) == Some(true) {
                    self.used -= 1;
                }
            }
            AckKind::PubRec | AckKind::PubComp => {}
        }
    }

    /// The connection ended: what was owed is gone with it, identifiers of QoS 2 stay.
    pub fn disconnect(&mut self) {
        for Waiting {
            owed,
            ticket,
            is_settled,
        } in std::mem::take(&mut self.owed)
        {
            match (owed.kind, (!is_settled).then_some(ticket)) {
                (AckKind::PubRec, Some(ticket)) => self.uncertain.push((ticket, owed.id)),
                // Nobody took it, and nobody was told.
                (AckKind::PubRec, None) if owed.reason.is_error() => {
                    self.unreleased.remove(&owed.id);
                }
                // It has released it and was not told: it will again.
                (AckKind::PubComp, _) if owed.reason == ReasonCode::Success => {
                    self.unreleased.insert(owed.id, false);
                }
                _ => {}
            }
        }
        self.used = 0;
        for counted in self.unreleased.values_mut() {
            *counted = false;
        }
    }

    /// Identifiers of QoS 2 that are not released.
    pub fn unreleased_len(&self) -> usize {
        self.unreleased.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    fn ack(kind: AckKind, n: u16) -> Owed {
        Owed {
            kind,
            id: id(n),
            reason: ReasonCode::Success,
        }
    }

    #[test]
    fn qos_2_is_new_once() {
        let mut received = Received::default();
        assert_eq!(received.publish_qos2(id(7), 10), Ok(Arrival::New));
        assert_eq!(received.publish_qos2(id(7), 10), Ok(Arrival::Repeat));
        received.disconnect();
        assert_eq!(received.publish_qos2(id(7), 10), Ok(Arrival::Repeat));
        assert_eq!(received.pubrel(id(7)), ReasonCode::Success);
        assert_eq!(received.pubrel(id(7)), ReasonCode::PacketIdentifierNotFound);
        assert_eq!(received.publish_qos2(id(7), 10), Ok(Arrival::New));
    }

    #[test]
    fn a_release_whose_pubcomp_never_left_succeeds_again() {
        let mut received = Received::default();
        received.publish_qos2(id(7), 10).unwrap();
        assert_eq!(received.pubrel(id(7)), ReasonCode::Success);
        received.owe(ack(AckKind::PubComp, 7), Some(Ticket(1)));
        received.disconnect();
        assert_eq!(received.pubrel(id(7)), ReasonCode::Success);
    }

    #[test]
    fn an_identifier_is_free_again_whose_batch_fails_after_the_connection() {
        for (failure, expected) in [
            (None, Arrival::Repeat),
            (Some(ReasonCode::QuotaExceeded), Arrival::New),
        ] {
            let mut received = Received::default();
            received.publish_qos2(id(7), 10).unwrap();
            received.owe(ack(AckKind::PubRec, 7), Some(Ticket(1)));
            received.disconnect();
            received.settle(Ticket(1), failure);
            assert_eq!(received.publish_qos2(id(7), 10), Ok(expected));
        }
    }

    #[test]
    fn a_refused_qos_2_message_frees_its_identifier() {
        let mut received = Received::default();
        received.publish_qos2(id(7), 1).unwrap();
        received.owe(
            Owed {
                reason: ReasonCode::NotAuthorized,
                ..ack(AckKind::PubRec, 7)
            },
            None,
        );
        assert!(received.next_ready().is_some());
        assert_eq!(received.pubrel(id(7)), ReasonCode::PacketIdentifierNotFound);
        assert_eq!(received.publish_qos2(id(7), 1), Ok(Arrival::New));
    }

    #[test]
    fn the_receive_maximum_counts_until_the_acknowledgement_leaves() {
        let mut received = Received::default();
        received.publish_qos1(2).unwrap();
        received.publish_qos2(id(2), 2).unwrap();
        assert_eq!(received.publish_qos1(2), Err(Violation::ReceiveMaximum));
        received.owe(ack(AckKind::PubAck, 1), Some(Ticket(1)));
        received.owe(ack(AckKind::PubRec, 2), None);
        assert!(received.is_full(2));
        received.settle(Ticket(1), None);
        assert!(received.next_ready().is_some() && received.next_ready().is_some());
        // PUBREC does not free the slot, PUBCOMP does.
        received.publish_qos1(2).unwrap();
        assert_eq!(received.publish_qos1(2), Err(Violation::ReceiveMaximum));
        received.pubrel(id(2));
        received.publish_qos1(2).unwrap();
    }

    #[test]
    fn a_ticket_settles_all_that_waits_for_it() {
        let ticket = |n| Some(Ticket(n));
        for (tickets, settled, left) in [
            (vec![ticket(3), ticket(3), None, ticket(4)], 3, 1),
            // A repetition waits for what the first one waits for.
            (vec![ticket(3), ticket(4), ticket(3)], 3, 2),
            (vec![None, ticket(1), ticket(2), ticket(1)], 1, 2),
            (vec![ticket(5)], 4, 1),
        ] {
            let mut received = Received::default();
            for (n, ticket) in (1..).zip(tickets) {
                received.publish_qos1(10).unwrap();
                received.owe(ack(AckKind::PubAck, n), ticket);
            }
            let waiting = received.owed_on(Ticket(settled)).count();
            assert_eq!(received.settle(Ticket(settled), None), waiting > 0);
            assert_eq!(received.owed_on(Ticket(settled)).count(), 0);
            while received.next_ready().is_some() {}
            assert_eq!(received.owed_len(), left);
        }
    }

    #[test]
    fn acknowledgements_leave_in_order_though_commits_end_out_of_order() {
        let mut received = Received::default();
        for n in 1..=3 {
            received.publish_qos1(10).unwrap();
            received.owe(ack(AckKind::PubAck, n), Some(Ticket(n.into())));
        }
        received.settle(Ticket(3), None);
        assert_eq!(received.next_ready(), None);
        received.settle(Ticket(1), Some(ReasonCode::QuotaExceeded));
        let first = received.next_ready().unwrap();
        assert_eq!((first.id, first.reason), (id(1), ReasonCode::QuotaExceeded));
        assert_eq!(received.next_ready(), None);
        received.settle(Ticket(2), None);
        assert_eq!(received.next_ready().map(|o| o.id), Some(id(2)));
        assert_eq!(received.next_ready().map(|o| o.id), Some(id(3)));
    }
}
