//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::{Packet, PacketId, PacketType, packet_id};
use crate::property::{Place, Properties};
use crate::reason_code::ReasonCode;
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::{self, Reader};

/// The content of PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The identifier of the PUBLISH that it belongs to.
    pub packet_id: PacketId,
    /// The reason code; always success in version 3.
    pub reason: ReasonCode,
    /// The properties.
    pub properties: Properties<'a>,
}

impl Packet<'_> {
    /// The acknowledgement at the front of `buf` and its bytes, if it has the four bytes that are a success in every
    /// version and that nearly every acknowledgement has. None: decode what it is.
    #[inline]
    pub fn decode_short_ack(buf: &[u8]) -> Option<(Packet<'static>, usize)> {
        let [first, 2, high, low, ..] = *buf else {
            return None;
        };
        let ack = Ack::new(
            PacketId::new(u16::from_be_bytes([high, low]))?,
            ReasonCode::Success,
        );
        let packet = match first {
            PUBACK => Packet::PubAck(ack),
            PUBREC => Packet::PubRec(ack),
            PUBREL => Packet::PubRel(ack),
            PUBCOMP => Packet::PubComp(ack),
            _ => return None,
        };
        Some((packet, 4))
    }

    /// The four bytes of an acknowledgement that says no more than success.
    #[inline]
    pub(super) fn short_ack(&self) -> Option<[u8; 4]> {
        let (first, ack) = match self {
            Self::PubAck(ack) => (PUBACK, ack),
            Self::PubRec(ack) => (PUBREC, ack),
            Self::PubRel(ack) => (PUBREL, ack),
            Self::PubComp(ack) => (PUBCOMP, ack),
            _ => return None,
        };
        let [high, low] = ack.packet_id.get().to_be_bytes();
        let is_short = ack.reason == ReasonCode::Success && ack.properties.is_empty();
        is_short.then_some([first, 2, high, low])
    }
}

const PUBACK: u8 = PacketType::PubAck.first_byte();
const PUBREC: u8 = PacketType::PubRec.first_byte();
const PUBREL: u8 = PacketType::PubRel.first_byte();
const PUBCOMP: u8 = PacketType::PubComp.first_byte();

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: Properties::EMPTY,
        }
    }

    pub(super) fn decode(
        r: &mut Reader<'a>,
        version: Version,
        packet_type: PacketType,
    ) -> Result<Self, Violation> {
        let mut ack = Self::new(packet_id(r)?, ReasonCode::Success);
        // Two bytes: success. Three: a code without properties.
        if version.is_v5() && !r.is_empty() {
            ack.reason = ReasonCode::from_u8(r.u8()?)
                .filter(|code| code.allowed_in(packet_type))
                .ok_or(Violation::AckReasonCode)?;
            if !r.is_empty() {
                ack.properties = Properties::decode(r, Place::Packet(packet_type))?;
            }
        }
        Ok(ack)
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        wire::put_u16(out, self.packet_id.get());
        if !version.is_v5() {
            return;
        }
        if !self.properties.is_empty() {
            out.push(self.reason.as_u8());
            self.properties.encode(out);
        } else if self.reason != ReasonCode::Success {
            out.push(self.reason.as_u8());
        }
    }
}
