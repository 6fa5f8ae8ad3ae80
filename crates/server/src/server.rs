//! The broker as a whole: listeners, threads, and their end.

use std::io;
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

use crate::acceptor::{Acceptor, Listening};
use crate::clock::Clock;
use crate::config::{Bind, Config, Finding, ListenError};
use crate::entrance::{Entrance, Reread};
use crate::error::Error;
use crate::handshakes::Handshakes;
use crate::inbox::{Inbox, Item};
use crate::keeper::{self, Keeper};
use crate::limits::{ASKED_BYTES, CONNECTIONS_FEW, FILES_RESERVED, MEMORY_INTERVAL_MS, STOP_MS};
use crate::log::EventLog;
use crate::logins::Logins;
use crate::pid_file::PidFile;
use crate::settings;
use crate::worker::Worker;

/// A broker that runs.
pub struct Server {
    shared: Arc<Shared>,
    inboxes: Arc<[Inbox]>,
    workers: Vec<JoinHandle<()>>,
    stop_accepting: Option<tokio::sync::oneshot::Sender<()>>,
    places: Vec<Place>,
    entrances: Vec<Arc<Entrance>>,
    handshakes: Vec<JoinHandle<()>>,
    #[cfg(feature = "quic")]
    quic: crate::quic::Threads,
    keeper: Option<Keeper>,
    logins: Option<Logins>,
    store_folder: Option<PathBuf>,
    /// Removed when all else has ended, as is the file of the process identifier.
    _unix_paths: Vec<UnixPath>,
    _pid_file: Option<PidFile>,
}

impl Server {
    /// Opens all listeners, then starts the threads. Nothing is started if one listener fails, or a password file.
    pub fn start(config: &Config) -> Result<Self, Error> {
        let password_files = Logins::read(config)?;
        let files_max = raise_open_files();
        let (entrances, warnings) = open_entrances(config)?;
        let sockets = open_all(config)?;
        let places = places(config, &sockets);
        let names = names(config, &sockets);
        let unix_paths = sockets
            .iter()
            .filter_map(|(socket, _)| socket.path.clone().map(UnixPath))
            .collect();
        tell_findings(&warnings);
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
        let (handshakes, handshake_threads) = if entrances.iter().any(Option::is_some) {
            let (door, threads) = Handshakes::start(shards, &inboxes, config.connect_timeout_ms);
            (Some(Arc::new(door)), threads)
        } else {
            (None, Vec::new())
        };
        let acceptors: Vec<_> = sockets
            .into_iter()
            .map(|(socket, rules)| Acceptor {
                listener: socket.listener,
                address: socket.address,
                name: names[usize::from(rules)].as_str().into(),
                entrance: entrances[usize::from(rules)].clone().zip(handshakes.clone()),
                rules,
                shared: Arc::clone(&shared),
                inboxes: Arc::clone(&inboxes),
                connections_max,
                half_open_max: config.half_open_max.into(),
            })
            .collect();
        drop(handshakes);
        #[cfg(feature = "quic")]
        let (acceptors, quic) = crate::quic::start(acceptors, &entrances, config.connect_timeout_ms);
        let (stop_accepting, stopped) = tokio::sync::oneshot::channel();
        let mut reception = Some((acceptors, stopped));
        let workers = (0..)
            .zip(shard_list)
            .map(|(index, shard)| {
                let (shared, inboxes) = (Arc::clone(&shared), Arc::clone(&inboxes));
                let log = EventLog::new(config.log.connection_messages, Arc::clone(&names));
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
            places,
            entrances: entrances.into_iter().flatten().collect(),
            handshakes: handshake_threads,
            #[cfg(feature = "quic")]
            quic,
            keeper,
            logins,
            store_folder,
            _unix_paths: unix_paths,
            _pid_file: pid_file,
        })
    }

    /// Where it listens; with port 0 what the system chose.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The addresses of the network among them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.places.iter().filter_map(|place| place.address).collect()
    }

    /// Reads certificates, keys and lists of revoked certificates again, and tells the log. Nobody is disconnected; a
    /// listener whose files are wrong goes on with what it has.
    pub fn reread_certificates(&self) {
        let mut reread = Reread::default();
        self.entrances
            .iter()
            .for_each(|entrance| entrance.reread(&mut reread));
        let Reread {
            renewed,
            warnings,
            faults,
        } = reread;
        for fault in &faults {
            let text = format!("{} The certificate that was in use stays in use.", fault.line());
            tracing::error!(code = fault.code.as_str(), text, "certificates.kept");
        }
        tell_findings(&warnings);
        if renewed > 0 {
            tracing::info!(target: "notice", listeners = renewed, "certificates.reloaded");
        }
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
        #[cfg(feature = "quic")]
        self.quic.stop();
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
        #[cfg(feature = "quic")]
        self.quic.threads().for_each(join);
        drop(self.logins.take());
        // The last acceptor went with them.
        self.handshakes.drain(..).for_each(join);
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
            let address = acceptor.address.clone();
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

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The address, or the path of a Unix socket.
    pub name: String,
    /// The address; none: a Unix socket.
    pub address: Option<SocketAddr>,
    /// The scheme of its URLs: `mqtt`, `mqtts`, `ws`, `wss`, `quic`, `unix`.
    pub scheme: &'static str,
}

/// A socket that has its address, and takes no connections yet.
struct Bound {
    socket: socket2::Socket,
    /// None: a Unix socket.
    address: Option<SocketAddr>,
    path: Option<PathBuf>,
}

impl Bound {
    fn name(&self) -> String {
        match (&self.address, &self.path) {
            (Some(address), _) => address.to_string(),
            (None, path) => path.as_deref().unwrap_or(Path::new("")).display().to_string(),
        }
    }
}

struct Open {
    listener: Listening,
    address: String,
}

/// The path of a Unix socket that is ours, removed at the end.
#[derive(Debug)]
struct UnixPath(PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        // It may be gone already, and nothing hangs on it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Of each listener; none: its clients begin with MQTT.
type Entrances = Vec<Option<Arc<Entrance>>>;

/// What each listener has before MQTT, and what is better known of it; or all that is wrong.
fn open_entrances(config: &Config) -> Result<(Entrances, Vec<Finding>), Error> {
    let (mut entrances, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for listener in &config.listeners {
        match Entrance::of(listener, &mut warnings) {
            Ok(entrance) => entrances.push(entrance.map(Arc::new)),
            Err(mut wrong) => faults.append(&mut wrong),
        }
    }
    if faults.is_empty() {
        return Ok((entrances, warnings));
    }
    Err(faults.into())
}

fn tell_findings(findings: &[Finding]) {
    for finding in findings {
        tracing::warn!(
            code = finding.code.as_str(),
            text = finding.line(),
            "config.warning"
        );
    }
}

fn places(config: &Config, sockets: &[(Bound, u16)]) -> Vec<Place> {
    let place = |(socket, rules): &(Bound, u16)| Place {
        name: socket.name(),
        address: socket.address,
        scheme: config.listeners[usize::from(*rules)].scheme(),
    };
    sockets.iter().map(place).collect()
}

/// The port of each listener, with port 0 the one that the system chose, or its path.
fn names(config: &Config, sockets: &[(Bound, u16)]) -> Arc<[String]> {
    let name = |listener: &crate::config::Listener| match &listener.place.bind {
        Bind::Unix(path) => path.display().to_string(),
        _ => listener.place.port.to_string(),
    };
    let mut names: Vec<_> = config.listeners.iter().map(name).collect();
    for (socket, rules) in sockets {
        if let Some(address) = socket.address {
            names[usize::from(*rules)] = address.port().to_string();
        }
    }
    names.into()
}

/// All sockets of all listeners, each with the index of its rules; or all that cannot be opened.
fn open_all(config: &Config) -> Result<Vec<(Bound, u16)>, Error> {
    let (mut open, mut errors) = (Vec::new(), Vec::new());
    for (rules, listener) in config.listeners.iter().enumerate() {
        let (place, origin) = (&listener.place, &listener.origin);
        if let Bind::Unix(path) = &place.bind {
            match bind_unix(path) {
                Ok(socket) => open.push((socket, rules as u16)),
                Err(error) => errors.push(ListenError::unix(path, origin, error)),
            }
            continue;
        }
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
            match bind(address, listener.is_quic, config.tcp_nodelay) {
                Ok(socket) => {
                    port = socket.address.map_or(port, |address| address.port());
                    open.push((socket, rules as u16));
                    opened += 1;
                }
                Err(error) => failed.push((address, error)),
            }
        }
        // That the machine lacks a family of addresses is not what is wrong if it has the other.
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
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

/// A port of TCP, or of UDP for QUIC.
fn bind(address: SocketAddr, is_quic: bool, tcp_nodelay: bool) -> io::Result<Bound> {
    use socket2::{Domain, Protocol, Socket, Type};
    let (kind, protocol) = if is_quic {
        (Type::DGRAM, Protocol::UDP)
    } else {
        (Type::STREAM, Protocol::TCP)
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    if !is_quic {
        socket.set_reuse_address(true)?;
        // Connections inherit it from the socket that accepted them.
        socket.set_tcp_nodelay(tcp_nodelay)?;
    }
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Bound {
        socket,
        address: Some(address),
        path: None,
    })
}

/// A Unix socket. One that a broker left behind which ended without a word is replaced; one that answers is not.
fn bind_unix(path: &Path) -> io::Result<Bound> {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixStream;
    match std::fs::symlink_metadata(path) {
        Ok(about) if !about.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        },
        Err(_) => {}
    }
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    Ok(Bound {
        socket,
        address: None,
        path: Some(path.to_owned()),
    })
}

/// Connections are taken from now on.
fn listen_all(config: &Config, bound: Vec<(Bound, u16)>) -> Result<Vec<(Open, u16)>, Error> {
    let (mut open, mut errors) = (Vec::new(), Vec::new());
    for (bound, rules) in bound {
        let name = bound.name();
        let Bound {
            socket,
            address,
            path,
        } = bound;
        let listener = &config.listeners[usize::from(rules)];
        let origin = &listener.origin;
        #[cfg(feature = "quic")]
        if listener.is_quic {
            let listener = Listening::Quic(socket.into());
            let address = name;
            open.push((Open { listener, address }, rules));
            continue;
        }
        match (socket.listen(BACKLOG), address) {
            (Ok(()), address) => {
                let listener = match address {
                    Some(_) => Listening::Tcp(socket.into()),
                    None => Listening::Unix(socket.into()),
                };
                open.push((
                    Open {
                        listener,
                        address: name,
                    },
                    rules,
                ));
            }
            (Err(error), Some(address)) => errors.push(ListenError::new(address, origin, error)),
            (Err(error), None) => {
                errors.push(ListenError::unix(
                    path.as_deref().unwrap_or(Path::new("")),
                    origin,
                    error,
                ));
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
