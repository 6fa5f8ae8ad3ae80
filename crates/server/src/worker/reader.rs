//! The task of a connection: it reads, and waits for what the flusher cannot wait for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use martlet_broker::{ConnId, Input};
use martlet_net::{Fault, ReadHalf};
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::{State, Worker};
use crate::limits::{KEPT_BYTES_MAX, LINGER_MS, READ_BYTES_MAX};

/// Reads a connection until it ends. Every idle connection has one, so it is small.
pub(super) struct Reader {
    worker: Rc<Worker>,
    conn: ConnId,
    /// Taken at the end.
    read: Option<ReadHalf>,
    /// The time that a client has to read what is left for it, once it is closed.
    linger: Option<Pin<Box<Sleep>>>,
}

/// What a reader does next.
enum Next {
    Read,
    Discard,
    End,
}

impl Reader {
    pub(super) fn new(worker: Rc<Worker>, conn: ConnId, read: ReadHalf) -> Self {
        Self {
            worker,
            conn,
            read: Some(read),
            linger: None,
        }
    }

    /// Reads once after the other, until nothing is there; ready when the connection has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = 0;
        loop {
            let is_open = match self.next(cx) {
                Next::Read => true,
                Next::Discard => false,
                Next::End => return Poll::Ready(()),
            };
            if is_open && self.must_wait(cx) {
                return Poll::Pending;
            }
            let Some(read) = &mut self.read else {
                return Poll::Ready(());
            };
            let mut scratch = self.worker.scratch.borrow_mut();
            let mut buf = ReadBuf::new(&mut scratch[KEPT_BYTES_MAX..]);
            let result = ready!(read.poll_read(cx, &mut buf));
            let n = buf.filled().len();
            if let (true, Err(error)) = (is_open, &result) {
                self.tell(error);
            }
            if result.is_err() || n == 0 {
                return Poll::Ready(());
            }
            if is_open {
                let flusher = &self.worker.flusher;
                flusher.unflushed.set(flusher.unflushed.get() + n);
                self.worker.handle(Input::Read {
                    conn: self.conn,
                    buffer: &mut scratch[..KEPT_BYTES_MAX + n],
                    start: KEPT_BYTES_MAX,
                });
            }
            taken += n;
            if taken >= READ_BYTES_MAX {
                // There is more, but others come first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Looks at what became of the connection since.
    fn next(&mut self, cx: &mut Context<'_>) -> Next {
        let mut sockets = self.worker.sockets.borrow_mut();
        let Some(socket) = sockets.get(self.conn) else {
            return Next::End;
        };
        if !socket
            .reader
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            socket.reader = Some(cx.waker().clone());
        }
        if socket.blocked && socket.write.poll_write_ready(cx).is_ready() {
            socket.blocked = false;
            // It reads, so its time begins anew.
            self.linger = None;
            self.worker.flusher.dirty.borrow_mut().push_back(self.conn);
            self.worker.wake();
        }
        match socket.state {
            State::Open => Next::Read,
            State::Done | State::Moving(_) => Next::End,
            State::HangingUp if self.worker.is_written(self.conn) && socket.write.is_flushed() => Next::End,
            State::Closing | State::HangingUp => {
                let linger = Duration::from_millis(LINGER_MS);
                let over = self
                    .linger
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(linger)))
                    .as_mut()
                    .poll(cx);
                if over.is_ready() { Next::End } else { Next::Discard }
            }
        }
    }

    /// The log tells what went wrong below MQTT, which the shard does not know.
    fn tell(&self, error: &io::Error) {
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
        let Some(fault) = fault else { return };
        let shard = self.worker.shard.borrow();
        if let Some(peer) = shard.peer(self.conn) {
            let (reason, text) = (fault.key(), fault.to_string());
            tracing::warn!(from = %peer.address, reason, text, "connection.fault");
        }
    }

    /// Whether this connection must not be read now; then somebody wakes it.
    fn must_wait(&self, cx: &Context<'_>) -> bool {
        let flusher = &self.worker.flusher;
        if flusher.is_behind() {
            flusher.throttled.borrow_mut().push(cx.waker().clone());
            return true;
        }
        if self.worker.shard.borrow().wants_read(self.conn) {
            return false;
        }
        flusher.paused.borrow_mut().push(self.conn);
        true
    }
}

impl Future for Reader {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_read(cx));
        if let Some(read) = self.read.take() {
            self.worker.close(self.conn, read);
        }
        Poll::Ready(())
    }
}
