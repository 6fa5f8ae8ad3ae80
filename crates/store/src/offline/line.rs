//! A record as a line of JSON, and back: for dumps, exports and imports.
//!
//! Bytes that are no text are written as `{"hex": "00ff"}`. Times are milliseconds of the store's clock, which shows the
//! time of day.

use std::sync::Arc;

use martlet_broker::{Recipient, StoredSession, StoredSubscription, StoredWill};
use martlet_codec::property::ValueType;
use martlet_codec::{
    FilterBuf, PacketId, Place, PropertiesBuf, PropertyId, Qos, RetainHandling, SubscribeOptions, TopicBuf,
    Value,
};
use martlet_session::{Key, Message, Number};
use serde::{Deserialize, Serialize};

use crate::bytes::{Reader, Writer};
use crate::clock::Reading;
use crate::record::{self, IdentifierRecord, MessageRecord, Times, kind};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs)] // `record` tells what they are
pub enum Line {
    Format {
        format: u64,
    },
    Clock {
        shown_ms: u64,
        system_ms: u64,
    },
    Session {
        number: u64,
        client_id: String,
        expiry_s: u32,
        over: bool,
        away_since_ms: Option<u64>,
        sent_up_to: u64,
        will: Option<WillLine>,
    },
    Subscription {
        number: u64,
        session: u64,
        filter: String,
        qos: u8,
        no_local: bool,
        retain_as_published: bool,
        retain_handling: u8,
        identifier: Option<u32>,
    },
    Message {
        to: RecipientLine,
        message: MessageLine,
    },
    Body {
        number: u64,
        message: MessageLine,
    },
    Link {
        to: RecipientLine,
    },
    Retained {
        version: u64,
        goes_at_ms: Option<u64>,
        message: MessageLine,
    },
    RetainedLink {
        version: u64,
        goes_at_ms: Option<u64>,
        body: u64,
    },
    Received {
        session: u64,
        id: u16,
    },
    Sending {
        session: u64,
        id: u16,
        order: u64,
        key: Option<u64>,
    },
    Releasing {
        session: u64,
        id: u16,
        order: u64,
    },
}

/// A will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct WillLine {
    pub delay_ms: u64,
    pub expiry_s: Option<u32>,
    pub message: MessageLine,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct RecipientLine {
    pub session: u64,
    pub key: u64,
    pub qos: u8,
    pub retain: bool,
    pub subscription_ids: Vec<u32>,
    pub shared: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resent: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct MessageLine {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    pub expires_at_ms: Option<u64>,
    pub publisher: Option<String>,
    /// Name and value, in their order.
    pub properties: Vec<(String, PropertyLine)>,
    pub payload: BytesLine,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum PropertyLine {
    Number(u32),
    Pair(String, String),
    Bytes(BytesLine),
}

/// Bytes: as text if they are that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum BytesLine {
    Text(String),
    Hex { hex: String },
}

impl Line {
    /// What a record says; none: it makes no sense to this version.
    pub fn read(record_kind: u8, payload: &[u8]) -> Option<Self> {
        let mut bytes = Reader(payload);
        Some(match record_kind {
            kind::FORMAT => Self::Format {
                format: bytes.number()?,
            },
            kind::CLOCK => {
                let Reading { shown_ms, system_ms } = Reading::read(payload)?;
                Self::Clock { shown_ms, system_ms }
            }
            kind::SESSION => session(record::read_session(payload, Times::AS_STORED)?),
            kind::SUBSCRIPTION => subscription(&record::read_subscription(payload)?),
            kind::MESSAGE => {
                let (to, rest) = record::read_recipient(payload)?;
                let message = MessageLine::read(rest)?;
                let to = RecipientLine::new(&to);
                Self::Message { to, message }
            }
            kind::LINK => Self::Link {
                to: RecipientLine::new(&record::read_recipient(payload)?.0),
            },
            kind::BODY => Self::Body {
                number: bytes.number()?,
                message: MessageLine::read(bytes.0)?,
            },
            kind::RETAINED => {
                let retained = record::read_retained(payload)?;
                Self::Retained {
                    version: retained.version,
                    goes_at_ms: retained.expires_at_ms,
                    message: MessageLine::read(retained.rest)?,
                }
            }
            kind::RETAINED_LINK => {
                let retained = record::read_retained(payload)?;
                Self::RetainedLink {
                    version: retained.version,
                    goes_at_ms: retained.expires_at_ms,
                    body: retained.body()?,
                }
            }
            kind::RECEIVED | kind::SENDING | kind::RELEASING => {
                let IdentifierRecord {
                    session,
                    id,
                    order,
                    key,
                } = record::read_identifier(payload)?;
                let (id, key) = (id.get(), key.map(|key| key.0));
                match record_kind {
                    kind::RECEIVED => Self::Received { session, id },
                    kind::SENDING => Self::Sending {
                        session,
                        id,
                        order,
                        key,
                    },
                    _ => Self::Releasing { session, id, order },
                }
            }
            _ => return None,
        })
    }

    /// As JSON, without the end of the line.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("all of it can be written as JSON")
    }

    /// From JSON. What is wrong is said in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The kind and the bytes of the record. What cannot be stored is said in words.
    pub fn write(&self) -> Result<(u8, Vec<u8>), String> {
        let mut out = Vec::new();
        let record_kind = self.put(&mut out)?;
        // Whatever is read later is valid.
        match Self::read(record_kind, &out) {
            Some(_) => Ok((record_kind, out)),
            None => Err("it cannot be stored".to_owned()),
        }
    }

    /// The body that has its message.
    pub(super) fn body(&self) -> Option<u64> {
        match self {
            Self::Link { to } => Some(Key(to.key).number()),
            Self::RetainedLink { body, .. } => Some(*body),
            _ => None,
        }
    }

    /// The session that it is about.
    pub fn session(&self) -> Option<u64> {
        match self {
            Self::Session { number, .. } => Some(*number),
            Self::Subscription { session, .. }
            | Self::Received { session, .. }
            | Self::Sending { session, .. }
            | Self::Releasing { session, .. } => Some(*session),
            Self::Message { to, .. } | Self::Link { to } => Some(to.session),
            _ => None,
        }
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<u8, String> {
        Ok(match self {
            Self::Format { format } => {
                Writer(out).number(*format);
                kind::FORMAT
            }
            Self::Clock { shown_ms, system_ms } => {
                let (shown_ms, system_ms) = (*shown_ms, *system_ms);
                Reading { shown_ms, system_ms }.write(out);
                kind::CLOCK
            }
            Self::Session { .. } => {
                record::write_session(out, &self.to_session()?, Times::AS_STORED);
                kind::SESSION
            }
            Self::Subscription { .. } => {
                record::write_subscription(out, &self.to_subscription()?);
                kind::SUBSCRIPTION
            }
            Self::Message { to, message } => {
                record::write_recipient(out, &to.to_recipient()?);
                record::write_message(out, &message.to_message()?, Times::AS_STORED);
                kind::MESSAGE
            }
            Self::Link { to } => {
                record::write_recipient(out, &to.to_recipient()?);
                kind::LINK
            }
            Self::Body { number, message } => {
                Writer(out).number(*number);
                record::write_message(out, &message.to_message()?, Times::AS_STORED);
                kind::BODY
            }
            Self::Retained {
                version,
                goes_at_ms,
                message,
            } => {
                record::write_retained(out, *version, *goes_at_ms, Times::AS_STORED);
                record::write_message(out, &message.to_message()?, Times::AS_STORED);
                kind::RETAINED
            }
            Self::RetainedLink {
                version,
                goes_at_ms,
                body,
            } => {
                record::write_retained(out, *version, *goes_at_ms, Times::AS_STORED);
                Writer(out).number(*body);
                kind::RETAINED_LINK
            }
            Self::Received { session, id } => {
                put_identifier(out, *session, *id, 0, None)?;
                kind::RECEIVED
            }
            Self::Sending {
                session,
                id,
                order,
                key,
            } => {
                put_identifier(out, *session, *id, *order, *key)?;
                kind::SENDING
            }
            Self::Releasing { session, id, order } => {
                put_identifier(out, *session, *id, *order, None)?;
                kind::RELEASING
            }
        })
    }

    fn to_session(&self) -> Result<StoredSession, String> {
        let Self::Session {
            number,
            client_id,
            expiry_s,
            over,
            away_since_ms,
            sent_up_to,
            will,
        } = self
        else {
            return Err("it is no session".to_owned());
        };
        let will = will.as_ref().map(|will| {
            Ok::<_, String>(StoredWill {
                message: Arc::new(will.message.to_message()?),
                expiry_s: will.expiry_s,
                delay_ms: will.delay_ms,
            })
        });
        Ok(StoredSession {
            number: *number,
            client_id: client_id.as_str().into(),
            expiry_s: *expiry_s,
            is_over: *over,
            away_since_ms: *away_since_ms,
            sent_up_to: *sent_up_to,
            will: will.transpose()?,
        })
    }

    fn to_subscription(&self) -> Result<StoredSubscription, String> {
        let Self::Subscription {
            number,
            session,
            filter,
            qos,
            no_local,
            retain_as_published,
            retain_handling,
            identifier,
        } = self
        else {
            return Err("it is no subscription".to_owned());
        };
        let retain_handling = match retain_handling {
            0 => RetainHandling::Always,
            1 => RetainHandling::New,
            2 => RetainHandling::Never,
            other => return Err(format!("there is no retain handling {other}")),
        };
        Ok(StoredSubscription {
            number: *number,
            session: *session,
            filter: FilterBuf::new(filter).map_err(|_| format!("'{filter}' is no topic filter"))?,
            options: SubscribeOptions {
                qos: to_qos(*qos)?,
                no_local: *no_local,
                retain_as_published: *retain_as_published,
                retain_handling,
            },
            identifier: *identifier,
        })
    }
}

fn session(session: StoredSession) -> Line {
    Line::Session {
        number: session.number,
        client_id: session.client_id.to_string(),
        expiry_s: session.expiry_s,
        over: session.is_over,
        away_since_ms: session.away_since_ms,
        sent_up_to: session.sent_up_to,
        will: session.will.map(|will| WillLine {
            delay_ms: will.delay_ms,
            expiry_s: will.expiry_s,
            message: MessageLine::new(&will.message),
        }),
    }
}

fn subscription(subscription: &StoredSubscription) -> Line {
    let options = subscription.options;
    Line::Subscription {
        number: subscription.number,
        session: subscription.session,
        filter: subscription.filter.as_str().to_owned(),
        qos: options.qos.as_u8(),
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: options.retain_handling as u8,
        identifier: subscription.identifier,
    }
}

fn put_identifier(
    out: &mut Vec<u8>,
    session: u64,
    id: u16,
    order: u64,
    key: Option<u64>,
) -> Result<(), String> {
    let id = PacketId::new(id).ok_or("0 is no packet identifier")?;
    let key = key.map(Key);
    record::write_identifier(
        out,
        &IdentifierRecord {
            session,
            id,
            order,
            key,
        },
    );
    Ok(())
}

fn to_qos(qos: u8) -> Result<Qos, String> {
    Qos::from_u8(qos).ok_or_else(|| format!("there is no QoS {qos}"))
}

impl RecipientLine {
    fn new(recipient: &Recipient) -> Self {
        Self {
            session: recipient.session,
            key: recipient.key.0,
            qos: recipient.qos.as_u8(),
            retain: recipient.retain,
            subscription_ids: recipient.subscription_ids.to_vec(),
            shared: recipient.shared.as_deref().map(str::to_owned),
            resent: recipient.resent,
        }
    }

    fn to_recipient(&self) -> Result<Recipient, String> {
        // The low half is the place of the recipient and one more.
        if self.key.trailing_zeros() >= 16 {
            return Err(format!("{} is no key", self.key));
        }
        Ok(Recipient {
            session: self.session,
            key: Key(self.key),
            qos: to_qos(self.qos)?,
            retain: self.retain,
            subscription_ids: self.subscription_ids.clone().into(),
            shared: self.shared.as_deref().map(Arc::from),
            resent: self.resent,
        })
    }
}

impl MessageLine {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::new(
            &MessageRecord::read(bytes)?.to_message(0, Times::AS_STORED),
        ))
    }

    fn new(message: &Message) -> Self {
        let properties = message.properties.as_properties();
        Self {
            topic: message.topic.as_str().to_owned(),
            qos: message.qos.as_u8(),
            retain: message.retain,
            expires_at_ms: message.expires_at_ms,
            publisher: message.publisher.as_deref().map(str::to_owned),
            properties: properties.iter().map(|(id, value)| property(id, value)).collect(),
            payload: BytesLine::new(&message.payload),
        }
    }

    fn to_message(&self) -> Result<Message, String> {
        let mut properties = PropertiesBuf::new();
        for (name, value) in &self.properties {
            push_property(&mut properties, name, value)?;
        }
        let wrong = |_| "a property does not belong to a message, or has no such value".to_owned();
        properties.check(Place::Will).map_err(wrong)?;
        Ok(Message {
            topic: TopicBuf::new(self.topic.as_str())
                .map_err(|_| format!("'{}' is no topic name", self.topic))?,
            properties,
            payload: self.payload.bytes()?.into(),
            qos: to_qos(self.qos)?,
            retain: self.retain,
            expires_at_ms: self.expires_at_ms,
            publisher: self.publisher.as_deref().map(Arc::from),
            number: Number::default(),
        })
    }
}

fn property(id: PropertyId, value: Value<'_>) -> (String, PropertyLine) {
    let value = match value {
        Value::Number(number) => PropertyLine::Number(number),
        Value::Text(text) => PropertyLine::Bytes(BytesLine::Text(text.to_owned())),
        Value::Binary(bytes) => PropertyLine::Bytes(BytesLine::new(bytes)),
        Value::Pair(name, value) => PropertyLine::Pair(name.to_owned(), value.to_owned()),
    };
    (id.name().to_owned(), value)
}

fn push_property(properties: &mut PropertiesBuf, name: &str, value: &PropertyLine) -> Result<(), String> {
    let id = PropertyId::from_name(name).ok_or_else(|| format!("there is no property '{name}'"))?;
    let wrong = || format!("the property '{name}' has another kind of value");
    let bytes;
    let value = match (id.value_type(), value) {
        (ValueType::Text | ValueType::TopicName, PropertyLine::Bytes(BytesLine::Text(text))) => {
            Value::Text(text)
        }
        (ValueType::Binary, PropertyLine::Bytes(value)) => {
            bytes = value.bytes()?;
            Value::Binary(&bytes)
        }
        (ValueType::Pair, PropertyLine::Pair(name, value)) => Value::Pair(name, value),
        (kind, PropertyLine::Number(number)) if number_max(kind).is_some_and(|most| *number <= most) => {
            Value::Number(*number)
        }
        _ => return Err(wrong()),
    };
    let lengths = match value {
        Value::Number(_) => [0, 0],
        Value::Text(text) => [text.len(), 0],
        Value::Binary(bytes) => [bytes.len(), 0],
        Value::Pair(name, value) => [name.len(), value.len()],
    };
    if lengths.iter().any(|length| *length > 0xffff) {
        return Err(format!("the property '{name}' is too long"));
    }
    properties.push(id, value);
    Ok(())
}

/// The highest number that such a property takes; none: it takes no number, or does not belong to a message.
fn number_max(kind: ValueType) -> Option<u32> {
    match kind {
        ValueType::Flag => Some(1),
        ValueType::U16 | ValueType::NonZeroU16 => Some(0xffff),
        ValueType::U32 | ValueType::NonZeroU32 => Some(u32::MAX),
        _ => None,
    }
}

impl BytesLine {
    fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex {
                hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            },
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let hex = match self {
            Self::Text(text) => return Ok(text.clone().into_bytes()),
            Self::Hex { hex } => hex,
        };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or_else(|| format!("'{hex}' is not pairs of hexadecimal digits"))
    }
}
