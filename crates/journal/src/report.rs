//! What was found when a journal was opened.

use std::fmt;

use crate::place::Position;

/// What opening found and did. Its `Display` is a line for each thing that somebody should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Where the snapshot was taken from which the replay went on; `None`: everything was replayed.
    pub snapshot: Option<Position>,
    /// Batches that were replayed.
    pub batches: u64,
    /// Records that were replayed, without deaths.
    pub records: u64,
    /// An end that was not whole, as a crash leaves it, and was cut off.
    pub cut: Option<Cut>,
    /// Bytes that were durable once and cannot be read.
    pub damage: Vec<Damage>,
    /// Segments that should be there and are not.
    pub missing: Vec<u32>,
    /// Snapshots that were not whole, by the names that they have now.
    pub snapshots_damaged: Vec<String>,
    /// Files that are not used, by the names that they have now: emptied or torn segments and strangers.
    pub unused: Vec<String>,
}

/// An end of the log that never became durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where the last whole batch ends.
    pub at: Position,
    /// What was cut off, segments behind it included.
    pub bytes: u64,
    /// Segments behind it, by the names that they have now.
    pub segments: Vec<String>,
}

/// Bytes of a segment that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, by the name that it has now. What is left of it is served from there.
    pub name: String,
    /// The first byte that is lost.
    pub from: u32,
    /// The first byte behind it that is not.
    pub to: u32,
    /// What the disk said, if it could not read.
    pub why: Option<String>,
}

impl Report {
    /// Whether something was lost that had been durable. Nothing is lost by a snapshot that is damaged.
    pub fn has_damage(&self) -> bool {
        !self.damage.is_empty() || !self.missing.is_empty()
    }

    /// Gives all files other names.
    pub(crate) fn rename(&mut self, name_of: impl Fn(&str) -> String) {
        let damaged = self.damage.iter_mut().map(|damage| &mut damage.name);
        let cut = self.cut.iter_mut().flat_map(|cut| &mut cut.segments);
        let others = self.snapshots_damaged.iter_mut().chain(&mut self.unused);
        for name in damaged.chain(cut).chain(others) {
            *name = name_of(name);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self
            .snapshot
            .map_or_else(|| "the begin".to_owned(), |at| format!("the snapshot at {at}"));
        write!(
            f,
            "replayed {} records in {} batches from {from}",
            self.records, self.batches
        )?;
        if let Some(cut) = &self.cut {
            write!(f, "\ncut {} bytes off a torn end at {}", cut.bytes, cut.at)?;
            for name in &cut.segments {
                write!(f, "\nset aside what was behind a torn end: {name}")?;
            }
        }
        for damage in &self.damage {
            write!(f, "\ndamaged: {damage}")?;
        }
        for segment in &self.missing {
            write!(f, "\nmissing: segment {segment:08x}")?;
        }
        for name in &self.snapshots_damaged {
            write!(f, "\ndamaged snapshot: {name}")?;
        }
        for name in &self.unused {
            write!(f, "\nnot used: {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {} of {}", self.from, self.to, self.name)?;
        self.why.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}
