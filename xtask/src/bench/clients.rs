//! What a message costs a client, and a client that does nothing: our library beside rumqttc, each in a program of its own,
//! against the same broker.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::machine::{Cores, Machine, date_and_commit};
use super::peers::{Peer, Peers};
use super::rows::{Work, thousands};
use super::{FOLDER, REPETITIONS};
use crate::sh::{self, cargo, step};

const MANIFEST: &str = "benches/clients/Cargo.toml";
const LIBRARIES: [&str; 2] = ["martlet", "rumqttc"];
/// Of what rumqttc takes, ours is to take at most this.
const TARGET: f64 = 0.5;

/// Clients that do nothing, and what one of ours is to take at most.
const IDLE: u32 = 2_000;
const IDLE_KIB: f64 = 8.0;

/// Subscriptions of one client: few, and so many that a search through them would show.
const FEW: u32 = 10;
const MANY: u32 = 10_000;
/// Of what a message takes with few, one with many is to take at most this. Their streams do not fit the processor's caches.
const DISPATCH: f64 = 2.0;

/// One kind of work.
#[derive(Clone, Copy)]
struct Row {
    role: &'static str,
    qos: u8,
    /// Of the receiver, each with a subscription of its own.
    topics: u32,
    /// Messages; of what is idle, clients.
    count: u32,
}

/// Median nanoseconds a message, by library.
type Figures = [f64; LIBRARIES.len()];

/// Measures and writes `benches/results/*-clients.md`; a quick run only shows it.
pub(crate) fn run(quick: bool) -> Result<()> {
    step(
        "release build of the broker",
        cargo().args(["build", "--release", "--locked", "--package", "martlet"]),
    )?;
    let target = sh::target()?;
    let built = target.join("bench-peers/clients");
    step(
        "release build of the clients",
        cargo()
            .args(["build", "--release", "--manifest-path", MANIFEST, "--target-dir"])
            .arg(&built),
    )?;
    let bench = Clients {
        peers: Peers::ours(&target)?,
        cores: Cores::pick()?,
        programs: built.join("release"),
        messages: if quick { 50_000 } else { 500_000 },
        work: Work {
            name: "clients",
            args: String::new(),
            relay: None,
            stored: None,
            tls: None,
            shards: 1,
            rows: Vec::new(),
        },
    };
    let mut table = String::new();
    let machine = Machine::describe(&bench.cores)?;
    let (date, commit) = date_and_commit()?;
    writeln!(table, "# Clients, {date}, {commit}\n\n{}.\n", machine.description)?;
    writeln!(
        table,
        "{} messages of 64 bytes, QoS 1 and 2 with at most 100 under way, one connection in version 3.1.1, each program on a core \
         of its own with one thread; CPU time of the whole process, the median of {REPETITIONS} runs that take turns.\n",
        thousands(bench.messages)
    )?;
    writeln!(
        table,
        "| | Martlet | rumqttc 0.25.1 | ratio | wanted |\n|---|---|---|---|---|"
    )?;
    for role in ["publish", "receive"] {
        for qos in 0..=2 {
            let topics = 1;
            let [ours, theirs] = bench.row(Row {
                role,
                qos,
                topics,
                count: bench.messages,
            })?;
            let ratio = ours / theirs;
            let line = format!(
                "| {role}, QoS {qos} | {:.2} us | {:.2} us | {ratio:.2} | {TARGET} |",
                ours / 1e3,
                theirs / 1e3
            );
            eprintln!("{line}");
            writeln!(table, "{line}")?;
        }
    }
    write!(table, "\n{}", bench.idle()?)?;
    write!(table, "\n{}", bench.dispatch()?)?;
    println!("\n{table}");
    if quick {
        return Ok(());
    }
    std::fs::create_dir_all(FOLDER)?;
    let name = format!("{FOLDER}/{date}-{}-clients.md", machine.kind);
    std::fs::write(&name, table)?;
    eprintln!("{name} is written");
    Ok(())
}

struct Clients {
    peers: Peers,
    cores: Cores,
    programs: PathBuf,
    messages: u32,
    work: Work,
}

impl Clients {
    fn row(&self, row: Row) -> Result<Figures> {
        let mut all = LIBRARIES.map(|_| Vec::new());
        for _ in 0..REPETITIONS {
            for (library, found) in LIBRARIES.iter().zip(&mut all) {
                found.push(self.measure(library, row)?);
            }
        }
        Ok(all.map(median))
    }

    /// What a client takes that does nothing.
    fn idle(&self) -> Result<String> {
        let row = Row {
            role: "idle",
            qos: 0,
            topics: 1,
            count: IDLE,
        };
        let [ours, theirs] = self.row(row)?.map(|bytes| bytes / 1024.0);
        let text = format!(
            "Of {} clients in one process that are connected and do nothing, the growth of its resident memory, each.\n\n\
             | | Martlet | rumqttc 0.25.1 | wanted |\n|---|---|---|---|\n\
             | an idle client | {ours:.1} KiB | {theirs:.1} KiB | {IDLE_KIB} KiB |\n",
            thousands(IDLE)
        );
        eprintln!("{text}");
        Ok(text)
    }

    /// What a message takes of one client with few and with many subscriptions.
    fn dispatch(&self) -> Result<String> {
        let mut runs = [FEW, MANY].map(|topics| (topics, Vec::new()));
        for _ in 0..REPETITIONS {
            for (topics, found) in &mut runs {
                let topics = *topics;
                let row = Row {
                    role: "receive",
                    qos: 0,
                    topics,
                    count: self.messages,
                };
                found.push(self.measure(LIBRARIES[0], row)?);
            }
        }
        let [few, many] = runs.map(|(_, found)| median(found));
        let text = format!(
            "One client of ours that receives QoS 0, with a stream of its own for each subscription; messages come to one after \
             the other.\n\n| | {FEW} subscriptions | {} subscriptions | ratio | wanted |\n|---|---|---|---|---|\n\
             | receive, QoS 0 | {:.2} us | {:.2} us | {:.2} | {DISPATCH} |\n",
            thousands(MANY),
            few / 1e3,
            many / 1e3,
            many / few
        );
        eprintln!("{text}");
        Ok(text)
    }

    /// What the program prints: nanoseconds a message, or bytes a client. Who receives has a publisher of ours on the broker's
    /// core.
    fn measure(&self, library: &str, row: Row) -> Result<f64> {
        let Self { cores, work, .. } = self;
        let broker = cores.on_broker(work, || self.peers.start(Peer::Martlet, work))?;
        let start = |library: &str, role: &str| self.start(library, role, row, broker.port());
        let (mut subject, mut said) = cores.on_load(work, || start(library, row.role))?;
        let mut line = String::new();
        let mut publisher = None;
        if row.role == "receive" {
            said.read_line(&mut line)?;
            ensure!(
                line.trim() == "ready",
                "{library} does not subscribe: '{}'",
                line.trim()
            );
            line.clear();
            publisher = Some(cores.on_broker(work, || start("martlet", "publish"))?);
        }
        said.read_line(&mut line)?;
        ensure!(
            subject.wait()?.success(),
            "{library} {} QoS {} failed",
            row.role,
            row.qos
        );
        if let Some((mut publisher, _)) = publisher {
            publisher.wait()?;
        }
        line.trim()
            .parse()
            .with_context(|| format!("{library} printed '{}'", line.trim()))
    }

    fn start(
        &self,
        library: &str,
        role: &str,
        row: Row,
        port: u16,
    ) -> Result<(Child, BufReader<ChildStdout>)> {
        let program = self.programs.join(library);
        let mut child = Command::new(&program)
            .args([
                role,
                &row.qos.to_string(),
                &row.count.to_string(),
                &port.to_string(),
                &row.topics.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("it has an output")?;
        Ok((child, BufReader::new(output)))
    }
}

fn median(mut found: Vec<f64>) -> f64 {
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}
