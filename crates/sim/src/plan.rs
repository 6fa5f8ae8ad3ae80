//! A run before it begins: who takes part, and what may go wrong.

use martlet_broker::{Durability, ListenerRules, Settings};
use martlet_codec::{Qos, Version};
use martlet_journal::disk::Faults;
use martlet_session::NEVER;

use crate::draws::Draws;
use crate::plant::Bug;

/// All that a seed decides before anything happens.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shards: u16,
    pub(crate) keeping: Keeping,
    /// How long things go wrong, in milliseconds.
    pub(crate) play_ms: u64,
    pub(crate) network: Network,
    /// Parcels that a shard may have for another before there is no room.
    pub(crate) parcels_max: usize,
    /// The process crashes about that often.
    pub(crate) crash_every_ms: Option<u64>,
    /// A crash may be one of the whole machine.
    pub(crate) cuts_power: bool,
    pub(crate) durability: Durability,
    pub(crate) store: martlet_store::Limits,
    pub(crate) faults: Faults,
    /// It fails now and then.
    pub(crate) refuses: bool,
    /// The disk is full now and then.
    pub(crate) fills: bool,
    pub(crate) settings: Settings,
    pub(crate) policy: martlet_session::Policy,
    pub(crate) personas: Vec<Persona>,
    pub(crate) bug: Option<Bug>,
}

/// Where the broker keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Nowhere.
    Memory,
    /// In a store that is slow and ends batches in any order.
    Slow,
    /// On a disk.
    Disk,
}

impl Keeping {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "no",
            Self::Slow => "slow",
            Self::Disk => "disk",
        }
    }
}

/// How bytes travel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) delay_ms_max: u64,
    /// Bytes are cut into pieces once in so many.
    pub(crate) split_one_in: u64,
    /// What the sockets between broker and client hold.
    pub(crate) socket_bytes: usize,
}

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// At once.
    Prompt,
    /// So many bytes at a time, and nothing in between.
    Slow { every_ms: u64, bytes: usize },
}

/// A will that a client may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WillPlan {
    pub(crate) delay_s: u32,
    pub(crate) qos: Qos,
}

/// A client and its habits.
#[derive(Debug, Clone)]
pub(crate) struct Persona {
    pub(crate) name: String,
    pub(crate) version: Version,
    /// Whether each of its connections begins with a new session.
    pub(crate) always_clean: bool,
    /// Of version 5: how long its session outlives the connection.
    pub(crate) expiry_s: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: Option<u32>,
    pub(crate) alias_max: u16,
    pub(crate) keep_alive_s: u16,
    pub(crate) will: Option<WillPlan>,
    pub(crate) filters: Vec<(String, Qos)>,
    /// It unsubscribes and subscribes now and then.
    pub(crate) toggles: bool,
    /// It reads what is retained, each time over a new connection.
    pub(crate) reads: bool,
    pub(crate) topics: Vec<String>,
    pub(crate) retains: bool,
    pub(crate) qoses: Vec<Qos>,
    /// How many messages it publishes in all.
    pub(crate) messages: u32,
    pub(crate) pause_ms: u64,
    pub(crate) window: u16,
    pub(crate) payload_bytes_max: usize,
    pub(crate) expires_one_in: u64,
    pub(crate) reading: Reading,
    /// How long it takes to acknowledge, at most.
    pub(crate) ack_ms_max: u64,
    /// Nothing bad happens to it.
    pub(crate) is_steady: bool,
    /// Of its actions, so many are a goodbye.
    pub(crate) leaves_one_in: u64,
    /// Of its actions, so many leave the connection behind and come back over another.
    pub(crate) abandons_one_in: u64,
    /// Of its connections, so many begin clean although they need not.
    pub(crate) cleans_one_in: u64,
    /// Of its goodbyes, so many end the session as well, if its version can say that.
    pub(crate) ends_one_in: u64,
    /// Of its connections, so many are the last of a session that is soon over, if its version can say that.
    pub(crate) shortens_one_in: u64,
    /// Its connection is cut about that often.
    pub(crate) cut_every_ms: Option<u64>,
}

impl Persona {
    /// How long the session lives after a connection that began that way.
    pub(crate) fn expiry_s(&self, clean_start: bool) -> u32 {
        match self.version {
            Version::V5 => self.expiry_s,
            _ if clean_start => 0,
            _ => NEVER,
        }
    }

    /// Whether a connection is the last of a session that would have lived that long.
    pub(crate) fn is_short(&self, expiry_s: u32, d: &mut Draws) -> bool {
        self.version == Version::V5 && expiry_s > SHORT_EXPIRY_S && d.one_in(self.shortens_one_in)
    }

    /// Whether its version can say how much it takes.
    pub(crate) fn says_limits(&self) -> bool {
        self.version == Version::V5
    }

    fn quiet(name: String, version: Version) -> Self {
        Self {
            name,
            version,
            always_clean: false,
            expiry_s: 0,
            receive_maximum: u16::MAX,
            packet_bytes_max: None,
            alias_max: 0,
            keep_alive_s: 0,
            will: None,
            filters: Vec::new(),
            toggles: false,
            reads: false,
            topics: Vec::new(),
            retains: false,
            qoses: Vec::new(),
            messages: 0,
            pause_ms: 100,
            window: 20,
            payload_bytes_max: 40,
            expires_one_in: 0,
            reading: Reading::Prompt,
            ack_ms_max: 0,
            is_steady: false,
            leaves_one_in: 0,
            abandons_one_in: 0,
            cleans_one_in: 0,
            ends_one_in: 0,
            shortens_one_in: 0,
            cut_every_ms: None,
        }
    }
}

/// Topics of plain messages are "t/PUBLISHER/K", of retained ones "r/K", of wills "w/CLIENT".
const TOPICS_EACH: u64 = 3;
const RETAINED_TOPICS: u64 = 4;

/// How long a short run is, in milliseconds, and how much each of its clients publishes.
const SHORT_MS: u64 = 2_000;
const SHORT_MESSAGES: u32 = 5;

/// What [`Plan::tire`] draws is drawn apart, so that it changes nothing else of a plan.
const TIRED: u64 = 0x005e_ed0f_7e57;

/// How long a session that is soon over outlives its connection, in seconds.
pub(crate) const SHORT_EXPIRY_S: u32 = 2;

impl Plan {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, is_harsh: bool) -> Self {
        let mut draws = Draws::new(seed);
        let d = &mut draws;
        let keeping = *d.pick(&[
            Keeping::Memory,
            Keeping::Slow,
            Keeping::Disk,
            Keeping::Disk,
            Keeping::Disk,
        ]);
        let durability = *d.pick(&[
            Durability::Fsync,
            Durability::Fsync,
            Durability::Fsync,
            Durability::Os,
        ]);
        let crash_every_ms = *d.pick(&[None, Some(1_000), Some(5_000), Some(20_000)]);
        let network = Network {
            delay_ms_max: *d.pick(&[2, 20, 300]),
            split_one_in: *d.pick(&[0, 2, 10]),
            socket_bytes: *d.pick(&[100, 2_000, 64 << 10, 64 << 10]),
        };
        let shards = d.between(1, 4) as u16;
        let is_tight = d.one_in(3);
        let mut plan = Self {
            shards,
            keeping,
            play_ms: d.between(10_000, 60_000),
            network,
            parcels_max: *d.pick(&[1, 4, 1_000]),
            crash_every_ms,
            cuts_power: durability == Durability::Fsync,
            durability,
            store: store_limits(d),
            faults: Faults::default(),
            refuses: d.one_in(3),
            fills: d.one_in(6),
            settings: settings(d, is_tight),
            policy: policy(d, is_tight),
            personas: Vec::new(),
            bug,
        };
        plan.settings.durability = durability;
        plan.cast(d);
        plan.tire(&mut Draws::new(seed ^ TIRED));
        if is_harsh {
            plan.keeping = Keeping::Disk;
            plan.faults = faults(d);
        }
        if plan.keeping != Keeping::Disk {
            plan.crash_every_ms = None;
        }
        plan
    }

    /// A short run on a disk that does nothing worse than to lose its power.
    pub(crate) fn short(seed: u64, bug: Option<Bug>) -> Self {
        let mut plan = Self::new(seed, bug, false);
        plan.keeping = Keeping::Disk;
        plan.crash_every_ms = None;
        plan.play_ms = SHORT_MS;
        plan.durability = Durability::Fsync;
        plan.settings.durability = Durability::Fsync;
        for persona in &mut plan.personas {
            persona.messages = persona.messages.min(SHORT_MESSAGES);
            persona.pause_ms = persona.pause_ms.min(SHORT_MS / 10);
            persona.is_steady = false;
        }
        plan
    }

    /// Some clients have enough of their sessions now and then.
    fn tire(&mut self, d: &mut Draws) {
        for persona in self.personas.iter_mut().filter(|persona| !persona.is_steady) {
            persona.ends_one_in = *d.pick(&[0, 0, 3]);
            persona.shortens_one_in = *d.pick(&[0, 0, 6]);
        }
    }

    fn cast(&mut self, d: &mut Draws) {
        let publishers = d.between(1, 4);
        for n in 0..publishers {
            let persona = publisher(d, n, self.play_ms);
            self.personas.push(persona);
        }
        for n in 0..d.between(1, 4) {
            self.personas.push(subscriber(d, n, publishers));
        }
        if d.one_in(2) {
            for n in 0..d.between(1, 3) {
                self.personas.push(member(d, n));
            }
        }
        if d.one_in(2) {
            for n in 0..d.between(1, 2) {
                self.personas.push(setter(d, n, self.play_ms));
            }
            for n in 0..d.between(1, 2) {
                self.personas.push(reader(d, n));
            }
        }
        if d.one_in(2) {
            for n in 0..d.between(1, 3) {
                self.personas.push(mortal(d, n));
            }
            self.personas.push(watcher(d));
        }
        if d.one_in(2) {
            let publisher = steady(d, publishers, self.play_ms);
            self.personas.extend(publisher);
        }
    }
}

fn settings(d: &mut Draws, is_tight: bool) -> Settings {
    let mut settings = Settings {
        sys_interval_ms: None,
        ..Settings::default()
    };
    if is_tight {
        let session = &mut settings.session;
        session.output_bytes_max = *d.pick(&[1, 200, 16 << 20]);
        session.inflight_bytes_max = *d.pick(&[1, 200, usize::MAX]);
        session.share_payload_bytes_min = *d.pick(&[1, 8 << 10]);
        session.queue_qos0 = d.one_in(2);
        if d.one_in(2) {
            session.queue.messages_max = d.between(1, 10) as usize;
            session.stored_queue.messages_max = d.between(1, 30) as usize;
        }
        session.window_bytes = *d.pick(&[1, 300, 1 << 20]);
        settings.routes_max = *d.pick(&[1, 3, 65_536]);
        if d.one_in(4) {
            settings.queued_bytes_total_max = d.between(500, 5_000);
        }
    }
    settings
}

/// Small ones, so that what is rare in life is frequent here.
fn store_limits(d: &mut Draws) -> martlet_store::Limits {
    let mut limits = martlet_store::Limits::default();
    if d.one_in(4) {
        return limits;
    }
    limits.journal.segment_bytes = d.between(512, 8_000) as u32;
    limits.journal.open_files_max = *d.pick(&[2, 128]);
    limits.pending_bytes_max = *d.pick(&[1, 500, 32 << 20]);
    limits.group_bytes = *d.pick(&[1, 500, 4 << 20]);
    limits.page_bytes = *d.pick(&[1, 300, 256 << 10]);
    limits.clean_bytes_min = *d.pick(&[0, 1_000]);
    limits.clean_bytes = *d.pick(&[1, 1_000, 256 << 10]);
    limits.snapshot_bytes_min = u64::from(limits.journal.segment_bytes / 2);
    limits.snapshot_step_bytes = limits.clean_bytes;
    limits
}

/// A disk that fails. Reads fail so often, because a message is given up only when three have failed.
fn faults(d: &mut Draws) -> Faults {
    Faults {
        writes_one_in: *d.pick(&[0, 30, 200]),
        syncs_one_in: *d.pick(&[0, 50, 200]),
        reads_one_in: *d.pick(&[0, 3, 20]),
        others_one_in: *d.pick(&[0, 100]),
        ..Faults::default()
    }
}

fn policy(d: &mut Draws, is_tight: bool) -> martlet_session::Policy {
    let mut policy = ListenerRules::default().policy;
    if is_tight {
        policy.receive_maximum = d.between(1, 5) as u16;
        policy.inflight_max = d.between(1, 8) as u16;
    }
    policy
}

fn version(d: &mut Draws) -> Version {
    *d.pick(&[
        Version::V5,
        Version::V5,
        Version::V3_1_1,
        Version::V3_1_1,
        Version::V3_1,
    ])
}

/// What makes life hard for a client.
fn troubled(d: &mut Draws, persona: &mut Persona) {
    persona.leaves_one_in = *d.pick(&[0, 30, 100]);
    persona.abandons_one_in = *d.pick(&[0, 30, 100]);
    persona.cleans_one_in = *d.pick(&[0, 0, 4]);
    persona.cut_every_ms = *d.pick(&[None, Some(2_000), Some(10_000)]);
    if d.one_in(4) {
        persona.keep_alive_s = 20;
    }
}

fn expiry_s(d: &mut Draws) -> u32 {
    *d.pick(&[0, 4, 3_600, 3_600, NEVER])
}

fn publisher(d: &mut Draws, n: u64, play_ms: u64) -> Persona {
    let mut persona = Persona::quiet(format!("pub-{n}"), version(d));
    troubled(d, &mut persona);
    persona.always_clean = d.one_in(3);
    persona.expiry_s = expiry_s(d);
    persona.topics = (0..TOPICS_EACH).map(|k| format!("t/{n}/{k}")).collect();
    persona.qoses = d
        .pick(&[
            vec![Qos::AtLeastOnce],
            vec![Qos::ExactlyOnce],
            vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce],
        ])
        .clone();
    persona.messages = d.between(5, 60) as u32;
    persona.pause_ms = play_ms * 2 / 3 / u64::from(persona.messages);
    persona.window = *d.pick(&[1, 5, 100]);
    persona.payload_bytes_max = *d.pick(&[20, 40, 1_000, 1_000, 50_000]);
    persona.expires_one_in = *d.pick(&[0, 0, 5]);
    persona
}

fn subscriber(d: &mut Draws, n: u64, publishers: u64) -> Persona {
    let mut persona = Persona::quiet(format!("sub-{n}"), version(d));
    troubled(d, &mut persona);
    persona.always_clean = d.one_in(4);
    persona.expiry_s = expiry_s(d);
    for _ in 0..d.between(1, 3) {
        let one = format!("t/{}/#", d.below(publishers));
        let filter = d.pick(&["t/#".to_owned(), "t/+/0".to_owned(), one]).clone();
        if persona.filters.iter().all(|(have, _)| *have != filter) {
            let qos = *d.pick(&[
                Qos::ExactlyOnce,
                Qos::ExactlyOnce,
                Qos::AtLeastOnce,
                Qos::AtMostOnce,
            ]);
            persona.filters.push((filter, qos));
        }
    }
    persona.toggles = d.one_in(3);
    persona.receive_maximum = *d.pick(&[1, 3, u16::MAX]);
    persona.alias_max = *d.pick(&[0, 2]);
    if d.one_in(5) {
        persona.packet_bytes_max = Some(d.between(40, 400) as u32);
    }
    persona.ack_ms_max = *d.pick(&[0, 100, 3_000]);
    if d.one_in(4) {
        persona.reading = Reading::Slow {
            every_ms: d.between(500, 20_000),
            bytes: d.between(20, 2_000) as usize,
        };
    }
    persona
}

fn member(d: &mut Draws, n: u64) -> Persona {
    let mut persona = subscriber(d, n, 1);
    persona.name = format!("member-{n}");
    persona.toggles = false;
    persona.always_clean = d.one_in(3);
    let qos = *d.pick(&[Qos::ExactlyOnce, Qos::AtLeastOnce]);
    persona.filters = vec![("$share/g/t/#".to_owned(), qos)];
    persona
}

fn setter(d: &mut Draws, n: u64, play_ms: u64) -> Persona {
    let mut persona = publisher(d, n, play_ms);
    persona.name = format!("setter-{n}");
    persona.topics = (0..RETAINED_TOPICS).map(|k| format!("r/{k}")).collect();
    persona.retains = true;
    persona.expires_one_in = 0;
    persona.payload_bytes_max = 40;
    persona
}

fn reader(d: &mut Draws, n: u64) -> Persona {
    let mut persona = Persona::quiet(format!("reader-{n}"), version(d));
    persona.always_clean = true;
    persona.reads = true;
    persona.filters = vec![("r/#".to_owned(), Qos::AtMostOnce)];
    persona.pause_ms = d.between(100, 3_000);
    persona
}

fn mortal(d: &mut Draws, n: u64) -> Persona {
    let mut persona = Persona::quiet(format!("mortal-{n}"), version(d));
    troubled(d, &mut persona);
    persona.always_clean = d.one_in(3);
    persona.expiry_s = *d.pick(&[0, 3, 3_600]);
    persona.cut_every_ms = Some(d.between(1_000, 8_000));
    persona.leaves_one_in = 20;
    persona.will = Some(WillPlan {
        delay_s: *d.pick(&[0, 0, 1, 5]),
        qos: Qos::AtLeastOnce,
    });
    persona
}

fn watcher(d: &mut Draws) -> Persona {
    let mut persona = Persona::quiet("watcher".to_owned(), *d.pick(&[Version::V5, Version::V3_1_1]));
    persona.expiry_s = NEVER;
    persona.filters = vec![("w/#".to_owned(), Qos::ExactlyOnce)];
    persona
}

/// A pair that suffers nothing, beside others that do.
fn steady(d: &mut Draws, n: u64, play_ms: u64) -> Vec<Persona> {
    let mut publisher = publisher(d, n, play_ms);
    let mut subscriber = Persona::quiet("steady-sub".to_owned(), version(d));
    "steady-pub".clone_into(&mut publisher.name);
    publisher.payload_bytes_max = 40;
    publisher.window = 5;
    publisher.expires_one_in = 0;
    publisher.keep_alive_s = 0;
    subscriber.expiry_s = NEVER;
    subscriber.filters = vec![(format!("t/{n}/#"), Qos::ExactlyOnce)];
    for persona in [&mut publisher, &mut subscriber] {
        persona.is_steady = true;
        persona.leaves_one_in = 0;
        persona.abandons_one_in = 0;
        persona.cleans_one_in = 0;
        persona.cut_every_ms = None;
    }
    vec![publisher, subscriber]
}
