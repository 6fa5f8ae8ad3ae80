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

/// Messages of QoS 1 and 2 that the broker has under way to a client: its default, at which broker and client wait for each other
/// after each 64 messages, and so many that a client is kept busy.
const FEW_UNDER_WAY: Window = &["max_queued_bytes=0"];
const MANY_UNDER_WAY: Window = &["max_queued_bytes=0", "max_inflight_messages=1000"];

/// What the broker is told.
type Window = &'static [&'static str];

/// Clients that do nothing, and what one of ours is to take at most.
const IDLE: u32 = 2_000;
const IDLE_KIB: f64 = 8.0;

/// Subscriptions of one client: a few, more than the topics that it remembers, and many.
const SUBSCRIPTIONS: [u32; 3] = [10, 1_000, 10_000];

/// One kind of work.
#[derive(Clone, Copy)]
struct Row {
    role: &'static str,
    qos: u8,
    window: Window,
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
        target: target.clone(),
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
    let machine = Machine::describe(&bench.cores)?;
    let (date, commit) = date_and_commit()?;
    let table = format!(
        "# Clients, {date}, {commit}\n\n{}.\n\n{}\n{}\n{}",
        machine.description,
        bench.messages()?,
        bench.idle()?,
        bench.dispatch()?
    );
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
    target: PathBuf,
    cores: Cores,
    programs: PathBuf,
    messages: u32,
    work: Work,
}

impl Clients {
    /// What a message takes.
    fn messages(&self) -> Result<String> {
        let mut table = format!(
            "{} messages of 64 bytes, one connection in version 3.1.1, each program on a core of its own with one thread; CPU time \
             of the whole process, the median of {REPETITIONS} runs that take turns. Who publishes has at most 100 messages of \
             QoS 1 and 2 under way. Who receives is sent as many as the broker has under way to a client: 64 unless it is told \
             otherwise, after which both sleep until the other wakes them, or 1,000, which keep a client busy.\n\n\
             | | Martlet | rumqttc 0.25.1 | ratio | wanted |\n|---|---|---|---|---|\n",
            thousands(self.messages)
        );
        let rows = [
            ("publish, QoS 0", "publish", 0, FEW_UNDER_WAY),
            ("publish, QoS 1", "publish", 1, FEW_UNDER_WAY),
            ("publish, QoS 2", "publish", 2, FEW_UNDER_WAY),
            ("receive, QoS 0", "receive", 0, FEW_UNDER_WAY),
            ("receive, QoS 1, 1,000 under way", "receive", 1, MANY_UNDER_WAY),
            ("receive, QoS 2, 1,000 under way", "receive", 2, MANY_UNDER_WAY),
            ("receive, QoS 1, 64 under way", "receive", 1, FEW_UNDER_WAY),
            ("receive, QoS 2, 64 under way", "receive", 2, FEW_UNDER_WAY),
        ];
        for (title, role, qos, window) in rows {
            let [ours, theirs] = self.row(Row {
                role,
                qos,
                window,
                topics: 1,
                count: self.messages,
            })?;
            let line = format!(
                "| {title} | {:.2} us | {:.2} us | {:.2} | {TARGET} |",
                ours / 1e3,
                theirs / 1e3,
                ours / theirs
            );
            eprintln!("{line}");
            writeln!(table, "{line}")?;
        }
        Ok(table)
    }

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
        let [ours, theirs] = self.row(Row {
            role: "idle",
            qos: 0,
            window: FEW_UNDER_WAY,
            topics: 1,
            count: IDLE,
        })?;
        let text = format!(
            "The growth of the resident memory of one process by {} clients that are connected and do nothing, for one of them.\n\n\
             | | Martlet | rumqttc 0.25.1 | wanted |\n|---|---|---|---|\n\
             | an idle client | {:.1} KiB | {:.1} KiB | {IDLE_KIB} KiB |\n",
            thousands(IDLE),
            ours / 1024.0,
            theirs / 1024.0
        );
        eprintln!("{text}");
        Ok(text)
    }

    /// What a message takes of one client with few and with many subscriptions.
    fn dispatch(&self) -> Result<String> {
        let mut runs = SUBSCRIPTIONS.map(|topics| (topics, Vec::new()));
        for _ in 0..REPETITIONS {
            for (topics, found) in &mut runs {
                let row = Row {
                    role: "receive",
                    qos: 1,
                    window: MANY_UNDER_WAY,
                    topics: *topics,
                    count: self.messages,
                };
                found.push(self.measure(LIBRARIES[0], row)?);
            }
        }
        let mut text = "One client of ours that receives QoS 1 with a stream of its own for each subscription; messages come to one \
                        after the other, which nothing that remembers topics helps.\n\n\
                        | subscriptions | CPU time a message |\n|---|---|\n"
            .to_owned();
        for (topics, found) in runs {
            writeln!(text, "| {} | {:.2} us |", thousands(topics), median(found) / 1e3)?;
        }
        eprintln!("{text}");
        Ok(text)
    }

    /// What the program prints: nanoseconds a message, or bytes a client. Who receives has a publisher of ours on the broker's
    /// core.
    fn measure(&self, library: &str, row: Row) -> Result<f64> {
        let Self { cores, work, .. } = self;
        let peers = Peers::ours(&self.target)?.telling(row.window);
        let broker = cores.on_broker(work, || peers.start(Peer::Martlet, work))?;
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
