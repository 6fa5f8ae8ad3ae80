//! A shard: some of the connections, and the sessions that belong to them.
//!
//! Nothing in here takes a lock but a miss of the route cache, retained messages, and the registry at connect.
//! Each file below is one part of what a shard does: `incoming`, `login`, `identity`, `connect`, `publish`, `deliver`,
//! `subscribe`, `subscribing`, `unsubscribing`, `ending`, `leaving`, `lingering`, `held`, `commit`, `keep`, `restore` and `time`.

mod commit;
mod connect;
mod deliver;
mod ending;
mod held;
mod identity;
mod incoming;
mod keep;
mod leaving;
mod lingering;
mod login;
mod publish;
mod restore;
mod subscribe;
mod subscribing;
mod time;
mod unsubscribing;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use martlet_codec::{Packet, TopicBuf};
use martlet_session::{Effect, Now, Output, Session, Tally, Ticket, Turn};

use crate::connection::{ClientId, ConnId, Connection, Peer, Phase};
use crate::counters::Counters;
use crate::event::Event;
use crate::login::{Login, Revoked, Verdict};
use crate::parcels::Parcels;
use crate::reason::Reason;
use crate::registry::{Keyed, keyed};
use crate::routes::Routes;
use crate::seed::Seed;
use crate::sessions::{Counted, Sessions};
use crate::shared::Shared;
use crate::store::Store;
use crate::sys::Sys;
use crate::timers::{Timer, Timers};

/// What happens to a shard.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came.
    Bytes(ConnId, &'a [u8]),
    /// The same, in a buffer with room in front of them: the start of a packet that came before is put there, so
    /// that nothing that was read is copied to be put together.
    Read {
        /// The connection.
        conn: ConnId,
        /// The room, and what was read.
        buffer: &'a mut [u8],
        /// Where what was read begins.
        start: usize,
    },
    /// Some of a connection's output was written: that many bytes.
    Wrote(ConnId, usize),
    /// The socket is gone; nothing is heard of this connection again.
    Closed(ConnId),
    /// Another shard has something for this one; it is taken out.
    Forwarded(&'a mut Parcels),
    /// Another shard has room again.
    Room,
    /// The store ended some batches, or loaded something.
    Stored,
    /// A login that was handed out is checked.
    Login(ConnId, Verdict),
    /// The users were read again, and some are gone or changed.
    Revoked(&'a Revoked),
    /// A deadline may be due.
    Time,
    /// The broker stops: wills of sessions that end with it go out while clients are still there.
    Stop,
    /// Each client is told and closed. Comes after `Stop`.
    DisconnectAll,
}

/// What a shard does to the world around it.
pub trait Sink {
    /// Writes what is in the output of a connection, then closes it; nothing of it is read any more.
    fn close(&mut self, conn: ConnId);
    /// The same for a client that has said goodbye: the socket need not stay open until it has read.
    fn hang_up(&mut self, conn: ConnId) {
        self.close(conn);
    }
    /// Moves a connection to another shard. It is gone here; open it there and hand in its bytes.
    fn relocate(&mut self, conn: ConnId, shard: u16, relocated: Relocated);
    /// Has a login checked; the verdict comes as [`Input::Login`]. `false`: too many wait already.
    fn check_login(&mut self, conn: ConnId, login: Login<'_>) -> bool;
    /// Whether another shard has room for a message.
    fn has_room(&self, shard: u16) -> bool;
    /// What this shard has for another, to add to. Room for QoS above 0 was asked for before.
    fn parcels(&mut self, shard: u16) -> &mut Parcels;
    /// Tells the log.
    fn event(&mut self, event: Event<'_>);
}

/// A connection on its way to the shard of its session.
#[derive(Debug)]
pub struct Relocated {
    /// Who is at the other end.
    pub peer: Peer,
    /// What it sent: its CONNECT, and maybe more.
    pub unread: Vec<u8>,
    /// The generation of the users by which its login was checked, to be handed to [`Shard::vouch`].
    pub vouched: Option<u64>,
    /// Who its certificate says that it is, to be handed to [`Shard::identify`].
    pub identity: Option<Box<str>>,
}

/// A shard of a broker.
pub struct Shard {
    index: u16,
    shared: Arc<Shared>,
    seed: Seed,
    /// Boxed: a slab that grows would leave as much behind as it has grown to.
    connections: slab::Slab<Box<Connection>>,
    generation: u32,
    sessions: Sessions,
    timers: Timers,
    routes: Routes,
    store: Box<dyn Store>,
    /// What the store says of itself, asked once.
    keeps: bool,
    next_ticket: u64,
    /// What waits for a commit.
    pending: Keyed<Ticket, commit::Pending>,
    held: held::Held,
    leaving: leaving::Leaving,
    subscribing: subscribing::Subscribing,
    unsubscribing: unsubscribing::Unsubscribing,
    /// What sessions did that is to be stored: empty between steps.
    effects: Vec<Effect>,
    loose: keep::Loose,
    passing: Keyed<u64, keep::Passing>,
    /// Changes of retained messages that wait for the store, by ticket: topic and version.
    retaining: Keyed<Ticket, (TopicBuf, u64)>,
    /// Messages with numbers up to this one were stored before the broker was started.
    restored_up_to: u64,
    lingering: lingering::Lingering,
    /// Bytes of stored messages that are in memory.
    window_bytes: usize,
    /// What of the messages of one queue may be in memory.
    window_bytes_max: usize,
    dirty: Vec<ConnId>,
    /// Connections that wait for room in another shard.
    parked: Vec<ConnId>,
    sys: Option<Sys>,
    /// Buffers that connections use only while they have something to write.
    buffers: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    tally: Tally,
    /// What sessions dropped while they were pumped, until the end of a turn: at most two entries a pump.
    drops: Vec<(ClientId, Reason, u32)>,
    /// The buffer that a large packet is decoded from: recipients may share parts of it.
    arriving: Option<Bytes>,
}

impl Shard {
    /// Shard number `index` of those that `shared` was made for.
    pub fn new(index: u16, shared: Arc<Shared>, store: Box<dyn Store>, mut seed: Seed, now: Now) -> Self {
        let mut timers = Timers::default();
        let mut sys = None;
        if index == 0 {
            if let Some(interval_ms) = shared.settings.sys_interval_ms {
                timers.add(now.mono_ms, Timer::Sys);
                sys = Some(Sys::new(now, interval_ms));
            }
            timers.add(now.mono_ms, Timer::Retained);
        }
        Self {
            index,
            connections: slab::Slab::new(),
            generation: 0,
            sessions: Sessions::new(index, seed.draw()),
            timers,
            routes: Routes::new(seed.draw(), shared.settings.routes_max),
            keeps: store.keeps(),
            store,
            next_ticket: 0,
            pending: keyed(seed.draw()),
            held: held::Held::new(seed.draw()),
            leaving: leaving::Leaving::default(),
            subscribing: subscribing::Subscribing::new(seed.draw()),
            unsubscribing: unsubscribing::Unsubscribing::new(seed.draw()),
            effects: Vec::new(),
            loose: keep::Loose::default(),
            passing: keyed(seed.draw()),
            retaining: keyed(seed.draw()),
            restored_up_to: 0,
            lingering: lingering::Lingering::new(seed.draw()),
            window_bytes: 0,
            window_bytes_max: shared.settings.session.window_bytes,
            dirty: Vec::new(),
            parked: Vec::new(),
            sys,
            buffers: Vec::new(),
            scratch: Vec::new(),
            tally: Tally::default(),
            drops: Vec::new(),
            arriving: None,
            seed,
            shared,
        }
    }

    /// A connection was accepted.
    pub fn open(&mut self, now: Now, peer: Peer) -> ConnId {
        let entry = self.connections.vacant_entry();
        let id = ConnId {
            index: entry.key() as u32,
            generation: self.generation,
        };
        self.generation = self.generation.wrapping_add(1);
        let deadline_ms = now.mono_ms + self.shared.settings.connect_timeout_ms;
        let connection = entry.insert(Box::new(Connection::new(id, peer, deadline_ms)));
        connection
            .armed
            .arm(deadline_ms, Timer::Connection(id), &mut self.timers);
        self.shared.listeners[usize::from(peer.listener)]
            .connections
            .fetch_add(1, Ordering::Relaxed);
        self.counters().sockets_opened.add(1);
        self.counters().sockets.add(1);
        id
    }

    /// Who is at the other end of a connection.
    pub fn peer(&self, conn: ConnId) -> Option<Peer> {
        let connection = self.connections.get(conn.index as usize);
        connection
            .filter(|connection| connection.id == conn)
            .map(|connection| connection.peer)
    }

    /// Tells the shard what happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>, sink: &mut impl Sink) {
        match input {
            Input::Bytes(conn, bytes) => self.bytes(now, conn, bytes, sink),
            Input::Read { conn, buffer, start } => self.read(now, conn, buffer, start, sink),
            Input::Wrote(conn, n) => self.wrote(now, conn, n),
            Input::Closed(conn) => self.closed(now, conn, sink),
            Input::Forwarded(parcels) => self.forwarded(now, parcels, sink),
            Input::Room => {
                for conn in std::mem::take(&mut self.parked) {
                    self.resume(now, conn, sink);
                }
            }
            Input::Stored => self.stored(now, sink),
            Input::Login(conn, verdict) => self.login_checked(now, conn, verdict, sink),
            Input::Revoked(revoked) => self.revoke(now, revoked, sink),
            Input::Time => self.time(now, sink),
            Input::Stop => self.stop(now, sink),
            Input::DisconnectAll => self.disconnect_all(now, sink),
        }
        self.flush_store(now);
        self.count_tally();
        if !self.drops.is_empty() {
            self.tell_drops(sink);
        }
    }

    /// When to hand in `Input::Time` next.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.timers.deadline_ms()
    }

    /// The connections that have something to write since they were last asked for, oldest first.
    pub fn take_dirty(&mut self, into: &mut impl Extend<ConnId>) {
        for conn in &self.dirty {
            if let Some(connection) = self.connections.get_mut(conn.index as usize)
                && connection.id == *conn
            {
                connection.dirty = false;
                into.extend([*conn]);
            }
        }
        self.dirty.clear();
    }

    /// What is to be written to a connection.
    pub fn output(&self, conn: ConnId) -> Option<&Output> {
        let connection = self
            .connections
            .get(conn.index as usize)
            .filter(|c| c.id == conn)?;
        let attached = connection.session().and_then(|index| {
            let slot = self.sessions.get(index);
            slot.session.link.as_ref().filter(|_| slot.conn == Some(conn))
        });
        attached
            .map(|link| &link.output)
            .or(connection.last_output.as_deref())
    }

    /// Whether the socket of a connection should be read. Not while its bytes wait for something else, nor
    /// while a client that knows no receive maximum has used up ours.
    pub fn wants_read(&self, conn: ConnId) -> bool {
        let Some(connection) = self.connections.get(conn.index as usize).filter(|c| c.id == conn) else {
            return false;
        };
        match connection.phase {
            Phase::Opening { .. } => true,
            Phase::Checking { .. } | Phase::Accepted { .. } => {
                connection.unread.len() <= self.shared.settings.early_bytes_max
            }
            Phase::Live { session } => {
                !connection.waits && !self.sessions.get(session).session.is_saturated()
            }
            Phase::Closing => false,
        }
    }

    /// A connection leaves the shard: closed, or to another one.
    fn remove_connection(&mut self, conn: ConnId) -> Connection {
        let connection = *self.connections.remove(conn.index as usize);
        if self.connections.is_empty() {
            self.connections.shrink_to_fit();
        }
        let listener = usize::from(connection.peer.listener);
        self.shared.listeners[listener]
            .connections
            .fetch_sub(1, Ordering::Relaxed);
        self.counters().sockets.sub(1);
        connection
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[usize::from(self.index)]
    }

    fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections
            .get_mut(conn.index as usize)
            .map(|connection| &mut **connection)
            .filter(|connection| connection.id == conn)
    }

    fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn.index as usize)
            && connection.id == conn
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(conn);
        }
    }

    fn wrote(&mut self, now: Now, conn: ConnId, n: usize) {
        self.counters().bytes_sent.add(n as u64);
        let Some(connection) = self.connection(conn) else {
            return;
        };
        let Some(index) = connection.session() else {
            if let Some(output) = &mut connection.last_output {
                output.advance(n);
            }
            return;
        };
        let slot = self.sessions.get_mut(index);
        let Some(link) = &mut slot.session.link else {
            return;
        };
        link.output.advance(n);
        if link.output.is_empty()
            && let Some(buffer) = link.output.take_buffer()
            && self.buffers.len() < BUFFERS_MAX
        {
            self.buffers.push(buffer);
        }
        if slot.session.has_waiting() {
            self.pump(now, index);
        }
    }

    /// Sends what waits in a session's queue, and keeps the books.
    fn pump(&mut self, now: Now, index: u32) {
        if self.sessions.get(index).session.link.is_none() {
            return;
        }
        self.with_turn(now, index, Session::pump);
        if self.sessions.get(index).session.number != 0 {
            self.load_more(index);
        }
        let slot = self.sessions.get_mut(index);
        let has_output = slot
            .session
            .link
            .as_ref()
            .is_some_and(|link| !link.output.is_empty());
        if let (true, Some(conn)) = (has_output, slot.conn) {
            self.mark_dirty(conn);
        }
        self.settle_books(index);
    }

    /// Lets a session do something, and keeps what is to be stored of it.
    #[inline]
    fn with_turn<R>(
        &mut self,
        now: Now,
        index: u32,
        act: impl FnOnce(&mut Session, &mut Turn<'_>) -> R,
    ) -> R {
        let slot = self.sessions.get_mut(index);
        if let Some(link) = &mut slot.session.link {
            link.output.lend_buffer(&mut self.buffers);
        }
        let mut turn = Turn {
            now,
            limits: &self.shared.settings.session,
            window_bytes_max: self.window_bytes_max,
            tally: &mut self.tally,
            effects: &mut self.effects,
        };
        let result = act(&mut slot.session, &mut turn);
        if (self.tally.expired, self.tally.too_large) != (0, 0) {
            self.note_drops(index);
        }
        self.keep_effects(index);
        result
    }

    /// What a session dropped in this turn is told at its end.
    #[cold]
    fn note_drops(&mut self, index: u32) {
        let client_id = &self.sessions.get(index).session.client_id;
        let expired = (Reason::Expired, std::mem::take(&mut self.tally.expired));
        let too_large = (
            Reason::PacketTooLargeForClient,
            std::mem::take(&mut self.tally.too_large),
        );
        for (reason, count) in [expired, too_large].into_iter().filter(|(_, count)| *count > 0) {
            self.drops.push((Arc::clone(client_id), reason, count));
        }
    }

    fn tell_drops(&mut self, sink: &mut impl Sink) {
        for (client_id, reason, count) in std::mem::take(&mut self.drops) {
            self.counters().count(reason, count.into());
            sink.event(Event::Dropped {
                client_id: Some(&client_id),
                topic: None,
                reason,
                count: count.into(),
            });
        }
    }

    /// What of the messages of one queue may be in memory, by what all of them take.
    fn window_bytes_max_at(&self, window_bytes: usize) -> usize {
        let settings = &self.shared.settings;
        let is_crowded = window_bytes >= settings.window_bytes_total_max / self.shared.counters.len();
        if is_crowded {
            0
        } else {
            settings.session.window_bytes
        }
    }

    /// Brings the counters of queues and the presence of a session up to date.
    fn settle_books(&mut self, index: u32) {
        let slot = self.sessions.get_mut(index);
        slot.tell_presence(&self.shared.settings.session);
        let counted = Counted {
            messages: slot.session.queued_len(),
            bytes: slot.session.queued_bytes(),
            memory_bytes: match slot.session.number {
                0 => slot.session.queued_bytes(),
                _ => 0,
            },
            window_bytes: slot.session.window_bytes(),
        };
        let before = std::mem::replace(&mut slot.counted, counted);
        if counted != before {
            let counters = &self.shared.counters[usize::from(self.index)];
            let grown = |now: usize, before: usize| (now as u64).wrapping_sub(before as u64);
            counters.queued.add(grown(counted.messages, before.messages));
            counters.queued_bytes.add(grown(counted.bytes, before.bytes));
            counters
                .queued_memory_bytes
                .add(grown(counted.memory_bytes, before.memory_bytes));
            if counted.window_bytes != before.window_bytes {
                self.window_bytes = self.window_bytes + counted.window_bytes - before.window_bytes;
                self.window_bytes_max = self.window_bytes_max_at(self.window_bytes);
            }
        }
    }

    fn count_tally(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        if tally == Tally::default() {
            return;
        }
        let counters = self.counters();
        counters.packets_sent.add(tally.sent.into());
        counters.publish_sent.add(tally.sent.into());
        counters.publish_bytes_sent.add(tally.sent_bytes);
    }

    fn mark_dirty_if_output(&mut self, index: u32) {
        let slot = self.sessions.get(index);
        if let (Some(conn), Some(link)) = (slot.conn, &slot.session.link)
            && !link.output.is_empty()
        {
            self.mark_dirty(conn);
        }
    }

    /// Appends a packet to a session's output.
    fn answer(&mut self, conn: ConnId, index: u32, packet: &Packet<'_>) {
        if let Some(link) = &mut self.sessions.get_mut(index).session.link {
            link.output.lend_buffer(&mut self.buffers);
            link.answer(packet);
            self.counters().packets_sent.add(1);
            self.mark_dirty(conn);
        }
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Empty buffers that a shard keeps for connections that have something to write.
const BUFFERS_MAX: usize = 256;

/// For the tests of the parts: a shard alone, whose effects nobody looks at.
#[cfg(test)]
mod nowhere {
    use super::{ConnId, Event, Login, Parcels, Relocated, Sink};

    pub(super) struct Nowhere;

    impl Sink for Nowhere {
        fn close(&mut self, _: ConnId) {}
        fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {}
        fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
            false
        }
        fn has_room(&self, _: u16) -> bool {
            true
        }
        fn parcels(&mut self, _: u16) -> &mut Parcels {
            unreachable!("there is one shard")
        }
        fn event(&mut self, _: Event<'_>) {}
    }
}
