//! Each reason by which a message is lost is counted once, told once, and in one number of `$SYS`.

#![allow(missing_docs)]

use std::sync::Arc;

use martlet_broker::{
    Batch, ConnId, DelayedStore, Event, Input, ListenerRules, Load, Login, Loses, MemoryStore, Page, Parcels,
    Peer, Reason, Relocated, Seed, Settings, Shard, Shared, Sink, Store, StoreEvent,
};
use martlet_codec::{
    Address, Connect, Delivery, Extras, Filter, Packet, PacketId, Properties, PropertiesBuf, PropertyId,
    Publish, Qos, Subscribe, SubscribeOptions, SubscribeRequests, Topic, Version,
};
use martlet_session::{Found, Loaded, Now};
use parking_lot::Mutex;

/// Two shards, of which the first has no room for the other; connections are told by shard and name.
struct Broker {
    shared: Arc<Shared>,
    shards: Vec<Shard>,
    store: Arc<Mutex<Blind>>,
    now_ms: u64,
    told: Told,
}

/// What was told of drops.
#[derive(Default)]
struct Told {
    drops: Vec<(Reason, u64)>,
    parcels: Parcels,
}

impl Sink for Told {
    fn close(&mut self, _: ConnId) {}
    fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {}
    fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
        false
    }
    fn has_room(&self, _: u16) -> bool {
        false
    }
    fn parcels(&mut self, _: u16) -> &mut Parcels {
        &mut self.parcels
    }
    fn event(&mut self, event: Event<'_>) {
        if let Event::Dropped { reason, count, .. } = event {
            self.drops.push((reason, count));
        }
    }
}

/// A store that keeps messages and cannot read them.
#[derive(Debug)]
struct Blind {
    inner: DelayedStore,
    pages: Vec<Page>,
}

impl Store for Blind {
    fn keeps(&self) -> bool {
        true
    }
    fn submit(&mut self, now: Now, batch: Batch) {
        self.inner.submit(now, batch);
    }
    fn flush(&mut self) {}
    fn has_room(&self) -> bool {
        true
    }
    fn load(&mut self, load: Load) {
        let messages = load.keys.into_iter().map(|key| Loaded {
            key,
            found: Found::Unreadable,
        });
        self.pages.push(Page {
            purpose: load.purpose,
            messages: messages.collect(),
        });
    }
    fn poll(&mut self) -> Option<StoreEvent> {
        self.pages
            .pop()
            .map(StoreEvent::Page)
            .or_else(|| self.inner.poll())
    }
}

type Conn = (usize, ConnId);

/// What a PUBLISH says beside its topic.
struct Said<'a> {
    payload: &'a [u8],
    qos: u8,
    retain: bool,
    properties: PropertiesBuf,
}

fn said(qos: u8) -> Said<'static> {
    Said {
        payload: b"payload",
        qos,
        retain: false,
        properties: PropertiesBuf::new(),
    }
}

impl Broker {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(false, change)
    }

    fn stored(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(true, change)
    }

    fn with(keeps: bool, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            sys_interval_ms: None,
            ..Settings::default()
        };
        change(&mut settings);
        let shared = Shared::new(settings, vec![ListenerRules::default()], 2, &mut Seed::new(1));
        let store = Arc::new(Mutex::new(Blind {
            inner: DelayedStore::new(2),
            pages: Vec::new(),
        }));
        let now = Now {
            mono_ms: 1_000,
            wall_ms: 1_000,
        };
        let shard = |index| {
            let store: Box<dyn Store> = if keeps {
                Box::new(Arc::clone(&store))
            } else {
                Box::new(MemoryStore)
            };
            Shard::new(index, Arc::clone(&shared), store, Seed::new(3), now)
        };
        let shards = vec![shard(0), shard(1)];
        Self {
            shared,
            shards,
            store,
            now_ms: 1_000,
            told: Told::default(),
        }
    }

    fn handle(&mut self, shard: usize, input: Input<'_>) {
        let now = Now {
            mono_ms: self.now_ms,
            wall_ms: self.now_ms,
        };
        self.shards[shard].handle(now, input, &mut self.told);
    }

    fn send(&mut self, (shard, conn): Conn, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes);
        self.bytes((shard, conn), &bytes);
    }

    /// Hands in bytes; then the store has done all that it can.
    fn bytes(&mut self, (shard, conn): Conn, bytes: &[u8]) {
        self.handle(shard, Input::Bytes(conn, bytes));
        loop {
            let has_ended = self.store.lock().inner.end_one();
            if !has_ended && self.store.lock().pages.is_empty() {
                return;
            }
            self.handle(shard, Input::Stored);
        }
    }

    /// Connects to a shard; a session outlives the connection if it does not begin clean.
    fn connect(&mut self, shard: usize, client_id: &str, clean_start: bool, packet_bytes_max: u32) -> Conn {
        let now = Now {
            mono_ms: self.now_ms,
            wall_ms: self.now_ms,
        };
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            listener: 0,
        };
        let conn = (shard, self.shards[shard].open(now, peer));
        let mut properties = PropertiesBuf::new();
        if !clean_start {
            properties.number(PropertyId::SessionExpiryInterval, 1_000_u32);
        }
        properties.number(PropertyId::MaximumPacketSize, packet_bytes_max);
        let connect = Connect {
            version: Version::V5,
            bridge: false,
            clean_start,
            keep_alive_s: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        };
        self.send(conn, &Packet::Connect(connect));
        conn
    }

    fn publisher(&mut self) -> Conn {
        self.connect(0, "publisher", true, 10_000)
    }

    fn subscriber(&mut self, shard: usize, clean_start: bool, filter: &str) -> Conn {
        let conn = self.connect(shard, "subscriber", clean_start, 100);
        let options = SubscribeOptions::qos(Qos::AtLeastOnce);
        let requests = [(Filter::new(filter).unwrap(), options)];
        self.send(
            conn,
            &Packet::Subscribe(Subscribe {
                packet_id: PacketId::MIN,
                properties: Properties::EMPTY,
                requests: SubscribeRequests::List(&requests),
            }),
        );
        conn
    }

    /// A session with that subscription, whose client is away.
    fn away(&mut self, filter: &str) {
        let (shard, conn) = self.subscriber(0, false, filter);
        self.handle(shard, Input::Closed(conn));
        self.bytes((shard, conn), b"");
    }

    fn publish(&mut self, conn: Conn, topic: &str, said: &Said<'_>) {
        let publish = Publish {
            dup: false,
            retain: said.retain,
            delivery: match said.qos {
                0 => Delivery::AtMostOnce,
                _ => Delivery::AtLeastOnce(PacketId::MIN),
            },
            address: Address::Name(Topic::new(topic).unwrap()),
            properties: said.properties.as_properties(),
            payload: said.payload,
        };
        let mut bytes = Vec::new();
        publish.encode(Version::V5, Extras::NONE, &mut bytes);
        self.bytes(conn, &bytes);
    }

    fn publish_plain(&mut self, qos: u8) {
        let publisher = self.publisher();
        self.publish(publisher, "t", &said(qos));
    }
}

/// One message is lost for each reason, and nothing else happens that is counted.
fn lose(reason: Reason) -> Broker {
    match reason {
        Reason::QueueFull => {
            let mut broker = Broker::new(|settings| {
                settings.session.queue.messages_max = 1;
                settings.session.stored_queue.messages_max = 1;
            });
            broker.away("t");
            broker.publish_plain(1);
            broker.publish_plain(1);
            broker
        }
        Reason::OutputFull => {
            let mut broker = Broker::new(|settings| settings.session.output_bytes_max = 1);
            // SUBACK is still there.
            broker.subscriber(0, true, "t");
            broker.publish_plain(0);
            broker
        }
        Reason::Expired => {
            let mut broker = Broker::new(|_| {});
            broker.away("t");
            let publisher = broker.publisher();
            let mut expires = said(1);
            expires
                .properties
                .number(PropertyId::MessageExpiryInterval, 1_u32);
            broker.publish(publisher, "t", &expires);
            broker.now_ms += 2_000;
            broker.connect(0, "subscriber", false, 100);
            broker
        }
        Reason::PacketTooLargeForClient => {
            let mut broker = Broker::new(|_| {});
            broker.subscriber(0, true, "t");
            let publisher = broker.publisher();
            let large = Said {
                payload: &[b'.'; 200],
                ..said(1)
            };
            broker.publish(publisher, "t", &large);
            broker
        }
        Reason::ShardFull => {
            let mut broker = Broker::new(|_| {});
            broker.subscriber(1, true, "t");
            broker.publish_plain(0);
            broker
        }
        Reason::NoMember => {
            let mut broker = Broker::new(|_| {});
            broker.away("$share/group/t");
            broker.publish_plain(0);
            broker
        }
        Reason::Unreadable => {
            let mut broker = Broker::stored(|settings| settings.session.window_bytes = 0);
            broker.away("t");
            broker.publish_plain(1);
            broker.connect(0, "subscriber", false, 100);
            broker
        }
        Reason::SessionEnded => {
            let mut broker = Broker::new(|_| {});
            broker.away("t");
            broker.publish_plain(1);
            broker.connect(0, "subscriber", true, 100);
            broker
        }
        refused => refuse(refused),
    }
}

/// The same of messages that are not taken.
fn refuse(reason: Reason) -> Broker {
    let mut topic = "t";
    let mut message = said(1);
    let mut broker = match reason {
        Reason::ServerTopic => {
            topic = "$SYS/mine";
            Broker::new(|_| {})
        }
        Reason::PayloadTooLarge => Broker::new(|settings| settings.payload_bytes_max = Some(1)),
        Reason::PayloadFormat => {
            message.payload = b"\xff";
            message
                .properties
                .number(PropertyId::PayloadFormatIndicator, 1_u32);
            Broker::new(|settings| settings.payload_format_check = true)
        }
        Reason::RetainedFull => {
            message.retain = true;
            Broker::new(|settings| settings.retained_messages_max = 0)
        }
        Reason::QueuesFull => Broker::new(|settings| settings.queued_bytes_total_max = 0),
        Reason::StoreFailed => {
            let mut broker = Broker::stored(|_| {});
            broker.away("t");
            broker.store.lock().inner.set_failing(true);
            broker
        }
        other => panic!("nobody knows how to lose a message by {other:?}"),
    };
    if reason == Reason::QueuesFull {
        broker.subscriber(0, true, "t");
    }
    let publisher = broker.publisher();
    broker.publish(publisher, topic, &message);
    broker
}

#[test]
fn each_reason_is_counted_and_told_once() {
    let lost = |reason: &&Reason| reason.loses() != Loses::Nothing;
    for reason in Reason::ALL.iter().filter(lost) {
        let broker = lose(*reason);
        assert_eq!(broker.told.drops, [(*reason, 1)], "{reason:?}");
        let totals = broker.shared.totals();
        let expected = match reason.loses() {
            Loses::Copy => (1, 0),
            _ => (0, 1),
        };
        assert_eq!((totals.dropped, totals.refused), expected, "{reason:?}");
        let counted = broker.shared.counters.iter().map(|of_shard| of_shard.of(*reason));
        assert_eq!(counted.sum::<u64>(), 1, "{reason:?}");
    }
}

#[test]
fn what_nobody_was_to_get_is_no_drop() {
    let mut broker = Broker::new(|_| {});
    broker.away("t");
    broker.publish_plain(0);
    assert!(broker.told.drops.is_empty());
    let totals = broker.shared.totals();
    assert_eq!((totals.dropped, totals.refused), (0, 0));
    assert_eq!(broker.shared.counters[0].of(Reason::ClientAway), 1);
}
