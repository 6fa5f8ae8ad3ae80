//! Opening a store: what was stored when it ended, ready for the shards.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::{HashMap, HashSet};
use martlet_broker::{RestoredSession, Shared, StoredSession, StoredSubscription};
use martlet_codec::{PacketId, TopicBuf};
use martlet_journal::{Disk, Journal, Place, Report};
use martlet_session::{Key, Message, Now, Number};

use crate::clock::Reading;
use crate::engine::Engine;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::index::{Index, Map};
use crate::limits::Limits;
use crate::loader::{Loader, What};
use crate::record::{self, FORMAT, IdentifierRecord, Name, Times, kind};

/// What was stored.
#[derive(Debug, Default)]
pub struct Restored {
    /// The time that the store shows now. From here on it goes on with the monotonic clock.
    pub wall_ms: u64,
    /// Sessions in the order in which they began; of each client identifier one, beside those that are over.
    pub sessions: Vec<RestoredSession>,
    /// Retained messages, of each topic one.
    pub retained: Vec<RestoredRetained>,
    /// The highest number in use.
    pub highest: u64,
    /// Records that make no sense to this version. They are left out.
    pub unknown: u64,
}

/// A retained message.
#[derive(Debug)]
pub struct RestoredRetained {
    /// The message.
    pub message: Arc<Message>,
    /// Its version.
    pub version: u64,
    /// When it goes, on the monotonic clock.
    pub expires_at_ms: Option<u64>,
}

impl Restored {
    /// Puts what shards have in common where it belongs; what is left are the sessions, each for one shard.
    pub fn share(self, shared: &Shared) -> Vec<RestoredSession> {
        shared.numbers.store(self.highest, Ordering::Relaxed);
        for RestoredRetained {
            message,
            version,
            expires_at_ms,
        } in self.retained
        {
            let topic = message.topic.clone();
            shared
                .retained
                .set(topic.as_topic(), message, version, expires_at_ms);
        }
        self.sessions
    }
}

/// What is being put together.
#[derive(Debug, Default)]
struct Sorted {
    /// In the order of their numbers, once all are here.
    sessions: Vec<RestoredSession>,
    /// Of each message: its session, its bytes and whether it came by a shared subscription.
    messages: Vec<(u64, Key, usize, bool)>,
    subscriptions: Vec<StoredSubscription>,
    received: Vec<(u64, PacketId)>,
    sent: Vec<IdentifierRecord>,
    retained: Vec<RestoredRetained>,
    links: Map<u64, u32>,
    retained_links: Vec<(u64, u64, Option<u64>)>,
    bodies: Map<u64, u32>,
    clock: Option<Reading>,
    format: Option<u64>,
    highest: u64,
}

impl<D: Disk> Engine<D> {
    /// Opens the store in a folder, or begins one in an empty folder. `now` has the clock of the system; the time that
    /// the store shows is in what is returned, and holds for all that is submitted later. `salt` is a number that
    /// strangers cannot guess.
    pub fn open(
        disk: D,
        limits: Limits,
        salt: u32,
        now: Now,
        exchange: Arc<Exchange>,
    ) -> Result<(Self, Restored, Report), Error> {
        let mut loader = Loader::default();
        let (mut journal, report) = Journal::open(disk, limits.journal, salt, &mut loader)?;
        let unknown = loader.unknown;
        let mut index = Index::default();
        let mut sorted = Sorted::default();
        let rest = loader.fill(&mut index, |name, what| sorted.take(name, what));
        let unreadable = sorted.take_unread(&mut journal, rest.unread);
        if let Some(format) = sorted.format {
            record::may_read(format, &report)?;
        }
        let system_ms = now.wall_ms;
        let wall_ms = sorted.clock.map_or(system_ms, |clock| clock.at(system_ms));
        let times = Times::at(Now { wall_ms, ..now });
        for (version, body, _) in &sorted.retained_links {
            index.set_body_of(*version, *body);
        }
        let mut engine = Self::new(journal, index, limits, times, exchange);
        let has_format = sorted.format.is_some_and(|format| format <= FORMAT);
        let mut restored = engine.put_together(sorted, wall_ms);
        restored.unknown = unknown;
        engine.snapshots.unknown = unknown;
        for error in &unreadable {
            engine.count_unreadable(error);
        }
        engine.bury(rest.garbage);
        if !has_format {
            engine.put_own(Name::Format, kind::FORMAT, |out| {
                crate::bytes::Writer(out).number(FORMAT);
            });
        }
        engine.clock_set(wall_ms, system_ms);
        Ok((engine, restored, report))
    }

    fn put_together(&mut self, mut sorted: Sorted, wall_ms: u64) -> Restored {
        let mut restored = Restored {
            wall_ms,
            highest: sorted.highest,
            ..Restored::default()
        };
        let mut dead = sorted.replaced();
        dead.extend(sorted.spread());
        // Bodies that nobody has a link to any more.
        for (body, links) in &sorted.links {
            self.index.set_links(*body, *links);
        }
        let unused = sorted
            .bodies
            .keys()
            .filter(|body| !sorted.links.contains_key(*body));
        dead.extend(unused.map(|body| Name::Body(*body)));
        dead.extend(self.load_retained(&mut sorted));
        self.delete_all(&dead);
        let mut payload = Vec::new();
        let sent = std::mem::take(&mut sorted.sent);
        for identifier in sent {
            let Some(session) = session_mut(&mut sorted.sessions, identifier.session) else {
                continue;
            };
            let queued = identifier.key.and_then(|key| {
                let mut queued = self.read_queued(key, &mut payload)?;
                queued.resent = true;
                Some(queued)
            });
            session.sent.push((identifier.id, queued));
        }
        restored.sessions = sorted.sessions;
        restored.retained = sorted.retained;
        restored
    }

    /// Reads the bodies of retained messages, and finds those that a later one has taken the place of.
    fn load_retained(&mut self, sorted: &mut Sorted) -> Vec<Name> {
        let times = self.times;
        for retained in &mut sorted.retained {
            retained.expires_at_ms = retained.expires_at_ms.map(|at| times.mono(at));
            if let Some(message) = Arc::get_mut(&mut retained.message) {
                message.expires_at_ms = message.expires_at_ms.map(|at| times.mono(at));
            }
        }
        let mut payload = Vec::new();
        let mut dead = Vec::new();
        for (version, body, expires_at_ms) in std::mem::take(&mut sorted.retained_links) {
            match self.read_body(body, &mut payload) {
                Some(message) => sorted.retained.push(RestoredRetained {
                    message: Arc::new(Message {
                        number: Number::default(),
                        ..message
                    }),
                    version,
                    expires_at_ms: expires_at_ms.map(|at| times.mono(at)),
                }),
                None => dead.push(Name::RetainedLink(version)),
            }
        }
        let mut latest: HashMap<TopicBuf, u64, foldhash::fast::RandomState> = HashMap::default();
        for retained in &sorted.retained {
            let version = latest.entry(retained.message.topic.clone()).or_default();
            *version = retained.version.max(*version);
        }
        sorted.retained.retain(|retained| {
            let stays = latest.get(&retained.message.topic) == Some(&retained.version);
            if !stays {
                dead.push(Name::Retained(retained.version));
                dead.push(Name::RetainedLink(retained.version));
            }
            stays
        });
        dead
    }
}

impl Sorted {
    fn take(&mut self, name: Name, what: What) {
        let number = match name {
            Name::Session(number) | Name::Subscription(number) | Name::Body(number) => number,
            Name::Message(key) => key.number(),
            Name::Received(session, _) | Name::Sent(session, _) => session,
            Name::Retained(_) | Name::RetainedLink(_) | Name::Clock | Name::Format => 0,
        };
        self.highest = self.highest.max(number);
        match what {
            What::Session(session) => {
                self.highest = self.highest.max(session.sent_up_to);
                let restored = RestoredSession {
                    session: *session,
                    subscriptions: Vec::new(),
                    queue: Vec::new(),
                    queue_bytes: 0,
                    has_shared: false,
                    received: Vec::new(),
                    sent: Vec::new(),
                };
                self.sessions.push(restored);
            }
            What::Subscription(subscription) => self.subscriptions.push(*subscription),
            What::Message {
                session,
                size,
                is_shared,
            } => {
                let Name::Message(key) = name else { return };
                if size.is_none() {
                    *self.links.entry(key.number()).or_default() += 1;
                }
                self.messages
                    .push((session, key, size.unwrap_or(0) as usize, is_shared));
            }
            What::Body { size } => {
                self.bodies.insert(number, size);
            }
            What::Retained(retained) => {
                let Name::Retained(version) = name else { return };
                let (message, expires_at_ms) = *retained;
                self.retained.push(RestoredRetained {
                    message: Arc::new(message),
                    version,
                    expires_at_ms,
                });
            }
            What::RetainedLink { body, expires_at_ms } => {
                let Name::RetainedLink(version) = name else { return };
                *self.links.entry(body).or_default() += 1;
                self.retained_links.push((version, body, expires_at_ms));
            }
            What::Received { session, id } => self.received.push((session, id)),
            What::Sent(identifier) => {
                self.highest = self.highest.max(identifier.order);
                self.sent.push(*identifier);
            }
            What::Clock(reading) => self.clock = Some(reading),
            What::Format(format) => self.format = Some(format),
            What::Unread | What::Nothing => {}
        }
    }

    /// Takes retained messages of which the snapshot knew only where they are. Returns why some of them cannot be read.
    fn take_unread<D: Disk>(
        &mut self,
        journal: &mut Journal<D>,
        places: Vec<Place>,
    ) -> Vec<martlet_journal::Error> {
        let (mut buffer, mut errors) = (Vec::new(), Vec::new());
        let reader = journal.records_reader(places);
        reader.read(&mut buffer, |_, record| match record {
            Ok(record) => {
                if let Some((name, what)) = Loader::read(&record) {
                    self.take(name, what);
                }
            }
            Err(error) => errors.push(error),
        });
        errors
    }

    /// Sessions that gave way to a later one of the same client, which was to be their end.
    fn replaced(&mut self) -> Vec<Name> {
        self.sessions
            .sort_unstable_by_key(|restored| restored.session.number);
        let mut seen: HashSet<&str, foldhash::fast::RandomState> = HashSet::default();
        seen.reserve(self.sessions.len());
        let mut dead = Vec::new();
        for restored in self.sessions.iter().rev() {
            let StoredSession {
                number,
                client_id,
                is_over,
                ..
            } = &restored.session;
            if !is_over && !seen.insert(client_id) {
                dead.push(*number);
            }
        }
        drop(seen);
        dead.reverse();
        self.sessions
            .retain(|restored| dead.binary_search(&restored.session.number).is_err());
        dead.into_iter().map(Name::Session).collect()
    }

    /// Gives sessions what is theirs. What belongs to none goes.
    fn spread(&mut self) -> Vec<Name> {
        let mut dead = Vec::new();
        for subscription in std::mem::take(&mut self.subscriptions) {
            match session_mut(&mut self.sessions, subscription.session) {
                Some(session) => session.subscriptions.push(subscription),
                None => dead.push(Name::Subscription(subscription.number)),
            }
        }
        for (session, id) in std::mem::take(&mut self.received) {
            match session_mut(&mut self.sessions, session) {
                Some(session) => session.received.push(id),
                None => dead.push(Name::Received(session, id)),
            }
        }
        self.sent.sort_unstable_by_key(|sent| sent.order);
        let mut under_way: Vec<_> = self.sent.iter().filter_map(|sent| sent.key).collect();
        under_way.sort_unstable();
        for sent in &self.sent {
            if session_mut(&mut self.sessions, sent.session).is_none() {
                dead.push(Name::Sent(sent.session, sent.id));
            }
        }
        let mut messages = std::mem::take(&mut self.messages);
        messages.sort_unstable_by_key(|(session, key, ..)| (*session, *key));
        for of_session in messages.chunk_by(|a, b| a.0 == b.0) {
            let Some(session) = session_mut(&mut self.sessions, of_session[0].0) else {
                dead.extend(of_session.iter().map(|(_, key, ..)| Name::Message(*key)));
                continue;
            };
            session.queue.reserve_exact(of_session.len());
            for (_, key, size, is_shared) in of_session {
                if under_way.binary_search(key).is_ok() {
                    continue;
                }
                let size = match size {
                    0 => self.bodies.get(&key.number()).map_or(0, |size| *size as usize),
                    size => *size,
                };
                session.queue.push(*key);
                session.queue_bytes += size;
                session.has_shared |= is_shared;
            }
        }
        dead
    }
}

/// A session, by its number.
fn session_mut(sessions: &mut [RestoredSession], number: u64) -> Option<&mut RestoredSession> {
    let at = sessions.binary_search_by_key(&number, |restored| restored.session.number);
    sessions.get_mut(at.ok()?)
}
