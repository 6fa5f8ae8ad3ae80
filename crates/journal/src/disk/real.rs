//! A folder of the file system: the one place of this crate that does I/O.
//!
//! The rule that the journal does none (I1) stands in `xtask/src/tidy/words.rs`, and so does this file as its
//! only exception: a `Disk` that is handed in from above, which happens to be kept here beside the other two.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, Entry};
use crate::error::Error;

/// The file that is locked. It is not part of the journal and never listed.
const LOCK: &str = "lock";

/// A folder of the file system, locked for as long as a clone of this lives. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct RealDisk {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// The folder itself, to sync names.
    file: File,
    /// Whether anything may be changed.
    writes: bool,
    _lock: Option<File>,
}

/// A file of the file system.
#[derive(Debug, Clone)]
pub struct RealFile {
    file: Arc<File>,
}

impl RealDisk {
    /// Opens a folder and makes it if it is not there, with the folders above it. `holder` is what another
    /// process is told that finds it locked, such as a name and the number of the process.
    pub fn open(path: &Path, holder: &str) -> Result<Self, Error> {
        let name = path.display().to_string();
        fs::create_dir_all(path).map_err(Error::disk("make the folder", &name))?;
        let lock = lock(path, holder)?;
        let file = File::open(path).map_err(Error::disk("open the folder", &name))?;
        // The folder's own name, if it is new; a folder that cannot be read above ours is no reason to stop.
        if let Some(Ok(parent)) = path.parent().map(File::open) {
            parent
                .sync_all()
                .map_err(Error::disk("sync the folder above", &name))?;
        }
        let folder = Folder {
            path: path.to_owned(),
            file,
            writes: true,
            _lock: Some(lock),
        };
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    /// Opens a folder that is there, to read. It is locked too, unless nobody has ever locked it.
    pub fn open_to_read(path: &Path, holder: &str) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(Error::disk("open the folder", &name))?;
        let locked = lock_to_read(path, holder)?;
        let folder = Folder {
            path: path.to_owned(),
            file,
            writes: false,
            _lock: locked,
        };
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    fn check_writes(&self) -> io::Result<()> {
        if self.folder.writes {
            return Ok(());
        }
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }
}

fn lock(folder: &Path, holder: &str) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    hold(
        opened.map_err(Error::disk("open", path.display().to_string()))?,
        folder,
        holder,
    )
}

/// `None`: there is nothing to lock, and it is not made.
fn lock_to_read(folder: &Path, holder: &str) -> Result<Option<File>, Error> {
    let path = folder.join(LOCK);
    let writable = OpenOptions::new().read(true).write(true).open(&path);
    match writable.or_else(|_| File::open(&path)) {
        Ok(file) => hold(file, folder, holder).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::disk("open", path.display().to_string())(error)),
    }
}

fn hold(mut file: File, folder: &Path, holder: &str) -> Result<File, Error> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is good to know, but not knowing it is no other error.
            let _ = file.read_to_string(&mut holder);
            let folder = folder.display().to_string();
            return Err(Error::Locked {
                folder,
                holder: holder.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => {
            let name = folder.join(LOCK).display().to_string();
            return Err(Error::disk("lock", name)(error));
        }
    }
    // A full disk must not keep anybody out, so what it says may be missing.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(holder.as_bytes()));
    Ok(file)
}

impl Disk for RealDisk {
    type File = RealFile;

    fn create(&self, name: &str) -> io::Result<RealFile> {
        self.check_writes()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name))?;
        Ok(RealFile { file: Arc::new(file) })
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(self.folder.writes)
            .open(self.path(name))?;
        Ok(RealFile { file: Arc::new(file) })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writes()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writes()?;
        fs::remove_file(self.path(name))
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder.path)? {
            let entry = entry?;
            let (name, metadata) = (entry.file_name(), entry.metadata()?);
            if metadata.is_file() && name != LOCK {
                let name = name.to_string_lossy().into_owned();
                entries.push(Entry {
                    name,
                    bytes: metadata.len(),
                });
            }
        }
        Ok(entries)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.file.sync_all()
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    /// `fdatasync`: it writes the length too, but not the times.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
