//! DISCONNECT and AUTH.

use super::PacketType;
use crate::property::{Place, Properties};
use crate::reason_code::ReasonCode;
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::Reader;

/// DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why the connection ends; always success in version 3.
    pub reason: ReasonCode,
    /// The properties.
    pub properties: Properties<'a>,
}

/// AUTH; version 5 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue authentication, or re-authenticate.
    pub reason: ReasonCode,
    /// The properties, the authentication method and data among them.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            properties: Properties::EMPTY,
        }
    }

    pub(super) fn decode(r: &mut Reader<'a>, version: Version) -> Result<Self, Violation> {
        if !version.is_v5() {
            return Ok(Self::new(ReasonCode::Success));
        }
        let (reason, properties) = decode(r, PacketType::Disconnect)?;
        Ok(Self { reason, properties })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if version.is_v5() {
            encode(self.reason, self.properties, out);
        }
    }
}

impl<'a> Auth<'a> {
    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self, Violation> {
        let (reason, properties) = decode(r, PacketType::Auth)?;
        Ok(Self { reason, properties })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode(self.reason, self.properties, out);
    }
}

/// Both may end early: no bytes are success, one byte is a code without properties.
fn decode<'a>(r: &mut Reader<'a>, packet: PacketType) -> Result<(ReasonCode, Properties<'a>), Violation> {
    if r.is_empty() {
        return Ok((ReasonCode::Success, Properties::EMPTY));
    }
    let reason = ReasonCode::from_u8(r.u8()?)
        .filter(|c| c.allowed_in(packet))
        .ok_or(Violation::AckReasonCode)?;
    if r.is_empty() {
        return Ok((reason, Properties::EMPTY));
    }
    Ok((reason, Properties::decode(r, Place::Packet(packet))?))
}

fn encode(reason: ReasonCode, properties: Properties<'_>, out: &mut Vec<u8>) {
    if reason == ReasonCode::Success && properties.is_empty() {
        return;
    }
    out.push(reason.as_u8());
    if !properties.is_empty() {
        properties.encode(out);
    }
}
