//! The results as a table in Markdown.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::peers::Peer;
use super::plot::Plot;
use super::results::{Cell, RELAY_US, Results, RowResult};
use super::rows::Figure;

const DOCS: &str = "docs/performance.md";
const BEGIN: &str = "<!-- bench -->";
const END: &str = "<!-- /bench -->";

pub(super) fn markdown(results: &Results) -> String {
    let mut text = head(results);
    let peers: Vec<Peer> = Peer::ALL
        .into_iter()
        .filter(|peer| results.rows.iter().any(|row| row.cells.contains_key(peer)))
        .collect();
    text += "| work | unit |";
    for peer in &peers {
        let version = results.versions.get(peer.name());
        let _ = write!(text, " {}", peer.name());
        if let Some(version) = version {
            let _ = write!(text, " {version}");
        }
        text += " |";
    }
    text += " target here | of mosquitto |\n|---|---|";
    text += &"---|".repeat(peers.len() + 2);
    text.push('\n');
    for row in &results.rows {
        let _ = write!(text, "| {} | {} |", row.row.title, row.row.figure.unit());
        for peer in &peers {
            let _ = write!(text, " {} |", shown(row, *peer));
        }
        let target = target(results, row).map_or_else(|| "-".into(), number);
        let _ = writeln!(text, " {target} | {} |", ratio(row));
    }
    text.push('\n');
    text += &failures(results);
    text
}

fn head(results: &Results) -> String {
    let Results {
        date,
        commit,
        machine,
        ..
    } = results;
    let mut text = format!("{date}, commit {commit}. {}.\n\n", machine.description);
    if results.quick {
        text += "A quick run: short measurements, smaller numbers of filters, messages and connections.\n";
    }
    text += "Medians of three, interleaved; the broker alone on one core, the load on another; 64-byte payloads unless said; \
        MQTT 3.1.1. Every message was checked: none lost, repeated, reordered, corrupted or misrouted in what is shown.\n";
    if let Some(scale) = results.scale() {
        let _ = writeln!(
            text,
            "The relay, which copies bytes without parsing, takes {scale:.3} us in pairs. Targets are given for a machine \
             where it takes {RELAY_US:.2} us; those of CPU time are scaled by {:.2} here.",
            scale / RELAY_US
        );
    }
    text += "Marks: (void) the broker was not busy for 95 % of the time, so its CPU time says little of its speed; \
        ~ other work had the broker's core for more than 5 % of the time.\n\n";
    text
}

/// A target in the terms of this machine.
pub(super) fn target(results: &Results, row: &RowResult) -> Option<f64> {
    let target = row.row.target?;
    match row.row.figure {
        Figure::CpuUs => Some(target * results.scale()? / RELAY_US),
        Figure::Bytes | Figure::P99Us => Some(target),
    }
}

fn shown(row: &RowResult, peer: Peer) -> String {
    let Some(cell) = row.cells.get(&peer) else {
        return "-".into();
    };
    let Some(median) = cell.median() else {
        return "fails".into();
    };
    let mut text = number(median);
    if cell.was_disturbed() {
        text = format!("~{text}");
    }
    if is_void(row, cell) {
        text += " (void)";
    }
    text
}

/// Whether a number is not to be compared.
pub(super) fn is_void(row: &RowResult, cell: &Cell) -> bool {
    row.row.needs_busy && !cell.was_busy()
}

/// Martlet's part of mosquitto's number in the same run.
fn ratio(row: &RowResult) -> String {
    let median = |peer| row.cells.get(&peer).filter(|cell| !is_void(row, cell))?.median();
    match (median(Peer::Martlet), median(Peer::Mosquitto)) {
        (Some(ours), Some(theirs)) if theirs > 0.0 && ours > 0.0 => format!("{:.2}", ours / theirs),
        _ => "-".into(),
    }
}

pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn failures(results: &Results) -> String {
    let mut lines = Vec::new();
    for row in &results.rows {
        for (peer, cell) in &row.cells {
            let Some(first) = cell.failures.first() else {
                continue;
            };
            let line = format!(
                "- {} at {}: {} of {} failed: {}\n",
                peer.name(),
                row.work,
                cell.failures.len(),
                cell.failures.len() + cell.values.len(),
                first.lines().next().unwrap_or_default()
            );
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("What failed:\n{}\n", lines.concat())
}

/// Puts table and plots between the marks in the page.
pub(super) fn write_into_docs(results: &Results, source: &Path, plots: &[Plot]) -> Result<()> {
    let page = std::fs::read_to_string(DOCS).with_context(|| format!("cannot read {DOCS}"))?;
    let (before, rest) = page
        .split_once(BEGIN)
        .with_context(|| format!("{DOCS} has no {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{DOCS} has no {END}"))?;
    let mut middle = format!("{}Drawn from `{}`.\n", markdown(results), source.display());
    for plot in plots {
        let _ = write!(middle, "\n![{}]({})\n", plot.title, plot.file);
    }
    std::fs::write(DOCS, format!("{before}{BEGIN}\n{middle}{END}{after}"))?;
    eprintln!("{DOCS} shows {}", source.display());
    Ok(())
}
