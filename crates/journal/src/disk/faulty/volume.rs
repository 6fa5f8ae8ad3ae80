//! What a disk holds: what everybody sees, what is safe, and what is between the two.

use std::collections::BTreeMap;
use std::io;

use crate::disk::Entry;
use crate::disk::memory::write;

/// A disk writes a sector as a whole or not.
const SECTOR_BYTES: u64 = 512;

/// The state of a faulty disk at one point of time.
#[derive(Debug, Clone, Default)]
pub struct Volume {
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    safe_names: BTreeMap<String, u64>,
    unsynced: Vec<Op>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    safe: Vec<u8>,
    unsynced: Vec<Op>,
}

/// Something that is done to a disk.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Create {
        name: String,
        inode: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncFolder,
    Write {
        inode: u64,
        offset: u64,
        bytes: Box<[u8]>,
    },
    Truncate {
        inode: u64,
        bytes: u64,
    },
    Sync {
        inode: u64,
    },
    SyncFailed {
        inode: u64,
        seed: u64,
    },
}

impl Volume {
    pub(super) fn with_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut volume = Self::default();
        for (inode, (name, bytes)) in (0..).zip(files) {
            volume.names.insert(name, inode);
            let file = Inode {
                seen: bytes.clone(),
                safe: bytes,
                unsynced: Vec::new(),
            };
            volume.files.insert(inode, file);
        }
        volume.safe_names.clone_from(&volume.names);
        volume
    }

    pub(super) fn next_inode(&self) -> u64 {
        self.files.keys().next_back().map_or(0, |last| last + 1)
    }

    pub(super) fn renumber(&mut self, from: u64) {
        self.files = std::mem::take(&mut self.files)
            .into_iter()
            .map(|(inode, file)| (inode + from, file))
            .collect();
        for names in [&mut self.names, &mut self.safe_names] {
            for inode in names.values_mut() {
                *inode += from;
            }
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_empty() && self.files.values().all(|file| file.unsynced.is_empty())
    }

    pub(super) fn inode(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(super) fn read(&self, inode: u64) -> io::Result<&[u8]> {
        self.files
            .get(&inode)
            .map(|file| &*file.seen)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Files without a name.
    pub(super) fn removed(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let named: Vec<u64> = self.names.values().copied().collect();
        let nameless = self.files.iter().filter(move |(inode, _)| !named.contains(inode));
        nameless.map(|(inode, file)| (*inode, file.seen.clone()))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.list().iter().map(|entry| entry.bytes).sum()
    }

    pub(super) fn list(&self) -> Vec<Entry> {
        let entry = |(name, inode): (&String, &u64)| Entry {
            name: name.clone(),
            bytes: self.files.get(inode).map_or(0, |file| file.seen.len() as u64),
        };
        self.names.iter().map(entry).collect()
    }

    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Create { inode, .. } => {
                self.files.insert(inode, Inode::default());
                rename(&mut self.names, &op);
                self.unsynced.push(op);
            }
            Op::Rename { .. } | Op::Remove { .. } => {
                rename(&mut self.names, &op);
                self.unsynced.push(op);
            }
            Op::SyncFolder => {
                self.unsynced.clear();
                self.safe_names.clone_from(&self.names);
                let named: Vec<u64> = self.names.values().copied().collect();
                self.files.retain(|inode, _| named.contains(inode));
            }
            Op::Write { inode, .. }
            | Op::Truncate { inode, .. }
            | Op::Sync { inode }
            | Op::SyncFailed { inode, .. } => {
                if let Some(file) = self.files.get_mut(&inode) {
                    file.apply(op);
                }
            }
        }
    }

    /// The files after a power cut, by a seed: the lowest ones lose nothing, or everything that was not synced.
    pub(super) fn after_cut(&self, seed: u64) -> BTreeMap<String, Vec<u8>> {
        let mut draws = Draws::new(seed);
        let fate = match seed {
            0 => Fate::Kept,
            1 => Fate::Lost,
            _ => Fate::Drawn,
        };
        let mut names = self.safe_names.clone();
        for op in &self.unsynced {
            if fate.keeps(&mut draws) {
                rename(&mut names, op);
            }
        }
        let after = |(name, inode): (String, u64)| {
            let bytes = self
                .files
                .get(&inode)
                .map(|file| file.after_cut(fate, &mut draws));
            (name, bytes.unwrap_or_default())
        };
        names.into_iter().map(after).collect()
    }
}

impl Inode {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Sync { .. } => {
                for op in self.unsynced.drain(..) {
                    change(&mut self.safe, &op, &mut None);
                }
            }
            Op::SyncFailed { seed, .. } => {
                let mut draws = Draws::new(seed);
                for op in self.unsynced.drain(..) {
                    // Lengths are kept by the file system, only what pages hold is lost.
                    let tears = matches!(op, Op::Write { .. });
                    let mut torn = tears.then(|| Draws::new(draws.next()));
                    change(&mut self.safe, &op, &mut torn);
                }
            }
            op => {
                change(&mut self.seen, &op, &mut None);
                self.unsynced.push(op);
            }
        }
    }

    fn after_cut(&self, fate: Fate, draws: &mut Draws) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        for op in &self.unsynced {
            if !fate.keeps(draws) {
                continue;
            }
            let tears = fate == Fate::Drawn && draws.below(2) == 0;
            let mut torn = tears.then(|| Draws::new(draws.next()));
            change(&mut bytes, op, &mut torn);
        }
        bytes
    }
}

/// What happens to that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Drawn,
}

impl Fate {
    fn keeps(self, draws: &mut Draws) -> bool {
        match self {
            Self::Kept => true,
            Self::Lost => false,
            Self::Drawn => draws.below(3) > 0,
        }
    }
}

fn rename(names: &mut BTreeMap<String, u64>, op: &Op) {
    match op {
        Op::Create { name, inode } => {
            names.insert(name.clone(), *inode);
        }
        Op::Rename { from, to } => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Op::Remove { name } => {
            names.remove(name);
        }
        _ => {}
    }
}

/// Changes the bytes of a file; `torn` says which sectors of a write are lost.
fn change(file: &mut Vec<u8>, op: &Op, torn: &mut Option<Draws>) {
    match op {
        Op::Write { offset, bytes, .. } => match torn {
            None => write(file, *offset, bytes),
            Some(draws) => write_torn(file, *offset, bytes, draws),
        },
        Op::Truncate { bytes, .. } => file.resize(*bytes as usize, 0),
        _ => {}
    }
}

fn write_torn(file: &mut Vec<u8>, offset: u64, bytes: &[u8], draws: &mut Draws) {
    let end = offset + bytes.len() as u64;
    let mut at = offset;
    while at < end {
        let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let next = next.min(end);
        if draws.below(2) == 0 {
            write(file, at, &bytes[(at - offset) as usize..(next - offset) as usize]);
        }
        at = next;
    }
}

/// Numbers from a seed.
#[derive(Debug, Clone)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, by the generator named `SplitMix64`.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}
