//! Disks on which something was written that is not so.

use martlet_journal::{FaultyDisk, Index, Journal, Limits, Place, Record};

/// Takes the newest snapshot again, with what it says, for where the log ends now.
pub(crate) fn forget_news(disk: &FaultyDisk, limits: Limits, salt: u32) -> Result<(), String> {
    let mut copied = Copied::default();
    forget(disk, limits, salt, &mut copied).map_err(|error| error.to_string())
}

fn forget(
    disk: &FaultyDisk,
    limits: Limits,
    salt: u32,
    copied: &mut Copied,
) -> Result<(), martlet_journal::Error> {
    let (mut journal, report) = Journal::open(disk.clone(), limits, salt, copied)?;
    if report.snapshot.is_none() {
        return Ok(());
    }
    let mut writer = journal.begin_snapshot()?;
    writer.write(&copied.bytes)?;
    journal.end_snapshot(writer.finish()?)
}

/// What a snapshot says, and nothing of what came later.
#[derive(Default)]
struct Copied {
    bytes: Vec<u8>,
}

impl Index for Copied {
    fn clear(&mut self) {
        self.bytes.clear();
    }

    fn snapshot(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn snapshot_ends(&mut self) -> bool {
        true
    }

    fn gone(&mut self, _: &[u32]) {}

    fn put(&mut self, _: Record<'_>) {}

    fn killed(&mut self, _: Place) {}

    fn is_live(&self, _: &Record<'_>) -> bool {
        true
    }

    fn moved(&mut self, _: &Record<'_>, _: Place) {}
}
