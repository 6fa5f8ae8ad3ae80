//! A driver without a runtime and without a thread of its own: whoever calls [`Pump::turn`] moves the
//! bytes, for as long as it likes. For programs with an event loop of their own, and for interfaces
//! whose callers drive the connection. A [store](crate::Options::store) is written and synced in the turn as well.
//!
//! ```no_run
//! use martlet_client::{Message, Options, Qos, poll::Pump, topic};
//! use std::time::Duration;
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut pump) = Pump::new(Options::new("localhost", 1883))?;
//! let message = Message::new(topic!("S013/MOT01/RECM"), "DRVZ+1000").qos(Qos::AtLeastOnce);
//! let delivery = client.try_publish(message)?;
//! match pump.run(delivery, Duration::from_secs(5)) {
//!     Some(end) => println!("{:?}", end?.reason),
//!     None => println!("not within five seconds"),
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use martlet_net::StdSocket;
use martlet_net::client::{DialError, Opening, Place, Route};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{SockAddr, Socket};

use crate::api::Client;
use crate::carry::{Standing, discard, login, look, read, unreachable, write};
use crate::dial::failed;
use crate::engine::Task;
use crate::error::{ConnectError, Lost};
use crate::keeper;
use crate::limits;
use crate::options::{Options, OptionsError};
use crate::pipe::{self, Handshake, Pipe, Step};
use crate::shared::Shared;
use crate::store::Store;

/// Runs the connection of a client in [`turn`](Self::turn). Dropped, the connection is cut.
pub struct Pump {
    shared: Arc<Shared>,
    link: Link,
    bell: Arc<Bell>,
    ear: UnixStream,
    store: Option<Box<dyn Store>>,
}

/// How far a connection is.
enum Link {
    None,
    Login {
        server: usize,
        login: Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>,
    },
    Dialing(Dialing),
    /// It is there, and its layers have not agreed with the server.
    Opening {
        server: usize,
        handshake: Handshake,
    },
    Up {
        pipe: Pipe,
        /// Whether something waits to be written.
        is_blocked: bool,
        reads: bool,
    },
    /// Our DISCONNECT has left: what comes is read until the server closes.
    Leaving {
        pipe: Pipe,
        by: Instant,
    },
}

/// A connection that is being made.
struct Dialing {
    server: usize,
    socket: Socket,
    others: VecDeque<SockAddr>,
    /// What goes over it, if it is not MQTT itself.
    opening: Option<Box<Opening>>,
}

/// Wakes a thread that waits in `poll`.
struct Bell(UnixStream);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // When the pipe is full it has been rung before.
        let _ = (&self.0).write(&[1]);
    }
}

/// Why a pump cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PumpError {
    /// The options cannot be said on the wire.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The system gives no more file descriptors.
    #[error("cannot make a socket pair")]
    Pair(#[source] io::Error),
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.with(|hub, _| hub.engine.close(&Lost::ByUs));
        self.keep();
    }
}

impl Pump {
    /// A client and what runs it. Nothing happens before the first [`turn`](Self::turn). The client may
    /// be used on any thread; all its futures can be waited for on any executor, or by [`run`](Self::run).
    ///
    /// Failures of the first attempt to connect are followed by others as
    /// [`Options::reconnect`] says.
    pub fn new(options: Options) -> Result<(Client, Self), PumpError> {
        options.check()?;
        let (bell, ear) = UnixStream::pair().map_err(PumpError::Pair)?;
        for end in [&bell, &ear] {
            end.set_nonblocking(true).map_err(PumpError::Pair)?;
        }
        let (shared, store) = Shared::new(options, true)?;
        let shared = Arc::new(shared);
        let pump = Self {
            shared: Arc::clone(&shared),
            link: Link::None,
            bell: Arc::new(Bell(bell)),
            ear,
            store,
        };
        Ok((Client::of(shared), pump))
    }

    /// Does what there is to do, waits at most so long for the network, a deadline or a command of another
    /// thread, and does what there is to do then. With no time it never waits, but for the look-up of a
    /// host name, which the system does in its own time. Returns `false` once the client is closed.
    pub fn turn(&mut self, wait_max: Duration) -> bool {
        self.step();
        if !self.is_open() {
            return false;
        }
        if !wait_max.is_zero() {
            self.wait(wait_max);
            self.step();
        }
        self.is_open()
    }

    /// Turns until the future is ready, at most so long: `None` says that it is not. It may be one of this
    /// client's, such as [`Client::publish`] or a [`Delivery`](crate::Delivery).
    pub fn run<F: Future>(&mut self, future: F, wait_max: Duration) -> Option<F::Output> {
        let end = Instant::now().checked_add(wait_max);
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
            let left = end.map_or(wait_max, |end| end.saturating_duration_since(Instant::now()));
            let is_over = left.is_zero();
            if !self.turn(left) || is_over {
                // What the last turn has brought counts.
                return match future.as_mut().poll(&mut context) {
                    Poll::Ready(output) => Some(output),
                    Poll::Pending => None,
                };
            }
        }
    }

    /// The socket of the connection, for an event loop that calls [`turn`](Self::turn) without time when it
    /// is ready; `None` between connections.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.link {
            Link::None | Link::Login { .. } => None,
            Link::Dialing(dialing) => Some(dialing.socket.as_fd()),
            Link::Opening { handshake, .. } => Some(handshake.as_fd()),
            Link::Up { pipe, .. } | Link::Leaving { pipe, .. } => Some(pipe.as_fd()),
        }
    }

    /// Whether to turn when the socket can be read.
    pub const fn wants_read(&self) -> bool {
        match &self.link {
            Link::None | Link::Login { .. } | Link::Dialing(_) => false,
            Link::Up { reads, .. } => *reads,
            Link::Opening { .. } | Link::Leaving { .. } => true,
        }
    }

    /// Whether to turn when the socket can be written. Commands may make it so: turn after them.
    pub fn wants_write(&self) -> bool {
        match &self.link {
            Link::None | Link::Login { .. } => false,
            Link::Dialing(_) => true,
            Link::Opening { handshake, .. } => handshake.wants_write(),
            Link::Leaving { pipe, .. } => pipe.has_unsent(),
            Link::Up { is_blocked, pipe, .. } => {
                *is_blocked || pipe.has_unsent() || !self.shared.lock().engine.output().is_empty()
            }
        }
    }

    /// When to turn at the latest, whatever the socket does: at once, if what it has had waits behind TLS to be read.
    pub fn deadline(&self) -> Option<Instant> {
        if let Link::Up {
            pipe, reads: true, ..
        } = &self.link
            && pipe.has_received()
        {
            return Some(Instant::now());
        }
        let at = self
            .shared
            .lock()
            .deadline()
            .map(|at_ms| self.shared.instant(at_ms));
        match &self.link {
            Link::Leaving { by, .. } => Some(at.map_or(*by, |at| at.min(*by))),
            _ => at,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.link, Link::Leaving { .. }) || self.shared.lock().engine.closed().is_none()
    }

    /// Waits for the socket, the bell, the deadline or the end of the time.
    fn wait(&mut self, wait_max: Duration) {
        let until_deadline = self
            .deadline()
            .map(|at| at.saturating_duration_since(Instant::now()));
        // A deadline has a resolution of milliseconds: rather a little too late than twice.
        let later = |time: Duration| {
            if time.is_zero() {
                time
            } else {
                time + Duration::from_millis(1)
            }
        };
        let until_deadline = until_deadline.map(later);
        let mut time = until_deadline.map_or(wait_max, |time| time.min(wait_max));
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut command = pin!(self.shared.wake.notified());
        if command.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            time = Duration::ZERO;
        }
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.wants_read());
        interest.set(PollFlags::OUT, self.wants_write());
        let mut fds = vec![PollFd::new(&self.ear, PollFlags::IN)];
        if let Some(socket) = self.socket() {
            fds.push(PollFd::from_borrowed_fd(socket, interest));
        }
        let time = Timespec::try_from(time).ok();
        match poll(&mut fds, time.as_ref()) {
            // A signal: the caller turns again.
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing that another try could not mend, and no reason to spin.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        self.hush();
    }

    /// Takes what was rung.
    fn hush(&self) {
        let mut rung = [0; 64];
        while matches!((&self.ear).read(&mut rung), Ok(n) if n == rung.len()) {}
    }

    /// Does all that can be done without waiting.
    fn step(&mut self) {
        self.shared.with(|hub, now_ms| {
            if hub.deadline().is_some_and(|at_ms| at_ms <= now_ms) {
                hub.engine.timeout(now_ms);
            }
        });
        for _ in 0..STEPS_MAX {
            let went_on = self.advance();
            if !self.keep() && !went_on {
                break;
            }
        }
        self.shared.tell_packet_log();
    }

    /// Keeps what the store is to keep; whether there was something. What waited for that leaves in the next step.
    fn keep(&mut self) -> bool {
        let mut has_kept = false;
        while keeper::keep(&self.shared, &mut self.store) {
            has_kept = true;
        }
        if self.shared.keeper.holds_store() && self.shared.lock().engine.closed().is_some() {
            keeper::close(&self.shared, &mut self.store);
        }
        has_kept
    }

    /// One step; whether another may follow at once.
    fn advance(&mut self) -> bool {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::None => self.begin(),
            Link::Login { server, login } => self.login(server, login),
            Link::Dialing(dialing) => self.dialing(dialing),
            Link::Opening { server, handshake } => self.open(server, handshake),
            Link::Up { pipe, reads, .. } => self.carry(pipe, reads),
            Link::Leaving { pipe, by } => self.leave(pipe, by),
        }
    }

    fn begin(&mut self) -> bool {
        match self.shared.task() {
            Task::Dial { server } => {
                let number = u32::try_from(self.shared.stats().0.attempts).unwrap_or(u32::MAX);
                let login = Box::pin(login(Arc::clone(&self.shared), server, number));
                self.link = Link::Login { server, login };
                true
            }
            Task::Carry => {
                self.shared
                    .with(|hub, now_ms| hub.engine.lost(now_ms, Lost::Closed));
                true
            }
            Task::Wait | Task::End => false,
        }
    }

    fn login(
        &mut self,
        server: usize,
        mut login: Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>,
    ) -> bool {
        if !self.shared.lock().engine.is_dialing() {
            return true;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        match login.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                self.link = Link::Login { server, login };
                false
            }
            Poll::Ready(Ok(())) => self.look_up(server),
            Poll::Ready(Err(error)) => {
                unreachable(&self.shared, error);
                true
            }
        }
    }

    /// The addresses of the server, of which the first is tried.
    fn look_up(&mut self, server: usize) -> bool {
        let (host, port) = self.shared.options.server(server);
        let route = self.shared.options.route(host, port);
        match prepare(&route) {
            Ok((mut addresses, opening)) => match addresses.pop_front() {
                Some(first) => self.dial(server, &first, addresses, opening),
                None => unreachable(&self.shared, not_found(host, io::ErrorKind::NotFound.into())),
            },
            Err(error) => unreachable(&self.shared, error),
        }
        true
    }

    fn dial(
        &mut self,
        server: usize,
        address: &SockAddr,
        others: VecDeque<SockAddr>,
        opening: Option<Box<Opening>>,
    ) {
        match pipe::dial(&self.shared.options, server, address) {
            Ok(socket) => {
                self.link = Link::Dialing(Dialing {
                    server,
                    socket,
                    others,
                    opening,
                });
            }
            Err(error) => self.not_reached(server, others, opening, error),
        }
    }

    /// Tries the next address, if there is one.
    fn not_reached(
        &mut self,
        server: usize,
        mut others: VecDeque<SockAddr>,
        opening: Option<Box<Opening>>,
        error: ConnectError,
    ) {
        match others.pop_front() {
            Some(next) => self.dial(server, &next, others, opening),
            None => unreachable(&self.shared, error),
        }
    }

    fn dialing(&mut self, dialing: Dialing) -> bool {
        if !self.shared.lock().engine.is_dialing() {
            return true;
        }
        match pipe::is_connected(&dialing.socket) {
            Ok(false) => {
                self.link = Link::Dialing(dialing);
                return false;
            }
            Ok(true) => {
                let socket = standard(dialing.socket, self.shared.options.no_delay);
                match dialing.opening {
                    None => self.connected(Pipe::plain(socket)),
                    Some(opening) => {
                        let handshake = Handshake::new(socket, opening);
                        let server = dialing.server;
                        self.link = Link::Opening { server, handshake };
                    }
                }
            }
            Err(source) => {
                let Dialing {
                    server,
                    others,
                    opening,
                    ..
                } = dialing;
                let error = failed(&self.shared.options, server, source);
                self.not_reached(server, others, opening, error);
            }
        }
        true
    }

    /// Goes on with the handshakes below MQTT.
    fn open(&mut self, server: usize, handshake: Handshake) -> bool {
        if !self.shared.lock().engine.is_dialing() {
            return true;
        }
        match handshake.step() {
            Step::Waits(handshake) => {
                self.link = Link::Opening { server, handshake };
                return false;
            }
            Step::Open(pipe) => self.connected(pipe),
            Step::Failed(error) => unreachable(&self.shared, error),
        }
        true
    }

    fn connected(&mut self, pipe: Pipe) {
        if self.shared.with(|hub, now_ms| hub.engine.connect(now_ms)) {
            self.link = Link::Up {
                pipe,
                is_blocked: false,
                reads: true,
            };
        }
    }

    fn carry(&mut self, mut pipe: Pipe, reads: bool) -> bool {
        let shared = &self.shared;
        if reads {
            read(shared, &mut pipe);
        }
        shared.answer_challenges();
        let is_blocked = write(shared, &mut pipe);
        match look(shared) {
            Standing::Open(turn) => {
                // It was not read, or not to its end, and is to be now.
                let goes_on = turn.reads && (!reads || pipe.has_received());
                self.link = Link::Up {
                    pipe,
                    is_blocked,
                    reads: turn.reads,
                };
                goes_on
            }
            Standing::Left => {
                let by = Instant::now() + limits::CLOSE_TIMEOUT;
                self.link = Link::Leaving { pipe, by };
                true
            }
            // The last bytes may still leave, if that goes at once.
            Standing::Over => {
                let _ = write(shared, &mut pipe);
                let _ = pipe.leave();
                true
            }
        }
    }

    fn leave(&mut self, mut pipe: Pipe, by: Instant) -> bool {
        // An error or a server that does not close: there is nothing more to be done.
        if Instant::now() < by && pipe.leave().is_ok() && matches!(discard(&mut pipe), Ok(false)) {
            self.link = Link::Leaving { pipe, by };
            return false;
        }
        self.shared.with(|hub, _| hub.engine.close(&Lost::ByUs));
        true
    }
}

/// The addresses of a server, and what goes over a connection to it.
type Prepared = (VecDeque<SockAddr>, Option<Box<Opening>>);

/// Looks a server up. What is wrong with TLS is told before anybody is connected to.
fn prepare(route: &Route) -> Result<Prepared, ConnectError> {
    let transport = |error| ConnectError::Transport(Box::new(error));
    if route.proxy.is_some() {
        return Err(transport(DialError::Request(NO_PROXY.to_owned())));
    }
    let opening = Opening::new(route).map_err(transport)?.map(Box::new);
    let addresses = match &route.place {
        Place::Unix(path) => {
            let address = SockAddr::unix(path).map_err(|source| ConnectError::Io {
                address: route.place.to_string(),
                source,
            })?;
            VecDeque::from([address])
        }
        Place::Internet { host, port } => {
            let found = (host.as_str(), *port).to_socket_addrs();
            let found = found.map_err(|source| not_found(host, source))?;
            found.map(SockAddr::from).collect()
        }
        #[cfg(feature = "quic")]
        Place::Quic { .. } => return Err(transport(DialError::Request(NO_QUIC.to_owned()))),
        #[cfg(feature = "srv")]
        Place::Service(_) => return Err(transport(DialError::Request(NO_SRV.to_owned()))),
    };
    Ok((addresses, opening))
}

fn not_found(host: &str, source: io::Error) -> ConnectError {
    let host = host.to_owned();
    ConnectError::HostNotFound { host, source }
}

fn standard(socket: Socket, no_delay: bool) -> StdSocket {
    let is_local = socket.local_addr().is_ok_and(|address| address.is_unix());
    if is_local {
        return StdSocket::Unix(socket.into());
    }
    // An option of the system's; without it the connection works too.
    let _ = socket.set_tcp_nodelay(no_delay);
    StdSocket::Tcp(socket.into())
}

const NO_PROXY: &str = "a client that is pumped asks no proxy for its connection; that needs Client::start or Client::connect, \
                        on tokio";

#[cfg(feature = "quic")]
const NO_QUIC: &str =
    "a client that is pumped speaks no QUIC; that needs Client::start or Client::connect, on tokio";
#[cfg(feature = "srv")]
const NO_SRV: &str =
    "a client that is pumped asks for no SRV records; that needs Client::start or Client::connect, on tokio";

/// Steps of one turn, at most: attempts that fail at once do not keep the caller.
const STEPS_MAX: usize = 16;
