//! What a step of the broker's work costs, without sockets: `cargo xtask guards` counts the instructions of
//! each and holds them against `benches/instructions.toml`.
//!
//! `cargo run --release -p martlet-broker --example instructions -- NAME [STEPS]` does the steps and says what
//! they took; without arguments it lists the names, each with the numbers of steps that the guard counts.
//! Nothing depends on time, chance or the machine, so the difference of two runs is the cost of the steps
//! between them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use martlet_broker::router::{Overlapping, Presence, RouteBuilder, Router, SessionRef};
use martlet_broker::{
    Batch, ConnId, Event, Input, ListenerRules, Load, Login, Parcels, Peer, Relocated, Seed, Settings, Shard,
    Shared, Sink, Store, StoreEvent,
};
use martlet_codec::{
    Ack, Address, Connect, Decoded, Delivery, Disconnect, Extras, Filter, Limits, Packet, PacketId,
    Properties, PropertiesBuf, PropertyId, Publish, Qos, ReasonCode, Subscribe, SubscribeOptions,
    SubscribeRequests, Topic, Version,
};
use martlet_session::Now;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something that is done again and again.
struct Work {
    name: &'static str,
    /// The guard counts the instructions of the steps between these two numbers.
    steps: (usize, usize),
    /// How many times a step does what the count is told for.
    each: usize,
    make: fn() -> Box<dyn FnMut()>,
}

const PAIRS: usize = 50;
const WINDOW: usize = 32;
const SUBSCRIBERS: usize = 200;
const FILTERS: u32 = 10_000;

const WORKS: &[Work] = &[
    work("decode-publish", (100, 10_100), 1, || decode(Version::V3_1_1)),
    work("decode-publish-v5", (100, 10_100), 1, || decode(Version::V5)),
    work("encode-publish", (100, 10_100), 1, || encode(Version::V3_1_1)),
    work("encode-publish-v5", (100, 10_100), 1, || encode(Version::V5)),
    work("route-among-10000", (100, 2_100), 1, route),
    work("connect", (20, 520), 1, connect),
    work("turn-q0", (20, 60), PAIRS * WINDOW, || pairs(Qos::AtMostOnce)),
    work("turn-q1", (20, 60), PAIRS * WINDOW, || pairs(Qos::AtLeastOnce)),
    work("turn-q2", (20, 60), PAIRS * WINDOW, || pairs(Qos::ExactlyOnce)),
    work("turn-across-q0", (20, 60), PAIRS * WINDOW, across),
    work("fan-out-q0", (5, 15), SUBSCRIBERS * WINDOW, || {
        fan_out(Qos::AtMostOnce)
    }),
    work("fan-out-q1", (5, 15), SUBSCRIBERS * WINDOW, || {
        fan_out(Qos::AtLeastOnce)
    }),
];

const fn work(
    name: &'static str,
    steps: (usize, usize),
    each: usize,
    make: fn() -> Box<dyn FnMut()>,
) -> Work {
    Work {
        name,
        steps,
        each,
        make,
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        for Work {
            name,
            steps: (low, high),
            each,
            ..
        } in WORKS
        {
            println!("{name} {low} {high} {each}");
        }
        return;
    };
    let work = WORKS.iter().find(|work| work.name == name);
    let work = work.expect("one of the names that are listed without arguments");
    let steps = args
        .next()
        .map_or(work.steps.1, |arg| arg.parse().expect("a number of steps"));
    let mut step = (work.make)();
    let start = Instant::now();
    for _ in 0..steps {
        step();
    }
    let each = start.elapsed().as_nanos() / (steps * work.each).max(1) as u128;
    println!("{name}: {each} ns");
}

fn properties(version: Version) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    if version == Version::V5 {
        properties.number(PropertyId::MessageExpiryInterval, 60_u32);
        properties.text(PropertyId::ContentType, "application/json");
        properties.user_property("unit", "kelvin");
    }
    properties
}

fn publish<'a>(topic: &'a str, delivery: Delivery, properties: Properties<'a>) -> Publish<'a> {
    Publish {
        dup: false,
        retain: false,
        delivery,
        address: Address::Name(Topic::new(topic).expect("a topic")),
        properties,
        payload: &[7; 64],
    }
}

fn decode(version: Version) -> Box<dyn FnMut()> {
    let properties = properties(version);
    let mut bytes = Vec::new();
    let packet = publish(
        "bench/pair/7/data",
        Delivery::AtLeastOnce(PacketId::MIN),
        properties.as_properties(),
    );
    packet.encode(version, Extras::NONE, &mut bytes);
    Box::new(move || {
        let decoded = Packet::decode(black_box(&bytes), Some(version), &Limits::NONE);
        assert!(matches!(
            black_box(decoded),
            Ok(Decoded::Packet(Packet::Publish(_), _))
        ));
    })
}

fn encode(version: Version) -> Box<dyn FnMut()> {
    let properties = properties(version);
    let mut out = Vec::with_capacity(1024);
    Box::new(move || {
        out.clear();
        let delivery = Delivery::AtLeastOnce(PacketId::MIN);
        let packet = publish("bench/pair/7/data", delivery, properties.as_properties());
        black_box(packet).encode(version, Extras::NONE, &mut out);
        black_box(&out);
    })
}

/// Another topic each time, of which each matches one filter.
fn route() -> Box<dyn FnMut()> {
    let mut router = Router::new(1, Overlapping::Once);
    let presence = Presence::new();
    for i in 0..FILTERS {
        let text = match i % 3 {
            0 => format!("bench/{}/device-{i}/state", i % 100),
            1 => format!("bench/{}/+/meter-{i}", i % 100),
            _ => format!("bench/device-{i}/#"),
        };
        let session = SessionRef {
            shard: 0,
            generation: 0,
            index: i,
        };
        router.subscribe(
            Filter::new(&text).expect("a filter"),
            session,
            Qos::AtLeastOnce.into(),
            || presence.clone(),
        );
    }
    let topics: Vec<String> = (0..FILTERS)
        .map(|i| match i % 3 {
            0 => format!("bench/{}/device-{i}/state", i % 100),
            1 => format!("bench/{}/floor/meter-{i}", i % 100),
            _ => format!("bench/device-{i}/state"),
        })
        .collect();
    let mut builder = RouteBuilder::new();
    let mut at = 0;
    Box::new(move || {
        at = (at + 7_919) % topics.len();
        let route = router.route(Topic::new(&topics[at]).expect("a topic"), &mut builder);
        assert_eq!(black_box(route).hits().len(), 1);
    })
}

fn connect() -> Box<dyn FnMut()> {
    let mut bench = Bench::new();
    let mut bye = Vec::new();
    Packet::Disconnect(Disconnect::new(ReasonCode::Success)).encode(Version::V3_1_1, &mut bye);
    Box::new(move || {
        let conn = bench.open("device-0000");
        bench.flush();
        bench.input(conn, &bye);
        bench.flush();
        bench.shard.handle(NOW, Input::Closed(conn), &mut bench.outside);
    })
}

/// A window of each of many publishers, each to a subscriber of its own.
fn pairs(qos: Qos) -> Box<dyn FnMut()> {
    let mut bench = Bench::new();
    let names = 0..PAIRS;
    let publishers: Vec<_> = names
        .clone()
        .map(|nth| bench.open(&format!("publisher-{nth}")))
        .collect();
    let subscribers: Vec<_> = names
        .clone()
        .map(|nth| bench.subscriber(nth, &topic(nth), qos))
        .collect();
    let batches: Vec<_> = names.map(|nth| batch(&topic(nth), qos)).collect();
    let mut round = 0;
    Box::new(move || {
        bench.round(&publishers, &batches, &subscribers, qos, round);
        round += 1;
    })
}

/// A window of one publisher, to many subscribers.
fn fan_out(qos: Qos) -> Box<dyn FnMut()> {
    let mut bench = Bench::new();
    let publishers = [bench.open("publisher")];
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|nth| bench.subscriber(nth, &topic(0), qos))
        .collect();
    let batches = [batch(&topic(0), qos)];
    let mut round = 0;
    Box::new(move || {
        bench.round(&publishers, &batches, &subscribers, qos, round);
        round += 1;
    })
}

/// Pairs as above, but each subscriber has its session in another shard than its publisher.
fn across() -> Box<dyn FnMut()> {
    let shared = shared(2);
    let (mut here, mut there) = (Bench::of(0, Arc::clone(&shared)), Bench::of(1, shared));
    let publishers: Vec<_> = (0..PAIRS)
        .map(|nth| here.open(&format!("publisher-{nth}")))
        .collect();
    for nth in 0..PAIRS {
        there.subscriber(nth, &topic(nth), Qos::AtMostOnce);
    }
    let batches: Vec<_> = (0..PAIRS)
        .map(|nth| batch(&topic(nth), Qos::AtMostOnce))
        .collect();
    Box::new(move || {
        let before = there.delivered_bytes;
        for (publisher, batch) in publishers.iter().zip(&batches) {
            here.input(*publisher, batch);
        }
        let parcels = &mut here.outside.parcels;
        there
            .shard
            .handle(NOW, Input::Forwarded(parcels), &mut there.outside);
        there.flush();
        let answers = WINDOW * PAIRS * 64;
        assert!(
            there.delivered_bytes - before >= answers,
            "everything was delivered"
        );
    })
}

fn shared(shards: usize) -> Arc<Shared> {
    let settings = Settings {
        sys_interval_ms: None,
        ..Settings::default()
    };
    Shared::new(
        settings,
        vec![ListenerRules::default()],
        shards,
        &mut Seed::new(1),
    )
}

const NOW: Now = Now {
    mono_ms: 0,
    wall_ms: 0,
};

/// A store, as a broker has one by default, that nothing here has to be put in.
struct UnusedStore;

impl Store for UnusedStore {
    fn keeps(&self) -> bool {
        true
    }

    fn submit(&mut self, _: Now, batch: Batch) {
        panic!("nothing here is to be stored: {batch:?}")
    }

    fn flush(&mut self) {}

    fn has_room(&self) -> bool {
        true
    }

    fn load(&mut self, load: Load) {
        panic!("nothing is stored: {load:?}")
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        None
    }
}

/// Keeps what goes to another shard.
#[derive(Default)]
struct Outside {
    parcels: Parcels,
}

impl Sink for Outside {
    fn close(&mut self, _: ConnId) {}
    fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {}
    fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
        false
    }
    fn has_room(&self, _: u16) -> bool {
        true
    }
    fn parcels(&mut self, _: u16) -> &mut Parcels {
        &mut self.parcels
    }
    fn event(&mut self, _: Event<'_>) {}
}

/// A shard without sockets.
struct Bench {
    shard: Shard,
    outside: Outside,
    dirty: Vec<ConnId>,
    delivered_bytes: usize,
}

impl Bench {
    fn new() -> Self {
        Self::of(0, shared(1))
    }

    fn of(index: u16, shared: Arc<Shared>) -> Self {
        Self {
            shard: Shard::new(index, shared, Box::new(UnusedStore), Seed::new(2), NOW),
            outside: Outside::default(),
            dirty: Vec::new(),
            delivered_bytes: 0,
        }
    }

    /// All publishers send a window, all subscribers answer, and all is delivered.
    fn round(
        &mut self,
        publishers: &[ConnId],
        batches: &[Vec<u8>],
        subscribers: &[ConnId],
        qos: Qos,
        round: usize,
    ) {
        let before = self.delivered_bytes;
        for (publisher, batch) in publishers.iter().zip(batches) {
            self.input(*publisher, batch);
        }
        self.flush();
        let answers = WINDOW * subscribers.len() * 64;
        assert!(
            self.delivered_bytes - before >= answers,
            "everything was delivered"
        );
        let session_ids = (0..WINDOW).map(|i| (round * WINDOW + i) % 65_535 + 1);
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.answer(subscribers, session_ids, Packet::PubAck),
            Qos::ExactlyOnce => {
                self.answer(subscribers, session_ids.clone(), Packet::PubRec);
                self.answer(publishers, 1..=WINDOW, Packet::PubRel);
                self.flush();
                self.answer(subscribers, session_ids, Packet::PubComp);
            }
        }
    }

    /// Each sends that answer for all these identifiers.
    fn answer(
        &mut self,
        conns: &[ConnId],
        ids: impl Iterator<Item = usize>,
        packet: fn(Ack<'static>) -> Packet<'static>,
    ) {
        let mut bytes = Vec::new();
        for id in ids {
            let id = PacketId::new(id as u16).expect("not 0");
            packet(Ack::new(id, ReasonCode::Success)).encode(Version::V3_1_1, &mut bytes);
        }
        for conn in conns {
            self.input(*conn, &bytes);
        }
    }

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

    fn subscriber(&mut self, nth: usize, topic: &str, qos: Qos) -> ConnId {
        let conn = self.open(&format!("subscriber-{nth}"));
        let requests = [(Filter::new(topic).expect("a filter"), SubscribeOptions::qos(qos))];
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
        self.shard
            .handle(NOW, Input::Bytes(conn, bytes), &mut self.outside);
    }

    fn flush(&mut self) {
        self.shard.take_dirty(&mut self.dirty);
        for conn in self.dirty.drain(..) {
            let n = self.shard.output(conn).map_or(0, martlet_session::Output::len);
            self.delivered_bytes += n;
            self.shard.handle(NOW, Input::Wrote(conn, n), &mut self.outside);
        }
    }
}

fn topic(nth: usize) -> String {
    format!("bench/pair/{nth}/data")
}

/// A window of messages, with identifiers from 1.
fn batch(topic: &str, qos: Qos) -> Vec<u8> {
    let mut bytes = Vec::new();
    for i in 0..WINDOW {
        let id = PacketId::new(i as u16 + 1).expect("not 0");
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
        };
        publish(topic, delivery, Properties::EMPTY).encode(Version::V3_1_1, Extras::NONE, &mut bytes);
    }
    bytes
}
