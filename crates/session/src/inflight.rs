//! The half that sends: packet identifiers and unfinished messages of QoS 1 and 2.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_codec::{PacketId, Qos, ReasonCode};

use crate::queue::Queued;

/// Unfinished outgoing messages in the order in which they were first sent.
///
/// The window counts those that were sent on this connection: PUBLISH and PUBREL hold a slot until
/// PUBACK, PUBCOMP or a PUBREC of 0x80 and above [MQTT5-3.3.4-7] [MQTT5-3.3.4-9] [MQTT5-4.9.0-2].
///
/// `M` is what a message is kept as: a broker's queue entry, or what a client accepted.
#[derive(Debug)]
pub struct Inflight<M = Queued> {
    entries: VecDeque<Entry<M>>,
    /// Number of the next message; its identifier is derived from it.
    next: u64,
    window: u16,
    used: u16,
    /// Payload bytes of the entries that are in the window.
    used_bytes: usize,
    /// Entries that wait to be sent again on this connection.
    to_resend: usize,
}

#[derive(Debug)]
struct Entry<M> {
    number: u64,
    id: PacketId,
    step: Step,
    way: Way,
    payload_bytes: u32,
    /// What to send again; none where the session cannot outlive its connection, or after PUBREC.
    message: Option<M>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// QoS 1, waits for PUBACK.
    PubAck,
    /// QoS 2, waits for PUBREC.
    PubRec,
    /// QoS 2, waits for PUBCOMP: never a PUBLISH again [MQTT5-4.3.3-6].
    PubComp,
}

/// Whether the packet of an entry's step is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It was sent on this connection and holds a slot.
    Sent,
    /// It must be sent again on this connection.
    Unsent,
    /// It holds a slot, but must not leave before its identifier is durable.
    Held,
    /// Its identifier could not be made durable: that is to be tried again on the next connection.
    Unkept,
}

/// What an acknowledgement meant.
#[derive(Debug)]
pub enum Acked<M = Queued> {
    /// The message is finished; its slot is free.
    Finished(Option<M>),
    /// PUBREC was right: answer with PUBREL [MQTT5-4.3.3-4]. The message, if it was not taken before.
    Release(Option<M>),
    /// No such identifier; nothing is gained by it.
    Unknown,
    /// The identifier is one of another flow or step.
    Wrong,
}

/// What is sent again on a resumed session [MQTT5-4.4.0-1].
#[derive(Debug)]
pub enum Resend<'a, M = Queued> {
    /// The PUBLISH, with DUP.
    Publish(PacketId, &'a M),
    /// The PUBREL.
    Release(PacketId),
}

impl<M> Default for Inflight<M> {
    fn default() -> Self {
        Self::new(u16::MAX)
    }
}

impl<M> Inflight<M> {
    /// An empty one with that window, at least 1 [MQTT5-4.9.0-1].
    pub fn new(window: u16) -> Self {
        Self {
            entries: VecDeque::new(),
            next: 0,
            window: window.max(1),
            used: 0,
            used_bytes: 0,
            to_resend: 0,
        }
    }

    /// Unfinished messages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all is finished.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a new message may be sent: the window has room, by count and by bytes, and nothing
    /// waits to be sent again. One message passes whatever its size.
    pub fn has_room(&self, bytes_max: usize) -> bool {
        self.used < self.window && self.to_resend == 0 && (self.used == 0 || self.used_bytes < bytes_max)
    }

    /// How many new messages may be sent.
    pub fn room(&self) -> usize {
        if self.to_resend > 0 {
            return 0;
        }
        self.window.saturating_sub(self.used).into()
    }

    /// What is unfinished, in the order in which it was first sent; no message: its PUBREC has come.
    pub fn iter(&self) -> impl Iterator<Item = (PacketId, Option<&M>)> {
        self.entries
            .iter()
            .map(|entry| (entry.id, entry.message.as_ref()))
    }

    /// Whether something waits to be sent again on this connection.
    pub fn must_resend(&self) -> bool {
        self.to_resend > 0
    }

    /// The slots that are in use on this connection.
    pub fn used(&self) -> u16 {
        self.used
    }

    /// A new message is sent: takes a free identifier [MQTT5-2.2.1-4]. `message` is what a resend
    /// needs.
    pub fn send(&mut self, qos: Qos, payload_bytes: usize, message: Option<M>) -> PacketId {
        let id = self.free_id();
        self.send_as(id, qos, payload_bytes, message);
        id
    }

    /// The same under an identifier that the caller found free: a client shares them between
    /// PUBLISH, SUBSCRIBE and UNSUBSCRIBE [MQTT5-2.2.1-4].
    pub fn send_as(&mut self, id: PacketId, qos: Qos, payload_bytes: usize, message: Option<M>) {
        debug_assert!(self.has_room(usize::MAX) && qos != Qos::AtMostOnce);
        debug_assert!(self.position(id).is_none());
        let step = if qos == Qos::AtLeastOnce {
            Step::PubAck
        } else {
            Step::PubRec
        };
        self.entries.push_back(Entry {
            number: self.next,
            id,
            step,
            way: Way::Sent,
            payload_bytes: payload_bytes as u32,
            message,
        });
        self.next += 1;
        self.used += 1;
        self.used_bytes += payload_bytes;
    }

    /// What was sent last under that identifier waits until that is durable.
    pub fn hold(&mut self, id: PacketId) {
        if let Some(index) = self.position(id)
            && self.entries[index].way == Way::Sent
        {
            self.entries[index].way = Way::Held;
        }
    }

    /// PUBREL waits until it is durable that PUBREC came. Until then the message is kept, so that it can be said again.
    pub fn hold_release(&mut self, id: PacketId, message: M) {
        self.hold(id);
        if let Some(index) = self.position(id) {
            self.entries[index].message = Some(message);
        }
    }

    /// Whether what is sent under that identifier waits until that is durable.
    pub fn is_held(&self, id: PacketId) -> bool {
        self.position(id)
            .is_some_and(|index| matches!(self.entries[index].way, Way::Held | Way::Unkept))
    }

    /// The identifier is durable. Returns what is to be sent now, for the first time; none: nothing waits for it.
    pub fn let_go(&mut self, id: PacketId) -> Option<Resend<'_, M>> {
        let index = self.position(id)?;
        let entry = &mut self.entries[index];
        if entry.way != Way::Held {
            return None;
        }
        entry.way = Way::Sent;
        if entry.step == Step::PubComp {
            entry.message = None;
        }
        Some(match &entry.message {
            Some(message) => Resend::Publish(entry.id, message),
            None => Resend::Release(entry.id),
        })
    }

    /// The identifier could not be made durable.
    pub fn not_kept(&mut self, id: PacketId) {
        if let Some(index) = self.position(id)
            && self.entries[index].way == Way::Held
        {
            self.entries[index].way = Way::Unkept;
        }
    }

    /// Holds what could not be made durable before; to be called after [`resume`](Self::resume). Calls `each` with
    /// the identifier, whether it is of a PUBREL, and the message.
    pub fn hold_unkept(&mut self, mut each: impl FnMut(PacketId, bool, Option<&M>)) {
        for entry in &mut self.entries {
            if entry.way == Way::Unkept {
                entry.way = Way::Held;
                each(entry.id, entry.step == Step::PubComp, entry.message.as_ref());
            }
        }
    }

    /// Takes in what was unfinished when it was stored, in the order in which it was first sent. No message: its
    /// PUBREC had come, or nobody knows it any more.
    pub fn restore(&mut self, id: PacketId, payload_bytes: usize, message: Option<M>) {
        let step = match message {
            Some(_) => Step::PubRec,
            None => Step::PubComp,
        };
        // Its number says that all identifiers have been given out since: those of others are looked at.
        self.next = self.next.max(u64::from(u16::MAX));
        self.entries.push_back(Entry {
            number: 0,
            id,
            step,
            way: Way::Unsent,
            payload_bytes: payload_bytes as u32,
            message,
        });
        self.to_resend += 1;
    }

    /// Takes in what a client had unfinished when it was stored, from the last that was sent to the first. No message: its
    /// PUBREC had come. The identifiers of what is sent later are the caller's, see [`send_as`](Self::send_as).
    pub fn restore_front(&mut self, id: PacketId, qos: Qos, payload_bytes: usize, message: Option<M>) {
        let step = match (qos, &message) {
            (_, None) => Step::PubComp,
            (Qos::ExactlyOnce, Some(_)) => Step::PubRec,
            _ => Step::PubAck,
        };
        self.entries.push_front(Entry {
            number: 0,
            id,
            step,
            way: Way::Unsent,
            payload_bytes: payload_bytes as u32,
            message,
        });
        self.to_resend += 1;
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            let id = PacketId::MIN.saturating_add((self.next % 65_535) as u16);
            // Identifiers are given out in turn, so one can be in use only after a full circle.
            let fresh = self
                .entries
                .front()
                .is_none_or(|oldest| self.next - oldest.number < 65_535);
            if fresh || self.entries.iter().all(|entry| entry.id != id) {
                return id;
            }
            self.next += 1;
        }
    }

    fn position(&self, id: PacketId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }

    fn finish(&mut self, index: usize) -> Option<M> {
        // Most are acknowledged in the order in which they were sent.
        let entry = match index {
            0 => self.entries.pop_front(),
            _ => self.entries.remove(index),
        };
        let entry = entry.expect("the index was just found");
        match entry.way {
            Way::Sent | Way::Held | Way::Unkept => {
                self.used -= 1;
                self.used_bytes -= entry.payload_bytes as usize;
            }
            Way::Unsent => self.to_resend -= 1,
        }
        entry.message
    }

    /// PUBACK came.
    pub fn puback(&mut self, id: PacketId) -> Acked<M> {
        match self.position(id) {
            None => Acked::Unknown,
            Some(index) if self.entries[index].step == Step::PubAck => Acked::Finished(self.finish(index)),
            Some(_) => Acked::Wrong,
        }
    }

    /// PUBREC came. With 0x80 and above the message is settled [MQTT5-4.4.0-2].
    pub fn pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Acked<M> {
        let Some(index) = self.position(id) else {
            return Acked::Unknown;
        };
        match self.entries[index].step {
            Step::PubAck => Acked::Wrong,
            Step::PubRec if reason.is_error() => Acked::Finished(self.finish(index)),
            Step::PubRec => {
                let entry = &mut self.entries[index];
                entry.step = Step::PubComp;
                Acked::Release(entry.message.take())
            }
            // PUBREC again after PUBREL: PUBREL again.
            Step::PubComp => Acked::Release(None),
        }
    }

    /// PUBCOMP came.
    pub fn pubcomp(&mut self, id: PacketId) -> Acked<M> {
        match self.position(id) {
            None => Acked::Unknown,
            Some(index) if self.entries[index].step == Step::PubComp => Acked::Finished(self.finish(index)),
            Some(_) => Acked::Wrong,
        }
    }

    /// The message cannot be sent to this peer: it counts as delivered [MQTT5-3.1.2-25].
    pub fn forget(&mut self, id: PacketId) -> Option<M> {
        self.position(id).and_then(|index| self.finish(index))
    }

    /// The session goes on over a new connection with that window: all that is unfinished is to be
    /// sent again, oldest first.
    pub fn resume(&mut self, window: u16) {
        self.window = window.max(1);
        self.used = 0;
        self.used_bytes = 0;
        self.to_resend = 0;
        for entry in &mut self.entries {
            match entry.way {
                Way::Sent | Way::Unsent => {
                    entry.way = Way::Unsent;
                    self.to_resend += 1;
                }
                Way::Held | Way::Unkept => {
                    self.used += 1;
                    self.used_bytes += entry.payload_bytes as usize;
                }
            }
        }
    }

    /// The next thing to send again, as long as the window has room.
    pub fn next_resend(&mut self) -> Option<Resend<'_, M>> {
        if self.to_resend == 0 || self.used >= self.window {
            return None;
        }
        // Only `PUBREC again` can settle out of turn, so the first unsent one is near the front. What waits for its
        // identifier goes before it.
        let mut waiting = self.entries.iter_mut().filter(|entry| entry.way != Way::Sent);
        let entry = waiting.next().filter(|entry| entry.way == Way::Unsent)?;
        entry.way = Way::Sent;
        self.to_resend -= 1;
        self.used += 1;
        self.used_bytes += entry.payload_bytes as usize;
        Some(match (entry.step, &entry.message) {
            (Step::PubAck | Step::PubRec, Some(message)) => Resend::Publish(entry.id, message),
            _ => Resend::Release(entry.id),
        })
    }

    /// The peer has lost the session: takes all that is unfinished, oldest first. `None` instead of a
    /// message: its PUBREC has come.
    pub fn restart(&mut self) -> impl Iterator<Item = (PacketId, Option<M>)> + use<M> {
        self.used = 0;
        self.used_bytes = 0;
        self.to_resend = 0;
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| (entry.id, entry.message))
    }
}

impl Inflight {
    /// The session ends: what QoS 1 of a shared subscription was not acknowledged goes to another
    /// member, QoS 2 never does [MQTT5-4.8.2-5].
    pub fn into_shared_qos1(self) -> impl Iterator<Item = Queued> {
        self.entries
            .into_iter()
            .filter(|entry| entry.step == Step::PubAck)
            .filter_map(|entry| entry.message)
            .filter(|message| message.shared.is_some())
    }

    /// The bytes of the messages that are kept for a resend.
    pub fn bytes(&self) -> usize {
        self.entries
            .iter()
            .filter_map(|entry| entry.message.as_ref())
            .map(|m| m.message.size())
            .sum()
    }

    /// What is unfinished: identifiers of QoS 2, and the kept messages.
    pub fn unfinished(&self) -> impl Iterator<Item = (Option<PacketId>, Option<&Queued>)> {
        self.entries.iter().map(|entry| {
            let id = (entry.step != Step::PubAck).then_some(entry.id);
            (id, entry.message.as_ref())
        })
    }

    /// The kept messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Arc<crate::Message>> {
        self.entries
            .iter()
            .filter_map(|entry| entry.message.as_ref())
            .map(|queued| &queued.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::tests::queued;

    fn ids(inflight: &mut Inflight) -> Vec<String> {
        std::iter::from_fn(|| {
            inflight.next_resend().map(|resend| match resend {
                Resend::Publish(id, _) => format!("publish {id}"),
                Resend::Release(id) => format!("pubrel {id}"),
            })
        })
        .collect()
    }

    #[test]
    fn flows_and_the_window() {
        let mut inflight = Inflight::<Queued>::new(2);
        let one = inflight.send(Qos::AtLeastOnce, 0, None);
        let two = inflight.send(Qos::ExactlyOnce, 0, None);
        assert!(!inflight.has_room(usize::MAX));
        assert!(matches!(inflight.puback(two), Acked::Wrong));
        assert!(matches!(inflight.pubcomp(two), Acked::Wrong));
        assert!(matches!(inflight.pubrec(one, ReasonCode::Success), Acked::Wrong));
        assert!(matches!(inflight.puback(one), Acked::Finished(_)));
        // An acknowledgement for nothing gains no quota.
        assert!(matches!(inflight.puback(one), Acked::Unknown));
        assert_eq!(inflight.used(), 1);
        assert!(matches!(
            inflight.pubrec(two, ReasonCode::Success),
            Acked::Release(_)
        ));
        assert!(matches!(
            inflight.pubrec(two, ReasonCode::Success),
            Acked::Release(_)
        ));
        assert_eq!(inflight.used(), 1);
        assert!(matches!(inflight.pubcomp(two), Acked::Finished(_)));
        let three = inflight.send(Qos::ExactlyOnce, 0, None);
        assert!(matches!(
            inflight.pubrec(three, ReasonCode::NotAuthorized),
            Acked::Finished(_)
        ));
        assert!(inflight.is_empty() && inflight.used() == 0);
    }

    #[test]
    fn identifiers_are_free_even_after_a_full_circle() {
        let mut inflight = Inflight::<Queued>::new(10);
        let stuck = inflight.send(Qos::AtLeastOnce, 0, None);
        for _ in 0..70_000 {
            let id = inflight.send(Qos::AtLeastOnce, 0, None);
            assert_ne!(id, stuck);
            inflight.puback(id);
        }
    }

    #[test]
    fn resumption_keeps_order_and_the_new_window() {
        let mut inflight = Inflight::new(4);
        let kept: Vec<_> = (0..4)
            .map(|i| inflight.send([Qos::AtLeastOnce, Qos::ExactlyOnce][i % 2], 1, Some(queued("t"))))
            .collect();
        inflight.pubrec(kept[1], ReasonCode::Success);
        inflight.resume(2);
        assert_eq!(ids(&mut inflight), ["publish 1", "pubrel 2"]);
        assert!(!inflight.has_room(usize::MAX));
        inflight.puback(kept[0]);
        assert_eq!(ids(&mut inflight), ["publish 3"]);
        inflight.pubcomp(kept[1]);
        assert_eq!(ids(&mut inflight), ["publish 4"]);
        assert!(!inflight.has_room(usize::MAX));
        inflight.puback(kept[2]);
        assert!(inflight.has_room(usize::MAX));
    }

    #[test]
    fn a_lost_session_gives_back_what_is_unfinished_in_order() {
        let mut inflight = Inflight::<Queued>::new(4);
        let id = |n| PacketId::new(n).unwrap();
        inflight.send_as(id(7), Qos::ExactlyOnce, 1, Some(queued("a")));
        inflight.send_as(id(3), Qos::ExactlyOnce, 1, Some(queued("b")));
        inflight.pubrec(id(7), ReasonCode::Success);
        let left: Vec<_> = inflight
            .restart()
            .map(|(id, kept)| (id.get(), kept.is_some()))
            .collect();
        assert_eq!(left, [(7, false), (3, true)]);
        assert!(inflight.has_room(usize::MAX) && inflight.is_empty() && inflight.used() == 0);
    }

    #[test]
    fn what_could_not_be_made_durable_is_said_again_with_its_message_and_in_order() {
        let mut inflight = Inflight::new(4);
        let held: Vec<_> = (0..3)
            .map(|_| inflight.send(Qos::ExactlyOnce, 1, Some(queued("t"))))
            .collect();
        // PUBREC of the first came, and what it says is not durable; the second waits for its identifier.
        let Acked::Release(Some(message)) = inflight.pubrec(held[0], ReasonCode::Success) else {
            panic!("PUBREC is right");
        };
        inflight.hold_release(held[0], message);
        inflight.hold(held[1]);
        inflight.not_kept(held[0]);
        inflight.not_kept(held[1]);
        inflight.resume(4);
        let mut again = Vec::new();
        inflight.hold_unkept(|id, is_released, message| again.push((id, is_released, message.is_some())));
        assert_eq!(again, [(held[0], true, true), (held[1], false, true)]);
        // The third was sent, and is sent again behind them.
        assert!(ids(&mut inflight).is_empty());
        assert!(matches!(inflight.let_go(held[0]), Some(Resend::Release(_))));
        assert!(ids(&mut inflight).is_empty());
        assert!(matches!(inflight.let_go(held[1]), Some(Resend::Publish(..))));
        assert_eq!(ids(&mut inflight), ["publish 3"]);
    }
}
