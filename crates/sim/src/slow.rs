//! A store that keeps everything in memory and ends batches late, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_broker::{Batch, Change, Load, Page, Store, StoreEvent};
use martlet_session::{Found, Key, Loaded, Now, Queued};
use parking_lot::Mutex;

/// The store of all shards.
#[derive(Debug)]
pub(crate) struct SlowStore {
    shards: Vec<Lane>,
    log: Vec<Change>,
    /// Batches end in any order.
    fails: bool,
}

/// What a shard has submitted, and what it is to be told.
#[derive(Debug, Default)]
struct Lane {
    open: VecDeque<Batch>,
    ended: VecDeque<StoreEvent>,
}

/// A shard's end of it.
#[derive(Debug)]
pub(crate) struct SlowHandle {
    shard: usize,
    store: Arc<Mutex<SlowStore>>,
}

impl SlowStore {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            shards: (0..shards).map(|_| Lane::default()).collect(),
            log: Vec::new(),
            fails: false,
        }
    }

    pub(crate) fn handle(store: &Arc<Mutex<Self>>, shard: u16) -> SlowHandle {
        SlowHandle {
            shard: usize::from(shard),
            store: Arc::clone(store),
        }
    }

    /// From now on batches fail, or no longer do.
    pub(crate) fn set_failing(&mut self, fails: bool) {
        self.fails = fails;
    }

    /// Ends one batch of a shard; whether there is anything to be told, a page that was asked for too.
    pub(crate) fn end_one(&mut self, shard: u16) -> bool {
        let lane = &mut self.shards[usize::from(shard)];
        let Some(batch) = lane.open.pop_front() else {
            return !lane.ended.is_empty();
        };
        let end = if self.fails {
            StoreEvent::Failed
        } else {
            self.log.extend(batch.changes);
            StoreEvent::Durable
        };
        lane.ended.extend(batch.ticket.map(end));
        true
    }

    fn find(&self, key: Key) -> Option<Queued> {
        let open = self.shards.iter().flat_map(|lane| &lane.open);
        let open = open.flat_map(|batch| &batch.changes);
        self.log.iter().chain(open).find_map(|change| match change {
            Change::Queued { message, recipients } => recipients
                .iter()
                .find(|recipient| recipient.key == key)
                .map(|recipient| recipient.queued(message)),
            _ => None,
        })
    }
}

impl Store for SlowHandle {
    fn keeps(&self) -> bool {
        true
    }

    fn submit(&mut self, _: Now, batch: Batch) {
        self.store.lock().shards[self.shard].open.push_back(batch);
    }

    fn flush(&mut self) {}

    fn has_room(&self) -> bool {
        true
    }

    fn load(&mut self, load: Load) {
        let mut store = self.store.lock();
        let found = load.keys.iter().map(|key| Loaded {
            key: *key,
            found: store.find(*key).map_or(Found::Nothing, Found::Message),
        });
        let page = Page {
            purpose: load.purpose,
            messages: found.collect(),
        };
        store.shards[self.shard].ended.push_back(StoreEvent::Page(page));
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        self.store.lock().shards[self.shard].ended.pop_front()
    }
}
