//! A client and a model of a server, with the connection cut at every byte.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use martlet_client::engine::{Event, Token, Unacked};
use martlet_client::{Message, Options, PacketId, Properties, Protocol, Qos, ReasonCode, TopicBuf, Version};
use martlet_codec::{
    Ack, Address, ConnAck, Decoded, Delivery, Limits, Packet, Publish, ReasonCodes, SubAck, Topic,
};
use martlet_session::{Acked, Inflight, Resend};
use proptest::prelude::*;

use crate::bench::*;

/// A server with one session, by the rules of the standard and nothing else.
struct Server {
    version: Version,
    has_session: bool,
    /// CONNECT has come.
    is_up: bool,
    unread: Vec<u8>,
    out: Vec<u8>,
    unreleased: BTreeSet<PacketId>,
    /// Topics of the messages that it took, in their order.
    got: Vec<String>,
    queue: VecDeque<(String, Qos)>,
    inflight: Inflight<(String, Qos)>,
}

impl Server {
    fn new() -> Self {
        Self {
            version: Version::V5,
            has_session: false,
            is_up: false,
            unread: Vec::new(),
            out: Vec::new(),
            unreleased: BTreeSet::new(),
            got: Vec::new(),
            queue: VecDeque::new(),
            inflight: Inflight::new(4),
        }
    }

    fn cut(&mut self) {
        self.is_up = false;
        self.unread.clear();
        self.out.clear();
    }

    fn forget(&mut self) {
        self.has_session = false;
        self.unreleased.clear();
        self.inflight = Inflight::new(4);
    }

    fn input(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        loop {
            let version = (rest.first().copied().unwrap_or(0) >> 4 != 1).then_some(self.version);
            match Packet::decode(rest, version, &Limits::NONE).expect("the client is correct") {
                Decoded::Packet(packet, n) => {
                    self.packet(&packet);
                    rest = &rest[n..];
                }
                Decoded::Incomplete { .. } => break,
            }
        }
        self.unread = rest.to_vec();
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let ok = |id| Ack::new(id, ReasonCode::Success);
        let answer = match packet {
            Packet::Connect(connect) => {
                self.version = connect.version;
                if connect.clean_start {
                    self.forget();
                }
                let session_present = std::mem::replace(&mut self.has_session, true);
                self.inflight.resume(4);
                self.is_up = true;
                Packet::ConnAck(ConnAck {
                    session_present,
                    reason: ReasonCode::Success,
                    properties: Properties::EMPTY,
                })
            }
            Packet::Publish(publish) => {
                let Address::Name(topic) = publish.address else {
                    panic!("no alias was allowed")
                };
                let is_new = match publish.delivery {
                    Delivery::ExactlyOnce(id) => self.unreleased.insert(id),
                    _ => true,
                };
                if is_new {
                    self.got.push(topic.to_string());
                }
                match publish.delivery {
                    Delivery::AtMostOnce => return,
                    Delivery::AtLeastOnce(id) => Packet::PubAck(ok(id)),
                    Delivery::ExactlyOnce(id) => Packet::PubRec(ok(id)),
                }
            }
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.packet_id);
                Packet::PubComp(ok(ack.packet_id))
            }
            Packet::PubAck(ack) => {
                self.inflight.puback(ack.packet_id);
                return self.send();
            }
            Packet::PubComp(ack) => {
                self.inflight.pubcomp(ack.packet_id);
                return self.send();
            }
            Packet::PubRec(ack) => match self.inflight.pubrec(ack.packet_id, ack.reason) {
                Acked::Release(_) | Acked::Unknown => Packet::PubRel(ok(ack.packet_id)),
                other => panic!("{other:?}"),
            },
            Packet::Subscribe(subscribe) => Packet::SubAck(SubAck {
                packet_id: subscribe.packet_id,
                properties: Properties::EMPTY,
                reasons: ReasonCodes::List(&[ReasonCode::GrantedQos2]),
            }),
            other => panic!("{other:?}"),
        };
        answer.encode(self.version, &mut self.out);
        self.send();
    }

    fn send(&mut self) {
        while let Some(resend) = self.inflight.next_resend() {
            match resend {
                Resend::Release(id) => {
                    Packet::PubRel(Ack::new(id, ReasonCode::Success)).encode(self.version, &mut self.out);
                }
                Resend::Publish(id, (topic, qos)) => {
                    publish(topic, *qos, id, true, self.version, &mut self.out);
                }
            }
        }
        while self.inflight.has_room(usize::MAX) {
            let Some((topic, qos)) = self.queue.pop_front() else {
                return;
            };
            let id = self.inflight.send(qos, 7, Some((topic.clone(), qos)));
            publish(&topic, qos, id, false, self.version, &mut self.out);
        }
    }
}

fn publish(topic: &str, qos: Qos, id: PacketId, dup: bool, version: Version, out: &mut Vec<u8>) {
    let delivery = match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
        Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    Packet::Publish(Publish {
        dup,
        retain: false,
        delivery,
        address: Address::Name(Topic::new(topic).unwrap()),
        properties: Properties::EMPTY,
        payload: b"payload",
    })
    .encode(version, out);
}

/// Both ends and the line between them.
struct World {
    bench: Bench,
    server: Server,
    is_up: bool,
    /// Bytes on the line, to the server and to the client.
    up: Vec<u8>,
    down: Vec<u8>,
    /// Accepted messages and how they ended.
    accepted: Vec<(Token, String)>,
    ends: BTreeMap<Token, bool>,
    /// Messages that the application has not taken yet, and those that it has.
    inbox: VecDeque<(String, Option<Unacked>)>,
    taken: Vec<String>,
}

impl World {
    fn new(options: Options) -> Self {
        Self {
            bench: Bench::new(options),
            server: Server::new(),
            is_up: false,
            up: Vec::new(),
            down: Vec::new(),
            accepted: Vec::new(),
            ends: BTreeMap::new(),
            inbox: VecDeque::new(),
            taken: Vec::new(),
        }
    }

    fn connect(&mut self) {
        if !self.is_up {
            self.is_up = self.bench.engine.connect(self.bench.now_ms);
        }
    }

    fn cut(&mut self) {
        if self.is_up {
            self.server.cut();
            self.up.clear();
            self.down.clear();
            self.bench.lose();
            self.is_up = false;
            self.look();
        }
    }

    fn publish(&mut self, n: u8) {
        let topic = format!("q{n}/{}", self.accepted.len());
        let message = Message::new(TopicBuf::new(&*topic).unwrap(), "payload").qos(qos(n));
        self.accepted.push((self.bench.publish(message).unwrap(), topic));
    }

    fn server_publishes(&mut self, n: u8, number: usize) {
        let n = n.max(1);
        self.server.queue.push_back((format!("q{n}/{number}"), qos(n)));
        if self.server.is_up {
            self.server.send();
        }
    }

    fn look(&mut self) {
        for event in self.bench.events() {
            match event {
                Event::Published { token, end } => {
                    let was = self.ends.insert(token, end.is_ok());
                    assert_eq!(was, None, "a message ends once");
                }
                Event::Message { message, unacked } => {
                    self.inbox.push_back((message.topic.to_string(), unacked));
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some((topic, unacked)) = self.inbox.pop_front() else {
                return;
            };
            self.taken.push(topic);
            self.bench.take(unacked);
        }
    }

    /// Moves bytes until nothing moves or `budget` bytes have moved; tells how many did.
    fn exchange(&mut self, budget: usize, takes: bool) -> usize {
        let mut moved = 0;
        while self.is_up && moved < budget {
            self.up.extend(self.bench.take_output());
            let up: Vec<u8> = self.up.drain(..self.up.len().min(budget - moved)).collect();
            moved += up.len();
            self.server.input(&up);
            self.down.append(&mut self.server.out);
            let down: Vec<u8> = self.down.drain(..self.down.len().min(budget - moved)).collect();
            moved += down.len();
            self.bench.engine.input(self.bench.now_ms, &down);
            self.look();
            if takes {
                self.take(usize::MAX);
            }
            if up.is_empty() && down.is_empty() && self.bench.engine.output().is_empty() {
                break;
            }
        }
        moved
    }

    fn settle(&mut self) {
        self.connect();
        self.exchange(usize::MAX, true);
        assert_eq!(self.bench.engine.unfinished(), 0, "everything has an end");
        assert!(self.server.inflight.is_empty() && self.server.queue.is_empty());
        assert_eq!(self.ends.len(), self.accepted.len());
        assert!(self.ends.values().all(|is_ok| *is_ok));
    }
}

/// How often each topic of that QoS came, in the order of first arrival.
fn counts(came: &[String], n: u8) -> Vec<(&str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for topic in came.iter().filter(|topic| topic.starts_with(&format!("q{n}/"))) {
        match counts.iter_mut().find(|(known, _)| known == topic) {
            Some((_, count)) => *count += 1,
            None => counts.push((topic, 1)),
        }
    }
    counts
}

fn check(came: &[String], sent: &[String], session_lived: bool) {
    for n in [1, 2] {
        let counts = counts(came, n);
        let expected: Vec<_> = sent.iter().filter(|t| t.starts_with(&format!("q{n}/"))).collect();
        let order: Vec<_> = counts.iter().map(|(topic, _)| *topic).collect();
        assert_eq!(order, expected, "QoS {n}: all, in their order");
        if n == 2 && session_lived {
            assert!(
                counts.iter().all(|(_, count)| *count == 1),
                "QoS 2 once: {counts:?}"
            );
        }
    }
}

fn session(protocol: Protocol) -> Options {
    options(protocol).clean_start(false)
}

/// Two messages of each QoS go up and two come down; the line is cut when `cut` bytes have moved.
fn scenario(protocol: Protocol, cut: usize, forgets: bool, takes: bool) -> usize {
    let mut world = World::new(session(protocol));
    world.connect();
    for n in [1, 2, 0, 2, 1] {
        world.publish(n);
    }
    for (number, n) in [2, 1, 2].into_iter().enumerate() {
        world.server_publishes(n, number);
    }
    let down: Vec<String> = world
        .server
        .queue
        .iter()
        .map(|(topic, _)| topic.clone())
        .collect();
    let moved = world.exchange(cut, takes);
    world.cut();
    if forgets {
        world.server.forget();
        // What the server had sent and forgot is lost on its side; look at the way up only.
        world.server.queue.clear();
    }
    world.settle();
    let up: Vec<String> = world.accepted.iter().map(|(_, topic)| topic.clone()).collect();
    check(&world.server.got, &up, !forgets);
    if !forgets {
        check(&world.taken, &down, true);
    }
    moved
}

#[test]
fn pain_14_a_cut_at_any_byte_loses_nothing_and_repeats_no_qos_2() {
    for protocol in BOTH {
        for takes in [true, false] {
            let total = scenario(protocol, usize::MAX, false, takes);
            assert!(total > 100, "the whole exchange: {total}");
            for cut in 0..total {
                scenario(protocol, cut, false, takes);
                scenario(protocol, cut, true, takes);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(u8),
    ServerPublishes(u8),
    Subscribe,
    Exchange(usize),
    Take(usize),
    Cut,
    CutAndForget,
    Connect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3).prop_map(Step::Publish),
        3 => (1_u8..3).prop_map(Step::ServerPublishes),
        1 => Just(Step::Subscribe),
        6 => (1_usize..80).prop_map(Step::Exchange),
        3 => (1_usize..4).prop_map(Step::Take),
        2 => Just(Step::Cut),
        1 => Just(Step::CutAndForget),
        4 => Just(Step::Connect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Commands, losses, lost sessions and slow readers in any order: everything ends, nothing of QoS 1
    /// and 2 is lost, order is kept, and as long as the session lives QoS 2 comes once.
    #[test]
    fn any_course_of_events_comes_to_a_good_end(
        v5 in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let protocol = if v5 { V5 } else { V3_1_1 };
        let mut world = World::new(session(protocol));
        let mut forgot = false;
        let mut down = Vec::new();
        for step in steps {
            match step {
                Step::Publish(n) => world.publish(n),
                Step::ServerPublishes(n) => {
                    world.server_publishes(n, down.len());
                    down.push(format!("q{n}/{}", down.len()));
                }
                Step::Subscribe => drop(world.bench.subscribe("s")),
                Step::Exchange(bytes) => drop(world.exchange(bytes, false)),
                Step::Take(messages) => world.take(messages),
                Step::Cut => world.cut(),
                Step::CutAndForget => {
                    world.cut();
                    world.server.forget();
                    forgot = true;
                }
                Step::Connect => world.connect(),
            }
        }
        world.settle();
        let up: Vec<String> = world.accepted.iter().map(|(_, topic)| topic.clone()).collect();
        if forgot {
            for topic in up.iter().filter(|topic| !topic.starts_with("q0")) {
                prop_assert!(world.server.got.contains(topic), "{} is lost", topic);
            }
        } else {
            check(&world.server.got, &up, true);
            check(&world.taken, &down, true);
        }
    }
}

/// A server that takes less than it did holds the identifier of what it had: the next message under it would be lost.
#[test]
fn an_identifier_of_qos_2_is_released_though_its_message_cannot_be_sent_again() {
    let mut bench = Bench::up(options(V5));
    let token = bench.publish(message("a/long/topic/name", qos(2))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH a/long/topic/name q2 1"]);
    bench.lose();
    bench.events();
    let small = number(martlet_client::PropertyId::MaximumPacketSize, 12);
    let (_, sent) = bench.reconnect(true, &small);
    assert_eq!(sent, ["PUBREL 1"]);
    bench.events();
    bench.publish(message("b", qos(2))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH b q2 2"]);
    bench.server_sends(&pubcomp(1));
    match bench.event() {
        Event::Published { token: ended, end } => {
            assert_eq!(ended, token);
            assert!(end.is_err(), "{end:?}");
        }
        other => panic!("{other:?}"),
    }
    bench.publish(message("c", qos(2))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH c q2 3"]);
}
