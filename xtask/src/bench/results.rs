//! What was measured, and what it comes to.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::machine::{Machine, date_and_commit};
use super::measure::TOO_LONG;
use super::peers::Peer;
use super::rows::{Figure, Row, SCALE, Work};

/// A run of `cargo xtask bench`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) date: String,
    pub(super) commit: String,
    pub(super) machine: Machine,
    pub(super) quick: bool,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) rows: Vec<RowResult>,
}

/// A row with all its cells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RowResult {
    pub(super) work: String,
    pub(super) row: Row,
    pub(super) cells: BTreeMap<Peer, Cell>,
}

/// A broker in a row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Cell {
    /// One for each repetition that succeeded.
    pub(super) values: Vec<f64>,
    /// The parts of the time that the broker ran, that it waited for its core, and that the load ran.
    pub(super) busy: Vec<f64>,
    pub(super) waiting: Vec<f64>,
    pub(super) load_busy: Vec<f64>,
    /// The parts of the time that the load waited for its core.
    #[serde(default)]
    pub(super) load_waiting: Vec<f64>,
    /// Why a repetition is not among the values.
    pub(super) failures: Vec<String>,
}

/// What `martlet bench --json` says, as far as it is read here.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    phases: Vec<Phase>,
    faults: Faults,
    ended_early: Option<String>,
    /// How the broker started again, if it did.
    #[serde(skip)]
    pub(super) start: Option<Start>,
    /// Syncs for each message, if they were counted.
    #[serde(skip)]
    pub(super) syncs_each: Option<f64>,
}

/// A start on data that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) ms: f64,
    pub(super) resident_mb: f64,
}

#[derive(Debug, Deserialize)]
struct Phase {
    name: String,
    server: Option<Server>,
    latency_us: Option<Latency>,
    own_busy: f64,
    own_waiting: f64,
}

#[derive(Debug, Deserialize)]
struct Server {
    cpu_us_each: f64,
    busy: f64,
    waiting: f64,
    rss_bytes_each: f64,
    rss_bytes_max: f64,
    busiest_thread: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p99: f64,
}

#[derive(Debug, Deserialize)]
struct Faults {
    lost: u64,
    repeated: u64,
    reordered: u64,
    corrupted: u64,
    misrouted: u64,
    first: Option<String>,
}

/// One run of one load against one broker.
pub(super) struct Measured(Result<Report, String>);

impl Measured {
    /// A report with a fault has no numbers worth keeping.
    pub(super) fn of(outcome: Result<Report>) -> Self {
        Self(match outcome {
            Ok(report) => match report.problem() {
                None => Ok(report),
                Some(problem) => Err(problem),
            },
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// A line for the terminal.
    pub(super) fn summary(&self, work: &Work) -> String {
        match &self.0 {
            Err(problem) => format!("FAILED: {problem}"),
            Ok(report) => {
                let rows = work.rows.iter().filter_map(|row| {
                    let value = report.value(row)?;
                    Some(format!("{value:.3} {}", row.figure.unit()))
                });
                let phase = work.rows.first().and_then(|row| report.phase(row));
                let part = |part: f64| format!("{:.0} %", part * 100.0);
                let who = |who: &str, busy, waiting| {
                    let waited = if waiting > 0.01 {
                        format!(", waited {}", part(waiting))
                    } else {
                        String::new()
                    };
                    format!("{who} {} busy{waited}", part(busy))
                };
                let busy = phase.and_then(|phase| {
                    let broker = phase.server.as_ref()?;
                    Some(format!(
                        "{}; {}",
                        who("broker", broker.busy, broker.waiting),
                        who("load", phase.own_busy, phase.own_waiting)
                    ))
                });
                format!(
                    "{} ({})",
                    rows.collect::<Vec<_>>().join(", "),
                    busy.unwrap_or_default()
                )
            }
        }
    }
}

impl Report {
    /// Adds what another load found.
    pub(super) fn add(&mut self, other: Self) {
        self.phases.extend(other.phases);
        if self.problem().is_none() {
            (self.faults, self.ended_early) = (other.faults, other.ended_early);
        }
    }

    /// Why its numbers are worth nothing, if they are not.
    pub(super) fn problem(&self) -> Option<String> {
        if let Some(why) = &self.ended_early {
            return Some(why.clone());
        }
        let Faults {
            lost,
            repeated,
            reordered,
            corrupted,
            misrouted,
            first,
        } = &self.faults;
        (lost + repeated + reordered + corrupted + misrouted > 0).then(|| {
            format!(
                "{lost} lost, {repeated} repeated, {reordered} reordered, {corrupted} corrupted, {misrouted} misrouted: {}",
                first.as_deref().unwrap_or("?")
            )
        })
    }

    fn phase(&self, row: &Row) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == row.phase)
    }

    fn value(&self, row: &Row) -> Option<f64> {
        let phase = self.phase(row)?;
        match row.figure {
            Figure::CpuUs => Some(phase.server.as_ref()?.cpu_us_each),
            Figure::Bytes => Some(phase.server.as_ref()?.rss_bytes_each),
            Figure::P99Us => Some(phase.latency_us.as_ref()?.p99),
            Figure::PeakMb => Some(phase.server.as_ref()?.rss_bytes_max / 1e6),
            Figure::BusiestPercent => Some(phase.server.as_ref()?.busiest_thread? * 100.0),
            Figure::Syncs => self.syncs_each,
            Figure::StartMs => Some(self.start?.ms),
            Figure::StartMb => Some(self.start?.resident_mb),
        }
    }
}

/// Below this, the broker had time to spare, and its CPU time says nothing of its speed.
const BUSY_MIN: f64 = 0.95;
/// More waiting than this is said.
const WAITING_MAX: f64 = 0.05;

impl Cell {
    pub(super) fn median(&self) -> Option<f64> {
        median(&self.values)
    }

    /// Whether the broker ran, or would have, all the time.
    pub(super) fn was_busy(&self) -> bool {
        self.busy().is_some_and(|busy| busy >= BUSY_MIN)
    }

    /// The part of the time that the broker ran, or would have.
    pub(super) fn busy(&self) -> Option<f64> {
        let both: Vec<f64> = self.busy.iter().zip(&self.waiting).map(|(a, b)| a + b).collect();
        median(&both)
    }

    /// Whether others had the broker's core for a part of the time.
    pub(super) fn was_disturbed(&self) -> bool {
        median(&self.waiting).is_some_and(|waiting| waiting > WAITING_MAX)
    }
}

pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n.is_multiple_of(2) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

impl Results {
    pub(super) fn new(machine: Machine, quick: bool, versions: BTreeMap<String, String>) -> Result<Self> {
        let (date, commit) = date_and_commit()?;
        Ok(Self {
            date,
            commit,
            machine,
            quick,
            versions,
            rows: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, work: &Work, peer: Peer, measured: &Measured) {
        for row in &work.rows {
            let known = self.rows.iter().position(|known| known.row.title == row.title);
            let at = known.unwrap_or_else(|| {
                self.rows.push(RowResult {
                    work: work.name.into(),
                    row: row.clone(),
                    cells: BTreeMap::new(),
                });
                self.rows.len() - 1
            });
            let cell = self.rows[at].cells.entry(peer).or_default();
            match &measured.0 {
                Err(problem) => cell.failures.push(problem.clone()),
                Ok(report) => match (report.value(row), report.phase(row)) {
                    (Some(value), Some(phase)) => {
                        cell.values.push(value);
                        cell.busy.extend(phase.server.as_ref().map(|server| server.busy));
                        cell.waiting
                            .extend(phase.server.as_ref().map(|server| server.waiting));
                        cell.load_busy.push(phase.own_busy + phase.own_waiting);
                        cell.load_waiting.push(phase.own_waiting);
                    }
                    _ => cell.failures.push(format!("the report has no {}", row.title)),
                },
            }
        }
    }

    /// Whether it took too long before.
    pub(super) fn is_hopeless(&self, work: &Work, peer: Peer) -> bool {
        let cells = self.rows.iter().filter(|row| row.work == work.name);
        let failures = cells
            .filter_map(|row| row.cells.get(&peer))
            .flat_map(|cell| &cell.failures);
        failures.into_iter().any(|failure| failure.starts_with(TOO_LONG))
    }

    /// In how many measurements other work had the load's core, and of how many: whatever is void may be so for
    /// that reason.
    pub(super) fn load_disturbed(&self) -> (usize, usize) {
        let cells = self.rows.iter().flat_map(|row| row.cells.values());
        let waiting = cells.flat_map(|cell| &cell.load_waiting);
        waiting.fold((0, 0), |(disturbed, all), waiting| {
            (disturbed + usize::from(*waiting > WAITING_MAX), all + 1)
        })
    }

    /// The median of Martlet in the row of that title.
    pub(super) fn martlet(&self, title: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.row.title == title)?;
        row.cells.get(&Peer::Martlet)?.median()
    }

    /// What the relay takes in pairs: the speed of the machine.
    pub(super) fn scale(&self) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.work == SCALE)?;
        row.cells.get(&Peer::Relay)?.median()
    }
}

/// The relay's time on the machine of the targets, in microseconds.
pub(super) const RELAY_US: f64 = 0.20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn a_row_needs_a_busy_broker() {
        let cell = |busy: &[f64], waiting: &[f64]| Cell {
            busy: busy.into(),
            waiting: waiting.into(),
            ..Cell::default()
        };
        assert!(cell(&[0.5, 0.97, 0.99], &[0.0, 0.0, 0.0]).was_busy());
        assert!(!cell(&[0.5, 0.9, 0.99], &[0.0, 0.0, 0.0]).was_busy());
        let shared = cell(&[0.5, 0.5, 0.5], &[0.48, 0.47, 0.4]);
        assert!(shared.was_busy() && shared.was_disturbed());
    }

    #[test]
    fn a_report_with_a_fault_has_no_number() {
        let report = |lost| {
            let text = format!(
                r#"{{"phases": [], "faults": {{"lost": {lost}, "repeated": 0, "reordered": 0, "corrupted": 0,
                "misrouted": 0}}}}"#
            );
            Measured::of(Ok(serde_json::from_str(&text).unwrap()))
        };
        assert!(report(0).0.is_ok() && report(1).0.is_err());
    }
}
