//! The engine against a network and a server that do what they like: commands, losses, refusals, wrong
//! packets, time. Whatever happens, nothing panics, each command ends once, and when the faults cease all
//! comes to an end or the client is closed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use martlet_client::engine::{Event, Task, Token, Unacked};
use martlet_client::policy::{Policy, Reconnect};
use martlet_client::{
    FilterBuf, Lost, Message, Options, Overflow, PacketId, Properties, Protocol, Qos, ReasonCode, TopicBuf,
    Unsubscribe, Version,
};
use martlet_codec::{
    Ack, Address, ConnAck, Decoded, Delivery, Disconnect, Limits, Packet, Publish, ReasonCodes, SubAck,
    Topic, UnsubAck,
};
use proptest::prelude::*;
use std::num::NonZeroU16;
use std::time::Duration;

use crate::bench::*;

/// What the server is asked to take at once.
const WINDOW: u16 = 3;

/// A server that answers all it understands, if it is not told otherwise.
#[derive(Default)]
struct Server {
    version: Option<Version>,
    has_session: bool,
    unread: Vec<u8>,
    out: Vec<u8>,
    /// What the client has under way at most.
    under_way: BTreeSet<PacketId>,
    /// The next CONNECTs are refused with these.
    refusals: VecDeque<ReasonCode>,
}

impl Server {
    fn cut(&mut self) {
        self.version = None;
        self.unread.clear();
        self.out.clear();
        self.under_way.clear();
    }

    fn input(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Decoded::Packet(packet, n) =
            Packet::decode(rest, self.version, &Limits::NONE).expect("the client is correct")
        {
            self.packet(&packet);
            rest = &rest[n..];
        }
        self.unread = rest.to_vec();
    }

    fn send(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::PubAck(ack) | Packet::PubComp(ack) => drop(self.under_way.remove(&ack.packet_id)),
            Packet::PubRec(ack) if ack.reason.is_error() => drop(self.under_way.remove(&ack.packet_id)),
            _ => {}
        }
        if let Some(version) = self.version {
            packet.encode(version, &mut self.out);
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let ok = |id| Ack::new(id, ReasonCode::Success);
        match packet {
            Packet::Connect(connect) => self.connect(connect.version, connect.clean_start),
            Packet::Publish(publish) => {
                let Some(id) = publish.delivery.packet_id() else {
                    return;
                };
                self.under_way.insert(id);
                assert!(
                    self.under_way.len() <= usize::from(WINDOW),
                    "more than the receive maximum [MQTT5-3.3.4-7]"
                );
                self.send(&match publish.delivery {
                    Delivery::ExactlyOnce(id) => Packet::PubRec(ok(id)),
                    _ => Packet::PubAck(ok(id)),
                });
            }
            Packet::PubRel(ack) => self.send(&Packet::PubComp(ok(ack.packet_id))),
            Packet::PubRec(ack) if !ack.reason.is_error() => self.send(&Packet::PubRel(ok(ack.packet_id))),
            Packet::Subscribe(subscribe) => {
                let reasons = vec![ReasonCode::GrantedQos1; subscribe.requests.iter().count()];
                self.send(&Packet::SubAck(SubAck {
                    packet_id: subscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: ReasonCodes::List(&reasons),
                }));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let reasons = vec![ReasonCode::Success; unsubscribe.filters.iter().count()];
                self.send(&Packet::UnsubAck(UnsubAck {
                    packet_id: unsubscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: ReasonCodes::List(&reasons),
                }));
            }
            Packet::PingReq => self.send(&Packet::PingResp),
            _ => {}
        }
    }

    fn connect(&mut self, version: Version, clean_start: bool) {
        self.version = Some(version);
        let refusal = self.refusals.pop_front();
        if clean_start {
            self.has_session = false;
        }
        let session_present = refusal.is_none() && std::mem::replace(&mut self.has_session, true);
        let maximum = number(martlet_client::PropertyId::ReceiveMaximum, WINDOW.into());
        self.send(&Packet::ConnAck(ConnAck {
            session_present,
            reason: refusal.unwrap_or(ReasonCode::Success),
            properties: maximum.as_properties(),
        }));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(u8),
    Short(u8),
    Subscribe,
    Unsubscribe,
    Request,
    Cancel,
    Pass(u64),
    Exchange(usize),
    Take(usize),
    Retake,
    Refuse,
    Cut,
    Forget,
    RefuseNext(ReasonCode),
    FailNext,
    WrongAck(u8, u16),
    WrongSubAck(u16),
    ServerPublishes(u8, u16),
    ServerDisconnects(ReasonCode),
    Rubbish(Vec<u8>),
    Deaf(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let may_pass = prop::sample::select(vec![
        ReasonCode::ServerBusy,
        ReasonCode::ServerUnavailable,
        ReasonCode::QuotaExceeded,
    ]);
    let goodbye = prop::sample::select(vec![
        ReasonCode::ServerShuttingDown,
        ReasonCode::AdministrativeAction,
        ReasonCode::SessionTakenOver,
    ]);
    prop_oneof![
        12 => (0_u8..3).prop_map(Step::Publish),
        4 => (0_u8..3).prop_map(Step::Short),
        3 => Just(Step::Subscribe),
        2 => Just(Step::Unsubscribe),
        3 => Just(Step::Request),
        1 => Just(Step::Cancel),
        8 => (0_u64..40_000).prop_map(Step::Pass),
        20 => (1_usize..100).prop_map(Step::Exchange),
        4 => (1_usize..4).prop_map(Step::Take),
        2 => Just(Step::Retake),
        2 => Just(Step::Refuse),
        5 => Just(Step::Cut),
        2 => Just(Step::Forget),
        3 => may_pass.prop_map(Step::RefuseNext),
        3 => Just(Step::FailNext),
        4 => (0_u8..4, 1_u16..6).prop_map(|(kind, n)| Step::WrongAck(kind, n)),
        1 => (1_u16..6).prop_map(Step::WrongSubAck),
        6 => (0_u8..3, 1_u16..4).prop_map(|(qos, n)| Step::ServerPublishes(qos, n)),
        1 => goodbye.prop_map(Step::ServerDisconnects),
        1 => prop::collection::vec(any::<u8>(), 1..6).prop_map(Step::Rubbish),
        2 => any::<bool>().prop_map(Step::Deaf),
    ]
}

struct World {
    bench: Bench,
    server: Server,
    is_up: bool,
    fails_next: bool,
    is_deaf: bool,
    up: Vec<u8>,
    down: Vec<u8>,
    published: Vec<Token>,
    requested: Vec<Token>,
    cancelled: BTreeSet<Token>,
    ends: BTreeMap<Token, usize>,
    untaken: VecDeque<Unacked>,
    old: Vec<Unacked>,
}

impl World {
    fn new(options: Options) -> Self {
        let mut bench = Bench::new(options);
        bench.engine.start(bench.now_ms, true);
        Self {
            bench,
            server: Server::default(),
            is_up: false,
            fails_next: false,
            is_deaf: false,
            up: Vec::new(),
            down: Vec::new(),
            published: Vec::new(),
            requested: Vec::new(),
            cancelled: BTreeSet::new(),
            ends: BTreeMap::new(),
            untaken: VecDeque::new(),
            old: Vec::new(),
        }
    }

    /// Does what the engine asks of its driver.
    fn drive(&mut self) {
        for _ in 0..100 {
            self.look();
            if self.is_up && !self.bench.engine.has_connection() {
                self.hang_up();
            }
            let now_ms = self.bench.now_ms;
            match self.bench.engine.task(now_ms) {
                Task::Dial { .. } if std::mem::take(&mut self.fails_next) => {
                    let text = "nobody there".to_owned();
                    self.bench.engine.unreachable(now_ms, Lost::Unreachable { text });
                }
                Task::Dial { .. } => {
                    self.is_up = self.bench.engine.connect(now_ms);
                    return;
                }
                Task::Wait | Task::Carry | Task::End => return,
            }
        }
        panic!("it dials for ever without a wait");
    }

    fn hang_up(&mut self) {
        self.bench.take_output();
        self.server.cut();
        self.up.clear();
        self.down.clear();
        self.is_up = false;
    }

    fn cut(&mut self) {
        if self.is_up {
            self.server.cut();
            self.up.clear();
            self.down.clear();
            self.is_up = false;
            self.bench.lose();
        }
        self.drive();
    }

    /// Time passes, deadline by deadline.
    fn pass(&mut self, time_ms: u64) {
        let end_ms = self.bench.now_ms + time_ms;
        for _ in 0..10_000 {
            self.drive();
            match self.bench.engine.deadline() {
                Some(at_ms) if at_ms <= end_ms => {
                    self.bench.now_ms = self.bench.now_ms.max(at_ms);
                    self.bench.engine.timeout(self.bench.now_ms);
                }
                _ => {
                    self.bench.now_ms = end_ms;
                    return self.drive();
                }
            }
        }
        panic!("deadlines without end: {:?}", self.bench.engine.deadline());
    }

    fn exchange(&mut self, budget: usize) -> usize {
        let mut moved = 0;
        while moved < budget {
            self.drive();
            if !self.is_up {
                break;
            }
            self.up.extend(self.bench.take_output());
            // A server that hears nothing leaves it on the line.
            let hears = if self.is_deaf { 0 } else { budget - moved };
            let up: Vec<u8> = self.up.drain(..self.up.len().min(hears)).collect();
            moved += up.len();
            self.server.input(&up);
            self.down.append(&mut self.server.out);
            let down: Vec<u8> = self.down.drain(..self.down.len().min(budget - moved)).collect();
            moved += down.len();
            self.bench.engine.input(self.bench.now_ms, &down);
            if up.is_empty() && down.is_empty() && self.bench.engine.output().is_empty() {
                break;
            }
        }
        self.drive();
        moved
    }

    fn end(&mut self, token: Token) {
        let count = self.ends.entry(token).or_default();
        *count += 1;
        assert_eq!(*count, 1, "{token:?} ends once");
    }

    fn look(&mut self) {
        for event in self.bench.events() {
            match event {
                Event::Published { token, .. }
                | Event::Subscribed { token, .. }
                | Event::Unsubscribed { token, .. }
                | Event::Responded { token, .. } => self.end(token),
                Event::Message { unacked, .. } => self.untaken.extend(unacked),
                Event::Lost { .. } => self.old.extend(self.untaken.drain(..)),
                _ => {}
            }
        }
    }

    fn publish(&mut self, n: u8, time_to_live: Option<Duration>) {
        let topic = TopicBuf::new(format!("t/{n}")).unwrap();
        let mut message = Message::new(topic, "payload").qos(qos(n));
        message.time_to_live = time_to_live;
        self.published.extend(self.bench.publish(message).ok());
    }

    fn step(&mut self, step: Step) {
        let now_ms = self.bench.now_ms;
        match step {
            Step::Publish(n) => self.publish(n, None),
            Step::Short(n) => self.publish(n, Some(Duration::from_secs(2))),
            Step::Subscribe => {
                let subscribe =
                    martlet_client::Subscribe::to(FilterBuf::new("t/#").unwrap(), Qos::AtLeastOnce);
                self.requested
                    .extend(self.bench.engine.subscribe(now_ms, subscribe).ok());
            }
            Step::Unsubscribe => {
                let unsubscribe = Unsubscribe::from(FilterBuf::new("t/#").unwrap());
                let asked = self.bench.engine.unsubscribe(now_ms, unsubscribe);
                self.requested.extend(asked.ok());
            }
            Step::Request => {
                let message = message("ask", qos(1));
                let asked = self.bench.engine.request_response(now_ms, message, 20_000);
                self.requested.extend(asked.ok());
            }
            Step::Cancel => {
                if let Some(token) = self.requested.last().copied() {
                    self.bench.engine.forget_request(token);
                    self.cancelled.insert(token);
                }
            }
            Step::Pass(ms) => self.pass(ms),
            Step::Exchange(bytes) => drop(self.exchange(bytes)),
            Step::Take(count) => {
                for _ in 0..count {
                    self.bench.take(self.untaken.pop_front());
                }
            }
            // What came before a loss means nothing any more.
            Step::Retake => self.bench.take(self.old.pop()),
            Step::Refuse => {
                if let Some(unacked) = self.untaken.pop_back() {
                    let reason = ReasonCode::QuotaExceeded;
                    self.bench.engine.refuse(unacked, reason).unwrap();
                }
            }
            Step::Cut => self.cut(),
            Step::Forget => {
                self.cut();
                self.server.has_session = false;
            }
            Step::RefuseNext(reason) => self.server.refusals.push_back(reason),
            Step::FailNext => self.fails_next = true,
            Step::WrongAck(kind, n) => self.server.send(&match kind {
                0 => puback(n),
                1 => pubrec(n),
                2 => pubcomp(n),
                _ => pubrel(n),
            }),
            Step::WrongSubAck(n) => self.server.send(&Packet::SubAck(SubAck {
                packet_id: id(n),
                properties: Properties::EMPTY,
                reasons: ReasonCodes::List(&[ReasonCode::Success]),
            })),
            Step::ServerPublishes(n, number) => {
                let delivery = match n {
                    0 => Delivery::AtMostOnce,
                    1 => Delivery::AtLeastOnce(id(100 + number)),
                    _ => Delivery::ExactlyOnce(id(200 + number)),
                };
                self.server.send(&Packet::Publish(Publish {
                    dup: false,
                    retain: false,
                    delivery,
                    address: Address::Name(Topic::literal("t/1")),
                    properties: Properties::EMPTY,
                    payload: b"x",
                }));
            }
            Step::ServerDisconnects(reason) => {
                if self.server.version == Some(Version::V5) {
                    self.server.send(&Packet::Disconnect(Disconnect::new(reason)));
                }
            }
            Step::Rubbish(bytes) => self.server.out.extend(bytes),
            Step::Deaf(on) => self.is_deaf = on,
        }
        self.drive();
    }

    /// The faults cease: all comes to an end.
    fn settle(&mut self) {
        self.is_deaf = false;
        self.fails_next = false;
        self.server.refusals.clear();
        // What went wrong on this connection is over with it.
        self.cut();
        for _ in 0..100 {
            self.exchange(usize::MAX);
            for unacked in std::mem::take(&mut self.untaken) {
                self.bench.take(Some(unacked));
            }
            let all = self.published.iter().chain(&self.requested);
            let mut open =
                all.filter(|token| !self.ends.contains_key(token) && !self.cancelled.contains(token));
            if open.next().is_none() && self.bench.engine.unfinished() == 0 {
                return;
            }
            self.pass(30_000);
        }
        panic!(
            "it does not come to an end: {} messages, online: {}, closed: {:?}",
            self.bench.engine.unfinished(),
            self.bench.engine.is_online(),
            self.bench.engine.closed()
        );
    }
}

fn overflows() -> impl Strategy<Value = Overflow> {
    prop::sample::select(vec![
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropOldest,
        Overflow::DropNewest,
    ])
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        Policy::KEEP_ALL,
        Policy::PAHO_PYTHON,
        Policy::PAHO_C,
        Policy::PAHO_C_BUFFERED,
        Policy::LUATOS,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// Pains 1, 8, 9, 10, 11, 12 and 18 at once: no order of events leaves anything hanging.
    #[test]
    fn pains_8_to_12_whatever_happens_comes_to_an_end(
        protocol in prop::sample::select(vec![V5, V3_1_1, V3_1, Protocol::Any]),
        policy in policies(),
        overflow in overflows(),
        aliases in 0_u16..3,
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let reconnect = Reconnect::full_jitter(Duration::from_secs(1), Duration::from_secs(20));
        let options = options(protocol)
            .clean_start(seed % 2 == 0)
            .policy(policy)
            .overflow(overflow)
            .outbox(8, 200)
            .topic_aliases(aliases)
            .max_inflight(NonZeroU16::new(WINDOW).unwrap())
            .keep_alive(Duration::from_secs(10))
            .reconnect(reconnect);
        let mut world = World::new(options);
        for step in steps {
            world.step(step);
        }
        world.settle();
        prop_assert_eq!(world.bench.engine.unfinished(), 0);
    }
}
