//! Chores of this repository. `cargo xtask ci` is all that CI runs, so a laptop and CI agree.

mod ci;
mod nextest;
mod setup;
mod sh;
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
    /// Everything that CI runs: setup, format, lints, docs, release build, tests, tidy
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
    /// Build the release binary and run other people's clients against it
    Interop {
        /// Run only the tests whose name contains this
        filter: Option<String>,
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
        Chore::Interop { filter } => ci::interop(filter.as_deref()),
    }
}
