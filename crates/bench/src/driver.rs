//! The loop around the sockets: one thread, one read per ready socket into one shared buffer, one write
//! per socket and turn.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use martlet_codec::Packet;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::client::Client;
use crate::error::Error;
use crate::socket::{Polled, Waiting};
use crate::wire::{Came, SEALED_BYTES, Wire};

const SHARED_BYTES: usize = 256 * 1024;
/// A packet of which more than this has come is read to its end in a buffer of its own.
const LARGE_BYTES: usize = 16 * 1024;
const EVENTS: usize = 1024;
const ALARM: Token = Token(usize::MAX);

/// What a workload does with what comes.
pub(crate) trait Handler {
    /// Takes whole packets off the front of `bytes` and says how many bytes they were. `now` is in
    /// nanoseconds.
    fn take(&mut self, links: &mut Links, link: usize, bytes: &[u8], now: u64) -> Result<usize, Error>;

    /// Sends what may be sent, after all that has come was taken.
    fn send(&mut self, links: &mut Links, now: u64);
}

/// A connection.
#[derive(Debug)]
struct Link {
    name: String,
    wire: Wire<Polled>,
    out: Vec<u8>,
    /// How much of `out` is written; it is emptied when all is.
    written: usize,
    /// The start of a packet, `filled` bytes of it.
    partial: Vec<u8>,
    filled: usize,
    /// The socket took no more: wait until it says so.
    blocked: bool,
    dirty: bool,
    ready: bool,
    /// What came while the connection was set up was not handled yet.
    unseen: bool,
}

/// The connections, as a handler sees them: places to write to.
#[derive(Debug, Default)]
pub(crate) struct Links {
    all: Vec<Link>,
    dirty: Vec<usize>,
}

impl Links {
    /// The buffer of what will be written to a connection at the end of this turn.
    #[inline]
    pub(crate) fn out(&mut self, at: usize) -> &mut Vec<u8> {
        let link = &mut self.all[at];
        if !link.dirty && !link.blocked {
            link.dirty = true;
            self.dirty.push(at);
        }
        &mut link.out
    }

    /// The same, and how much of it the socket took already.
    #[inline]
    pub(crate) fn out_and_written(&mut self, at: usize) -> (&mut Vec<u8>, usize) {
        let written = self.all[at].written;
        (self.out(at), written)
    }

    pub(crate) fn name(&self, at: usize) -> &str {
        &self.all[at].name
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for at in dirty.drain(..) {
            self.all[at].dirty = false;
            self.all[at].flush()?;
        }
        self.dirty = dirty;
        Ok(())
    }
}

impl Link {
    fn flush(&mut self) -> Result<(), Error> {
        while self.written < self.out.len() {
            match self.wire.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
        self.out.clear();
        self.written = 0;
        self.blocked = !self.wire.flush().map_err(|error| self.lost(error))?;
        Ok(())
    }

    /// Reads once. `None`: nothing was there.
    fn read(&mut self, buffer: Option<&mut [u8]>, sealed: &mut [u8]) -> Result<Option<Came>, Error> {
        let buffer = buffer.unwrap_or(&mut self.partial[self.filled..]);
        match self.wire.read(buffer, sealed) {
            Ok(Came { bytes: 0, .. }) => Err(self.lost(ErrorKind::UnexpectedEof.into())),
            Ok(came) => Ok(Some(came)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        if self.partial.len() < rest.len() {
            self.partial.resize(rest.len(), 0);
        }
        self.partial[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    fn lost(&self, source: std::io::Error) -> Error {
        Error::Lost {
            client: self.name.clone(),
            what: "messages",
            source,
        }
    }
}

/// The loop.
pub(crate) struct Driver {
    poll: Poll,
    events: Events,
    pub(crate) links: Links,
    ready: Vec<usize>,
    shared: Vec<u8>,
    /// What comes from sockets under layers.
    sealed: Vec<u8>,
    epoch: Instant,
    alarm: Option<OwnedFd>,
}

impl Driver {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            poll: Poll::new().map_err(Error::system("epoll"))?,
            events: Events::with_capacity(EVENTS),
            links: Links::default(),
            ready: Vec::new(),
            shared: vec![0; SHARED_BYTES],
            sealed: vec![0; SEALED_BYTES],
            epoch: Instant::now(),
            alarm: None,
        })
    }

    /// Takes a connection over. The next has the next number.
    pub(crate) fn add(&mut self, client: Client) -> Result<usize, Error> {
        let failed = Error::system("handing a connection to epoll");
        let at = self.links.all.len();
        let Client {
            name,
            mut wire,
            input,
            ..
        } = client;
        wire.socket().set_nonblocking().map_err(&failed)?;
        let mut wire = wire.map(Waiting::polled);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(wire.socket(), Token(at), interest)
            .map_err(&failed)?;
        self.links.all.push(Link {
            name,
            wire,
            out: Vec::new(),
            written: 0,
            filled: input.len(),
            partial: input,
            blocked: false,
            dirty: false,
            // What has come already makes no edge.
            ready: true,
            unseen: true,
        });
        self.ready.push(at);
        Ok(at)
    }

    /// Wakes the loop at this interval, finer than the milliseconds of epoll.
    pub(crate) fn wake_every(&mut self, interval: Duration) -> Result<(), Error> {
        let failed = |errno: rustix::io::Errno| Error::system("a timer")(errno.into());
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(failed)?;
        let spec = Timespec {
            tv_sec: interval.as_secs().cast_signed(),
            tv_nsec: interval.subsec_nanos().into(),
        };
        let timer = Itimerspec {
            it_interval: spec,
            it_value: spec,
        };
        timerfd_settime(&alarm, TimerfdTimerFlags::empty(), &timer).map_err(failed)?;
        self.poll
            .registry()
            .register(&mut SourceFd(&alarm.as_raw_fd()), ALARM, Interest::READABLE)
            .map_err(Error::system("a timer"))?;
        self.alarm = Some(alarm);
        Ok(())
    }

    /// Nanoseconds since the loop was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits for something to happen, not longer than `timeout`, and handles it.
    pub(crate) fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> Result<(), Error> {
        let timeout = if self.ready.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::system("epoll")(error)),
        }
        for event in &self.events {
            if event.token() == ALARM {
                if let Some(alarm) = &self.alarm {
                    // The timer goes on only when it was read.
                    let _ = rustix::io::read(alarm, &mut [0_u8; 8]);
                }
                continue;
            }
            let at = event.token().0;
            let link = &mut self.links.all[at];
            if event.is_writable() && link.blocked {
                link.flush()?;
            }
            if (event.is_readable() || event.is_read_closed()) && !link.ready {
                link.ready = true;
                self.ready.push(at);
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        let mut kept = 0;
        for nth in 0..ready.len() {
            let at = ready[nth];
            if self.read(at, handler)? {
                ready[kept] = at;
                kept += 1;
            } else {
                self.links.all[at].ready = false;
            }
        }
        ready.truncate(kept);
        self.ready = ready;
        let now = self.now();
        handler.send(&mut self.links, now);
        self.links.flush()
    }

    /// Reads once; whether there may be more.
    fn read(&mut self, at: usize, handler: &mut impl Handler) -> Result<bool, Error> {
        let link = &mut self.links.all[at];
        let filled = link.filled;
        let announced = (filled > LARGE_BYTES)
            .then(|| Packet::announced_len(&link.partial[..filled]))
            .flatten()
            .filter(|length| *length > filled);
        if let Some(length) = announced {
            link.partial.resize(length, 0);
            let Some(came) = link.read(None, &mut self.sealed)? else {
                return Ok(false);
            };
            link.filled += came.bytes;
            if link.filled < length {
                return Ok(!came.is_all);
            }
            let packet = std::mem::take(&mut link.partial);
            let now = self.now();
            handler.take(&mut self.links, at, &packet, now)?;
            let link = &mut self.links.all[at];
            link.partial = packet;
            link.filled = 0;
            return Ok(true);
        }
        self.shared[..filled].copy_from_slice(&link.partial[..filled]);
        let seen_before = std::mem::take(&mut link.unseen);
        let (end, is_all) = if seen_before {
            (filled, false)
        } else {
            let Some(came) = link.read(Some(&mut self.shared[filled..]), &mut self.sealed)? else {
                return Ok(false);
            };
            (filled + came.bytes, came.is_all)
        };
        let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let taken = handler.take(&mut self.links, at, &self.shared[..end], now)?;
        self.links.all[at].keep(&self.shared[taken..end]);
        Ok(!is_all)
    }
}
