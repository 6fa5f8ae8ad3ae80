//! How much of each thing there may be, and what happens at the limit.

/// Limits of a journal. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A segment that has this many is closed and the next append begins another. A group larger than that
    /// has a segment of its own. Taken as at least [`SEGMENT_BYTES_FLOOR`], at most
    /// [`SEGMENT_BYTES_CEILING`].
    pub segment_bytes: u32,
    /// What is appended at once: at most this. Above it: [`Error::TooLarge`](crate::Error::TooLarge), and
    /// nothing was written. Taken as at most [`GROUP_BYTES_CEILING`].
    pub group_bytes_max: u32,
    /// All segments together. Above it an append is refused with [`Error::Full`](crate::Error::Full), unless
    /// it holds nothing but deaths, or is the journal's own, made by cleaning: these make room.
    pub journal_bytes_max: u64,
    /// Files that are open at a time, but for those that wait for a sync. At it the one that was used least
    /// recently is closed. At least 2.
    pub open_files_max: usize,
    /// Snapshots on the disk. Above it the oldest is removed. At least 1; with 2, a damaged one does no harm.
    pub snapshots_max: usize,
    /// A segment is worth cleaning when this share of it is dead, in percent. 1 to 100.
    pub dead_percent_min: u8,
    /// Room on the disk that is kept for deaths and for the copies of cleaning, as a file of zeros. Without it records can
    /// be taken away from a full disk only when somebody else frees some room. A segment's size is enough for every
    /// segment. 0: none. Taken as at most [`SEGMENT_BYTES_CEILING`].
    pub reserve_bytes: u32,
}

/// The smallest segment: below it headers outweigh records.
pub const SEGMENT_BYTES_FLOOR: u32 = 512;

/// The largest segment, so that a segment and a group together stay below what an offset of 32 bits can say.
pub const SEGMENT_BYTES_CEILING: u32 = 1 << 30;

/// The largest group.
pub const GROUP_BYTES_CEILING: u32 = 1 << 30;

/// What a scan reads at once, and what a snapshot is cut into. A batch that is larger is held whole.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Records that are asked for together are read at once if at most this many bytes lie between them. Twice as many
/// cost more than a read of their own does (`examples/journal_scale.rs`).
pub(crate) const READ_GAP_BYTES_MAX: u64 = 8192;

/// The reserve is given up in steps of this many bytes.
pub(crate) const RESERVE_STEP_BYTES: u64 = 64 << 10;

/// One part in so many of the reserve is for what lets records die soon ([`Journal::append_at_need`]); beyond it that is
/// refused too, as cleaning needs the rest.
///
/// [`Journal::append_at_need`]: crate::Journal::append_at_need
pub const RESERVE_SHARE: u64 = 8;

/// While puts are refused for room, this is enough of a segment's records to be dead, in percent. Below it more than nine
/// bytes are copied to win one.
pub(crate) const DEAD_PERCENT_MIN_PRESSED: u8 = 10;

/// While puts are refused for room, it is also enough if this share of a segment, in percent, is dead or stands around
/// records: many small batches become few large ones.
pub(crate) const WASTE_PERCENT_MIN_PRESSED: u64 = 50;

/// The highest number of a segment. Beyond it: [`Error::Exhausted`](crate::Error::Exhausted); with segments of
/// 64 MiB, after 256 PiB.
pub(crate) const SEGMENT_MAX: u32 = u32::MAX - 1;

/// A header of a snapshot: at most this many bytes are believed.
pub(crate) const SNAPSHOT_HEADER_BYTES_MAX: u32 = 1 << 30;

/// A snapshot that is being written is synced each time so many bytes have been, so that no sync of it takes long.
pub(crate) const SNAPSHOT_SYNC_BYTES: u64 = 4 << 20;

/// What the holder of a folder says of itself: so many bytes are told, the rest is not read.
pub(crate) const HOLDER_BYTES_MAX: u64 = 200;

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            group_bytes_max: 272 << 20, // the largest MQTT packet, and what stands around it
            journal_bytes_max: u64::MAX,
            open_files_max: 128,
            snapshots_max: 2,
            dead_percent_min: 50,
            reserve_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// These limits, each within what the format allows.
    pub(crate) fn clamped(self) -> Self {
        Self {
            segment_bytes: self
                .segment_bytes
                .clamp(SEGMENT_BYTES_FLOOR, SEGMENT_BYTES_CEILING),
            group_bytes_max: self.group_bytes_max.min(GROUP_BYTES_CEILING),
            journal_bytes_max: self.journal_bytes_max,
            open_files_max: self.open_files_max.max(2),
            snapshots_max: self.snapshots_max.max(1),
            dead_percent_min: self.dead_percent_min.clamp(1, 100),
            reserve_bytes: self.reserve_bytes.min(SEGMENT_BYTES_CEILING),
        }
    }
}
