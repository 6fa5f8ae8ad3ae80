//! What a run did, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::ledger::Counts;
use crate::world::BY_TIME;

/// The figures of a run.
#[derive(Debug, Clone)]
pub struct Report {
    pub(crate) seed: u64,
    pub(crate) rounds: u32,
    pub(crate) took: Duration,
    /// Where the broker was killed, and how often.
    pub(crate) kills: BTreeMap<&'static str, u32>,
    pub(crate) counts: Counts,
    /// Accepted messages that a recipient must get and has not got.
    pub(crate) lost: u64,
    pub(crate) wills: u64,
    pub(crate) wills_came: u64,
}

impl Report {
    /// Messages that were acknowledged and are not there.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Messages that publishers have an acknowledgement of.
    pub const fn acknowledged(&self) -> u64 {
        self.counts.accepted
    }

    /// How often the broker was killed.
    pub fn kills(&self) -> u32 {
        self.kills.values().sum()
    }

    /// How often at a named point, not by the clock.
    pub fn kills_at_points(&self) -> u32 {
        let at_points = self.kills.iter().filter(|(place, _)| **place != BY_TIME);
        at_points.map(|(_, kills)| kills).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(
            f,
            "{} rounds in {:.1} s, seed {}",
            self.rounds,
            self.took.as_secs_f64(),
            self.seed
        )?;
        writeln!(f, "| what | count |\n|---|---|")?;
        for (place, kills) in &self.kills {
            writeln!(f, "| killed {place} | {kills} |")?;
        }
        let rows = [
            ("messages acknowledged", counts.accepted),
            ("deliveries", counts.delivered),
            ("lost", self.lost),
            ("duplicated", counts.duplicated),
            ("sent again by publishers", counts.resent),
            ("delivered again as QoS 1 may", counts.again),
            ("sessions present", counts.present),
            ("subscriptions acknowledged", counts.subscribed),
            ("unsubscriptions acknowledged", counts.unsubscribed),
            ("retained messages read", counts.retained_read),
            ("wills made", self.wills),
            ("wills that came", self.wills_came),
        ];
        for (what, count) in rows {
            writeln!(f, "| {what} | {count} |")?;
        }
        Ok(())
    }
}
