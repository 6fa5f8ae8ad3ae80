//! What can go wrong with a journal.

use std::io;

use crate::place::Place;

/// Why something was not done. After each but those that name the poison the journal can be used as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk has no room. Nothing of what was to be appended is in the journal; append again when there is
    /// room.
    #[error("no space for {bytes} bytes: free some, then try again")]
    NoSpace {
        /// What was to be written.
        bytes: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The journal has as many bytes as it may have. Deaths and cleaning still go through and make room.
    #[error("the journal may have {bytes_max} bytes and has {bytes}")]
    Full {
        /// What it has.
        bytes: u64,
        /// What it may have.
        bytes_max: u64,
    },
    /// More at once than the limit allows.
    #[error("{bytes} bytes at once, at most {bytes_max} are allowed")]
    TooLarge {
        /// What was to be appended.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The disk failed to do something. What was begun has been taken back.
    #[error("cannot {action} {name}")]
    Disk {
        /// What was to be done.
        action: &'static str,
        /// With this file, or the folder.
        name: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A sync failed, so nobody knows what of the last writes is on the disk. It must not be tried again: the
    /// system may have thrown the bytes away and would report success. The journal is poisoned.
    #[error("a sync failed, nothing more is written until the journal is opened anew")]
    SyncFailed {
        /// What the disk said.
        source: io::Error,
    },
    /// The disk failed to append, and to take back what it had written of it. Some of it may be there when the
    /// journal is opened anew, whole batches from the first one on. The journal is poisoned.
    #[error(
        "an append failed and could not be taken back ({undo}): nothing more is written until the journal is opened anew"
    )]
    Uncertain {
        /// What the disk said when it was to append.
        source: io::Error,
        /// What the disk said when it was to take it back.
        undo: io::Error,
    },
    /// An earlier failure has poisoned the journal: it can be read, and opened anew, nothing else.
    #[error("nothing is written since an earlier failure: {why}")]
    Poisoned {
        /// That failure.
        why: String,
    },
    /// Another sync has begun and not ended.
    #[error("a sync is under way")]
    SyncUnderWay,
    /// The bytes at a place are not those that were put there.
    #[error("damaged: {place}")]
    Damaged {
        /// The place.
        place: Place,
    },
    /// The segment of a place is not there.
    #[error("the segment is gone: {place}")]
    Gone {
        /// The place.
        place: Place,
    },
    /// There have been as many segments as a number can count.
    #[error("no number is left for another segment")]
    Exhausted,
    /// Another process uses the folder.
    #[error("{folder} is in use by {holder}")]
    Locked {
        /// The folder, as an absolute path.
        folder: String,
        /// What the other process says of itself; `another program` if it says nothing.
        holder: String,
    },
}

impl Error {
    pub(crate) fn disk(action: &'static str, name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self::Disk { action, name, source }
    }
}

/// Whether the disk, a quota or the largest size of a file is what stood in the way.
pub(crate) fn is_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(
        error.kind(),
        StorageFull | QuotaExceeded | FileTooLarge | WriteZero
    )
}
