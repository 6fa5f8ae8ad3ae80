//! One shard on its thread: readers, one a connection, and a flusher that is the root of the thread.
//!
//! Readers hand bytes to the shard and never write. The flusher writes each connection that has
//! something once a turn, oldest first, a slice of sockets at a time, and gives readers a turn in between.
//! While too many connections wait to be written, nothing is read.

mod reader;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use martlet_broker::{ConnId, Event, Input, Login, Parcels, Peer, Relocated, Shard, Sink};
use martlet_net::{ReadHalf, Stream, WriteHalf};
use tokio::time::Sleep;

use self::reader::Reader;
use crate::clock::Clock;
use crate::inbox::{Arrival, Inbox, Item, Known};
use crate::kill_points;
use crate::limits::{
    FLUSH_BACKLOG_BYTES_MAX, FLUSH_BACKLOG_MAX, FLUSH_SLICE, KEPT_BYTES_MAX, READ_BYTES_MAX, WRITE_BYTES_MAX,
};
use crate::log::EventLog;
use crate::logins::Desk;

/// A shard with its sockets.
pub(crate) struct Worker {
    shard: RefCell<Shard>,
    sockets: RefCell<Sockets>,
    flusher: Flusher,
    /// What is read goes behind the first `KEPT_BYTES_MAX` bytes: those are for the start of a packet that came
    /// before.
    scratch: RefCell<Box<[u8]>>,
    clock: Clock,
}

/// The sockets of a shard, and where its effects go.
struct Sockets {
    index: u16,
    open: Vec<Option<Box<Socket>>>,
    /// Those that go to another shard, until their readers have seen it: their places may be taken again by then.
    moving: Vec<Socket>,
    inboxes: Arc<[Inbox]>,
    /// What goes to other shards at the end of the next turn of the root, by shard.
    outgoing: Vec<Parcels>,
    has_outgoing: bool,
    log: EventLog,
    /// Where logins are checked; none: no listener has users.
    logins: Option<Arc<Desk>>,
}

struct Socket {
    id: ConnId,
    write: WriteHalf,
    /// The reader, which waits for the socket and may have to be told something else.
    reader: Option<Waker>,
    state: State,
    /// Whether the socket is full: the reader waits until it takes more.
    blocked: bool,
    /// As long as its login is checked: whoever checks it sees by this whether it is still wanted.
    login: Option<Arc<()>>,
}

impl Socket {
    fn wake_reader(&self) {
        if let Some(reader) = &self.reader {
            reader.wake_by_ref();
        }
    }
}

enum State {
    Open,
    /// The shard has ended it: what is in the output goes out, what comes is thrown away, and the client gets a
    /// moment to read.
    Closing,
    /// The client has said goodbye: when what is in the output is written, there is nothing left to do.
    HangingUp,
    /// There is nothing left to do.
    Done,
    /// It goes to another shard.
    Moving(Box<(u16, Relocated)>),
}

/// What other threads sent, taken out of the inbox.
#[derive(Default)]
struct Arrived {
    items: Vec<Item>,
    parcels: Parcels,
}

#[derive(Default)]
struct Flusher {
    dirty: RefCell<VecDeque<ConnId>>,
    waker: RefCell<Option<Waker>>,
    is_woken: Cell<bool>,
    /// Readers that wait until less is to be written.
    throttled: RefCell<Vec<Waker>>,
    /// Bytes that were read since connections were last written: about what waits to be written.
    unflushed: Cell<usize>,
    /// Readers that wait for the shard to want them again.
    paused: RefCell<Vec<ConnId>>,
    armed_ms: Cell<u64>,
    /// The store was heard in this turn.
    has_acknowledged: Cell<bool>,
}

impl Sink for Sockets {
    fn close(&mut self, conn: ConnId) {
        if let Some(socket) = self.get(conn) {
            socket.state = State::Closing;
            socket.wake_reader();
        }
    }

    fn hang_up(&mut self, conn: ConnId) {
        if let Some(socket) = self.get(conn) {
            socket.state = State::HangingUp;
            socket.wake_reader();
        }
    }

    fn relocate(&mut self, conn: ConnId, shard: u16, relocated: Relocated) {
        if let Some(mut socket) = self.take(conn) {
            socket.state = State::Moving(Box::new((shard, relocated)));
            // It may sleep: a login is checked while nothing comes.
            socket.wake_reader();
            self.moving.push(socket);
        }
    }

    fn check_login(&mut self, conn: ConnId, login: Login<'_>) -> bool {
        let (shard, logins) = (self.index, self.logins.clone());
        let (Some(logins), Some(socket)) = (logins, self.get(conn)) else {
            return false;
        };
        let wanted = socket.login.insert(Arc::default());
        logins.submit(shard, conn, &login, Arc::downgrade(wanted))
    }

    fn has_room(&self, shard: u16) -> bool {
        let shard = usize::from(shard);
        self.inboxes[shard].has_room(&self.outgoing[shard])
    }

    fn parcels(&mut self, shard: u16) -> &mut Parcels {
        self.has_outgoing = true;
        &mut self.outgoing[usize::from(shard)]
    }

    fn event(&mut self, event: Event<'_>) {
        self.log.write(event);
    }
}

impl Sockets {
    fn add(&mut self, socket: Socket) {
        let index = socket.id.index as usize;
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        self.open[index] = Some(Box::new(socket));
    }

    fn get(&mut self, conn: ConnId) -> Option<&mut Socket> {
        let place = self.open.get_mut(conn.index as usize);
        let open = place.and_then(|place| place.as_deref_mut().filter(|socket| socket.id == conn));
        open.or_else(|| self.moving.iter_mut().find(|socket| socket.id == conn))
    }

    fn take(&mut self, conn: ConnId) -> Option<Socket> {
        let place = self.open.get_mut(conn.index as usize);
        let open = place.and_then(|place| place.take_if(|socket| socket.id == conn));
        open.map(|socket| *socket).or_else(|| {
            let at = self.moving.iter().position(|socket| socket.id == conn)?;
            Some(self.moving.swap_remove(at))
        })
    }
}

impl Worker {
    pub(crate) fn new(
        index: u16,
        shard: Shard,
        inboxes: Arc<[Inbox]>,
        log: EventLog,
        logins: Option<Arc<Desk>>,
        clock: Clock,
    ) -> Rc<Self> {
        Rc::new(Self {
            shard: RefCell::new(shard),
            sockets: RefCell::new(Sockets {
                index,
                open: Vec::new(),
                moving: Vec::new(),
                outgoing: inboxes.iter().map(|_| Parcels::default()).collect(),
                has_outgoing: false,
                inboxes,
                log,
                logins,
            }),
            flusher: Flusher::default(),
            scratch: RefCell::new(vec![0; KEPT_BYTES_MAX + READ_BYTES_MAX].into_boxed_slice()),
            clock,
        })
    }

    /// Runs until it is told to exit.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut arrived = Arrived::default();
        let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        self.flusher.armed_ms.set(u64::MAX);
        std::future::poll_fn(|cx| self.poll(cx, &mut arrived, sleep.as_mut())).await;
    }

    /// One turn of the root: what other threads sent, deadlines, and one slice of writes.
    fn poll(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        arrived: &mut Arrived,
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<()> {
        self.flusher.is_woken.set(false);
        let mut waker = self.flusher.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        if self.take_arrived(cx, arrived) {
            return Poll::Ready(());
        }
        let deadline_ms = self.shard.borrow().deadline_ms().unwrap_or(u64::MAX);
        if deadline_ms <= self.clock.now().mono_ms {
            self.handle(Input::Time);
        }
        self.tell_counted();
        self.arm(cx, sleep.as_mut());
        self.send_outgoing();
        self.flush_slice();
        if self.flusher.has_acknowledged.take() {
            kill_points::pass("after-acknowledgement");
        }
        if !self.flusher.dirty.borrow().is_empty() {
            self.wake();
        }
        if !self.flusher.is_behind() {
            self.flusher
                .throttled
                .borrow_mut()
                .drain(..)
                .for_each(Waker::wake);
        }
        Poll::Pending
    }

    /// Handles what other threads sent; whether the thread ends.
    fn take_arrived(self: &Rc<Self>, cx: &Context<'_>, arrived: &mut Arrived) -> bool {
        let (index, inboxes) = {
            let sockets = self.sockets.borrow();
            (usize::from(sockets.index), Arc::clone(&sockets.inboxes))
        };
        let Arrived { items, parcels } = arrived;
        inboxes[index].take(items, parcels, cx.waker());
        if !parcels.is_empty() {
            self.handle(Input::Forwarded(parcels));
        }
        let mut exits = false;
        for item in items.drain(..) {
            match item {
                Item::Connection(arrival) => {
                    let Arrival {
                        stream,
                        peer,
                        unread,
                        known,
                    } = *arrival;
                    match Stream::attach(stream) {
                        Ok(stream) => self.open(stream, peer, &unread, known),
                        Err(error) => {
                            tracing::warn!(from = %peer.address, %error, "connection.failed");
                        }
                    }
                    inboxes[index].connection_opened();
                }
                Item::Login(conn, verdict) => {
                    if let Some(socket) = self.sockets.borrow_mut().get(conn) {
                        socket.login = None;
                    }
                    self.handle(Input::Login(conn, verdict));
                }
                Item::Revoked(revoked) => self.handle(Input::Revoked(&revoked)),
                Item::Room => self.handle(Input::Room),
                Item::Stored => {
                    kill_points::pass("before-acknowledgement");
                    self.handle(Input::Stored);
                    self.flusher.has_acknowledged.set(true);
                }
                Item::Stop => self.handle(Input::Stop),
                Item::DisconnectAll => self.handle(Input::DisconnectAll),
                Item::Exit => exits = true,
            }
        }
        if inboxes[index].was_wanted() {
            let others = inboxes.iter().enumerate().filter(|(other, _)| *other != index);
            others.for_each(|(_, inbox)| inbox.push(Item::Room));
        }
        exits
    }

    /// Hands other shards what they are to have.
    fn send_outgoing(&self) {
        let mut sockets = self.sockets.borrow_mut();
        if !std::mem::take(&mut sockets.has_outgoing) {
            return;
        }
        let Sockets {
            inboxes, outgoing, ..
        } = &mut *sockets;
        for (inbox, parcels) in inboxes.iter().zip(outgoing) {
            if !parcels.is_empty() {
                inbox.send(parcels);
            }
        }
    }

    /// The log tells what it only counted.
    fn tell_counted(&self) {
        let log = &mut self.sockets.borrow_mut().log;
        if log.due().is_some_and(|due| due <= Instant::now()) {
            log.tell_counted();
        }
    }

    /// Sleeps until the next deadline of the shard or of its log.
    fn arm(&self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) {
        let log_ms = self.sockets.borrow().log.due().map_or(u64::MAX, |due| {
            // Rounded up: it must be over when this is.
            self.clock.mono_ms(due) + 1
        });
        let deadline_ms = self.shard.borrow().deadline_ms().unwrap_or(u64::MAX).min(log_ms);
        if deadline_ms == u64::MAX {
            return;
        }
        if deadline_ms != self.flusher.armed_ms.get() {
            sleep.as_mut().reset(self.clock.instant(deadline_ms).into());
            self.flusher.armed_ms.set(deadline_ms);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            // It may be early by the resolution of the timer.
            self.flusher.armed_ms.set(u64::MAX);
            cx.waker().wake_by_ref();
        }
    }

    /// Tells the shard what happened, and passes on what became of it.
    fn handle(&self, input: Input<'_>) {
        let mut shard = self.shard.borrow_mut();
        let is_wanted = {
            let mut sockets = self.sockets.borrow_mut();
            let waited = sockets.log.due().is_some();
            shard.handle(self.clock.now(), input, &mut *sockets);
            sockets.has_outgoing || (!waited && sockets.log.due().is_some())
        };
        let mut dirty = std::mem::take(&mut *self.flusher.dirty.borrow_mut());
        let before = dirty.len();
        shard.take_dirty(&mut dirty);
        let is_earlier = shard
            .deadline_ms()
            .is_some_and(|at| at < self.flusher.armed_ms.get());
        if dirty.len() > before || is_earlier || is_wanted {
            self.wake();
        }
        *self.flusher.dirty.borrow_mut() = dirty;
        let mut paused = self.flusher.paused.borrow_mut();
        if !paused.is_empty() {
            let mut sockets = self.sockets.borrow_mut();
            paused.retain(|conn| {
                let Some(socket) = sockets.get(*conn) else {
                    return false;
                };
                if !shard.wants_read(*conn) && matches!(socket.state, State::Open) {
                    return true;
                }
                socket.wake_reader();
                false
            });
        }
    }

    fn wake(&self) {
        if !self.flusher.is_woken.replace(true)
            && let Some(waker) = &*self.flusher.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn index(&self) -> usize {
        usize::from(self.sockets.borrow().index)
    }

    /// Takes over a connection, with what it has sent to another shard and what is known of its client.
    pub(crate) fn open(self: &Rc<Self>, stream: Stream, peer: Peer, unread: &[u8], known: Known) {
        let (read, write) = stream.split();
        let id = self.shard.borrow_mut().open(self.clock.now(), peer);
        let Known { identity, vouched } = known;
        if identity.is_some() {
            self.shard.borrow_mut().identify(id, identity);
        }
        let socket = Socket {
            id,
            write,
            reader: None,
            state: State::Open,
            blocked: false,
            login: None,
        };
        if let Some(generation) = vouched {
            self.shard.borrow_mut().vouch(id, generation);
        }
        self.sockets.borrow_mut().add(socket);
        // Before the reader begins: it comes before all that is read here, and may make the connection move on.
        if !unread.is_empty() {
            self.handle(Input::Bytes(id, unread));
        }
        tokio::task::spawn_local(Reader::new(Rc::clone(self), id, read));
    }

    fn flush_slice(&self) {
        self.flusher.unflushed.set(0);
        for _ in 0..FLUSH_SLICE {
            let Some(conn) = self.flusher.dirty.borrow_mut().pop_front() else {
                return;
            };
            self.flush(conn);
        }
    }

    /// Writes a connection once: until it is empty, the socket is full, or others are due.
    fn flush(&self, conn: ConnId) {
        let mut left = WRITE_BYTES_MAX;
        loop {
            let result = {
                let mut sockets = self.sockets.borrow_mut();
                let Some(socket) = sockets.get(conn) else { return };
                if socket.blocked || matches!(socket.state, State::Moving(_) | State::Done) {
                    return;
                }
                let shard = self.shard.borrow();
                let Some(output) = shard.output(conn) else { return };
                if output.is_empty() {
                    return socket.written();
                }
                if left == 0 {
                    self.flusher.dirty.borrow_mut().push_back(conn);
                    return;
                }
                let mut slices = [IoSlice::new(&[]); 16];
                match output.slices(&mut slices) {
                    1 => socket.write.try_write(&slices[0]),
                    n => socket.write.try_write_vectored(&slices[..n]),
                }
            };
            match result {
                Ok(n) => {
                    left = left.saturating_sub(n);
                    self.handle(Input::Wrote(conn, n));
                }
                Err(error) => {
                    if let Some(socket) = self.sockets.borrow_mut().get(conn) {
                        socket.failed(&error);
                    }
                    return;
                }
            }
        }
    }

    fn is_written(&self, conn: ConnId) -> bool {
        let shard = self.shard.borrow();
        shard.output(conn).is_none_or(martlet_session::Output::is_empty)
    }

    /// The reader has ended: the socket is gone, or goes to another shard.
    fn close(&self, conn: ConnId, read: ReadHalf) {
        let socket = self.sockets.borrow_mut().take(conn);
        let Some(socket) = socket else { return };
        let Socket { write, state, .. } = socket;
        // Dropped in halves it would be shut down first.
        let stream = Stream::reunite(read, write);
        let State::Moving(to) = state else {
            drop(stream);
            return self.handle(Input::Closed(conn));
        };
        let (shard, relocated) = *to;
        let Relocated {
            peer,
            unread,
            identity,
            vouched,
        } = relocated;
        match stream.detach() {
            Ok(stream) => {
                let inboxes = Arc::clone(&self.sockets.borrow().inboxes);
                let arrival = Arrival {
                    stream,
                    peer,
                    unread,
                    known: Known { identity, vouched },
                };
                inboxes[usize::from(shard)].push(Item::Connection(Box::new(arrival)));
            }
            Err(error) => tracing::warn!(from = %peer.address, error = %error, "connection.failed"),
        }
    }
}

impl Socket {
    /// All of the output is written. A client that is closed is told so, and gets a moment to read it: a socket
    /// that is closed with unread bytes in it would lose what was just written.
    fn written(&mut self) {
        if let Err(error) = self.write.try_flush() {
            return self.failed(&error);
        }
        match self.state {
            State::Closing => {
                if self.write.shutdown().is_err() {
                    self.finish();
                }
            }
            State::HangingUp => {
                self.write.say_goodbye();
                self.finish();
            }
            State::Open | State::Done | State::Moving(_) => {}
        }
    }

    /// A write failed: because the socket is full, or for good.
    fn failed(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.blocked = true;
            self.wake_reader();
        } else {
            self.finish();
        }
    }

    /// The reader ends, and the connection with it.
    fn finish(&mut self) {
        self.state = State::Done;
        self.wake_reader();
    }
}

impl Flusher {
    /// Whether so much waits to be written that nothing more is read.
    fn is_behind(&self) -> bool {
        let dirty = self.dirty.borrow().len();
        dirty > FLUSH_BACKLOG_MAX || (dirty > 0 && self.unflushed.get() > FLUSH_BACKLOG_BYTES_MAX)
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
