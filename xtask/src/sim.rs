//! The simulation: `crates/sim` in release, with what else was said handed on.

use anyhow::Result;

use crate::sh::{cargo, step};

pub(crate) fn run(rest: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args([
        "run",
        "--release",
        "--locked",
        "--quiet",
        "-p",
        "martlet-sim",
        "--",
    ]);
    step("simulation", command.args(rest))
}
