//! The results as a table in Markdown.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::durability::{PROMISES, unstored_title};
use super::peers::Peer;
use super::plot::Plot;
use super::results::{Cell, RELAY_US, Results, RowResult};
use super::rows::{ACROSS, Family, Figure, SAME};

const DOCS: &str = "docs/performance.md";

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
    text += " target here | of mosquitto | of the relay |\n|---|---|";
    text += &"---|".repeat(peers.len() + 3);
    text.push('\n');
    for row in &results.rows {
        let _ = write!(text, "| {} | {} |", row.row.title, row.row.figure.unit());
        for peer in &peers {
            let _ = write!(text, " {} |", shown(row, *peer));
        }
        let target = target(results, row).map_or_else(|| "-".into(), number);
        let _ = writeln!(
            text,
            " {target} | {} | {} |",
            ratio(row, Peer::Mosquitto),
            ratio(row, Peer::Relay)
        );
    }
    text.push('\n');
    text += &crossing(results);
    text += &idle_store(results);
    text += &failures(results);
    text
}

/// What a message costs that goes from one shard to another, against one that does not.
fn crossing(results: &Results) -> String {
    let title = |qos, what| format!("50 pairs, QoS {qos}, 2 shards, {what}");
    let more = |qos: u8| {
        let across = results.martlet(&title(qos, ACROSS))?;
        let same = results.martlet(&title(qos, SAME))?;
        let percent = (across / same - 1.0) * 100.0;
        Some(format!("{percent:+.0} % at QoS {qos}"))
    };
    let all: Vec<String> = [0, 1].into_iter().filter_map(more).collect();
    if all.is_empty() {
        return String::new();
    }
    format!(
        "CPU time of a message that crosses from one shard to another, against one that does not: {} (target: at most +40 %).\n\n",
        all.join(", ")
    )
}

/// What a message costs that nobody has stored, with a store against without one.
fn idle_store(results: &Results) -> String {
    let more = |qos: usize| {
        let with = results.martlet(&format!("50 pairs, QoS {qos}, w=32"))?;
        let without = results.martlet(&unstored_title(qos))?;
        let percent = (with / without - 1.0) * 100.0;
        Some(format!("{percent:+.0} % at QoS {qos}"))
    };
    let all: Vec<String> = (0..3).filter_map(more).collect();
    if all.is_empty() {
        return String::new();
    }
    format!(
        "CPU time of a message that is stored for nobody, with the store (fsync) against without one (none): {} (target: at most +10 %).\n\n",
        all.join(", ")
    )
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
    let (disturbed, all) = results.load_disturbed();
    if disturbed > 0 {
        let _ = writeln!(
            text,
            "Other work had the load's core for more than 5 % of the time in {disturbed} of {all} measurements: a broker \
             may have had time to spare for that reason."
        );
    }
    let is_stored = |row: &RowResult| row.row.family == Family::Durability;
    if results.rows.iter().any(is_stored) {
        text += PROMISES;
    }
    text += "Marks: (void) the broker was not busy for 95 % of the time. It then works in smaller batches, so its CPU time for \
        each is more than what it needs when it is busy: a ratio is marked < where that is so of Martlet alone, > of the \
        other alone, and left out where it is so of both. The relay, which costs what the load costs, is not void but \
        has its busy part beside it. ~ other work had the broker's core for more than 5 % of the time. Rows with 2 shards \
        share their cores with the load.\n\n";
    text
}

/// A target in the terms of this machine.
pub(super) fn target(results: &Results, row: &RowResult) -> Option<f64> {
    let target = row.row.target?;
    match row.row.figure {
        Figure::CpuUs => Some(target * results.scale()? / RELAY_US),
        _ => Some(target),
    }
}

pub(super) fn shown(row: &RowResult, peer: Peer) -> String {
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
    if is_void(row, peer, cell) {
        text += " (void)";
    }
    if let Some(busy) = spare(row, cell).filter(|_| peer == Peer::Relay) {
        let _ = write!(text, " ({:.0} % busy)", busy * 100.0);
    }
    text
}

/// The part of the time that a broker was busy in a row that asks for more.
fn spare(row: &RowResult, cell: &Cell) -> Option<f64> {
    cell.busy().filter(|_| row.row.needs_busy && !cell.was_busy())
}

/// Whether a number is not to be compared.
pub(super) fn is_void(row: &RowResult, peer: Peer, cell: &Cell) -> bool {
    peer != Peer::Relay && spare(row, cell).is_some()
}

/// Martlet's part of another's number in the same run, with the side on which the true one is.
pub(super) fn ratio(row: &RowResult, other: Peer) -> String {
    let of = |peer| {
        let cell = row.cells.get(&peer)?;
        Some((cell.median()?, spare(row, cell).is_some()))
    };
    let (Some((ours, we_had_spare)), Some((theirs, they_had_spare))) = (of(Peer::Martlet), of(other)) else {
        return "-".into();
    };
    if theirs <= 0.0 || ours <= 0.0 {
        return "-".into();
    }
    let mark = match (we_had_spare, they_had_spare) {
        (false, false) => "",
        (true, false) => "<",
        (false, true) => ">",
        (true, true) => return "-".into(),
    };
    format!("{mark}{:.2}", ours / theirs)
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

/// The table and the plots of a whole run, for the page.
pub(super) fn section(results: &Results, plots: &[Plot]) -> String {
    let mut text = markdown(results);
    for plot in plots {
        let _ = write!(text, "![{}]({})\n\n", plot.title, plot.file);
    }
    text
}

/// Puts `text`, which is drawn from `source`, between the marks of that name in the page.
pub(super) fn write_into_docs(name: &str, text: &str, source: &Path) -> Result<()> {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let page = std::fs::read_to_string(DOCS).with_context(|| format!("cannot read {DOCS}"))?;
    let (before, rest) = page
        .split_once(&begin)
        .with_context(|| format!("{DOCS} has no {begin}"))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("{DOCS} has no {end}"))?;
    let source = source.display();
    let page = format!("{before}{begin}\n{text}Drawn from `{source}`.\n{end}{after}");
    std::fs::write(DOCS, page)?;
    eprintln!("{DOCS} shows {source}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::rows::Row;

    #[test]
    fn a_ratio_says_on_which_side_the_truth_is() {
        let row = |ours: f64, theirs: f64| {
            let cell = |value, busy| Cell {
                values: vec![value],
                busy: vec![busy],
                waiting: vec![0.0],
                ..Cell::default()
            };
            RowResult {
                work: "w".into(),
                row: Row {
                    title: "t".into(),
                    family: Family::Messages,
                    phase: "deliver".into(),
                    figure: Figure::CpuUs,
                    target: None,
                    needs_busy: true,
                },
                cells: BTreeMap::from([
                    (Peer::Martlet, cell(1.0, ours)),
                    (Peer::Mosquitto, cell(4.0, theirs)),
                    (Peer::Relay, cell(0.5, theirs)),
                ]),
            }
        };
        let cases = [
            (1.0, 1.0, "0.25", "2.00"),
            (0.9, 1.0, "<0.25", "<2.00"),
            (1.0, 0.9, ">0.25", ">2.00"),
            (0.9, 0.9, "-", "-"),
        ];
        for (ours, theirs, of_mosquitto, of_relay) in cases {
            let row = row(ours, theirs);
            assert_eq!(ratio(&row, Peer::Mosquitto), of_mosquitto);
            assert_eq!(ratio(&row, Peer::Relay), of_relay);
        }
        let spare = row(0.9, 0.8);
        assert_eq!(shown(&spare, Peer::Martlet), "1.00 (void)");
        assert_eq!(shown(&spare, Peer::Relay), "0.50 (80 % busy)");
    }
}
