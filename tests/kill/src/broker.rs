//! The process that is killed.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use martlet_interop::{bare, free_port, on_mosquitto};

use crate::fault::{Checked, Fault};
use crate::limits::START_MAX;

const LOG: &str = "broker.log";
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// What the broker is told to promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// An acknowledgement leaves when what it promises is on the disk.
    Fsync,
    /// It leaves when the system has it: enough for a kill, not for a power cut.
    Os,
    /// Nothing is stored. A run that finds no fault then is a test that cannot fail.
    None,
}

impl Durability {
    const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
            Self::None => "none",
        }
    }
}

/// Where a broker that was built with the feature `kill-points` kills itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A batch is about to be written to the log.
    BeforeAppend,
    /// It is written.
    AfterAppend,
    /// It is on the disk.
    AfterSync,
    /// A shard was told so, and has written nothing yet.
    BeforeAcknowledgement,
    /// It has written to a socket after that.
    AfterAcknowledgement,
    /// A segment is about to be cleaned.
    BeforeClean,
    /// It is cleaned.
    AfterClean,
    /// A step of a snapshot has been done.
    AfterSnapshotStep,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BeforeAppend,
        Self::AfterAppend,
        Self::AfterSync,
        Self::BeforeAcknowledgement,
        Self::AfterAcknowledgement,
        Self::BeforeClean,
        Self::AfterClean,
        Self::AfterSnapshotStep,
    ];

    /// As `MARTLET_KILL_AT` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before-append",
            Self::AfterAppend => "after-append",
            Self::AfterSync => "after-sync",
            Self::BeforeAcknowledgement => "before-acknowledgement",
            Self::AfterAcknowledgement => "after-acknowledgement",
            Self::BeforeClean => "before-clean",
            Self::AfterClean => "after-clean",
            Self::AfterSnapshotStep => "after-snapshot-step",
        }
    }

    /// Whether a broker passes it seldom: not once a batch, but once a segment.
    pub(crate) const fn is_rare(self) -> bool {
        matches!(
            self,
            Self::BeforeClean | Self::AfterClean | Self::AfterSnapshotStep
        )
    }
}

/// A broker on a data folder. It dies with the value.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    port: u16,
    /// It is to kill itself, which it does by SIGABRT.
    has_point: bool,
    log: PathBuf,
}

impl Broker {
    /// Starts one and waits until it listens, or until it has killed itself.
    pub(crate) fn start(
        folder: &Path,
        durability: Durability,
        kill_at: Option<(Point, u32)>,
    ) -> Checked<Self> {
        // Somebody else may take the port between our look and the broker's: then try another.
        for _ in 0..3 {
            let mut broker = Self::spawn(folder, durability, kill_at);
            if broker.listens()? {
                return Ok(broker);
            }
        }
        Err(Fault::new(format!(
            "the broker does not start, it says:\n{}",
            tail(folder)
        )))
    }

    fn spawn(folder: &Path, durability: Durability, kill_at: Option<(Point, u32)>) -> Self {
        let port = free_port();
        let mut command = command(folder, port, durability, kill_at.is_some());
        if let Some((point, nth)) = kill_at {
            command.env("MARTLET_KILL_AT", format!("{}:{nth}", point.name()));
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(LOG));
        let log = log.expect("cannot open the broker's log");
        let errors = log.try_clone().expect("cannot share the broker's log");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            child,
            port,
            has_point: kill_at.is_some(),
            log: folder.join(LOG),
        }
    }

    /// False: it ended by itself.
    fn listens(&mut self) -> Checked<bool> {
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            if let Some(status) = self.ended() {
                return Ok(self.is_kill(status));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(true);
            }
            sleep(Duration::from_millis(1));
        }
        Err(Fault::new(format!(
            "the broker does not listen within {START_MAX:?}"
        )))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        let _ = self.child.wait();
    }

    /// Whether that is how a killed process ends. A panic ends by SIGABRT too, but says so.
    pub(crate) fn is_kill(&self, status: ExitStatus) -> bool {
        match status.signal() {
            Some(SIGKILL) => true,
            Some(SIGABRT) => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                self.has_point && !log.contains("panicked")
            }
            _ => false,
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of the broker's log.
pub(crate) fn tail(folder: &Path) -> String {
    const LINES: usize = 20;
    let log = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The binary with kill points, if there is one.
pub(crate) fn with_points() -> Option<PathBuf> {
    let told = std::env::var_os("MARTLET_KILL_POINTS_BIN").map(PathBuf::from);
    let binary = told.unwrap_or_else(|| martlet_interop::target().join("kill-points/martlet"));
    (binary.is_file() && !on_mosquitto()).then_some(binary)
}

fn command(folder: &Path, port: u16, durability: Durability, has_points: bool) -> Command {
    let data = folder.join("data");
    if on_mosquitto() {
        return mosquitto(folder, &data, port);
    }
    let mut command = bare(&data);
    if has_points {
        command = Command::new(with_points().expect("somebody looked"));
        command.arg("broker");
    }
    command.args(["--bind", "127.0.0.1", "-p", &port.to_string()]);
    command
        .arg("--data-dir")
        .arg(data)
        .args(["--durability", durability.name()]);
    // Queues have no limit but their bytes, so nothing is dropped; messages cross between shards.
    command.args([
        "--set",
        "max_queued_messages=0",
        "--set",
        "sys_interval=1",
        "--set",
        "shards=2",
    ]);
    command
}

/// Debian's mosquitto, which saves once a second and so loses up to a second: a ledger must see that.
fn mosquitto(folder: &Path, data: &Path, port: u16) -> Command {
    std::fs::create_dir_all(data).expect("cannot create the data folder");
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         autosave_interval 1\nmax_inflight_messages 1000\nmax_queued_messages 0\nmax_queued_bytes 0\nsys_interval 1\n",
        data.display()
    );
    let mut file = File::create(&config).expect("cannot write mosquitto's configuration");
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("cannot write mosquitto's configuration");
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(config);
    command
}
