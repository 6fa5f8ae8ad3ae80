//! A relay that copies bytes between sockets and looks at none: what any broker's work costs at least.
//!
//! It reads at most once and writes at most once for each 64 KiB that it moves to a receiver, and counts
//! that.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use martlet_codec::Qos;

use crate::args::{Pattern, RelayArgs};
use crate::error::Error;
use crate::message::Shape;
use crate::process::raise_open_files;
use crate::run::{Signals, prefix};
use crate::topics::Topics;

/// A read takes at most this.
const PIECE_BYTES: usize = 64 * 1024;
/// What is kept for a socket that takes no more. Beyond, its senders are not read.
const UNSENT_BYTES_MAX: usize = 4 << 20;
const LISTENER: Token = Token(usize::MAX);
const TURN: Duration = Duration::from_millis(100);

/// What a relay did.
#[derive(Debug, Default, Serialize)]
struct Counts {
    bytes_read: u64,
    bytes_written: u64,
    reads: u64,
    writes: u64,
    /// Reads that found nothing, and writes that a socket refused.
    in_vain: u64,
}

struct Peer {
    socket: TcpStream,
    to: std::ops::Range<usize>,
    /// The end of a message that was cut.
    cut: Vec<u8>,
    unsent: VecDeque<u8>,
    ready: bool,
    ended: bool,
}

/// Runs until a signal; what it did, as JSON.
pub(crate) fn run(args: &RelayArgs) -> Result<String, Error> {
    let signals = Signals::new()?;
    let wanted = match args.pattern {
        Pattern::Pairs => args.count * 2,
        Pattern::FanOut | Pattern::FanIn => args.count + 1,
    };
    raise_open_files(wanted + 32)?;
    let mut poll = Poll::new().map_err(Error::system("epoll"))?;
    let address = (Ipv4Addr::LOCALHOST, args.port).into();
    let mut listener = TcpListener::bind(address).map_err(Error::system("listening"))?;
    let register = |poll: &Poll, source: &mut dyn mio::event::Source, token, interest| {
        let result = poll.registry().register(source, token, interest);
        result.map_err(Error::system("epoll"))
    };
    register(&poll, &mut listener, LISTENER, Interest::READABLE)?;
    let port = listener.local_addr().map_err(Error::system("listening"))?.port();
    println!("{port}");

    // All messages of a run have one length: whole ones are a matter of arithmetic, not of parsing.
    let topics = Topics::Fixed { prefix: prefix() };
    let shape = Shape::new(
        args.protocol_version,
        Qos::AtMostOnce,
        args.size,
        &topics.of(0, 0),
    );
    let mut relay = Relay {
        peers: Vec::new(),
        ready: Vec::new(),
        shared: vec![0; PIECE_BYTES + shape.frame_len],
        align: shape.frame_len,
        counts: Counts::default(),
    };
    let mut events = Events::with_capacity(1024);
    while !signals.stopped() {
        let timeout = if relay.ready.is_empty() {
            TURN
        } else {
            Duration::ZERO
        };
        match poll.poll(&mut events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::system("epoll")(error)),
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    let at = relay.peers.len();
                    let _ = socket.set_nodelay(true);
                    register(
                        &poll,
                        &mut socket,
                        Token(at),
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    relay.add(socket, receivers(args, at));
                }
                continue;
            }
            let at = event.token().0;
            if event.is_writable() && !relay.peers[at].unsent.is_empty() {
                relay.write_unsent(at);
            }
            if event.is_readable() && !relay.peers[at].ready {
                relay.peers[at].ready = true;
                relay.ready.push(at);
            }
        }
        // Nobody is read before all are there: a receiver could be missing.
        if relay.peers.len() >= wanted {
            relay.turn();
        }
    }
    Ok(serde_json::to_string(&relay.counts).expect("numbers") + "\n")
}

/// Whom the connection of that number sends to.
fn receivers(args: &RelayArgs, at: usize) -> std::ops::Range<usize> {
    match args.pattern {
        Pattern::Pairs if at.is_multiple_of(2) => at + 1..at + 2,
        Pattern::FanOut if at == 0 => 1..args.count + 1,
        Pattern::FanIn if at < args.count => args.count..args.count + 1,
        _ => 0..0,
    }
}

struct Relay {
    peers: Vec<Peer>,
    ready: Vec<usize>,
    shared: Vec<u8>,
    align: usize,
    counts: Counts,
}

impl Relay {
    fn add(&mut self, socket: TcpStream, to: std::ops::Range<usize>) {
        self.peers.push(Peer {
            socket,
            to,
            cut: Vec::new(),
            unsent: VecDeque::new(),
            ready: false,
            ended: false,
        });
    }

    /// One piece from each that has something.
    fn turn(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        for at in ready {
            self.peers[at].ready = self.copy(at);
            if self.peers[at].ready {
                self.ready.push(at);
            }
        }
    }

    /// Reads once and writes that once to each receiver; whether there may be more.
    fn copy(&mut self, at: usize) -> bool {
        let to = self.peers[at].to.clone();
        if self.peers[at].ended
            || self.peers[to.clone()]
                .iter()
                .any(|peer| peer.unsent.len() > UNSENT_BYTES_MAX)
        {
            return !self.peers[at].ended;
        }
        let peer = &mut self.peers[at];
        let cut = peer.cut.len();
        self.shared[..cut].copy_from_slice(&peer.cut);
        let end = match peer.socket.read(&mut self.shared[cut..]) {
            Ok(0) => {
                peer.ended = true;
                return false;
            }
            Ok(n) => cut + n,
            Err(error) => {
                self.counts.in_vain += 1;
                peer.ended = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                return false;
            }
        };
        self.counts.reads += 1;
        self.counts.bytes_read += (end - cut) as u64;
        let whole = end - end % self.align;
        peer.cut.clear();
        peer.cut.extend_from_slice(&self.shared[whole..end]);
        for receiver in to {
            let peer = &mut self.peers[receiver];
            let mut written = 0;
            if peer.unsent.is_empty() && whole > 0 {
                self.counts.writes += 1;
                written = peer.socket.write(&self.shared[..whole]).unwrap_or_else(|_| {
                    self.counts.in_vain += 1;
                    0
                });
            }
            self.counts.bytes_written += written as u64;
            peer.unsent.extend(&self.shared[written..whole]);
        }
        end == self.shared.len()
    }

    fn write_unsent(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        while !peer.unsent.is_empty() {
            let bytes = peer.unsent.make_contiguous();
            let Ok(n) = peer.socket.write(bytes) else { return };
            self.counts.writes += 1;
            self.counts.bytes_written += n as u64;
            peer.unsent.drain(..n);
        }
    }
}
