//! The log, and how it is appended to.

use std::io;

use crate::clean::Victim;
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, is_space};
use crate::frame::SegmentHeader;
use crate::group::Group;
use crate::limits::{Limits, RESERVE_SHARE, SEGMENT_MAX};
use crate::place::{Place, Position};
use crate::reserve::Reserve;
use crate::segments::{self, Segments};
use crate::snapshot::Snapshot;

/// A segmented log on a [`Disk`].
///
/// Appending and syncing are separate: [`append`](Self::append) writes and returns at once,
/// [`begin_sync`](Self::begin_sync) and [`end_sync`](Self::end_sync) say what is durable. One owner uses it at a
/// time.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    pub(crate) disk: D,
    pub(crate) limits: Limits,
    pub(crate) salt: u32,
    pub(crate) segments: Segments<D::File>,
    /// The segment that is appended to. `None`: the next append begins one.
    pub(crate) active: Option<(u32, D::File)>,
    pub(crate) next_segment: u32,
    pub(crate) end: Position,
    pub(crate) durable: Position,
    /// Files that have been written to since the last sync, oldest first.
    pub(crate) unsynced: Vec<(u32, D::File)>,
    pub(crate) folder_unsynced: bool,
    /// Segments whose files have been removed since the folder was synced.
    pub(crate) removed: Vec<u32>,
    pub(crate) sync_under_way: bool,
    pub(crate) poison: Option<String>,
    pub(crate) victim: Option<Victim<D::File>>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// Those that have begun: one that has failed may be on the disk all the same.
    pub(crate) doubtful: Vec<Snapshot>,
    /// How many were begun: each has a name of its own while it is written.
    pub(crate) snapshots_begun: u64,
    pub(crate) reserve: Reserve,
    /// A put was refused for room, and there is none for all that may come; so less is enough for a segment to be worth cleaning.
    pub(crate) pressed: bool,
}

impl<D: Disk> Journal<D> {
    /// Writes a group behind everything else. Its records can be read at once, at [`Group::places`]; they are
    /// durable when [`durable`](Self::durable) has reached the position that this returns.
    ///
    /// After an error nothing of the group is in the journal, also after a crash, and the group is as it was; only
    /// [`Error::Uncertain`] leaves that open. A batch that is open is closed.
    pub fn append(&mut self, group: &mut Group) -> Result<Position, Error> {
        group.end_batch();
        self.check_poison()?;
        if group.only_kills() {
            return self.append_anyway(group);
        }
        let appended = self
            .check_room(group)
            .and_then(|()| self.fill_reserve())
            .and_then(|()| self.append_now(group));
        // That less than what was refused has room does not say that all has: until it is asked for, cleaning goes on.
        self.pressed |= matches!(appended, Err(Error::Full { .. } | Error::NoSpace { .. }));
        appended
    }

    /// The same for a group that lets records die soon, such as the note that somebody comes to fetch them: if the disk
    /// is full it may have some of the room that is kept for deaths and cleaning, see [`RESERVE_SHARE`].
    pub fn append_at_need(&mut self, group: &mut Group) -> Result<Position, Error> {
        group.end_batch();
        self.check_poison()?;
        self.check_room(group)?;
        let floor = u64::from(self.limits.reserve_bytes) * (RESERVE_SHARE - 1) / RESERVE_SHARE;
        self.append_down_to(group, floor)
    }

    /// Where the next append goes: behind everything.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Everything before this is on the disk.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// What went wrong for good, if something did.
    pub fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// All segments together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// What of them lives, in bytes.
    pub fn live_bytes(&self) -> u64 {
        self.segments.iter().map(|(_, segment)| segment.live).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.iter().count()
    }

    fn check_room(&self, group: &Group) -> Result<(), Error> {
        let (bytes, bytes_max) = (self.bytes(), self.limits.journal_bytes_max);
        if bytes.saturating_add(group.bytes() as u64) > bytes_max {
            return Err(Error::Full { bytes, bytes_max });
        }
        Ok(())
    }

    /// Appends beyond the limit of the whole and at the cost of the reserve, as what makes room may. The group has no
    /// open batch.
    pub(crate) fn append_anyway(&mut self, group: &mut Group) -> Result<Position, Error> {
        self.append_down_to(group, 0)
    }

    /// Appends, if need be at the cost of the reserve, as long as that has so many bytes.
    fn append_down_to(&mut self, group: &mut Group, reserve_bytes_min: u64) -> Result<Position, Error> {
        loop {
            let appended = self.append_now(group);
            let full = matches!(appended, Err(Error::NoSpace { .. })) && self.poison.is_none();
            let may = self.reserve_bytes() >= reserve_bytes_min;
            if !full || !may || !self.shorten_reserve(group.bytes() as u64) {
                return appended;
            }
        }
    }

    fn append_now(&mut self, group: &mut Group) -> Result<Position, Error> {
        self.check_poison()?;
        let (bytes, bytes_max) = (group.bytes() as u64, u64::from(self.limits.group_bytes_max));
        if bytes > bytes_max {
            return Err(Error::TooLarge { bytes, bytes_max });
        }
        if group.is_empty() {
            group.set_place(self.end);
            return Ok(self.end);
        }
        let (number, file) = self.segment_for(bytes)?;
        let offset = self.write(number, &file, group)?;
        group.set_place(Position {
            segment: number,
            offset,
        });
        self.account(number, group);
        Ok(self.end)
    }

    /// The segment that takes that many bytes: the one in use, or a new one.
    fn segment_for(&mut self, bytes: u64) -> Result<(u32, D::File), Error> {
        if let Some((number, file)) = &self.active {
            let have = self.segments.get(*number).map_or(0, |segment| segment.bytes);
            let fits = u64::from(have) + bytes <= u64::from(self.limits.segment_bytes);
            if fits || have <= segments::FIRST_OFFSET {
                return Ok((*number, file.clone()));
            }
        }
        let number = self.next_segment;
        if number > SEGMENT_MAX {
            return Err(Error::Exhausted);
        }
        let name = segments::name(number, false);
        let file = self.disk.create(&name).map_err(|source| {
            if is_space(&source) {
                Error::NoSpace { bytes, source }
            } else {
                Error::disk("create", name)(source)
            }
        })?;
        self.next_segment += 1;
        self.folder_unsynced = true;
        self.segments.insert(number, 0, false, Some(file.clone()));
        self.active = Some((number, file.clone()));
        Ok((number, file))
    }

    /// Writes a group to the end of a segment, with the segment's header if it is new. Returns its offset.
    fn write(&mut self, number: u32, file: &D::File, group: &mut Group) -> Result<u32, Error> {
        let have = self.segments.get(number).map_or(0, |segment| segment.bytes);
        let offset = have.max(segments::FIRST_OFFSET);
        if have == 0 {
            let header = SegmentHeader {
                salt: self.salt,
                previous: self.end,
            }
            .encode(number);
            file.write_at(0, &header)
                .map_err(|source| self.take_back(number, file, group.bytes(), source))?;
        }
        let at = Position {
            segment: number,
            offset,
        };
        let bytes = group.seal(at, self.salt, self.durable);
        let end = offset + bytes.len() as u32;
        let written = file.write_at(u64::from(offset), bytes);
        written.map_err(|source| self.take_back(number, file, bytes.len(), source))?;
        self.segments.set_bytes(number, end);
        self.end = Position {
            segment: number,
            offset: end,
        };
        if self.unsynced.last().is_none_or(|(last, _)| *last != number) {
            self.unsynced.push((number, file.clone()));
        }
        Ok(offset)
    }

    /// After a failed write: cuts off what it may have left, and makes sure of that on the disk, since whole batches
    /// may be in it, which a replay would find. Returns what the caller is told.
    fn take_back(&mut self, number: u32, file: &D::File, bytes: usize, source: io::Error) -> Error {
        let have = self.segments.get(number).map_or(0, |segment| segment.bytes);
        if let Err(undo) = file.truncate(u64::from(have)).and_then(|()| file.sync()) {
            self.poison = Some(format!(
                "an append failed: {source}; and could not be taken back: {undo}"
            ));
            return Error::Uncertain { source, undo };
        }
        if is_space(&source) {
            return Error::NoSpace {
                bytes: bytes as u64,
                source,
            };
        }
        Error::disk("append to", segments::name(number, false))(source)
    }

    fn account(&mut self, number: u32, group: &Group) {
        let records = group.places().map(Place::record_bytes).sum();
        self.segments.add(number, records);
        for (place, death) in group.killed() {
            self.segments.kill(*place, number, *death);
        }
    }
}

pub(crate) fn read_all(file: &impl DiskFile, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(offset + filled as u64, &mut bytes[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}
