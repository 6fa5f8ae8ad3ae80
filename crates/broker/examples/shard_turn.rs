//! What a shard spends on a message, without sockets: publishers send, subscribers of their own get it.
//!
//! `cargo run --release -p martlet-broker --example shard_turn -- [QOS] [ROUNDS]`; for instructions,
//! `valgrind --tool=callgrind` on the binary.

use std::time::Instant;

use martlet_broker::{
    ConnId, Event, Input, ListenerRules, MemoryStore, Parcels, Peer, Relocated, Seed, Settings, Shard,
    Shared, Sink,
};
use martlet_codec::{
    Ack, Address, Connect, Delivery, Filter, Packet, PacketId, Properties, Publish, Qos, ReasonCode,
    Subscribe, SubscribeOptions, SubscribeRequests, Topic, Version,
};
use martlet_session::Now;

const PAIRS: usize = 50;
const WINDOW: usize = 32;
const NOW: Now = Now {
    mono_ms: 0,
    wall_ms: 0,
};

/// Nothing happens outside one shard.
struct Nowhere;

impl Sink for Nowhere {
    fn close(&mut self, _: ConnId) {}
    fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {}
    fn has_room(&self, _: u16) -> bool {
        true
    }
    fn parcels(&mut self, _: u16) -> &mut Parcels {
        unreachable!("there is one shard")
    }
    fn event(&mut self, _: Event<'_>) {}
}

struct Bench {
    shard: Shard,
    dirty: Vec<ConnId>,
    delivered: usize,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let qos = args
        .next()
        .and_then(|arg| arg.parse().ok())
        .and_then(Qos::from_u8)
        .unwrap_or_default();
    let rounds: usize = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(1_000);
    let settings = Settings {
        sys_interval_ms: None,
        ..Settings::default()
    };
    let shared = Shared::new(settings, vec![ListenerRules::default()], 1, &mut Seed::new(1));
    let shard = Shard::new(0, shared, Box::new(MemoryStore), Seed::new(2), NOW);
    let mut bench = Bench {
        shard,
        dirty: Vec::new(),
        delivered: 0,
    };

    let clients: Vec<_> = (0..PAIRS)
        .map(|pair| (bench.publisher(pair), bench.subscriber(pair, qos)))
        .collect();
    let batches: Vec<_> = (0..PAIRS).map(|pair| batch(pair, qos)).collect();
    bench.flush();
    bench.delivered = 0;
    let start = Instant::now();
    for round in 0..rounds {
        for ((publisher, _), batch) in clients.iter().zip(&batches) {
            bench.input(*publisher, batch);
        }
        bench.flush();
        if qos == Qos::AtLeastOnce {
            let acks = acks(round);
            for (_, subscriber) in &clients {
                bench.input(*subscriber, &acks);
            }
        }
    }
    let messages = rounds * PAIRS * WINDOW;
    println!(
        "QoS {}: {} ns a message, {} bytes delivered a message",
        qos.as_u8(),
        start.elapsed().as_nanos() as usize / messages,
        bench.delivered / messages
    );
}

impl Bench {
    fn open(&mut self, name: &str) -> ConnId {
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            listener: 0,
        };
        let conn = self.shard.open(NOW, peer);
        let connect = Connect {
            version: Version::V3_1_1,
            bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            client_id: name,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        self.packet(conn, &Packet::Connect(connect));
        conn
    }

    fn publisher(&mut self, pair: usize) -> ConnId {
        self.open(&format!("publisher-{pair}"))
    }

    fn subscriber(&mut self, pair: usize, qos: Qos) -> ConnId {
        let conn = self.open(&format!("subscriber-{pair}"));
        let topic = topic(pair);
        let requests = [(Filter::new(&topic).expect("a filter"), SubscribeOptions::qos(qos))];
        self.packet(
            conn,
            &Packet::Subscribe(Subscribe {
                packet_id: PacketId::MIN,
                properties: Properties::EMPTY,
                requests: SubscribeRequests::List(&requests),
            }),
        );
        conn
    }

    fn packet(&mut self, conn: ConnId, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V3_1_1, &mut bytes);
        self.input(conn, &bytes);
    }

    fn input(&mut self, conn: ConnId, bytes: &[u8]) {
        self.shard.handle(NOW, Input::Bytes(conn, bytes), &mut Nowhere);
    }

    fn flush(&mut self) {
        self.shard.take_dirty(&mut self.dirty);
        for conn in self.dirty.drain(..) {
            let n = self.shard.output(conn).map_or(0, martlet_session::Output::len);
            self.delivered += n;
            self.shard.handle(NOW, Input::Wrote(conn, n), &mut Nowhere);
        }
    }
}

fn topic(pair: usize) -> String {
    format!("bench/pair/{pair}/data")
}

/// A window of messages; identifiers 1 to its length for QoS 1.
fn batch(pair: usize, qos: Qos) -> Vec<u8> {
    let topic = topic(pair);
    let mut bytes = Vec::new();
    for i in 0..WINDOW {
        let id = PacketId::new(i as u16 + 1).expect("not 0");
        let publish = Publish {
            dup: false,
            retain: false,
            delivery: if qos == Qos::AtLeastOnce {
                Delivery::AtLeastOnce(id)
            } else {
                Delivery::AtMostOnce
            },
            address: Address::Name(Topic::new(&topic).expect("a topic")),
            properties: Properties::EMPTY,
            payload: &[7; 64],
        };
        Packet::Publish(publish).encode(Version::V3_1_1, &mut bytes);
    }
    bytes
}

/// PUBACK for what a subscriber got in that round: a session gives out identifiers in turn.
fn acks(round: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..WINDOW {
        let id = (round * WINDOW + i) % 65_535 + 1;
        let id = PacketId::new(id as u16).expect("not 0");
        Packet::PubAck(Ack::new(id, ReasonCode::Success)).encode(Version::V3_1_1, &mut bytes);
    }
    bytes
}
