//! The packets: one type for all versions.

mod ack;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod subscribe;

use std::num::NonZeroU16;

pub use ack::Ack;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::{Auth, Disconnect};
pub use publish::{Address, Delivery, Extras, Publish};
pub use subscribe::{
    Filters, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeOptions, SubscribeRequests, UnsubAck,
    Unsubscribe,
};

use crate::limits::Limits;
use crate::property::PropertyId;
use crate::topic::Topic;
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::{self, Reader, Varint};

/// A packet identifier; never 0 [MQTT5-2.2.1-3].
pub type PacketId = NonZeroU16;

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS of that number; there is no 3 [MQTT5-3.3.1-4].
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}

/// The type in the upper half of a packet's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the names are those of the standard
pub enum PacketType {
    Connect = 1,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    PingReq,
    PingResp,
    Disconnect,
    Auth,
}

impl PacketType {
    /// The type of a first byte; 0 is none, and 15 is AUTH in version 5 only.
    pub const fn of(first: u8, version: Version) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 if version.is_v5() => Self::Auth,
            _ => return None,
        })
    }

    pub(crate) const fn bit(self) -> u16 {
        1 << (self as u8)
    }

    /// The flags in the lower half of the first byte, but for PUBLISH [MQTT5-2.1.3-1].
    const fn flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    fn bytes_max(self, version: Version, limits: &Limits) -> u32 {
        let own = match self {
            Self::Connect | Self::Auth => limits.request_bytes_max,
            Self::Subscribe | Self::Unsubscribe if version.is_v5() => limits.request_bytes_max,
            Self::PubAck | Self::PubRec | Self::PubRel | Self::PubComp | Self::Disconnect
                if version.is_v5() =>
            {
                limits.ack_bytes_max
            }
            _ => limits.packet_bytes_max,
        };
        own.min(limits.packet_bytes_max)
    }
}

/// A packet, borrowed from the bytes that it was decoded from or from what its sender holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the standard
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// What the front of a buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A packet and the bytes that it took.
    Packet(Packet<'a>, usize),
    /// The start of a packet; `bytes` is its whole length once that is known. It was checked
    /// against the limits, so a buffer of that size may be reserved as the bytes arrive.
    Incomplete {
        /// The length of the packet, fixed header included.
        bytes: Option<usize>,
    },
}

/// A rule that the peer broke, and the version in which to tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{violation}")]
pub struct Fault {
    /// The rule.
    pub violation: Violation,
    /// The version that was agreed, or that CONNECT asked for; `None`: not known, so nothing is sent.
    pub version: Option<Version>,
}

impl<'a> Packet<'a> {
    /// Decodes the packet at the front of `buf`. Any chunking of the same bytes gives the same packets.
    ///
    /// `version` is `None` as long as no CONNECT was seen: then only a CONNECT is taken
    /// [MQTT5-3.1.0-1]. Nothing is allocated.
    pub fn decode(buf: &'a [u8], version: Option<Version>, limits: &Limits) -> Result<Decoded<'a>, Fault> {
        let fault = |violation| Fault { violation, version };
        let Some(&first) = buf.first() else {
            return Ok(Decoded::Incomplete { bytes: None });
        };
        let Some(version) = version else {
            return connect::decode_first(buf, limits);
        };
        let packet_type = PacketType::of(first, version).ok_or(fault(Violation::PacketType))?;
        match frame(packet_type, buf, version, limits).map_err(fault)? {
            Frame::Incomplete { bytes } => Ok(Decoded::Incomplete { bytes }),
            Frame::Whole { body, bytes } => {
                let packet = Self::decode_body(packet_type, first, body, version, limits).map_err(fault)?;
                Ok(Decoded::Packet(packet, bytes))
            }
        }
    }

    /// The same for a PUBLISH alone: `None` if something else, or not all of it, is at the front. Nearly every
    /// packet is one, and this way it is not moved about inside the type that has room for a CONNECT.
    /// `known` is a topic name that it is likely to have: then it is compared instead of checked.
    pub fn decode_publish(
        buf: &'a [u8],
        version: Version,
        limits: &Limits,
        known: Option<Topic<'a>>,
    ) -> Result<Option<(Publish<'a>, usize)>, Fault> {
        let Some(first) = buf
            .first()
            .filter(|first| *first >> 4 == PacketType::Publish as u8)
        else {
            return Ok(None);
        };
        let fault = |violation| Fault {
            violation,
            version: Some(version),
        };
        let Frame::Whole { body, bytes } = frame(PacketType::Publish, buf, version, limits).map_err(fault)?
        else {
            return Ok(None);
        };
        let publish =
            Publish::decode(*first, &mut Reader::new(body), version, limits, known).map_err(fault)?;
        Ok(Some((publish, bytes)))
    }

    fn decode_body(
        packet_type: PacketType,
        first: u8,
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, Violation> {
        check_flags(packet_type, first, version)?;
        let mut reader = Reader::new(body);
        let r = &mut reader;
        let packet = match packet_type {
            PacketType::Publish => {
                return Publish::decode(first, r, version, limits, None).map(Packet::Publish);
            }
            PacketType::PubAck => Packet::PubAck(Ack::decode(r, version, packet_type)?),
            PacketType::PubRec => Packet::PubRec(Ack::decode(r, version, packet_type)?),
            PacketType::PubRel => Packet::PubRel(Ack::decode(r, version, packet_type)?),
            PacketType::PubComp => Packet::PubComp(Ack::decode(r, version, packet_type)?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(r, version, limits)?),
            PacketType::SubAck => Packet::SubAck(SubAck::decode(r, version)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(r, version, limits)?),
            PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(r, version)?),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(r, version)?),
            PacketType::Auth => Packet::Auth(Auth::decode(r)?),
            PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(r, version)?),
            // Whatever else is wrong with it: a first CONNECT has codes that DISCONNECT does not have.
            PacketType::Connect => {
                Packet::Connect(Connect::decode(r, first, limits).map_err(|_| Violation::SecondConnect)?)
            }
        };
        if reader.is_empty() {
            Ok(packet)
        } else {
            Err(Violation::SurplusBytes)
        }
    }

    /// The length that the packet at the front of `buf` says it has, fixed header included: for
    /// messages about one that is too large.
    pub fn announced_len(buf: &[u8]) -> Option<usize> {
        match wire::varint(buf.get(1..)?) {
            Varint::Value { value, bytes, .. } => Some(1 + bytes + value as usize),
            Varint::Incomplete | Varint::TooLong => None,
        }
    }

    /// The type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the packet to `out`. What a version cannot say is left out: properties and reason
    /// codes in version 3.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if let Self::Publish(publish) = self {
            return publish.encode(version, Extras::NONE, out);
        }
        if let Some(ack) = self.short_ack() {
            return out.extend_from_slice(&ack);
        }
        self.encode_other(version, out);
    }

    /// Apart, so that what nearly all packets are does not pay for the registers that this needs.
    #[inline(never)]
    fn encode_other(&self, version: Version, out: &mut Vec<u8>) {
        let packet_type = self.packet_type();
        let start = out.len();
        out.extend_from_slice(&[packet_type.first_byte(), 0]);
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::ConnAck(connack) => connack.encode(version, out),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.encode(version, out);
            }
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::SubAck(suback) => suback.encode(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::UnsubAck(unsuback) => unsuback.encode(version, out),
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            Self::Auth(auth) => auth.encode(out),
            Self::Publish(_) | Self::PingReq | Self::PingResp => {}
        }
        let length = (out.len() - start - 2) as u32;
        if length < 128 {
            out[start + 1] = length as u8;
        } else {
            let mut prefix = Vec::with_capacity(4);
            wire::put_varint(&mut prefix, length);
            out.splice(start + 1..start + 2, prefix);
        }
    }

    /// Appends the packet if it fits `bytes_max`, first without its Reason String and User Properties
    /// where it does not [MQTT5-3.2.2-19] [MQTT5-3.2.2-20] and kin. `false`: it does not fit at all,
    /// and `out` is as it was [MQTT5-3.1.2-24].
    #[must_use]
    pub fn encode_within(&self, bytes_max: u32, version: Version, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.encode(version, out);
        if out.len() - start <= bytes_max as usize {
            return true;
        }
        out.truncate(start);
        let Some(properties) = self.properties() else {
            return false;
        };
        let mut kept = Vec::new();
        properties.retain_into(&mut kept, |id| {
            !matches!(id, PropertyId::ReasonString | PropertyId::UserProperty)
        });
        if kept.len() == properties.as_bytes().len() {
            return false;
        }
        let place = crate::Place::Packet(self.packet_type());
        let kept = crate::Properties::check(&kept, place).expect("a part of checked properties is checked");
        self.with_properties(kept).encode(version, out);
        if out.len() - start <= bytes_max as usize {
            return true;
        }
        out.truncate(start);
        false
    }

    /// The properties of a packet that may be shortened: all but PUBLISH, which is forwarded
    /// unaltered, and what a client asks with.
    const fn properties(&self) -> Option<crate::Properties<'a>> {
        Some(match self {
            Self::ConnAck(p) => p.properties,
            Self::PubAck(p) | Self::PubRec(p) | Self::PubRel(p) | Self::PubComp(p) => p.properties,
            Self::SubAck(p) => p.properties,
            Self::UnsubAck(p) => p.properties,
            Self::Disconnect(p) => p.properties,
            Self::Auth(p) => p.properties,
            _ => return None,
        })
    }

    const fn with_properties<'b>(self, properties: crate::Properties<'b>) -> Packet<'b>
    where
        'a: 'b,
    {
        match self {
            Self::ConnAck(p) => Packet::ConnAck(ConnAck { properties, ..p }),
            Self::PubAck(p) => Packet::PubAck(Ack { properties, ..p }),
            Self::PubRec(p) => Packet::PubRec(Ack { properties, ..p }),
            Self::PubRel(p) => Packet::PubRel(Ack { properties, ..p }),
            Self::PubComp(p) => Packet::PubComp(Ack { properties, ..p }),
            Self::SubAck(p) => Packet::SubAck(SubAck { properties, ..p }),
            Self::UnsubAck(p) => Packet::UnsubAck(UnsubAck { properties, ..p }),
            Self::Disconnect(p) => Packet::Disconnect(Disconnect { properties, ..p }),
            Self::Auth(p) => Packet::Auth(Auth { properties, ..p }),
            other => other,
        }
    }
}

/// Where a packet starts and ends.
enum Frame<'a> {
    Incomplete { bytes: Option<usize> },
    Whole { body: &'a [u8], bytes: usize },
}

fn frame<'a>(
    packet_type: PacketType,
    buf: &'a [u8],
    version: Version,
    limits: &Limits,
) -> Result<Frame<'a>, Violation> {
    let (length, header, minimal) = match wire::varint(&buf[1..]) {
        Varint::Incomplete => return Ok(Frame::Incomplete { bytes: None }),
        Varint::TooLong => return Err(Violation::RemainingLength),
        Varint::Value {
            value,
            bytes,
            minimal,
        } => (value as usize, 1 + bytes, minimal),
    };
    if !minimal && version.is_v5() {
        return Err(Violation::RemainingLength);
    }
    let bytes = header + length;
    if bytes > packet_type.bytes_max(version, limits) as usize {
        return Err(Violation::PacketTooLarge);
    }
    Ok(match buf.get(header..bytes) {
        Some(body) => Frame::Whole { body, bytes },
        None => Frame::Incomplete { bytes: Some(bytes) },
    })
}

fn check_flags(packet_type: PacketType, first: u8, version: Version) -> Result<(), Violation> {
    let mut flags = first & 0x0f;
    match (packet_type, version) {
        // PUBLISH has flags of its own; CONNECT says its version only inside.
        (PacketType::Publish | PacketType::Connect, _) => return Ok(()),
        // In 3.1 these three have a DUP of their own.
        (PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe, Version::V3_1) => {
            flags &= !0b1000;
        }
        _ => {}
    }
    if flags == packet_type.flags() {
        Ok(())
    } else {
        Err(Violation::FixedHeaderFlags)
    }
}

fn packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Violation> {
    PacketId::new(reader.u16()?).ok_or(Violation::PacketIdZero)
}
