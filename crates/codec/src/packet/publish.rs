//! PUBLISH: the packet that everything else is there for.

use super::{PacketId, PacketType, Qos, packet_id};
use crate::limits::Limits;
use crate::property::{Place, Properties, PropertyId};
use crate::topic::{BadTopic, Topic};
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::{self, Reader};
use std::num::NonZeroU16;

/// QoS and packet identifier: one value, so that a QoS 0 message has no identifier and others have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce(PacketId),
    /// QoS 2.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The QoS.
    pub const fn qos(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce(_) => Qos::AtLeastOnce,
            Self::ExactlyOnce(_) => Qos::ExactlyOnce,
        }
    }

    /// The packet identifier.
    pub const fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}

/// Topic name and topic alias: one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a> {
    /// A topic name.
    Name(Topic<'a>),
    /// An alias that was defined before on this connection.
    Alias(NonZeroU16),
    /// A topic name, and from now on an alias for it.
    Define(Topic<'a>, NonZeroU16),
}

impl<'a> Address<'a> {
    const fn name(self) -> &'a str {
        match self {
            Self::Name(topic) | Self::Define(topic, _) => topic.as_str(),
            Self::Alias(_) => "",
        }
    }

    const fn alias(self) -> Option<NonZeroU16> {
        match self {
            Self::Name(_) => None,
            Self::Alias(alias) | Self::Define(_, alias) => Some(alias),
        }
    }
}

/// PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether this is a resend [MQTT5-3.3.1-1].
    pub dup: bool,
    /// Whether the message is, or was, retained.
    pub retain: bool,
    /// QoS and packet identifier.
    pub delivery: Delivery,
    /// Topic name and alias.
    pub address: Address<'a>,
    /// The properties as they came. A topic alias among them is `address`'s: encoding leaves it out here.
    pub properties: Properties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

/// Properties that a sender adds to those of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extras<'a> {
    /// The message expiry that is left, in seconds.
    pub expiry_s: Option<u32>,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: &'a [u32],
}

impl Extras<'_> {
    /// Nothing to add.
    pub const NONE: Self = Self {
        expiry_s: None,
        subscription_ids: &[],
    };

    fn encoded_len(&self) -> usize {
        let ids: usize = self
            .subscription_ids
            .iter()
            .map(|id| 1 + wire::varint_len(*id))
            .sum();
        ids + if self.expiry_s.is_some() { 5 } else { 0 }
    }
}

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

impl<'a> Publish<'a> {
    pub(super) fn decode(
        first: u8,
        r: &mut Reader<'a>,
        version: Version,
        limits: &Limits,
        known: Option<Topic<'a>>,
    ) -> Result<Self, Violation> {
        let dup = first & DUP != 0;
        let qos = Qos::from_u8(first >> 1 & 0b11).ok_or(Violation::Qos3)?;
        if dup && qos == Qos::AtMostOnce {
            return Err(Violation::DupAtQos0);
        }
        let name = r.binary()?;
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(packet_id(r)?),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(packet_id(r)?),
        };
        let properties = if version.is_v5() {
            Properties::decode(r, Place::Packet(PacketType::Publish))?
        } else {
            Properties::EMPTY
        };
        let alias = match properties.topic_alias() {
            Some(alias) => Some(NonZeroU16::new(alias).ok_or(Violation::TopicAliasRange)?),
            None => None,
        };
        let address = match (Topic::from_bytes_like(name, known), alias) {
            (Ok(topic), None) => Address::Name(topic),
            (Ok(topic), Some(alias)) => Address::Define(topic, alias),
            (Err(BadTopic::Empty), Some(alias)) => Address::Alias(alias),
            (Err(BadTopic::Empty), None) => return Err(Violation::TopicEmpty),
            (Err(_), _) => return Err(Violation::TopicName),
        };
        check_depth(name, limits)?;
        Ok(Self {
            dup,
            retain: first & RETAIN != 0,
            delivery,
            address,
            properties,
            payload: r.rest(),
        })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, extras: Extras<'_>, out: &mut Vec<u8>) {
        self.encode_head(version, extras, out);
        out.extend_from_slice(self.payload);
    }

    /// Appends everything but the payload: for payloads that are shared instead of copied.
    pub fn encode_head(&self, version: Version, extras: Extras<'_>, out: &mut Vec<u8>) {
        let name = self.address.name().as_bytes();
        let mut length = 2 + name.len() + self.payload.len();
        if self.delivery.packet_id().is_some() {
            length += 2;
        }
        let mut own = self.properties.as_bytes();
        let stripped;
        if version.is_v5() {
            if self.properties.topic_alias().is_some() {
                let mut kept = Vec::with_capacity(own.len());
                self.properties
                    .retain_into(&mut kept, |id| id != PropertyId::TopicAlias);
                stripped = kept;
                own = &stripped;
            }
            let properties = self.properties_len(own, extras);
            length += wire::varint_len(properties as u32) + properties;
        }
        let flags = if self.dup { DUP } else { 0 }
            | self.delivery.qos().as_u8() << 1
            | if self.retain { RETAIN } else { 0 };
        out.reserve(length - self.payload.len() + 5);
        assert!(name.len() <= 65_535, "a field of MQTT has at most 65535 bytes");
        let header = wire::header((PacketType::Publish as u8) << 4 | flags, length as u32);
        out.extend_from_slice(header.and_u16(name.len() as u16).as_slice());
        out.extend_from_slice(name);
        if let Some(id) = self.delivery.packet_id() {
            wire::put_u16(out, id.get());
        }
        if version.is_v5() {
            wire::put_varint(out, self.properties_len(own, extras) as u32);
            out.extend_from_slice(own);
            if let Some(expiry_s) = extras.expiry_s {
                out.push(PropertyId::MessageExpiryInterval as u8);
                wire::put_u32(out, expiry_s);
            }
            if let Some(alias) = self.address.alias() {
                out.push(PropertyId::TopicAlias as u8);
                wire::put_u16(out, alias.get());
            }
            for id in extras.subscription_ids {
                out.push(PropertyId::SubscriptionIdentifier as u8);
                wire::put_varint(out, *id);
            }
        }
    }

    fn properties_len(&self, own: &[u8], extras: Extras<'_>) -> usize {
        own.len() + extras.encoded_len() + if self.address.alias().is_some() { 3 } else { 0 }
    }

    /// The bytes that `encode` would append.
    pub fn encoded_len(&self, version: Version, extras: Extras<'_>) -> usize {
        let mut length = 2 + self.address.name().len() + self.payload.len();
        length += if self.delivery.packet_id().is_some() { 2 } else { 0 };
        if version.is_v5() {
            let alias = if self.properties.topic_alias().is_some() {
                3
            } else {
                0
            };
            let properties = self.properties_len(self.properties.as_bytes(), extras) - alias;
            length += wire::varint_len(properties as u32) + properties;
        }
        1 + wire::varint_len(length as u32) + length
    }
}

pub(super) fn check_depth(name: &[u8], limits: &Limits) -> Result<(), Violation> {
    let separators_max = usize::from(limits.topic_separators_max);
    if name.len() > separators_max && name.iter().filter(|b| **b == b'/').count() > separators_max {
        return Err(Violation::TopicTooDeep);
    }
    Ok(())
}
