//! Whether files have changed since they were read.

use std::fs;
use std::io;
use std::path::Path;

use super::files::{Source, hash, read_file};
use crate::limits::FOLDER_FILES_MAX;

/// What files held, as a hash: two that are alike were of the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    /// Adds a file. What is given as bytes cannot change.
    pub(crate) fn add(&mut self, source: &Source) -> io::Result<()> {
        if let Source::File(path) = source {
            self.0.extend(hash(&read_file(path)?));
        }
        Ok(())
    }

    /// Adds all files of a folder, and their names.
    pub(crate) fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)?.take(FOLDER_FILES_MAX + 1) {
            paths.push(entry?.path());
        }
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            all.extend(hash(path.as_os_str().as_encoded_bytes()));
            // One that cannot be read is passed over when certificates are looked for, too.
            all.extend(read_file(&path).map(|bytes| hash(&bytes)).unwrap_or_default());
        }
        self.0.extend(hash(&all));
        Ok(())
    }
}
