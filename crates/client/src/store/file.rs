//! A store in a folder.

use std::path::Path;
use std::time::Duration;

use martlet_journal::RealDisk;

use super::disk::{DiskStore, failed};
use super::{Contents, Store, StoreError, StoreOp};
use crate::limits;

/// When a store says that something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: it survives a power cut. What comes while one sync runs shares the next.
    Fsync,
    /// The same, and each sync waits that long for more to share it.
    FsyncBatch(Duration),
    /// When the system has it: it survives the end of the process, not that of the system.
    Os,
}

/// A store in a folder, which it locks. Each client identifier needs a folder of its own.
///
/// Damage does not keep it from opening: files that are damaged are set aside, what is left of them counts, and
/// [`damage`](Self::damage) tells.
#[derive(Debug)]
pub struct FileStore(DiskStore<RealDisk>);

impl FileStore {
    /// Opens the store in a folder, or begins one; the folder is made where there is none.
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        let place = path.display().to_string();
        let holder = format!("a martlet client, process {}", std::process::id());
        let disk = RealDisk::open(&path, &holder).map_err(|error| failed(&place, &error))?;
        DiskStore::begin(disk, limits::store_journal(), durability, place).map(Self)
    }

    /// What was damaged when it was opened, a line each; the files have the names that it says now.
    pub fn damage(&self) -> &[String] {
        self.0.damage()
    }
}

impl Store for FileStore {
    fn open(&mut self, client_id: &str) -> Result<Contents, StoreError> {
        self.0.open(client_id)
    }

    fn keep(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        self.0.keep(ops)
    }

    fn gathers(&self) -> Duration {
        self.0.gathers()
    }
}
