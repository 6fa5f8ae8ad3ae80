//! Our own client's engine, with a store that takes its time and a network that does what it likes, against shards of the
//! broker: two clients that send to each other, are killed and started again, and an observer that sees what the broker
//! has taken.
//!
//! What is looked for: an accepted message that the broker never gets, QoS 2 that it gets twice, messages of a topic out of order,
//! a message for a client that is never offered, one that comes again after the store had it that it was taken, and a client that
//! never comes to rest, or never lets time pass, once the faults have ceased.

mod broker;
mod ledger;
mod network;
mod plan;
mod process;

use std::collections::BTreeMap;

use martlet_broker::{ConnId, Input};
use martlet_client::engine::{Engine, Event, Task as Asked};
use martlet_client::{DeliveryError, Lost, Message, PropertiesBuf, Qos, Rejected, TopicBuf};

use self::ledger::Ledger;
use self::plan::Plan;
use self::process::ClientProcess;
use crate::agenda::Agenda;
use crate::draws::Draws;
use crate::history::ConnNo;
use crate::pipe::Stream;
use crate::process::{Process, Recipe};

/// What is to be played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Play {
    /// The seed.
    pub seed: u64,
    /// The stores say that something is kept before it is: a bug that must be found.
    pub lies: bool,
    /// Whether each fact is printed as it happens.
    pub prints: bool,
}

/// Plays it, and tells what was wrong.
pub fn run(play: Play) -> Vec<String> {
    let plan = Plan::new(play);
    let mut world = World::new(plan, play);
    world.run();
    world.ledger.faults
}

/// Time does not start at 0: a deadline of 0 would hide mistakes.
const START_MS: u64 = 1_000_000;
/// The wall clock at 0.
const WALL_MS: u64 = 1_790_000_000_000;
/// How long clients are played with.
const PLAY_MS: u64 = 20_000;
/// Until all must have come to rest.
const REST_MS_MAX: u64 = 300_000;
/// Steps of a run, at most: more is a run in which time does not pass.
const STEPS_MAX: u64 = 2_000_000;
/// The observer comes behind the clients.
const OBSERVER: &str = "observer";

type ClientNo = usize;

/// A connection at the broker: in which shard, and its name there.
type At = (u16, ConnId);

/// Something that is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// A client's process starts.
    Start(ClientNo),
    /// It is killed.
    Kill(ClientNo),
    /// Its engine may have something to do.
    Timer(ClientNo),
    /// Its application publishes.
    Publish(ClientNo),
    /// Its application takes a message, or gives one up.
    Take(ClientNo),
    /// Its store is handed what there is.
    Keep(ClientNo),
    /// Its store has kept that, in the run of that number.
    Kept(ClientNo, u64),
    /// The network cuts its connection.
    Cut(ClientNo),
    /// The broker says something wrong to it.
    Wrong(ClientNo),
    /// Bytes may have arrived at the broker.
    Up(ConnNo),
    /// Bytes may have arrived at the client.
    Down(ConnNo),
    /// The broker loses all that it has.
    Forget,
}

/// A connection.
#[derive(Debug)]
struct Pipe {
    client: ClientNo,
    /// Where it is at the broker, if it is there.
    at: Option<At>,
    up: Stream,
    down: Stream,
    /// CONNACK has not gone through.
    is_new: bool,
}

struct World {
    draws: Draws,
    plan: Plan,
    now_ms: u64,
    agenda: Agenda<Task>,
    broker: Process,
    recipe: Recipe,
    clients: Vec<ClientProcess>,
    pipes: BTreeMap<ConnNo, Pipe>,
    next_conn: ConnNo,
    observer: Option<At>,
    is_draining: bool,
    ledger: Ledger,
}

impl World {
    fn new(plan: Plan, play: Play) -> Self {
        let mut draws = Draws::new(play.seed ^ 0x0415);
        let recipe = plan.broker(draws.next());
        let broker = Process::start(&recipe, START_MS, &mut draws).expect("a broker without a store starts");
        let clients = plan.clients.iter().map(ClientProcess::new).collect();
        Self {
            agenda: Agenda::new(draws.fork()),
            ledger: Ledger::new(play.prints),
            draws,
            plan,
            now_ms: START_MS,
            broker,
            recipe,
            clients,
            pipes: BTreeMap::new(),
            next_conn: 1,
            observer: None,
            is_draining: false,
        }
    }

    fn run(&mut self) {
        self.observe();
        for no in 0..self.clients.len() {
            self.add(0, Task::Start(no));
            let at_ms = self.draws.below(500);
            self.add(at_ms, Task::Publish(no));
            self.add_trouble(no);
        }
        if self.plan.forgets {
            let at_ms = self.draws.between(1, PLAY_MS);
            self.add(at_ms, Task::Forget);
        }
        let mut steps = 0;
        if !self.advance(START_MS + PLAY_MS, &mut steps) {
            return;
        }
        self.is_draining = true;
        self.note("all is well from now on");
        for no in 0..self.clients.len() {
            if self.clients[no].engine.is_none() {
                self.start(no);
            }
        }
        let end_ms = self.now_ms + REST_MS_MAX;
        while let Some(unrest) = self.unrest() {
            if self.now_ms >= end_ms {
                self.ledger.fault(&format!("it does not come to rest: {unrest}"));
                break;
            }
            if !self.advance(self.now_ms + 1_000, &mut steps) {
                return;
            }
        }
        self.ledger.compare(!self.plan.forgets);
    }

    /// Lets time pass until then; `false`: it does not pass.
    fn advance(&mut self, until_ms: u64, steps: &mut u64) -> bool {
        loop {
            let timer = self.broker.deadline_ms();
            let (timer_ms, shard) = timer.unwrap_or((u64::MAX, 0));
            let task_ms = self.agenda.next_ms().unwrap_or(u64::MAX);
            let next_ms = timer_ms.min(task_ms).max(self.now_ms);
            if next_ms > until_ms {
                self.now_ms = until_ms;
                return true;
            }
            self.now_ms = next_ms;
            self.ledger.now_ms = next_ms;
            *steps += 1;
            if *steps > STEPS_MAX {
                self.ledger
                    .fault(&format!("{STEPS_MAX} steps, and only {} ms", next_ms - START_MS));
                return false;
            }
            if timer_ms <= task_ms {
                self.handle(shard, Input::Time);
            } else if let Some((_, task)) = self.agenda.pop() {
                self.perform(task);
            }
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Start(no) if self.clients[no].engine.is_none() => self.start(no),
            Task::Start(_) => {}
            Task::Kill(no) => {
                self.add_kill(no);
                if !self.is_draining {
                    self.kill(no);
                }
            }
            Task::Timer(no) => {
                let now_ms = self.now_ms;
                self.clients[no].timer_ms = None;
                self.with(no, |client| client.timeout(now_ms));
            }
            Task::Publish(no) => self.publish(no),
            Task::Take(no) => self.take(no),
            Task::Keep(no) => self.begin_keep(no),
            Task::Kept(no, run) => self.end_keep(no, run),
            Task::Cut(no) => {
                self.add_cut(no);
                if !self.is_draining {
                    self.cut(no);
                }
            }
            Task::Wrong(no) => {
                self.add_wrong(no);
                if !self.is_draining {
                    self.say_wrong(no);
                }
            }
            Task::Up(conn) => self.up(conn),
            Task::Down(conn) => self.down(conn),
            Task::Forget => self.forget(),
        }
    }

    fn add(&mut self, in_ms: u64, task: Task) {
        self.agenda.add(self.now_ms + in_ms, task);
    }

    fn note(&mut self, what: &str) {
        self.ledger.note(what);
    }

    fn add_trouble(&mut self, no: ClientNo) {
        self.add_kill(no);
        self.add_cut(no);
        self.add_wrong(no);
    }

    fn add_kill(&mut self, no: ClientNo) {
        self.add_some(self.plan.kill_every_ms, Task::Kill(no));
    }

    fn add_cut(&mut self, no: ClientNo) {
        self.add_some(self.plan.cut_every_ms, Task::Cut(no));
    }

    fn add_wrong(&mut self, no: ClientNo) {
        self.add_some(self.plan.wrong_every_ms, Task::Wrong(no));
    }

    fn add_some(&mut self, every_ms: u64, task: Task) {
        if every_ms > 0 && !self.is_draining {
            let in_ms = self.draws.between(1, 2 * every_ms);
            self.add(in_ms, task);
        }
    }

    // The clients.

    fn start(&mut self, no: ClientNo) {
        let (seed, now_ms) = (self.draws.next(), self.now_ms);
        self.note(&format!("client {no} starts"));
        self.with(no, |client| client.start(seed, now_ms));
    }

    /// The process is gone, and with it what its store was not handed, or not all of that.
    fn kill(&mut self, no: ClientNo) {
        let client = &mut self.clients[no];
        if client.engine.is_none() {
            return;
        }
        let kept = self.draws.below(1 + client.unkept() as u64) as usize;
        client.kill(kept, &mut self.ledger);
        self.note(&format!("client {no} is killed"));
        self.cut(no);
        let in_ms = self.draws.between(1, 2_000);
        self.add(in_ms, Task::Start(no));
    }

    /// Calls a client, and does what comes of it.
    fn with(&mut self, no: ClientNo, call: impl FnOnce(&mut ClientProcess)) {
        call(&mut self.clients[no]);
        self.look(no);
    }

    /// Does what the engine asks of its driver.
    fn look(&mut self, no: ClientNo) {
        self.events(no);
        self.write(no);
        while let Some(line) = self.clients[no].poll_packet_log() {
            self.note(&format!("client {no} {line}"));
        }
        let now_ms = self.now_ms;
        let Some(engine) = &mut self.clients[no].engine else {
            return;
        };
        match engine.task(now_ms) {
            Asked::Dial { .. } => {
                if !self.is_draining && self.draws.one_in(self.plan.unreachable_one_in) {
                    let text = "nobody there".to_owned();
                    engine.unreachable(now_ms, Lost::Unreachable { text });
                } else if engine.connect(now_ms) {
                    self.dial(no);
                }
                return self.look(no);
            }
            Asked::End => {
                let cause = engine.closed().map(ToString::to_string).unwrap_or_default();
                self.note(&format!("client {no} is closed: {cause}"));
                return self.kill(no);
            }
            Asked::Wait | Asked::Carry => {}
        }
        if !engine.has_connection() && self.clients[no].conn.is_some() {
            self.hang_up(no);
        }
        self.plan_timer(no);
        let client = &mut self.clients[no];
        if client.has_store_work() && !client.keeps {
            client.keeps = true;
            let in_ms = self.draws.below(self.plan.store_ms + 1);
            self.add(in_ms, Task::Keep(no));
        }
    }

    fn plan_timer(&mut self, no: ClientNo) {
        let client = &mut self.clients[no];
        let Some(at_ms) = client.engine.as_ref().and_then(Engine::deadline) else {
            return;
        };
        let at_ms = at_ms.max(self.now_ms + 1);
        if client.timer_ms.is_none_or(|planned_ms| at_ms < planned_ms) {
            client.timer_ms = Some(at_ms);
            self.agenda.add(at_ms, Task::Timer(no));
        }
    }

    fn events(&mut self, no: ClientNo) {
        while let Some(event) = self.clients[no].poll_event() {
            match event {
                Event::Stored { token, end } => {
                    let message = self.clients[no].tokens.get(&token).copied();
                    if let (Some(message), Ok(())) = (message, &end) {
                        self.ledger.accepted(message);
                    }
                }
                Event::Published { token, end: Err(why) } => {
                    if matches!(why, DeliveryError::Rejected(Rejected::NeedsVersion5 { .. })) {
                        // Nobody refuses a version here, and connections are cut.
                        self.ledger
                            .fault(&format!("{token:?} was accepted, and then given up: {why}"));
                    }
                    if let Some(message) = self.clients[no].tokens.get(&token) {
                        self.ledger.given_up(*message);
                    }
                }
                Event::Subscribed { token, end } => {
                    self.clients[no].answered(token, &mut self.ledger);
                    if end.is_ok() {
                        self.ledger.subscribed(no);
                    }
                }
                Event::Unsubscribed { token, .. } | Event::Responded { token, .. } => {
                    self.clients[no].answered(token, &mut self.ledger);
                }
                Event::Message { message, unacked } => {
                    let number = self.ledger.offered(no, &message.payload);
                    self.clients[no].untaken.push_back((number, unacked));
                    let in_ms = self.draws.below(self.plan.take_ms + 1);
                    self.add(in_ms, Task::Take(no));
                }
                Event::Lost { cause, .. } => self.note(&format!("client {no} has lost it: {cause}")),
                _ => {}
            }
        }
        self.clients[no].look_for_taken(&mut self.ledger);
    }

    fn publish(&mut self, no: ClientNo) {
        if self.is_draining {
            return;
        }
        let in_ms = self.draws.between(1, 2 * self.plan.pause_ms);
        self.add(in_ms, Task::Publish(no));
        if self.clients[no].engine.is_none() {
            return;
        }
        let qos = *self.draws.pick(&[
            Qos::AtMostOnce,
            Qos::AtLeastOnce,
            Qos::ExactlyOnce,
            Qos::ExactlyOnce,
        ]);
        // Each QoS has a topic of its own: the order of a topic is that of one QoS.
        let to = (no + 1) % self.clients.len();
        let topic = TopicBuf::new(format!("to/{to}/{}", qos.as_u8())).expect("a topic name");
        let number = self.ledger.said(no, to, qos);
        let mut message = Message::new(topic, number.to_string()).qos(qos);
        if self.draws.one_in(self.plan.expires_one_in) {
            message = message.time_to_live(std::time::Duration::from_secs(1 + self.draws.below(5)));
        }
        // Nothing is promised of those of QoS 0.
        if qos != Qos::AtMostOnce
            && self.clients[no].speaks_properties()
            && self.draws.one_in(self.plan.properties_one_in)
        {
            let mut properties = PropertiesBuf::new();
            properties.user_property("number", &number.to_string());
            message = message.properties(properties);
        }
        let now_ms = self.now_ms;
        let command = self.draws.below(20);
        self.clients[no].ask(command, now_ms);
        let client = &mut self.clients[no];
        if let Some(Ok(accepted)) = client
            .engine
            .as_mut()
            .map(|engine| engine.publish(now_ms, message))
            && client.tokens.insert(accepted.token, number).is_some()
        {
            self.ledger
                .fault(&format!("{:?} is given out twice", accepted.token));
        }
        self.look(no);
    }

    /// The application takes the oldest message, or forgets it until it is killed.
    fn take(&mut self, no: ClientNo) {
        let forgets = !self.is_draining && self.draws.one_in(self.plan.untaken_one_in);
        if forgets {
            // It comes back to it before the end.
            return self.add(PLAY_MS, Task::Take(no));
        }
        self.with(no, ClientProcess::take);
    }

    // The store.

    fn begin_keep(&mut self, no: ClientNo) {
        let client = &mut self.clients[no];
        if let Some(run) = client.begin_keep() {
            let in_ms = self.draws.below(self.plan.store_ms + 1);
            self.add(in_ms, Task::Kept(no, run));
        }
    }

    fn end_keep(&mut self, no: ClientNo, run: u64) {
        if self.clients[no].run() != Some(run) {
            return;
        }
        let now_ms = self.now_ms;
        if !self.is_draining && self.draws.one_in(self.plan.store_fails_one_in) {
            self.note(&format!("the store of client {no} fails"));
            let kept = self.draws.below(1 + self.clients[no].unkept() as u64) as usize;
            self.clients[no].store_fails(now_ms, kept, &mut self.ledger);
            return self.look(no);
        }
        let refuses_one_in = if self.is_draining {
            0
        } else {
            self.plan.refuses_one_in
        };
        let draws = &mut self.draws;
        self.clients[no].end_keep(now_ms, || draws.one_in(refuses_one_in), &mut self.ledger);
        self.look(no);
    }

    /// Why not all is at rest, if it is not.
    fn unrest(&self) -> Option<String> {
        let of_client =
            |(no, client): (usize, &ClientProcess)| client.unrest().map(|why| format!("client {no}: {why}"));
        let found = self.clients.iter().enumerate().find_map(of_client);
        found.or_else(|| self.ledger.unrest(!self.plan.forgets))
    }
}
