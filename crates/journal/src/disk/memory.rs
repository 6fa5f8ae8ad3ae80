//! A disk that is memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Entry};

/// A folder in memory. Clones are the same folder. Nothing fails and nothing survives the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, MemoryFile>>>,
}

/// A file in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFile {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryDisk {
    /// A folder with these files.
    pub fn with_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let file = |(name, bytes)| {
            let bytes = Arc::new(Mutex::new(bytes));
            (name, MemoryFile { bytes })
        };
        let files = files.into_iter().map(file).collect();
        Self {
            files: Arc::new(Mutex::new(files)),
        }
    }

    /// What a file holds, `None` if there is none.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        Some(hold(&hold(&self.files).get(name)?.bytes).clone())
    }
}

/// A lock that a panic elsewhere does not take away.
pub(super) fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut files = hold(&self.files);
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(files.entry(name.to_owned()).or_default().clone())
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let found = hold(&self.files).get(name).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = hold(&self.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = hold(&self.files).remove(name);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let entry = |(name, file): (&String, &MemoryFile)| Entry {
            name: name.clone(),
            bytes: hold(&file.bytes).len() as u64,
        };
        Ok(hold(&self.files).iter().map(entry).collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write(&mut hold(&self.bytes), offset, bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let file = hold(&self.bytes);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let count = bytes.len().min(file.len() - from);
        bytes[..count].copy_from_slice(&file[from..from + count]);
        Ok(count)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        hold(&self.bytes).resize(bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes into a file that is a vector; what lies between its end and `offset` becomes zeros.
pub(super) fn write(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = offset as usize;
    if file.len() < from + bytes.len() {
        file.resize(from + bytes.len(), 0);
    }
    file[from..from + bytes.len()].copy_from_slice(bytes);
}
