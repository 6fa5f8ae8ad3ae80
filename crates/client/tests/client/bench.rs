//! An engine on the bench: the test is its driver, its clock and its server.

use std::time::Duration;

use martlet_client::engine::{Engine, Event, Token, Unacked};
use martlet_client::{
    Bytes, FilterBuf, Incoming, Lost, Message, Options, PacketId, Properties, PropertiesBuf, PropertyId,
    Protocol, PublishError, Qos, ReasonCode, Reconnect, Subscribe, TopicBuf, Version, Violation,
};
use martlet_codec::{Ack, Address, ConnAck, Decoded, Delivery, Limits, Packet, Publish, Topic};

pub(crate) const V3_1: Protocol = Protocol::V3_1;
pub(crate) const V3_1_1: Protocol = Protocol::V3_1_1;
pub(crate) const V5: Protocol = Protocol::V5;
pub(crate) const BOTH: [Protocol; 2] = [V3_1_1, V5];

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) now_ms: u64,
    pub(crate) version: Version,
}

pub(crate) fn options(protocol: Protocol) -> Options {
    Options::new("bench", 1883)
        .protocol(protocol)
        .client_id("c")
        .reconnect(Reconnect::fixed(Duration::from_secs(1)))
}

pub(crate) fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

pub(crate) fn message(topic: &str, qos: Qos) -> Message {
    Message::new(TopicBuf::new(topic).unwrap(), Bytes::from_static(b"x")).qos(qos)
}

pub(crate) fn qos(n: u8) -> Qos {
    Qos::from_u8(n).unwrap()
}

pub(crate) fn props(build: impl FnOnce(&mut PropertiesBuf)) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    build(&mut properties);
    properties
}

pub(crate) fn number(id: PropertyId, n: u32) -> PropertiesBuf {
    props(|p| {
        p.number(id, n);
    })
}

impl Bench {
    /// Not connected.
    pub(crate) fn new(options: Options) -> Self {
        Self::with_seed(options, 7)
    }

    pub(crate) fn with_seed(options: Options, seed: u64) -> Self {
        Self {
            engine: Engine::new(options, seed),
            now_ms: 1_000,
            version: Version::V5,
        }
    }

    /// Connected, with what happened on the way forgotten.
    pub(crate) fn up(options: Options) -> Self {
        Self::up_with(options, &PropertiesBuf::new())
    }

    pub(crate) fn up_with(options: Options, connack: &PropertiesBuf) -> Self {
        let mut bench = Self::new(options);
        bench.reconnect(false, connack);
        bench.events();
        bench
    }

    /// Makes a connection, and tells what was sent before and after CONNACK.
    pub(crate) fn reconnect(
        &mut self,
        session_present: bool,
        connack: &PropertiesBuf,
    ) -> (Vec<String>, Vec<String>) {
        assert!(self.engine.connect(self.now_ms));
        let before = self.sent();
        self.server_sends(&Packet::ConnAck(ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties: connack.as_properties(),
        }));
        (before, self.sent())
    }

    pub(crate) fn lose(&mut self) {
        self.engine.lost(self.now_ms, Lost::Closed);
    }

    pub(crate) fn server_sends(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes);
        self.engine.input(self.now_ms, &bytes);
    }

    pub(crate) fn publish_from_server(&mut self, topic: &'static str, delivery: Delivery) {
        self.server_sends(&Packet::Publish(incoming(topic, delivery)));
    }

    /// What waits to be written, in words, and writes it.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        let bytes = self.take_output();
        let mut rest = &bytes[..];
        let mut words = Vec::new();
        while !rest.is_empty() {
            let version = if words.is_empty() && rest[0] >> 4 == 1 {
                None
            } else {
                Some(self.version)
            };
            match Packet::decode(rest, version, &Limits::NONE).expect("the client is correct") {
                Decoded::Packet(packet, n) => {
                    if let Packet::Connect(connect) = &packet {
                        self.version = connect.version;
                    }
                    words.push(in_words(&packet));
                    rest = &rest[n..];
                }
                Decoded::Incomplete { .. } => panic!("half a packet: {rest:x?}"),
            }
        }
        words
    }

    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        let bytes = self.peek_output();
        self.engine.written(self.now_ms, bytes.len());
        bytes
    }

    pub(crate) fn peek_output(&self) -> Vec<u8> {
        let mut slices = vec![std::io::IoSlice::new(&[]); 10_000];
        let n = self.engine.output().slices(&mut slices);
        slices[..n]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.poll_event()).collect()
    }

    /// The only event.
    pub(crate) fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    pub(crate) fn publish(&mut self, message: Message) -> Result<Token, PublishError> {
        self.engine
            .publish(self.now_ms, message)
            .map(|accepted| accepted.token)
    }

    pub(crate) fn subscribe(&mut self, filter: &str) -> Token {
        let subscribe = Subscribe::to(FilterBuf::new(filter).unwrap(), Qos::AtLeastOnce);
        self.engine.subscribe(self.now_ms, subscribe).unwrap()
    }

    /// The messages among the events; each is taken, so it is acknowledged.
    pub(crate) fn taken(&mut self) -> Vec<String> {
        let mut topics = Vec::new();
        for event in self.events() {
            if let Event::Message { message, unacked } = event {
                topics.push(message.topic.to_string());
                self.take(unacked);
            }
        }
        topics
    }

    pub(crate) fn take(&mut self, unacked: Option<Unacked>) {
        if let Some(unacked) = unacked {
            self.engine.acknowledge(unacked);
        }
    }

    /// The one message that came.
    pub(crate) fn message(&mut self) -> (Incoming, Option<Unacked>) {
        match self.event() {
            Event::Message { message, unacked } => (message, unacked),
            other => panic!("{other:?}"),
        }
    }

    /// How the connection ended, which is told before all that ends with it.
    pub(crate) fn lost(&mut self) -> Lost {
        match self.events().into_iter().next() {
            Some(Event::Lost { cause, .. }) => cause,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn violation(&mut self) -> Violation {
        match self.lost() {
            Lost::Violation(violation) => violation,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn incoming(topic: &'static str, delivery: Delivery) -> Publish<'static> {
    Publish {
        dup: false,
        retain: false,
        delivery,
        address: Address::Name(Topic::literal(topic)),
        properties: Properties::EMPTY,
        payload: b"x",
    }
}

pub(crate) fn puback(n: u16) -> Packet<'static> {
    Packet::PubAck(Ack::new(id(n), ReasonCode::Success))
}

pub(crate) fn pubrec(n: u16) -> Packet<'static> {
    Packet::PubRec(Ack::new(id(n), ReasonCode::Success))
}

pub(crate) fn pubrel(n: u16) -> Packet<'static> {
    Packet::PubRel(Ack::new(id(n), ReasonCode::Success))
}

pub(crate) fn pubcomp(n: u16) -> Packet<'static> {
    Packet::PubComp(Ack::new(id(n), ReasonCode::Success))
}

pub(crate) fn in_words(packet: &Packet<'_>) -> String {
    let ack = |name: &str, ack: &Ack<'_>| match ack.reason {
        ReasonCode::Success => format!("{name} {}", ack.packet_id),
        reason => format!("{name} {} {:02x}", ack.packet_id, reason.as_u8()),
    };
    match packet {
        Packet::Connect(c) => format!(
            "CONNECT {} {:?}{}",
            c.version,
            c.client_id,
            if c.clean_start { " clean" } else { "" }
        ),
        Packet::Publish(p) => {
            let address = match p.address {
                Address::Name(topic) => topic.to_string(),
                Address::Define(topic, alias) => format!("{topic}={alias}"),
                Address::Alias(alias) => format!("={alias}"),
            };
            let id = p.delivery.packet_id().map_or(0, PacketId::get);
            let dup = if p.dup { " dup" } else { "" };
            format!("PUBLISH {address} q{} {id}{dup}", p.delivery.qos().as_u8())
        }
        Packet::PubAck(a) => ack("PUBACK", a),
        Packet::PubRec(a) => ack("PUBREC", a),
        Packet::PubRel(a) => ack("PUBREL", a),
        Packet::PubComp(a) => ack("PUBCOMP", a),
        Packet::Subscribe(s) => {
            let filters: Vec<_> = s.requests.iter().map(|(f, _)| f.to_string()).collect();
            format!("SUBSCRIBE {} {}", s.packet_id, filters.join(" "))
        }
        Packet::Unsubscribe(s) => {
            let filters: Vec<_> = s.filters.iter().map(|f| f.to_string()).collect();
            format!("UNSUBSCRIBE {} {}", s.packet_id, filters.join(" "))
        }
        Packet::Disconnect(d) => format!("DISCONNECT {:02x}", d.reason.as_u8()),
        Packet::Auth(a) => {
            let method = a.properties.text(PropertyId::AuthenticationMethod);
            format!("AUTH {:02x} {}", a.reason.as_u8(), method.unwrap_or_default())
        }
        other => format!("{:?}", other.packet_type()).to_uppercase(),
    }
}
