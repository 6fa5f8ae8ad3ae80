//! What the records of a store say.
//!
//! ```text
//! 1 session       number, client identifier, flags (1 over, 2 away, 4 has a will), expiry in s, away since, sent up to;
//!                 with a will: its delay in ms, its expiry in s or none, its message
//! 2 subscription  number, session, options (QoS, 4 No Local, 8 Retain As Published, 16 and 32 Retain Handling),
//!                 identifier or none, filter
//! 3 message       key, recipient, message: for one session
//! 4 body          number, message: for several, each of which has a link
//! 5 link          key, recipient: the number of the body is in the key
//! 6 retained      version, when it goes or none, message
//! 7 retained link version, when it goes or none, number of the body
//! 8 received      session, identifier: QoS 2 from a client, not released
//! 9 sending       session, identifier, order, key or none: QoS 2 to a client
//! 10 releasing    session, identifier, order: its PUBREC has come
//! 11 clock        the time of the store, the time of the system
//! 12 format       the version of this format
//!
//! recipient = session, QoS and flags (4 RETAIN, 8 shared), subscription identifiers with their count,
//!             the filter of the shared subscription
//! message   = QoS and flags (4 RETAIN, 8 has a publisher), when it expires or none, topic, publisher, properties,
//!             payload to the end
//! ```
//!
//! Numbers take seven bits a byte, texts begin with their length, times are milliseconds of the store's clock.

use std::sync::Arc;

use bytes::Bytes;
use martlet_broker::{Recipient, StoredSession, StoredSubscription, StoredWill};
use martlet_codec::{FilterBuf, PacketId, Place, Properties, Qos, RetainHandling, SubscribeOptions, Topic};
use martlet_journal::Report;
use martlet_session::{Key, Message, Now, message};

use crate::bytes::{Reader, Writer};

/// The format that this version writes and reads.
pub const FORMAT: u64 = 1;

/// The format of a store that an import has begun and not finished.
pub const UNFINISHED: u64 = u64::MAX;

/// Whether this version may read a store of that format, in which something was lost or not: the record that ended an
/// import may be what is lost.
pub(crate) fn may_read(format: u64, report: &Report) -> Result<(), crate::Error> {
    match format {
        UNFINISHED if report.has_damage() => Ok(()),
        UNFINISHED => Err(crate::Error::Unfinished),
        ..=FORMAT => Ok(()),
        found => Err(crate::Error::Format { found, known: FORMAT }),
    }
}

/// The kinds of records.
#[allow(missing_docs)] // the module tells what each is
pub mod kind {
    pub const SESSION: u8 = 1;
    pub const SUBSCRIPTION: u8 = 2;
    pub const MESSAGE: u8 = 3;
    pub const BODY: u8 = 4;
    pub const LINK: u8 = 5;
    pub const RETAINED: u8 = 6;
    pub const RETAINED_LINK: u8 = 7;
    pub const RECEIVED: u8 = 8;
    pub const SENDING: u8 = 9;
    pub const RELEASING: u8 = 10;
    pub const CLOCK: u8 = 11;
    pub const FORMAT: u8 = 12;
}

/// What a record is named by: two records of the same name are one thing, of which the later holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// The number of a session.
    Session(u64),
    /// The number of a subscription.
    Subscription(u64),
    /// A message for one session, or a link.
    Message(Key),
    /// The number of a body.
    Body(u64),
    /// The version of a retained message.
    Retained(u64),
    /// The version of a retained message that is a link.
    RetainedLink(u64),
    /// An identifier from a client.
    Received(u64, PacketId),
    /// An identifier to a client.
    Sent(u64, PacketId),
    /// The clock.
    Clock,
    /// The format.
    Format,
}

/// How times on the monotonic clock of this process become times of the store, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The time of the store where the monotonic clock is 0.
    zero_ms: i64,
}

impl Times {
    /// The relation of the two clocks at `now`; it holds as long as the process runs.
    pub fn at(now: Now) -> Self {
        Self {
            zero_ms: now.wall_ms.cast_signed() - now.mono_ms.cast_signed(),
        }
    }

    /// Times stay those of the store.
    pub const AS_STORED: Self = Self { zero_ms: 0 };

    fn stored(self, mono_ms: u64) -> u64 {
        mono_ms.saturating_add_signed(self.zero_ms)
    }

    /// What is over already is over since the start of the clock.
    pub(crate) fn mono(self, stored_ms: u64) -> u64 {
        stored_ms.saturating_add_signed(-self.zero_ms)
    }
}

const RETAIN: u8 = 4;
const SHARED: u8 = 8;
const RESENT: u8 = 16;
const PUBLISHER: u8 = 8;
const OVER: u8 = 1;
const AWAY: u8 = 2;
const WILL: u8 = 4;
const NO_LOCAL: u8 = 4;
const AS_PUBLISHED: u8 = 8;
const HANDLING_SHIFT: u8 = 4;

pub(crate) fn write_message(out: &mut Vec<u8>, message: &Message, times: Times) {
    let mut out = Writer(out);
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.byte(
        message.qos.as_u8() | flag(message.retain, RETAIN) | flag(message.publisher.is_some(), PUBLISHER),
    );
    out.optional(message.expires_at_ms.map(|at| times.stored(at)));
    out.bytes(message.topic.as_str().as_bytes());
    if let Some(publisher) = &message.publisher {
        out.bytes(publisher.as_bytes());
    }
    out.bytes(message.properties.as_properties().as_bytes());
    out.0.extend_from_slice(&message.payload);
}

/// A message as it stands in a record.
#[derive(Debug, Clone, Copy)]
pub struct MessageRecord<'a> {
    /// The QoS of the publisher.
    pub qos: Qos,
    /// The RETAIN of the publisher.
    pub retain: bool,
    /// When it expires, in the time of the store.
    pub expires_at_ms: Option<u64>,
    /// Where it was published.
    pub topic: Topic<'a>,
    /// The client identifier of the publisher.
    pub publisher: Option<&'a str>,
    /// What is forwarded unaltered.
    pub properties: Properties<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> MessageRecord<'a> {
    /// What stands in `bytes` to their end; none: no message does.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        let flags = bytes.byte()?;
        let expires_at_ms = bytes.optional()?;
        let topic = Topic::from_bytes(bytes.bytes()?).ok()?;
        let publisher = match flags & PUBLISHER {
            0 => None,
            _ => Some(bytes.text()?),
        };
        let properties = Properties::check(bytes.bytes()?, Place::Will).ok()?;
        Some(Self {
            qos: Qos::from_u8(flags & 3)?,
            retain: flags & RETAIN != 0,
            expires_at_ms,
            topic,
            publisher,
            properties,
            payload: bytes.0,
        })
    }

    /// The same, owned.
    pub fn to_message(self, number: u64, times: Times) -> Message {
        Message {
            topic: self.topic.to_buf(),
            properties: self.properties.to_buf(),
            payload: Bytes::copy_from_slice(self.payload),
            qos: self.qos,
            retain: self.retain,
            expires_at_ms: self.expires_at_ms.map(|at| times.mono(at)),
            publisher: self.publisher.map(Arc::from),
            number: number.into(),
        }
    }

    /// What it takes in memory.
    pub fn size(&self) -> usize {
        message::size(
            self.topic.as_str().len(),
            self.properties.as_bytes().len(),
            self.payload.len(),
        )
    }
}

pub(crate) fn write_recipient(out: &mut Vec<u8>, recipient: &Recipient) {
    let mut out = Writer(out);
    out.number(recipient.key.0);
    out.number(recipient.session);
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.byte(
        recipient.qos.as_u8()
            | flag(recipient.retain, RETAIN)
            | flag(recipient.shared.is_some(), SHARED)
            | flag(recipient.resent, RESENT),
    );
    out.number(recipient.subscription_ids.len() as u64);
    for id in &recipient.subscription_ids {
        out.number(u64::from(*id));
    }
    if let Some(shared) = &recipient.shared {
        out.bytes(shared.as_bytes());
    }
}

/// Reads a recipient; what is left is the message, if the record has it.
pub fn read_recipient(bytes: &[u8]) -> Option<(Recipient, &[u8])> {
    let mut bytes = Reader(bytes);
    let key = Key(bytes.number()?);
    let session = bytes.number()?;
    let flags = bytes.byte()?;
    let count = bytes.number()?;
    // Each takes a byte at least, so nothing is reserved for what is not there.
    let mut subscription_ids = Vec::with_capacity(bytes.0.len().min(usize::try_from(count).ok()?));
    for _ in 0..count {
        subscription_ids.push(u32::try_from(bytes.number()?).ok()?);
    }
    let shared = match flags & SHARED {
        0 => None,
        _ => Some(bytes.text()?.into()),
    };
    let recipient = Recipient {
        session,
        key,
        qos: Qos::from_u8(flags & 3)?,
        retain: flags & RETAIN != 0,
        subscription_ids: subscription_ids.into(),
        shared,
        resent: flags & RESENT != 0,
    };
    Some((recipient, bytes.0))
}

pub(crate) fn write_session(out: &mut Vec<u8>, session: &StoredSession, times: Times) {
    let mut writer = Writer(out);
    writer.number(session.number);
    writer.bytes(session.client_id.as_bytes());
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    writer.byte(
        flag(session.is_over, OVER)
            | flag(session.away_since_ms.is_some(), AWAY)
            | flag(session.will.is_some(), WILL),
    );
    writer.number(u64::from(session.expiry_s));
    writer.number(session.away_since_ms.unwrap_or(0));
    writer.number(session.sent_up_to);
    if let Some(will) = &session.will {
        writer.number(will.delay_ms);
        writer.optional(will.expiry_s.map(u64::from));
        write_message(out, &will.message, times);
    }
}

/// Reads a session.
pub fn read_session(bytes: &[u8], times: Times) -> Option<StoredSession> {
    let mut bytes = Reader(bytes);
    let number = bytes.number()?;
    let client_id = bytes.text()?.into();
    let flags = bytes.byte()?;
    let expiry_s = u32::try_from(bytes.number()?).ok()?;
    let away_since_ms = bytes.number()?;
    let sent_up_to = bytes.number()?;
    let will = match flags & WILL {
        0 => None,
        _ => Some(StoredWill {
            delay_ms: bytes.number()?,
            expiry_s: match bytes.optional()? {
                None => None,
                Some(expiry_s) => Some(u32::try_from(expiry_s).ok()?),
            },
            message: Arc::new(MessageRecord::read(bytes.0)?.to_message(0, times)),
        }),
    };
    Some(StoredSession {
        number,
        client_id,
        expiry_s,
        is_over: flags & OVER != 0,
        away_since_ms: (flags & AWAY != 0).then_some(away_since_ms),
        sent_up_to,
        will,
    })
}

pub(crate) fn write_subscription(out: &mut Vec<u8>, subscription: &StoredSubscription) {
    let mut out = Writer(out);
    out.number(subscription.number);
    out.number(subscription.session);
    let options = subscription.options;
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.byte(
        options.qos.as_u8()
            | flag(options.no_local, NO_LOCAL)
            | flag(options.retain_as_published, AS_PUBLISHED)
            | (options.retain_handling as u8) << HANDLING_SHIFT,
    );
    out.optional(subscription.identifier.map(u64::from));
    out.bytes(subscription.filter.as_str().as_bytes());
}

/// Reads a subscription.
pub fn read_subscription(bytes: &[u8]) -> Option<StoredSubscription> {
    let mut bytes = Reader(bytes);
    let number = bytes.number()?;
    let session = bytes.number()?;
    let flags = bytes.byte()?;
    let identifier = match bytes.optional()? {
        None => None,
        // It has 28 bits on the wire.
        Some(identifier) => Some(u32::try_from(identifier).ok().filter(|id| *id < 1 << 28)?),
    };
    Some(StoredSubscription {
        number,
        session,
        filter: FilterBuf::new(bytes.text()?).ok()?,
        options: SubscribeOptions {
            qos: Qos::from_u8(flags & 3)?,
            no_local: flags & NO_LOCAL != 0,
            retain_as_published: flags & AS_PUBLISHED != 0,
            retain_handling: match flags >> HANDLING_SHIFT {
                0 => RetainHandling::Always,
                1 => RetainHandling::New,
                2 => RetainHandling::Never,
                _ => return None,
            },
        },
        identifier,
    })
}

/// A retained message in a record.
#[derive(Debug, Clone, Copy)]
pub struct RetainedRecord<'a> {
    /// Its version.
    pub version: u64,
    /// When it goes, in the time of the store.
    pub expires_at_ms: Option<u64>,
    /// The message, or the number of its body.
    pub rest: &'a [u8],
}

pub(crate) fn write_retained(out: &mut Vec<u8>, version: u64, expires_at_ms: Option<u64>, times: Times) {
    let mut out = Writer(out);
    out.number(version);
    out.optional(expires_at_ms.map(|at| times.stored(at)));
}

/// Reads a retained message or a link to one.
pub fn read_retained(bytes: &[u8]) -> Option<RetainedRecord<'_>> {
    let mut bytes = Reader(bytes);
    Some(RetainedRecord {
        version: bytes.number()?,
        expires_at_ms: bytes.optional()?,
        rest: bytes.0,
    })
}

impl RetainedRecord<'_> {
    /// When it goes, on the monotonic clock.
    pub fn expires_mono_ms(&self, times: Times) -> Option<u64> {
        self.expires_at_ms.map(|at| times.mono(at))
    }

    /// The number of the body of a link.
    pub fn body(&self) -> Option<u64> {
        Reader(self.rest).number()
    }
}

/// The message in the record of a body, behind its number.
pub fn body_rest(bytes: &[u8]) -> Option<&[u8]> {
    let mut bytes = Reader(bytes);
    bytes.number()?;
    Some(bytes.0)
}

/// An identifier of QoS 2 in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifierRecord {
    /// The session.
    pub session: u64,
    /// The identifier.
    pub id: PacketId,
    /// What came later has a higher one; 0 for what a client sent.
    pub order: u64,
    /// The message that is under way.
    pub key: Option<Key>,
}

pub(crate) fn write_identifier(out: &mut Vec<u8>, identifier: &IdentifierRecord) {
    let mut out = Writer(out);
    out.number(identifier.session);
    out.number(u64::from(identifier.id.get()));
    out.number(identifier.order);
    out.optional(identifier.key.map(|key| key.0));
}

/// Reads an identifier of QoS 2.
pub fn read_identifier(bytes: &[u8]) -> Option<IdentifierRecord> {
    let mut bytes = Reader(bytes);
    Some(IdentifierRecord {
        session: bytes.number()?,
        id: PacketId::new(u16::try_from(bytes.number()?).ok()?)?,
        order: bytes.number()?,
        key: bytes.optional()?.map(Key),
    })
}

/// The name of a record; none: it is of no kind that this version knows, or damaged.
pub fn name(record_kind: u8, payload: &[u8]) -> Option<Name> {
    let mut bytes = Reader(payload);
    let first = bytes.number();
    Some(match record_kind {
        kind::SESSION => Name::Session(first?),
        kind::SUBSCRIPTION => Name::Subscription(first?),
        kind::MESSAGE | kind::LINK => Name::Message(Key(first?)),
        kind::BODY => Name::Body(first?),
        kind::RETAINED => Name::Retained(first?),
        kind::RETAINED_LINK => Name::RetainedLink(first?),
        kind::RECEIVED => Name::Received(first?, packet_id(&mut bytes)?),
        kind::SENDING | kind::RELEASING => Name::Sent(first?, packet_id(&mut bytes)?),
        kind::CLOCK => Name::Clock,
        kind::FORMAT => Name::Format,
        _ => return None,
    })
}

fn packet_id(bytes: &mut Reader<'_>) -> Option<PacketId> {
    PacketId::new(u16::try_from(bytes.number()?).ok()?)
}

#[cfg(test)]
mod tests {
    use martlet_codec::{PropertiesBuf, PropertyId, TopicBuf};

    use super::*;

    const NOW: Now = Now {
        mono_ms: 5_000,
        wall_ms: 1_000_000,
    };

    fn message() -> Message {
        let mut properties = PropertiesBuf::new();
        properties.text(PropertyId::ContentType, "text/plain");
        Message {
            topic: TopicBuf::new("a/b").unwrap(),
            properties,
            payload: Bytes::from_static(b"payload"),
            qos: Qos::ExactlyOnce,
            retain: true,
            expires_at_ms: Some(7_000),
            publisher: Some("publisher".into()),
            number: 77.into(),
        }
    }

    #[test]
    fn a_message_is_what_it_was() {
        let message = message();
        let mut bytes = Vec::new();
        write_message(&mut bytes, &message, Times::at(NOW));
        let record = MessageRecord::read(&bytes).unwrap();
        assert_eq!(record.to_message(77, Times::at(NOW)), message);
        assert_eq!(record.size(), message.size());
        // Another process, whose monotonic clock says something else.
        let later = Times::at(Now {
            mono_ms: 10,
            wall_ms: 1_001_500,
        });
        assert_eq!(record.to_message(77, later).expires_at_ms, Some(510));
        for len in 0..bytes.len() - message.payload.len() {
            assert!(
                MessageRecord::read(&bytes[..len]).is_none(),
                "{len} bytes are no message"
            );
        }
    }

    #[test]
    fn sessions_subscriptions_and_recipients_are_what_they_were() {
        let times = Times::at(NOW);
        let session = StoredSession {
            number: 9,
            client_id: "client".into(),
            expiry_s: u32::MAX,
            is_over: false,
            away_since_ms: Some(0),
            sent_up_to: 300,
            will: Some(StoredWill {
                message: Arc::new(Message {
                    number: 0.into(),
                    ..message()
                }),
                expiry_s: Some(0),
                delay_ms: 60_000,
            }),
        };
        let mut bytes = Vec::new();
        write_session(&mut bytes, &session, times);
        assert_eq!(read_session(&bytes, times), Some(session));
        assert_eq!(name(kind::SESSION, &bytes), Some(Name::Session(9)));

        let subscription = StoredSubscription {
            number: 10,
            session: 9,
            filter: FilterBuf::new("$share/g/a/+").unwrap(),
            options: SubscribeOptions {
                qos: Qos::AtLeastOnce,
                no_local: false,
                retain_as_published: true,
                retain_handling: RetainHandling::Never,
            },
            identifier: Some((1 << 28) - 1),
        };
        let mut bytes = Vec::new();
        write_subscription(&mut bytes, &subscription);
        assert_eq!(read_subscription(&bytes), Some(subscription));

        let recipient = Recipient {
            session: 9,
            key: Key::new(77, 3),
            qos: Qos::AtLeastOnce,
            retain: true,
            subscription_ids: [1, 70_000].into(),
            shared: Some("$share/g/a/+".into()),
            resent: true,
        };
        let mut bytes = Vec::new();
        write_recipient(&mut bytes, &recipient);
        bytes.extend_from_slice(b"rest");
        assert_eq!(name(kind::LINK, &bytes), Some(Name::Message(recipient.key)));
        assert_eq!(read_recipient(&bytes), Some((recipient, &b"rest"[..])));
    }
}
