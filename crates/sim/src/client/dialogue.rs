//! What a client says over one connection.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::num::NonZeroU16;

use martlet_codec::{
    Ack, Address, Connect, Delivery, Extras, Filter, Filters, Packet, PacketId, Properties, PropertiesBuf,
    PropertyId, Publish, Qos, ReasonCode, Subscribe, SubscribeOptions, SubscribeRequests, Topic, Unsubscribe,
    Version, Will,
};

use super::session::Outgoing;
use crate::history::{ClientNo, ConnNo, Fact, History, MessageNo, Said, Willed};
use crate::plan::Persona;

/// A connection, as its client sees it.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) conn: ConnNo,
    pub(super) version: Version,
    /// CONNACK came.
    pub(super) is_connected: bool,
    /// Messages that the broker takes before it acknowledges.
    pub(super) window: u16,
    /// Of the messages that are not finished, so many are still to be sent again.
    pub(super) to_resend: usize,
    /// It has read what is retained.
    pub(super) has_read: bool,
    /// Bytes that came and are not a whole packet.
    pub(super) unread: Vec<u8>,
    /// Topic names of the broker's aliases.
    pub(super) aliases: BTreeMap<u16, String>,
    /// What SUBACK and UNSUBACK are waited for with.
    requests: BTreeMap<u16, String>,
    awaited: Vec<u16>,
    /// Acknowledgements, and when they leave.
    acks: VecDeque<(u64, AckOut)>,
    ping_ms: u64,
    ping_every_ms: u64,
}

/// An acknowledgement that is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum AckOut {
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId, ReasonCode),
}

impl Dialogue {
    pub(super) fn new(conn: ConnNo, persona: &Persona) -> Self {
        Self {
            conn,
            version: persona.version,
            is_connected: false,
            window: u16::MAX,
            to_resend: 0,
            has_read: false,
            unread: Vec::new(),
            aliases: BTreeMap::new(),
            requests: BTreeMap::new(),
            awaited: Vec::new(),
            acks: VecDeque::new(),
            ping_ms: 0,
            ping_every_ms: u64::from(persona.keep_alive_s) * 300,
        }
    }

    pub(super) fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub(super) fn awaited(&self) -> &[u16] {
        &self.awaited
    }

    pub(super) fn owes(&self) -> bool {
        !self.acks.is_empty()
    }

    /// The filter that an answer is about.
    pub(super) fn answered(&mut self, id: PacketId) -> Option<String> {
        self.awaited.retain(|awaited| *awaited != id.get());
        self.requests.remove(&id.get())
    }

    #[allow(clippy::too_many_arguments)] // a CONNECT has that many parts
    pub(super) fn connect(
        &mut self,
        client: ClientNo,
        persona: &Persona,
        clean_start: bool,
        expiry_s: u32,
        has_will: bool,
        history: &mut History,
        out: &mut Vec<u8>,
    ) {
        let has_properties = persona.version == Version::V5;
        let mut properties = PropertiesBuf::new();
        if has_properties {
            properties.number(PropertyId::SessionExpiryInterval, expiry_s);
            if persona.receive_maximum < u16::MAX {
                properties.number(PropertyId::ReceiveMaximum, persona.receive_maximum);
            }
            if let Some(bytes) = persona.packet_bytes_max {
                properties.number(PropertyId::MaximumPacketSize, bytes);
            }
            if persona.alias_max > 0 {
                properties.number(PropertyId::TopicAliasMaximum, persona.alias_max);
            }
        }
        let plan = persona.will.filter(|_| has_will);
        let delay_s = if has_properties {
            plan.map_or(0, |will| will.delay_s)
        } else {
            0
        };
        let will = plan.map(|will| Willed {
            message: history.say(Said {
                publisher: client,
                topic: format!("w/{client}"),
                qos: will.qos,
                retain: false,
                clears: false,
                expires: false,
                bytes: 0,
            }),
            delay_ms: u64::from(delay_s) * 1_000,
        });
        let payload = will.map(|will| payload(will.message, history.message(will.message)));
        let topic = will.map(|will| history.message(will.message).topic.clone());
        let mut will_properties = PropertiesBuf::new();
        if delay_s > 0 {
            will_properties.number(PropertyId::WillDelayInterval, delay_s);
        }
        let connect = Connect {
            version: persona.version,
            bridge: false,
            clean_start,
            keep_alive_s: persona.keep_alive_s,
            client_id: &persona.name,
            will: plan.map(|plan| Will {
                topic: Topic::new(topic.as_deref().unwrap_or_default()).expect("made above"),
                payload: payload.as_deref().unwrap_or_default(),
                qos: plan.qos,
                retain: false,
                properties: will_properties.as_properties(),
            }),
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        };
        Packet::Connect(connect).encode(persona.version, out);
        history.note(Fact::Connecting {
            client,
            conn: self.conn,
            clean_start,
            expiry_s,
            window: if has_properties {
                persona.receive_maximum
            } else {
                u16::MAX
            },
            will,
        });
    }

    pub(super) fn publish(
        &mut self,
        client: ClientNo,
        message: MessageNo,
        id: Option<PacketId>,
        dup: bool,
        history: &mut History,
        out: &mut Vec<u8>,
    ) {
        let said = history.message(message);
        let delivery = match (said.qos, id) {
            (Qos::AtLeastOnce, Some(id)) => Delivery::AtLeastOnce(id),
            (Qos::ExactlyOnce, Some(id)) => Delivery::ExactlyOnce(id),
            _ => Delivery::AtMostOnce,
        };
        let publish = Publish {
            dup,
            retain: said.retain,
            delivery,
            address: Address::Name(Topic::new(&said.topic).expect("topics of a plan are valid")),
            properties: Properties::EMPTY,
            payload: &payload(message, said),
        };
        // Long enough to be there or not, by chance.
        let expiry_s = said.expires.then_some(5);
        let extras = Extras {
            expiry_s,
            subscription_ids: &[],
        };
        publish.encode(self.version, extras, out);
        history.note(Fact::Published {
            client,
            conn: self.conn,
            message,
            dup,
            id: id.map_or(0, NonZeroU16::get),
        });
    }

    /// Sends again what is not finished, as far as the window goes.
    pub(super) fn resend(
        &mut self,
        client: ClientNo,
        inflight: &VecDeque<Outgoing>,
        history: &mut History,
        out: &mut Vec<u8>,
    ) {
        let first = inflight.len() - self.to_resend.min(inflight.len());
        let room = usize::from(self.window).saturating_sub(first);
        for outgoing in inflight.iter().skip(first).take(room) {
            self.to_resend -= 1;
            if outgoing.is_released {
                let release = Packet::PubRel(Ack::new(outgoing.id, ReasonCode::Success));
                release.encode(self.version, out);
            } else {
                self.publish(client, outgoing.message, Some(outgoing.id), true, history, out);
            }
        }
    }

    pub(super) fn subscribe(
        &mut self,
        client: ClientNo,
        id: PacketId,
        filter: &str,
        qos: Qos,
        history: &mut History,
        out: &mut Vec<u8>,
    ) {
        let requests = [(
            Filter::new(filter).expect("filters of a plan are valid"),
            SubscribeOptions::qos(qos),
        )];
        let subscribe = Packet::Subscribe(Subscribe {
            packet_id: id,
            properties: Properties::EMPTY,
            requests: SubscribeRequests::List(&requests),
        });
        subscribe.encode(self.version, out);
        self.await_answer(id, filter);
        history.note(Fact::Subscribing {
            client,
            conn: self.conn,
            filter: filter.to_owned(),
            qos,
        });
    }

    pub(super) fn unsubscribe(
        &mut self,
        client: ClientNo,
        id: PacketId,
        filter: &str,
        history: &mut History,
        out: &mut Vec<u8>,
    ) {
        let filters = [Filter::new(filter).expect("filters of a plan are valid")];
        let unsubscribe = Packet::Unsubscribe(Unsubscribe {
            packet_id: id,
            properties: Properties::EMPTY,
            filters: Filters::List(&filters),
        });
        unsubscribe.encode(self.version, out);
        self.await_answer(id, filter);
        history.note(Fact::Unsubscribing {
            client,
            conn: self.conn,
            filter: filter.to_owned(),
        });
    }

    fn await_answer(&mut self, id: PacketId, filter: &str) {
        self.requests.insert(id.get(), filter.to_owned());
        self.awaited.push(id.get());
    }

    /// Owes an acknowledgement that leaves then; acknowledgements keep their order [MQTT5-4.6.0-2].
    pub(super) fn owe(&mut self, at_ms: u64, ack: AckOut) {
        let at_ms = self.acks.back().map_or(at_ms, |(last_ms, _)| at_ms.max(*last_ms));
        self.acks.push_back((at_ms, ack));
    }

    /// Sends the acknowledgements whose time has come.
    pub(super) fn send_due(
        &mut self,
        now_ms: u64,
        client: ClientNo,
        history: &mut History,
        out: &mut Vec<u8>,
    ) {
        while self.acks.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let Some((_, ack)) = self.acks.pop_front() else {
                return;
            };
            let success = |id| Ack::new(id, ReasonCode::Success);
            let (packet, finished) = match ack {
                AckOut::PubAck(id) => (Packet::PubAck(success(id)), Some(id)),
                AckOut::PubRec(id) => (Packet::PubRec(success(id)), None),
                AckOut::PubComp(id, reason) => (Packet::PubComp(Ack::new(id, reason)), Some(id)),
            };
            packet.encode(self.version, out);
            if let Some(id) = finished {
                history.note(Fact::Finished {
                    client,
                    conn: self.conn,
                    id: id.get(),
                });
            }
        }
    }

    pub(super) fn ping(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        if self.ping_every_ms > 0 && now_ms >= self.ping_ms + self.ping_every_ms {
            self.ping_ms = now_ms;
            Packet::PingReq.encode(self.version, out);
        }
    }
}

/// The payload of a message: its number, and as many bytes as it has.
fn payload(message: MessageNo, said: &Said) -> Vec<u8> {
    if said.clears {
        return Vec::new();
    }
    let mut text = String::new();
    let _ = write!(text, "m{message}.");
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().max(said.bytes), b'-');
    bytes
}

/// The number in a payload.
pub(super) fn message_in(payload: &[u8]) -> Option<MessageNo> {
    let end = payload.iter().position(|byte| *byte == b'.')?;
    std::str::from_utf8(payload.get(1..end)?).ok()?.parse().ok()
}
