//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.

use super::publish::check_depth;
use super::{PacketId, PacketType, Qos, packet_id};
use crate::filter::Filter;
use crate::limits::Limits;
use crate::property::{Place, Properties};
use crate::reason_code::ReasonCode;
use crate::topic::BadTopic;
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::{self, Reader};

/// SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
    /// What is asked for; never empty, but in 3.1.
    pub requests: SubscribeRequests<'a>,
}

/// The options of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubscribeOptions {
    /// The highest QoS at which messages are sent.
    pub qos: Qos,
    /// Messages of this very client are not sent back to it.
    pub no_local: bool,
    /// Forwarded messages keep the RETAIN of their publisher.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent because of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// Each time.
    #[default]
    Always = 0,
    /// If the session had no subscription to exactly this filter.
    New = 1,
    /// Not at all.
    Never = 2,
}

impl SubscribeOptions {
    /// Only a QoS, all else as in version 3.
    pub fn qos(qos: Qos) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }

    fn decode(byte: u8, version: Version) -> Result<Self, Violation> {
        let qos = Qos::from_u8(byte & 0b11).ok_or(Violation::SubscribeOptions)?;
        let retain_handling = match byte >> 4 & 0b11 {
            0 => RetainHandling::Always,
            1 => RetainHandling::New,
            2 => RetainHandling::Never,
            _ => return Err(Violation::SubscribeOptions),
        };
        // [MQTT5-3.8.3-5] [MQTT3-3.8.3-4]
        let reserved = if version.is_v5() { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 {
            return Err(Violation::SubscribeOptions);
        }
        let (no_local, retain_as_published) = (byte & 0b0100 != 0, byte & 0b1000 != 0);
        Ok(Self {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        })
    }

    fn encode(self, version: Version) -> u8 {
        if !version.is_v5() {
            return self.qos.as_u8();
        }
        self.qos.as_u8()
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

/// The filters of a SUBSCRIBE with their options.
#[derive(Debug, Clone, Copy)]
pub enum SubscribeRequests<'a> {
    /// As they stand in the packet, checked.
    Encoded(&'a [u8]),
    /// As a sender holds them.
    List(&'a [(Filter<'a>, SubscribeOptions)]),
}

impl<'a> SubscribeRequests<'a> {
    /// The requests in their order.
    pub fn iter(self) -> impl Iterator<Item = (Filter<'a>, SubscribeOptions)> {
        let (bytes, list): (_, &'a [_]) = match self {
            Self::Encoded(bytes) => (bytes, &[]),
            Self::List(list) => (&[][..], list),
        };
        let mut reader = Reader::new(bytes);
        let encoded = std::iter::from_fn(move || {
            // Version 5 reads the options of version 3 as they are: the other bits are 0.
            (!reader.is_empty())
                .then(|| read_request(&mut reader, Version::V5).expect("checked when it was decoded"))
        });
        encoded.chain(list.iter().copied())
    }
}

impl PartialEq for SubscribeRequests<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscribeRequests<'_> {}

fn read_request<'a>(
    r: &mut Reader<'a>,
    version: Version,
) -> Result<(Filter<'a>, SubscribeOptions), Violation> {
    let filter = read_filter(r)?;
    Ok((filter, SubscribeOptions::decode(r.u8()?, version)?))
}

fn read_filter<'a>(r: &mut Reader<'a>) -> Result<Filter<'a>, Violation> {
    Filter::from_bytes(r.binary()?).map_err(|bad| match bad {
        BadTopic::NotUtf8 => Violation::BadString,
        _ => Violation::TopicFilter,
    })
}

impl<'a> Subscribe<'a> {
    pub(super) fn decode(r: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self, Violation> {
        let packet_id = packet_id(r)?;
        let properties = properties(r, version, PacketType::Subscribe)?;
        let encoded = r.rest();
        // An empty SUBSCRIBE is legal in 3.1 and gets an empty SUBACK.
        if encoded.is_empty() && version != Version::V3_1 {
            return Err(Violation::NoFilter);
        }
        while !r.is_empty() {
            let (filter, options) = read_request(r, version)?;
            if options.no_local && filter.share_group().is_some() {
                return Err(Violation::SharedNoLocal);
            }
            check_depth(filter.as_str().as_bytes(), limits)?;
        }
        Ok(Self {
            packet_id,
            properties,
            requests: SubscribeRequests::Encoded(encoded),
        })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        wire::put_u16(out, self.packet_id.get());
        if version.is_v5() {
            self.properties.encode(out);
        }
        for (filter, options) in self.requests.iter() {
            wire::put_binary(out, filter.as_str().as_bytes());
            out.push(options.encode(version));
        }
    }
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The packet identifier.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
    /// The filters to give up; never empty, but in 3.1.
    pub filters: Filters<'a>,
}

/// The filters of an UNSUBSCRIBE.
#[derive(Debug, Clone, Copy)]
pub enum Filters<'a> {
    /// As they stand in the packet, checked.
    Encoded(&'a [u8]),
    /// As a sender holds them.
    List(&'a [Filter<'a>]),
}

impl<'a> Filters<'a> {
    /// The filters in their order.
    pub fn iter(self) -> impl Iterator<Item = Filter<'a>> {
        let (bytes, list): (_, &'a [_]) = match self {
            Self::Encoded(bytes) => (bytes, &[]),
            Self::List(list) => (&[][..], list),
        };
        let mut reader = Reader::new(bytes);
        let encoded = std::iter::from_fn(move || {
            (!reader.is_empty()).then(|| read_filter(&mut reader).expect("checked when it was decoded"))
        });
        encoded.chain(list.iter().copied())
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Filters<'_> {}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(r: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self, Violation> {
        let packet_id = packet_id(r)?;
        let properties = properties(r, version, PacketType::Unsubscribe)?;
        let encoded = r.rest();
        if encoded.is_empty() && version != Version::V3_1 {
            return Err(Violation::NoFilter);
        }
        while !r.is_empty() {
            check_depth(read_filter(r)?.as_str().as_bytes(), limits)?;
        }
        Ok(Self {
            packet_id,
            properties,
            filters: Filters::Encoded(encoded),
        })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        wire::put_u16(out, self.packet_id.get());
        if version.is_v5() {
            self.properties.encode(out);
        }
        for filter in self.filters.iter() {
            wire::put_binary(out, filter.as_str().as_bytes());
        }
    }
}

/// The reason codes of a SUBACK or UNSUBACK, one for each filter and in their order.
#[derive(Debug, Clone, Copy)]
pub enum ReasonCodes<'a> {
    /// As they stand in the packet, checked.
    Encoded(&'a [u8]),
    /// As a sender holds them.
    List(&'a [ReasonCode]),
}

impl<'a> ReasonCodes<'a> {
    /// The codes in their order.
    pub fn iter(self) -> impl Iterator<Item = ReasonCode> + 'a {
        let (bytes, list): (&'a [u8], &'a [_]) = match self {
            Self::Encoded(bytes) => (bytes, &[]),
            Self::List(list) => (&[][..], list),
        };
        let encoded = bytes
            .iter()
            .map(|b| ReasonCode::from_u8(*b).expect("checked when it was decoded"));
        encoded.chain(list.iter().copied())
    }

    fn decode(r: &mut Reader<'a>, packet_type: PacketType) -> Result<Self, Violation> {
        let bytes = r.bytes(r.rest().len())?;
        let known = |b: &u8| ReasonCode::from_u8(*b).is_some_and(|code| code.allowed_in(packet_type));
        if bytes.iter().all(known) {
            Ok(Self::Encoded(bytes))
        } else {
            Err(Violation::AckReasonCode)
        }
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ReasonCodes<'_> {}

/// SUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// The identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
    /// One code a filter. In version 3 each failure reads 0x80 [MQTT3-3.9.3-2].
    pub reasons: ReasonCodes<'a>,
}

/// UNSUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// The identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
    /// One code a filter; none in version 3.
    pub reasons: ReasonCodes<'a>,
}

impl<'a> SubAck<'a> {
    pub(super) fn decode(r: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        Ok(Self {
            packet_id: packet_id(r)?,
            properties: properties(r, version, PacketType::SubAck)?,
            reasons: ReasonCodes::decode(r, PacketType::SubAck)?,
        })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        wire::put_u16(out, self.packet_id.get());
        if version.is_v5() {
            self.properties.encode(out);
        }
        let failure_v3 = ReasonCode::Unspecified;
        let reasons = self.reasons.iter().map(|c| {
            if c.is_error() && !version.is_v5() {
                failure_v3
            } else {
                c
            }
        });
        out.extend(reasons.map(ReasonCode::as_u8));
    }
}

impl<'a> UnsubAck<'a> {
    pub(super) fn decode(r: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        Ok(Self {
            packet_id: packet_id(r)?,
            properties: properties(r, version, PacketType::UnsubAck)?,
            reasons: if version.is_v5() {
                ReasonCodes::decode(r, PacketType::UnsubAck)?
            } else {
                ReasonCodes::List(&[])
            },
        })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        wire::put_u16(out, self.packet_id.get());
        if version.is_v5() {
            self.properties.encode(out);
            out.extend(self.reasons.iter().map(ReasonCode::as_u8));
        }
    }
}

fn properties<'a>(
    r: &mut Reader<'a>,
    version: Version,
    packet_type: PacketType,
) -> Result<Properties<'a>, Violation> {
    if version.is_v5() {
        Properties::decode(r, Place::Packet(packet_type))
    } else {
        Ok(Properties::EMPTY)
    }
}
