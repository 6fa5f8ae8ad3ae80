//! The thread that keeps what must survive: it appends what shards hand over, syncs, loads pages and cleans.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use martlet_broker::{Durability, Seed, Shard, Shared, StoreState};
use martlet_journal::{RealDisk, Report};
use martlet_store::{Bell, Engine, Exchange, Limits, Restored, Urgency};
use parking_lot::{Condvar, Mutex};

use crate::clock::{Clock, system_ms};
use crate::config::StoreConfig;
use crate::error::Error;
use crate::inbox::{Inbox, Item};
use crate::kill_points;
use crate::limits::{CLOCK_JUMP_MS, STORE_FILES_NAMED_MAX, STORE_LATER_MS, STORE_TICK_MS};

mod syncer;

use syncer::Syncer;

const TICK: Duration = Duration::from_millis(STORE_TICK_MS);

/// A store that is open, before its thread runs.
pub(crate) struct Opened {
    engine: Engine<RealDisk>,
    bell: Arc<EngineBell>,
    folder: PathBuf,
    clock: Clock,
}

/// The thread.
pub(crate) struct Keeper {
    bell: Arc<EngineBell>,
    thread: JoinHandle<()>,
}

/// What wakes the thread.
#[derive(Default)]
struct EngineBell {
    rung: Mutex<Rung>,
    wakes: Condvar,
}

#[derive(Default)]
struct Rung {
    now: bool,
    later: bool,
    stops: bool,
}

impl EngineBell {
    fn ring(&self, urgency: Urgency) {
        let mut rung = self.rung.lock();
        let told = match urgency {
            Urgency::Later => &mut rung.later,
            Urgency::Now => &mut rung.now,
        };
        if !std::mem::replace(told, true) {
            drop(rung);
            self.wakes.notify_one();
        }
    }

    /// Waits until there is something to do, at most for a tick; whether the thread ends.
    fn wait(&self) -> bool {
        let mut rung = self.rung.lock();
        let tick = Instant::now() + TICK;
        let mut until = tick;
        while !rung.now && !rung.stops {
            if rung.later && until == tick {
                until = Instant::now() + Duration::from_millis(STORE_LATER_MS);
            }
            if self.wakes.wait_until(&mut rung, until).timed_out() {
                break;
            }
        }
        (rung.now, rung.later) = (false, false);
        rung.stops
    }
}

/// Opens the store, and tells what was found.
pub(crate) fn open(
    config: &StoreConfig,
    inboxes: &Arc<[Inbox]>,
    clock: Clock,
    salt: u32,
) -> Result<(Opened, Restored), Error> {
    let holder = format!("martlet broker, process {}", std::process::id());
    let failed = |error| Error::store(config, &error);
    let disk = RealDisk::open(&config.folder, &holder).map_err(|error| failed(error.into()))?;
    let folder = std::path::absolute(&config.folder).unwrap_or_else(|_| config.folder.clone());
    // Who tests kills wants to see segments come and go.
    let limits = if cfg!(feature = "kill-points") {
        Limits::tiny()
    } else {
        Limits::default()
    };
    let bell = Arc::new(EngineBell::default());
    let (ring, inboxes) = (Arc::clone(&bell), Arc::clone(inboxes));
    let shards = inboxes.len();
    let exchange = Exchange::new(
        shards,
        limits.pending_bytes_max,
        move |urgency| ring.ring(urgency),
        move |shard, bell| {
            inboxes[usize::from(shard)].push(match bell {
                Bell::Stored => Item::Stored,
                Bell::Room => Item::Room,
            });
        },
    );
    let opened = Engine::open(disk, limits, salt, clock.now(), Arc::new(exchange));
    let (engine, restored, report) = opened.map_err(failed)?;
    let clock = clock.with_wall(restored.wall_ms);
    tell(&report, &restored, &folder);
    let opened = Opened {
        engine,
        bell,
        folder,
        clock,
    };
    Ok((opened, restored))
}

fn tell(report: &Report, restored: &Restored, folder: &Path) {
    let queued: usize = restored.sessions.iter().map(|session| session.queue.len()).sum();
    tracing::info!(
        target: "notice",
        folder = %folder.display(),
        sessions = restored.sessions.len(),
        queued,
        retained = restored.retained.len(),
        "store.opened"
    );
    if restored.unknown > 0 {
        tracing::error!(
            records = restored.unknown,
            text = "they make no sense to this version and are left out",
            fix = "martlet store check tells where they are",
            "store.unknown"
        );
    }
    tell_damage(report);
    tell_files(report, folder);
}

/// What was lost that had been durable.
fn tell_damage(report: &Report) {
    let damage = report.damage.iter().map(ToString::to_string);
    let missing = report.missing.iter();
    for found in damage.chain(missing.map(|segment| format!("segment {segment:08x} is missing"))) {
        tracing::error!(
            found,
            fix = "martlet store check tells what is left; the rest is served",
            "store.damaged"
        );
    }
}

/// By which nothing was lost: what was set aside, and what is not used.
fn tell_files(report: &Report, folder: &Path) {
    let folder = folder.display();
    if !report.snapshots_damaged.is_empty() {
        tracing::warn!(
            %folder,
            files = listed(&report.snapshots_damaged),
            text = "damaged snapshots: nothing is lost, this start took longer; the files can be removed",
            "store.snapshot_damaged"
        );
    }
    let set_aside = report.cut.as_ref().map_or(&[][..], |cut| &cut.segments);
    if let Some(cut) = &report.cut {
        tracing::info!(
            bytes = cut.bytes,
            text = "an end that was not complete was cut off, as a crash leaves it",
            "store.cut"
        );
    }
    if !set_aside.is_empty() {
        tracing::info!(
            %folder,
            files = listed(set_aside),
            text = "they were behind that end, and nobody was promised what is in them; they can be removed",
            "store.set_aside"
        );
    }
    let unused = report.unused.iter().filter(|name| !set_aside.contains(name));
    let unused: Vec<String> = unused.cloned().collect();
    if !unused.is_empty() {
        tracing::info!(
            %folder,
            files = listed(&unused),
            text = "they are not used, and left as they are",
            "store.unused"
        );
    }
}

fn listed(names: &[String]) -> String {
    let named = names[..names.len().min(STORE_FILES_NAMED_MAX)].join(", ");
    match names.len().saturating_sub(STORE_FILES_NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Puts what was stored into the shards' common state, and its sessions into the shards, in turn.
pub(crate) fn restore(restored: Restored, shared: &Shared, shards: &mut [Shard], clock: Clock) {
    let now = clock.now();
    let count = shards.len();
    for (at, session) in restored.share(shared).into_iter().enumerate() {
        shards[at % count].restore(now, session);
    }
}

impl Opened {
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn shard(&self, index: u16, shared: Arc<Shared>, seed: Seed) -> Shard {
        let store = Box::new(self.engine.handle(index));
        Shard::new(index, shared, store, seed, self.clock.now())
    }

    /// Starts the thread.
    pub(crate) fn start(self, shared: Arc<Shared>) -> Keeper {
        let bell = Arc::clone(&self.bell);
        *shared.store_state.lock() = Some(StoreState::Keeps);
        let run = move || Keeping::new(self, shared).run();
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(run)
            .expect("the system starts a thread");
        Keeper { bell, thread }
    }
}

impl Keeper {
    /// Writes and syncs what is left, and ends. No shard may run any more.
    pub(crate) fn stop(self) {
        self.bell.rung.lock().stops = true;
        self.bell.wakes.notify_one();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Keeping {
    engine: Engine<RealDisk>,
    shared: Arc<Shared>,
    bell: Arc<EngineBell>,
    folder: PathBuf,
    clock: Clock,
    /// How far the clock of the system was ahead of ours when that was last written.
    ahead_ms: i64,
    told: Told,
    /// None: each acknowledgement waits for a sync, so syncs may run here.
    syncer: Option<Syncer>,
    synced_at: Instant,
    watched_at: Instant,
    /// There is more to clean, or to do for a snapshot.
    is_busy: bool,
}

/// What the log knows.
#[derive(Default)]
struct Told {
    has_failed: bool,
    /// When there was trouble last, until it is told that it is over.
    trouble_at: Option<Instant>,
    lost: u64,
    lost_at: Option<Instant>,
    unreadable: u64,
    snapshots_failed: u64,
}

impl Keeping {
    fn new(opened: Opened, shared: Arc<Shared>) -> Self {
        let clock = opened.clock;
        let mut listeners = shared.listeners.iter();
        let is_apart = listeners.any(|rules| rules.durability != Durability::Fsync);
        let syncer = is_apart.then(|| Syncer::start(Arc::clone(&opened.bell)));
        Self {
            engine: opened.engine,
            shared,
            bell: opened.bell,
            folder: opened.folder,
            clock,
            ahead_ms: ahead_ms(clock),
            told: Told::default(),
            syncer,
            synced_at: Instant::now(),
            watched_at: Instant::now(),
            is_busy: false,
        }
    }

    fn run(mut self) {
        loop {
            let stops = !self.is_busy && self.bell.wait();
            self.end_sync(stops);
            kill_points::pass("before-append");
            self.engine.write();
            kill_points::pass("after-append");
            self.engine.serve_loads();
            let is_due = self.synced_at.elapsed() >= TICK;
            if self.engine.is_waited_for() || (self.engine.needs_sync() && (is_due || stops)) {
                self.sync();
            }
            let cleans = self.clean();
            let builds = self.snapshot();
            self.is_busy = cleans || builds;
            if stops {
                self.engine.last_snapshot();
            }
            self.tell();
            if stops {
                return;
            }
            // Also while there is a sync for somebody all the time.
            if self.watched_at.elapsed() >= TICK {
                self.watched_at = Instant::now();
                self.watch_clock();
                if self.engine.seeks_room() {
                    self.engine.finds_room();
                }
            }
        }
    }

    fn sync(&mut self) {
        if let Some(job) = self.engine.begin_sync() {
            // A snapshot begins when all is durable, and while another thread syncs there is always more.
            let is_here = self.engine.wants_snapshot();
            match &mut self.syncer {
                Some(syncer) if !is_here => syncer.begin(job),
                _ => self.synced(job.run()),
            }
        }
        self.synced_at = Instant::now();
    }

    /// The end of a sync that ran elsewhere; `stops`: it is waited for, and the next one runs here.
    fn end_sync(&mut self, stops: bool) {
        let synced = match (&mut self.syncer, stops) {
            (Some(syncer), false) => syncer.take_done(),
            (syncer, _) => syncer.take().and_then(Syncer::stop),
        };
        if let Some(synced) = synced {
            self.synced(synced);
        }
    }

    fn synced(&mut self, synced: martlet_journal::Synced) {
        kill_points::pass("after-sync");
        self.engine.end_sync(synced);
    }

    /// One step of cleaning; others have their turn before the next. Whether there is more to do.
    fn clean(&mut self) -> bool {
        if self.is_busy {
            kill_points::pass("before-clean");
        }
        let cleans = self.engine.clean();
        if cleans {
            kill_points::pass("after-clean");
        }
        cleans
    }

    /// One step of a snapshot, in the same way.
    fn snapshot(&mut self) -> bool {
        let builds = self.engine.snapshot();
        if builds {
            kill_points::pass("after-snapshot-step");
        }
        builds
    }

    /// The clock of the system may be set while we run. What is stored goes by ours, and the next start must know how
    /// the two belong together.
    fn watch_clock(&mut self) {
        let ahead_ms = ahead_ms(self.clock);
        if ahead_ms.abs_diff(self.ahead_ms) > CLOCK_JUMP_MS {
            tracing::warn!(
                by_ms = ahead_ms - self.ahead_ms,
                text = "the clock of the system was set; expiry goes on as before",
                "clock.set"
            );
            self.ahead_ms = ahead_ms;
            self.engine.clock_set(self.clock.now().wall_ms, system_ms());
        }
    }

    fn tell(&mut self) {
        if !self.told.has_failed {
            self.tell_state();
        }
        self.tell_counts();
    }

    fn tell_state(&mut self) {
        let now = Instant::now();
        let folder = self.folder.display();
        if let Some(failure) = self.engine.failure() {
            self.told.has_failed = true;
            let state = StoreState::Failed;
            *self.shared.store_state.lock() = Some(state);
            tracing::error!(%folder, error = failure, text = state.text(), fix = state.fix(), "store.failed");
            return;
        }
        if let Some(trouble) = self.engine.trouble() {
            if self.told.trouble_at.replace(now).is_none() {
                let state = StoreState::Refuses;
                *self.shared.store_state.lock() = Some(state);
                tracing::error!(%folder, error = trouble, text = state.text(), fix = state.fix(), "store.refuses");
            }
        } else if self.told.trouble_at.is_some_and(|at| now >= at + TICK) {
            // A message may fit where a longer one did not, so one that was taken does not say that it is over.
            if self.engine.finds_room() {
                self.told.trouble_at = None;
                *self.shared.store_state.lock() = Some(StoreState::Keeps);
                tracing::info!(target: "notice", %folder, "store.accepts_again");
            } else {
                self.told.trouble_at = Some(now);
            }
        }
    }

    fn tell_counts(&mut self) {
        let now = Instant::now();
        let (lost, (unreadable, why)) = (self.engine.lost(), self.engine.unreadable());
        if lost > self.told.lost && self.told.lost_at.is_none_or(|at| now >= at + TICK) {
            self.told.lost_at = Some(now);
            let count = lost - self.told.lost;
            tracing::error!(
                count,
                text = "changes that nobody waited for could not be stored",
                "store.lost"
            );
            self.told.lost = lost;
        }
        if unreadable > self.told.unreadable {
            let count = unreadable - self.told.unreadable;
            tracing::error!(
                count,
                error = why,
                fix = "martlet store check tells more",
                "store.unreadable"
            );
            self.told.unreadable = unreadable;
        }
        let (failed, why) = self.engine.snapshots_failed();
        if failed > self.told.snapshots_failed {
            tracing::warn!(
                error = why,
                text = "no snapshot could be taken: nothing is lost, the next start takes longer",
                "store.no_snapshot"
            );
            self.told.snapshots_failed = failed;
        }
    }
}

fn ahead_ms(clock: Clock) -> i64 {
    system_ms().cast_signed() - clock.now().wall_ms.cast_signed()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use martlet_broker::{Batch, Change, ListenerRules, Settings, Store};
    use martlet_codec::{PropertiesBuf, Qos, TopicBuf};
    use martlet_session::{Message, Ticket};

    use super::*;
    use crate::config::Origin;

    /// A retained message, of a megabyte until there are enough for a snapshot.
    fn retained(version: u64) -> Change {
        let bytes = if version <= 70 { 1 << 20 } else { 1 << 10 };
        let message = Message {
            topic: TopicBuf::new("t").unwrap(),
            properties: PropertiesBuf::new(),
            payload: vec![b'.'; bytes].into(),
            qos: Qos::AtLeastOnce,
            retain: true,
            expires_at_ms: None,
            publisher: None,
            number: 0.into(),
        };
        Change::Retained {
            message: Arc::new(message),
            version,
            expires_at_ms: None,
            replaces: vec![],
        }
    }

    #[test]
    fn a_snapshot_begins_though_there_is_always_something_to_sync() {
        let folder = std::env::temp_dir().join(format!("martlet-keeper-{}", std::process::id()));
        let config = StoreConfig {
            folder: folder.clone(),
            origin: Origin::Default,
            durability: Durability::Os,
        };
        let inboxes: Arc<[Inbox]> = std::iter::once(Inbox::default()).collect();
        let (opened, _) = open(&config, &inboxes, Clock::start(), 1).unwrap();
        let clock = opened.clock();
        let mut handle = opened.engine.handle(0);
        let rules = ListenerRules {
            durability: Durability::Os,
            ..ListenerRules::default()
        };
        let shared = Shared::new(Settings::default(), vec![rules], 1, &mut Seed::new(1));
        let mut keeping = Keeping::new(opened, shared);
        let version = Cell::new(0);
        let mut goes_on = || {
            version.set(version.get() + 1);
            let batch = Batch {
                ticket: Some(Ticket(version.get())),
                durability: Durability::Os,
                changes: vec![retained(version.get())],
                is_loose: false,
            };
            handle.submit(clock.now(), batch);
            handle.flush();
        };
        // Each time something came while the last sync ran, and a sync takes as long as the disk does.
        let start = Instant::now();
        let begins = (0..u64::MAX)
            .take_while(|_| start.elapsed() < Duration::from_mins(1))
            .any(|n| {
                goes_on();
                if n > 70 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                keeping.end_sync(false);
                keeping.engine.write();
                keeping.sync();
                keeping.snapshot()
            });
        keeping.end_sync(true);
        drop(keeping);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(begins, "{} messages without a snapshot", version.get());
    }
}
