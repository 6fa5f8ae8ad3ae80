//! What CI runs, in the order in which faults are cheapest to find.

use std::process::Command;

use anyhow::Result;

use crate::sh::{cargo, has, step, target};
use crate::{guards, kill, nextest, setup, tidy};

pub(crate) fn run() -> Result<()> {
    setup::run()?;
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    step(
        "lints with QUIC",
        &mut with_quic(&["clippy"], &["--all-targets", "--", "-D", "warnings"]),
    )?;
    step(
        "docs",
        cargo()
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    if has("cargo-deny") {
        step(
            "licences",
            cargo().args(["deny", "--locked", "check", "licenses", "bans", "sources"]),
        )?;
    }
    eprintln!("\n== tidy");
    tidy::sources(false)?;
    build()?;
    lua_module()?;
    kill::build()?;
    eprintln!("\n== instruction counts");
    guards::run(false)?;
    step(
        "examples in docs",
        cargo().args(["test", "--doc", "--workspace", "--locked", "--quiet"]),
    )?;
    step(
        "tests with QUIC",
        &mut with_quic(&["nextest", "run"], &["-E", "binary(quic)", "--no-tests", "fail"]),
    )?;
    // The test runner's summary stays the last thing on the screen: a clean ledger says nothing.
    step(
        "tests",
        cargo().args([
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--profile",
            "ci",
            "--no-tests",
            "fail",
        ]),
    )?;
    tidy::ledgers(&nextest::ran()?, false)
}

/// A command for the packages that have something more with the feature `quic`.
fn with_quic(words: &[&str], more: &[&str]) -> Command {
    let mut cargo = cargo();
    cargo.args(words).args(["--locked", "--features", "quic"]);
    for package in ["martlet", "martlet-net", "martlet-client", "martlet-server"] {
        cargo.args(["--package", package]);
    }
    cargo.args(more);
    cargo
}

/// The module for plain Lua, which is a workspace of its own.
fn lua_module() -> Result<()> {
    let manifest = ["--manifest-path", "bindings/lua/Cargo.toml"];
    let folder = target()?.join("bindings-lua");
    step(
        "format of the Lua module",
        cargo().args(["fmt", "--check"]).args(manifest),
    )?;
    step(
        "lints of the Lua module",
        cargo()
            .args(["clippy", "--release", "--locked"])
            .args(manifest)
            .arg("--target-dir")
            .arg(&folder)
            .args(["--", "-D", "warnings"]),
    )?;
    step(
        "Lua module",
        cargo()
            .args(["build", "--release", "--locked"])
            .args(manifest)
            .arg("--target-dir")
            .arg(&folder),
    )
}

/// The tests of `tests/interop` whose names contain `filter`.
pub(crate) fn interop(filter: Option<&str>) -> Result<()> {
    setup::run()?;
    build()?;
    lua_module()?;
    step(
        "interop",
        cargo()
            .args(["nextest", "run", "--package", "martlet-interop"])
            .args(filter),
    )
}

pub(crate) fn build() -> Result<()> {
    step(
        "release build",
        cargo().args(["build", "--release", "--locked", "--package", "martlet"]),
    )
}
