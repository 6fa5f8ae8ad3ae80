//! What the shards of a process have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use martlet_session::Message;
use parking_lot::{Mutex, RwLock};

use crate::counters::{Counters, Totals};
use crate::limits::{ListenerRules, Settings};
use crate::registry::Registry;
use crate::retained::Retained;
use crate::router::{Generations, Router};
use crate::seed::Seed;
use crate::store::StoreState;
use crate::stored::StoredNumbers;

/// The router, the retained messages, the registry and the rules.
pub struct Shared {
    /// Read on a miss of a shard's route cache, written before a SUBACK leaves.
    pub router: RwLock<Router>,
    /// Whether cached routes still hold, read without the lock.
    pub generations: Arc<Generations>,
    /// The latest message of each topic.
    pub retained: Retained<Arc<Message>>,
    /// Which shard has which client.
    pub registry: Registry,
    /// The rules of all sessions.
    pub settings: Settings,
    /// The rules of each listener.
    pub listeners: Vec<ListenerRules>,
    /// The counters of each shard.
    pub counters: Vec<Counters>,
    /// The highest number that was given out: of sessions, subscriptions and messages that are stored.
    pub numbers: AtomicU64,
    pub(crate) stored: StoredNumbers,
    /// Resident memory of the process in bytes; 0 as long as nobody has measured it.
    pub resident_bytes: AtomicU64,
    /// Counts how often users were read. Raised before shards are told of those who are gone.
    pub users_generation: AtomicU64,
    /// What becomes of what is submitted to the store; none: nothing is, or nobody has said.
    pub store_state: Mutex<Option<StoreState>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// For that many shards.
    pub fn new(
        settings: Settings,
        listeners: Vec<ListenerRules>,
        shards: usize,
        seed: &mut Seed,
    ) -> Arc<Self> {
        let router = Router::new(seed.draw(), settings.overlapping);
        Arc::new(Self {
            generations: Arc::clone(router.generations()),
            router: RwLock::new(router),
            retained: Retained::new(
                seed.draw(),
                settings.retained_messages_max,
                settings.retained_bytes_max,
                |message| message.size(),
            ),
            registry: Registry::new(seed.draw()),
            settings,
            listeners,
            counters: (0..shards).map(|_| Counters::default()).collect(),
            numbers: AtomicU64::new(0),
            stored: StoredNumbers::new(shards),
            resident_bytes: AtomicU64::new(0),
            users_generation: AtomicU64::new(0),
            store_state: Mutex::new(None),
        })
    }

    /// The first of that many numbers that nothing else has.
    pub(crate) fn take_numbers(&self, count: u64) -> u64 {
        self.numbers.fetch_add(count, Ordering::Relaxed) + 1
    }

    /// The counters of all shards.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.counters)
    }

    /// Whether all queues together are full.
    pub fn queues_are_full(&self) -> bool {
        let of = |bytes: fn(&Counters) -> u64| self.counters.iter().map(bytes).sum::<u64>();
        of(|counters| counters.queued_bytes.get()) >= self.settings.queued_bytes_total_max
            || of(|counters| counters.queued_memory_bytes.get()) >= self.settings.queued_memory_bytes_max
    }
}
