//! The broker, killed again and again: `tests/kill` with what it needs.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::ci;
use crate::sh::{cargo, step, target};
use anyhow::{Context, Result};

/// The feature with which a broker kills itself where it is told to.
const FEATURE: &str = "kill-points";

pub(crate) fn run(rounds: u32, seed: Option<u64>) -> Result<()> {
    ci::build()?;
    build()?;
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
                "kill",
                "--",
            ])
            .args(["--exact", "--nocapture", "nothing_acknowledged_is_lost"])
            .env("MARTLET_KILL_ROUNDS", rounds.to_string())
            .env("MARTLET_KILL_SEED", seed.to_string())
            .env("RUST_BACKTRACE", "0"),
    )
}

/// The broker that kills itself at named points. It stands apart: the next build would overwrite it.
pub(crate) fn build() -> Result<()> {
    step(
        "build with kill points",
        cargo().args(["build", "--locked", "--package", "martlet", "--features", FEATURE]),
    )?;
    let target = target()?;
    let folder: PathBuf = target.join(FEATURE);
    std::fs::create_dir_all(&folder)?;
    let built = target.join("debug/martlet");
    std::fs::copy(&built, folder.join("martlet"))
        .with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(())
}
