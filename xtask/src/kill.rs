//! The broker or the client, killed again and again: `tests/kill` with what it needs.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::ci;
use crate::sh::{cargo, step, target};
use anyhow::{Context, Result};

/// The feature with which a broker kills itself where it is told to.
const FEATURE: &str = "kill-points";

/// What is killed, as the test that does it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Victim {
    Broker,
    Client,
}

impl Victim {
    const fn test(self) -> (&'static str, &'static str) {
        match self {
            Self::Broker => ("kill", "nothing_acknowledged_is_lost"),
            Self::Client => ("client", "a_client_that_is_killed_loses_and_repeats_nothing"),
        }
    }
}

pub(crate) fn run(victim: Victim, rounds: u32, seed: Option<u64>) -> Result<()> {
    ci::build()?;
    build()?;
    let (program, test) = victim.test();
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        now.as_secs()
    });
    step(
        &format!("{rounds} rounds, seed {seed}"),
        cargo()
            .args([
                "test",
                "--quiet",
                "--package",
                "martlet-kill",
                "--test",
                program,
                "--",
            ])
            .args(["--exact", "--nocapture", test])
            .env("MARTLET_KILL_ROUNDS", rounds.to_string())
            .env("MARTLET_KILL_SEED", seed.to_string())
            .env("RUST_BACKTRACE", "0"),
    )
}

/// The broker and the user of the client that kill themselves at named points. They stand apart: the next build would
/// overwrite them.
pub(crate) fn build() -> Result<()> {
    build_one("martlet", "martlet")?;
    build_one("martlet-kill", "victim")
}

fn build_one(package: &str, program: &str) -> Result<()> {
    step(
        &format!("build {program} with kill points"),
        cargo()
            .args(["build", "--locked", "--package", package, "--bin", program])
            .args(["--features", FEATURE]),
    )?;
    let target = target()?;
    let folder: PathBuf = target.join(FEATURE);
    std::fs::create_dir_all(&folder)?;
    let built = target.join("debug").join(program);
    std::fs::copy(&built, folder.join(program))
        .with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(())
}
