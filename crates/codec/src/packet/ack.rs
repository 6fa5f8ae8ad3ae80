//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::{PacketId, PacketType, packet_id};
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
