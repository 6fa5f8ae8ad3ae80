//! Files that the broker writes, each with what asked for it.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{Code, Finding};
use super::listen::plain;
use super::origin::Origin;

/// A file that the broker writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its path.
    pub path: PathBuf,
    /// What asked for it, for messages.
    pub origin: Origin,
}

impl Written {
    /// It could not be opened or written. `what` is what goes there: `the log`.
    pub(crate) fn failed(&self, what: &str, error: &io::Error) -> Finding {
        let message = format!(
            "cannot write {what} to '{}': {}.",
            self.path.display(),
            why(&self.path, error)
        );
        Finding::new(Code::CannotWrite, self.origin.place(), message)
    }
}

/// Why a file could not be written, without the numbers of the system.
pub(crate) fn why(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().map(Path::display);
    match (error.kind(), folder) {
        (io::ErrorKind::NotFound, Some(folder)) => format!("there is no folder '{folder}'"),
        (io::ErrorKind::NotADirectory, Some(folder)) => format!("'{folder}' is not a folder"),
        (io::ErrorKind::IsADirectory, _) => "it is a folder".into(),
        _ => plain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_in_words() {
        let table = [
            (io::ErrorKind::NotFound, "there is no folder '/a/b'"),
            (io::ErrorKind::NotADirectory, "'/a/b' is not a folder"),
            (io::ErrorKind::IsADirectory, "it is a folder"),
            (io::ErrorKind::PermissionDenied, "permission denied"),
        ];
        for (kind, words) in table {
            assert_eq!(why(Path::new("/a/b/c.log"), &kind.into()), words);
        }
        let numbered = io::Error::from_raw_os_error(30);
        assert!(!why(Path::new("/a/b"), &numbered).contains("os error"));
    }
}
