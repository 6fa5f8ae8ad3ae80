//! The broker as a whole: listeners, threads, and their end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use martlet_broker::{MemoryStore, Seed, Shard, Shared};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::acceptor::Acceptor;
use crate::config::{Config, ListenError};
use crate::error::Error;
use crate::inbox::{Inbox, Item};
use crate::keeper::{self, Keeper};
use crate::limits::{ASKED_BYTES, CONNECTIONS_FEW, FILES_RESERVED, MEMORY_INTERVAL_MS, STOP_MS};
use crate::log::EventLog;
use crate::logins::Logins;
use crate::pid_file::PidFile;
use crate::settings;
use crate::worker::{Clock, Worker};

/// A broker that runs.
pub struct Server {
    shared: Arc<Shared>,
    inboxes: Arc<[Inbox]>,
    workers: Vec<JoinHandle<()>>,
    stop_accepting: Option<tokio::sync::oneshot::Sender<()>>,
    addresses: Vec<SocketAddr>,
    keeper: Option<Keeper>,
    logins: Option<Logins>,
    store_folder: Option<PathBuf>,
    /// Removed when all else has ended.
    _pid_file: Option<PidFile>,
}

impl Server {
    /// Opens all listeners, then starts the threads. Nothing is started if one listener fails, or a password file.
    pub fn start(config: &Config) -> Result<Self, Error> {
        let password_files = Logins::read(config)?;
        let files_max = raise_open_files();
        let sockets = open_all(config)?;
        let addresses: Vec<_> = sockets.iter().map(|(socket, _)| socket.address).collect();
        let ports = ports(config, &sockets);
        let pid_file = config.pid_file.as_ref().map(PidFile::write).transpose()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = config
            .shards
            .map_or(cores, usize::from)
            .clamp(1, usize::from(u16::MAX));
        let inboxes: Arc<[Inbox]> = (0..shards).map(|_| Inbox::default()).collect();
        let mut clock = Clock::start();
        let stored = config.store.as_ref();
        let stored = stored.map(|store| keeper::open(store, &inboxes, clock, random() as u32));
        let stored = stored.transpose()?;
        if let Some((opened, _)) = &stored {
            clock = opened.clock();
        }
        let connections_max = config.connections_max.unwrap_or(u64::MAX).min(files_max);
        if connections_max == files_max && files_max < CONNECTIONS_FEW {
            tracing::warn!(
                connections_max,
                text = "the limit of open files leaves room for few connections",
                fix = "raise it (ulimit -n, LimitNOFILE)",
                "connections.limit"
            );
        }

        let mut seed = Seed::new(random());
        let rules = config
            .listeners
            .iter()
            .map(|listener| settings::rules(listener, &config.broker))
            .collect();
        let shared = Shared::new(settings::settings(config), rules, shards, &mut seed);
        let logins = password_files.map(|files| Logins::start(files, config, &inboxes, &shared));
        let (opened, restored) = stored.unzip();
        let mut shard_list: Vec<_> = (0..shards as u16)
            .map(|index| {
                let (shared, seed) = (Arc::clone(&shared), Seed::new(seed.draw()));
                match &opened {
                    Some(opened) => opened.shard(index, shared, seed),
                    None => Shard::new(index, shared, Box::new(MemoryStore), seed, clock.now()),
                }
            })
            .collect();
        if let Some(restored) = restored {
            keeper::restore(restored, &shared, &mut shard_list, clock);
        }
        // Only now: who connects is served.
        let sockets = listen_all(config, sockets)?;
        let store_folder = opened.as_ref().map(|opened| opened.folder().to_owned());
        let keeper = opened.map(|opened| opened.start(Arc::clone(&shared)));
        let acceptors: Vec<_> = sockets
            .into_iter()
            .map(|(socket, rules)| Acceptor {
                listener: socket.listener,
                address: socket.address,
                rules,
                shared: Arc::clone(&shared),
                inboxes: Arc::clone(&inboxes),
                connections_max,
                half_open_max: config.half_open_max.into(),
            })
            .collect();
        let (stop_accepting, stopped) = tokio::sync::oneshot::channel();
        let mut reception = Some((acceptors, stopped));
        let workers = (0..)
            .zip(shard_list)
            .map(|(index, shard)| {
                let (shared, inboxes) = (Arc::clone(&shared), Arc::clone(&inboxes));
                let log = EventLog::new(config.log.connection_messages, Arc::clone(&ports));
                let desk = logins.as_ref().map(Logins::desk);
                // The first shard accepts for all: with one of them, nobody has to be woken for it.
                let reception = reception.take();
                spawn(format!("shard-{index}"), move || {
                    let measured = Arc::clone(&shared);
                    drop(shared);
                    let worker = Worker::new(index, shard, inboxes, log, desk, clock);
                    run_worker(async move {
                        if let Some((acceptors, stopped)) = reception {
                            let here = Rc::clone(&worker);
                            tokio::task::spawn_local(accept_all(acceptors, here, stopped));
                            tokio::task::spawn_local(measure_memory(measured));
                        }
                        tokio::task::spawn_local(give_memory_back());
                        worker.run().await;
                    });
                })
            })
            .collect();
        Ok(Self {
            shared,
            inboxes,
            workers,
            stop_accepting: Some(stop_accepting),
            addresses,
            keeper,
            logins,
            store_folder,
            _pid_file: pid_file,
        })
    }

    /// The addresses that it listens on; with port 0 those that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The folder of the store; none: state is memory.
    pub fn store_folder(&self) -> Option<&Path> {
        self.store_folder.as_deref()
    }

    /// Reads the password files again. A file with anything wrong with it changes nothing, and the log says so; whoever
    /// came in as a user who is gone or has another password is closed.
    pub fn reload_users(&self) {
        if let Some(logins) = &self.logins {
            logins.reload();
        }
    }

    /// Stops: nobody is accepted any more, wills go out, each client is told (DISCONNECT 0x8B where it
    /// knows that), and the threads end.
    pub fn stop(mut self) {
        drop(self.stop_accepting.take());
        self.tell_all(|| Item::Stop);
        // Wills cross between shards before clients are closed.
        std::thread::sleep(Duration::from_millis(20));
        self.tell_all(|| Item::DisconnectAll);
        let deadline = std::time::Instant::now() + Duration::from_millis(STOP_MS);
        while self.shared.totals().sockets > 0 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.tell_all(|| Item::Exit);
        self.workers.drain(..).for_each(join);
        drop(self.logins.take());
        if let Some(keeper) = self.keeper.take() {
            keeper.stop();
        }
    }

    fn tell_all(&self, item: impl Fn() -> Item) {
        self.inboxes.iter().for_each(|inbox| inbox.push(item()));
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new()
        .name(name)
        .spawn(run)
        .expect("the system starts a thread")
}

fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run_worker(root: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(31)
        .build()
        .expect("the system has what a runtime needs");
    LocalSet::new().block_on(&runtime, root);
}

/// Accepts until the sender is dropped; it never sends.
async fn accept_all(acceptors: Vec<Acceptor>, here: Rc<Worker>, stopped: tokio::sync::oneshot::Receiver<()>) {
    let mut running = tokio::task::JoinSet::new();
    for acceptor in acceptors {
        let here = Rc::clone(&here);
        running.spawn_local(async move {
            let address = acceptor.address;
            if let Err(error) = acceptor.run(&here).await {
                tracing::error!(%address, %error, "listener.failed");
            }
        });
    }
    let _ = stopped.await;
}

/// An allocator such as mimalloc gives the system what has been free for a while, but only when it is asked for
/// something, and by the thread that had it. After a storm nobody asks, so each thread does, now and then, for more than
/// it has at hand.
async fn give_memory_back() {
    loop {
        tokio::time::sleep(Duration::from_millis(MEMORY_INTERVAL_MS)).await;
        drop(std::hint::black_box(Vec::<u8>::with_capacity(ASKED_BYTES)));
    }
}

/// For `$SYS/broker/heap/...`. Where the system does not tell, those topics are not there.
async fn measure_memory(shared: Arc<Shared>) {
    while let Some(bytes) = resident_bytes() {
        shared.resident_bytes.store(bytes, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(MEMORY_INTERVAL_MS)).await;
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}

/// A socket that has its address, and takes no connections yet.
struct Bound {
    socket: socket2::Socket,
    address: SocketAddr,
}

struct Listening {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// The port of each listener; with port 0 the one that the system chose.
fn ports(config: &Config, sockets: &[(Bound, u16)]) -> Arc<[u16]> {
    let mut ports: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| listener.place.port)
        .collect();
    for (socket, rules) in sockets {
        ports[usize::from(*rules)] = socket.address.port();
    }
    ports.into()
}

/// All sockets of all listeners, each with the index of its rules; or all that cannot be opened.
fn open_all(config: &Config) -> Result<Vec<(Bound, u16)>, Error> {
    let (mut open, mut errors) = (Vec::new(), Vec::new());
    for (rules, listener) in config.listeners.iter().enumerate() {
        let (place, origin) = (&listener.place, &listener.origin);
        let addresses = match place.socket_addresses() {
            Ok(addresses) => addresses,
            Err(error) => {
                errors.push(ListenError::unknown_name(place, origin, error));
                continue;
            }
        };
        let (mut opened, mut failed) = (0, Vec::new());
        let mut port = place.port;
        for mut address in addresses {
            // With port 0 all addresses of a listener get the same one.
            address.set_port(port);
            match bind(address, config.tcp_nodelay) {
                Ok(socket) => {
                    port = socket.address.port();
                    open.push((socket, rules as u16));
                    opened += 1;
                }
                Err(error) => failed.push((address, error)),
            }
        }
        // That the machine lacks a family of addresses is not what is wrong if it has the other.
        let is_taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        if place.may_lack_a_family() && (opened > 0 || failed.iter().any(|(_, error)| is_taken(error))) {
            failed.retain(|(_, error)| is_taken(error));
        }
        let told = failed
            .into_iter()
            .map(|(address, error)| ListenError::new(address, origin, error));
        errors.extend(told);
    }
    if errors.is_empty() {
        return Ok(open);
    }
    Err(Error::Listen(ListenError::joined(errors)))
}

fn bind(address: SocketAddr, tcp_nodelay: bool) -> std::io::Result<Bound> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it from the socket that accepted them.
    socket.set_tcp_nodelay(tcp_nodelay)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Bound { socket, address })
}

/// Connections are taken from now on.
fn listen_all(config: &Config, bound: Vec<(Bound, u16)>) -> Result<Vec<(Listening, u16)>, Error> {
    let (mut open, mut errors) = (Vec::new(), Vec::new());
    for (Bound { socket, address }, rules) in bound {
        match socket.listen(BACKLOG) {
            Ok(()) => {
                let listener = socket.into();
                open.push((Listening { listener, address }, rules));
            }
            Err(error) => {
                let origin = &config.listeners[usize::from(rules)].origin;
                errors.push(ListenError::new(address, origin, error));
            }
        }
    }
    if errors.is_empty() {
        return Ok(open);
    }
    Err(Error::Listen(ListenError::joined(errors)))
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Raises the soft limit of open files to the hard one; the connections that it leaves room for.
fn raise_open_files() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit.saturating_sub(FILES_RESERVED).max(1),
        Err(error) => {
            tracing::warn!(%error, "limit of open files cannot be raised");
            rlimit::getrlimit(rlimit::Resource::NOFILE)
                .map_or(1_024, |(soft, _)| soft)
                .saturating_sub(FILES_RESERVED)
                .max(1)
        }
    }
}

fn random() -> u64 {
    getrandom::u64().expect("the system has random numbers")
}
