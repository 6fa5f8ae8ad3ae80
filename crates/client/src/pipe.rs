//! A socket that no runtime watches and the layers over it, for the poll driver.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use martlet_net::client::Opening;
use martlet_net::{Fault, Layers, StdSocket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::carry;
use crate::dial::failed;
use crate::error::ConnectError;
use crate::options::Options;

/// Bytes of the network that layers take in at once.
const CHUNK_BYTES: usize = 8 << 10;

/// A connection that carries MQTT. Nothing here waits.
pub(crate) struct Pipe {
    socket: StdSocket,
    layers: Option<Box<Layers>>,
    said_goodbye: bool,
    is_shut: bool,
}

/// A connection whose layers have not agreed with the other side.
pub(crate) struct Handshake {
    socket: StdSocket,
    opening: Box<Opening>,
}

/// How far a handshake is.
pub(crate) enum Step {
    /// Turn again when the socket is ready.
    Waits(Handshake),
    Open(Pipe),
    Failed(ConnectError),
}

impl Pipe {
    pub(crate) const fn plain(socket: StdSocket) -> Self {
        Self::new(socket, None)
    }

    const fn new(socket: StdSocket, layers: Option<Box<Layers>>) -> Self {
        Self {
            socket,
            layers,
            said_goodbye: false,
            is_shut: false,
        }
    }

    /// Whether bytes of MQTT are here that the socket does not tell of.
    pub(crate) fn has_received(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_received())
    }

    /// Whether layers have something to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_unsent())
    }

    /// Says that nothing more comes from this side, as far as that goes now: called again when the socket can be written.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.said_goodbye, true)
            && let Some(layers) = &mut self.layers
        {
            layers.say_goodbye();
        }
        if !self.is_shut && carry::Socket::flush(self)? {
            self.is_shut = true;
            match &self.socket {
                StdSocket::Tcp(socket) => socket.shutdown(Shutdown::Write)?,
                StdSocket::Unix(socket) => socket.shutdown(Shutdown::Write)?,
            }
        }
        Ok(())
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        fd(&self.socket)
    }
}

impl carry::Socket for Pipe {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { socket, layers, .. } = self;
        let Some(layers) = layers else {
            return read(socket, buffer);
        };
        loop {
            let n = layers.take(buffer);
            if n > 0 || layers.has_ended() {
                return Ok(n);
            }
            if layers.is_clogged() && !flush(layers, socket)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut chunk = [0; CHUNK_BYTES];
            let n = read(socket, &mut chunk)?;
            if n == 0 {
                return Ok(0);
            }
            let taken = layers.receive(&chunk[..n], buffer);
            let sent = flush(layers, socket);
            let n = taken?;
            sent?;
            if n > 0 {
                return Ok(n);
            }
        }
    }

    fn write_some(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self { socket, layers, .. } = self;
        let Some(layers) = layers else {
            return write(socket, slices);
        };
        if !flush(layers, socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = layers.send(slices)?;
        flush(layers, socket)?;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<bool> {
        match &mut self.layers {
            Some(layers) => flush(layers, &self.socket),
            None => Ok(true),
        }
    }
}

impl Handshake {
    pub(crate) const fn new(socket: StdSocket, opening: Box<Opening>) -> Self {
        Self { socket, opening }
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.opening.has_unsent()
    }

    /// Does what can be done now.
    pub(crate) fn step(mut self) -> Step {
        match self.exchange() {
            Ok(()) if self.opening.is_open() => {
                let layers = Box::new(self.opening.into_layers());
                Step::Open(Pipe::new(self.socket, Some(layers)))
            }
            Ok(()) => Step::Waits(self),
            Err(fault) => {
                // What is said to the other side about it goes out, if that goes at once.
                let _ = flush(self.opening.layers(), &self.socket);
                Step::Failed(ConnectError::Transport(Box::new(self.opening.explain(fault))))
            }
        }
    }

    fn exchange(&mut self) -> Result<(), Fault> {
        let mut chunk = [0; CHUNK_BYTES];
        flush(self.opening.layers(), &self.socket)?;
        while !self.opening.is_open() {
            match read(&self.socket, &mut chunk) {
                Ok(n) => self.opening.receive(&chunk[..n])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            flush(self.opening.layers(), &self.socket)?;
        }
        Ok(())
    }
}

impl AsFd for Handshake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        fd(&self.socket)
    }
}

fn fd(socket: &StdSocket) -> BorrowedFd<'_> {
    match socket {
        StdSocket::Tcp(socket) => socket.as_fd(),
        StdSocket::Unix(socket) => socket.as_fd(),
    }
}

fn read(socket: &StdSocket, buffer: &mut [u8]) -> io::Result<usize> {
    match socket {
        StdSocket::Tcp(socket) => (&*socket).read(buffer),
        StdSocket::Unix(socket) => (&*socket).read(buffer),
    }
}

fn write(socket: &StdSocket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match socket {
        StdSocket::Tcp(socket) => (&*socket).write_vectored(slices),
        StdSocket::Unix(socket) => (&*socket).write_vectored(slices),
    }
}

/// Writes what layers have to send; whether that is all.
fn flush(layers: &mut Layers, socket: &StdSocket) -> io::Result<bool> {
    while layers.has_unsent() {
        match layers.send_with(|slices| write(socket, slices)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// A socket that is being connected.
pub(crate) fn dial(options: &Options, server: usize, address: &SockAddr) -> Result<Socket, ConnectError> {
    let failed = |source| failed(options, server, source);
    let protocol = (address.domain() != Domain::UNIX).then_some(Protocol::TCP);
    let socket = Socket::new(address.domain(), Type::STREAM, protocol).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    if let (Some(bind), Some(_)) = (options.bind_address, address.as_socket()) {
        let local = SocketAddr::new(bind, 0);
        let bound = socket.bind(&local.into());
        bound.map_err(|source| ConnectError::Bind { bind, source })?;
    }
    match socket.connect(address) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(socket),
        Err(error) => Err(failed(error)),
    }
}

/// Whether the connection is made, `false` while it is being made.
pub(crate) fn is_connected(socket: &Socket) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    let none = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut fds, Some(&none))? == 0 {
        return Ok(false);
    }
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(true),
    }
}
