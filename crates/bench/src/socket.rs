//! TCP or a Unix socket, whether it waits or not.

use std::io::{self, IoSlice, Read, Write};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};

/// A socket of either kind.
#[derive(Debug)]
pub(crate) enum Socket<T, U> {
    Tcp(T),
    Unix(U),
}

/// One that waits for what it is asked for.
pub(crate) type Waiting = Socket<std::net::TcpStream, std::os::unix::net::UnixStream>;

/// One that never waits.
pub(crate) type Polled = Socket<mio::net::TcpStream, mio::net::UnixStream>;

/// Whatever both kinds do in the same way.
macro_rules! each {
    ($socket:expr, $name:ident => $what:expr) => {
        match $socket {
            Socket::Tcp($name) => $what,
            Socket::Unix($name) => $what,
        }
    };
}

impl Waiting {
    /// How long it waits for the other side at most.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        each!(self, socket => {
            socket.set_read_timeout(Some(patience))?;
            socket.set_write_timeout(Some(patience))
        })
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        each!(self, socket => socket.set_nonblocking(true))
    }

    /// The same for a loop; it must not wait any more.
    pub(crate) fn polled(self) -> Polled {
        match self {
            Self::Tcp(socket) => Socket::Tcp(mio::net::TcpStream::from_std(socket)),
            Self::Unix(socket) => Socket::Unix(mio::net::UnixStream::from_std(socket)),
        }
    }
}

impl<T: Read, U: Read> Read for Socket<T, U> {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        each!(self, socket => socket.read(into))
    }
}

impl<T: Write, U: Write> Write for Socket<T, U> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, socket => socket.write(bytes))
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, socket => socket.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        each!(self, socket => socket.flush())
    }
}

impl<T: Source, U: Source> Source for Socket<T, U> {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        each!(self, socket => socket.register(registry, token, interest))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        each!(self, socket => socket.reregister(registry, token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(self, socket => socket.deregister(registry))
    }
}
