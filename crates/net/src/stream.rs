//! A stream of MQTT's bytes: a socket, and the layers over it if there are any.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{Interest, ReadBuf, Ready};

use crate::fault::Fault;
use crate::got::Got;
use crate::layers::Layers;
use crate::limits::READ_BYTES_MAX;
use crate::socket::{Socket, SocketRead, SocketWrite, StdSocket};

/// The answer to HTTP in the clear where TLS is expected.
const TO_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port expects TLS, and HTTP came in the clear.\n";

/// A connection that carries MQTT, in one piece.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    layers: Option<Box<Layers>>,
}

/// A connection between two runtimes.
#[derive(Debug)]
pub struct Detached {
    socket: StdSocket,
    layers: Option<Box<Layers>>,
}

/// The half that reads, for a task of its own on the same thread.
#[derive(Debug)]
pub struct ReadHalf {
    socket: SocketRead,
    layers: Option<Rc<RefCell<Layers>>>,
}

/// The half that writes.
#[derive(Debug)]
pub struct WriteHalf {
    socket: SocketWrite,
    layers: Option<Rc<RefCell<Layers>>>,
}

impl From<StdSocket> for Detached {
    fn from(socket: StdSocket) -> Self {
        Self { socket, layers: None }
    }
}

impl From<tokio::net::TcpStream> for Stream {
    fn from(socket: tokio::net::TcpStream) -> Self {
        Self::plain(Socket::Tcp(socket))
    }
}

#[cfg(unix)]
impl From<tokio::net::UnixStream> for Stream {
    fn from(socket: tokio::net::UnixStream) -> Self {
        Self::plain(Socket::Unix(socket))
    }
}

impl Stream {
    fn plain(socket: Socket) -> Self {
        Self { socket, layers: None }
    }

    /// Puts layers over it. There were none.
    #[must_use]
    pub fn with_layers(mut self, layers: Layers) -> Self {
        debug_assert!(self.layers.is_none());
        self.layers = Some(Box::new(layers));
        self
    }

    /// Its layers.
    pub fn layers(&self) -> Option<&Layers> {
        self.layers.as_deref()
    }

    /// Takes it into the runtime of this thread.
    ///
    /// # Errors
    /// The system cannot watch the socket.
    pub fn attach(detached: Detached) -> io::Result<Self> {
        let Detached { socket, layers } = detached;
        let socket = Socket::attach(socket)?;
        Ok(Self { socket, layers })
    }

    /// Takes it out of its runtime, with what its layers hold.
    ///
    /// # Errors
    /// The system says so.
    pub fn detach(self) -> io::Result<Detached> {
        let Self { socket, layers } = self;
        let socket = socket.detach()?;
        Ok(Detached { socket, layers })
    }

    /// Its socket, out of its runtime. It has no layers.
    pub(crate) fn into_socket(self) -> io::Result<StdSocket> {
        debug_assert!(self.layers.is_none());
        self.socket.detach()
    }

    /// Two halves for one thread: reading may wait while somebody else writes.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let (read, write) = self.socket.split();
        let layers = self.layers.map(|layers| Rc::new(RefCell::new(*layers)));
        let read = ReadHalf {
            socket: read,
            layers: layers.clone(),
        };
        let write = WriteHalf {
            socket: write,
            layers,
        };
        (read, write)
    }

    /// Both halves of one stream, together again.
    pub fn reunite(read: ReadHalf, write: WriteHalf) -> Self {
        drop(read.layers);
        let layers = write.layers.map(|layers| {
            let layers = Rc::into_inner(layers).expect("nobody else has them");
            Box::new(layers.into_inner())
        });
        let socket = Socket::reunite(read.socket, write.socket);
        Self { socket, layers }
    }

    /// Runs the handshakes of the layers to their end.
    ///
    /// # Errors
    /// They failed. The other side is told, as far as that goes at once.
    pub async fn open(&mut self) -> Result<(), Fault> {
        let mut is_first = true;
        loop {
            let is_sent = self.flush()?;
            let Some(layers) = &mut self.layers else {
                return Ok(());
            };
            if layers.is_open() {
                return Ok(());
            }
            let interest = if is_sent {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            self.socket.ready(interest).await?;
            self.take_step(&mut is_first)?;
        }
    }

    /// Reads once, for the handshakes. Not in line: the bytes would be a part of every waiting task.
    #[inline(never)]
    fn take_step(&mut self, is_first: &mut bool) -> Result<(), Fault> {
        let Some(layers) = &mut self.layers else {
            return Ok(());
        };
        let mut chunk = [0; 8 * 1024];
        let n = match self.socket.try_read(&mut chunk) {
            Ok(0) => return Err(Fault::Closed),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = &chunk[..n];
        let got = Got::of(bytes);
        let expects_tls = layers.is_handshaking() && std::mem::take(is_first);
        // Into nothing: what belongs to MQTT waits inside.
        let Err(fault) = layers.receive(bytes, &mut []) else {
            return Ok(());
        };
        if expects_tls && got != Got::Tls {
            if got == Got::Http && !bytes.starts_with(b"HTTP") {
                // A browser shows this; it would not show an alert.
                let _ = self.socket.try_write_vectored(&[IoSlice::new(TO_HTTP)]);
                self.layers = None;
            } else {
                let _ = self.flush();
            }
            let expected = "TLS";
            return Err(Fault::Mismatch { expected, got });
        }
        let _ = self.flush();
        Err(fault)
    }

    /// Reads and forgets until the other side closes. Bytes that lie unread in a socket when it is closed would
    /// take with them what was just written.
    pub async fn linger(&mut self) {
        while self.socket.ready(Interest::READABLE).await.is_ok() && self.forget() {}
    }

    /// Whether more may come.
    #[inline(never)]
    fn forget(&mut self) -> bool {
        match self.socket.try_read(&mut [0; 8 * 1024]) {
            Ok(n) => n > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Waits until something can be done.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// Whether bytes of MQTT are here, so that nothing of the socket need be waited for.
    pub fn has_received(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_received())
    }

    /// Whether layers have something to send.
    pub fn has_unsent(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_unsent())
    }

    /// Reads what is there; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is there. Others: the connection is over; a [`Fault`] is inside where a layer says so.
    pub fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(layers) = &mut self.layers else {
            return self.socket.try_read(into);
        };
        loop {
            let n = layers.take(into);
            if n > 0 || layers.has_ended() {
                return Ok(n);
            }
            let mut chunk = [0; 8 * 1024];
            let n = self.socket.try_read(&mut chunk)?;
            if n == 0 {
                return Ok(0);
            }
            let result = layers.receive(&chunk[..n], into);
            flush(layers, |slices| self.socket.try_write_vectored(slices)).map(|_| ())?;
            match result? {
                0 => {}
                n => return Ok(n),
            }
        }
    }

    /// Takes bytes to be written; how many.
    ///
    /// # Errors
    /// `WouldBlock`: what was taken before is not yet written. Others: the connection is over.
    pub fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.layers {
            None => self.socket.try_write_vectored(slices),
            Some(layers) => send(layers, slices, |slices| self.socket.try_write_vectored(slices)),
        }
    }

    /// Writes what layers have to send; whether that is all.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.layers {
            None => Ok(true),
            Some(layers) => flush(layers, |slices| self.socket.try_write_vectored(slices)),
        }
    }

    /// Says that nothing more comes from this side, as far as that goes at once.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn shutdown(&mut self) -> io::Result<()> {
        if let Some(layers) = &mut self.layers {
            layers.say_goodbye();
            flush(layers, |slices| self.socket.try_write_vectored(slices))?;
        }
        self.socket.shutdown_write()
    }
}

/// Writes what layers have to send; whether that is all.
fn flush(
    layers: &mut Layers,
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<bool> {
    while layers.has_unsent() {
        match layers.send_with(&mut write) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Takes bytes if all that was taken before is written.
fn send(
    layers: &mut Layers,
    slices: &[IoSlice<'_>],
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    if !flush(layers, &mut write)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let n = layers.send(slices)?;
    flush(layers, write)?;
    Ok(n)
}

impl ReadHalf {
    /// Reads what is there, 0 bytes at the end. What layers have to answer goes out.
    ///
    /// # Errors
    /// The connection is over; a [`Fault`] is inside where a layer says so.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &self.layers {
            None => self.socket.poll_read(cx, into),
            Some(layers) => read_layered(&mut self.socket, &mut layers.borrow_mut(), cx, into),
        }
    }
}

#[inline(never)]
fn read_layered(
    socket: &mut SocketRead,
    layers: &mut Layers,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let n = layers.take(into.initialize_unfilled());
        if n > 0 || layers.has_ended() {
            into.advance(n);
            return Poll::Ready(Ok(()));
        }
        if layers.is_clogged() && !flush(layers, |slices| socket.try_write_vectored(slices))? {
            ready!(socket.poll_write_ready(cx))?;
            continue;
        }
        let mut chunk = [0; READ_BYTES_MAX];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(socket.poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let result = layers.receive(bytes, into.initialize_unfilled());
        let is_sent = flush(layers, |slices| socket.try_write_vectored(slices));
        let n = result?;
        if !is_sent? {
            // Whoever reads is woken when more can be written, and so is this.
            let _ = socket.poll_write_ready(cx)?;
        }
        if n > 0 {
            into.advance(n);
            return Poll::Ready(Ok(()));
        }
    }
}

impl WriteHalf {
    /// Writes, or takes bytes to be written; how many.
    ///
    /// # Errors
    /// `WouldBlock`: the socket is full. Others: the connection is over.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.layers {
            None => self.socket.try_write(bytes),
            Some(_) => self.try_write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// The same with several pieces.
    ///
    /// # Errors
    /// As [`Self::try_write`].
    #[inline]
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.layers {
            None => self.socket.try_write_vectored(slices),
            Some(layers) => {
                let write = |slices: &[IoSlice<'_>]| self.socket.try_write_vectored(slices);
                send(&mut layers.borrow_mut(), slices, write)
            }
        }
    }

    /// Writes what layers hold of that.
    ///
    /// # Errors
    /// As [`Self::try_write`].
    #[inline]
    pub fn try_flush(&self) -> io::Result<()> {
        match &self.layers {
            None => Ok(()),
            Some(layers) => {
                let write = |slices: &[IoSlice<'_>]| self.socket.try_write_vectored(slices);
                if flush(&mut layers.borrow_mut(), write)? {
                    return Ok(());
                }
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Whether layers hold nothing that is to be written.
    pub fn is_flushed(&self) -> bool {
        self.layers
            .as_ref()
            .is_none_or(|layers| !layers.borrow().has_unsent())
    }

    /// Whether more can be written.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// Layers say goodbye, as far as that goes at once.
    pub fn say_goodbye(&self) {
        if let Some(layers) = &self.layers {
            layers.borrow_mut().say_goodbye();
            // The end comes either way.
            let _ = self.try_flush();
        }
    }

    /// Says that nothing more comes from this side.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn shutdown(&self) -> io::Result<()> {
        self.say_goodbye();
        self.socket.shutdown_write()
    }
}
