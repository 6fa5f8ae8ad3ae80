//! Room on the disk that is kept for what makes room: deaths, and the copies of cleaning.
//!
//! It is a file of zeros. When the disk is full it is shortened, so that records can die and segments be cleaned.
//! From then on nothing is put before it is whole again. A file system that does not store zeros, or never writes in
//! place, may have no room all the same; then it is the caller who has to free some.

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, is_space};
use crate::journal::Journal;
use crate::limits::{CHUNK_BYTES, RESERVE_STEP_BYTES};

/// The name of the file.
pub(crate) const RESERVE: &str = "reserve";

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reserve {
    /// So much has been written.
    filled: u64,
    /// So long may the file be.
    held: u64,
}

impl Reserve {
    /// As it was found on the disk.
    pub(crate) fn found(bytes: u64) -> Self {
        Self {
            filled: bytes,
            held: bytes,
        }
    }
}

impl<D: Disk> Journal<D> {
    /// Whether the room that is kept for deaths and cleaning has been used, because the disk was full. Until there is room
    /// for it again, only these are appended.
    pub fn is_short_of_space(&self) -> bool {
        self.reserve.filled < u64::from(self.limits.reserve_bytes)
    }

    /// Whether puts are refused for room, so that any cleaning is worth it.
    pub fn needs_room(&self) -> bool {
        self.pressed || self.is_short_of_space()
    }

    /// Whether there is room again: the reserve is whole, and the disk takes a little more, and so does the limit of the
    /// whole. For who was refused, and asks now and then.
    pub fn finds_room(&mut self) -> bool {
        let has_room = self.bytes().saturating_add(RESERVE_STEP_BYTES) <= self.limits.journal_bytes_max;
        let found = has_room && self.fill_reserve().is_ok() && self.takes_more();
        self.pressed = !found;
        found
    }

    /// Writes behind the reserve, and takes it back.
    fn takes_more(&mut self) -> bool {
        let whole = u64::from(self.limits.reserve_bytes);
        let file = self.disk.open(RESERVE).or_else(|_| self.disk.create(RESERVE));
        let zeros = vec![0; RESERVE_STEP_BYTES as usize];
        file.and_then(|file| {
            let written = file.write_at(whole, &zeros);
            file.truncate(whole)?;
            written
        })
        .is_ok()
    }

    /// How much of it there is.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        self.reserve.filled
    }

    /// Makes the reserve whole, if there is room for it.
    pub(crate) fn fill_reserve(&mut self) -> Result<(), Error> {
        if !self.is_short_of_space() {
            return Ok(());
        }
        let want = u64::from(self.limits.reserve_bytes);
        let file = if self.reserve.held == 0 {
            self.disk.create(RESERVE).or_else(|_| self.disk.open(RESERVE))
        } else {
            self.disk.open(RESERVE).or_else(|_| self.disk.create(RESERVE))
        };
        let zeros = vec![0; CHUNK_BYTES.min((want - self.reserve.filled) as usize)];
        let filled = file.and_then(|file| {
            while self.reserve.filled < want {
                let size = (want - self.reserve.filled).min(zeros.len() as u64);
                self.reserve.held = self.reserve.held.max(self.reserve.filled + size);
                file.write_at(self.reserve.filled, &zeros[..size as usize])?;
                self.reserve.filled += size;
            }
            Ok(())
        });
        filled.map_err(|source| {
            if is_space(&source) {
                let bytes = want - self.reserve.filled;
                Error::NoSpace { bytes, source }
            } else {
                Error::disk("write", RESERVE)(source)
            }
        })
    }

    /// Gives up enough for so many bytes. Returns whether there was anything to give.
    pub(crate) fn shorten_reserve(&mut self, bytes: u64) -> bool {
        if self.reserve.held == 0 {
            return false;
        }
        let less = bytes.next_multiple_of(RESERVE_STEP_BYTES);
        // What the file was to have and has not is no room.
        let left = self.reserve.filled.saturating_sub(less);
        let shortened = if left == 0 {
            self.disk.remove(RESERVE)
        } else {
            self.disk.open(RESERVE).and_then(|file| file.truncate(left))
        };
        if shortened.is_ok() {
            self.reserve = Reserve::found(left);
        }
        shortened.is_ok()
    }

    /// Removes a reserve that is larger than it is to be.
    pub(crate) fn fit_reserve(&mut self) {
        let want = u64::from(self.limits.reserve_bytes);
        if self.reserve.held > want && self.disk.remove(RESERVE).is_ok() {
            self.reserve = Reserve::default();
        }
    }
}
