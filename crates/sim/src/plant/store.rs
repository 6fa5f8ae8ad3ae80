//! Stores that misbehave.

use std::collections::{BTreeSet, VecDeque};

use martlet_broker::{Batch, Change, Load, Store, StoreEvent};
use martlet_session::{Now, Ticket};

use super::Bug;

/// The store of a shard with a bug in front of it.
struct Planted {
    store: Box<dyn Store>,
    bug: Bug,
    /// Tickets whose batches have not ended.
    open: BTreeSet<Ticket>,
    /// What is told although the store did not tell it.
    told: VecDeque<StoreEvent>,
    messages: u64,
}

/// Of so many messages one record is forgotten.
const FORGETS_ONE_IN: u64 = 5;

/// The store of a shard, as it is or with a bug in front of it.
pub(crate) fn wrap(store: Box<dyn Store>, bug: Option<Bug>) -> Box<dyn Store> {
    match bug {
        Some(bug) => Box::new(Planted {
            store,
            bug,
            open: BTreeSet::new(),
            told: VecDeque::new(),
            messages: 0,
        }),
        None => store,
    }
}

impl Planted {
    fn is_kept(&self, change: &Change) -> bool {
        !matches!(
            (self.bug, change),
            (Bug::UnsubscribeNotStored, Change::Unsubscribed { .. })
                | (Bug::ReceivedNotStored, Change::Received { .. })
                | (Bug::SendingNotStored, Change::Sending { .. })
        )
    }

    /// Adds the death of what was just stored, now and then.
    fn forget_record(&mut self, batch: &mut Batch) {
        let mut forgotten = Vec::new();
        for change in &batch.changes {
            if let Change::Queued { recipients, .. } = change {
                self.messages += 1;
                if self.messages.is_multiple_of(FORGETS_ONE_IN) {
                    forgotten.extend(
                        recipients
                            .iter()
                            .map(|recipient| Change::Done { key: recipient.key }),
                    );
                }
            }
        }
        batch.changes.extend(forgotten);
    }
}

impl Store for Planted {
    fn keeps(&self) -> bool {
        self.store.keeps()
    }

    fn submit(&mut self, now: Now, mut batch: Batch) {
        let changes = std::mem::take(&mut batch.changes);
        batch.changes = changes
            .into_iter()
            .filter(|change| self.is_kept(change))
            .collect();
        if self.bug == Bug::RecordForgotten {
            self.forget_record(&mut batch);
        }
        if let Some(ticket) = batch.ticket {
            self.open.insert(ticket);
            if self.bug == Bug::AckBeforeSync {
                self.told.push_back(StoreEvent::Durable(ticket));
            }
        }
        self.store.submit(now, batch);
    }

    fn flush(&mut self) {
        self.store.flush();
    }

    fn has_room(&self) -> bool {
        self.store.has_room()
    }

    fn refuses(&self) -> bool {
        self.store.refuses()
    }

    fn load(&mut self, load: Load) {
        self.store.load(load);
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        loop {
            if let Some(event) = self.told.pop_front() {
                if let StoreEvent::Durable(ticket) = event {
                    self.open.remove(&ticket);
                }
                return Some(event);
            }
            let event = self.store.poll()?;
            let (StoreEvent::Durable(ticket) | StoreEvent::Failed(ticket)) = event else {
                return Some(event);
            };
            // One that was told before is not told again.
            if !self.open.remove(&ticket) {
                continue;
            }
            if self.bug == Bug::WrongSync {
                let others = std::mem::take(&mut self.open);
                self.open.clone_from(&others);
                self.told.extend(others.into_iter().map(StoreEvent::Durable));
            }
            return Some(event);
        }
    }
}
