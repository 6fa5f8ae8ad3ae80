//! The door through which state leaves, durable before it is promised.
//!
//! A shard submits what must survive as one [`Batch`] under a ticket; what promises it (PUBACK, PUBREC,
//! PUBCOMP, and SUBACK, UNSUBACK and CONNACK of stored sessions) waits for the ticket.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_codec::{FilterBuf, PacketId, Qos, SubscribeOptions};
use martlet_session::{Found, Key, Loaded, Message, Now, Queued, Ticket};

use crate::router::SessionRef;
use crate::seed::Seed;
use crate::will::StoredWill;

/// Where the state of sessions is kept.
pub trait Store: Send {
    /// Whether anything outlives the process. If not, no batch is made and nothing waits.
    fn keeps(&self) -> bool;

    /// Takes a batch. Those of one shard are kept in their order, and each as a whole or not at all. If it has a
    /// ticket, its end is told by `poll`: those that are durable in the order in which
    /// they were submitted, refusals at any time.
    fn submit(&mut self, now: Now, batch: Batch);

    /// All batches of this turn have been submitted.
    fn flush(&mut self);

    /// Whether another batch may be submitted that somebody waits for. If not, `Input::Room` follows.
    fn has_room(&self) -> bool;

    /// Whether a batch that puts something would be refused now: the disk is full, or has failed. Who asks before
    /// anything is done keeps what is refused from having half happened.
    fn refuses(&self) -> bool {
        false
    }

    /// Loads messages from the store; they come as a page, by `poll`.
    fn load(&mut self, load: Load);

    /// The next thing that came to an end.
    fn poll(&mut self) -> Option<StoreEvent>;
}

/// What came to an end.
#[derive(Debug)]
pub enum StoreEvent {
    /// The batch survives what it is to survive, from now on.
    Durable(Ticket),
    /// The batch could not be kept; nothing that it holds was.
    Failed(Ticket),
    /// Messages were loaded.
    Page(Page),
}

/// What a batch must survive before its ticket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Durability {
    /// Nothing: what it promises is promised at once.
    None,
    /// The end of the process, however it comes: the system has it.
    Os,
    /// A power cut: the disk has it.
    #[default]
    Fsync,
}

/// What becomes of what is submitted, for those who watch a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It is kept.
    Keeps,
    /// There is no room for what is new.
    Refuses,
    /// Nothing is kept until the broker is started again.
    Failed,
}

impl StoreState {
    /// As a line of the log and `$SYS` say it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Keeps => "what must be stored is",
            Self::Refuses => "messages that must be stored are refused (0x97)",
            Self::Failed => "nothing is stored any more, and nothing that must be stored is acknowledged",
        }
    }

    /// What to do about it.
    pub const fn fix(self) -> Option<&'static str> {
        match self {
            Self::Keeps => None,
            Self::Refuses => Some("make room; it goes on by itself"),
            Self::Failed => {
                Some("look at the disk, then start the broker again: it keeps what was acknowledged")
            }
        }
    }

    /// In a word.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Keeps => "keeps",
            Self::Refuses => "refuses",
            Self::Failed => "failed",
        }
    }
}

/// Messages to load.
#[derive(Debug)]
pub struct Load {
    /// Whom they are for.
    pub purpose: Purpose,
    /// Their keys, in the order in which they are wanted.
    pub keys: Vec<Key>,
}

/// Why messages are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// They are next in the queue of this session.
    Queue(SessionRef),
    /// They were left by the session that was stored under this number, and other members of its groups get them.
    PassOn(u64),
}

/// Messages that were loaded: the first of those that were asked for, at least one.
#[derive(Debug)]
pub struct Page {
    /// As of the load.
    pub purpose: Purpose,
    /// In the order in which they were asked for.
    pub messages: Vec<Loaded>,
}

/// Changes that belong together: all of them survive, or none.
#[derive(Debug, Default)]
pub struct Batch {
    /// Who waits for it, if anybody does.
    pub ticket: Option<Ticket>,
    /// What it must survive before that ticket ends.
    pub durability: Durability,
    /// In their order.
    pub changes: Vec<Change>,
    /// It tells what has happened already, so what it deletes goes even if the rest of it is refused.
    pub is_loose: bool,
}

/// One change of what is stored. Sessions are named by the numbers that they are stored under.
#[derive(Debug)]
pub enum Change {
    /// A message for stored sessions.
    Queued {
        /// The message, which knows its number.
        message: Arc<Message>,
        /// Whom it is for.
        recipients: Vec<Recipient>,
    },
    /// A session needs a message no more.
    Done {
        /// What it was stored as for this session.
        key: Key,
    },
    /// The retained message of a topic.
    Retained {
        /// The message.
        message: Arc<Message>,
        /// Its version; the highest wins.
        version: u64,
        /// When it goes, on the monotonic clock.
        expires_at_ms: Option<u64>,
        /// The versions that it takes the place of; not all of them must have been stored.
        replaces: Vec<u64>,
    },
    /// A topic has no retained message any more.
    Cleared {
        /// The versions that it had; not all of them must have been stored.
        versions: Vec<u64>,
    },
    /// A message of QoS 2 came.
    Received {
        /// From this session.
        session: u64,
        /// With this identifier.
        id: PacketId,
    },
    /// PUBREL came.
    Released {
        /// From this session.
        session: u64,
        /// With this identifier.
        id: PacketId,
    },
    /// A message of QoS 2 goes out.
    Sending {
        /// To this session.
        session: u64,
        /// With this identifier.
        id: PacketId,
        /// The message, if it is a stored one.
        key: Option<Key>,
        /// What is sent later has a higher one.
        order: u64,
    },
    /// PUBREC came; its message is done with, and PUBREL goes out.
    Releasing {
        /// To this session.
        session: u64,
        /// With this identifier.
        id: PacketId,
        /// The message, if it is a stored one.
        key: Option<Key>,
        /// What is released later has a higher one.
        order: u64,
    },
    /// The exchange of QoS 2 with this identifier is over.
    Completed {
        /// With this session.
        session: u64,
        /// Of this identifier.
        id: PacketId,
    },
    /// A session as it is now, in place of what was stored under its number.
    Session(StoredSession),
    /// A session is over, with all that it had.
    Ended {
        /// Its number.
        number: u64,
        /// The numbers of its subscriptions.
        subscriptions: Vec<u64>,
        /// Its messages.
        keys: Vec<Key>,
        /// Identifiers of QoS 2 that its client had not released.
        received: Vec<PacketId>,
        /// Identifiers of QoS 2 that were under way to its client.
        sent: Vec<PacketId>,
    },
    /// A session has a subscription, in place of what was stored under its number.
    Subscribed(StoredSubscription),
    /// A session has a subscription no more.
    Unsubscribed {
        /// The number of the subscription.
        number: u64,
    },
}

impl Change {
    /// A session is over. What it had is told elsewhere, or found without a session at the next start.
    pub(crate) fn ended(number: u64) -> Self {
        Self::Ended {
            number,
            subscriptions: Vec::new(),
            keys: Vec::new(),
            received: Vec::new(),
            sent: Vec::new(),
        }
    }
}

/// A stored session to which a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its number.
    pub session: u64,
    /// What the message is stored as for it.
    pub key: Key,
    /// The QoS to send it at.
    pub qos: Qos,
    /// The RETAIN to send it with.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: Box<[u32]>,
    /// The filter of the shared subscription that it comes by.
    pub shared: Option<Arc<str>>,
    /// It may have been sent to the session before, so it says DUP.
    pub resent: bool,
}

impl Recipient {
    /// The message as it waits for this session.
    pub fn queued(&self, message: &Arc<Message>) -> Queued {
        Queued {
            message: Arc::clone(message),
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.subscription_ids.clone(),
            shared: self.shared.clone(),
            replay: false,
            resent: self.resent,
            at: self.key.at(),
        }
    }
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its number.
    pub number: u64,
    /// The client identifier.
    pub client_id: Arc<str>,
    /// It outlives its connection by that many seconds.
    pub expiry_s: u32,
    /// Whether it has ended, and only what came by shared subscriptions is to be passed on.
    pub is_over: bool,
    /// Since when its client is away, in wall time; none: it is connected.
    pub away_since_ms: Option<u64>,
    /// Messages with numbers up to this one may have been sent to its client before it went.
    pub sent_up_to: u64,
    /// What is published when its connection is lost.
    pub will: Option<StoredWill>,
}

/// A subscription as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Its number.
    pub number: u64,
    /// Whose it is.
    pub session: u64,
    /// Its filter.
    pub filter: FilterBuf,
    /// Its options, with the QoS that was granted.
    pub options: SubscribeOptions,
    /// Its identifier.
    pub identifier: Option<u32>,
}

/// A session as it was found when a broker starts.
#[derive(Debug)]
pub struct RestoredSession {
    /// What is stored of itself.
    pub session: StoredSession,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// The messages that wait for it, oldest first.
    pub queue: Vec<Key>,
    /// Their bytes in memory, if they were there.
    pub queue_bytes: usize,
    /// Whether some of them came by a shared subscription.
    pub has_shared: bool,
    /// Identifiers of QoS 2 that its client has not released.
    pub received: Vec<PacketId>,
    /// What was under way to its client at QoS 2, in the order in which it went; none: PUBREL is due.
    pub sent: Vec<(PacketId, Option<Queued>)>,
}

/// State is memory: nothing waits, and all is lost at exit.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn keeps(&self) -> bool {
        false
    }

    fn submit(&mut self, _: Now, _: Batch) {
        unreachable!("nothing is submitted to a store that keeps nothing")
    }

    fn flush(&mut self) {}

    fn has_room(&self) -> bool {
        true
    }

    fn load(&mut self, _: Load) {
        unreachable!("nothing is in a store that keeps nothing")
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        None
    }
}

/// For tests: ends batches late, out of order, and some of them badly. It keeps what was submitted
/// in memory, as a journal would on a disk.
#[derive(Debug)]
pub struct DelayedStore {
    open: Vec<Batch>,
    ended: VecDeque<StoreEvent>,
    seed: Seed,
    fails: bool,
    refuses: bool,
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
            refuses: false,
            log: Vec::new(),
        }
    }

    /// From now on batches fail, or no longer do.
    pub fn set_failing(&mut self, fails: bool) {
        self.fails = fails;
    }

    /// From now on it says that what puts something is refused, or no longer does.
    pub fn set_refusing(&mut self, refuses: bool) {
        self.refuses = refuses;
    }

    /// Ends one of the open batches; `false`: there is none.
    pub fn end_one(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let index = (self.seed.draw() % self.open.len() as u64) as usize;
        let batch = self.open.swap_remove(index);
        let end = if self.fails {
            StoreEvent::Failed
        } else {
            self.log.extend(batch.changes);
            StoreEvent::Durable
        };
        self.ended.extend(batch.ticket.map(end));
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

    fn submit(&mut self, _: Now, batch: Batch) {
        self.open.push(batch);
    }

    fn flush(&mut self) {}

    fn has_room(&self) -> bool {
        true
    }

    fn refuses(&self) -> bool {
        self.refuses
    }

    /// Messages are those that were submitted.
    fn load(&mut self, load: Load) {
        let find = |key: Key| {
            let open = self.open.iter().flat_map(|batch| &batch.changes);
            self.log.iter().chain(open).find_map(|change| match change {
                Change::Queued { message, recipients } => recipients
                    .iter()
                    .find(|recipient| recipient.key == key)
                    .map(|recipient| recipient.queued(message)),
                _ => None,
            })
        };
        let messages = load.keys.iter().map(|key| Loaded {
            key: *key,
            found: find(*key).map_or(Found::Nothing, Found::Message),
        });
        self.ended.push_back(StoreEvent::Page(Page {
            purpose: load.purpose,
            messages: messages.collect(),
        }));
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

    fn submit(&mut self, now: Now, batch: Batch) {
        self.lock().submit(now, batch);
    }

    fn flush(&mut self) {
        self.lock().flush();
    }

    fn has_room(&self) -> bool {
        self.lock().has_room()
    }

    fn refuses(&self) -> bool {
        self.lock().refuses()
    }

    fn load(&mut self, load: Load) {
        self.lock().load(load);
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        self.lock().poll()
    }
}
