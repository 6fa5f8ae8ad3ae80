//! CONNACK.

use super::PacketType;
use crate::property::{Place, Properties};
use crate::reason_code::ReasonCode;
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::Reader;

/// CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the server goes on with a session that it had. 3.1 has no word for it.
    pub session_present: bool,
    /// What became of the CONNECT.
    pub reason: ReasonCode,
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> ConnAck<'a> {
    pub(super) fn decode(r: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        let flags = r.u8()?;
        let code = r.u8()?;
        if version == Version::V3_1 {
            return Ok(Self {
                session_present: false,
                reason: ReasonCode::from_connack_v3(code),
                properties: Properties::EMPTY,
            });
        }
        if flags > 1 {
            return Err(Violation::ConnAckFlags);
        }
        // A server that knows no version 5 refuses in the form of version 3: two bytes in all.
        let in_v3_form = !version.is_v5() || (r.is_empty() && code < 0x80);
        let reason = if in_v3_form {
            ReasonCode::from_connack_v3(code)
        } else {
            ReasonCode::from_u8(code)
                .filter(|c| c.allowed_in(PacketType::ConnAck))
                .ok_or(Violation::AckReasonCode)?
        };
        let properties = if version.is_v5() && !r.is_empty() {
            Properties::decode(r, Place::Packet(PacketType::ConnAck))?
        } else {
            Properties::EMPTY
        };
        Ok(Self {
            session_present: flags & 1 != 0,
            reason,
            properties,
        })
    }

    /// In version 3 a reason without a return code of its own reads "server unavailable"; whether
    /// such a refusal is sent at all is the handshake's to say.
    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.push(u8::from(self.session_present && version != Version::V3_1));
        if version.is_v5() {
            out.push(self.reason.as_u8());
            self.properties.encode(out);
        } else {
            out.push(self.reason.connack_v3().unwrap_or(3));
        }
    }
}
