//! Chores of this repository. `cargo xtask ci` is all that CI runs, so a laptop and CI agree.

mod bench;
mod ci;
mod guards;
mod kill;
mod nextest;
mod setup;
mod sh;
mod sim;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of this repository")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that CI runs: setup, format, lints, docs, release build, instruction counts, tests, tidy
    Ci,
    /// Install what the tests need and a new machine lacks, or say what to install
    Setup,
    /// Check what compilers do not: crate arrows, invariants, citations, ledgers, file sizes
    Tidy {
        /// Check named tests against the report of the last `ci` run, instead of listing them anew
        #[arg(long)]
        ran: bool,
        /// Write today's better numbers into xtask/ratchet.toml
        #[arg(long)]
        tighten: bool,
    },
    /// Measure Martlet beside mosquitto, rumqttd and a relay; results, table and plots
    Bench {
        /// Measure this instead
        #[arg(value_enum, conflicts_with = "draw")]
        what: Option<bench::What>,
        /// A few minutes: short measurements, smaller numbers
        #[arg(long)]
        quick: bool,
        /// Only the works whose name contains this; nothing is written
        #[arg(long)]
        only: Option<String>,
        /// Measure nothing: draw table and plots of docs/performance.md from the results that are there
        #[arg(long, conflicts_with_all = ["quick", "only"])]
        draw: bool,
    },
    /// Count the instructions of what the broker does most, and fail where they grew
    Guards {
        /// Write today's better numbers into benches/instructions.toml
        #[arg(long)]
        tighten: bool,
    },
    /// Build the release binary and run other people's clients against it
    Interop {
        /// Run only the tests whose name contains this
        filter: Option<String>,
    },
    /// Play whole brokers and clients from seeds: --seed N with a trace, --seeds A..B, --minutes M, --help for more
    #[command(disable_help_flag = true)]
    Sim {
        /// For the simulation
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Kill the broker again and again on one data folder, and compare what it acknowledged with what is left
    Kill {
        /// Kill a program that uses the client instead, at each point between store and transmit
        #[arg(long)]
        client: bool,
        /// How often
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// What the choices follow from, else the time
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn main() -> ExitCode {
    match run(&Args::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> anyhow::Result<()> {
    sh::enter_root()?;
    match chore {
        Chore::Ci => ci::run(),
        Chore::Setup => setup::run(),
        Chore::Tidy { ran, tighten } => {
            tidy::sources(*tighten)?;
            tidy::ledgers(&if *ran { nextest::ran()? } else { nextest::listed()? }, *tighten)
        }
        Chore::Bench {
            what: Some(bench::What::Client),
            quick,
            only,
            ..
        } => {
            anyhow::ensure!(only.is_none(), "the clients have one table: leave --only out");
            bench::run_clients(*quick)
        }
        Chore::Bench {
            what,
            quick,
            only,
            draw,
        } => bench::run(&bench::Asked {
            suite: match what {
                Some(bench::What::Store) => bench::Suite::Store,
                Some(_) => bench::Suite::Tls,
                None => bench::Suite::Plain,
            },
            quick: *quick,
            only: only.clone(),
            draw: *draw,
        }),
        Chore::Guards { tighten } => guards::run(*tighten),
        Chore::Kill { client, rounds, seed } => {
            let victim = if *client {
                kill::Victim::Client
            } else {
                kill::Victim::Broker
            };
            kill::run(victim, *rounds, *seed)
        }
        Chore::Interop { filter } => ci::interop(filter.as_deref()),
        Chore::Sim { rest } => sim::run(rest),
    }
}
