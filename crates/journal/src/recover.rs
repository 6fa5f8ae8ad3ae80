//! Opening: what is in the folder becomes a journal again, whatever has happened to it.
//!
//! Damage never keeps a journal from opening: what can be read is served, and the [`Report`] says what cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::disk::{Disk, DiskFile, Entry};
use crate::error::{Error, is_space};
use crate::frame::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::Index;
use crate::journal::{Journal, read_all};
use crate::limits::{CHUNK_BYTES, Limits};
use crate::place::Position;
use crate::report::{Damage, Report};
use crate::reserve::{RESERVE, Reserve};
use crate::scan;
use crate::segments::{self, Role, Segments};
use crate::snapshot::{Counted, Header, Snapshot, SnapshotReader};

/// What is known while a journal is being opened.
pub(crate) struct Recovery<'a, D: Disk, I> {
    pub(crate) disk: D,
    pub(crate) limits: Limits,
    pub(crate) index: &'a mut I,
    pub(crate) salt: u32,
    pub(crate) found: BTreeMap<u32, Found>,
    snapshots: Vec<(String, u64)>,
    kept: Vec<Snapshot>,
    pub(crate) segments: Segments<D::File>,
    pub(crate) report: Report,
    /// Segments that may be missing.
    pub(crate) emptied: BTreeSet<u32>,
    /// Segments that should be there, unless they were emptied.
    pub(crate) expected: BTreeSet<u32>,
    /// The highest position that is known to have been durable.
    pub(crate) synced: Position,
    /// Where the replay is, and at last where the log ends.
    pub(crate) end: Position,
    last_number: u32,
    reserve: Reserve,
}

/// A segment's file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) bytes: u32,
    /// By its name.
    pub(crate) named_damaged: bool,
    pub(crate) damaged: bool,
    /// `None`: it has none that is right. An error: the disk could not read it.
    pub(crate) header: Result<Option<SegmentHeader>, String>,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal that is in a folder, or begins one in an empty folder, and fills `index`. `salt` is a number
    /// that strangers cannot guess; only a new journal takes it.
    ///
    /// Everything that is in the journal then is durable. Only a disk that fails to list, open, rename, write or
    /// sync keeps it from opening, damage does not; the report says what was found.
    pub fn open(disk: D, limits: Limits, salt: u32, index: &mut impl Index) -> Result<(Self, Report), Error> {
        let mut recovery = Recovery::new(disk, limits.clamped(), index);
        recovery.look()?;
        recovery.choose_salt(salt);
        recovery.load_snapshot()?;
        recovery.replay()?;
        recovery.miss_end();
        recovery.secure()?;
        Ok(recovery.finish())
    }
}

impl<'a, D: Disk, I: Index> Recovery<'a, D, I> {
    fn new(disk: D, limits: Limits, index: &'a mut I) -> Self {
        Self {
            disk,
            limits,
            index,
            salt: 0,
            found: BTreeMap::new(),
            snapshots: Vec::new(),
            kept: Vec::new(),
            segments: Segments::new(limits.open_files_max),
            report: Report::default(),
            emptied: BTreeSet::new(),
            expected: BTreeSet::new(),
            synced: Position::default(),
            end: Position::default(),
            last_number: 0,
            reserve: Reserve::default(),
        }
    }

    /// Sorts the files by their names. What is not ours stays as it is, and counts for nothing.
    fn look(&mut self) -> Result<(), Error> {
        let mut entries = self.disk.list().map_err(Error::disk("list", "the folder"))?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for Entry { name, bytes } in entries {
            let role = Role::of(&name);
            if let Some(
                Role::Segment { number, .. } | Role::Aside { number } | Role::Snapshot { number, .. },
            ) = role
            {
                self.saw(number);
            }
            match role {
                Some(Role::Segment { number, damaged }) => self.look_at(number, name, bytes, damaged)?,
                Some(Role::Snapshot { damaged: false, .. }) => self.snapshots.push((name, bytes)),
                Some(Role::Temporary) => self.disk.remove(&name).map_err(Error::disk("remove", &name))?,
                _ if name == RESERVE => self.reserve = Reserve::found(bytes),
                _ => self.report.unused.push(name),
            }
        }
        Ok(())
    }

    /// A file that cannot be opened is there and may be whole, so it is no damage but a reason to stop.
    fn look_at(&mut self, number: u32, name: String, bytes: u64, damaged: bool) -> Result<(), Error> {
        if self.found.contains_key(&number) {
            self.report.unused.push(name);
            return Ok(());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let file = self.disk.open(&name).map_err(Error::disk("open", name))?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let header = match read_all(&file, 0, &mut header) {
            Ok(()) => Ok(SegmentHeader::decode(&header, number)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        self.found.insert(
            number,
            Found {
                bytes,
                named_damaged: damaged,
                damaged,
                header,
            },
        );
        Ok(())
    }

    /// Numbers of segments are not used twice.
    pub(crate) fn saw(&mut self, number: u32) {
        self.last_number = self.last_number.max(number);
    }

    /// The salt of what is there; the one that was handed in if nothing says any.
    fn choose_salt(&mut self, salt: u32) {
        let headers = self.found.values().rev();
        let of_header = headers
            .filter_map(|found| found.header.as_ref().ok()?.as_ref())
            .map(|header| header.salt)
            .next();
        // A header that stood alone among damage may have been set aside since it was read first.
        let known = of_header
            .or_else(|| self.salt_of_aside())
            .or_else(|| self.salt_of_snapshot());
        self.salt = known.or_else(|| self.salt_of_batches()).unwrap_or(salt);
    }

    /// The salt of the newest segment that was set aside and has a header.
    fn salt_of_aside(&self) -> Option<u32> {
        self.report.unused.iter().rev().find_map(|name| {
            let Some(Role::Aside { number }) = Role::of(name) else {
                return None;
            };
            let file = self.disk.open(name).ok()?;
            let mut header = [0; SEGMENT_HEADER_BYTES];
            read_all(&file, 0, &mut header).ok()?;
            SegmentHeader::decode(&header, number).map(|header| header.salt)
        })
    }

    /// The salt of the newest snapshot that has a header.
    fn salt_of_snapshot(&self) -> Option<u32> {
        self.snapshots.iter().rev().find_map(|(name, bytes)| {
            let file = self.disk.open(name).ok()?;
            let reader = SnapshotReader::open_header(file, *bytes).ok()?;
            Some(reader.header.salt)
        })
    }

    /// The salt of the first batch that is whole, for when no header is left.
    fn salt_of_batches(&self) -> Option<u32> {
        self.found.iter().find_map(|(number, found)| {
            let file = self.open_segment(*number).ok()?;
            scan::salt_of_first(file, *number, found.bytes)
        })
    }

    /// Gives the newest snapshot that is whole to the index.
    fn load_snapshot(&mut self) -> Result<(), Error> {
        self.index.clear();
        if !self.index.takes_snapshots() {
            return self.look_at_snapshots();
        }
        let mut chosen = None;
        while chosen.is_none()
            && let Some((name, bytes)) = self.snapshots.pop()
        {
            let whole = self.open_snapshot(&name, bytes)?;
            match whole.map(|reader| self.try_snapshot(reader)) {
                Some(Some(header)) => {
                    self.keep(name, bytes, Some(&header))?;
                    chosen = Some(header);
                }
                Some(None) => self.report.unused.push(name),
                None => self.keep(name, bytes, None)?,
            }
        }
        for (name, bytes) in std::mem::take(&mut self.snapshots) {
            let file = self.disk.open(&name).map_err(Error::disk("open", &name))?;
            // Whether it is whole is found out when it is needed.
            let older = SnapshotReader::open_header(file, bytes).ok();
            self.keep(name, bytes, older.map(|reader| reader.header).as_ref())?;
        }
        self.kept.sort_by_key(|kept| kept.position);
        if let Some(header) = chosen {
            return self.start_from(&header);
        }
        self.take_in();
        Ok(())
    }

    /// Everything is going to be replayed. What snapshots say of the log is believed all the same: how far it was
    /// durable, and which segments there were.
    fn look_at_snapshots(&mut self) -> Result<(), Error> {
        for (name, bytes) in std::mem::take(&mut self.snapshots) {
            let header = self.open_snapshot(&name, bytes)?.map(|reader| reader.header);
            self.keep(name, bytes, header.as_ref())?;
            let Some(header) = header else { continue };
            self.synced = self.synced.max(header.position);
            self.saw(header.next_segment.saturating_sub(1));
            for Counted { number, bytes, .. } in header.segments {
                // An empty file is as good as none, and goes.
                if bytes > 0 && self.found.get(&number).is_none_or(|found| found.bytes == 0) {
                    self.expected.insert(number);
                }
            }
        }
        self.kept.sort_by_key(|kept| kept.position);
        self.take_in();
        Ok(())
    }

    /// `None`: it is not whole.
    fn open_snapshot(&self, name: &str, bytes: u64) -> Result<Option<SnapshotReader<D::File>>, Error> {
        let file = self.disk.open(name).map_err(Error::disk("open", name))?;
        Ok(SnapshotReader::open(file, bytes).ok())
    }

    /// `None`: it makes no sense to the index.
    fn try_snapshot(&mut self, reader: SnapshotReader<D::File>) -> Option<Header> {
        let read = reader.chunks(|chunk| self.index.snapshot(chunk));
        if read.is_ok() && self.index.snapshot_ends() {
            return Some(reader.header);
        }
        self.index.clear();
        None
    }

    /// Keeps a snapshot; one without a header gets the name of a damaged one.
    fn keep(&mut self, name: String, bytes: u64, header: Option<&Header>) -> Result<(), Error> {
        let Some(header) = header else {
            let damaged = name.replace(segments::SNAPSHOT, segments::SNAPSHOT_DAMAGED);
            let renamed = self.disk.rename(&name, &damaged);
            renamed.map_err(Error::disk("rename", name))?;
            self.report.snapshots_damaged.push(damaged);
            return Ok(());
        };
        let oldest_segment = header.segments.first().map(|segment| segment.number);
        self.kept.push(Snapshot {
            name,
            position: header.position,
            bytes,
            oldest_segment,
        });
        Ok(())
    }

    /// Compares what a snapshot knows with what is there.
    fn start_from(&mut self, header: &Header) -> Result<(), Error> {
        let position = header.position;
        self.report.snapshot = Some(position);
        self.salt = header.salt;
        (self.synced, self.end) = (position, position);
        self.saw(header.next_segment.saturating_sub(1));
        let known: BTreeMap<u32, &Counted> = header
            .segments
            .iter()
            .map(|segment| (segment.number, segment))
            .collect();
        let old = |number: &&u32| **number <= position.segment && !known.contains_key(number);
        for number in self.found.keys().filter(old).copied().collect::<Vec<_>>() {
            self.set_aside(number, segments::STALE)?;
        }
        self.take_in();
        for segment in &header.segments {
            self.segments
                .restore(segment.number, segment.counted, segment.live);
        }
        for (target, holder, bytes) in &header.deaths {
            self.segments.restore_deaths(*target, *holder, *bytes);
        }
        let mut gone = Vec::new();
        for (number, Counted { bytes, .. }) in known {
            let bytes = *bytes;
            match self.found.get(&number).map(|found| found.bytes) {
                None => {
                    gone.push(number);
                    if bytes > 0 {
                        self.expected.insert(number);
                    }
                }
                Some(have) if have < bytes => self.damage(number, have, bytes, None),
                Some(_) => {}
            }
        }
        if !gone.is_empty() {
            self.index.gone(&gone);
        }
        Ok(())
    }

    fn take_in(&mut self) {
        for (number, found) in &self.found {
            self.segments
                .insert(*number, found.bytes, found.named_damaged, None);
        }
    }

    pub(crate) fn open_segment(&self, number: u32) -> io::Result<D::File> {
        let damaged = self.found.get(&number).is_some_and(|found| found.named_damaged);
        self.disk.open(&segments::name(number, damaged))
    }

    pub(crate) fn damage(&mut self, number: u32, from: u32, to: u32, why: Option<String>) {
        if let Some(found) = self.found.get_mut(&number) {
            found.damaged = true;
        }
        self.report.damage.push(Damage {
            name: segments::name(number, true),
            from,
            to,
            why,
        });
    }

    /// What a snapshot knows to have been durable behind the end that was found.
    fn miss_end(&mut self) {
        let Position { segment, offset } = self.synced;
        if self.end < self.synced
            && let Some(found) = self.found.get(&segment)
            && found.bytes < offset
        {
            self.damage(segment, found.bytes, offset, None);
        }
    }

    /// Takes a segment out of the journal; its file keeps what is in it, if anything is. Returns the new name.
    pub(crate) fn set_aside(&mut self, number: u32, ending: &str) -> Result<Option<String>, Error> {
        let Some(found) = self.found.remove(&number) else {
            return Ok(None);
        };
        self.segments.forget(number);
        let name = segments::name(number, found.named_damaged);
        if found.bytes <= segments::FIRST_OFFSET {
            self.disk.remove(&name).map_err(Error::disk("remove", name))?;
            return Ok(None);
        }
        let aside = format!("{number:08x}{ending}");
        self.disk
            .rename(&name, &aside)
            .map_err(Error::disk("rename", name))?;
        self.report.unused.push(aside.clone());
        Ok(Some(aside))
    }

    /// Makes everything durable that is going to be served, and names damaged segments as such.
    fn secure(&mut self) -> Result<(), Error> {
        let newer = self
            .found
            .range(self.synced.segment..)
            .map(|(number, found)| (*number, found.bytes));
        for (number, bytes) in newer.collect::<Vec<_>>() {
            let from = if number == self.synced.segment {
                self.synced.offset
            } else {
                0
            };
            if from < bytes {
                self.write_again(number, from, bytes)?;
            }
        }
        // The name says that what is in it is durable, so it comes last.
        for (number, found) in &mut self.found {
            if found.damaged && !found.named_damaged {
                let name = segments::name(*number, false);
                let renamed = self.disk.rename(&name, &segments::name(*number, true));
                renamed.map_err(Error::disk("rename", name))?;
                found.named_damaged = true;
                if let Some(segment) = self.segments.get_mut(*number) {
                    segment.damaged = true;
                }
            }
        }
        self.disk.sync_folder().map_err(Error::disk("sync", "the folder"))
    }

    /// Writes what is there over itself and syncs it. After a failed sync the system holds bytes that are not on the
    /// disk and believes that they are: only writing them again makes it write them.
    fn write_again(&mut self, number: u32, from: u32, to: u32) -> Result<(), Error> {
        let name = segments::name(number, false);
        let file = self.open_segment(number).map_err(Error::disk("open", &name))?;
        let mut chunk = Vec::new();
        let mut at = from;
        while at < to {
            let size = (to - at).min(CHUNK_BYTES as u32);
            chunk.resize(size as usize, 0);
            let again = read_all(&file, u64::from(at), &mut chunk);
            if again.is_err() {
                break; // it is reported as damage, and nothing can be written again that cannot be read
            }
            match file.write_at(u64::from(at), &chunk) {
                Err(error) if is_space(&error) => break, // a copying file system: a sync has to do
                written => written.map_err(Error::disk("write", &name))?,
            }
            at += size;
        }
        file.sync().map_err(Error::disk("sync", name))
    }

    fn finish(mut self) -> (Journal<D>, Report) {
        self.report.missing = self.expected.difference(&self.emptied).copied().collect();
        let end = self.end;
        let last = self.found.get(&end.segment);
        let goes_on = last.is_some_and(|found| {
            !found.damaged && found.bytes == end.offset && found.bytes < self.limits.segment_bytes
        });
        let file = self
            .segments
            .file(&self.disk, end.segment)
            .ok()
            .filter(|_| goes_on);
        let last_number = self.last_number.max(end.segment);
        let mut journal = Journal {
            disk: self.disk,
            limits: self.limits,
            salt: self.salt,
            segments: self.segments,
            active: file.map(|file| (end.segment, file)),
            next_segment: last_number.saturating_add(1),
            end,
            durable: end,
            unsynced: Vec::new(),
            folder_unsynced: false,
            removed: Vec::new(),
            sync_under_way: false,
            poison: None,
            victim: None,
            snapshots: self.kept,
            doubtful: Vec::new(),
            snapshots_begun: 0,
            reserve: self.reserve,
            pressed: false,
        };
        journal.fit_reserve();
        // If there is no room for it, a put says so.
        let _ = journal.fill_reserve();
        (journal, self.report)
    }
}
