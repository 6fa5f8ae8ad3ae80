//! The door through which state leaves, durable before it is promised.
//!
//! A shard submits what must survive as one [`Batch`] under a ticket; what promises it (PUBACK, PUBREC,
//! PUBCOMP, and SUBACK, UNSUBACK and CONNACK of stored sessions) waits for the ticket.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_codec::{FilterBuf, PacketId, SubscribeOptions, TopicBuf};
use martlet_session::{Message, Ticket};

use crate::seed::Seed;

/// Where the state of sessions is kept.
pub trait Store: Send {
    /// Whether anything outlives the process. If not, no batch is made and nothing waits.
    fn keeps(&self) -> bool;

    /// Takes a batch. Its end is told by `poll`, in any order.
    fn submit(&mut self, ticket: Ticket, batch: Batch);

    /// The next batch that came to an end.
    fn poll(&mut self) -> Option<StoreEvent>;
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreEvent {
    /// It survives from now on.
    Durable(Ticket),
    /// It could not be kept; nothing that it holds was.
    Failed(Ticket),
}

/// Changes that belong together: all of them survive, or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// In their order.
    pub changes: Vec<Change>,
}

/// One change of what is stored.
#[derive(Debug)]
pub enum Change {
    /// A message for stored sessions.
    Queued {
        /// The message.
        message: Arc<Message>,
    },
    /// The retained message of a topic.
    Retained {
        /// The message.
        message: Arc<Message>,
        /// Its version; the highest wins.
        version: u64,
    },
    /// A topic has no retained message any more.
    Cleared {
        /// The topic.
        topic: TopicBuf,
        /// The version of the clearing message.
        version: u64,
    },
    /// A message of QoS 2 came.
    Received {
        /// From this client.
        client_id: Arc<str>,
        /// With this identifier.
        id: PacketId,
    },
    /// PUBREL came.
    Released {
        /// From this client.
        client_id: Arc<str>,
        /// With this identifier.
        id: PacketId,
    },
    /// A session began or goes on.
    Opened {
        /// Of this client.
        client_id: Arc<str>,
        /// It outlives its connection by that many seconds.
        expiry_s: u32,
        /// Whether an old one was dropped.
        clean: bool,
        /// What is published when the connection is lost.
        will: Option<Arc<Message>>,
    },
    /// A session has a subscription.
    Subscribed {
        /// Of this client.
        client_id: Arc<str>,
        /// With this filter.
        filter: FilterBuf,
        /// With these options.
        options: SubscribeOptions,
        /// And this identifier.
        identifier: Option<u32>,
    },
    /// A session has a subscription no more.
    Unsubscribed {
        /// Of this client.
        client_id: Arc<str>,
        /// With this filter.
        filter: FilterBuf,
    },
}

/// State is memory: nothing waits, and all is lost at exit.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn keeps(&self) -> bool {
        false
    }

    fn submit(&mut self, _: Ticket, _: Batch) {
        unreachable!("nothing is submitted to a store that keeps nothing")
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        None
    }
}

/// For tests: ends batches late, out of order, and some of them badly. It keeps what was submitted
/// in memory, as a journal would on a disk.
#[derive(Debug)]
pub struct DelayedStore {
    open: Vec<(Ticket, Batch)>,
    ended: VecDeque<StoreEvent>,
    seed: Seed,
    fails: bool,
    log: Vec<Change>,
}

impl DelayedStore {
    /// Ends batches in an order that the seed decides.
    pub fn new(seed: u64) -> Self {
        Self {
            open: Vec::new(),
            ended: VecDeque::new(),
            seed: Seed::new(seed),
            fails: false,
            log: Vec::new(),
        }
    }

    /// From now on batches fail, or no longer do.
    pub fn set_failing(&mut self, fails: bool) {
        self.fails = fails;
    }

    /// Ends one of the open batches; `false`: there is none.
    pub fn end_one(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let index = (self.seed.draw() % self.open.len() as u64) as usize;
        let (ticket, batch) = self.open.swap_remove(index);
        if self.fails {
            self.ended.push_back(StoreEvent::Failed(ticket));
        } else {
            self.log.extend(batch.changes);
            self.ended.push_back(StoreEvent::Durable(ticket));
        }
        true
    }

    /// What survived, in the order in which it did.
    pub fn log(&self) -> &[Change] {
        &self.log
    }
}

impl Store for DelayedStore {
    fn keeps(&self) -> bool {
        true
    }

    fn submit(&mut self, ticket: Ticket, batch: Batch) {
        self.open.push((ticket, batch));
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        self.ended.pop_front()
    }
}

/// A store behind a lock, so that a test can hold on to the one that it hands to a shard.
impl<S: Store> Store for Arc<parking_lot::Mutex<S>> {
    fn keeps(&self) -> bool {
        self.lock().keeps()
    }

    fn submit(&mut self, ticket: Ticket, batch: Batch) {
        self.lock().submit(ticket, batch);
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        self.lock().poll()
    }
}
