//! A new store from the lines of an export.

use martlet_journal::{Disk, Group, Journal, Limits, Place};

use super::line::Line;
use super::live::Live;
use crate::bytes::Writer;
use crate::error::Error;
use crate::record::{FORMAT, UNFINISHED, kind};

/// Bytes that are written at once, about.
const GROUP_BYTES: usize = 1 << 20;

/// Writes a store into an empty folder. One that is not finished is no store: opening it fails and says why.
#[derive(Debug)]
pub struct Importer<D: Disk> {
    journal: Journal<D>,
    group: Group,
    /// Says that it is not finished.
    unfinished: Place,
    records: u64,
}

/// Why an import does not begin, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The folder has files.
    #[error("it is not empty")]
    NotEmpty,
    /// A line is none of an export.
    #[error("{0}")]
    Line(String),
    /// The first line does not say the format, or says one that this version does not know.
    #[error("the first line is to be the format, 1 to {FORMAT}")]
    Format,
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<martlet_journal::Error> for ImportError {
    fn from(error: martlet_journal::Error) -> Self {
        Self::Store(error.into())
    }
}

impl<D: Disk> Importer<D> {
    /// Begins a store in an empty folder. `salt` is a number that strangers cannot guess.
    pub fn new(disk: D, limits: Limits, salt: u32) -> Result<Self, ImportError> {
        let files = disk.list().map_err(|source| martlet_journal::Error::Disk {
            action: "list",
            name: "the folder".to_owned(),
            source,
        })?;
        if !files.is_empty() {
            return Err(ImportError::NotEmpty);
        }
        let (mut journal, _) = Journal::open(disk, limits, salt, &mut Live::default())?;
        let mut group = Group::new();
        group.put_with(kind::FORMAT, |out| Writer(out).number(UNFINISHED));
        journal.append(&mut group)?;
        journal.sync()?;
        let unfinished = group.places().next().expect("a record has been put");
        group.clear();
        Ok(Self {
            journal,
            group,
            unfinished,
            records: 0,
        })
    }

    /// Takes the next line of an export.
    pub fn take(&mut self, text: &str) -> Result<(), ImportError> {
        let line = Line::parse(text).map_err(ImportError::Line)?;
        match line {
            Line::Format { format } if self.records == 0 && (1..=FORMAT).contains(&format) => {}
            Line::Format { .. } => return Err(ImportError::Format),
            _ if self.records == 0 => return Err(ImportError::Format),
            line => {
                let (kind, payload) = line.write().map_err(ImportError::Line)?;
                self.group.put(kind, &payload);
                // Each stands alone, so that damage costs no other.
                self.group.end_batch();
            }
        }
        self.records += 1;
        if self.group.bytes() >= GROUP_BYTES {
            self.journal.append(&mut self.group)?;
            self.group.clear();
        }
        Ok(())
    }

    /// Makes it a store. Returns how many records it has, the format not counted.
    pub fn finish(mut self) -> Result<u64, ImportError> {
        if self.records == 0 {
            return Err(ImportError::Format);
        }
        self.journal.append(&mut self.group)?;
        // What comes last says that all before it is durable, so damage to that is no torn end.
        self.journal.sync()?;
        self.group.clear();
        self.group
            .put_with(kind::FORMAT, |out| Writer(out).number(FORMAT));
        self.group.kill(self.unfinished);
        self.journal.append(&mut self.group)?;
        self.journal.sync()?;
        Ok(self.records - 1)
    }
}
