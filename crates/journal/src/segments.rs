//! The segments, and how much of each lives.

use std::collections::BTreeMap;

use crate::disk::{Disk, DiskFile};
use crate::frame;
use crate::group::Death;
use crate::limits::SEGMENT_MAX;
use crate::place::{Place, Position};

/// What a death takes in a segment.
const DEATH_BYTES: u64 = 12;

/// All segments by their numbers, which grow with time.
#[derive(Debug)]
pub(crate) struct Segments<F> {
    all: BTreeMap<u32, Segment<F>>,
    /// How many bytes of deaths a segment (the second) has for records of another (the first). They live as long
    /// as that one is there, or a replay would find its records alive.
    deaths: BTreeMap<(u32, u32), u64>,
    open_files_max: usize,
    /// How many are open, and a clock of uses.
    open: usize,
    uses: u64,
    /// Of all files.
    bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Segment<F> {
    file: Option<F>,
    used: u64,
    pub(crate) bytes: u32,
    /// Records and deaths that were written, without what stands around them: a copy would have that too.
    pub(crate) counted: u64,
    pub(crate) live: u64,
    pub(crate) state: State,
    /// Bytes in it were lost, so it has another name and is not removed.
    pub(crate) damaged: bool,
    /// The disk cannot read all of it, so it is not cleaned.
    pub(crate) unreadable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has records.
    Full,
    /// Copies of all that lives are before that position: it can go when that is durable.
    Emptied(Position),
    /// It has gone from the folder, which is to be synced.
    Removed,
}

impl<F: DiskFile> Segments<F> {
    pub(crate) fn new(open_files_max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            deaths: BTreeMap::new(),
            open_files_max,
            open: 0,
            uses: 0,
            bytes: 0,
        }
    }

    pub(crate) fn insert(&mut self, number: u32, bytes: u32, damaged: bool, file: Option<F>) {
        self.open += usize::from(file.is_some());
        self.uses += 1;
        let segment = Segment {
            file,
            used: self.uses,
            bytes,
            counted: 0,
            live: 0,
            state: State::Full,
            damaged,
            unreadable: false,
        };
        self.all.insert(number, segment);
        self.bytes += u64::from(bytes);
        self.close_one(number);
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Segment<F>> {
        self.all.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Segment<F>> {
        self.all.get_mut(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Segment<F>)> {
        self.all.iter().map(|(number, segment)| (*number, segment))
    }

    /// Those from a number on.
    pub(crate) fn from(&self, number: u32) -> impl Iterator<Item = (u32, &Segment<F>)> {
        let newer = self.all.range(number..);
        newer.map(|(number, segment)| (*number, segment))
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        self.all.keys().next().copied()
    }

    pub(crate) fn deaths(&self) -> &BTreeMap<(u32, u32), u64> {
        &self.deaths
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn set_bytes(&mut self, number: u32, bytes: u32) {
        if let Some(segment) = self.all.get_mut(&number) {
            self.bytes = self.bytes + u64::from(bytes) - u64::from(segment.bytes);
            segment.bytes = bytes;
        }
    }

    /// The open file of a segment.
    pub(crate) fn file<D: Disk<File = F>>(&mut self, disk: &D, number: u32) -> std::io::Result<F> {
        let Some(segment) = self.all.get_mut(&number) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        self.uses += 1;
        segment.used = self.uses;
        if let Some(file) = &segment.file {
            return Ok(file.clone());
        }
        let file = disk.open(&name(number, segment.damaged))?;
        segment.file = Some(file.clone());
        self.open += 1;
        self.close_one(number);
        Ok(file)
    }

    /// Closes the file that was used least recently if there are too many, but not that of `kept`.
    fn close_one(&mut self, kept: u32) {
        if self.open <= self.open_files_max {
            return;
        }
        let open = self
            .all
            .iter_mut()
            .filter(|(number, segment)| segment.file.is_some() && **number != kept);
        if let Some((_, segment)) = open.min_by_key(|(_, segment)| segment.used) {
            segment.file = None;
            self.open -= 1;
        }
    }

    /// Counts records or deaths, which live.
    pub(crate) fn add(&mut self, number: u32, bytes: u64) {
        self.restore(number, bytes, bytes);
    }

    /// Counts what was written, and what of it lives.
    pub(crate) fn restore(&mut self, number: u32, counted: u64, live: u64) {
        if let Some(segment) = self.all.get_mut(&number) {
            segment.counted = segment.counted.saturating_add(counted);
            segment.live = segment.live.saturating_add(live);
        }
    }

    /// Counts a death that is written in the segment `holder`.
    pub(crate) fn kill(&mut self, place: Place, holder: u32, death: Death) {
        let Some(target) = self.all.get_mut(&place.segment) else {
            return; // its segment has gone, so nobody needs to know
        };
        if death != Death::Again {
            target.live = target.live.saturating_sub(place.record_bytes());
        }
        // Deaths of what was copied are soon of no use. If they counted then, the copies would be worth cleaning.
        if death != Death::Moved {
            self.add(holder, DEATH_BYTES);
            let deaths = self.deaths.entry((place.segment, holder)).or_default();
            *deaths = deaths.saturating_add(DEATH_BYTES);
        }
    }

    /// As a snapshot says.
    pub(crate) fn restore_deaths(&mut self, target: u32, holder: u32, bytes: u64) {
        if self.all.contains_key(&target) && self.all.contains_key(&holder) {
            self.deaths.insert((target, holder), bytes);
        }
    }

    /// Forgets a segment: deaths of its records are of no use any more.
    pub(crate) fn forget(&mut self, number: u32) {
        let Some(gone) = self.all.remove(&number) else {
            return;
        };
        self.open -= usize::from(gone.file.is_some());
        self.bytes -= u64::from(gone.bytes);
        let mut later = self.deaths.split_off(&(number, 0));
        let mut rest = later.split_off(&(number + 1, 0));
        for ((_, holder), bytes) in later {
            if let Some(segment) = self.all.get_mut(&holder) {
                segment.live = segment.live.saturating_sub(bytes);
            }
        }
        self.deaths.append(&mut rest);
        self.deaths.retain(|(_, holder), _| *holder != number);
    }

    /// The segment that is best cleaned: a damaged one, then the one of which the largest share is won, the oldest of
    /// equals. Only of those that are closed and durable, and of which `won` says a share.
    pub(crate) fn emptiest(
        &self,
        active: Option<u32>,
        durable: Position,
        won: impl Fn(&Segment<F>) -> Option<u64>,
    ) -> Option<u32> {
        let closed = self.iter().filter(|(number, segment)| {
            let end = Position {
                segment: *number,
                offset: segment.bytes,
            };
            segment.state == State::Full && !segment.unreadable && Some(*number) != active && end <= durable
        });
        let worth = closed.filter_map(|(number, segment)| Some((won(segment)?, number)));
        worth
            .max_by_key(|(won, number)| (*won, std::cmp::Reverse(*number)))
            .map(|(_, number)| number)
    }
}

impl<F> Segment<F> {
    /// Which share of its records and deaths is dead. More than 100 for a damaged one, which is to be emptied first.
    pub(crate) fn dead_percent(&self) -> u64 {
        if self.damaged {
            return 101;
        }
        if self.counted == 0 {
            return 100;
        }
        percent(self.counted.saturating_sub(self.live), self.counted)
    }

    /// Which share of it is dead or stands around records, of which copies have less: they are few large batches.
    pub(crate) fn waste_percent(&self) -> u64 {
        let bytes = u64::from(self.bytes.saturating_sub(FIRST_OFFSET));
        percent(bytes.saturating_sub(self.live), bytes).max(self.dead_percent())
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(100)
}

/// The name of a segment's file.
pub(crate) fn name(number: u32, damaged: bool) -> String {
    let ending = if damaged { DAMAGED } else { SEGMENT };
    format!("{number:08x}{ending}")
}

/// A segment.
pub(crate) const SEGMENT: &str = ".seg";
/// A segment that has lost bytes. What is left of it is served.
pub(crate) const DAMAGED: &str = ".damaged";
/// A damaged segment of which everything that could be read has been copied elsewhere.
pub(crate) const EMPTIED: &str = ".emptied";
/// A segment that was never durable, behind a torn end.
pub(crate) const TORN: &str = ".torn";
/// A segment that is older than the snapshot, which does not know it.
pub(crate) const STALE: &str = ".stale";
/// A snapshot.
pub(crate) const SNAPSHOT: &str = ".snap";
/// A snapshot that is damaged.
pub(crate) const SNAPSHOT_DAMAGED: &str = ".snap-damaged";
/// What is being written, and worth nothing before it has its name: `snapshot-0.tmp`.
pub(crate) fn temporary(count: u64) -> String {
    format!("{TEMPORARY_BEGIN}{count}{TEMPORARY}")
}

const TEMPORARY_BEGIN: &str = "snapshot-";
const TEMPORARY: &str = ".tmp";

/// What a file is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A segment.
    Segment { number: u32, damaged: bool },
    /// A segment that nothing reads any more.
    Aside { number: u32 },
    /// A snapshot, which was taken in that segment.
    Snapshot { number: u32, damaged: bool },
    /// What was being written when the process ended.
    Temporary,
}

impl Role {
    /// `None`: it is not exactly a name that we write, so the file is somebody else's.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix(TEMPORARY_BEGIN) {
            let count: u64 = rest.strip_suffix(TEMPORARY)?.parse().ok()?;
            return (temporary(count) == name).then_some(Self::Temporary);
        }
        let (digits, rest) = name.split_at_checked(8)?;
        let number = digits_of(digits).filter(|number| (1..=SEGMENT_MAX).contains(number))?;
        if let Some(rest) = rest.strip_prefix('-') {
            let (offset, ending) = rest.split_at_checked(8)?;
            digits_of(offset)?;
            let damaged = ending == SNAPSHOT_DAMAGED;
            return (damaged || ending == SNAPSHOT).then_some(Self::Snapshot { number, damaged });
        }
        match rest {
            SEGMENT | DAMAGED => Some(Self::Segment {
                number,
                damaged: rest == DAMAGED,
            }),
            TORN | STALE | EMPTIED => Some(Self::Aside { number }),
            _ => None,
        }
    }
}

/// A number in eight digits as we write them: no sign, no capitals.
fn digits_of(digits: &str) -> Option<u32> {
    let number = u32::from_str_radix(digits, 16).ok()?;
    (format!("{number:08x}") == digits).then_some(number)
}

/// The first position at which a batch can stand.
pub(crate) const FIRST_OFFSET: u32 = frame::SEGMENT_HEADER_BYTES as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_ours() {
        let segment = |damaged| Role::Segment {
            number: 0x2a,
            damaged,
        };
        let snapshot = |damaged| Role::Snapshot {
            number: 0x2a,
            damaged,
        };
        let ours = [
            (name(0x2a, false), segment(false)),
            (name(0x2a, true), segment(true)),
            (format!("0000002a{TORN}"), Role::Aside { number: 0x2a }),
            (format!("0000002a{STALE}"), Role::Aside { number: 0x2a }),
            (format!("0000002a{EMPTIED}"), Role::Aside { number: 0x2a }),
            ("0000002a-000010ff.snap".to_owned(), snapshot(false)),
            ("0000002a-000010ff.snap-damaged".to_owned(), snapshot(true)),
            (temporary(0), Role::Temporary),
            (temporary(u64::MAX), Role::Temporary),
        ];
        for (name, role) in ours {
            assert_eq!(Role::of(&name), Some(role), "{name}");
        }
        let strangers = [
            "",
            "ffffffff",
            "ffffffff.seg",
            "00000000.seg",
            "+000002a.seg",
            "0000002A.seg",
            "0000002a.SEG",
            "0000002a.seg.gz",
            "0000002a",
            "2a.seg",
            "0000002a-backup.seg",
            "20261128-backup",
            "20261128-backup.snap",
            "0000002a-+00010ff.snap",
            "0000002a-000010ff.snap.gz",
            "0000002a-000010ff",
            "notes.tmp",
            "0000002a.tmp",
            "snapshot-.tmp",
            "snapshot-01.tmp",
            "snapshot-+1.tmp",
            "snapshot-new.tmp",
            "snapshot-1.tmp.gz",
            "\u{fffd}\u{fffd}\u{fffd}.seg",
        ];
        for name in strangers {
            assert_eq!(Role::of(name), None, "{name}");
        }
    }
}
