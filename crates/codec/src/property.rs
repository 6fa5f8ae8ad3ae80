//! The 27 properties of MQTT 5.0: one table, a validated view, and a builder.

use std::num::{NonZeroU16, NonZeroU32};

use crate::packet::PacketType;
use crate::topic::Topic;
use crate::violation::Violation;
use crate::wire::{self, Reader};

/// The type of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// One byte, 0 or 1.
    Flag,
    /// Two bytes.
    U16,
    /// Two bytes, not 0.
    NonZeroU16,
    /// Four bytes.
    U32,
    /// Four bytes, not 0.
    NonZeroU32,
    /// A variable byte integer, not 0.
    Varint,
    /// A string.
    Text,
    /// A topic name.
    TopicName,
    /// Binary data.
    Binary,
    /// Two strings.
    Pair,
}

/// Where a property may stand: a packet, or the will inside CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The properties of a packet.
    Packet(PacketType),
    /// The properties of the will.
    Will,
}

const WILL: u16 = 1;

impl Place {
    const fn bit(self) -> u16 {
        match self {
            Self::Packet(packet) => packet.bit(),
            Self::Will => WILL,
        }
    }
}

macro_rules! properties {
    ($( $name:ident = $value:literal, $text:literal, $type:ident, [$($packet:ident)*] $($will:ident)?; )*) => {
        /// A property identifier.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PropertyId { $( #[doc = $text] $name = $value, )* }

        impl PropertyId {
            /// All 27.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// The property of that number.
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $( $value => Some(Self::$name), )* _ => None }
            }

            /// The name of the standard with `-` for spaces, as mosquitto's `-D` takes it.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// The type of its value.
            pub const fn value_type(self) -> ValueType {
                match self { $( Self::$name => ValueType::$type, )* }
            }

            const fn places(self) -> u16 {
                match self { $( Self::$name => 0 $( | PacketType::$packet.bit() )* $( | properties!(@ $will) )?, )* }
            }
        }
    };
    (@ will) => { WILL };
}

properties! {
    PayloadFormatIndicator = 0x01, "payload-format-indicator", Flag, [Publish] will;
    MessageExpiryInterval = 0x02, "message-expiry-interval", U32, [Publish] will;
    ContentType = 0x03, "content-type", Text, [Publish] will;
    ResponseTopic = 0x08, "response-topic", TopicName, [Publish] will;
    CorrelationData = 0x09, "correlation-data", Binary, [Publish] will;
    SubscriptionIdentifier = 0x0b, "subscription-identifier", Varint, [Publish Subscribe];
    SessionExpiryInterval = 0x11, "session-expiry-interval", U32, [Connect ConnAck Disconnect];
    AssignedClientIdentifier = 0x12, "assigned-client-identifier", Text, [ConnAck];
    ServerKeepAlive = 0x13, "server-keep-alive", U16, [ConnAck];
    AuthenticationMethod = 0x15, "authentication-method", Text, [Connect ConnAck Auth];
    AuthenticationData = 0x16, "authentication-data", Binary, [Connect ConnAck Auth];
    RequestProblemInformation = 0x17, "request-problem-information", Flag, [Connect];
    WillDelayInterval = 0x18, "will-delay-interval", U32, [] will;
    RequestResponseInformation = 0x19, "request-response-information", Flag, [Connect];
    ResponseInformation = 0x1a, "response-information", Text, [ConnAck];
    ServerReference = 0x1c, "server-reference", Text, [ConnAck Disconnect];
    ReasonString = 0x1f, "reason-string", Text, [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    ReceiveMaximum = 0x21, "receive-maximum", NonZeroU16, [Connect ConnAck];
    TopicAliasMaximum = 0x22, "topic-alias-maximum", U16, [Connect ConnAck];
    TopicAlias = 0x23, "topic-alias", U16, [Publish];
    MaximumQos = 0x24, "maximum-qos", Flag, [ConnAck];
    RetainAvailable = 0x25, "retain-available", Flag, [ConnAck];
    UserProperty = 0x26, "user-property", Pair, [Connect ConnAck Publish PubAck PubRec PubRel PubComp Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth] will;
    MaximumPacketSize = 0x27, "maximum-packet-size", NonZeroU32, [Connect ConnAck];
    WildcardSubscriptionAvailable = 0x28, "wildcard-subscription-available", Flag, [ConnAck];
    SubscriptionIdentifierAvailable = 0x29, "subscription-identifier-available", Flag, [ConnAck];
    SharedSubscriptionAvailable = 0x2a, "shared-subscription-available", Flag, [ConnAck];
}

impl PropertyId {
    /// The property that mosquitto's `-D` calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.name() == name)
    }

    /// Whether it belongs there.
    pub const fn allowed_in(self, place: Place) -> bool {
        self.places() & place.bit() != 0
    }

    /// Whether it may stand there more than once.
    pub fn repeats_in(self, place: Place) -> bool {
        match self {
            Self::UserProperty => true,
            Self::SubscriptionIdentifier => place == Place::Packet(PacketType::Publish),
            _ => false,
        }
    }
}

/// The value of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of `Flag`, `U16`, `U32`, `Varint` and their non-zero kin.
    Number(u32),
    /// Of `Text` and `TopicName`.
    Text(&'a str),
    /// Of `Binary`.
    Binary(&'a [u8]),
    /// Of `Pair`.
    Pair(&'a str, &'a str),
}

/// Properties of a packet, checked and still encoded. Empty in version 3.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Self = Self(&[]);

    /// Checks encoded properties without their length prefix.
    pub fn check(encoded: &'a [u8], place: Place) -> Result<Self, Violation> {
        let mut seen = 0_u64;
        let mut reader = Reader::new(encoded);
        while !reader.is_empty() {
            let (id, value) = read(&mut reader)?;
            if !id.allowed_in(place) {
                return Err(Violation::PropertyNotHere);
            }
            let bit = 1 << (id as u8);
            if seen & bit != 0 && !id.repeats_in(place) {
                return Err(Violation::PropertyTwice);
            }
            seen |= bit;
            check_value(id, value)?;
        }
        let has = |id: PropertyId| seen & (1 << (id as u8)) != 0;
        if has(PropertyId::AuthenticationData) && !has(PropertyId::AuthenticationMethod) {
            return Err(Violation::AuthDataWithoutMethod);
        }
        Ok(Self(encoded))
    }

    /// The encoded form without its length prefix.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The properties in the order of the wire.
    pub fn iter(self) -> impl Iterator<Item = (PropertyId, Value<'a>)> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            (!reader.is_empty())
                .then(|| read(&mut reader).expect("properties were checked when they were made"))
        })
    }

    /// The first value of a property.
    pub fn get(self, id: PropertyId) -> Option<Value<'a>> {
        self.iter().find_map(|(i, value)| (i == id).then_some(value))
    }

    /// A numeric property.
    pub fn number(self, id: PropertyId) -> Option<u32> {
        match self.get(id)? {
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    /// A property that is 0 or 1.
    pub fn flag(self, id: PropertyId) -> Option<bool> {
        self.number(id).map(|n| n != 0)
    }

    /// A text property.
    pub fn text(self, id: PropertyId) -> Option<&'a str> {
        match self.get(id)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A binary property.
    pub fn binary(self, id: PropertyId) -> Option<&'a [u8]> {
        match self.get(id)? {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The session expiry interval in seconds; `u32::MAX` is "never".
    pub fn session_expiry_s(self) -> Option<u32> {
        self.number(PropertyId::SessionExpiryInterval)
    }

    /// The message expiry interval in seconds.
    pub fn message_expiry_s(self) -> Option<u32> {
        self.number(PropertyId::MessageExpiryInterval)
    }

    /// The receive maximum.
    pub fn receive_maximum(self) -> Option<NonZeroU16> {
        self.number(PropertyId::ReceiveMaximum)
            .and_then(|n| NonZeroU16::new(n as u16))
    }

    /// The maximum packet size in bytes.
    pub fn maximum_packet_size(self) -> Option<NonZeroU32> {
        self.number(PropertyId::MaximumPacketSize)
            .and_then(NonZeroU32::new)
    }

    /// The topic alias maximum.
    pub fn topic_alias_maximum(self) -> Option<u16> {
        self.number(PropertyId::TopicAliasMaximum).map(|n| n as u16)
    }

    /// The topic alias, 0 included: whether it is in range is for the session to say.
    pub fn topic_alias(self) -> Option<u16> {
        self.number(PropertyId::TopicAlias).map(|n| n as u16)
    }

    /// The subscription identifiers of a PUBLISH, or the one of a SUBSCRIBE.
    pub fn subscription_identifiers(self) -> impl Iterator<Item = NonZeroU32> {
        self.iter().filter_map(|(id, value)| match (id, value) {
            (PropertyId::SubscriptionIdentifier, Value::Number(n)) => NonZeroU32::new(n),
            _ => None,
        })
    }

    /// The user properties in their order.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(|(_, value)| match value {
            Value::Pair(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The reason string.
    pub fn reason_string(self) -> Option<&'a str> {
        self.text(PropertyId::ReasonString)
    }

    /// Appends the properties that `keep` wants, still encoded, to `out`.
    pub fn retain_into(self, out: &mut Vec<u8>, mut keep: impl FnMut(PropertyId) -> bool) {
        let mut reader = Reader::new(self.0);
        while !reader.is_empty() {
            let before = reader.rest();
            let (id, _) = read(&mut reader).expect("properties were checked when they were made");
            if keep(id) {
                out.extend_from_slice(&before[..before.len() - reader.rest().len()]);
            }
        }
    }

    /// An owned copy.
    pub fn to_buf(self) -> PropertiesBuf {
        PropertiesBuf(self.0.to_vec())
    }

    pub(crate) fn decode(reader: &mut Reader<'a>, place: Place) -> Result<Self, Violation> {
        let n = reader.varint()?;
        if n == 0 {
            return Ok(Self::EMPTY);
        }
        Self::check(reader.bytes(n as usize)?, place)
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        wire::put_varint(out, self.0.len() as u32);
        out.extend_from_slice(self.0);
    }
}

impl std::fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn read<'a>(reader: &mut Reader<'a>) -> Result<(PropertyId, Value<'a>), Violation> {
    let id = PropertyId::from_u8(reader.u8()?).ok_or(Violation::PropertyUnknown)?;
    let value = match id.value_type() {
        ValueType::Flag => Value::Number(reader.u8()?.into()),
        ValueType::U16 | ValueType::NonZeroU16 => Value::Number(reader.u16()?.into()),
        ValueType::U32 | ValueType::NonZeroU32 => Value::Number(reader.u32()?),
        ValueType::Varint => Value::Number(reader.varint()?),
        ValueType::Text | ValueType::TopicName => Value::Text(reader.text()?),
        ValueType::Binary => Value::Binary(reader.binary()?),
        ValueType::Pair => Value::Pair(reader.text()?, reader.text()?),
    };
    Ok((id, value))
}

fn check_value(id: PropertyId, value: Value<'_>) -> Result<(), Violation> {
    match (id.value_type(), value) {
        (ValueType::Flag, Value::Number(n)) if n > 1 => Err(Violation::PropertyValue),
        (ValueType::NonZeroU16 | ValueType::NonZeroU32 | ValueType::Varint, Value::Number(0)) => {
            Err(Violation::PropertyValue)
        }
        (ValueType::TopicName, Value::Text(name)) => {
            Topic::new(name).map(|_| ()).map_err(|_| Violation::ResponseTopic)
        }
        _ => Ok(()),
    }
}

/// Properties under construction, kept encoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    /// No properties yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The properties, borrowed.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties(&self.0)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a property. The value is the caller's: numbers fit their type, strings are valid.
    ///
    /// # Panics
    /// When the value is not of the property's type, or a field is longer than 65,535 bytes.
    pub fn push(&mut self, id: PropertyId, value: Value<'_>) -> &mut Self {
        let out = &mut self.0;
        out.push(id as u8);
        match (id.value_type(), value) {
            (ValueType::Flag, Value::Number(n)) => out.push(n as u8),
            (ValueType::U16 | ValueType::NonZeroU16, Value::Number(n)) => wire::put_u16(out, n as u16),
            (ValueType::U32 | ValueType::NonZeroU32, Value::Number(n)) => wire::put_u32(out, n),
            (ValueType::Varint, Value::Number(n)) => wire::put_varint(out, n),
            (ValueType::Text | ValueType::TopicName, Value::Text(text)) => {
                wire::put_binary(out, text.as_bytes());
            }
            (ValueType::Binary, Value::Binary(bytes)) => wire::put_binary(out, bytes),
            (ValueType::Pair, Value::Pair(name, value)) => {
                wire::put_binary(out, name.as_bytes());
                wire::put_binary(out, value.as_bytes());
            }
            (expected, value) => panic!("{} takes {expected:?}, not {value:?}", id.name()),
        }
        self
    }

    /// Appends a numeric property.
    pub fn number(&mut self, id: PropertyId, n: impl Into<u32>) -> &mut Self {
        self.push(id, Value::Number(n.into()))
    }

    /// Appends a text property.
    pub fn text(&mut self, id: PropertyId, text: &str) -> &mut Self {
        self.push(id, Value::Text(text))
    }

    /// Appends a user property.
    pub fn user_property(&mut self, name: &str, value: &str) -> &mut Self {
        self.push(PropertyId::UserProperty, Value::Pair(name, value))
    }

    /// Whether a peer would accept them there.
    pub fn check(&self, place: Place) -> Result<(), Violation> {
        Properties::check(&self.0, place).map(|_| ())
    }
}

impl std::fmt::Debug for PropertiesBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_properties().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: Place = Place::Packet(PacketType::Publish);
    const CONNECT: Place = Place::Packet(PacketType::Connect);

    #[test]
    fn the_table_is_that_of_the_standard() {
        assert_eq!(PropertyId::ALL.len(), 27);
        let count = |place| PropertyId::ALL.iter().filter(|id| id.allowed_in(place)).count();
        assert_eq!(count(CONNECT), 9);
        assert_eq!(count(Place::Packet(PacketType::ConnAck)), 17);
        assert_eq!(count(PUBLISH), 8);
        assert_eq!(count(Place::Will), 7);
        assert_eq!(count(Place::Packet(PacketType::Auth)), 4);
        assert_eq!(count(Place::Packet(PacketType::PingReq)), 0);
        assert_eq!(
            PropertyId::from_name("user-property"),
            Some(PropertyId::UserProperty)
        );
    }

    #[test]
    fn bad_properties() {
        let cases: &[(&[u8], Place, Violation)] = &[
            (&[0x04, 0], PUBLISH, Violation::PropertyUnknown),
            (&[0x01, 2], PUBLISH, Violation::PropertyValue),
            (&[0x01, 1, 0x01, 1], PUBLISH, Violation::PropertyTwice),
            (&[0x01], PUBLISH, Violation::Truncated),
            (&[0x21, 0, 10], PUBLISH, Violation::PropertyNotHere),
            (&[0x21, 0, 0], CONNECT, Violation::PropertyValue),
            (&[0x27, 0, 0, 0, 0], CONNECT, Violation::PropertyValue),
            (&[0x16, 0, 1, 7], CONNECT, Violation::AuthDataWithoutMethod),
            (&[0x08, 0, 1, b'#'], PUBLISH, Violation::ResponseTopic),
            (&[0x0b, 0], PUBLISH, Violation::PropertyValue),
            (&[0x03, 0, 1, 0], PUBLISH, Violation::BadString),
        ];
        for (bytes, place, expected) in cases {
            assert_eq!(Properties::check(bytes, *place), Err(*expected), "{bytes:x?}");
        }
    }

    #[test]
    fn built_properties_read_back_in_order() {
        let mut buf = PropertiesBuf::new();
        buf.number(PropertyId::MessageExpiryInterval, 60_u32)
            .user_property("a", "1")
            .user_property("", "")
            .user_property("a", "2")
            .number(PropertyId::SubscriptionIdentifier, 268_435_455_u32);
        buf.check(PUBLISH).unwrap();
        let properties = buf.as_properties();
        assert_eq!(properties.message_expiry_s(), Some(60));
        let pairs: Vec<_> = properties.user_properties().collect();
        assert_eq!(pairs, [("a", "1"), ("", ""), ("a", "2")]);
        let ids: Vec<_> = properties
            .subscription_identifiers()
            .map(NonZeroU32::get)
            .collect();
        assert_eq!(ids, [268_435_455]);

        let mut kept = Vec::new();
        properties.retain_into(&mut kept, |id| id == PropertyId::UserProperty);
        assert_eq!(
            Properties::check(&kept, PUBLISH)
                .unwrap()
                .user_properties()
                .count(),
            3
        );
    }
}
