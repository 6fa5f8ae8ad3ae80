//! All rows of the performance table in one run: Martlet, its peers and a relay, interleaved.
//!
//! Each measurement has a broker of its own, started for it on a core of its own; the load runs on
//! another. What is told is the median of the repetitions.

mod machine;
mod peers;
mod plot;
mod results;
mod rows;
mod table;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sh::{self, cargo, step};
use machine::{Cores, Machine};
use peers::{Peer, Peers};
use results::{Measured, Results};
use rows::{Pace, Work};

const FOLDER: &str = "benches/results";
const REPETITIONS: usize = 3;
/// The longest that a load may take; it is not tried again then.
const LOAD_MAX: Duration = Duration::from_mins(1);
const TOO_LONG: &str = "took longer than";

/// What the command line asks for.
pub(crate) struct Asked {
    pub(crate) quick: bool,
    /// Only works whose name contains this; nothing is kept.
    pub(crate) only: Option<String>,
    /// Only tables and plots, of the results that are there.
    pub(crate) draw: bool,
}

pub(crate) fn run(asked: &Asked) -> Result<()> {
    if asked.draw {
        return draw();
    }
    step(
        "release build",
        cargo().args(["build", "--release", "--locked", "--package", "martlet"]),
    )?;
    let target = sh::target()?;
    let cores = Cores::pick()?;
    let peers = Peers::find(&target)?;
    raise_open_files();
    let pace = if asked.quick { Pace::Quick } else { Pace::Full };
    let works: Vec<Work> = rows::works(pace)
        .into_iter()
        .filter(|work| asked.only.as_deref().is_none_or(|only| work.name.contains(only)))
        .collect();
    if works.is_empty() {
        bail!("no work has such a name; all of them: {}", rows::names());
    }
    let mut results = Results::new(Machine::describe(&cores)?, asked.quick, peers.versions())?;
    let does = |work: &Work| peers.all().iter().filter(|peer| peer.does(work)).count();
    let all = REPETITIONS * works.iter().map(does).sum::<usize>();
    let mut nth = 0;
    let start = Instant::now();
    for repetition in 1..=REPETITIONS {
        for work in &works {
            for peer in peers.all().iter().filter(|peer| peer.does(work)) {
                nth += 1;
                if results.is_hopeless(work, *peer) {
                    continue;
                }
                eprint!(
                    "{nth:>3}/{all} {:>4} s, round {repetition}: {:<16} {:<10} ",
                    start.elapsed().as_secs(),
                    work.name,
                    peer.name()
                );
                let measured = measure(&target, &cores, &peers, *peer, work);
                eprintln!("{}", measured.summary(work));
                results.add(work, *peer, &measured);
            }
        }
    }
    println!("{}", table::markdown(&results));
    if asked.only.is_some() {
        return Ok(());
    }
    let name = format!(
        "{FOLDER}/{}-{}{}",
        results.date,
        results.machine.kind,
        if asked.quick { "-quick" } else { "" }
    );
    std::fs::create_dir_all(FOLDER)?;
    std::fs::write(
        format!("{name}.json"),
        serde_json::to_string_pretty(&results)? + "\n",
    )?;
    std::fs::write(format!("{name}.md"), table::markdown(&results))?;
    eprintln!("{name}.json and .md are written");
    draw()
}

/// One broker, one load.
fn measure(target: &Path, cores: &Cores, peers: &Peers, peer: Peer, work: &Work) -> Measured {
    let outcome = (|| {
        let broker = cores.on_broker(work, || peers.start(peer, work))?;
        let mut command = Command::new(target.join("release/martlet"));
        command.arg("bench").args(work.args.split_whitespace());
        command.args(["--json", "-p", &broker.port().to_string()]);
        command.args(["--server-pid", &broker.pid().to_string()]);
        if peer == Peer::Relay {
            command.arg("--raw");
        }
        let output = bounded(cores.on_load(work, || start(&mut command))?)?;
        let text = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str(&text) {
            Ok(report) => Ok(report),
            Err(_) => bail!("{}", String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    })();
    Measured::of(outcome)
}

fn start(load: &mut Command) -> Result<Child> {
    load.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    load.spawn().context("cannot start the load")
}

/// Waits for a load that says little, so that no pipe fills; one that does not end is ended.
fn bounded(mut load: Child) -> Result<Output> {
    let start = Instant::now();
    while load.try_wait()?.is_none() {
        if start.elapsed() > LOAD_MAX {
            load.kill()?;
            load.wait()?;
            bail!("{TOO_LONG} {} s", LOAD_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(load.wait_with_output()?)
}

/// The newest results of a whole run, else of a quick one, become tables and plots in `docs`.
fn draw() -> Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(FOLDER)
        .with_context(|| format!("there are no results in {FOLDER}"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    names.sort_by_key(|path| {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        (!name.ends_with("-quick"), name)
    });
    let path = names
        .pop()
        .with_context(|| format!("there are no results in {FOLDER}"))?;
    let text = std::fs::read_to_string(&path)?;
    let results: Results =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let plots = plot::write_all(&results)?;
    table::write_into_docs(&results, &path, &plots)
}

/// What brokers and loads inherit.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised); // who needs more says so
}
