//! The broker's end of a connection, where packets are changed as a bug would change them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use martlet_codec::{
    Ack, Address, Connect, Decoded, Delivery, Limits, Packet, PacketId, PropertiesBuf, PropertyId, Publish,
    Qos, ReasonCode, UnsubAck, Version,
};
use parking_lot::Mutex;

use super::Bug;

/// What the bytes of one connection go through.
#[derive(Debug)]
pub(crate) struct Wire {
    bug: Option<Bug>,
    version: Option<Version>,
    unread_up: Vec<u8>,
    unread_down: Vec<u8>,
    /// For the broker, from nobody.
    injected: Vec<u8>,
    /// For the client, from nobody.
    answers: Vec<u8>,
    /// A packet that is held back until the next.
    held: Option<Vec<u8>>,
    /// Identifiers that the broker does not know of.
    invented: BTreeSet<u16>,
    /// Identifiers that the broker has been told another for.
    renamed: BTreeMap<u16, u16>,
    is_resumed: bool,
    messages: u64,
    retained: Arc<Mutex<Past>>,
}

/// Payloads that were retained, oldest first.
pub(crate) type Past = BTreeMap<String, VecDeque<Vec<u8>>>;

/// Of so many messages one is hit.
const ONE_IN: u64 = 7;

/// Identifiers from here on are not the broker's own.
const INVENTED: u16 = 60_000;

impl Wire {
    pub(crate) fn new(bug: Option<Bug>, retained: &Arc<Mutex<Past>>) -> Self {
        Self {
            bug,
            version: None,
            unread_up: Vec::new(),
            unread_down: Vec::new(),
            injected: Vec::new(),
            answers: Vec::new(),
            held: None,
            invented: BTreeSet::new(),
            renamed: BTreeMap::new(),
            is_resumed: false,
            messages: 0,
            retained: Arc::clone(retained),
        }
    }

    /// From the client to the broker.
    pub(crate) fn up(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.bug.is_none() {
            return bytes;
        }
        let mut unread = std::mem::take(&mut self.unread_up);
        unread.extend_from_slice(&bytes);
        let (mut used, mut out) = (0, Vec::new());
        while let Ok(Decoded::Packet(packet, n)) =
            Packet::decode(&unread[used..], self.version, &Limits::NONE)
        {
            self.up_packet(&packet, &unread[used..used + n], &mut out);
            used += n;
        }
        self.unread_up = unread.split_off(used);
        out
    }

    fn up_packet(&mut self, packet: &Packet<'_>, bytes: &[u8], out: &mut Vec<u8>) {
        if let Packet::Connect(connect) = packet {
            self.version = Some(connect.version);
            return self.connect(connect, out);
        }
        let version = self.version.unwrap_or(Version::V5);
        match (self.bug, packet) {
            (Some(Bug::UnsubscribeIgnored), Packet::Unsubscribe(unsubscribe)) => {
                let unsuback = UnsubAck {
                    packet_id: unsubscribe.packet_id,
                    properties: martlet_codec::Properties::EMPTY,
                    reasons: martlet_codec::ReasonCodes::List(&[ReasonCode::Success]),
                };
                Packet::UnsubAck(unsuback).encode(version, &mut self.answers);
            }
            (Some(Bug::IdentifierForgotten), Packet::Publish(publish)) => {
                self.rename(publish, bytes, version, out);
            }
            (Some(Bug::IdentifierForgotten), Packet::PubRel(ack)) => {
                let id = self.renamed.get(&ack.packet_id.get()).copied();
                let id = id.and_then(NonZeroU16::new).unwrap_or(ack.packet_id);
                Packet::PubRel(Ack::new(id, ReasonCode::Success)).encode(version, out);
            }
            (Some(Bug::RetainedOlder), Packet::Publish(publish)) => {
                if let (true, Address::Name(topic)) = (publish.retain, publish.address) {
                    let mut retained = self.retained.lock();
                    let past = retained.entry(topic.as_str().to_owned()).or_default();
                    past.push_back(publish.payload.to_vec());
                }
                out.extend_from_slice(bytes);
            }
            (_, Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack))
                if self.invented.contains(&ack.packet_id.get()) => {}
            _ => out.extend_from_slice(bytes),
        }
    }

    fn connect(&mut self, connect: &Connect<'_>, out: &mut Vec<u8>) {
        let mut connect = *connect;
        let mut properties = PropertiesBuf::new();
        let is_v5 = connect.version == Version::V5;
        if self.bug == Some(Bug::CleanStartIgnored) && is_v5 {
            connect.clean_start = false;
        }
        if let (Some(Bug::WindowExceeded), Some(window)) = (self.bug, connect.properties.receive_maximum()) {
            properties.number(PropertyId::ReceiveMaximum, window.get() + 1);
            for (id, value) in connect.properties.iter() {
                if id != PropertyId::ReceiveMaximum {
                    properties.push(id, value);
                }
            }
            connect.properties = properties.as_properties();
        }
        Packet::Connect(connect).encode(connect.version, out);
    }

    /// A message of QoS 2 that comes again gets another identifier.
    fn rename(&mut self, publish: &Publish<'_>, bytes: &[u8], version: Version, out: &mut Vec<u8>) {
        let (true, Delivery::ExactlyOnce(id)) = (publish.dup, publish.delivery) else {
            return out.extend_from_slice(bytes);
        };
        let other = id.get() + 2_000;
        self.renamed.insert(id.get(), other);
        let delivery = Delivery::ExactlyOnce(NonZeroU16::new(other).unwrap_or(id));
        Packet::Publish(Publish { delivery, ..*publish }).encode(version, out);
    }

    /// From the broker to the client.
    pub(crate) fn down(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let (Some(bug), Some(version)) = (self.bug, self.version) else {
            return bytes;
        };
        let mut unread = std::mem::take(&mut self.unread_down);
        unread.extend_from_slice(&bytes);
        let (mut used, mut out) = (0, Vec::new());
        while let Ok(Decoded::Packet(packet, n)) =
            Packet::decode(&unread[used..], Some(version), &Limits::NONE)
        {
            let bytes = &unread[used..used + n];
            match &packet {
                Packet::Publish(publish) => self.down_publish(bug, version, publish, bytes, &mut out),
                _ => self.down_other(bug, version, &packet, bytes, &mut out),
            }
            used += n;
        }
        // What waits for another waits no longer than a turn.
        out.extend(self.held.take().unwrap_or_default());
        self.unread_down = unread.split_off(used);
        out
    }

    fn down_other(
        &mut self,
        bug: Bug,
        version: Version,
        packet: &Packet<'_>,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) {
        let original = |renamed: &BTreeMap<u16, u16>, id: PacketId| {
            let found = renamed.iter().find(|(_, other)| **other == id.get());
            found.and_then(|(id, _)| NonZeroU16::new(*id)).unwrap_or(id)
        };
        match (bug, packet) {
            (Bug::LostAtTakeover, Packet::ConnAck(connack)) => self.is_resumed = connack.session_present,
            (Bug::IdentifierForgotten, Packet::PubRec(ack)) => {
                let id = original(&self.renamed, ack.packet_id);
                return Packet::PubRec(Ack {
                    packet_id: id,
                    ..*ack
                })
                .encode(version, out);
            }
            (Bug::IdentifierForgotten, Packet::PubComp(ack)) => {
                let id = original(&self.renamed, ack.packet_id);
                self.renamed.remove(&id.get());
                return Packet::PubComp(Ack {
                    packet_id: id,
                    ..*ack
                })
                .encode(version, out);
            }
            (Bug::SwappedAcks, Packet::PubAck(_)) => return self.swap(bytes, out),
            _ => {}
        }
        out.extend_from_slice(bytes);
    }

    fn down_publish(
        &mut self,
        bug: Bug,
        version: Version,
        publish: &Publish<'_>,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) {
        let topic = match publish.address {
            Address::Name(topic) => topic.as_str(),
            // Aliases are not for others to take apart.
            Address::Alias(_) | Address::Define(..) => return out.extend_from_slice(bytes),
        };
        self.messages += 1;
        let is_hit = self.messages.is_multiple_of(ONE_IN);
        let one = match publish.delivery {
            Delivery::AtLeastOnce(id) => Some(id),
            _ => None,
        };
        match bug {
            Bug::SwappedOrder if publish.delivery.qos() > Qos::AtMostOnce => return self.swap(bytes, out),
            Bug::LostMessage if is_hit => {
                if let Some(id) = one {
                    return self.swallow(id, version);
                }
            }
            Bug::LostAtTakeover if std::mem::take(&mut self.is_resumed) => {
                if let Some(id) = one {
                    return self.swallow(id, version);
                }
            }
            Bug::DupNotSet => {
                return Packet::Publish(Publish {
                    dup: false,
                    ..*publish
                })
                .encode(version, out);
            }
            Bug::WillTwice if topic.starts_with("w/") && one.is_some() => {
                let other = INVENTED + self.invented.len() as u16;
                self.invented.insert(other);
                let delivery = NonZeroU16::new(other).map_or(Delivery::AtMostOnce, Delivery::AtLeastOnce);
                Packet::Publish(Publish { delivery, ..*publish }).encode(version, out);
            }
            Bug::RetainedOlder if publish.retain => {
                let retained = self.retained.lock();
                if let Some(payload) = retained.get(topic).and_then(VecDeque::front) {
                    return Packet::Publish(Publish { payload, ..*publish }).encode(version, out);
                }
            }
            _ => {}
        }
        out.extend_from_slice(bytes);
    }

    /// The broker believes that the message was taken.
    fn swallow(&mut self, id: PacketId, version: Version) {
        Packet::PubAck(Ack::new(id, ReasonCode::Success)).encode(version, &mut self.injected);
    }

    /// This packet and the next of its kind change places.
    fn swap(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self.held.take() {
            None => self.held = Some(bytes.to_vec()),
            Some(held) => {
                out.extend_from_slice(bytes);
                out.extend_from_slice(&held);
            }
        }
    }

    pub(crate) fn take_injected(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.injected)
    }

    pub(crate) fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }
}
