//! One broker, one load, and what follows it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};

use super::durability::Step;
use super::machine::Cores;
use super::peers::{Broker, Peer, Peers, process};
use super::results::{Measured, Report, Start};
use super::rows::Work;
use crate::sh::has;

/// The longest that a load may take; it is not tried again then.
const LOAD_MAX: Duration = Duration::from_mins(1);
/// The same for loads that fill a disk.
const STORED_LOAD_MAX: Duration = Duration::from_mins(10);
pub(super) const TOO_LONG: &str = "took longer than";

/// Calls that make the system write to the disk.
const SYNCS: &str = "fsync,fdatasync,sync_file_range,msync,syncfs";

/// What all measurements share.
pub(super) struct Bench {
    pub(super) target: PathBuf,
    pub(super) cores: Cores,
    pub(super) peers: Peers,
}

impl Bench {
    pub(super) fn measure(&self, peer: Peer, work: &Work) -> Measured {
        Measured::of(self.run(peer, work))
    }

    fn run(&self, peer: Peer, work: &Work) -> Result<Report> {
        let mut broker = self.cores.on_broker(work, || self.peers.start(peer, work))?;
        let mut report = self.load(peer, work, &broker, &work.args)?;
        for step in work.stored.iter().flat_map(|stored| &stored.then) {
            if report.problem().is_some() {
                break;
            }
            match step {
                Step::Load(args) => report.add(self.load(peer, work, &broker, args)?),
                Step::Restart => {
                    broker.end(peer)?;
                    let start = Instant::now();
                    broker = self
                        .cores
                        .on_broker(work, || self.peers.start_on_data(peer, work))?;
                    let ms = start.elapsed().as_secs_f64() * 1e3;
                    report.start = Some(Start {
                        ms,
                        resident_mb: broker.resident_mb()?,
                    });
                }
                Step::Syncs(args, messages) => {
                    let trace = Trace::attach(&broker, &self.target.join("bench-peers/syncs"))?;
                    let load = self.load(peer, work, &broker, args);
                    let syncs = trace.count()?;
                    report.add(load?);
                    report.syncs_each = Some(f64::from(syncs) / f64::from(*messages));
                }
            }
        }
        Ok(report)
    }

    fn load(&self, peer: Peer, work: &Work, broker: &Broker, args: &str) -> Result<Report> {
        let mut command = Command::new(self.target.join("release/martlet"));
        command.arg("bench").args(args.split_whitespace());
        command.args(["--json", "-p", &broker.port().to_string()]);
        command.args(["--server-pid", &broker.pid().to_string()]);
        if peer == Peer::Relay {
            command.arg("--raw");
        }
        if let Some((certificate, _)) = self.peers.certificate(work) {
            command.arg("--cafile").arg(certificate);
        }
        let bound = if work.stored.is_some() {
            STORED_LOAD_MAX
        } else {
            LOAD_MAX
        };
        let output = bounded(self.cores.on_load(work, || start(&mut command))?, bound)?;
        let text = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str(&text) {
            Ok(report) => Ok(report),
            Err(_) => bail!("{}", String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
}

fn start(load: &mut Command) -> Result<Child> {
    load.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    load.spawn().context("cannot start the load")
}

/// Waits for a load that says little, so that no pipe fills; one that does not end is ended.
fn bounded(mut load: Child, bound: Duration) -> Result<Output> {
    let start = Instant::now();
    while load.try_wait()?.is_none() {
        if start.elapsed() > bound {
            load.kill()?;
            load.wait()?;
            bail!("{TOO_LONG} {} s", bound.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(load.wait_with_output()?)
}

/// strace, while it counts what a broker syncs.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    fn attach(broker: &Broker, file: &Path) -> Result<Self> {
        if !has("strace") {
            bail!("please install strace, which counts syncs");
        }
        let mut command = Command::new("strace");
        command
            .args(["-f", "-e", &format!("trace={SYNCS}"), "-o"])
            .arg(file);
        command.args(["-p", &broker.pid().to_string()]);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let errors = strace.stderr.take().context("it has an output")?;
        let mut line = String::new();
        BufReader::new(errors).read_line(&mut line)?;
        if !line.contains("attached") {
            bail!("strace: {}", line.trim());
        }
        Ok(Self {
            strace,
            file: file.to_owned(),
        })
    }

    /// How many syncs there were.
    fn count(mut self) -> Result<u32> {
        kill_process(process(&self.strace)?, Signal::INT)?;
        self.strace.wait()?;
        let text = std::fs::read_to_string(&self.file)?;
        Ok(syncs(&text))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// A call that another thread interrupts has two lines: its beginning counts.
fn syncs(trace: &str) -> u32 {
    let begins = |line: &&str| {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let name = call.split('(').next().unwrap_or_default();
        SYNCS.split(',').any(|sync| sync == name)
    };
    trace.lines().filter(begins).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_counts_once() {
        let trace = "812 fdatasync(7 <unfinished ...>\n813 fsync(9)  = 0\n812 <... fdatasync resumed>) = 0\n\
            812 --- SIGTERM {si_signo=SIGTERM} ---\n814 +++ exited with 0 +++\n";
        assert_eq!(syncs(trace), 2);
    }
}
