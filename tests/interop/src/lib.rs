//! Other people's MQTT clients against the built `martlet` binary.
//!
//! Each test starts a broker of its own on a free port of the loopback interface and runs one case: a
//! function of the Python scripts (paho-mqtt), of the Node scripts (MQTT.js), or commands of mosquitto's
//! tools. `cargo xtask interop` builds and installs what the tests need, then runs them.
//!
//! | variable | what it changes |
//! |---|---|
//! | `MARTLET_BIN` | the broker's binary, else `release/martlet` in cargo's target folder |
//! | `MARTLET_INTEROP_BROKER=mosquitto` | Debian's mosquitto serves, to write cases against |
//! | `MARTLET_PYTHON`, `MARTLET_NODE` | the interpreters, else `python3` and `node` |

pub mod transport;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use transport::Transport;

/// Whose broker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The built one.
    Martlet,
    /// Debian's mosquitto.
    Mosquitto,
}

impl Server {
    /// Martlet, unless `MARTLET_INTEROP_BROKER` says otherwise.
    pub fn chosen() -> Self {
        if on_mosquitto() {
            Self::Mosquitto
        } else {
            Self::Martlet
        }
    }

    /// Not started yet, with a configuration; what it keeps is in that folder.
    fn configured(self, config: &Path, folder: &Path) -> Command {
        let mut command = match self {
            Self::Martlet => bare(&folder.join("data")),
            Self::Mosquitto => Command::new("mosquitto"),
        };
        command.arg("-c").arg(config);
        command
    }

    /// Lines of a configuration by which it keeps sessions across a stop, in a folder that only we can write to.
    fn keeps(self, folder: &Path) -> String {
        match self {
            Self::Martlet => String::new(),
            Self::Mosquitto => {
                let folder = folder.display();
                format!("user root\npersistence true\npersistence_location {folder}/\n")
            }
        }
    }
}

/// How long a broker may take until it accepts connections.
const START_MAX: Duration = Duration::from_secs(10);
const LOG: &str = "broker.log";

/// A broker that runs until it is dropped. When its test fails, it prints its log.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    command: Command,
    port: u16,
    /// The port of its other listener, if it has one on a port.
    other_port: u16,
    /// By what it is reached at its other listener, if that opens after the first one.
    late: Option<Transport>,
    folder: PathBuf,
}

impl Broker {
    /// Starts a broker with default settings and waits until it accepts connections.
    ///
    /// `name` is the test's, for its folder of temporary files.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[], &[])
    }

    /// The same with more arguments of `martlet broker`, and with environment variables.
    pub fn start_with(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_on(name, None, arguments, variables)
    }

    /// The same on a data folder that outlives it; none: on one of its own.
    pub fn start_on(name: &str, data: Option<&Path>, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_by(name, |port, folder| {
            let own = folder.join("data");
            let mut command = command(port, folder, data.unwrap_or(&own));
            command.args(arguments).envs(variables.iter().copied());
            command
        })
    }

    /// The same with a configuration, which is told the port that its first listener is to have.
    pub fn start_configured(
        name: &str,
        data: &Path,
        config: &dyn Fn(u16) -> String,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_by(name, |port, folder| {
            let path = folder.join("broker.conf");
            std::fs::write(&path, config(port)).expect("cannot write the configuration");
            let mut command = bare(data);
            command.arg("-c").arg(path).arg("--data-dir").arg(data);
            command.args(arguments).envs(variables.iter().copied());
            command
        })
    }

    /// Starts Debian's mosquitto, for what is to work with other brokers too.
    pub fn start_mosquitto(name: &str) -> Self {
        Self::start_by(name, mosquitto)
    }

    fn start_by(name: &str, command: impl Fn(u16, &Path) -> Command) -> Self {
        // Somebody else may take the port between our look and the broker's: then try another.
        let mut said = String::new();
        for _ in 0..3 {
            let mut broker = Self::spawn(name, &command);
            if broker.accepts() {
                return broker;
            }
            said = broker.log();
        }
        panic!("the broker does not start, it says: {said}");
    }

    /// A broker with a second listener that is reached another way; the first is the usual one. `more` are lines of
    /// the configuration.
    pub fn start_over(name: &str, transport: Transport, more: &str) -> Self {
        Self::start_server_over(Server::chosen(), name, transport, more)
    }

    /// The same of a certain broker.
    pub fn start_server_over(server: Server, name: &str, transport: Transport, more: &str) -> Self {
        let mut said = String::new();
        for _ in 0..3 {
            let folder = folder_of(name);
            transport::certificates(&folder);
            let (port, other_port) = (free_port(), free_port());
            let config = folder.join("broker.conf");
            let text = format!(
                "allow_anonymous true\n{}{more}listener {port} 127.0.0.1\n{}",
                server.keeps(&folder),
                transport.listener(other_port, &folder)
            );
            std::fs::write(&config, text).expect("cannot write the configuration");
            let command = server.configured(&config, &folder);
            let mut broker = Self::run_in(folder, port, command);
            broker.other_port = other_port;
            // mosquitto opens one after the other, Martlet all before it accepts anybody.
            if server == Server::Mosquitto {
                broker.late = Some(transport);
            }
            if broker.accepts() {
                return broker;
            }
            said = broker.log();
        }
        panic!("the broker does not start, it says: {said}");
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        let process = self.id().to_string();
        assert!(run(Command::new("kill").arg(process)).status.success());
        self.child.wait().expect("cannot wait for the broker");
    }

    /// Starts it once more after [`stop`](Self::stop): the same configuration, ports and folder.
    pub fn start_again(&mut self) {
        self.child = spawned(&mut self.command);
        assert!(self.accepts(), "it does not start again: {}", self.log());
    }

    /// The port of its other listener.
    pub fn other_port(&self) -> u16 {
        self.other_port
    }

    fn spawn(name: &str, command: &impl Fn(u16, &Path) -> Command) -> Self {
        let folder = folder_of(name);
        let port = free_port();
        let command = command(port, &folder);
        Self::run_in(folder, port, command)
    }

    fn run_in(folder: PathBuf, port: u16, mut command: Command) -> Self {
        let log = File::create(folder.join(LOG)).expect("cannot create the broker's log");
        let errors = log.try_clone().expect("cannot share the broker's log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        Self {
            child: spawned(&mut command),
            command,
            port,
            other_port: 0,
            late: None,
            folder,
        }
    }

    /// The port of the loopback interface on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has logged until now.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(LOG)).unwrap_or_default()
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    fn accepts(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            if self
                .child
                .try_wait()
                .expect("cannot look at the broker")
                .is_some()
            {
                return false;
            }
            if self.is_open() {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Broker {
    /// Whether all its listeners are there.
    fn is_open(&self) -> bool {
        let is_there = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        is_there(self.port)
            && match self.late {
                None => true,
                Some(Transport::Unix) => UnixStream::connect(transport::socket(&self.folder)).is_ok(),
                Some(_) => is_there(self.other_port),
            }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
        let _ = std::fs::remove_file(transport::socket(&self.folder));
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawned(command: &mut Command) -> Child {
    let child = command.spawn();
    child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// A folder for a test's files.
fn folder_of(name: &str) -> PathBuf {
    let own = format!("interop-{}-{}", name.replace("::", "-"), std::process::id());
    let folder = target().join("tmp").join(own);
    std::fs::create_dir_all(&folder).expect("cannot create the test's folder");
    folder
}

/// Whether Debian's mosquitto stands in for Martlet, to write cases against.
pub fn on_mosquitto() -> bool {
    std::env::var("MARTLET_INTEROP_BROKER").is_ok_and(|broker| broker == "mosquitto")
}

fn command(port: u16, folder: &Path, data: &Path) -> Command {
    if on_mosquitto() {
        return mosquitto(port, folder);
    }
    let mut command = bare(data);
    command.args(["--bind", "127.0.0.1", "-p", &port.to_string()]);
    command.arg("--data-dir").arg(data);
    command
}

fn mosquitto(port: u16, folder: &Path) -> Command {
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
         max_packet_size 2000000\nmax_inflight_messages 1000\nmax_queued_messages 10000\n"
    );
    std::fs::write(&config, text).expect("cannot write mosquitto's configuration");
    let mut command = Command::new("mosquitto");
    command.args(["-v", "-c"]).arg(config);
    command
}

/// `martlet broker` without options, not started yet; its store is in that folder.
pub fn bare(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("broker").env("STATE_DIRECTORY", folder);
    command
}

/// A folder for a test's files, which is gone with its owner, also if the test fails.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes an empty one that no other has.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(folder_of(&format!("{name}-{nth}")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed with its owner, also if the test fails.
#[derive(Debug)]
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The built `martlet`.
pub fn binary() -> PathBuf {
    let binary =
        std::env::var_os("MARTLET_BIN").map_or_else(|| target().join("release/martlet"), PathBuf::from);
    assert!(
        binary.is_file(),
        "there is no {}: run `cargo build --release`, or `cargo xtask interop`, which does it",
        binary.display()
    );
    binary
}

/// A port of the loopback interface on which nothing listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("no free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    let built = std::env::current_exe().expect("a test knows its program");
    let deps = built.parent().expect("a program is in a folder");
    deps.ancestors().nth(2).expect("target/debug/deps").to_owned()
}

/// The scripts of one kind of client.
#[derive(Clone, Copy, Debug)]
pub enum Scripts {
    /// `paho/main.py`
    Paho,
    /// `mqttjs/main.mjs`
    MqttJs,
}

impl Scripts {
    /// Runs one case, such as `v5::retain_handling`, against a broker of its own.
    pub fn run(self, case: &str) {
        self.run_at(case, &Broker::start(case), &[]);
    }

    /// The same over another transport.
    pub fn run_over(self, case: &str, transport: Transport) {
        let broker = Broker::start_over(&format!("{}-{case}", transport.name()), transport, "");
        self.run_at(
            case,
            &broker,
            &transport.variables(broker.other_port(), broker.folder()),
        );
    }

    fn run_at(self, case: &str, broker: &Broker, variables: &[(&str, String)]) {
        let (version, name) = case.split_once("::").expect("version::case");
        let mut command = self.command();
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let output = run(command.args([&broker.port().to_string(), version, name]));
        assert!(
            output.status.success(),
            "{case} failed:\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }

    /// All cases that the scripts have.
    pub fn list(self) -> Vec<String> {
        let output = run(self.command().arg("--list"));
        assert!(
            output.status.success(),
            "--list failed:\n{}",
            text(&output.stderr)
        );
        text(&output.stdout).lines().map(str::to_owned).collect()
    }

    fn command(self) -> Command {
        self.script("main")
    }

    /// Another script beside the one with the cases, such as `login`.
    pub fn script(self, name: &str) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = target().join("interop");
        let (variable, default, path, modules, folder, end) = match self {
            Self::Paho => ("MARTLET_PYTHON", "python3", "PYTHONPATH", "python", "paho", "py"),
            Self::MqttJs => (
                "MARTLET_NODE",
                "node",
                "NODE_PATH",
                "node/node_modules",
                "mqttjs",
                "mjs",
            ),
        };
        let modules = installed.join(modules);
        assert!(
            modules.is_dir(),
            "there is no {}: run `cargo xtask setup`",
            modules.display()
        );
        let mut command = Command::new(std::env::var_os(variable).unwrap_or_else(|| default.into()));
        command
            .env(path, modules)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(here.join(folder).join(name).with_extension(end));
        command
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> std::process::Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}; run `cargo xtask setup`"))
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a test of each case, in a module of its version, and one that no case of the scripts is missing.
#[macro_export]
macro_rules! cases {
    ($scripts:expr; $($version:ident { $($case:ident)* })*) => {
        $(mod $version {
            $(#[test] fn $case() { $scripts.run(concat!(stringify!($version), "::", stringify!($case))); })*
        })*

        #[test]
        fn every_case_has_a_test() {
            let mut here = vec![$($(concat!(stringify!($version), "::", stringify!($case)),)*)*];
            here.sort_unstable();
            assert_eq!($scripts.list(), here, "cases of the scripts, and cases here");
        }
    };
}
