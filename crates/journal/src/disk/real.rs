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
use crate::limits::HOLDER_BYTES_MAX;

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
    /// Opens a folder and makes it if it is not there, with the folders above it. Their names are on the disk then, as far
    /// as the folders above can be read. `holder` is what another process is told that finds it locked, such as a name
    /// and the number of the process.
    pub fn open(path: &Path, holder: &str) -> Result<Self, Error> {
        let name = path.display().to_string();
        let path = std::path::absolute(path).map_err(Error::disk("find the folder", &name))?;
        for folder in to_be_named(&path, Path::is_dir) {
            let name = folder.display().to_string();
            make(folder).map_err(Error::disk("make the folder", &name))?;
            sync_above(folder).map_err(Error::disk("sync the folder above", &name))?;
        }
        let name = path.display().to_string();
        let lock = lock(&path, holder)?;
        let file = File::open(&path).map_err(Error::disk("open the folder", &name))?;
        let folder = Folder {
            path,
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

/// The folders whose names are to be on the disk before anything in `path` is worth something, the topmost first: those
/// that are not there, and the last one that is, as whoever made it may have ended before its name was synced. `path` is
/// absolute.
fn to_be_named(path: &Path, is_there: impl Fn(&Path) -> bool) -> Vec<&Path> {
    let mut folders = Vec::new();
    for folder in path.ancestors() {
        folders.push(folder);
        if is_there(folder) {
            break;
        }
    }
    folders.reverse();
    folders
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"))
        }
        made => made,
    }
}

/// A folder above that cannot be read is no reason to stop.
fn sync_above(folder: &Path) -> io::Result<()> {
    match folder.parent().map(File::open) {
        Some(Ok(above)) => above.sync_all(),
        _ => Ok(()),
    }
}

/// What the holder of a lock has written into its file, in one line.
fn read_holder(file: &mut File) -> String {
    let mut told = Vec::new();
    // Who holds it is good to know, but not knowing it is no other error.
    let _ = file.take(HOLDER_BYTES_MAX).read_to_end(&mut told);
    let told = String::from_utf8_lossy(&told);
    let line = told.trim().lines().next().unwrap_or_default();
    let told: String = line.chars().filter(|letter| !letter.is_control()).collect();
    if told.is_empty() {
        "another program".to_owned()
    } else {
        told
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
            let (folder, holder) = (folder.display().to_string(), read_holder(&mut file));
            return Err(Error::Locked { folder, holder });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_folder_and_the_last_old_one_are_named() {
        let named = |path, there: &[&str]| -> Vec<String> {
            let folders = to_be_named(Path::new(path), |folder| {
                there.contains(&folder.to_str().expect("it is text"))
            });
            folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect()
        };
        let deep = "/srv/new/a/b";
        assert_eq!(
            named(deep, &["/", "/srv"]),
            ["/srv", "/srv/new", "/srv/new/a", deep]
        );
        assert_eq!(
            named(deep, &["/", "/srv", "/srv/new", "/srv/new/a"]),
            ["/srv/new/a", deep]
        );
        assert_eq!(
            named(deep, &["/", "/srv", "/srv/new", "/srv/new/a", deep]),
            [deep]
        );
        assert_eq!(named("/", &["/"]), ["/"]);
    }
}
