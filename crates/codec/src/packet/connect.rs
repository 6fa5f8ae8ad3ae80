//! CONNECT.

use super::publish::check_depth;
use super::{Decoded, Fault, Packet, PacketType, Qos};
use crate::limits::Limits;
use crate::property::{Place, Properties};
use crate::topic::{BadTopic, Topic};
use crate::version::Version;
use crate::violation::Violation;
use crate::wire::{self, Reader, Varint};

/// CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the client asks for.
    pub version: Version,
    /// The client is a bridge (top bit of the level byte, an extension of the mosquitto family):
    /// all its subscriptions are "no local" and "retain as published".
    pub bridge: bool,
    /// Clean Start; Clean Session in version 3.
    pub clean_start: bool,
    /// Keep alive in seconds, 0 is off.
    pub keep_alive_s: u16,
    /// The client identifier, empty to have one assigned.
    pub client_id: &'a str,
    /// The will.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// The properties.
    pub properties: Properties<'a>,
}

/// The message that the server publishes when the connection ends without a DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: Topic<'a>,
    /// What is published; may be empty, and with `retain` it clears.
    pub payload: &'a [u8],
    /// Its QoS.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties.
    pub properties: Properties<'a>,
}

const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;
const BRIDGE: u8 = 0b1000_0000;

/// Protocol name, the longer one, and level.
const PROTOCOL_BYTES_MAX: usize = 2 + "MQIsdp".len() + 1;

/// The first packet of a connection, whose version is not known yet.
pub(super) fn decode_first<'a>(buf: &'a [u8], limits: &Limits) -> Result<Decoded<'a>, Fault> {
    let unknown = |violation| Fault {
        violation,
        version: None,
    };
    let first = buf[0];
    if first >> 4 != PacketType::Connect as u8 {
        return Err(unknown(Violation::NotConnect));
    }
    let (length, header, minimal) = match wire::varint(&buf[1..]) {
        Varint::Incomplete => return Ok(Decoded::Incomplete { bytes: None }),
        Varint::TooLong => return Err(unknown(Violation::RemainingLength)),
        Varint::Value {
            value,
            bytes,
            minimal,
        } => (value as usize, 1 + bytes, minimal),
    };
    let total = header + length;
    if total > PacketType::Connect.bytes_max(Version::V5, limits) as usize {
        // A peek at the level, so that a version 5 client hears why; it is waited for, because the
        // answer must not depend on where the network cut the stream.
        let peek_end = header + length.min(PROTOCOL_BYTES_MAX);
        let Some(peek) = buf.get(header..peek_end) else {
            return Ok(Decoded::Incomplete { bytes: None });
        };
        let version = protocol(&mut Reader::new(peek)).ok().map(|(version, _)| version);
        return Err(Fault {
            violation: Violation::PacketTooLarge,
            version,
        });
    }
    let Some(body) = buf.get(header..total) else {
        return Ok(Decoded::Incomplete { bytes: Some(total) });
    };
    let mut reader = Reader::new(body);
    let connect = Connect::decode(&mut reader, first, limits)?;
    let fault = |violation| Fault {
        violation,
        version: Some(connect.version),
    };
    if !reader.is_empty() {
        return Err(fault(Violation::SurplusBytes));
    }
    if !minimal && connect.version.is_v5() {
        return Err(fault(Violation::RemainingLength));
    }
    Ok(Decoded::Packet(Packet::Connect(connect), total))
}

/// Protocol name and level: the version, and whether the client is a bridge.
fn protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), Fault> {
    let unknown = |violation| Fault {
        violation,
        version: None,
    };
    let name = reader.binary().map_err(unknown)?;
    let old_name = match name {
        b"MQTT" => false,
        b"MQIsdp" => true,
        _ => return Err(unknown(Violation::ProtocolName)),
    };
    let level = reader.u8().map_err(unknown)?;
    let refused = |version| Fault {
        violation: Violation::ProtocolLevel,
        version: Some(version),
    };
    match (old_name, level & !BRIDGE, level & BRIDGE != 0) {
        (true, 3, bridge) => Ok((Version::V3_1, bridge)),
        (false, 4, bridge) => Ok((Version::V3_1_1, bridge)),
        (false, 5, false) => Ok((Version::V5, false)),
        // The refusal has the form that such a client can most likely read.
        (true, ..) | (false, 3, _) => Err(refused(Version::V3_1_1)),
        (false, ..) => Err(refused(Version::V5)),
    }
}

impl<'a> Connect<'a> {
    pub(super) fn decode(r: &mut Reader<'a>, first: u8, limits: &Limits) -> Result<Self, Fault> {
        let (version, bridge) = protocol(r)?;
        Self::decode_rest(r, first, (version, bridge), limits).map_err(|violation| Fault {
            violation,
            version: Some(version),
        })
    }

    fn decode_rest(
        r: &mut Reader<'a>,
        first: u8,
        (version, bridge): (Version, bool),
        limits: &Limits,
    ) -> Result<Self, Violation> {
        let lenient = version == Version::V3_1;
        let flags = r.u8()?;
        if !lenient && first & 0x0f != 0 {
            return Err(Violation::FixedHeaderFlags);
        }
        if !lenient && flags & RESERVED != 0 {
            return Err(Violation::ConnectFlags);
        }
        let keep_alive_s = r.u16()?;
        let properties = if version.is_v5() {
            Properties::decode(r, Place::Packet(PacketType::Connect))?
        } else {
            Properties::EMPTY
        };
        let client_id = r.text_or(Violation::ClientIdText)?;
        let will = Will::decode(r, flags, version, limits)?;
        // A 3.1 client may announce a name or a password and leave it out.
        let missing = |r: &Reader<'_>| lenient && r.is_empty();
        if flags & PASSWORD != 0 && flags & USER_NAME == 0 && !version.is_v5() {
            return Err(Violation::PasswordWithoutUserName);
        }
        let user_name = if flags & USER_NAME != 0 && !missing(r) {
            Some(r.text()?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 && !missing(r) {
            Some(r.binary()?)
        } else {
            None
        };
        Ok(Self {
            version,
            bridge,
            clean_start: flags & CLEAN_START != 0,
            keep_alive_s,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        wire::put_binary(out, self.version.protocol_name().as_bytes());
        out.push(self.version.level() | if self.bridge { BRIDGE } else { 0 });
        let mut flags = if self.clean_start { CLEAN_START } else { 0 };
        if let Some(will) = &self.will {
            flags |= WILL | will.qos.as_u8() << 3 | if will.retain { WILL_RETAIN } else { 0 };
        }
        flags |= if self.user_name.is_some() { USER_NAME } else { 0 };
        flags |= if self.password.is_some() { PASSWORD } else { 0 };
        out.push(flags);
        wire::put_u16(out, self.keep_alive_s);
        if self.version.is_v5() {
            self.properties.encode(out);
        }
        wire::put_binary(out, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                will.properties.encode(out);
            }
            wire::put_binary(out, will.topic.as_str().as_bytes());
            wire::put_binary(out, will.payload);
        }
        if let Some(user_name) = self.user_name {
            wire::put_binary(out, user_name.as_bytes());
        }
        if let Some(password) = self.password {
            wire::put_binary(out, password);
        }
    }
}

impl<'a> Will<'a> {
    fn decode(
        r: &mut Reader<'a>,
        flags: u8,
        version: Version,
        limits: &Limits,
    ) -> Result<Option<Self>, Violation> {
        let qos = flags >> 3 & 0b11;
        let retain = flags & WILL_RETAIN != 0;
        if flags & WILL == 0 {
            // [MQTT5-3.1.2-11] [MQTT5-3.1.2-13]
            return if qos == 0 && !retain {
                Ok(None)
            } else {
                Err(Violation::WillFlags)
            };
        }
        let qos = Qos::from_u8(qos).ok_or(Violation::WillQos)?;
        let properties = if version.is_v5() {
            Properties::decode(r, Place::Will)?
        } else {
            Properties::EMPTY
        };
        let topic = Topic::from_bytes(r.binary()?).map_err(|bad| match bad {
            BadTopic::Empty => Violation::WillTopicEmpty,
            BadTopic::NotUtf8 | BadTopic::Control => Violation::BadString,
            _ => Violation::WillTopic,
        })?;
        check_depth(topic.as_str().as_bytes(), limits)?;
        Ok(Some(Self {
            topic,
            payload: r.binary()?,
            qos,
            retain,
            properties,
        }))
    }
}
