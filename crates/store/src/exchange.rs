//! Where shards and the engine meet.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use martlet_broker::{Durability, Load, StoreEvent};
use martlet_session::Ticket;
use parking_lot::Mutex;

use crate::record::Name;

/// Batches of one turn of a shard, as records.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    /// The payloads of the records, one behind the other.
    pub(crate) bytes: Vec<u8>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A record with the next so many bytes; a body has so many links, a retained link names its body.
    Put {
        name: Name,
        kind: u8,
        len: u32,
        about: u64,
    },
    Delete(Name),
    /// The batch ends here.
    End(End),
}

/// What is to become of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) ticket: Option<Ticket>,
    pub(crate) durability: Durability,
    /// What it deletes goes even if it is refused.
    pub(crate) is_loose: bool,
}

/// Where shards and the engine meet. Whoever puts something in rings the bell of the other.
pub struct Exchange {
    packs: Mutex<Vec<(u16, Pack)>>,
    loads: Mutex<Vec<(u16, Load)>>,
    events: Vec<Mutex<Vec<StoreEvent>>>,
    /// Empty packs, to be filled again.
    spare: Mutex<Vec<Pack>>,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Whether a shard found no room.
    wanted: AtomicBool,
    /// Whether whatever puts something is refused.
    refuses: AtomicBool,
    /// Whether somebody waits for what is handed over.
    urgent: AtomicBool,
    ring_engine: Box<dyn Fn(Urgency) + Send + Sync>,
    ring_shard: Box<dyn Fn(u16, Bell) + Send + Sync>,
}

/// What the engine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nobody waits for what was handed over: it may wait for more.
    Later,
    /// Somebody waits for a batch, or for a page.
    Now,
}

/// What a shard is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bell {
    /// Batches have ended, or pages came: `Input::Stored`.
    Stored,
    /// There is room again: `Input::Room`.
    Room,
}

const SPARE_MAX: usize = 64;

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// For that many shards. `ring_engine` is called when there is something for the engine, `ring_shard` when there
    /// is something for a shard; both from any thread.
    pub fn new(
        shards: usize,
        bytes_max: usize,
        ring_engine: impl Fn(Urgency) + Send + Sync + 'static,
        ring_shard: impl Fn(u16, Bell) + Send + Sync + 'static,
    ) -> Self {
        Self {
            packs: Mutex::default(),
            loads: Mutex::default(),
            events: (0..shards).map(|_| Mutex::default()).collect(),
            spare: Mutex::default(),
            bytes: AtomicUsize::new(0),
            bytes_max,
            wanted: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            ring_engine: Box::new(ring_engine),
            ring_shard: Box::new(ring_shard),
        }
    }

    /// Whether shards have handed over batches.
    pub fn has_packs(&self) -> bool {
        !self.packs.lock().is_empty()
    }

    /// Whether shards wait for pages.
    pub fn has_loads(&self) -> bool {
        !self.loads.lock().is_empty()
    }

    pub(crate) fn hand_over(&self, shard: u16, pack: Pack) -> Pack {
        let bytes = self.bytes.fetch_add(pack.bytes.len(), Ordering::SeqCst) + pack.bytes.len();
        let is_waited_for = |step: &Step| match step {
            Step::End(end) => end.ticket.is_some() && end.durability != Durability::None,
            Step::Put { .. } | Step::Delete(_) => false,
        };
        let is_urgent = bytes >= self.bytes_max / 2 || pack.steps.iter().any(is_waited_for);
        let mut packs = self.packs.lock();
        let is_first = packs.is_empty();
        packs.push((shard, pack));
        drop(packs);
        if is_urgent && !self.urgent.swap(true, Ordering::SeqCst) {
            (self.ring_engine)(Urgency::Now);
        } else if is_first {
            (self.ring_engine)(Urgency::Later);
        }
        self.spare.lock().pop().unwrap_or_default()
    }

    pub(crate) fn ask(&self, shard: u16, load: Load) {
        self.loads.lock().push((shard, load));
        (self.ring_engine)(Urgency::Now);
    }

    pub(crate) fn take_packs(&self, into: &mut Vec<(u16, Pack)>) {
        // Before they are taken: what comes later rings again.
        self.urgent.store(false, Ordering::SeqCst);
        std::mem::swap(&mut *self.packs.lock(), into);
        let bytes: usize = into.iter().map(|(_, pack)| pack.bytes.len()).sum();
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) && self.wanted.swap(false, Ordering::SeqCst) {
            (0..self.events.len()).for_each(|shard| (self.ring_shard)(shard as u16, Bell::Room));
        }
    }

    pub(crate) fn give_back(&self, mut pack: Pack) {
        pack.steps.clear();
        pack.bytes.clear();
        pack.bytes.shrink_to(1 << 20);
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX {
            spare.push(pack);
        }
    }

    pub(crate) fn take_loads(&self) -> Vec<(u16, Load)> {
        std::mem::take(&mut self.loads.lock())
    }

    /// Tells shards what has come to an end; `events` is empty then.
    pub(crate) fn tell(&self, events: &mut [Vec<StoreEvent>]) {
        for (shard, events) in events.iter_mut().enumerate() {
            if events.is_empty() {
                continue;
            }
            let mut told = self.events[shard].lock();
            let is_first = told.is_empty();
            told.append(events);
            drop(told);
            if is_first {
                (self.ring_shard)(shard as u16, Bell::Stored);
            }
        }
    }

    pub(crate) fn hear(&self, shard: u16, into: &mut Vec<StoreEvent>) {
        into.append(&mut self.events[usize::from(shard)].lock());
    }

    /// Whether a batch may be handed over that somebody waits for. Who finds no room is told when there is.
    pub(crate) fn has_room(&self) -> bool {
        if self.bytes.load(Ordering::SeqCst) < self.bytes_max {
            return true;
        }
        // Said before the second look, as the engine looks for it after it has made room.
        self.wanted.store(true, Ordering::SeqCst);
        self.bytes.load(Ordering::SeqCst) < self.bytes_max
    }

    /// Whether whatever puts something is refused for now: the disk is full, or nothing is kept any more.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    pub(crate) fn set_refuses(&self, refuses: bool) {
        if self.refuses() != refuses {
            self.refuses.store(refuses, Ordering::Relaxed);
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.events.len()
    }
}
