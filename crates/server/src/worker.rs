//! One shard on its thread: readers, one a connection, and a flusher that is the root of the thread.
//!
//! Readers hand bytes to the shard and never write. The flusher writes each connection that has
//! something once a turn, oldest first, a slice of sockets at a time, and gives readers a turn in between.
//! While too many connections wait to be written, nothing is read.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use martlet_broker::{ConnId, Event, Forward, Input, Peer, Relocated, Shard, Sink};
use martlet_session::Now;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Sleep;

use crate::inbox::{Inbox, Item};
use crate::limits::{FLUSH_BACKLOG_MAX, FLUSH_SLICE, LINGER_MS, READ_BYTES_MAX, WRITE_BYTES_MAX};
use crate::log::EventLog;

/// The clock of the process: monotonic from its start, and the wall clock that goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_wall_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            start_wall_ms: wall.as_millis() as u64,
        }
    }

    pub(crate) fn now(&self) -> Now {
        let mono_ms = self.start.elapsed().as_millis() as u64;
        Now {
            mono_ms,
            wall_ms: self.start_wall_ms + mono_ms,
        }
    }

    fn instant(&self, mono_ms: u64) -> Instant {
        self.start + Duration::from_millis(mono_ms)
    }
}

/// A shard with its sockets.
pub(crate) struct Worker {
    shard: RefCell<Shard>,
    sockets: RefCell<Sockets>,
    flusher: Flusher,
    scratch: RefCell<Box<[u8]>>,
    clock: Clock,
    tcp_nodelay: bool,
}

/// The sockets of a shard, and where its effects go.
struct Sockets {
    index: u16,
    open: Vec<Option<Socket>>,
    inboxes: Arc<[Inbox]>,
    log: EventLog,
}

struct Socket {
    id: ConnId,
    write: Rc<OwnedWriteHalf>,
    /// The reader, which waits for the socket and may have to be told something else.
    reader: Option<Waker>,
    state: State,
    /// Whether a task waits for the socket to take more.
    blocked: bool,
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
    /// The shard has ended it: what is in the output goes out, what comes is thrown away.
    Closing,
    /// There is nothing left to do.
    Done,
    /// It goes to another shard.
    Moving(u16, Relocated),
}

#[derive(Default)]
struct Flusher {
    dirty: RefCell<VecDeque<ConnId>>,
    waker: RefCell<Option<Waker>>,
    is_woken: Cell<bool>,
    /// Readers that wait until fewer connections are dirty.
    throttled: RefCell<Vec<Waker>>,
    /// Readers that wait for the shard to want them again.
    paused: RefCell<Vec<ConnId>>,
    armed_ms: Cell<u64>,
}

impl Sink for Sockets {
    fn close(&mut self, conn: ConnId) {
        if let Some(socket) = self.get(conn) {
            socket.state = State::Closing;
            socket.wake_reader();
        }
    }

    fn relocate(&mut self, conn: ConnId, shard: u16, relocated: Relocated) {
        if let Some(socket) = self.get(conn) {
            socket.state = State::Moving(shard, relocated);
        }
    }

    fn has_room(&self, shard: u16) -> bool {
        self.inboxes[usize::from(shard)].has_room()
    }

    fn forward(&mut self, shard: u16, forward: Forward) {
        self.inboxes[usize::from(shard)].push(Item::Forward(forward));
    }

    fn event(&mut self, event: Event<'_>) {
        self.log.write(event);
    }
}

impl Sockets {
    fn get(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.open
            .get_mut(conn.index as usize)?
            .as_mut()
            .filter(|socket| socket.id == conn)
    }
}

impl Worker {
    pub(crate) fn new(
        index: u16,
        shard: Shard,
        inboxes: Arc<[Inbox]>,
        log: EventLog,
        clock: Clock,
        tcp_nodelay: bool,
    ) -> Rc<Self> {
        Rc::new(Self {
            shard: RefCell::new(shard),
            sockets: RefCell::new(Sockets {
                index,
                open: Vec::new(),
                inboxes,
                log,
            }),
            flusher: Flusher::default(),
            scratch: RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice()),
            clock,
            tcp_nodelay,
        })
    }

    /// Runs until it is told to exit.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut items = Vec::new();
        let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        self.flusher.armed_ms.set(u64::MAX);
        std::future::poll_fn(|cx| self.poll(cx, &mut items, sleep.as_mut())).await;
    }

    /// One turn of the root: what other threads sent, deadlines, and one slice of writes.
    fn poll(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        items: &mut Vec<Item>,
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<()> {
        self.flusher.is_woken.set(false);
        let mut waker = self.flusher.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        if self.take_items(cx, items) {
            return Poll::Ready(());
        }
        let deadline_ms = self.shard.borrow().deadline_ms().unwrap_or(u64::MAX);
        if deadline_ms <= self.clock.now().mono_ms {
            self.handle(Input::Time);
        }
        self.tell_counted();
        self.arm(cx, sleep.as_mut());
        self.flush_slice();
        if !self.flusher.dirty.borrow().is_empty() {
            self.wake();
        }
        if self.flusher.dirty.borrow().len() <= FLUSH_BACKLOG_MAX {
            self.flusher
                .throttled
                .borrow_mut()
                .drain(..)
                .for_each(Waker::wake);
        }
        Poll::Pending
    }

    fn take_items(self: &Rc<Self>, cx: &Context<'_>, items: &mut Vec<Item>) -> bool {
        let (index, inboxes) = {
            let sockets = self.sockets.borrow();
            (usize::from(sockets.index), Arc::clone(&sockets.inboxes))
        };
        inboxes[index].take(items, cx.waker());
        let mut exits = false;
        for item in items.drain(..) {
            match item {
                Item::Forward(forward) => self.handle(Input::Forwarded(forward)),
                Item::Connection { stream, peer, unread } => {
                    self.open(stream, peer, unread);
                    inboxes[index].connection_opened();
                }
                Item::Room => self.handle(Input::Room),
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
            due.saturating_duration_since(self.clock.start).as_millis() as u64 + 1
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
        let log_waits = {
            let mut sockets = self.sockets.borrow_mut();
            let waited = sockets.log.due().is_some();
            shard.handle(self.clock.now(), input, &mut *sockets);
            !waited && sockets.log.due().is_some()
        };
        let mut dirty = std::mem::take(&mut *self.flusher.dirty.borrow_mut());
        let before = dirty.len();
        shard.take_dirty(&mut dirty);
        let is_earlier = shard
            .deadline_ms()
            .is_some_and(|at| at < self.flusher.armed_ms.get());
        if dirty.len() > before || is_earlier || log_waits {
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

    fn open(self: &Rc<Self>, stream: std::net::TcpStream, peer: Peer, unread: Vec<u8>) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(from = %peer.address, error = %error, "connection.failed");
                return;
            }
        };
        if self.tcp_nodelay {
            // It only fails when the connection is gone, which the first read finds out.
            let _ = stream.set_nodelay(true);
        }
        let (read, write) = stream.into_split();
        let id = self.shard.borrow_mut().open(self.clock.now(), peer);
        let socket = Socket {
            id,
            write: Rc::new(write),
            reader: None,
            state: State::Open,
            blocked: false,
        };
        let open = &mut self.sockets.borrow_mut().open;
        if open.len() <= id.index as usize {
            open.resize_with(id.index as usize + 1, || None);
        }
        open[id.index as usize] = Some(socket);
        tokio::task::spawn_local(read_all(Rc::clone(self), id, read, unread));
    }

    /// Reads once and hands the bytes on.
    fn poll_read(&self, cx: &mut Context<'_>, conn: ConnId, read: &mut OwnedReadHalf) -> Poll<()> {
        loop {
            let is_open = {
                let mut sockets = self.sockets.borrow_mut();
                let Some(socket) = sockets.get(conn) else {
                    return Poll::Ready(());
                };
                if !socket
                    .reader
                    .as_ref()
                    .is_some_and(|known| known.will_wake(cx.waker()))
                {
                    socket.reader = Some(cx.waker().clone());
                }
                match socket.state {
                    State::Open => true,
                    State::Closing => false,
                    State::Done | State::Moving(..) => return Poll::Ready(()),
                }
            };
            if is_open && self.must_wait(cx, conn) {
                return Poll::Pending;
            }
            let mut scratch = self.scratch.borrow_mut();
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *read).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
            if is_open {
                self.handle(Input::Bytes(conn, buf.filled()));
            }
            if buf.filled().len() == READ_BYTES_MAX {
                // There is more, but others come first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Whether this connection must not be read now; then somebody wakes it.
    fn must_wait(&self, cx: &Context<'_>, conn: ConnId) -> bool {
        if self.flusher.dirty.borrow().len() > FLUSH_BACKLOG_MAX {
            self.flusher.throttled.borrow_mut().push(cx.waker().clone());
            return true;
        }
        if self.shard.borrow().wants_read(conn) {
            return false;
        }
        self.flusher.paused.borrow_mut().push(conn);
        true
    }

    fn flush_slice(self: &Rc<Self>) {
        for _ in 0..FLUSH_SLICE {
            let Some(conn) = self.flusher.dirty.borrow_mut().pop_front() else {
                return;
            };
            self.flush(conn);
        }
    }

    /// Writes a connection once: until it is empty, the socket is full, or others are due.
    fn flush(self: &Rc<Self>, conn: ConnId) {
        let (write, is_closing) = {
            let mut sockets = self.sockets.borrow_mut();
            let Some(socket) = sockets.get(conn) else { return };
            if socket.blocked || matches!(socket.state, State::Moving(..) | State::Done) {
                return;
            }
            (Rc::clone(&socket.write), matches!(socket.state, State::Closing))
        };
        let mut left = WRITE_BYTES_MAX;
        loop {
            let result = {
                let shard = self.shard.borrow();
                let Some(output) = shard.output(conn) else { return };
                if output.is_empty() {
                    break;
                }
                if left == 0 {
                    self.flusher.dirty.borrow_mut().push_back(conn);
                    return;
                }
                let mut slices = [IoSlice::new(&[]); 16];
                match output.slices(&mut slices) {
                    1 => write.try_write(&slices[0]),
                    n => write.try_write_vectored(&slices[..n]),
                }
            };
            match result {
                Ok(n) => {
                    left = left.saturating_sub(n);
                    self.handle(Input::Wrote(conn, n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_writable(conn, write);
                    return;
                }
                Err(_) => {
                    self.finish(conn);
                    return;
                }
            }
        }
        if is_closing {
            self.linger(conn, &write);
        }
    }

    /// The socket is full: a task waits until it takes more. Rare, so the usual connection has no such task.
    fn wait_writable(self: &Rc<Self>, conn: ConnId, write: Rc<OwnedWriteHalf>) {
        if let Some(socket) = self.sockets.borrow_mut().get(conn) {
            socket.blocked = true;
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let closing = async {
                // A client that is closed and does not read is cut.
                while !worker.is_closing(conn) {
                    tokio::time::sleep(Duration::from_millis(LINGER_MS)).await;
                }
                tokio::time::sleep(Duration::from_millis(LINGER_MS)).await;
            };
            tokio::select! {
                _ = write.writable() => {}
                () = closing => {
                    worker.finish(conn);
                    return;
                }
            }
            if let Some(socket) = worker.sockets.borrow_mut().get(conn) {
                socket.blocked = false;
                worker.flusher.dirty.borrow_mut().push_back(conn);
            }
            worker.wake();
        });
    }

    fn is_closing(&self, conn: ConnId) -> bool {
        self.sockets
            .borrow_mut()
            .get(conn)
            .is_none_or(|socket| !matches!(socket.state, State::Open))
    }

    /// All is written: says so to the client, and gives it a moment to read it. A socket that is closed with
    /// unread bytes in it would lose what was just written.
    fn linger(self: &Rc<Self>, conn: ConnId, write: &OwnedWriteHalf) {
        let socket: &TcpStream = write.as_ref();
        let shut = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write);
        if shut.is_err() {
            return self.finish(conn);
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(LINGER_MS)).await;
            worker.finish(conn);
        });
    }

    /// The reader ends, and the connection with it.
    fn finish(&self, conn: ConnId) {
        if let Some(socket) = self.sockets.borrow_mut().get(conn) {
            socket.state = State::Done;
            socket.wake_reader();
        }
    }

    /// The reader has ended: the socket is gone, or goes to another shard.
    fn close(&self, conn: ConnId, read: OwnedReadHalf) {
        let socket = {
            let mut sockets = self.sockets.borrow_mut();
            sockets
                .open
                .get_mut(conn.index as usize)
                .and_then(|slot| slot.take_if(|s| s.id == conn))
        };
        let Some(socket) = socket else { return };
        let State::Moving(shard, Relocated { peer, unread }) = socket.state else {
            drop(socket);
            drop(read);
            return self.handle(Input::Closed(conn));
        };
        let whole = Rc::into_inner(socket.write)
            .and_then(|write| read.reunite(write).ok())
            .and_then(|stream| stream.into_std().ok());
        // If it is not whole it is being written, which a connection without a session never is.
        if let Some(stream) = whole {
            let inboxes = Arc::clone(&self.sockets.borrow().inboxes);
            inboxes[usize::from(shard)].push(Item::Connection { stream, peer, unread });
        }
    }
}

/// Hands on what came along with a connection from another shard, then what it sends.
async fn read_all(worker: Rc<Worker>, conn: ConnId, mut read: OwnedReadHalf, unread: Vec<u8>) {
    if !unread.is_empty() {
        worker.handle(Input::Bytes(conn, &unread));
    }
    drop(unread);
    std::future::poll_fn(|cx| worker.poll_read(cx, conn, &mut read)).await;
    worker.close(conn, read);
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
