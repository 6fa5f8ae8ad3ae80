//! The log, read again in parts while it goes on.

use std::io;

use crate::disk::Disk;
use crate::error::Error;
use crate::frame::KIND_MAX;
use crate::index::Record;
use crate::journal::Journal;
use crate::place::Position;
use crate::scan::{Scanner, Step};
use crate::segments::{self, FIRST_OFFSET, State};

/// A stretch of the log that is being read.
#[derive(Debug)]
pub struct LogReader<F> {
    at: Position,
    until: Position,
    scanner: Option<Scanner<F>>,
}

impl<F> LogReader<F> {
    /// What is between two positions, each the end of an append or of a snapshot.
    pub fn new(from: Position, until: Position) -> Self {
        Self {
            at: from,
            until,
            scanner: None,
        }
    }
}

impl<D: Disk> Journal<D> {
    /// What has been appended since `position` and not been cleaned away, in bytes: what a replay from there would read.
    pub fn bytes_since(&self, position: Position) -> u64 {
        let newer = self.segments.from(position.segment);
        newer.fold(0, |sum, (number, segment)| {
            let before = if number == position.segment {
                position.offset
            } else {
                0
            };
            sum + u64::from(segment.bytes.saturating_sub(before))
        })
    }

    /// Reads about `budget_bytes` more and gives each record to `take`, the dead ones too; whether there is more.
    ///
    /// Segments that have been emptied are left out: copies of what lived in them lie behind. Damage that nobody knew of
    /// is an error, as what should be there would be missed.
    pub fn read_log(
        &mut self,
        reader: &mut LogReader<D::File>,
        budget_bytes: u32,
        mut take: impl FnMut(Record<'_>),
    ) -> Result<bool, Error> {
        let mut left = u64::from(budget_bytes.max(1));
        while left > 0 {
            let Some(scanner) = self.scanner(reader)? else {
                return Ok(false);
            };
            let at = scanner.position();
            let name = || segments::name(at.segment, false);
            match scanner.next().map_err(Error::disk("read", name()))? {
                Step::Batch(batch) => {
                    for frame in batch.frames.filter(|frame| frame.kind <= KIND_MAX) {
                        take(Record {
                            place: frame.place,
                            kind: frame.kind,
                            payload: frame.payload,
                        });
                    }
                }
                Step::End => {
                    reader.at = Position {
                        segment: at.segment + 1,
                        offset: 0,
                    };
                    reader.scanner = None;
                    continue;
                }
                Step::Bad if self.segments.get(at.segment).is_some_and(|known| known.damaged) => {
                    scanner.search().map_err(Error::disk("read", name()))?;
                }
                Step::Bad => {
                    return Err(Error::disk("read", name())(io::ErrorKind::InvalidData.into()));
                }
            }
            left = left.saturating_sub(u64::from(scanner.position().offset - at.offset));
        }
        Ok(true)
    }

    /// Where the reader is; none: it is at its end.
    fn scanner<'a>(
        &mut self,
        reader: &'a mut LogReader<D::File>,
    ) -> Result<Option<&'a mut Scanner<D::File>>, Error> {
        if reader.scanner.is_none() {
            let LogReader { at, until, .. } = *reader;
            let whole = |(_, segment): &(u32, &segments::Segment<D::File>)| segment.state == State::Full;
            let found = self.segments.from(at.segment).find(whole);
            let Some((number, bytes)) = found.map(|(number, segment)| (number, segment.bytes)) else {
                return Ok(None);
            };
            let end = match number.cmp(&until.segment) {
                std::cmp::Ordering::Less => bytes,
                std::cmp::Ordering::Equal => until.offset.min(bytes),
                std::cmp::Ordering::Greater => return Ok(None),
            };
            let from = if number == at.segment { at.offset } else { 0 };
            let opened = self.segments.file(&self.disk, number);
            let file = opened.map_err(Error::disk("open", segments::name(number, false)))?;
            let from = from.max(FIRST_OFFSET);
            reader.scanner = Some(Scanner::new(file, number, self.salt, from, end));
        }
        Ok(reader.scanner.as_mut())
    }
}
