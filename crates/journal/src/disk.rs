//! What a journal needs of a disk: one folder of files.

use std::fmt;
use std::io;

mod faulty;
mod memory;
mod real;
pub(crate) mod unchanged;

pub use faulty::{Faults, FaultyDisk, FaultyFile, Volume};
pub use memory::{MemoryDisk, MemoryFile};
pub use real::{RealDisk, RealFile};

/// A folder. What is done to it survives a power cut only after [`sync_folder`](Self::sync_folder), and what is
/// done to a file only after [`DiskFile::sync`].
pub trait Disk: Clone + Send + 'static {
    /// An open file.
    type File: DiskFile;

    /// Makes a new empty file and opens it. It fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in one step. A file that had it is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Those who have it open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// All files, in any order.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// Returns when all that was done to names is on the disk.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file that is open for reading and writing. Clones are the same open file.
pub trait DiskFile: Clone + Send + fmt::Debug + 'static {
    /// Writes all of `bytes`. After a failure any part of them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to as many bytes as `bytes` takes, 0 at the end.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Cuts the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Returns when all that was written before is on the disk, the length of the file with it.
    fn sync(&self) -> io::Result<()>;
}

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}
