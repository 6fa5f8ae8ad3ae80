//! The disk store of a process, driven step by step: the seed decides when it writes, when a sync runs and when its
//! end is heard of.

use std::sync::Arc;

use martlet_broker::{Shard, Shared};
use martlet_journal::{FaultyDisk, SyncJob};
use martlet_store::{Bell, Engine, Exchange, Handle, Limits, Restored};
use parking_lot::Mutex;

use crate::draws::Draws;
use crate::process::now;

/// The engine of a process, and the sync that is under way.
pub(crate) struct DiskStore {
    engine: Engine<FaultyDisk>,
    job: Option<SyncJob<FaultyDisk>>,
    synced: Option<martlet_journal::Synced>,
    bells: Arc<Mutex<Vec<(u16, Bell)>>>,
    lost: u64,
}

/// What is to be done next with a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncStep {
    /// There is none.
    None,
    /// It has begun and is to be run.
    Run,
    /// It has run, and its end is to be told.
    End,
}

impl DiskStore {
    /// Opens what is on the disk.
    pub(crate) fn open(
        disk: &FaultyDisk,
        limits: Limits,
        shards: u16,
        ms: u64,
        salt: u32,
    ) -> Result<(Self, Restored), String> {
        let bells = Arc::new(Mutex::new(Vec::new()));
        let rung = Arc::clone(&bells);
        let ring = move |shard, bell| rung.lock().push((shard, bell));
        let exchange = Exchange::new(usize::from(shards), limits.pending_bytes_max, |_| {}, ring);
        let (engine, restored, report) =
            Engine::open(disk.clone(), limits, salt, now(ms), Arc::new(exchange))
                .map_err(|error| error.to_string())?;
        if report.has_damage() || !report.snapshots_damaged.is_empty() {
            return Err(format!("a crash is no damage: {report}"));
        }
        let store = Self {
            engine,
            job: None,
            synced: None,
            bells,
            lost: 0,
        };
        Ok((store, restored))
    }

    pub(crate) fn handle(&self, shard: u16) -> Handle {
        self.engine.handle(shard)
    }

    /// Whether shards wait for it.
    pub(crate) fn has_work(&self) -> bool {
        let exchange = self.engine.exchange();
        exchange.has_packs()
            || exchange.has_loads()
            || (self.engine.has_left() && self.engine.failure().is_none())
    }

    /// Writes what shards have handed over, and reads what they ask for.
    pub(crate) fn write(&mut self) {
        self.engine.write();
        self.engine.serve_loads();
    }

    /// Whether it is to look for room.
    pub(crate) fn seeks_room(&self) -> bool {
        self.engine.seeks_room()
    }

    /// How many changes that nobody waited for could not be kept since it was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        let lost = self.engine.lost();
        lost - std::mem::replace(&mut self.lost, lost)
    }

    pub(crate) fn look_for_room(&mut self) {
        if self.seeks_room() {
            self.engine.finds_room();
        }
    }

    pub(crate) fn clean(&mut self) {
        self.engine.clean();
    }

    /// One step of a snapshot, if there is one to be taken.
    pub(crate) fn snapshot(&mut self) {
        self.engine.snapshot();
    }

    /// Begins a sync if somebody waits for one; `even_so`: if it would do anything.
    pub(crate) fn begin_sync(&mut self, even_so: bool) -> bool {
        let is_wanted = self.engine.is_waited_for() || (even_so && self.engine.needs_sync());
        if is_wanted && self.sync_step() == SyncStep::None {
            self.job = self.engine.begin_sync();
        }
        self.job.is_some()
    }

    pub(crate) fn run_sync(&mut self) {
        self.synced = self.job.take().map(SyncJob::run);
    }

    pub(crate) fn end_sync(&mut self) {
        if let Some(synced) = self.synced.take() {
            self.engine.end_sync(synced);
        }
    }

    pub(crate) fn sync_step(&self) -> SyncStep {
        match (&self.job, &self.synced) {
            (Some(_), _) => SyncStep::Run,
            (None, Some(_)) => SyncStep::End,
            (None, None) => SyncStep::None,
        }
    }

    /// Whether somebody waits for a sync that has not begun.
    pub(crate) fn waits_for_sync(&self) -> bool {
        self.engine.is_waited_for()
    }

    /// The bells that it rang.
    pub(crate) fn take_bells(&mut self) -> Vec<(u16, Bell)> {
        std::mem::take(&mut self.bells.lock())
    }

    /// Why it keeps nothing any more, or has messages that it could not read, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        let (unreadable, why) = self.engine.unreadable();
        let failure = self.engine.failure().map(str::to_owned);
        failure.or_else(|| (unreadable > 0).then(|| format!("{unreadable} messages cannot be read: {why}")))
    }

    /// What is stored although all sessions are gone, if anything.
    pub(crate) fn rest(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("stored sessions", self.engine.sessions() as u64),
            ("stored messages", self.engine.messages() as u64),
            ("unreadable messages", self.engine.unreadable().0),
        ]
    }
}

/// Gives shards what was stored.
pub(crate) fn restore(restored: Restored, shared: &Shared, shards: &mut [Shard], ms: u64, draws: &mut Draws) {
    for session in restored.share(shared) {
        let shard = draws.below(shards.len() as u64) as usize;
        shards[shard].restore(now(ms), session);
    }
}
