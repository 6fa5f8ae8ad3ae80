//! The world of a run: clients, network and process, moved by a virtual clock.

mod broker;
mod network;

use std::collections::BTreeMap;
use std::sync::Arc;

use martlet_journal::FaultyDisk;
use martlet_journal::disk::Faults;
use parking_lot::Mutex;

use crate::agenda::{Agenda, Task};
use crate::client::{Act, Client, Wish};
use crate::draws::Draws;
use crate::history::{ConnNo, Fact, History, Known};
use crate::pipe::Pipe;
use crate::plan::{Keeping, Plan};
use crate::plant::wire::Past;
use crate::process::{Process, Recipe};

/// Clients, network and process.
pub(crate) struct World {
    draws: Draws,
    now_ms: u64,
    pub(crate) history: History,
    agenda: Agenda,
    recipe: Recipe,
    network: crate::plan::Network,
    crash_every_ms: Option<u64>,
    cuts_power: bool,
    faults: Faults,
    fills: bool,
    refuses: bool,
    play_until_ms: u64,
    is_draining: bool,
    process: Option<Process>,
    /// Whether the disk store is about to write.
    writes: bool,
    looks_for_room: bool,
    /// Whether it is about to go on with a sync.
    syncs: bool,
    /// The store has failed for good, and the process is about to be started again.
    is_given_up: bool,
    /// Whether the store of each shard goes on by itself.
    store_is_due: Vec<bool>,
    clients: Vec<Client>,
    /// When each client acts next.
    ticks: Vec<u64>,
    names: BTreeMap<String, usize>,
    pipes: BTreeMap<ConnNo, Pipe>,
    next_conn: ConnNo,
    /// The power is cut when so many things have been done to the disk.
    cut_at: Option<usize>,
    recorded: usize,
    /// For a planted bug: what was retained.
    past: Arc<Mutex<Past>>,
}

/// Time does not start at 0: a deadline of 0 would hide mistakes.
const START_MS: u64 = 1_000_000;

/// Of so many times that a shard hears from the store, the process crashes after one: what was just promised is what a
/// bug loses first.
const CRASH_ONE_IN: u64 = 60;

/// Virtual time for all to come to rest.
const REST_MS_MAX: u64 = 120_000;

/// All has been at rest for that long: wills and sessions that were left have come to their end.
const REST_MS: u64 = 20_000;

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, prints: bool) -> Self {
        // Not the draws of the plan again.
        let mut draws = Draws::new(seed ^ 0x5eed);
        let mut history = History::default();
        history.patience_ms = patience_ms(&plan);
        history.prints = prints;
        history.set_now_ms(START_MS);
        let known = |persona: &crate::plan::Persona| Known {
            name: persona.name.clone(),
            is_steady: persona.is_steady,
            packet_bytes_max: persona.packet_bytes_max.filter(|_| persona.says_limits()),
        };
        history.inflight_max = plan.policy.inflight_max;
        history.has_small_output = plan.settings.session.output_bytes_max < 1_000;
        history.clients = plan.personas.iter().map(known).collect();
        let names = plan.personas.iter().enumerate();
        let names = names.map(|(no, persona)| (persona.name.clone(), no)).collect();
        let mut clients = Vec::new();
        for (no, persona) in plan.personas.into_iter().enumerate() {
            clients.push(Client::new(no, persona, draws.fork()));
        }
        let agenda = Agenda::new(draws.fork());
        let disk = FaultyDisk::new(draws.next());
        Self {
            draws,
            now_ms: START_MS,
            history,
            agenda,
            recipe: Recipe {
                disk,
                limits: plan.store,
                durability: plan.durability,
                shards: plan.shards,
                keeping: plan.keeping,
                settings: plan.settings,
                policy: plan.policy,
                parcels_max: plan.parcels_max,
                bug: plan.bug,
            },
            network: plan.network,
            crash_every_ms: plan.crash_every_ms,
            cuts_power: plan.cuts_power,
            faults: plan.faults,
            fills: plan.fills,
            refuses: plan.refuses,
            play_until_ms: START_MS + plan.play_ms,
            writes: false,
            looks_for_room: false,
            syncs: false,
            is_given_up: false,
            is_draining: false,
            process: None,
            store_is_due: Vec::new(),
            ticks: vec![0; clients.len()],
            clients,
            names,
            pipes: BTreeMap::new(),
            next_conn: 1,
            cut_at: None,
            recorded: 0,
            past: Arc::default(),
        }
    }

    /// Has the power cut once, when so many things have been done to the disk.
    pub(crate) fn cut_at(&mut self, point: usize) {
        self.cut_at = Some(point);
        self.recipe.disk.record();
    }

    /// How many things were done to the disk while clients played.
    pub(crate) fn recorded(&self) -> usize {
        self.recorded
    }

    /// Plays, and lets all come to rest.
    pub(crate) fn run(&mut self) {
        self.start();
        for no in 0..self.clients.len() {
            self.clients[no].next_ms += self.now_ms;
            self.plan_tick(no);
            self.plan_cut(no);
        }
        self.plan_crash();
        if self.recipe.keeping == Keeping::Slow && self.refuses {
            self.agenda
                .add(self.now_ms + self.draws.below(10_000), Task::StoreFails(true));
        }
        if self.recipe.keeping == Keeping::Disk && self.fills {
            self.agenda
                .add(self.now_ms + self.draws.below(10_000), Task::DiskFull(true));
        }
        self.advance(self.play_until_ms, |_| false);
        self.drain();
        self.begin(Act::LastRead);
        self.advance(self.now_ms + REST_MS_MAX, Self::all_are_done);
        self.begin(Act::Farewell);
        self.advance(self.now_ms + REST_MS_MAX, Self::all_are_gone);
        let rest = self.rest();
        self.history.note(Fact::Emptied { rest });
    }

    fn drain(&mut self) {
        self.history.note(Fact::Draining);
        self.is_draining = true;
        self.agenda.retain(|task| {
            !matches!(
                task,
                Task::Cut(_) | Task::Crash | Task::StoreFails(_) | Task::DiskFull(_)
            )
        });
        self.recorded = self.recipe.disk.recorded();
        self.mend();
        self.network.delay_ms_max = self.network.delay_ms_max.min(20);
        self.begin(Act::Drain);
        let mut end_ms = self.now_ms + REST_MS_MAX;
        let mut quiet_since_ms = None;
        let mut unrest = None;
        let mut least_queued = u64::MAX;
        while self.now_ms < end_ms {
            self.advance(self.now_ms + 500, |_| false);
            // A client may be so slow that its queue takes long; as long as it gets shorter, it is on its way to rest.
            let queued = self.process.as_ref().map_or(u64::MAX, Process::queued);
            if queued < least_queued {
                least_queued = queued;
                end_ms = self.now_ms + REST_MS_MAX;
            }
            unrest = self.unrest();
            if unrest.is_some() {
                quiet_since_ms = None;
            } else if *quiet_since_ms.get_or_insert(self.now_ms) + REST_MS <= self.now_ms {
                break;
            }
        }
        self.history.note(Fact::Rested {
            is_quiet: unrest.is_none(),
            why: unrest.unwrap_or_default(),
        });
    }

    fn begin(&mut self, act: Act) {
        for no in 0..self.clients.len() {
            self.clients[no].begin(act, self.now_ms);
            self.plan_tick(no);
        }
    }

    fn all_are_done(&self) -> bool {
        self.clients.iter().all(Client::is_done)
    }

    fn all_are_gone(&self) -> bool {
        self.all_are_done() && self.pipes.is_empty()
    }

    /// Why not all is at rest, if it is not.
    fn unrest(&self) -> Option<String> {
        let of_client = self
            .clients
            .iter()
            .find_map(|client| client.unrest(&self.history));
        let under_way = || {
            let pipe = self.pipes.iter().find(|(_, pipe)| !pipe.is_idle());
            pipe.map(|(conn, _)| format!("#{conn} is not idle"))
        };
        let of_process = || match &self.process {
            Some(process) => process.unrest(),
            None => Some("the process is down".to_owned()),
        };
        of_client.or_else(under_way).or_else(of_process)
    }

    fn rest(&self) -> String {
        if !self.all_are_gone() {
            let pipes: Vec<_> = self.pipes.keys().map(|conn| format!("#{conn}")).collect();
            return format!("connections {}", pipes.join(" "));
        }
        self.process
            .as_ref()
            .map_or_else(|| "no process".to_owned(), Process::rest)
    }

    /// Lets time pass until then, or until `is_over`.
    fn advance(&mut self, until_ms: u64, is_over: impl Fn(&Self) -> bool) {
        while !is_over(self) {
            let timer = self.process.as_ref().and_then(Process::deadline_ms);
            let (timer_ms, shard) = timer.unwrap_or((u64::MAX, 0));
            let task_ms = self.agenda.next_ms().unwrap_or(u64::MAX);
            let next_ms = timer_ms.min(task_ms).max(self.now_ms);
            if next_ms > until_ms {
                break;
            }
            self.set_now(next_ms);
            if timer_ms <= task_ms {
                self.handle(shard, martlet_broker::Input::Time);
            } else if let Some((_, task)) = self.agenda.pop() {
                self.perform(task);
            }
        }
        self.set_now(self.now_ms.max(until_ms.min(self.now_ms + REST_MS)));
    }

    fn set_now(&mut self, ms: u64) {
        self.now_ms = ms;
        self.history.set_now_ms(ms);
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Tick(no) => self.tick(no),
            Task::Arrive(conn) => self.arrive(conn),
            Task::Up(conn) => self.up(conn),
            Task::Down(conn) => self.down(conn),
            Task::Flush(conn) => self.flush(conn),
            Task::Forward(to, from) => self.forward(to, from),
            Task::Room(shard) => self.handle(shard, martlet_broker::Input::Room),
            Task::Store(shard) => self.store(shard),
            Task::Stored(shard) => {
                self.handle(shard, martlet_broker::Input::Stored);
                self.crash_soon();
            }
            Task::Cut(no) => {
                if let Some(conn) = self.clients[no].conn() {
                    self.cut(conn);
                }
                self.plan_cut(no);
            }
            Task::Write => self.write(),
            Task::LookForRoom => self.look_for_room(),
            Task::Sync => self.sync(),
            Task::StoreFails(fails) => self.store_fails(fails),
            Task::DiskFull(is_full) => self.disk_full(is_full),
            Task::Crash => {
                self.crash();
                self.plan_crash();
            }
            Task::CrashOnce => self.crash(),
            Task::Start => self.start(),
        }
    }

    fn tick(&mut self, no: usize) {
        if self.ticks[no] != self.now_ms {
            return;
        }
        let client = &mut self.clients[no];
        let conn = client.conn();
        let wish = client.tick(self.now_ms, &mut self.history);
        self.ticks[no] = 0;
        self.fulfil(no, conn, wish);
        self.plan_tick(no);
    }

    /// Sees to it that a client acts at its time, once.
    fn plan_tick(&mut self, no: usize) {
        let at_ms = self.clients[no].next_ms.max(self.now_ms + 1);
        if self.ticks[no] <= self.now_ms || at_ms < self.ticks[no] {
            self.ticks[no] = at_ms;
            self.agenda.add(at_ms, Task::Tick(no));
        }
    }

    /// Sends what a client has to say, and does what it wants.
    fn fulfil(&mut self, no: usize, conn: Option<ConnNo>, wish: Wish) {
        let bytes = self.clients[no].take_output();
        if let Some(conn) = conn {
            self.send_up(conn, &bytes);
        }
        match (wish, conn) {
            (Wish::Dial, _) if self.process.is_some() => self.dial(no),
            (Wish::Close, Some(conn)) => self.close_up(conn),
            (Wish::Abandon, Some(conn)) => self.abandon(conn),
            _ => {}
        }
    }

    fn plan_cut(&mut self, no: usize) {
        if let Some(every_ms) = self.clients[no].persona.cut_every_ms
            && !self.is_draining
        {
            let at_ms = self.now_ms + self.draws.between(1, 2 * every_ms);
            self.agenda.add(at_ms, Task::Cut(no));
        }
    }

    /// What the store has ended is promised now, and may be lost in the next moment.
    fn crash_soon(&mut self) {
        if self.crash_every_ms.is_some() && !self.is_draining && self.draws.one_in(CRASH_ONE_IN) {
            let at_ms = self.now_ms + self.draws.below(3);
            self.agenda.add(at_ms, Task::CrashOnce);
        }
    }

    fn plan_crash(&mut self) {
        if let Some(every_ms) = self.crash_every_ms
            && !self.is_draining
        {
            let at_ms = self.now_ms + self.draws.between(1, 2 * every_ms);
            self.agenda.add(at_ms, Task::Crash);
        }
    }
}

/// What a message between two steady clients takes at most: some delays of everything on its way, and then some.
fn patience_ms(plan: &Plan) -> u64 {
    let limits = &plan.settings.session;
    let is_tight = limits.output_bytes_max < 1 << 20
        || limits.inflight_bytes_max < 1 << 20
        || plan.policy.receive_maximum < 100
        || plan.settings.queued_bytes_total_max < 1 << 20
        || plan.network.socket_bytes < 2_000
        || plan.crash_every_ms.is_some()
        || plan.refuses
        || plan.fills;
    if is_tight {
        u64::MAX
    } else {
        40 * plan.network.delay_ms_max + 10_000
    }
}
