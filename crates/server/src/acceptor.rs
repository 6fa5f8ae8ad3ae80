//! Accepts connections and hands each to the shard that has least to do.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use martlet_broker::{Address, Peer, Shared};
use martlet_net::Stream;

use crate::entrance::Entrance;
use crate::handshakes::{Handshakes, Job};
use crate::inbox::{Arrival, Inbox, Item, Known};
use crate::limits::HANDSHAKES_MAX;
use crate::placement::{Load, Placement};
use crate::worker::Worker;

/// One listening socket.
pub(crate) struct Acceptor {
    pub(crate) listener: Listening,
    /// Its address or path, for the log.
    pub(crate) address: String,
    /// The name of its listener in the log.
    pub(crate) name: Arc<str>,
    /// What clients need before MQTT; none: nothing.
    pub(crate) entrance: Option<(Arc<Entrance>, Arc<Handshakes>)>,
    /// Which rules hold for its clients.
    pub(crate) rules: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inboxes: Arc<[Inbox]>,
    /// Connections of all listeners. At it: waits, and says so.
    pub(crate) connections_max: u64,
    /// Connections without a CONNECT. At it: waits, and says so.
    pub(crate) half_open_max: u64,
}

/// A socket that takes connections.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
    /// Has a thread of its own.
    #[cfg(feature = "quic")]
    Quic(std::net::UdpSocket),
}

/// The same in the runtime of a thread.
enum Attached {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Attached {
    fn of(listening: &Listening) -> io::Result<Self> {
        Ok(match listening {
            Listening::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener.try_clone()?)?),
            Listening::Unix(listener) => {
                Self::Unix(tokio::net::UnixListener::from_std(listener.try_clone()?)?)
            }
            #[cfg(feature = "quic")]
            Listening::Quic(_) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    async fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((stream.into(), address.into()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
                let process = process.and_then(|pid| u32::try_from(pid).ok());
                Ok((stream.into(), Address::Local { process }))
            }
        }
    }
}

/// How long to wait before looking again whether there is room.
const WAIT: Duration = Duration::from_millis(50);

/// Between two lines that say that there is no room.
const FULL_LINE_INTERVAL: Duration = Duration::from_secs(1);

impl Acceptor {
    /// Runs until it is dropped, on the thread of a shard: what stays in that shard needs no other thread.
    pub(crate) async fn run(self, here: &Rc<Worker>) -> io::Result<()> {
        let listener = Attached::of(&self.listener)?;
        let mut placement = Placement::new(Instant::now(), self.inboxes.len());
        let mut fullness = Fullness::default();
        loop {
            self.wait_for_room(&mut fullness).await;
            let accepted = listener.accept().await.and_then(|(stream, address)| {
                let shard = placement.choose(Instant::now(), |shard| self.load(shard));
                self.pass_on(stream, address, shard, here)
            });
            match accepted {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    tracing::error!(
                        address = %self.address, error = %error,
                        fix = "raise the limit of open files (ulimit -n, LimitNOFILE)",
                        "listener.waits"
                    );
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Gives a connection to its shard, or to its handshakes first.
    fn pass_on(&self, stream: Stream, address: Address, shard: usize, here: &Rc<Worker>) -> io::Result<()> {
        let peer = Peer {
            address,
            listener: self.rules,
        };
        if let Some((entrance, handshakes)) = &self.entrance {
            let stream = stream.detach()?;
            self.inboxes[shard].expect_connection();
            handshakes.begin(Job {
                stream,
                peer,
                shard,
                entrance: Arc::clone(entrance),
                listener: Arc::clone(&self.name),
            });
            return Ok(());
        }
        if shard == here.index() {
            here.open(stream, peer, &[], Known::default());
            return Ok(());
        }
        // The stream leaves this thread's runtime for that of its shard.
        let arrival = Arrival {
            stream: stream.detach()?,
            peer,
            unread: Vec::new(),
            known: Known::default(),
        };
        self.inboxes[shard].push(Item::Connection(Box::new(arrival)));
        Ok(())
    }

    /// At the limits nobody is accepted: clients wait in the kernel, and the log says why.
    pub(crate) async fn wait_for_room(&self, fullness: &mut Fullness) {
        while let Some((reason, limit)) = self.full() {
            if fullness.begins(Instant::now()) {
                tracing::warn!(address = %self.address, reason, limit, "listener.full");
            }
            tokio::time::sleep(WAIT).await;
        }
        if fullness.ends() {
            tracing::info!(address = %self.address, "listener.room");
        }
    }

    fn full(&self) -> Option<(&'static str, u64)> {
        // In this order, so that one that is opened just now is counted twice rather than not at all.
        let on_the_way: usize = self.inboxes.iter().map(Inbox::connections).sum();
        let totals = self.shared.totals();
        let sockets = totals.sockets + on_the_way as u64;
        if sockets >= self.connections_max {
            return Some(("too many connections", self.connections_max));
        }
        if self
            .entrance
            .as_ref()
            .is_some_and(|(_, handshakes)| handshakes.is_full())
        {
            return Some(("too many handshakes", HANDSHAKES_MAX as u64));
        }
        let half_open = sockets.saturating_sub(totals.sessions_connected);
        (half_open >= self.half_open_max)
            .then_some(("too many connections without CONNECT", self.half_open_max))
    }

    pub(crate) fn load(&self, shard: usize) -> Load {
        let counters = &self.shared.counters[shard];
        Load {
            connections: counters.sockets.get() + self.inboxes[shard].connections() as u64,
            packets: counters
                .packets_received
                .get()
                .wrapping_add(counters.packets_sent.get()),
        }
    }
}

/// What the log was told of the limits: near them, room comes and goes many times a second.
#[derive(Debug, Default)]
pub(crate) struct Fullness {
    last: Option<Instant>,
    is_told: bool,
}

impl Fullness {
    /// There is no room; whether to say so.
    fn begins(&mut self, now: Instant) -> bool {
        let is_lately = self.last.is_some_and(|last| now < last + FULL_LINE_INTERVAL);
        if self.is_told || is_lately {
            return false;
        }
        self.last = Some(now);
        self.is_told = true;
        true
    }

    /// There is room; whether to say so, because the opposite was said.
    fn ends(&mut self) -> bool {
        std::mem::take(&mut self.is_told)
    }
}

/// The client went away before it was accepted: nobody's fault.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_room_are_told_once_a_second() {
        let (mut fullness, start) = (Fullness::default(), Instant::now());
        let mut told = [0, 0];
        for at_ms in (0..=1_000).step_by(10) {
            let now = start + Duration::from_millis(at_ms);
            told[0] += u32::from(fullness.begins(now));
            told[0] += u32::from(fullness.begins(now));
            told[1] += u32::from(fullness.ends());
        }
        assert_eq!(told, [2, 2]);
        assert!(!fullness.ends());
    }
}
