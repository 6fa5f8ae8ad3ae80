//! A password file on the disk: read, and replaced as a whole or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use martlet_server::config::read_users;

/// A password file that nobody else changes meanwhile who changes it by this program.
pub(crate) struct Locked {
    /// Without links.
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
}

/// Why a file was not replaced. It is as it was.
#[derive(Debug)]
pub(crate) enum Changed {
    /// It belongs to somebody else, and would not any more.
    Owner(io::Error),
    /// The system refused to write.
    Failed(io::Error),
}

impl From<io::Error> for Changed {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Locked {
    /// Waits until nobody else changes the file, then reads it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        loop {
            let file = File::open(&path)?;
            file.lock()?;
            // Whoever had it before may have put another file in its place.
            let (locked, now) = (file.metadata()?, path.metadata()?);
            if (locked.dev(), locked.ino()) == (now.dev(), now.ino()) {
                let bytes = read_users(&path)?;
                return Ok(Self { path, file, bytes });
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts another file in its place, with the same owner and mode. A power cut leaves the old one or the new one.
    pub(crate) fn replace(self, bytes: &[u8]) -> Result<(), Changed> {
        if bytes == self.bytes {
            return Ok(());
        }
        let before = self.file.metadata()?;
        let beside = beside(&self.path);
        let written = new_file(&beside).map_err(Changed::Failed).and_then(|new| {
            let made = new.metadata()?;
            if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
                fchown(&new, Some(before.uid()), Some(before.gid())).map_err(Changed::Owner)?;
            }
            new.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
            write_and_sync(&new, bytes)?;
            std::fs::rename(&beside, &self.path)?;
            Ok(())
        });
        if written.is_err() {
            // It may never have been there.
            let _ = std::fs::remove_file(&beside);
        }
        written?;
        sync_folder(&self.path);
        Ok(())
    }
}

/// Makes a file that only its owner can read. Fails if there is one.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = new_file(path)?;
    let written = write_and_sync(&file, bytes);
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written?;
    sync_folder(path);
    Ok(())
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn write_and_sync(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// The name of a file in the same folder that nobody else makes.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    path.with_file_name(name)
}

/// Some systems cannot sync a folder; the file is there all the same.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}
