//! A journal with a bug, made of one without: its disk leaves a call out or does it at another time.

#![allow(unreachable_pub)] // a part of a test

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use martlet_journal::disk::{Entry, FaultyFile};
use martlet_journal::{Cleaned, Disk, DiskFile, Error, FaultyDisk};

use crate::rig::{Rig, Step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// What has been written counts as durable before it is synced.
    NoSync,
    /// Names are not synced.
    NoFolderSync,
    /// What is cut off is not synced.
    NoSyncOfCuts,
    /// A sync that has failed is tried again, and then believed.
    SyncsAgain,
    /// An emptied segment goes before the copies are durable.
    RemovesEarly,
    /// Deaths in a segment that is cleaned are not copied.
    ForgetsDeaths,
}

pub const BUGS: [Bug; 6] = [
    Bug::NoSync,
    Bug::NoFolderSync,
    Bug::NoSyncOfCuts,
    Bug::SyncsAgain,
    Bug::RemovesEarly,
    Bug::ForgetsDeaths,
];

#[derive(Debug, Clone)]
pub struct Planted {
    pub disk: FaultyDisk,
    pub bug: Option<Bug>,
    cleans: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
pub struct PlantedFile {
    file: FaultyFile,
    of: Planted,
    /// The number of the segment, if it is one.
    segment: u32,
    was_cut: Arc<AtomicBool>,
}

impl Planted {
    pub fn new(disk: FaultyDisk, bug: Option<Bug>) -> Self {
        Self {
            disk,
            bug,
            cleans: Arc::default(),
        }
    }

    fn file(&self, name: &str, file: FaultyFile) -> PlantedFile {
        PlantedFile {
            file,
            of: self.clone(),
            segment: name
                .get(..8)
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .unwrap_or(0),
            was_cut: Arc::default(),
        }
    }
}

impl Rig<Planted> {
    /// A step of a journal that has the bug of its disk.
    pub fn step_with_bug(&mut self, step: &Step) -> Result<(), Error> {
        let Step::Clean(budget) = step else {
            return self.step(step);
        };
        self.disk.cleans.store(true, Ordering::Relaxed);
        let cleaned = self.journal.clean(&mut self.index, *budget);
        self.disk.cleans.store(false, Ordering::Relaxed);
        if let Cleaned::Emptied { segment, .. } = cleaned?
            && self.disk.bug == Some(Bug::RemovesEarly)
        {
            let _ = self.disk.remove(&format!("{segment:08x}.seg"));
        }
        Ok(())
    }
}

impl Disk for Planted {
    type File = PlantedFile;

    fn create(&self, name: &str) -> io::Result<PlantedFile> {
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<PlantedFile> {
        Ok(self.file(name, self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        self.disk.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        if self.bug == Some(Bug::NoFolderSync) {
            return Ok(());
        }
        self.disk.sync_folder()
    }
}

impl DiskFile for PlantedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.of.bug == Some(Bug::ForgetsDeaths) && self.of.cleans.load(Ordering::Relaxed) {
            return self
                .file
                .write_at(offset, &without_deaths(self.segment, offset, bytes));
        }
        self.file.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.was_cut.store(true, Ordering::Relaxed);
        self.file.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let was_cut = self.was_cut.swap(false, Ordering::Relaxed);
        match self.of.bug {
            Some(Bug::NoSync) => Ok(()),
            Some(Bug::NoSyncOfCuts) if was_cut => Ok(()),
            Some(Bug::SyncsAgain) => (0..50)
                .map(|_| self.file.sync())
                .find(Result::is_ok)
                .unwrap_or_else(|| self.file.sync()),
            _ => self.file.sync(),
        }
    }
}

/// The same batches, in which records of deaths have a kind that means nothing.
fn without_deaths(segment: u32, offset: u64, bytes: &[u8]) -> Vec<u8> {
    const BATCH_HEADER_BYTES: usize = 24;
    const RECORD_HEADER_BYTES: usize = 9;
    let mut bytes = bytes.to_vec();
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    if bytes.starts_with(b"journal") {
        return bytes;
    }
    let mut batch = 0;
    while batch + BATCH_HEADER_BYTES <= bytes.len() {
        let mut record = batch + BATCH_HEADER_BYTES;
        let end = record + number(&bytes, batch + 8);
        while record < end {
            let size = number(&bytes, record + 4);
            if bytes[record + 8] == 0xfe {
                bytes[record + 8] = 0xfc;
                let head = [segment, offset as u32 + record as u32, size as u32].map(u32::to_le_bytes);
                let crc = crc32c::crc32c_append(crc32c::crc32c(head.as_flattened()), &[0xfc]);
                let payload = record + RECORD_HEADER_BYTES..record + RECORD_HEADER_BYTES + size;
                let crc = crc32c::crc32c_append(crc, &bytes[payload]);
                bytes[record..record + 4].copy_from_slice(&crc.to_le_bytes());
            }
            record += RECORD_HEADER_BYTES + size;
        }
        batch = end.next_multiple_of(8);
    }
    bytes
}
