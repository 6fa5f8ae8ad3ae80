//! What a message costs a client: our library beside rumqttc, each in a program of its own, against the same broker.

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

/// One kind of work.
#[derive(Clone, Copy)]
struct Row {
    role: &'static str,
    qos: u8,
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
            let [ours, theirs] = bench.row(Row { role, qos })?;
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
        Ok(all.map(|mut found| {
            found.sort_by(f64::total_cmp);
            found[found.len() / 2]
        }))
    }

    /// Nanoseconds a message. Who receives has a publisher of ours on the broker's core.
    fn measure(&self, library: &str, row: Row) -> Result<f64> {
        let Self { cores, work, .. } = self;
        let broker = cores.on_broker(work, || self.peers.start(Peer::Martlet, work))?;
        let start = |library: &str, role: &str| self.start(library, role, row.qos, broker.port());
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
        qos: u8,
        port: u16,
    ) -> Result<(Child, BufReader<ChildStdout>)> {
        let program = self.programs.join(library);
        let mut child = Command::new(&program)
            .args([
                role,
                &qos.to_string(),
                &self.messages.to_string(),
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("it has an output")?;
        Ok((child, BufReader::new(output)))
    }
}
