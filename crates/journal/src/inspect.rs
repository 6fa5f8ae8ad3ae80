//! A look at a journal that changes nothing: what opening it would find, and every record that is there.

use std::io;

use crate::disk::unchanged::Unchanged;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::frame::{self, DEATHS, EMPTIED, Frame, KIND_MAX, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::{Index, Record};
use crate::journal::{Journal, read_all};
use crate::limits::Limits;
use crate::place::{Place, Position};
use crate::report::{Damage, Report};
use crate::scan::{Scanner, Step};
use crate::segments::{self, FIRST_OFFSET};

/// A journal as it lies on the disk, which stays as it is.
///
/// It is opened as [`Journal::open`] does it, but nothing of that reaches the disk. Nobody else may write to the folder
/// meanwhile.
#[derive(Debug)]
pub struct Inspection<D: Disk> {
    journal: Journal<Unchanged<D>>,
    report: Report,
}

/// A segment that would be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFound {
    /// Its file.
    pub name: String,
    /// Up to where it is used. What is behind that is an end that a crash has torn.
    pub bytes: u32,
    /// What of its records and deaths lives, as far as is known without reading it.
    pub live_bytes: u64,
    /// Bytes of it are lost, as far as is known without reading it.
    pub damaged: bool,
}

/// What stands in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged<'a> {
    /// A record; whether it lives is up to the index.
    Put(Record<'a>),
    /// The record of a place is dead from here on.
    Killed(Place),
    /// All that lives of a segment has been copied before this.
    Emptied(u32),
}

impl<D: Disk> Inspection<D> {
    /// Looks at the journal in a folder and fills `index`, as opening does.
    pub fn new(disk: D, limits: Limits, index: &mut impl Index) -> Result<Self, Error> {
        let disk = Unchanged::new(disk).map_err(Error::disk("list", "the folder"))?;
        let limits = Limits {
            reserve_bytes: 0,
            ..limits
        };
        let (journal, mut report) = Journal::open(disk, limits, 0, index)?;
        report.rename(|name| journal.disk.name_of(name));
        Ok(Self { journal, report })
    }

    /// What opening would find, and what it would do. Names are those that the files have.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// All segments together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// What of them lives, in bytes.
    pub fn live_bytes(&self) -> u64 {
        self.journal.live_bytes()
    }

    /// Where the log ends.
    pub fn end(&self) -> Position {
        self.journal.end()
    }

    /// The segments that would be served, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentFound> + '_ {
        self.journal
            .segments
            .iter()
            .map(|(number, segment)| SegmentFound {
                name: self.name(number),
                bytes: segment.bytes,
                live_bytes: segment.live,
                damaged: segment.damaged,
            })
    }

    /// Reads a record into `payload`, in place of what is there. Returns its kind.
    pub fn read(&mut self, place: Place, payload: &mut Vec<u8>) -> Result<u8, Error> {
        self.journal.read(place, payload)
    }

    /// Reads everything that would be served, and gives to `take` what it finds, in the order in which it was written.
    /// Returns all that is damaged, also what opening does not read.
    pub fn read_all(&self, mut take: impl FnMut(Logged<'_>)) -> Result<Vec<Damage>, Error> {
        let mut damage = self.report.damage.clone();
        for (number, segment) in self.journal.segments.iter() {
            let name = self.name(number);
            let opened = self.journal.disk.open(&segments::name(number, segment.damaged));
            let file = opened.map_err(Error::disk("open", &name))?;
            let mut bad = |from, to, why: Option<io::Error>| {
                let found = Damage {
                    name: name.clone(),
                    from,
                    to,
                    why: why.map(|why| why.to_string()),
                };
                if !damage.contains(&found) {
                    damage.push(found);
                }
            };
            let mut header = [0; SEGMENT_HEADER_BYTES];
            match read_all(&file, 0, &mut header) {
                Ok(()) if SegmentHeader::decode(&header, number).is_some() => {}
                Ok(()) => bad(0, FIRST_OFFSET, None),
                Err(error) => bad(0, FIRST_OFFSET, Some(error)),
            }
            let salt = self.journal.salt;
            let scanner = Scanner::new(file, number, salt, FIRST_OFFSET, segment.bytes);
            read_segment(scanner, segment.bytes, &mut take, &mut bad);
        }
        damage.sort_by(|one, other| (&one.name, one.from).cmp(&(&other.name, other.from)));
        Ok(damage)
    }

    fn name(&self, number: u32) -> String {
        let damaged = self
            .journal
            .segments
            .get(number)
            .is_some_and(|segment| segment.damaged);
        self.journal.disk.name_of(&segments::name(number, damaged))
    }
}

fn read_segment<F: DiskFile>(
    mut scanner: Scanner<F>,
    end: u32,
    take: &mut impl FnMut(Logged<'_>),
    bad: &mut impl FnMut(u32, u32, Option<io::Error>),
) {
    loop {
        let at = scanner.position().offset;
        let passed = match scanner.next() {
            Ok(Step::Batch(batch)) => {
                batch.frames.for_each(|frame| each(frame, take));
                continue;
            }
            Ok(Step::End) => return,
            Ok(Step::Bad) => scanner.search(),
            Err(error) => Err(error),
        };
        match passed {
            Ok(()) => bad(at, scanner.position().offset, None),
            Err(error) => return bad(at, end, Some(error)),
        }
    }
}

fn each(frame: Frame<'_>, take: &mut impl FnMut(Logged<'_>)) {
    let Frame { place, kind, payload } = frame;
    match kind {
        DEATHS => frame::places(payload).for_each(|place| take(Logged::Killed(place))),
        EMPTIED => frame::numbers(payload).for_each(|segment| take(Logged::Emptied(segment))),
        kind if kind <= KIND_MAX => take(Logged::Put(Record { place, kind, payload })),
        _ => {} // of a later version
    }
}
