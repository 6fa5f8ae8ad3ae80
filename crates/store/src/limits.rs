//! Limits of a store, each with its unit and what happens at it.

/// Limits of a store.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the journal below.
    pub journal: martlet_journal::Limits,
    /// Bytes that shards have handed over and that are not written yet. Above it: publishers wait.
    pub pending_bytes_max: usize,
    /// Bytes that are written at once, about.
    pub group_bytes: usize,
    /// Bytes of messages in one page of a queue, about; one message always passes.
    pub page_bytes: usize,
    /// Dead bytes beyond as many as live before cleaning begins.
    pub clean_bytes_min: u64,
    /// Bytes that cleaning reads in one step.
    pub clean_bytes: u32,
    /// A snapshot of the index is taken when a start would replay so many bytes of the journal, and
    /// [`SNAPSHOT_RATIO`] times as many as the last snapshot takes.
    pub snapshot_bytes_min: u64,
    /// At a graceful end it is taken if a start would replay so many.
    pub snapshot_stop_bytes_min: u64,
    /// Bytes of the journal that are read in one step of a snapshot, about; or a quarter as many of the snapshot before.
    pub snapshot_step_bytes: u32,
}

/// For each byte of a snapshot so many of the journal are written first, so that snapshots write at most half as much again.
pub const SNAPSHOT_RATIO: u64 = 2;

const SEGMENT_BYTES: u32 = 16 << 20;

impl Limits {
    /// Limits with which everything that happens to a large store happens to a small one soon: for tests.
    pub fn tiny() -> Self {
        let mut limits = Self::default();
        limits.journal.segment_bytes = TINY_BYTES;
        limits.journal.reserve_bytes = TINY_BYTES;
        limits.group_bytes = TINY_BYTES as usize;
        limits.page_bytes = 4 << 10;
        limits.clean_bytes_min = u64::from(TINY_BYTES);
        limits.clean_bytes = TINY_BYTES / 8;
        limits.snapshot_bytes_min = u64::from(TINY_BYTES) * 2;
        limits.snapshot_stop_bytes_min = 0;
        limits.snapshot_step_bytes = TINY_BYTES / 8;
        limits
    }
}

const TINY_BYTES: u32 = 64 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Smaller segments are cleaned sooner, and want a smaller reserve for a full disk.
            journal: martlet_journal::Limits {
                segment_bytes: SEGMENT_BYTES,
                reserve_bytes: SEGMENT_BYTES,
                ..martlet_journal::Limits::default()
            },
            pending_bytes_max: 32 << 20,
            group_bytes: 4 << 20,
            page_bytes: 256 << 10,
            clean_bytes_min: 64 << 20,
            clean_bytes: 256 << 10,
            snapshot_bytes_min: 64 << 20,
            snapshot_stop_bytes_min: 1 << 20,
            snapshot_step_bytes: 256 << 10,
        }
    }
}
