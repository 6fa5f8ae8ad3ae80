//! A whole broker in one thread: some shards, no sockets, a clock that stands still.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use martlet_broker::router::Overlapping;
use martlet_broker::{
    Address, ConnId, DelayedStore, Event, Input, ListenerRules, Login, MemoryStore, Parcels, Peer, Relocated,
    Seed, Settings, Shard, Shared, Sink, Store, Verdict,
};
use martlet_codec::Qos;
use martlet_conformance::Harness;
use martlet_session::Now;
use parking_lot::Mutex;

/// How the broker under test is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One shard, state in memory.
    OneShard,
    /// Two, connections to each in turn, state in memory.
    TwoShards,
    /// Two, with a store that ends its batches late and in any order.
    SlowStore,
}

impl Setting {
    pub(crate) const ALL: [Self; 3] = [Self::OneShard, Self::TwoShards, Self::SlowStore];

    /// How many seeds to play with: the slow store ends its batches in an order that the seed decides.
    pub(crate) fn seeds(self) -> u64 {
        if self == Self::SlowStore { 8 } else { 1 }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneShard => "one_shard",
            Self::TwoShards => "two_shards",
            Self::SlowStore => "slow_store",
        }
    }
}

/// The broker, and what its connections got.
pub(crate) struct Broker {
    shards: Vec<Shard>,
    stores: Vec<Arc<Mutex<DelayedStore>>>,
    now_ms: u64,
    conns: Vec<Conn>,
    by_id: HashMap<(u16, ConnId), usize>,
    logins: Logins,
    /// Logins that are being checked, and when they will be.
    checking: VecDeque<(u64, Checked)>,
}

/// Who may log in, and how long it takes to look.
#[derive(Default)]
struct Logins {
    users: Vec<(String, String)>,
    takes_ms: u64,
    /// One more is too many.
    waiting_max: Option<usize>,
}

impl Logins {
    fn check(&self, login: Login<'_>) -> Verdict {
        match self.users.iter().find(|(name, _)| name == login.user_name) {
            None => Verdict::UnknownUser,
            Some((_, password)) if password.as_bytes() == login.password => {
                Verdict::Accepted { generation: 0 }
            }
            Some(_) => Verdict::WrongPassword,
        }
    }
}

/// A login on its way back to its shard.
struct Checked {
    shard: u16,
    conn: ConnId,
    verdict: Verdict,
}

struct Conn {
    shard: u16,
    id: ConnId,
    output: Vec<u8>,
    closed: bool,
}

/// What one call of a shard did to the world.
struct Effects<'a> {
    logins: &'a Logins,
    waiting: usize,
    checked: Vec<(ConnId, Verdict)>,
    closed: Vec<ConnId>,
    relocated: Vec<(ConnId, u16, Relocated)>,
    parcels: BTreeMap<u16, Parcels>,
}

impl Sink for Effects<'_> {
    fn close(&mut self, conn: ConnId) {
        self.closed.push(conn);
    }

    fn relocate(&mut self, conn: ConnId, shard: u16, relocated: Relocated) {
        self.relocated.push((conn, shard, relocated));
    }

    fn check_login(&mut self, conn: ConnId, login: Login<'_>) -> bool {
        if self.logins.waiting_max == Some(self.waiting) {
            return false;
        }
        self.checked.push((conn, self.logins.check(login)));
        true
    }

    fn has_room(&self, _: u16) -> bool {
        true
    }

    fn parcels(&mut self, shard: u16) -> &mut Parcels {
        self.parcels.entry(shard).or_default()
    }

    fn event(&mut self, _: Event<'_>) {}
}

/// Something to hand to a shard.
enum Task {
    Bytes(u16, ConnId, Vec<u8>),
    Login(Checked),
    Forwarded(u16, Parcels),
}

const PEER: Peer = Peer {
    address: Address::Internet(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1_883)),
    listener: 0,
};

/// Time does not start at 0: a deadline of 0 would hide mistakes.
const START_MS: u64 = 1_000_000;

impl Broker {
    pub(crate) fn new(config: &[(String, String)], setting: Setting, seed: u64) -> Result<Self, String> {
        let (settings, rules, logins) = configured(config)?;
        let n: u16 = if setting == Setting::OneShard { 1 } else { 2 };
        let mut seed = Seed::new(seed);
        let shared = Shared::new(settings, vec![rules], usize::from(n), &mut seed);
        let mut stores = Vec::new();
        let mut shards = Vec::new();
        for index in 0..n {
            let store: Box<dyn Store> = if setting == Setting::SlowStore {
                let store = Arc::new(Mutex::new(DelayedStore::new(seed.draw())));
                stores.push(Arc::clone(&store));
                Box::new(store)
            } else {
                Box::new(MemoryStore)
            };
            let seed = Seed::new(seed.draw());
            shards.push(Shard::new(index, Arc::clone(&shared), store, seed, now(START_MS)));
        }
        Ok(Self {
            shards,
            stores,
            now_ms: START_MS,
            conns: Vec::new(),
            by_id: HashMap::new(),
            logins,
            checking: VecDeque::new(),
        })
    }

    /// Hands one input to a shard, and all that follows from it to whom it concerns.
    fn handle(&mut self, shard: u16, input: Input<'_>) {
        let mut tasks = VecDeque::new();
        self.step(shard, input, &mut tasks);
        loop {
            while let Some(task) = tasks.pop_front() {
                match task {
                    Task::Bytes(shard, conn, bytes) => {
                        self.step(shard, Input::Bytes(conn, &bytes), &mut tasks);
                    }
                    Task::Login(Checked { shard, conn, verdict }) => {
                        self.step(shard, Input::Login(conn, verdict), &mut tasks);
                    }
                    Task::Forwarded(shard, mut parcels) => {
                        self.step(shard, Input::Forwarded(&mut parcels), &mut tasks);
                    }
                }
            }
            // Nothing is left to do but to wait for the store, which ends one batch at a time.
            let Some(shard) = self.stores.iter().position(|store| store.lock().end_one()) else {
                return;
            };
            self.step(shard as u16, Input::Stored, &mut tasks);
        }
    }

    fn step(&mut self, shard: u16, input: Input<'_>, tasks: &mut VecDeque<Task>) {
        let mut effects = Effects {
            logins: &self.logins,
            waiting: self.checking.len(),
            checked: Vec::new(),
            closed: Vec::new(),
            relocated: Vec::new(),
            parcels: BTreeMap::new(),
        };
        let time = now(self.now_ms);
        self.shards[usize::from(shard)].handle(time, input, &mut effects);
        let Effects {
            checked,
            closed,
            relocated,
            parcels,
            ..
        } = effects;
        for (conn, verdict) in checked {
            let checked = Checked { shard, conn, verdict };
            match self.logins.takes_ms {
                0 => tasks.push_back(Task::Login(checked)),
                takes_ms => self.checking.push_back((self.now_ms + takes_ms, checked)),
            }
        }
        for (old, to, relocated) in relocated {
            let at = self
                .by_id
                .remove(&(shard, old))
                .expect("a connection that is known moves");
            let id = self.shards[usize::from(to)].open(time, relocated.peer);
            if let Some(generation) = relocated.vouched {
                self.shards[usize::from(to)].vouch(id, generation);
            }
            self.by_id.insert((to, id), at);
            (self.conns[at].shard, self.conns[at].id) = (to, id);
            tasks.push_back(Task::Bytes(to, id, relocated.unread));
        }
        tasks.extend(
            parcels
                .into_iter()
                .map(|(to, parcels)| Task::Forwarded(to, parcels)),
        );
        self.flush(shard, tasks);
        for id in closed {
            if let Some(at) = self.by_id.remove(&(shard, id)) {
                self.conns[at].closed = true;
                self.step(shard, Input::Closed(id), tasks);
            }
        }
    }

    /// Writes what is to be written, as a socket would that takes everything.
    fn flush(&mut self, shard: u16, tasks: &mut VecDeque<Task>) {
        let mut dirty = Vec::new();
        self.shards[usize::from(shard)].take_dirty(&mut dirty);
        for id in dirty {
            let mut written = 0;
            while let Some(output) = self.shards[usize::from(shard)]
                .output(id)
                .filter(|o| !o.is_empty())
            {
                let mut slices = [IoSlice::new(&[]); 16];
                let n = output.slices(&mut slices);
                let bytes: Vec<u8> = slices[..n]
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .collect();
                written += bytes.len();
                if let Some(at) = self.by_id.get(&(shard, id)) {
                    self.conns[*at].output.extend_from_slice(&bytes);
                }
                self.step(shard, Input::Wrote(id, bytes.len()), tasks);
                assert!(written < 1 << 30, "output without end");
            }
        }
    }
}

impl Harness for Broker {
    fn open(&mut self) -> usize {
        let shard = (self.conns.len() % self.shards.len()) as u16;
        let id = self.shards[usize::from(shard)].open(now(self.now_ms), PEER);
        self.by_id.insert((shard, id), self.conns.len());
        self.conns.push(Conn {
            shard,
            id,
            output: Vec::new(),
            closed: false,
        });
        self.conns.len() - 1
    }

    fn bytes(&mut self, conn: usize, bytes: &[u8]) {
        let Conn { shard, id, .. } = self.conns[conn];
        self.handle(shard, Input::Bytes(id, bytes));
    }

    fn cut(&mut self, conn: usize) {
        let Conn { shard, id, .. } = self.conns[conn];
        self.by_id.remove(&(shard, id));
        self.handle(shard, Input::Closed(id));
    }

    fn advance(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        loop {
            let deadlines = self.shards.iter().filter_map(Shard::deadline_ms);
            let due = deadlines.chain(self.checking.iter().map(|(at_ms, _)| *at_ms));
            let Some(at_ms) = due.filter(|at_ms| *at_ms <= end_ms).min() else {
                break;
            };
            self.now_ms = self.now_ms.max(at_ms);
            while let Some((_, checked)) = self.checking.pop_front_if(|(at_ms, _)| *at_ms <= self.now_ms) {
                self.handle(checked.shard, Input::Login(checked.conn, checked.verdict));
            }
            for shard in 0..self.shards.len() {
                if self.shards[shard]
                    .deadline_ms()
                    .is_some_and(|at_ms| at_ms <= self.now_ms)
                {
                    self.handle(shard as u16, Input::Time);
                }
            }
        }
        self.now_ms = end_ms;
    }

    fn stop(&mut self) {
        for shard in 0..self.shards.len() {
            self.handle(shard as u16, Input::Stop);
        }
        for shard in 0..self.shards.len() {
            self.handle(shard as u16, Input::DisconnectAll);
        }
    }

    fn store_fails(&mut self, fails: bool) {
        assert!(
            !self.stores.is_empty(),
            "memory cannot fail: 'settings: slow_store'"
        );
        self.stores
            .iter()
            .for_each(|store| store.lock().set_failing(fails));
    }

    fn output(&mut self, conn: usize) -> Vec<u8> {
        std::mem::take(&mut self.conns[conn].output)
    }

    fn closed(&self, conn: usize) -> bool {
        self.conns[conn].closed
    }
}

/// Two clocks that agree on how much time passes and on nothing else.
fn now(mono_ms: u64) -> Now {
    Now {
        mono_ms,
        wall_ms: 1_790_000_000_000 + mono_ms,
    }
}

/// The rules with the directives of a scenario. `$SYS` is off unless asked for: it would be everywhere.
fn configured(config: &[(String, String)]) -> Result<(Settings, ListenerRules, Logins), String> {
    let mut settings = Settings {
        sys_interval_ms: None,
        ..Settings::default()
    };
    let mut rules = ListenerRules::default();
    let mut logins = Logins::default();
    let policy = &mut rules.policy;
    for (key, value) in config {
        let bad = || format!("config: {key}={value}");
        let number: Result<u32, _> = value.parse().map_err(|_| bad());
        match key.as_str() {
            "allow_anonymous" => rules.allow_anonymous = value.parse().map_err(|_| bad())?,
            "client_id_bytes_max" => policy.client_id_bytes_max = number? as usize,
            "login_ms" => logins.takes_ms = number?.into(),
            "logins_waiting_max" => logins.waiting_max = Some(number? as usize),
            "max_inflight_messages" => {
                (policy.inflight_max, policy.receive_maximum) = (number.clone()? as u16, number? as u16);
            }
            "max_keepalive" => policy.keep_alive_s_max = NonZeroU16::new(number? as u16),
            "max_qos" => policy.qos_max = Qos::from_u8(number? as u8).ok_or_else(bad)?,
            "max_queued_messages" => {
                settings.session.queue.messages_max = number.clone()? as usize;
                settings.session.stored_queue.messages_max = number? as usize;
            }
            "message_size_limit" => settings.payload_bytes_max = Some(number?),
            "overlapping" => {
                settings.overlapping = match value.as_str() {
                    "once" => Overlapping::Once,
                    "each" => Overlapping::Each,
                    _ => return Err(bad()),
                };
            }
            "persistent_client_expiration" => policy.session_expiry_s_max = number?,
            "payload_format_check" => settings.payload_format_check = value.parse().map_err(|_| bad())?,
            "queued_bytes_total_max" => settings.queued_bytes_total_max = number?.into(),
            "receive_maximum" => policy.receive_maximum = number? as u16,
            "receive_maximum_exceeded" => policy.receive_maximum_enforced = value == "disconnect",
            "response_information" => policy.response_information = Some(value.clone()),
            "retain_available" => policy.retain_available = value.parse().map_err(|_| bad())?,
            "sessions_max" => settings.sessions_max = number?.into(),
            "sys_interval" => settings.sys_interval_ms = Some(u64::from(number?) * 1_000),
            "users" => {
                let users = value.split(',').map(|user| user.split_once(':').ok_or_else(bad));
                for user in users {
                    let (name, password) = user?;
                    logins.users.push((name.to_owned(), password.to_owned()));
                }
                rules.has_users = true;
            }
            _ => return Err(format!("config: there is no {key} here")),
        }
    }
    Ok((settings, rules, logins))
}
