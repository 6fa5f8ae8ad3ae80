//! A segmented log with checksums, on a disk that is handed in: what has been synced is there after a crash.
//!
//! A [`Journal`] takes records in atomic batches ([`Group`]) and is told which records are dead. The caller has an
//! [`Index`] of what lives: it is filled when the journal is opened, and asked when segments are cleaned. All I/O
//! goes through a [`Disk`]: [`RealDisk`], [`MemoryDisk`], or [`FaultyDisk`], which fails, tears and forgets.
//!
//! It knows nothing of what is in the records, starts no thread, and reads no clock.
//!
//! ```
//! use martlet_journal::{Group, Index, Journal, Limits, MemoryDisk, Place, Record};
//!
//! #[derive(Default)]
//! struct Last(Option<Place>);
//!
//! impl Index for Last {
//!     fn clear(&mut self) { self.0 = None }
//!     fn snapshot(&mut self, _: &[u8]) {}
//!     fn snapshot_ends(&mut self) -> bool { true }
//!     fn gone(&mut self, _: &[u32]) {}
//!     fn put(&mut self, record: Record<'_>) { self.0 = Some(record.place) }
//!     fn killed(&mut self, place: Place) { self.0.take_if(|last| *last == place); }
//!     fn is_live(&self, record: &Record<'_>) -> bool { self.0 == Some(record.place) }
//!     fn moved(&mut self, _: &Record<'_>, to: Place) { self.0 = Some(to) }
//! }
//!
//! let disk = MemoryDisk::default();
//! let (mut journal, _) = Journal::open(disk.clone(), Limits::default(), 7, &mut Last::default())?;
//! let mut group = Group::new();
//! group.put(1, b"to be kept");
//! journal.append(&mut group)?;
//! journal.sync()?; // or `begin_sync`, `run` on another thread, `end_sync`
//!
//! let mut last = Last::default();
//! let (mut journal, report) = Journal::open(disk, Limits::default(), 8, &mut last)?;
//! let mut payload = Vec::new();
//! journal.read(last.0.unwrap(), &mut payload)?;
//! assert_eq!(payload, b"to be kept");
//! assert!(!report.has_damage());
//! # Ok::<(), martlet_journal::Error>(())
//! ```

mod clean;
pub mod disk;
mod error;
mod frame;
mod group;
mod index;
mod inspect;
mod journal;
pub mod limits;
mod log;
mod place;
mod read;
mod recover;
mod replay;
pub mod report;
mod reserve;
mod scan;
mod segments;
mod snapshot;
mod sync;

pub use clean::Cleaned;
pub use disk::{Disk, DiskFile, FaultyDisk, MemoryDisk, RealDisk};
pub use error::Error;
pub use group::Group;
pub use index::{Index, Record};
pub use inspect::{Inspection, Logged, SegmentFound};
pub use journal::Journal;
pub use limits::Limits;
pub use log::LogReader;
pub use place::{Place, Position};
pub use read::{RecordReader, RecordsReader};
pub use report::Report;
pub use snapshot::{Snapshot, SnapshotBytes, SnapshotWriter};
pub use sync::{SyncJob, Synced};
