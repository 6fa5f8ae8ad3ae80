//! `-D command identifier [key] value`.

use std::ffi::OsStr;

use martlet_codec::property::ValueType;
use martlet_codec::{PacketType, Place, PropertiesBuf, PropertyId, Topic, Value, Violation};

use super::parse::whole_number;
use crate::settings::Settings;
use crate::wrong::Wrong;

/// Why a `-D` is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadProperty {
    /// There is no such packet.
    Command(String),
    /// There is no such property.
    Name(String),
    /// The packet does not carry it.
    NotAllowed(String, String),
    /// The packet is not the user's to shape.
    NotSupported(String, String),
    /// Not a number.
    NotNumber(String),
    /// A number that the property cannot be.
    OutOfRange(i64, String),
    /// More than 65,535 bytes.
    TooLong(String),
    /// Given twice, where once is all that MQTT has.
    Twice(String),
    /// A value that MQTT does not carry, and why.
    Refused(String, String),
}

/// Takes the values from `next` and adds the property to its packet.
pub(super) fn read<'a>(
    settings: &mut Settings,
    mut next: impl FnMut() -> Result<&'a OsStr, Wrong>,
) -> Result<(), Wrong> {
    let mut text = || next()?.to_str().ok_or_else(|| Wrong::Utf8("-D".to_owned()));
    let (command, name, mut value) = (text()?, text()?, text()?);
    let bad = |bad| Err(Wrong::Property(bad));
    let Some(place) = place(command) else {
        return bad(BadProperty::Command(command.to_owned()));
    };
    let Some(id) = PropertyId::from_name(name) else {
        return bad(BadProperty::Name(name.to_owned()));
    };
    if !id.allowed_in(place) {
        return bad(BadProperty::NotAllowed(name.to_owned(), command.to_owned()));
    }
    let key = value;
    if id.value_type() == ValueType::Pair {
        value = text()?;
    }
    let not_supported =
        id == PropertyId::SubscriptionIdentifier && place == Place::Packet(PacketType::Publish);
    let Some(properties) = properties_of(settings, place).filter(|_| !not_supported) else {
        return bad(BadProperty::NotSupported(name.to_owned(), command.to_owned()));
    };
    add(properties, place, id, key, value).map_err(Wrong::Property)
}

fn add(
    properties: &mut PropertiesBuf,
    place: Place,
    id: PropertyId,
    key: &str,
    value: &str,
) -> Result<(), BadProperty> {
    let name = || id.name().to_owned();
    if key.len().max(value.len()) > usize::from(u16::MAX) {
        return Err(BadProperty::TooLong(name()));
    }
    let before = properties.clone();
    let max = match id.value_type() {
        ValueType::Flag => Some(1),
        ValueType::U16 | ValueType::NonZeroU16 => Some(u16::MAX.into()),
        ValueType::U32 | ValueType::NonZeroU32 => Some(u32::MAX),
        ValueType::Varint => Some(VARINT_MAX),
        ValueType::Text | ValueType::TopicName | ValueType::Binary | ValueType::Pair => None,
    };
    if let Some(max) = max {
        let number = whole_number(value).ok_or_else(|| BadProperty::NotNumber(value.to_owned()))?;
        // The wire can carry a topic alias of 0, and no server takes it [MQTT5-3.3.2-8].
        let min = match id.value_type() {
            ValueType::NonZeroU16 | ValueType::NonZeroU32 | ValueType::Varint => 1,
            _ => u32::from(id == PropertyId::TopicAlias),
        };
        let fits = u32::try_from(number)
            .ok()
            .filter(|number| (min..=max).contains(number));
        properties.number(id, fits.ok_or_else(|| BadProperty::OutOfRange(number, name()))?);
    } else {
        properties.push(
            id,
            match id.value_type() {
                ValueType::Binary => Value::Binary(value.as_bytes()),
                ValueType::Pair => Value::Pair(key, value),
                _ => Value::Text(value),
            },
        );
    }
    // The authentication method may come after its data: it is looked at when all are read.
    let checked = match properties.check(place) {
        Err(Violation::AuthDataWithoutMethod) => Ok(()),
        checked => checked,
    };
    checked.map_err(|violation| {
        *properties = before;
        match violation {
            Violation::PropertyTwice => BadProperty::Twice(name()),
            Violation::ResponseTopic => {
                let why = Topic::new(value).err().map(|why| why.to_string());
                BadProperty::Refused(name(), why.unwrap_or_else(|| violation.to_string()))
            }
            violation => BadProperty::Refused(name(), violation.to_string()),
        }
    })
}

/// The largest variable byte integer.
const VARINT_MAX: u32 = 268_435_455;

fn place(command: &str) -> Option<Place> {
    Some(Place::Packet(match command.to_ascii_lowercase().as_str() {
        "connect" => PacketType::Connect,
        "connack" => PacketType::ConnAck,
        "publish" => PacketType::Publish,
        "puback" => PacketType::PubAck,
        "pubrec" => PacketType::PubRec,
        "pubrel" => PacketType::PubRel,
        "pubcomp" => PacketType::PubComp,
        "subscribe" => PacketType::Subscribe,
        "suback" => PacketType::SubAck,
        "unsubscribe" => PacketType::Unsubscribe,
        "unsuback" => PacketType::UnsubAck,
        "disconnect" => PacketType::Disconnect,
        "auth" => PacketType::Auth,
        "will" => return Some(Place::Will),
        _ => return None,
    }))
}

fn properties_of(settings: &mut Settings, place: Place) -> Option<&mut PropertiesBuf> {
    Some(match place {
        Place::Will => &mut settings.will.properties,
        Place::Packet(PacketType::Connect) => &mut settings.properties.connect,
        Place::Packet(PacketType::Publish) => &mut settings.properties.publish,
        Place::Packet(PacketType::Subscribe) => &mut settings.properties.subscribe,
        Place::Packet(PacketType::Unsubscribe) => &mut settings.properties.unsubscribe,
        Place::Packet(PacketType::Disconnect) => &mut settings.properties.disconnect,
        Place::Packet(_) => return None,
    })
}
