//! Sockets of one runtime, and what is left of them between two.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, tcp};
#[cfg(unix)]
use tokio::net::{UnixStream, unix};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A socket that belongs to no runtime.
#[derive(Debug)]
pub enum StdSocket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

/// The half of a socket that reads.
#[derive(Debug)]
pub(crate) enum SocketRead {
    Tcp(tcp::OwnedReadHalf),
    #[cfg(unix)]
    Unix(unix::OwnedReadHalf),
}

/// The half of a socket that writes.
#[derive(Debug)]
pub(crate) enum SocketWrite {
    Tcp(tcp::OwnedWriteHalf),
    #[cfg(unix)]
    Unix(unix::OwnedWriteHalf),
}

/// Does the same with whichever socket it is.
macro_rules! each {
    ($type:ident, $it:expr, $socket:ident => $does:expr) => {
        match $it {
            $type::Tcp($socket) => $does,
            #[cfg(unix)]
            $type::Unix($socket) => $does,
        }
    };
}

impl StdSocket {
    /// Whether calls return instead of waiting.
    pub(crate) fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        each!(Self, self, socket => socket.set_nonblocking(is_nonblocking))
    }
}

impl Socket {
    /// Takes a socket into the runtime of this thread.
    pub(crate) fn attach(socket: StdSocket) -> io::Result<Self> {
        Ok(match socket {
            StdSocket::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket)?),
            #[cfg(unix)]
            StdSocket::Unix(socket) => Self::Unix(UnixStream::from_std(socket)?),
        })
    }

    /// Takes it out of its runtime.
    pub(crate) fn detach(self) -> io::Result<StdSocket> {
        Ok(match self {
            Self::Tcp(socket) => StdSocket::Tcp(socket.into_std()?),
            #[cfg(unix)]
            Self::Unix(socket) => StdSocket::Unix(socket.into_std()?),
        })
    }

    pub(crate) fn split(self) -> (SocketRead, SocketWrite) {
        match self {
            Self::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (SocketRead::Tcp(read), SocketWrite::Tcp(write))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (read, write) = socket.into_split();
                (SocketRead::Unix(read), SocketWrite::Unix(write))
            }
        }
    }

    /// Both halves of one socket.
    pub(crate) fn reunite(read: SocketRead, write: SocketWrite) -> Self {
        match (read, write) {
            (SocketRead::Tcp(read), SocketWrite::Tcp(write)) => {
                Self::Tcp(read.reunite(write).expect("they are halves of one socket"))
            }
            #[cfg(unix)]
            (SocketRead::Unix(read), SocketWrite::Unix(write)) => {
                Self::Unix(read.reunite(write).expect("they are halves of one socket"))
            }
            #[cfg(unix)]
            _ => panic!("they are halves of two sockets"),
        }
    }

    /// Waits until it may be read, or written too.
    pub(crate) async fn ready(&self, interest: tokio::io::Interest) -> io::Result<tokio::io::Ready> {
        each!(Self, self, socket => socket.ready(interest).await)
    }

    /// Reads what is there. After a read that does not fill `into`, the runtime knows that nothing more is there, and
    /// the system need not be asked again; that is what tokio's `try_read` lacks.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        // Who waits does so by `ready`, which has a waker of its own.
        let mut nobody = Context::from_waker(Waker::noop());
        let read = each!(Self, self, socket => Pin::new(socket).poll_read(&mut nobody, &mut buffer));
        match read {
            Poll::Ready(end) => end.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(Self, self, socket => socket.try_write_vectored(slices))
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        each!(Self, self, socket => SockRef::from(socket).shutdown(Shutdown::Write))
    }
}

impl SocketRead {
    /// Reads once. A short read says that no more is there, without another call of the system.
    #[inline]
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(Self, self, socket => Pin::new(socket).poll_read(cx, into))
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(Self, self, socket => socket.as_ref().try_write_vectored(slices))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(Self, self, socket => socket.as_ref().poll_write_ready(cx))
    }
}

impl SocketWrite {
    #[inline]
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        each!(Self, self, socket => socket.try_write(bytes))
    }

    #[inline]
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(Self, self, socket => socket.try_write_vectored(slices))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(Self, self, socket => socket.as_ref().poll_write_ready(cx))
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                let socket: &TcpStream = socket.as_ref();
                SockRef::from(socket).shutdown(Shutdown::Write)
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let socket: &UnixStream = socket.as_ref();
                SockRef::from(socket).shutdown(Shutdown::Write)
            }
        }
    }
}
