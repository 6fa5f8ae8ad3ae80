//! A disk that fails, tears what it writes, and at a power cut forgets what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use super::memory::hold;
use super::{Disk, DiskFile, Entry, MemoryDisk};

mod volume;

pub use volume::Volume;
use volume::{Draws, Op};

/// A folder in memory with the faults of a real one, by a seed. Clones are the same folder.
///
/// It is as bad as a disk may be. Until a file is synced, each of its writes may be lost, kept or torn at sectors
/// without regard to the others; until the folder is synced, so may each change of a name. After a failed sync some
/// of the writes are lost although they can still be read, and the next sync succeeds without them.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of a [`FaultyDisk`].
#[derive(Debug, Clone)]
pub struct FaultyFile {
    disk: FaultyDisk,
    inode: u64,
    /// All that have the file open share it.
    _open: Arc<()>,
}

/// How often what fails: one in so many, 0 for never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes. Any part of what was to be written is.
    pub writes_one_in: u32,
    /// Syncs of files and of the folder.
    pub syncs_one_in: u32,
    /// Reads.
    pub reads_one_in: u32,
    /// Creating, opening, renaming, removing, cutting.
    pub others_one_in: u32,
    /// All files together have at most this many bytes; `None`: no limit. Beyond it writes and creating fail for
    /// space, and what fits has been written.
    pub bytes_max: Option<u64>,
}

#[derive(Debug)]
struct State {
    volume: Volume,
    log: Option<(Volume, Vec<Op>)>,
    faults: Faults,
    draws: Draws,
    next_inode: u64,
    /// Which files are open.
    open: BTreeMap<u64, Weak<()>>,
    /// Files that have been removed while they were open, which can still be read.
    removed: BTreeMap<u64, Vec<u8>>,
}

impl FaultyDisk {
    /// An empty folder without faults but at a power cut.
    pub fn new(seed: u64) -> Self {
        Self::with_volume(Volume::default(), seed)
    }

    /// A folder with these files, all of them synced.
    pub fn with_files(files: impl IntoIterator<Item = (String, Vec<u8>)>, seed: u64) -> Self {
        Self::with_volume(Volume::with_files(files), seed)
    }

    fn with_volume(volume: Volume, seed: u64) -> Self {
        let next_inode = volume.next_inode();
        let draws = Draws::new(seed);
        let state = State {
            volume,
            log: None,
            faults: Faults::default(),
            draws,
            next_inode,
            open: BTreeMap::new(),
            removed: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// From now on things fail that often.
    pub fn set_faults(&self, faults: Faults) {
        hold(&self.state).faults = faults;
    }

    /// Cuts the power: what was not synced is lost, kept or torn. Files that are open are of no use any more.
    pub fn cut_power(&self) {
        let mut state = hold(&self.state);
        let seed = state.draws.next();
        let files = state.volume.after_cut(seed);
        state.volume = Volume::with_files(files);
        // Numbers go on, so that old open files find nothing.
        let from = state.next_inode;
        state.volume.renumber(from);
        state.next_inode = state.volume.next_inode().max(from);
        state.log = None;
        state.removed.clear();
    }

    /// From now on everything that is done is recorded, for [`each_cut`](Self::each_cut).
    pub fn record(&self) {
        let mut state = hold(&self.state);
        assert!(
            state.volume.is_synced(),
            "a recording begins with a disk that has synced everything"
        );
        state.log = Some((state.volume.clone(), Vec::new()));
    }

    /// How many things have been recorded.
    pub fn recorded(&self) -> usize {
        hold(&self.state).log.as_ref().map_or(0, |(_, log)| log.len())
    }

    /// Calls `visit` for each point of the recording, with the number of things that had been done and the disk as it
    /// was then: its power can be cut by any number of seeds.
    pub fn each_cut(&self, mut visit: impl FnMut(usize, &Volume)) {
        let (mut volume, log) = hold(&self.state).log.clone().unwrap_or_default();
        visit(0, &volume);
        for (done, op) in (1..).zip(log) {
            volume.apply(op);
            visit(done, &volume);
        }
    }
}

impl State {
    fn act(&mut self, op: Op) {
        if let Some((_, log)) = &mut self.log {
            log.push(op.clone());
        }
        if matches!(op, Op::SyncFolder) {
            self.open.retain(|_, open| open.strong_count() > 0);
            self.removed.retain(|inode, _| self.open.contains_key(inode));
            let removed = self.volume.removed();
            let open = removed.filter(|(inode, _)| self.open.contains_key(inode));
            self.removed.extend(open);
        }
        self.volume.apply(op);
    }

    fn file(&mut self, disk: &FaultyDisk, inode: u64) -> FaultyFile {
        let open = self.open.get(&inode).and_then(Weak::upgrade).unwrap_or_default();
        self.open.insert(inode, Arc::downgrade(&open));
        FaultyFile {
            disk: disk.clone(),
            inode,
            _open: open,
        }
    }

    fn read(&self, inode: u64) -> io::Result<&[u8]> {
        match self.removed.get(&inode) {
            Some(bytes) => Ok(bytes),
            None => self.volume.read(inode),
        }
    }

    fn fails(&mut self, one_in: impl Fn(&Faults) -> u32) -> io::Result<()> {
        let one_in = one_in(&self.faults);
        if one_in > 0 && self.draws.below(u64::from(one_in)) == 0 {
            return Err(io::Error::other("the disk was told to fail"));
        }
        Ok(())
    }

    fn room(&self) -> u64 {
        self.faults
            .bytes_max
            .map_or(u64::MAX, |most| most.saturating_sub(self.volume.bytes()))
    }

    fn write(&mut self, inode: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = self.volume.read(inode)?.len() as u64;
        let failed = self.fails(|faults| faults.writes_one_in);
        let end = offset + bytes.len() as u64;
        let room = self.room();
        let (count, outcome) = if end.saturating_sub(length) > room {
            let fits = (length + room).saturating_sub(offset);
            (
                fits.min(bytes.len() as u64),
                Err(io::ErrorKind::StorageFull.into()),
            )
        } else if failed.is_err() {
            (self.draws.below(bytes.len() as u64 + 1), failed)
        } else {
            (bytes.len() as u64, Ok(()))
        };
        if count > 0 {
            let bytes = bytes[..count as usize].into();
            self.act(Op::Write { inode, offset, bytes });
        }
        outcome
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        let mut state = hold(&self.state);
        state.fails(|faults| faults.others_one_in)?;
        if state.volume.inode(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.room() == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        state.act(Op::Create {
            name: name.to_owned(),
            inode,
        });
        Ok(state.file(self, inode))
    }

    fn open(&self, name: &str) -> io::Result<FaultyFile> {
        let mut state = hold(&self.state);
        state.fails(|faults| faults.others_one_in)?;
        let inode = state.volume.inode(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.file(self, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = hold(&self.state);
        state.fails(|faults| faults.others_one_in)?;
        state.volume.inode(from).ok_or(io::ErrorKind::NotFound)?;
        state.act(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = hold(&self.state);
        state.fails(|faults| faults.others_one_in)?;
        state.volume.inode(name).ok_or(io::ErrorKind::NotFound)?;
        state.act(Op::Remove {
            name: name.to_owned(),
        });
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        Ok(hold(&self.state).volume.list())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = hold(&self.state);
        state.fails(|faults| faults.syncs_one_in)?;
        state.act(Op::SyncFolder);
        Ok(())
    }
}

impl FaultyFile {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        act(&mut hold(&self.disk.state))
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| state.write(self.inode, offset, bytes))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            state.fails(|faults| faults.reads_one_in)?;
            let file = state.read(self.inode)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
            let count = bytes.len().min(file.len() - from);
            bytes[..count].copy_from_slice(&file[from..from + count]);
            Ok(count)
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state| {
            state.fails(|faults| faults.others_one_in)?;
            state.volume.read(self.inode)?;
            state.act(Op::Truncate {
                inode: self.inode,
                bytes,
            });
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state| {
            state.volume.read(self.inode)?;
            let failed = state.fails(|faults| faults.syncs_one_in);
            let op = match failed {
                Ok(()) => Op::Sync { inode: self.inode },
                Err(_) => Op::SyncFailed {
                    inode: self.inode,
                    seed: state.draws.next(),
                },
            };
            state.act(op);
            failed
        })
    }
}

impl Volume {
    /// The folder as it may be after a power cut here.
    pub fn cut(&self, seed: u64) -> MemoryDisk {
        MemoryDisk::with_files(self.after_cut(seed))
    }
}
