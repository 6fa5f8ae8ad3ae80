//! All rows of a table in one run: Martlet, its peers and a relay, interleaved.
//!
//! Each measurement has a broker of its own, started for it on a core of its own; the load runs on
//! another. What is told is the median of the repetitions.

mod clients;
mod durability;
mod machine;
mod measure;
mod peers;
mod plot;
mod results;
mod rows;
mod table;
mod tls;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sh::{self, cargo, step};
pub(crate) use clients::run as run_clients;
use machine::{Cores, Machine};
use measure::Bench;
use peers::Peers;
use results::Results;
use rows::{Pace, Work};

const FOLDER: &str = "benches/results";
const REPETITIONS: usize = 3;

/// What may be measured instead of brokers.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum What {
    /// What a message costs our client library, beside rumqttc
    Client,
    /// What TLS costs the broker, beside mosquitto
    Tls,
    /// Of all rows those about what outlives the broker, and what that costs the others
    Store,
}

/// Works whose results stand in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// All that there is in the clear.
    Plain,
    /// TLS.
    Tls,
    /// The rows of `Plain` about the store.
    Store,
}

impl Suite {
    /// At the end of the name of its results.
    const fn end(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Tls => "-tls",
            Self::Store => "-store",
        }
    }

    fn works(self, pace: Pace) -> Vec<Work> {
        match self {
            Self::Plain => rows::works(pace),
            Self::Tls => tls::works(pace),
            Self::Store => rows::works(pace)
                .into_iter()
                .filter(Work::is_about_store)
                .collect(),
        }
    }

    fn markdown(self, results: &Results) -> String {
        match self {
            Self::Plain | Self::Store => table::markdown(results),
            Self::Tls => tls::markdown(results),
        }
    }
}

/// What the command line asks for.
pub(crate) struct Asked {
    pub(crate) suite: Suite,
    pub(crate) quick: bool,
    /// Only works whose name contains this; nothing is kept.
    pub(crate) only: Option<String>,
    /// Only tables and plots, of the results that are there.
    pub(crate) draw: bool,
}

pub(crate) fn run(asked: &Asked) -> Result<()> {
    let suite = asked.suite;
    if asked.draw {
        return [Suite::Plain, Suite::Tls, Suite::Store]
            .into_iter()
            .try_for_each(draw);
    }
    step(
        "release build",
        cargo().args(["build", "--release", "--locked", "--package", "martlet"]),
    )?;
    let target = sh::target()?;
    let bench = Bench {
        cores: Cores::pick()?,
        peers: match suite {
            Suite::Plain | Suite::Store => Peers::find(&target)?,
            Suite::Tls => Peers::find_with_tls(&target)?,
        },
        target,
    };
    let peers = &bench.peers;
    raise_open_files();
    let pace = if asked.quick { Pace::Quick } else { Pace::Full };
    let works: Vec<Work> = suite
        .works(pace)
        .into_iter()
        .filter(|work| asked.only.as_deref().is_none_or(|only| work.name.contains(only)))
        .collect();
    if works.is_empty() {
        let all: Vec<&str> = suite.works(pace).iter().map(|work| work.name).collect();
        bail!("no work has such a name; all of them: {}", all.join(", "));
    }
    let mut results = Results::new(Machine::describe(&bench.cores)?, asked.quick, peers.versions())?;
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
                let measured = bench.measure(*peer, work);
                eprintln!("{}", measured.summary(work));
                results.add(work, *peer, &measured);
            }
        }
    }
    println!("{}", suite.markdown(&results));
    if asked.only.is_some() {
        return Ok(());
    }
    let name = format!(
        "{FOLDER}/{}-{}{}{}",
        results.date,
        results.machine.kind,
        suite.end(),
        if asked.quick { "-quick" } else { "" }
    );
    std::fs::create_dir_all(FOLDER)?;
    std::fs::write(
        format!("{name}.json"),
        serde_json::to_string_pretty(&results)? + "\n",
    )?;
    std::fs::write(format!("{name}.md"), suite.markdown(&results))?;
    eprintln!("{name}.json and .md are written");
    draw(suite)
}

/// The newest results of a whole run, else of a quick one, become tables and plots in `docs`.
fn draw(suite: Suite) -> Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(FOLDER)
        .with_context(|| format!("there are no results in {FOLDER}"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .filter(|path| {
            let name = path.to_string_lossy();
            let is_of = |other: Suite| name.contains(other.end());
            match suite {
                Suite::Plain => !is_of(Suite::Tls) && !is_of(Suite::Store),
                other => is_of(other),
            }
        })
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
    match suite {
        Suite::Plain => {
            let plots = plot::write_all(&results)?;
            table::write_into_docs("bench", &table::section(&results, &plots), &path)
        }
        Suite::Tls => table::write_into_docs("bench tls", &tls::markdown(&results), &path),
        Suite::Store => table::write_into_docs("bench store", &table::markdown(&results), &path),
    }
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
