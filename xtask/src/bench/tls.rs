//! What TLS costs a broker, beside mosquitto: handshakes, idle connections, messages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::peers::Peer;
use super::results::{Results, RowResult};
use super::rows::{Family, Figure, Pace, Row, Work, row, thousands};
use super::table::{number, ratio, shown};
use crate::sh::has;

/// The kind of key that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Ecdsa,
    Rsa,
}

impl Key {
    const ALL: [Self; 2] = [Self::Ecdsa, Self::Rsa];

    const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA 2048",
        }
    }

    /// What `openssl req` makes it of.
    const fn makes(self) -> &'static [&'static str] {
        match self {
            Self::Ecdsa => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            Self::Rsa => &["-newkey", "rsa:2048"],
        }
    }
}

/// Where certificate and key of that kind are: the certificate is its own authority.
pub(super) fn files(folder: &Path, key: Key) -> (PathBuf, PathBuf) {
    let file = |end| folder.join(format!("{}.{end}", key.name()));
    (file("pem"), file("key"))
}

/// Makes certificates that hold for a day.
pub(super) fn make_certificates(folder: &Path) -> Result<()> {
    if !has("openssl") {
        crate::setup::debian("openssl").context("please install openssl, which makes certificates")?;
    }
    for key in Key::ALL {
        let (certificate, private) = files(folder, key);
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.args(key.makes()).arg("-keyout").arg(private);
        // It shows on standard error how it looks for primes.
        let made = openssl.arg("-out").arg(certificate).output()?;
        ensure!(
            made.status.success(),
            "openssl makes no certificate: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    Ok(())
}

/// A connection over TLS that does nothing takes at most this.
const IDLE_BYTES: f64 = 20.0 * 1_024.0;
/// Over TLS a message takes at most this many times the CPU.
const RATIO: f64 = 1.6;

const PLAIN: &str = "50 pairs, QoS 0, w=32, plain";
const SECURED: &str = "50 pairs, QoS 0, w=32, over TLS";

pub(super) fn works(pace: Pace) -> Vec<Work> {
    let (seconds, warm_up, idle) = match pace {
        Pace::Quick => (1, "0.3", 2_000),
        Pace::Full => (5, "1", 10_000),
    };
    let work = |name, args, tls, row| Work {
        name,
        args,
        relay: None,
        stored: None,
        tls,
        shards: 1,
        rows: vec![row],
    };
    let handshakes = |name, key: Key| {
        let title = format!("full handshake, {}, with CONNECT and DISCONNECT", key.title());
        let row = row(Family::Tls, title, "connect", Figure::CpuUs, None);
        work(name, format!("connect --seconds {seconds}"), Some(key), row)
    };
    let pairs = |name, tls, title| {
        let row = Row {
            needs_busy: true,
            ..row(Family::Tls, title, "deliver", Figure::CpuUs, None)
        };
        let args = format!("pairs --pairs 50 -q 0 --seconds {seconds} --warm-up {warm_up}");
        work(name, args, tls, row)
    };
    let title = format!("{} idle connections over TLS: memory of one", thousands(idle));
    let idle_row = row(Family::Tls, title, "connect", Figure::Bytes, Some(IDLE_BYTES));
    vec![
        handshakes("tls-handshake-ecdsa", Key::Ecdsa),
        handshakes("tls-handshake-rsa", Key::Rsa),
        work(
            "tls-idle",
            format!("idle --connections {idle} --settle 0"),
            Some(Key::Ecdsa),
            idle_row,
        ),
        pairs("tls-pairs-plain", None, PLAIN),
        pairs("tls-pairs", Some(Key::Ecdsa), SECURED),
    ]
}

/// The results as a page.
pub(super) fn markdown(results: &Results) -> String {
    let Results {
        date,
        commit,
        machine,
        ..
    } = results;
    let mut text = format!("{date}, commit {commit}. {}.\n\n", machine.description);
    if results.quick {
        text += "A quick run: short measurements, fewer connections.\n";
    }
    text += "Medians of three, interleaved; the broker alone on one core, the load on another; TLS 1.3, each handshake a whole one \
         (no resumption), the same certificate for both. CPU time is that of all threads of the broker. (void): the broker was \
         not busy for 95 % of the time. ~: other work, or another thread of the broker itself (handshakes have their own), had its core for more than 5 % of the time.\n\n";
    let version = results.versions.get(Peer::Mosquitto.name());
    let version = version.map_or("", String::as_str);
    let _ = writeln!(
        text,
        "| work | unit | martlet | mosquitto {version} | of mosquitto | wanted |\n|---|---|---|---|---|---|"
    );
    for row in &results.rows {
        text += &line(row);
    }
    for peer in [Peer::Martlet, Peer::Mosquitto] {
        if let Some(ratio) = more(results, peer) {
            let _ = writeln!(
                text,
                "| QoS 0, over TLS against plain: {} | times | {} | {} | - | {} |",
                peer.name(),
                if peer == Peer::Martlet {
                    number(ratio)
                } else {
                    "-".into()
                },
                if peer == Peer::Martlet {
                    "-".into()
                } else {
                    number(ratio)
                },
                if peer == Peer::Martlet {
                    format!("at most {RATIO}")
                } else {
                    "-".into()
                },
            );
        }
    }
    text.push('\n');
    text
}

fn line(row: &RowResult) -> String {
    let of_mosquitto = ratio(row, Peer::Mosquitto);
    let is_handshake = row.row.title.starts_with("full handshake");
    let wanted = match row.row.target {
        Some(target) => number(target),
        None if is_handshake => "at most 1 of mosquitto".into(),
        None => "-".into(),
    };
    let mut cells = String::new();
    for peer in [Peer::Martlet, Peer::Mosquitto] {
        let _ = write!(cells, " {}", shown(row, peer));
        let median = row.cells.get(&peer).and_then(super::results::Cell::median);
        if let Some(us) = median.filter(|us| is_handshake && *us > 0.0) {
            let _ = write!(cells, " ({:.0} a second of a core)", 1e6 / us);
        }
        cells += " |";
    }
    let (title, unit) = (&row.row.title, row.row.figure.unit());
    format!("| {title} | {unit} |{cells} {of_mosquitto} | {wanted} |\n")
}

/// How many times the CPU of a plain message one over TLS takes.
fn more(results: &Results, peer: Peer) -> Option<f64> {
    let median = |title: &str| {
        let row = results.rows.iter().find(|row| row.row.title == title)?;
        row.cells.get(&peer)?.median()
    };
    Some(median(SECURED)? / median(PLAIN)?)
}
