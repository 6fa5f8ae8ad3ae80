//! Syncs, which another thread can do while the journal goes on.

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::journal::Journal;
use crate::place::Position;

/// A sync that has begun. [`run`](Self::run) does it, on any thread, and takes as long as the disk does; then
/// [`Journal::end_sync`] takes the outcome. One that is dropped leaves the journal waiting for ever.
#[derive(Debug)]
#[must_use]
pub struct SyncJob<D: Disk> {
    files: Vec<D::File>,
    folder: Option<D>,
    until: Position,
    removed: Vec<u32>,
}

/// How a sync ended.
#[derive(Debug)]
#[must_use]
pub struct Synced {
    outcome: io::Result<()>,
    until: Position,
    removed: Vec<u32>,
}

impl<D: Disk> SyncJob<D> {
    /// Syncs. Everything before [`until`](Self::until) is durable if it succeeds.
    pub fn run(self) -> Synced {
        let files = self.files.iter().try_for_each(DiskFile::sync);
        let outcome = files.and_then(|()| self.folder.as_ref().map_or(Ok(()), Disk::sync_folder));
        Synced {
            outcome,
            until: self.until,
            removed: self.removed,
        }
    }

    /// What will be durable.
    pub fn until(&self) -> Position {
        self.until
    }
}

impl<D: Disk> Journal<D> {
    /// Begins to make all durable that has been appended. `None`: nothing is to be done.
    pub fn begin_sync(&mut self) -> Result<Option<SyncJob<D>>, Error> {
        self.check_poison()?;
        if self.sync_under_way {
            return Err(Error::SyncUnderWay);
        }
        if !self.needs_sync() {
            return Ok(None);
        }
        self.sync_under_way = true;
        let files = self.unsynced.drain(..).map(|(_, file)| file).collect();
        let folder = std::mem::take(&mut self.folder_unsynced).then(|| self.disk.clone());
        let removed = std::mem::take(&mut self.removed);
        Ok(Some(SyncJob {
            files,
            folder,
            until: self.end,
            removed,
        }))
    }

    /// Takes the outcome of a sync. Returns what is durable now. A failure poisons the journal.
    pub fn end_sync(&mut self, synced: Synced) -> Result<Position, Error> {
        self.sync_under_way = false;
        if let Err(source) = synced.outcome {
            return Err(self.poison_by_sync(source));
        }
        self.durable = self.durable.max(synced.until);
        for number in synced.removed {
            self.segments.forget(number);
        }
        Ok(self.durable)
    }

    /// Syncs here and now. Returns what is durable.
    pub fn sync(&mut self) -> Result<Position, Error> {
        match self.begin_sync()? {
            Some(job) => {
                let synced = job.run();
                self.end_sync(synced)
            }
            None => Ok(self.durable),
        }
    }

    /// Whether a sync would do anything.
    pub fn needs_sync(&self) -> bool {
        !self.unsynced.is_empty() || self.folder_unsynced
    }

    pub(crate) fn poison_by_sync(&mut self, source: io::Error) -> Error {
        self.poison = Some(format!("a sync failed: {source}"));
        Error::SyncFailed { source }
    }

    pub(crate) fn check_poison(&self) -> Result<(), Error> {
        match &self.poison {
            Some(why) => Err(Error::Poisoned { why: why.clone() }),
            None => Ok(()),
        }
    }
}
