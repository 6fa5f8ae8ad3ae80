//! Snapshots of the index, so that a start need not replay the whole journal.
//!
//! A snapshot says of each record that lives where it lies and what a start wants to know of it. The index itself does not
//! know that much, so a snapshot is made of the one before and of what the log says since: each record is looked up in
//! the index, and what still has that place is written. That goes in steps while the engine goes on, and needs no copy of the
//! index. What has died meanwhile is missing, so the snapshot waits until all of that is durable.

use martlet_journal::{Disk, Error, LogReader, Position, SnapshotBytes, SnapshotWriter};

use crate::engine::Engine;
use crate::error::with_causes;
use crate::limits::SNAPSHOT_RATIO;
use crate::record;

mod entry;

use entry::Encoder;
pub(crate) use entry::{Decoder, Entry, Said};

/// The snapshots of an engine.
#[derive(Debug)]
pub(crate) struct Snapshots<D: Disk> {
    building: Option<Building<D>>,
    /// Where the last attempt failed: the next waits for as much as after a snapshot.
    failed_at: Position,
    /// The one before is not to be relied on, so the whole log is read.
    starts_anew: bool,
    /// Records of the journal that make no sense.
    pub(crate) unknown: u64,
    failures: u64,
    failure: String,
}

/// A snapshot that is being made.
#[derive(Debug)]
struct Building<D: Disk> {
    writer: SnapshotWriter<D>,
    entries: Encoder,
    /// What is left of the one before.
    before: Option<Before<D>>,
    log: LogReader<D::File>,
    /// Where the log ended when everything had been written. What was left out is dead there.
    ended: Option<Position>,
}

#[derive(Debug)]
struct Before<D: Disk> {
    bytes: SnapshotBytes<D::File>,
    entries: Decoder,
    chunk: Vec<u8>,
}

/// Why a snapshot is given up.
#[derive(Debug)]
enum Failed {
    Journal(Error),
    /// The one before makes no sense, or they do not hold what the index does.
    Differs,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Journal(error)
    }
}

impl<D: Disk> Default for Snapshots<D> {
    fn default() -> Self {
        Self {
            building: None,
            failed_at: Position::default(),
            starts_anew: false,
            unknown: 0,
            failures: 0,
            failure: String::new(),
        }
    }
}

impl<D: Disk> Engine<D> {
    /// One step of a snapshot, if one is due or under way; whether there is more to do at once.
    pub fn snapshot(&mut self) -> bool {
        if self.failure().is_some() || self.journal.needs_room() {
            self.give_up_snapshot();
            return false;
        }
        if self.snapshots.building.is_none() {
            return self.begin_snapshot_beyond(self.snapshot_due_bytes());
        }
        self.step_snapshot()
    }

    /// Whether a snapshot would begin if all that has been appended were durable.
    pub fn wants_snapshot(&self) -> bool {
        let is_possible = self.failure().is_none() && !self.journal.needs_room();
        is_possible && self.snapshots.building.is_none() && self.since_snapshot() > self.snapshot_due_bytes()
    }

    fn snapshot_due_bytes(&self) -> u64 {
        let bytes_min = SNAPSHOT_RATIO.saturating_mul(self.journal.snapshot_bytes());
        bytes_min.max(self.limits.snapshot_bytes_min)
    }

    /// Bytes that a start would replay, or that came since a snapshot failed.
    fn since_snapshot(&self) -> u64 {
        let last = self.journal.snapshot_position().unwrap_or_default();
        self.journal.bytes_since(last.max(self.snapshots.failed_at))
    }

    /// Takes a snapshot now if that is worth it, in one go: the process is about to end. What has been appended is synced.
    pub fn last_snapshot(&mut self) {
        if self.failure().is_some() {
            return;
        }
        while self.step_snapshot() {}
        self.give_up_snapshot();
        if self.begin_snapshot_beyond(self.limits.snapshot_stop_bytes_min) {
            while self.step_snapshot() {}
            self.give_up_snapshot();
        }
    }

    /// Begins one if a start would replay more than so many bytes, all of which are durable.
    fn begin_snapshot_beyond(&mut self, bytes: u64) -> bool {
        // Records that nothing names are to be dead in the log before it is known no more what they are.
        if self.since_snapshot() <= bytes || self.journal.needs_sync() || !self.filling.late.is_empty() {
            return false;
        }
        match self.begin_snapshot() {
            Ok(building) => {
                self.snapshots.building = Some(building);
                true
            }
            Err(Error::SyncUnderWay) => false,
            Err(error) => {
                self.snapshot_failed(error.into());
                false
            }
        }
    }

    fn begin_snapshot(&mut self) -> Result<Building<D>, Error> {
        let before = if self.snapshots.starts_anew {
            None
        } else {
            self.journal.newest_snapshot()?
        };
        let from = before.as_ref().map(SnapshotBytes::position);
        let writer = self.journal.begin_snapshot()?;
        Ok(Building {
            entries: Encoder::new(self.snapshots.unknown),
            before: before.map(|bytes| Before {
                bytes,
                entries: Decoder::default(),
                chunk: Vec::new(),
            }),
            log: LogReader::new(from.unwrap_or_default(), writer.position()),
            writer,
            ended: None,
        })
    }

    fn step_snapshot(&mut self) -> bool {
        let Some(mut building) = self.snapshots.building.take() else {
            return false;
        };
        if let Some(ended) = building.ended {
            return self.end_snapshot(building, ended);
        }
        let stepped = match building.before.take() {
            Some(before) => self.go_over(before, &mut building),
            None => self.go_on(&mut building),
        };
        let stepped = stepped.and_then(|()| {
            let written = building.writer.write(&building.entries.out);
            building.entries.out.clear();
            Ok(written?)
        });
        if let Err(failed) = stepped {
            let _ = building.writer.abandon();
            self.snapshot_failed(failed);
            return false;
        }
        self.snapshots.building = Some(building);
        true
    }

    /// Takes what still lives of the snapshot before.
    fn go_over(&mut self, mut before: Before<D>, building: &mut Building<D>) -> Result<(), Failed> {
        let step_bytes = self.limits.snapshot_step_bytes as usize / 4;
        let until = before.entries.left().saturating_sub(step_bytes);
        while let Some(entry) = before.entries.next() {
            let name = entry.name().ok_or(Failed::Differs)?;
            if self.index.get(name) == Some(entry.place) {
                building.entries.add(&entry);
            }
            if before.entries.left() <= until {
                building.before = Some(before);
                return Ok(());
            }
        }
        if before.bytes.next(&mut before.chunk)? {
            before.entries.push(&before.chunk);
            building.before = Some(before);
            return Ok(());
        }
        before.entries.end().map(drop).ok_or(Failed::Differs)
    }

    /// Takes what lives of what the log says since.
    fn go_on(&mut self, building: &mut Building<D>) -> Result<(), Failed> {
        let Building { entries, log, .. } = building;
        let index = &self.index;
        let goes_on = self
            .journal
            .read_log(log, self.limits.snapshot_step_bytes, |record| {
                let place = record::name(record.kind, record.payload).and_then(|name| index.get(name));
                if place == Some(record.place)
                    && let Some(entry) = Entry::of(&record)
                {
                    entries.add(&entry);
                }
            })?;
        if goes_on {
            return Ok(());
        }
        let ended = self.journal.end();
        // If nothing has changed meanwhile, it holds all that the index does.
        if ended == building.writer.position() && building.entries.entries() != self.index.records() as u64 {
            return Err(Failed::Differs);
        }
        building.entries.end();
        building.ended = Some(ended);
        Ok(())
    }

    /// Finishes it, once everything before `ended` is durable; else it waits.
    fn end_snapshot(&mut self, building: Building<D>, ended: Position) -> bool {
        if self.journal.durable() < ended || !self.filling.late.is_empty() {
            self.snapshots.building = Some(building);
            return false;
        }
        let finished = building.writer.finish();
        match finished.and_then(|snapshot| self.journal.end_snapshot(snapshot)) {
            Ok(()) => self.snapshots.starts_anew = false,
            Err(error) => self.snapshot_failed(error.into()),
        }
        false
    }

    fn give_up_snapshot(&mut self) {
        if let Some(building) = self.snapshots.building.take() {
            // What cannot be removed goes with the next start.
            let _ = building.writer.abandon();
        }
    }

    fn snapshot_failed(&mut self, failed: Failed) {
        self.snapshots.failed_at = self.journal.end();
        self.snapshots.starts_anew = true;
        self.snapshots.failures += 1;
        self.snapshots.failure = match failed {
            Failed::Journal(error) => with_causes(&error),
            Failed::Differs => "it does not hold what the index does".to_owned(),
        };
    }

    /// How many snapshots could not be taken, and why the last one could not. Nothing is lost by that, but a start takes
    /// longer.
    pub fn snapshots_failed(&self) -> (u64, &str) {
        (self.snapshots.failures, &self.snapshots.failure)
    }
}
