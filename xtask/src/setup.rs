//! What the tests need and a new machine lacks: a test runner, valgrind, and other people's MQTT clients.
//!
//! Whatever can be kept apart from the machine goes under `target/interop`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh::{cargo, has, step, target};

const PAHO: &str = "paho-mqtt==2.2.0";
const MQTT_JS: &str = "mqtt@5.16.0";

pub(crate) fn run() -> Result<()> {
    if !has("cargo-nextest") {
        step(
            "install cargo-nextest",
            cargo().args(["install", "--locked", "cargo-nextest"]),
        )?;
    }
    if !["mosquitto_pub", "mosquitto_sub", "mosquitto_rr"]
        .into_iter()
        .all(has)
    {
        debian("mosquitto-clients")
            .context("please install the Debian package mosquitto-clients (mosquitto_pub, _sub and _rr)")?;
    }
    if !has("mosquitto_passwd") {
        debian("mosquitto")
            .context("please install the Debian package mosquitto (the broker and mosquitto_passwd)")?;
    }
    if !has("lua5.3") {
        debian("lua5.3")
            .context("please install the Debian package lua5.3 (the Lua that the module is for)")?;
    }
    if !has("openssl") {
        debian("openssl")
            .context("please install the Debian package openssl, which encrypts keys for tests")?;
    }
    if !has("chromium") && std::env::var_os("MARTLET_CHROMIUM").is_none() {
        debian("chromium").context("please install Chromium, or name it in MARTLET_CHROMIUM")?;
    }
    valgrind()?;
    let interop = target()?.join("interop");
    std::fs::create_dir_all(&interop)?;
    once(&interop.join("python"), PAHO, |folder| {
        let python = std::env::var("MARTLET_PYTHON").unwrap_or_else(|_| "python3".into());
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
        ];
        step(
            "install paho-mqtt",
            Command::new(python).args(pip).arg(folder).arg(PAHO),
        )
    })
    .with_context(|| format!("please install Python 3.11 or newer with pip, which installs {PAHO}"))?;
    once(&interop.join("node"), MQTT_JS, |folder| {
        let npm = [
            "install",
            "--silent",
            "--no-fund",
            "--no-audit",
            "--no-package-lock",
            "--prefix",
        ];
        step(
            "install MQTT.js",
            Command::new("npm").args(npm).arg(folder).arg(MQTT_JS),
        )
    })
    .with_context(|| format!("please install Node.js 20 or newer with npm, which installs {MQTT_JS}"))
}

/// What counts instructions, where they are counted.
pub(crate) fn valgrind() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" || has("valgrind") {
        return Ok(());
    }
    debian("valgrind").context("please install valgrind, which counts instructions")
}

/// Fills `folder` anew unless it was filled with `what` before.
fn once(folder: &Path, what: &str, fill: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let stamp = folder.join(".installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == what) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    fill(folder)?;
    Ok(std::fs::write(stamp, what)?)
}

pub(crate) fn debian(package: &str) -> Result<()> {
    if !has("apt-get") {
        bail!("this is not a Debian machine");
    }
    step("update the list of Debian packages", &mut apt(&["update", "-qq"]))?;
    step(
        &format!("install {package}"),
        &mut apt(&["install", "--yes", "-qq", "--no-install-recommends", package]),
    )
}

/// `apt-get` that asks nothing, through sudo where there is one and we are not root.
fn apt(args: &[&str]) -> Command {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    let sudo: &[&str] = if !root && has("sudo") {
        &["sudo", "-n"]
    } else {
        &[]
    };
    let words = [sudo, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
