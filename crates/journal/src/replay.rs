//! The replay of what follows a snapshot, and what becomes of bytes that are no whole batch.
//!
//! Two things look alike: an end that a crash has torn, which nobody was promised, and damage to what was durable.
//! Each batch says what was durable when it was written. So if any batch behind a bad spot says that the log was
//! durable beyond it, the spot is damage, and the replay goes on behind it. Else it is where the log ends.

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::frame::{self, DEATHS, EMPTIED, Frame, Frames, KIND_MAX};
use crate::group::Death;
use crate::index::{Index, Record};
use crate::place::Position;
use crate::recover::Recovery;
use crate::report::Cut;
use crate::scan::{Scanner, Step};
use crate::segments::{self, FIRST_OFFSET, TORN};

/// How the replay of a segment ended.
enum Ended {
    /// At its end.
    Whole,
    /// The log ends in it, or before it.
    Torn(Position),
}

impl<D: Disk, I: Index> Recovery<'_, D, I> {
    pub(crate) fn replay(&mut self) -> Result<(), Error> {
        let begin = self.end;
        self.trust_damaged();
        for number in self
            .found
            .range(begin.segment..)
            .map(|(number, _)| *number)
            .collect::<Vec<_>>()
        {
            let empty = self.found.get(&number).is_none_or(|found| found.bytes == 0);
            if empty {
                self.set_aside(number, TORN)?; // the next segment knows if something was in it
                continue;
            }
            let from = if number == begin.segment {
                begin.offset
            } else {
                FIRST_OFFSET
            };
            let ended = match self.begin_segment(number, begin) {
                Ended::Whole => self.replay_segment(number, from)?,
                torn @ Ended::Torn(_) => torn,
            };
            if let Ended::Torn(at) = ended {
                return self.cut(at);
            }
        }
        Ok(())
    }

    /// A segment that was found damaged before was served and synced then, whatever said so and has gone since.
    fn trust_damaged(&mut self) {
        let mut named = self.found.iter().filter(|(_, found)| found.named_damaged);
        if let Some((number, found)) = named.next_back() {
            let end = Position {
                segment: *number,
                offset: found.bytes,
            };
            self.synced = self.synced.max(end);
        }
    }

    /// Whether the segment follows what has been replayed.
    fn begin_segment(&mut self, number: u32, begin: Position) -> Ended {
        if number <= begin.segment {
            return Ended::Whole;
        }
        let here = Position {
            segment: number,
            offset: 0,
        };
        let header = self
            .found
            .get(&number)
            .map_or(Ok(None), |found| found.header.clone());
        let header = match header {
            Ok(Some(header)) => header,
            Ok(None) if !self.was_durable_beyond(here) => return Ended::Torn(here),
            unread => {
                self.damage(number, 0, FIRST_OFFSET, unread.err());
                return Ended::Whole;
            }
        };
        let (end, previous) = (self.end, header.previous);
        if previous <= end {
            return Ended::Whole;
        }
        // Something was between them: it has been cleaned away, or was never durable, or is lost.
        if !self.was_durable_beyond(end) {
            return Ended::Torn(end);
        }
        if previous.segment == end.segment && self.found.contains_key(&end.segment) {
            self.damage(end.segment, end.offset, previous.offset, None);
        } else if end.segment != 0 {
            self.expected.insert(previous.segment);
        }
        self.saw(previous.segment);
        Ended::Whole
    }

    fn replay_segment(&mut self, number: u32, from: u32) -> Result<Ended, Error> {
        let name = segments::name(number, false);
        let bytes = self.found.get(&number).map_or(0, |found| found.bytes);
        let file = self.open_segment(number).map_err(Error::disk("open", name))?;
        let mut scanner = Scanner::new(file, number, self.salt, from, bytes);
        loop {
            let at = scanner.position();
            let failed = match scanner.next() {
                Ok(Step::Batch(batch)) => {
                    self.synced = self.synced.max(batch.synced);
                    self.take(number, batch.frames);
                    continue;
                }
                Ok(Step::End) => break,
                Ok(Step::Bad) if !self.was_durable_beyond(at) => return Ok(Ended::Torn(at)),
                Ok(Step::Bad) => scanner.search(),
                Err(error) => Err(error),
            };
            match failed {
                Ok(()) => self.damage(number, at.offset, scanner.position().offset, None),
                Err(error) => {
                    self.damage(number, at.offset, bytes, Some(error.to_string()));
                    break;
                }
            }
        }
        let end = Position {
            segment: number,
            offset: bytes,
        };
        self.end = self.end.max(end);
        Ok(Ended::Whole)
    }

    fn take(&mut self, number: u32, frames: Frames<'_>) {
        self.report.batches += 1;
        for Frame { place, kind, payload } in frames {
            match kind {
                DEATHS => {
                    for place in frame::places(payload) {
                        self.segments.kill(place, number, Death::New);
                        self.index.killed(place);
                    }
                }
                EMPTIED => {
                    for emptied in frame::numbers(payload) {
                        self.emptied.insert(emptied);
                        self.saw(emptied);
                    }
                }
                kind if kind <= KIND_MAX => {
                    self.report.records += 1;
                    self.segments.add(number, place.record_bytes());
                    self.index.put(Record { place, kind, payload });
                }
                _ => {} // of a later version, which must not rely on it
            }
        }
    }

    /// Whether any batch behind `at` says that the log was durable beyond it. What cannot be read may have said so.
    fn was_durable_beyond(&mut self, at: Position) -> bool {
        if self.synced > at {
            return true;
        }
        for number in self
            .found
            .range(at.segment..)
            .map(|(number, _)| *number)
            .collect::<Vec<_>>()
        {
            let bytes = self.found.get(&number).map_or(0, |found| found.bytes);
            let from = if number == at.segment {
                at.offset.max(FIRST_OFFSET)
            } else {
                FIRST_OFFSET
            };
            let Ok(file) = self.open_segment(number) else {
                return true;
            };
            let mut scanner = Scanner::new(file, number, self.salt, from, bytes);
            loop {
                let passed = match scanner.next() {
                    Ok(Step::Batch(batch)) => {
                        self.synced = self.synced.max(batch.synced);
                        Ok(())
                    }
                    Ok(Step::End) => break,
                    Ok(Step::Bad) => scanner.search(),
                    Err(error) => Err(error),
                };
                if self.synced > at || passed.is_err() {
                    return true;
                }
            }
        }
        false
    }

    /// Ends the log at `at`: nothing behind it was ever durable.
    fn cut(&mut self, at: Position) -> Result<(), Error> {
        let mut cut = Cut {
            at,
            bytes: 0,
            segments: Vec::new(),
        };
        // A header alone stays, as the next segment will say that it follows it.
        let whole = |number: u32| number > at.segment || at.offset < FIRST_OFFSET;
        let behind = self
            .found
            .range(at.segment..)
            .map(|(number, found)| (*number, found.bytes));
        for (number, bytes) in behind.collect::<Vec<_>>() {
            if whole(number) {
                cut.bytes += u64::from(bytes);
                cut.segments.extend(self.set_aside(number, TORN)?);
            } else {
                cut.bytes += u64::from(bytes.saturating_sub(at.offset));
                self.shorten(at, bytes)?;
                self.end = at;
            }
        }
        self.report.cut = Some(cut);
        Ok(())
    }

    fn shorten(&mut self, at: Position, bytes: u32) -> Result<(), Error> {
        if bytes <= at.offset {
            return Ok(());
        }
        let name = segments::name(at.segment, false);
        let file = self
            .open_segment(at.segment)
            .map_err(Error::disk("open", &name))?;
        let shortened = file.truncate(u64::from(at.offset)).and_then(|()| file.sync());
        shortened.map_err(Error::disk("shorten", name))?;
        if let Some(found) = self.found.get_mut(&at.segment) {
            found.bytes = at.offset;
        }
        self.segments.set_bytes(at.segment, at.offset);
        Ok(())
    }
}
