//! The brokers that are compared, and the relay.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::durability::Level;
use super::rows::Work;
use super::tls;
use crate::setup;
use crate::sh::{cargo, has, step};

const RUMQTTD_VERSION: &str = "0.20.0";
/// A broker that listens later than this does not.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Peer {
    Relay,
    Martlet,
    Mosquitto,
    Rumqttd,
}

impl Peer {
    pub(super) const ALL: [Self; 4] = [Self::Relay, Self::Martlet, Self::Mosquitto, Self::Rumqttd];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Martlet => "martlet",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
        }
    }

    pub(super) fn does(self, work: &Work) -> bool {
        match self {
            Self::Relay => work.relay.is_some(),
            Self::Martlet => true,
            Self::Mosquitto => {
                // It has one level, beside our default.
                let is_ours = work
                    .stored
                    .as_ref()
                    .is_some_and(|stored| stored.level != Level::Fsync);
                work.shards == 1 && !is_ours
            }
            Self::Rumqttd => work.shards == 1 && work.stored.is_none() && work.tls.is_none(),
        }
    }
}

/// What there is to measure.
pub(super) struct Peers {
    martlet: PathBuf,
    rumqttd: PathBuf,
    /// Configuration files.
    folder: PathBuf,
    all: Vec<Peer>,
    versions: BTreeMap<String, String>,
    /// What Martlet's broker is told beside the usual.
    told: &'static [&'static str],
}

impl Peers {
    /// Those that are ours.
    pub(super) fn ours(target: &Path) -> Result<Self> {
        let folder = target.join("bench-peers");
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            martlet: target.join("release/martlet"),
            rumqttd: folder.join("bin/rumqttd"),
            folder,
            all: vec![Peer::Relay, Peer::Martlet],
            versions: BTreeMap::new(),
            told: &[],
        })
    }

    /// The same, whose broker is told these directives too.
    pub(super) fn telling(self, told: &'static [&'static str]) -> Self {
        Self { told, ..self }
    }

    /// Installs what is missing; what cannot be had is left out, with a line that says so.
    pub(super) fn find(target: &Path) -> Result<Self> {
        let mut peers = Self::find_mosquitto(target)?;
        match peers.install_rumqttd() {
            Ok(()) => peers.add(Peer::Rumqttd, RUMQTTD_VERSION.into()),
            Err(error) => eprintln!("rumqttd is left out: {error:#}"),
        }
        Ok(peers)
    }

    /// The same with mosquitto alone, and certificates for both.
    pub(super) fn find_with_tls(target: &Path) -> Result<Self> {
        let peers = Self::find_mosquitto(target)?;
        tls::make_certificates(&peers.folder)?;
        Ok(peers)
    }

    fn find_mosquitto(target: &Path) -> Result<Self> {
        let mut peers = Self::ours(target)?;
        let found = if mosquitto().is_none() {
            setup::debian("mosquitto")
        } else {
            Ok(())
        };
        match found.and_then(|()| peers.mosquitto_version()) {
            Ok(version) => peers.add(Peer::Mosquitto, version),
            Err(error) => eprintln!("mosquitto is left out: {error:#}"),
        }
        Ok(peers)
    }

    fn add(&mut self, peer: Peer, version: String) {
        self.all.push(peer);
        self.versions.insert(peer.name().into(), version);
    }

    pub(super) fn all(&self) -> &[Peer] {
        &self.all
    }

    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        self.versions.clone()
    }

    /// The first line of its help; it ends with an error after it.
    fn mosquitto_version(&self) -> Result<String> {
        let program = mosquitto().context("there is no mosquitto")?;
        let help = Command::new(program)
            .arg("-h")
            .current_dir(&self.folder)
            .output()?;
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        let words = text.lines().next().unwrap_or_default().split_whitespace();
        Ok(words.last().unwrap_or("of unknown version").into())
    }

    fn install_rumqttd(&self) -> Result<()> {
        if self.rumqttd.is_file() {
            return Ok(());
        }
        // Not `--locked`: its lock file names a `metrics` that Rust 1.95 refuses.
        step(
            "install rumqttd",
            cargo()
                .args(["install", "rumqttd", "--version", RUMQTTD_VERSION, "--root"])
                .arg(&self.folder)
                .arg("--target-dir")
                .arg(self.folder.join("build")),
        )
    }

    /// The certificate and the key of a broker in that work.
    pub(super) fn certificate(&self, work: &Work) -> Option<(PathBuf, PathBuf)> {
        work.tls.map(|key| tls::files(&self.folder, key))
    }

    /// Lines of a listener, in mosquitto's language, which is ours too.
    fn tls_lines(&self, work: &Work) -> String {
        let lines = self.certificate(work).map(|(certificate, key)| {
            format!("certfile {}\nkeyfile {}\n", certificate.display(), key.display())
        });
        lines.unwrap_or_default()
    }

    /// A fresh broker that listens.
    pub(super) fn start(&self, peer: Peer, work: &Work) -> Result<Broker> {
        if peer == Peer::Relay {
            return self.start_relay(work);
        }
        let data = self.data();
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        std::fs::create_dir_all(&data)?;
        self.start_on_data(peer, work)
    }

    /// Where brokers store what they store.
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One that has what the last one stored.
    pub(super) fn start_on_data(&self, peer: Peer, work: &Work) -> Result<Broker> {
        let data = self.data();
        let data = data.display();
        // Taken again by the broker: a port that is free now is free in a moment.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = match peer {
            Peer::Mosquitto => {
                let mut text = MOSQUITTO.replace("PORT", &port.to_string());
                text += &if work.stored.is_some() {
                    // Whoever may write there.
                    format!(
                        "persistence true\nautosave_interval 1\npersistence_location {data}/\nuser root\n"
                    )
                } else {
                    "persistence false\n".into()
                };
                if work.tls.is_some() {
                    // Whoever may read the key.
                    text += &format!("user root\n{}", self.tls_lines(work));
                }
                let file = self.config("mosquitto.conf", &text)?;
                let mut command = Command::new(mosquitto().context("there is no mosquitto")?);
                command.arg("-c").arg(file);
                command
            }
            Peer::Rumqttd => {
                let file = self.config("rumqttd.toml", &RUMQTTD.replace("PORT", &port.to_string()))?;
                let mut command = Command::new(&self.rumqttd);
                command.arg("-q").arg("-c").arg(file);
                command
            }
            Peer::Martlet | Peer::Relay => {
                let mut command = Command::new(&self.martlet);
                command.args(["broker", "--quiet"]);
                if work.tls.is_some() {
                    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
                    let file = self.config("martlet.conf", &(text + &self.tls_lines(work)))?;
                    command.arg("--config").arg(file);
                } else {
                    command.args(["--port", &port.to_string()]);
                }
                command.args(["--set", &format!("shards={}", work.shards)]);
                command.args(["--set", "max_queued_messages=0"]);
                command.args(self.told.iter().flat_map(|directive| ["--set", *directive]));
                command.args(["--data-dir", &data.to_string()]);
                if let Some(stored) = &work.stored {
                    command.args(["--durability", stored.level.name()]);
                }
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let start = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", peer.name()))?;
        let mut broker = Broker { child, port };
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = broker.child.try_wait()? {
                bail!("{} ended with {status}", peer.name());
            }
            if start.elapsed() > PATIENCE {
                bail!("{} does not listen", peer.name());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(broker)
    }

    fn config(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    fn start_relay(&self, work: &Work) -> Result<Broker> {
        let (pattern, count, size) = work.relay.context("the relay cannot do this")?;
        let mut command = Command::new(&self.martlet);
        command.args(["bench", "relay", "--pattern", pattern]);
        command.args(["--count", &count.to_string(), "--size", &size.to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("it has an output")?;
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse().context("the relay names no port")?;
        Ok(Broker { child, port })
    }
}

/// Debian has it where only root's path leads.
fn mosquitto() -> Option<PathBuf> {
    if has("mosquitto") {
        return Some("mosquitto".into());
    }
    let path = PathBuf::from("/usr/sbin/mosquitto");
    path.is_file().then_some(path)
}

/// Queues as large as they need to be.
const MOSQUITTO: &str = "listener PORT 127.0.0.1
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
log_type error
log_dest stderr
";

const RUMQTTD: &str = r#"id = 0

[router]
id = 0
max_connections = 20000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v4.1]
name = "v4-1"
listen = "127.0.0.1:PORT"
next_connection_delay_ms = 0

[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 500
dynamic_filters = true
"#;

/// A broker that runs, until this is dropped.
pub(super) struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as the rows say: Martlet is killed, another may save first.
    pub(super) fn end(mut self, peer: Peer) -> Result<()> {
        if peer != Peer::Martlet {
            kill_process(process(&self.child)?, Signal::TERM)?;
            let start = Instant::now();
            while self.child.try_wait()?.is_none() && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Its resident memory.
    pub(super) fn resident_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line.unwrap_or_default().trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1_024.0 / 1e6)
    }
}

/// A child as signals name it.
pub(super) fn process(child: &Child) -> Result<Pid> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.context("a process has an identifier")
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
