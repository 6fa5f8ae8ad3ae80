//! Accepted messages that were not sent yet, and the count of all that have no end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use martlet_codec::{Address, Delivery, PacketId, Publish, Qos};

use super::Token;
use super::store::Stage;
use crate::event;
use crate::limits;
use crate::message::Message;
use crate::policy::OutboxLimits;

/// An accepted message that may have to be sent, or sent again.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) token: Token,
    pub(super) packet_id: Option<PacketId>,
    /// What stands for the packet identifier in the log.
    pub(super) number: PacketId,
    pub(super) message: Message,
}

impl Pending {
    fn delivery(&self) -> Delivery {
        match (self.message.qos, self.packet_id) {
            (Qos::AtLeastOnce, Some(id)) => Delivery::AtLeastOnce(id),
            (Qos::ExactlyOnce, Some(id)) => Delivery::ExactlyOnce(id),
            _ => Delivery::AtMostOnce,
        }
    }

    /// What the application is told of it.
    pub(super) fn told(&self, stage: Stage) -> event::Pending {
        event::Pending {
            token: self.token,
            packet_id: self.packet_id,
            message: Some(self.message.clone()),
            stage,
        }
    }

    pub(super) fn publish<'a>(&'a self, dup: bool, address: Address<'a>) -> Publish<'a> {
        Publish {
            dup,
            retain: self.message.retain,
            delivery: self.delivery(),
            address,
            properties: self.message.properties.as_properties(),
            payload: &self.message.payload,
        }
    }
}

/// The bytes of a message that count.
pub(super) fn size(message: &Message) -> usize {
    let properties = message.properties.as_properties().as_bytes();
    message.topic.as_str().len() + properties.len() + message.payload.len()
}

fn fits(limits: &OutboxLimits, messages: usize, bytes: usize, more_bytes: usize) -> bool {
    let messages_max = limits.messages_max.clamp(1, limits::OUTBOX_MESSAGES_CEILING);
    messages == 0 || (messages < messages_max && bytes.saturating_add(more_bytes) <= limits.bytes_max)
}

/// Messages that wait to be sent, each queue in the order of its tokens.
#[derive(Debug)]
pub(super) struct Outbox {
    qos0: VecDeque<Pending>,
    acknowledged: VecDeque<Pending>,
    /// Messages without an end, sent or not, and their bytes.
    messages: usize,
    bytes: usize,
    /// Of those that wait to be sent.
    unsent_bytes: usize,
    /// When messages have waited too long. Those that were sent meanwhile stay until their time or the
    /// next clean-up.
    expiries: BinaryHeap<Reverse<(u64, Token)>>,
    /// Messages of QoS 1 and 2 up to this one may leave. Without a store: all.
    sendable: Token,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            qos0: VecDeque::new(),
            acknowledged: VecDeque::new(),
            messages: 0,
            bytes: 0,
            unsent_bytes: 0,
            expiries: BinaryHeap::new(),
            sendable: Token(u64::MAX),
        }
    }
}

impl Outbox {
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that were not sent yet.
    pub(super) fn unsent(&self) -> usize {
        self.qos0.len() + self.acknowledged.len()
    }

    /// Whether a message of that size fits; one always fits an empty outbox.
    pub(super) fn has_room(&self, limits: &OutboxLimits, bytes: usize) -> bool {
        fits(limits, self.messages, self.bytes, bytes)
    }

    /// Whether it would fit if nothing waited to be sent.
    pub(super) fn could_have_room(&self, limits: &OutboxLimits, bytes: usize) -> bool {
        let (messages, sent_bytes) = (self.messages - self.unsent(), self.bytes - self.unsent_bytes);
        fits(limits, messages, sent_bytes, bytes)
    }

    /// Takes a new message in.
    pub(super) fn push(&mut self, pending: Pending, expires_ms: Option<u64>) {
        self.count(size(&pending.message));
        if let Some(at_ms) = expires_ms {
            self.expires(at_ms, pending.token);
        }
        self.unsent_bytes += size(&pending.message);
        self.queue(pending.packet_id.is_some()).push_back(pending);
    }

    /// There is a message more, which does not wait to be sent.
    pub(super) fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// That message waits until then at most.
    pub(super) fn expires(&mut self, at_ms: u64, token: Token) {
        if self.expiries.len() > 2 * self.unsent() + EXPIRIES_SPARE {
            self.clean_up();
        }
        self.expiries.push(Reverse((at_ms, token)));
    }

    /// Takes back what was sent and is to be sent first again. Called from the newest to the oldest.
    pub(super) fn push_front(&mut self, pending: Pending) {
        self.unsent_bytes += size(&pending.message);
        self.queue(pending.packet_id.is_some()).push_front(pending);
    }

    fn queue(&mut self, is_acknowledged: bool) -> &mut VecDeque<Pending> {
        if is_acknowledged {
            &mut self.acknowledged
        } else {
            &mut self.qos0
        }
    }

    /// The next message to send: the oldest, but QoS 0 does not wait for a window that is full, nor for the store.
    pub(super) fn pop(&mut self, window_has_room: bool) -> Option<Pending> {
        let sendable = self.sendable;
        let may_leave = |pending: &Pending| pending.token <= sendable;
        self.pop_next(window_has_room && self.acknowledged.front().is_some_and(may_leave))
    }

    /// The oldest message.
    pub(super) fn pop_oldest(&mut self) -> Option<Pending> {
        self.pop_next(true)
    }

    fn pop_next(&mut self, window_has_room: bool) -> Option<Pending> {
        let token = |queue: &VecDeque<Pending>| queue.front().map(|pending| pending.token);
        let next = match (token(&self.qos0), token(&self.acknowledged)) {
            (Some(zero), Some(other)) if window_has_room && other < zero => self.acknowledged.pop_front(),
            (None, Some(_)) if window_has_room => self.acknowledged.pop_front(),
            _ => self.qos0.pop_front(),
        };
        self.unsent_bytes -= next.as_ref().map_or(0, |pending| size(&pending.message));
        next
    }

    /// Messages of QoS 1 and 2 up to that one may leave.
    pub(super) fn sendable(&mut self, token: Token) {
        // Without a store there is no limit; the first call sets one.
        let has_limit = self.sendable < Token(u64::MAX);
        self.sendable = if has_limit {
            self.sendable.max(token)
        } else {
            token
        };
    }

    /// Whether all messages of QoS 1 and 2 that wait are among those up to that one.
    pub(super) fn are_marked(&self, marked: Token) -> bool {
        self.acknowledged
            .back()
            .is_none_or(|newest| newest.token <= marked)
    }

    /// Messages of QoS 1 and 2 that wait.
    pub(super) fn unsent_acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// The next of them, so many at most.
    pub(super) fn next_acknowledged(&self, most: usize) -> impl Iterator<Item = Token> {
        self.acknowledged.iter().take(most).map(|pending| pending.token)
    }

    /// All that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.qos0.iter().chain(&self.acknowledged)
    }

    /// Takes a message out that waits; it still counts.
    pub(super) fn remove(&mut self, token: Token) -> Option<Pending> {
        for queue in [&mut self.qos0, &mut self.acknowledged] {
            if let Ok(index) = queue.binary_search_by_key(&token, |pending| pending.token) {
                let pending = queue.remove(index)?;
                self.unsent_bytes -= size(&pending.message);
                return Some(pending);
            }
        }
        None
    }

    /// When the next message has waited too long; a time that may be too early, never too late.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.expiries.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// A message that has waited too long; it still counts.
    pub(super) fn pop_expired(&mut self, now_ms: u64) -> Option<Pending> {
        while self.next_expiry_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let Reverse((_, token)) = self.expiries.pop()?;
            if let Some(expired) = self.remove(token) {
                return Some(expired);
            }
        }
        None
    }

    fn clean_up(&mut self) {
        let waits = |token: Token| {
            [&self.qos0, &self.acknowledged].iter().any(|queue| {
                queue
                    .binary_search_by_key(&token, |pending| pending.token)
                    .is_ok()
            })
        };
        let kept = self.expiries.iter().filter(|Reverse((_, token))| waits(*token));
        self.expiries = kept.copied().collect();
    }

    /// No message is left.
    pub(super) fn clear(&mut self) {
        *self = Self {
            sendable: self.sendable,
            ..Self::default()
        };
    }

    /// A message has its end.
    pub(super) fn ended(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

/// Expiries of messages that were sent already, beyond twice the number of those that wait. At it:
/// they are cleaned up.
const EXPIRIES_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Overflow;
    use martlet_codec::TopicBuf;

    const LIMITS: OutboxLimits = OutboxLimits {
        messages_max: 10,
        bytes_max: 10,
        overflow: Overflow::Wait,
        time_to_live: None,
    };

    fn pending(token: u64, qos: Qos) -> Pending {
        let id = PacketId::MIN;
        Pending {
            token: Token(token),
            packet_id: (qos != Qos::AtMostOnce).then_some(id),
            number: id,
            message: Message::new(TopicBuf::new("t").unwrap(), "1234").qos(qos),
        }
    }

    #[test]
    fn qos_0_passes_a_window_that_is_full_and_order_is_kept_else() {
        let mut outbox = Outbox::default();
        for (token, qos) in [(1, Qos::AtLeastOnce), (2, Qos::AtMostOnce), (3, Qos::ExactlyOnce)] {
            outbox.push(pending(token, qos), None);
        }
        assert_eq!(outbox.pop(false).unwrap().token, Token(2));
        assert!(outbox.pop(false).is_none());
        assert_eq!(outbox.pop(true).unwrap().token, Token(1));
        assert_eq!(outbox.pop(true).unwrap().token, Token(3));
        assert_eq!((outbox.messages(), outbox.unsent()), (3, 0));
    }

    #[test]
    fn one_message_always_fits_and_limits_count_what_has_no_end() {
        let mut outbox = Outbox::default();
        assert!(outbox.has_room(&LIMITS, 1_000));
        outbox.push(pending(1, Qos::AtMostOnce), None);
        assert!(outbox.has_room(&LIMITS, 5) && !outbox.has_room(&LIMITS, 6));
        outbox.pop(true);
        assert!(!outbox.has_room(&LIMITS, 6));
        outbox.ended(5);
        assert!(outbox.has_room(&LIMITS, 1_000));
    }

    #[test]
    fn expiries_of_sent_messages_do_not_pile_up() {
        let mut outbox = Outbox::default();
        for token in 1..10_000 {
            outbox.push(pending(token, Qos::AtMostOnce), Some(1 << 40));
            outbox.pop(true);
        }
        assert!(outbox.expiries.len() < 200, "{}", outbox.expiries.len());
        outbox.push(pending(10_000, Qos::AtLeastOnce), Some(5));
        assert_eq!(outbox.next_expiry_ms(), Some(5));
        assert!(outbox.pop_expired(4).is_none());
        assert_eq!(outbox.pop_expired(5).unwrap().token, Token(10_000));
        assert!(outbox.pop_expired(5).is_none());
    }
}
