//! A disk that stays as it is, whatever is done to it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::memory::hold;
use super::{Disk, DiskFile, Entry};

/// A folder whose files have new names, or none, only for those who look at it through this. What is done to the bytes of
/// a file is not done at all: a journal that is opened keeps account of where its files end, and writes only what is
/// there.
#[derive(Debug, Clone)]
pub(crate) struct Unchanged<D> {
    disk: D,
    /// By the names that they have here: what they are called on the disk, and how long they are.
    files: Arc<Mutex<BTreeMap<String, (String, u64)>>>,
}

/// A file that stays as it is.
#[derive(Debug, Clone)]
pub(crate) struct UnchangedFile<F>(F);

impl<D: Disk> Unchanged<D> {
    pub(crate) fn new(disk: D) -> io::Result<Self> {
        let named = |Entry { name, bytes }| (name.clone(), (name, bytes));
        let files = disk.list()?.into_iter().map(named).collect();
        Ok(Self {
            disk,
            files: Arc::new(Mutex::new(files)),
        })
    }

    /// What a file is called on the disk.
    pub(crate) fn name_of(&self, name: &str) -> String {
        hold(&self.files)
            .get(name)
            .map_or_else(|| name.to_owned(), |(real, _)| real.clone())
    }
}

impl<D: Disk> Disk for Unchanged<D> {
    type File = UnchangedFile<D::File>;

    fn create(&self, _: &str) -> io::Result<Self::File> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        let found = hold(&self.files).get(name).cloned();
        let (name, _) = found.ok_or(io::ErrorKind::NotFound)?;
        self.disk.open(&name).map(UnchangedFile)
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
        let entry = |(name, (_, bytes)): (&String, &(String, u64))| Entry {
            name: name.clone(),
            bytes: *bytes,
        };
        Ok(hold(&self.files).iter().map(entry).collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: DiskFile> DiskFile for UnchangedFile<F> {
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, bytes)
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
