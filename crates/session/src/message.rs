//! An application message on its way through.

use std::sync::Arc;

use bytes::Bytes;
use martlet_codec::{Place, Properties, PropertiesBuf, PropertyId, Publish, Qos, Topic, TopicBuf, Will};

use crate::Now;

/// An application message that is kept: queued, in flight, retained, or on its way to another shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicBuf,
    /// What the server forwards unaltered, in its order [MQTT5-3.3.2-18]; no expiry, no alias, no
    /// subscription identifier among them.
    pub properties: PropertiesBuf,
    /// The payload.
    pub payload: Bytes,
    /// The QoS of the publisher.
    pub qos: Qos,
    /// The RETAIN of the publisher.
    pub retain: bool,
    /// When it expires, on the monotonic clock.
    pub expires_at_ms: Option<u64>,
    /// The client identifier of the publisher; none for messages of the server itself.
    pub publisher: Option<Arc<str>>,
    /// The number under which it is stored for sessions.
    pub number: Number,
}

/// The number under which a message is stored; 0: it is not. Numbers have 48 bits, and so many bytes keep a message
/// within its size class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Number([u8; 6]);

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        debug_assert!(number < 1 << 48, "numbers have 48 bits");
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&number.to_le_bytes()[..6]);
        Self(bytes)
    }
}

impl Number {
    /// As a number.
    #[inline]
    pub fn get(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&self.0);
        u64::from_le_bytes(bytes)
    }
}

/// Names a stored message on its way to one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// How many recipients one number of a message has keys for.
const KEYS_PER_NUMBER: u32 = 0xffff;

impl Key {
    /// The key of the recipient at that place among all of a message.
    pub fn new(number: u64, at: u32) -> Self {
        let (more, place) = (at / KEYS_PER_NUMBER, at % KEYS_PER_NUMBER);
        Self((number + u64::from(more)) << 16 | u64::from(place + 1))
    }

    /// How many numbers a message takes that has so many recipients.
    pub fn numbers(recipients: usize) -> u64 {
        1 + recipients as u64 / u64::from(KEYS_PER_NUMBER)
    }

    /// The number of the message.
    pub fn number(self) -> u64 {
        self.0 >> 16
    }

    /// The place of the recipient among those of that number.
    pub fn at(self) -> u32 {
        (self.0 & 0xffff) as u32 - 1
    }
}

/// The same, borrowed: from a [`Message`], or straight from the bytes of a PUBLISH.
#[derive(Debug, Clone, Copy)]
pub struct MessageView<'a> {
    /// Where it was published.
    pub topic: Topic<'a>,
    /// The same, where somebody owns it already.
    pub owned_topic: Option<&'a TopicBuf>,
    /// What is forwarded unaltered.
    pub properties: Properties<'a>,
    /// The payload.
    pub payload: &'a [u8],
    /// The payload again, where its bytes can be shared.
    pub shared: Option<&'a Bytes>,
    /// The QoS of the publisher.
    pub qos: Qos,
    /// The RETAIN of the publisher.
    pub retain: bool,
    /// When it expires, on the monotonic clock.
    pub expires_at_ms: Option<u64>,
    /// The client identifier of the publisher.
    pub publisher: Option<&'a Arc<str>>,
    /// The number under which it is stored; 0: it is not.
    pub number: u64,
}

/// Whether a server forwards that property of a PUBLISH or a will as it is.
pub fn is_forwarded(id: PropertyId) -> bool {
    matches!(
        id,
        PropertyId::PayloadFormatIndicator
            | PropertyId::ContentType
            | PropertyId::ResponseTopic
            | PropertyId::CorrelationData
            | PropertyId::UserProperty
    )
}

/// The properties that are forwarded, taken out of all those of a PUBLISH into `scratch` where some
/// are not.
pub fn forwarded<'a>(all: Properties<'a>, scratch: &'a mut Vec<u8>) -> Properties<'a> {
    if all.is_empty() || all.iter().all(|(id, _)| is_forwarded(id)) {
        return all;
    }
    scratch.clear();
    all.retain_into(scratch, is_forwarded);
    Properties::check(scratch, Place::Will).expect("a part of checked properties is checked")
}

/// When a message with that expiry interval expires. An interval of 0 is over at once: such a message
/// is for those who can take it now.
pub fn expires_at_ms(interval_s: Option<u32>, now: Now) -> Option<u64> {
    interval_s.map(|s| now.mono_ms + u64::from(s) * 1_000)
}

impl<'a> MessageView<'a> {
    /// The view of a PUBLISH whose alias is resolved and whose properties are cut to the forwarded ones.
    pub fn of_publish(
        publish: &Publish<'a>,
        topic: Topic<'a>,
        properties: Properties<'a>,
        publisher: Option<&'a Arc<str>>,
        now: Now,
    ) -> Self {
        Self {
            topic,
            owned_topic: None,
            properties,
            payload: publish.payload,
            shared: None,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            expires_at_ms: expires_at_ms(publish.properties.message_expiry_s(), now),
            publisher,
            number: 0,
        }
    }

    /// Whether its time is over. A message with an expiry of 0 seconds is not over in the very
    /// millisecond of its arrival, so that those who can take it now do.
    pub fn has_expired(&self, now: Now) -> bool {
        self.expires_at_ms.is_some_and(|at| now.mono_ms > at)
    }

    /// The expiry to send on, in seconds: what is left, at least 1 [MQTT5-3.3.2-6]; 0 stays 0. A message
    /// that was sent before its time was over must be finished [MQTT5-4.3.3-7] and has 1 left.
    pub fn expiry_left_s(&self, now: Now) -> Option<u32> {
        self.expires_at_ms.map(|at| match at.checked_sub(now.mono_ms) {
            Some(0) => 0,
            None => 1,
            Some(left_ms) => left_ms.div_ceil(1_000) as u32,
        })
    }

    /// Whether it may wait: not one whose expiry interval is 0.
    pub fn may_wait(&self, now: Now) -> bool {
        self.expires_at_ms.is_none_or(|at| at > now.mono_ms)
    }

    /// An owned copy; the payload is shared where it can be.
    pub fn to_message(self) -> Message {
        Message {
            topic: self.owned_topic.cloned().unwrap_or_else(|| self.topic.to_buf()),
            properties: self.properties.to_buf(),
            payload: self
                .shared
                .cloned()
                .unwrap_or_else(|| Bytes::copy_from_slice(self.payload)),
            qos: self.qos,
            retain: self.retain,
            expires_at_ms: self.expires_at_ms,
            publisher: self.publisher.cloned(),
            number: self.number.into(),
        }
    }
}

impl Message {
    /// The same, borrowed.
    pub fn view(&self) -> MessageView<'_> {
        MessageView {
            topic: self.topic.as_topic(),
            owned_topic: Some(&self.topic),
            properties: self.properties.as_properties(),
            payload: &self.payload,
            shared: Some(&self.payload),
            qos: self.qos,
            retain: self.retain,
            expires_at_ms: self.expires_at_ms,
            publisher: self.publisher.as_ref(),
            number: self.number.get(),
        }
    }

    /// The message of a will. Its expiry counts from publication, so it is not set here; the interval
    /// in seconds stands beside it.
    pub fn of_will(will: &Will<'_>, publisher: Arc<str>) -> (Self, Option<u32>) {
        let mut scratch = Vec::new();
        let message = Self {
            topic: will.topic.to_buf(),
            properties: forwarded(will.properties, &mut scratch).to_buf(),
            payload: Bytes::copy_from_slice(will.payload),
            qos: will.qos,
            retain: will.retain,
            expires_at_ms: None,
            publisher: Some(publisher),
            number: Number::default(),
        };
        (message, will.properties.message_expiry_s())
    }

    /// The bytes that it holds, for limits.
    pub fn size(&self) -> usize {
        let properties = self.properties.as_properties().as_bytes();
        size(self.topic.as_str().len(), properties.len(), self.payload.len())
    }
}

/// The bytes that a message holds, from those of its parts.
pub fn size(topic: usize, properties: usize, payload: usize) -> usize {
    MESSAGE_OVERHEAD + topic + properties + payload
}

/// What a message in a queue costs beside its topic, properties and payload, in bytes: itself with its
/// counts 128, its place in the queue 48 and at times twice that, and what the allocator rounds up in three
/// places. Measured in the process: limits in bytes are promises about memory.
const MESSAGE_OVERHEAD: usize = 272;

/// A message on offer to many recipients: borrowed, and made into a shared one when the first of
/// them keeps it.
#[derive(Debug)]
pub struct Offer<'a> {
    view: MessageView<'a>,
    kept: Option<Arc<Message>>,
    /// Somebody may have got it before the broker was started: it is sent with DUP.
    pub resent: bool,
}

impl<'a> Offer<'a> {
    /// Offers a message that nobody keeps yet.
    pub fn new(view: MessageView<'a>) -> Self {
        Self {
            view,
            kept: None,
            resent: false,
        }
    }

    /// Offers a message that is kept already.
    pub fn kept(message: &'a Arc<Message>) -> Self {
        Self {
            view: message.view(),
            kept: Some(Arc::clone(message)),
            resent: false,
        }
    }

    /// The message, borrowed.
    pub fn view(&self) -> &MessageView<'a> {
        &self.view
    }

    /// It is stored under that number. Said before anybody keeps it.
    pub fn store_as(&mut self, number: u64) {
        debug_assert!(self.kept.is_none(), "who keeps it does not know that number");
        self.view.number = number;
    }

    /// The message, shared by all who keep it.
    pub fn keep(&mut self) -> Arc<Message> {
        Arc::clone(self.kept.get_or_insert_with(|| Arc::new(self.view.to_message())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            mono_ms: ms,
            wall_ms: 0,
        }
    }

    #[test]
    fn expiry_counts_down_and_is_never_sent_as_zero() {
        let mut message = Message::of_will(
            &Will {
                topic: Topic::literal("t"),
                payload: b"",
                qos: Qos::AtMostOnce,
                retain: false,
                properties: Properties::EMPTY,
            },
            "c".into(),
        )
        .0;
        message.expires_at_ms = expires_at_ms(Some(10), at(1_000));
        let view = message.view();
        assert_eq!(view.expiry_left_s(at(1_000)), Some(10));
        assert_eq!(view.expiry_left_s(at(4_001)), Some(7));
        assert_eq!(view.expiry_left_s(at(10_999)), Some(1));
        assert_eq!(view.expiry_left_s(at(20_000)), Some(1));
        assert!(!view.has_expired(at(11_000)) && view.has_expired(at(11_001)));
        assert!(view.may_wait(at(10_999)) && !view.may_wait(at(11_000)));
    }
}
