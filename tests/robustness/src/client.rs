//! A client that does only what it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use martlet_codec::{
    Ack, Address, Connect, Decoded, Delivery, Extras, Filter, Limits, Packet, PacketId, Properties,
    PropertiesBuf, PropertyId, Publish, Qos, ReasonCode, Subscribe, SubscribeOptions, SubscribeRequests,
    Topic, Version, Will,
};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a CONNECT says.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The client identifier.
    pub id: &'a str,
    /// The version.
    pub version: Version,
    /// Clean Start.
    pub clean: bool,
    /// Session expiry in seconds; version 5 only.
    pub expiry_s: u32,
    /// Keep alive in seconds.
    pub keep_alive_s: u16,
    /// The user name.
    pub user: Option<&'a str>,
    /// The password.
    pub password: Option<&'a str>,
    /// Topic and payload of a will.
    pub will: Option<(&'static str, &'a str)>,
    /// Will delay in seconds; version 5 only.
    pub will_delay_s: u32,
}

impl<'a> Options<'a> {
    /// Version 5, clean start, no expiry, no keep alive, no will.
    pub const fn new(id: &'a str) -> Self {
        Self {
            id,
            version: Version::V5,
            clean: true,
            expiry_s: 0,
            keep_alive_s: 0,
            user: None,
            password: None,
            will: None,
            will_delay_s: 0,
        }
    }

    /// The bytes of the CONNECT.
    pub fn encode(&self) -> Vec<u8> {
        let is_v5 = self.version == Version::V5;
        let mut properties = PropertiesBuf::new();
        if is_v5 && self.expiry_s > 0 {
            properties.number(PropertyId::SessionExpiryInterval, self.expiry_s);
        }
        let mut will_properties = PropertiesBuf::new();
        if is_v5 && self.will_delay_s > 0 {
            will_properties.number(PropertyId::WillDelayInterval, self.will_delay_s);
        }
        let will = self.will.map(|(topic, payload)| Will {
            topic: Topic::new(topic).expect("a topic"),
            payload: payload.as_bytes(),
            qos: Qos::AtMostOnce,
            retain: false,
            properties: will_properties.as_properties(),
        });
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: self.clean,
            keep_alive_s: self.keep_alive_s,
            client_id: self.id,
            will,
            user_name: self.user,
            password: self.password.map(str::as_bytes),
            properties: properties.as_properties(),
        };
        encode(&Packet::Connect(connect), self.version)
    }
}

/// A packet as bytes.
pub fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

/// What came from the broker, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the standard
pub enum Got {
    ConnAck(ReasonCode, bool),
    Publish {
        topic: String,
        payload: Vec<u8>,
        delivery: Delivery,
        retain: bool,
        dup: bool,
    },
    PubAck(PacketId, ReasonCode),
    PubRec(PacketId, ReasonCode),
    PubRel(PacketId),
    PubComp(PacketId),
    SubAck(Vec<ReasonCode>),
    Disconnect(ReasonCode, Option<String>),
    Pong,
    Other,
    /// The connection is closed.
    Closed,
    /// Nothing came in time.
    Nothing,
}

/// A connection with the bytes that came and were not looked at.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    version: Version,
    unread: Vec<u8>,
    used: usize,
    next_id: u16,
}

impl Client {
    /// A connection that has sent nothing.
    pub fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_nodelay(true).expect("the socket is open");
        Self {
            stream,
            version,
            unread: Vec::new(),
            used: 0,
            next_id: 0,
        }
    }

    /// Connects and expects to be let in.
    pub fn connect(address: SocketAddr, options: &Options<'_>) -> Self {
        let mut client = Self::open(address, options.version);
        client.raw(&options.encode());
        match client.answer() {
            Got::ConnAck(ReasonCode::Success, _) => client,
            got => panic!("{} is not let in: {got:?}", options.id),
        }
    }

    /// The socket.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: &Packet<'_>) {
        let bytes = encode(packet, self.version);
        self.raw(&bytes);
    }

    /// An identifier for the next packet.
    pub fn id(&mut self) -> PacketId {
        self.next_id = self.next_id % u16::MAX + 1;
        PacketId::new(self.next_id).expect("never 0")
    }

    /// Subscribes and waits for the answer.
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let options = SubscribeOptions::qos(Qos::from_u8(qos).expect("0, 1 or 2"));
        let requests = [(Filter::new(filter).expect("a filter"), options)];
        let packet_id = self.id();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            properties: Properties::EMPTY,
            requests: SubscribeRequests::List(&requests),
        }));
        let got = self.answer();
        assert!(
            matches!(&got, Got::SubAck(codes) if codes.iter().all(|code| !code.is_error())),
            "{got:?}"
        );
    }

    /// A PUBLISH of that QoS, as bytes; with its identifier.
    pub fn publish_bytes(&mut self, topic: &str, payload: &[u8], qos: u8) -> (Vec<u8>, Option<PacketId>) {
        let delivery = match qos {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce(self.id()),
            _ => Delivery::ExactlyOnce(self.id()),
        };
        let publish = Publish {
            dup: false,
            retain: false,
            delivery,
            address: Address::Name(Topic::new(topic).expect("a topic")),
            properties: Properties::EMPTY,
            payload,
        };
        let mut bytes = Vec::new();
        publish.encode(self.version, Extras::NONE, &mut bytes);
        (bytes, delivery.packet_id())
    }

    /// Publishes, and for QoS 1 and 2 waits until the flow is finished.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) {
        let (bytes, id) = self.publish_bytes(topic, payload, qos);
        self.raw(&bytes);
        let Some(id) = id else { return };
        if qos == 1 {
            return self
                .expect(|got| matches!(got, Got::PubAck(acked, code) if *acked == id && !code.is_error()));
        }
        self.expect(|got| matches!(got, Got::PubRec(acked, code) if *acked == id && !code.is_error()));
        self.send(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        self.expect(|got| *got == Got::PubComp(id));
    }

    fn expect(&mut self, is_it: impl Fn(&Got) -> bool) {
        let got = self.answer();
        assert!(is_it(&got), "the publisher got {got:?}");
    }

    /// Acknowledges what came, as far as it wants that.
    pub fn acknowledge(&mut self, got: &Got) {
        match got {
            Got::Publish { delivery, .. } => match delivery {
                Delivery::AtMostOnce => {}
                Delivery::AtLeastOnce(id) => self.send(&Packet::PubAck(Ack::new(*id, ReasonCode::Success))),
                Delivery::ExactlyOnce(id) => self.send(&Packet::PubRec(Ack::new(*id, ReasonCode::Success))),
            },
            Got::PubRel(id) => self.send(&Packet::PubComp(Ack::new(*id, ReasonCode::Success))),
            _ => {}
        }
    }

    /// Sends PINGREQ and waits for the answer.
    pub fn ping(&mut self) {
        self.send(&Packet::PingReq);
        self.expect(|got| *got == Got::Pong);
    }

    /// The next packet, or the end.
    pub fn answer(&mut self) -> Got {
        match self.next_within(ANSWER_MAX) {
            Got::Nothing => panic!("the broker does not answer within {ANSWER_MAX:?}"),
            got => got,
        }
    }

    /// The topic and payload of the next PUBLISH.
    pub fn publish_within(&mut self, bound: Duration) -> Option<(String, Vec<u8>)> {
        match self.next_within(bound) {
            Got::Publish { topic, payload, .. } => Some((topic, payload)),
            _ => None,
        }
    }

    /// The next packet, or the end, or nothing.
    pub fn next_within(&mut self, bound: Duration) -> Got {
        let limits = Limits {
            packet_bytes_max: u32::MAX,
            ..Limits::default()
        };
        let deadline = Instant::now() + bound;
        loop {
            match Packet::decode(&self.unread[self.used..], Some(self.version), &limits) {
                Ok(Decoded::Packet(packet, n)) => {
                    let got = owned(&packet);
                    self.used += n;
                    return got;
                }
                Ok(Decoded::Incomplete { .. }) => {}
                Err(fault) => panic!("the broker breaks a rule: {fault}"),
            }
            self.unread.drain(..std::mem::take(&mut self.used));
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Got::Nothing;
            }
            self.stream.set_read_timeout(Some(left)).expect("a bound above 0");
            let mut buf = vec![0; 64 << 10];
            match self.stream.read(&mut buf) {
                Ok(0) => return Got::Closed,
                Ok(n) => self.unread.extend_from_slice(&buf[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Got::Closed,
            }
        }
    }
}

fn owned(packet: &Packet<'_>) -> Got {
    match packet {
        Packet::ConnAck(ack) => Got::ConnAck(ack.reason, ack.session_present),
        Packet::Publish(publish) => {
            let Address::Name(topic) = publish.address else {
                panic!("an alias, though none is allowed")
            };
            Got::Publish {
                topic: topic.as_str().to_owned(),
                payload: publish.payload.to_vec(),
                delivery: publish.delivery,
                retain: publish.retain,
                dup: publish.dup,
            }
        }
        Packet::PubAck(ack) => Got::PubAck(ack.packet_id, ack.reason),
        Packet::PubRec(ack) => Got::PubRec(ack.packet_id, ack.reason),
        Packet::PubRel(ack) => Got::PubRel(ack.packet_id),
        Packet::PubComp(ack) => Got::PubComp(ack.packet_id),
        Packet::SubAck(ack) => Got::SubAck(ack.reasons.iter().collect()),
        Packet::Disconnect(disconnect) => Got::Disconnect(
            disconnect.reason,
            disconnect.properties.reason_string().map(str::to_owned),
        ),
        Packet::PingResp => Got::Pong,
        _ => Got::Other,
    }
}
