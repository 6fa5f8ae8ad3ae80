//! Records of a store on the disk: a key of 64 bits, then fields, all little endian. What is of variable length has
//! its length in front, in 32 bits.

use bytes::Bytes;
use martlet_codec::packet::PacketType;
use martlet_codec::{PacketId, Place, Properties, PropertiesBuf, Qos, TopicBuf};

use crate::engine::{Stage, StoreOp, StoredMessage, Token};
use crate::message::{Incoming, Message};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// To whom the store belongs; key 0.
    Client = 1,
    /// The run that has it, or had it last; key 0.
    Run = 2,
    /// An accepted message by its token.
    Message = 3,
    /// It may have been sent.
    Sent = 4,
    /// Its PUBREC has come.
    Released = 5,
    /// A received identifier of QoS 2.
    Received = 6,
    /// A message that the application has not taken, by its number.
    Arrived = 7,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Client,
        Self::Run,
        Self::Message,
        Self::Sent,
        Self::Released,
        Self::Received,
        Self::Arrived,
    ];

    pub(super) fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Which record: at most one lives of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) key: u64,
}

impl Name {
    pub(super) const fn new(kind: Kind, key: u64) -> Self {
        Self { kind, key }
    }

    pub(super) fn of(kind: u8, payload: &[u8]) -> Option<Self> {
        let key = payload.first_chunk::<8>()?;
        Some(Self::new(Kind::from_u8(kind)?, u64::from_le_bytes(*key)))
    }
}

/// The record that an operation puts, if it puts one.
pub(super) fn put(op: &StoreOp) -> Option<(Name, Vec<u8>)> {
    let name = match op {
        StoreOp::Accepted(kept) => Name::new(Kind::Message, kept.token.0),
        StoreOp::Sent(token) => Name::new(Kind::Sent, token.0),
        StoreOp::Received(id) => Name::new(Kind::Received, id.get().into()),
        StoreOp::Arrived(number, _) => Name::new(Kind::Arrived, *number),
        StoreOp::Released(_)
        | StoreOp::Ended(_)
        | StoreOp::Forgotten(_)
        | StoreOp::SessionLost
        | StoreOp::Taken(_) => return None,
    };
    let mut writer = Writer::begin(name);
    match op {
        StoreOp::Accepted(kept) => write_message(&mut writer, kept),
        StoreOp::Arrived(_, message) => write_incoming(&mut writer, message),
        _ => {}
    }
    Some((name, writer.0))
}

pub(super) fn client(client_id: &str) -> Vec<u8> {
    let mut writer = Writer::begin(Name::new(Kind::Client, 0));
    writer.bytes(client_id.as_bytes());
    writer.0
}

pub(super) fn run(run: u64) -> Vec<u8> {
    let mut writer = Writer::begin(Name::new(Kind::Run, 0));
    writer.u64(run);
    writer.0
}

pub(super) fn released(token: Token, packet_id: PacketId) -> Vec<u8> {
    let mut writer = Writer::begin(Name::new(Kind::Released, token.0));
    writer.u16(packet_id.get());
    writer.0
}

pub(super) fn read_client(payload: &[u8]) -> Option<String> {
    let bytes = Reader::begin(payload)?.bytes()?;
    String::from_utf8(bytes.to_vec()).ok()
}

pub(super) fn read_run(payload: &[u8]) -> Option<u64> {
    Reader::begin(payload)?.u64()
}

pub(super) fn read_released(payload: &[u8]) -> Option<PacketId> {
    PacketId::new(Reader::begin(payload)?.u16()?)
}

pub(super) fn read_received(name: Name) -> Option<PacketId> {
    PacketId::new(u16::try_from(name.key).ok()?)
}

const RETAIN: u8 = 1 << 2;
const DUP: u8 = 1 << 3;
const SENT: u8 = 1 << 4;
const QOS: u8 = 0b11;
/// Of a time that is none.
const NEVER: u64 = u64::MAX;

fn write_message(writer: &mut Writer, kept: &StoredMessage) {
    let Some(message) = &kept.message else { return };
    let mut flags = message.qos.as_u8();
    flags |= if message.retain { RETAIN } else { 0 };
    flags |= if kept.stage == Stage::Sent { SENT } else { 0 };
    writer.u8(flags);
    writer.u16(kept.packet_id.get());
    writer.u64(kept.expires_wall_ms.unwrap_or(NEVER));
    writer.bytes(message.topic.as_str().as_bytes());
    writer.bytes(message.properties.as_properties().as_bytes());
    writer.bytes(&message.payload);
}

pub(super) fn read_message(name: Name, payload: &[u8]) -> Option<StoredMessage> {
    let mut reader = Reader::begin(payload)?;
    let flags = reader.u8()?;
    let packet_id = PacketId::new(reader.u16()?)?;
    let expires = reader.u64()?;
    let message = Message {
        topic: reader.topic()?,
        properties: reader.properties()?,
        payload: Bytes::copy_from_slice(reader.bytes()?),
        qos: Qos::from_u8(flags & QOS)?,
        retain: flags & RETAIN != 0,
        time_to_live: None,
    };
    Some(StoredMessage {
        token: Token(name.key),
        packet_id,
        message: Some(message),
        expires_wall_ms: Some(expires).filter(|at_ms| *at_ms != NEVER),
        stage: if flags & SENT == 0 {
            Stage::Queued
        } else {
            Stage::Sent
        },
    })
}

fn write_incoming(writer: &mut Writer, message: &Incoming) {
    let mut flags = message.qos.as_u8();
    flags |= if message.retain { RETAIN } else { 0 };
    flags |= if message.dup { DUP } else { 0 };
    writer.u8(flags);
    writer.u16(message.packet_id.map_or(0, PacketId::get));
    writer.u16(message.topic_alias.unwrap_or(0));
    writer.bytes(message.topic.as_str().as_bytes());
    writer.bytes(message.properties.as_properties().as_bytes());
    writer.bytes(&message.payload);
}

pub(super) fn read_incoming(payload: &[u8]) -> Option<Incoming> {
    let mut reader = Reader::begin(payload)?;
    let flags = reader.u8()?;
    let packet_id = PacketId::new(reader.u16()?);
    let alias = reader.u16()?;
    Some(Incoming {
        topic: reader.topic()?,
        properties: reader.properties()?,
        payload: Bytes::copy_from_slice(reader.bytes()?),
        qos: Qos::from_u8(flags & QOS)?,
        retain: flags & RETAIN != 0,
        dup: flags & DUP != 0,
        packet_id,
        topic_alias: Some(alias).filter(|alias| *alias != 0),
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn begin(name: Name) -> Self {
        Self(name.key.to_le_bytes().to_vec())
    }

    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    fn u16(&mut self, n: u16) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    /// At most 4 GiB, as no field of MQTT is longer than 256 MiB.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Behind the key.
    fn begin(payload: &'a [u8]) -> Option<Self> {
        payload.get(8..).map(Self)
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.take(4)?;
        self.take(u32::from_le_bytes(length.try_into().ok()?) as usize)
    }

    fn topic(&mut self) -> Option<TopicBuf> {
        let text = std::str::from_utf8(self.bytes()?).ok()?;
        TopicBuf::new(text).ok()
    }

    fn properties(&mut self) -> Option<PropertiesBuf> {
        let place = Place::Packet(PacketType::Publish);
        Some(Properties::check(self.bytes()?, place).ok()?.to_buf())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_codec::PropertyId;

    fn properties() -> PropertiesBuf {
        let mut properties = PropertiesBuf::new();
        properties.number(PropertyId::MessageExpiryInterval, 9_u32);
        properties
    }

    #[test]
    fn a_message_reads_as_it_was_written() {
        let topic = TopicBuf::new("a/b").unwrap();
        let message = Message::new(topic, "payload").qos(Qos::ExactlyOnce).retain(true);
        for (stage, expires_wall_ms) in [(Stage::Queued, Some(17)), (Stage::Sent, None)] {
            let kept = StoredMessage {
                token: Token(1 << 50),
                packet_id: PacketId::MIN,
                message: Some(message.clone().properties(properties())),
                expires_wall_ms,
                stage,
            };
            let (name, payload) = put(&StoreOp::Accepted(kept.clone())).unwrap();
            assert_eq!(Name::of(Kind::Message as u8, &payload), Some(name));
            assert_eq!(read_message(name, &payload), Some(kept));
            for end in 0..payload.len() {
                assert_eq!(read_message(name, &payload[..end]), None, "{end} bytes");
            }
        }
    }

    #[test]
    fn what_came_reads_as_it_was_written() {
        let message = Incoming {
            topic: TopicBuf::new("a").unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: Qos::AtLeastOnce,
            retain: true,
            dup: true,
            packet_id: Some(PacketId::MIN),
            topic_alias: Some(3),
            properties: properties(),
        };
        let (_, payload) = put(&StoreOp::Arrived(4, message.clone())).unwrap();
        assert_eq!(read_incoming(&payload), Some(message));
        assert_eq!(read_incoming(&payload[..payload.len() - 1]), None);
    }
}
