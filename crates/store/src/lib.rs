//! The state of sessions on a local disk: [`martlet_broker::Store`] on a [`martlet_journal::Journal`].
//!
//! Shards submit batches by their [`Handle`]s, which write records into memory and hand them over at the end of a turn.
//! One [`Engine`] appends what they handed over, syncs, and tells each shard what has become durable. It starts no
//! thread: who drives it decides when it writes and when a sync runs.
//!
//! Each thing that is stored has a number, and the index knows only where the record of a number lies. What records
//! say is read when a broker starts, and pages of queues when they are due.

mod bytes;
mod clock;
mod engine;
mod error;
mod exchange;
mod group;
mod handle;
mod index;
pub mod limits;
mod load;
mod loader;
pub mod offline;
mod places;
pub mod record;
mod restore;
mod snapshot;

pub use engine::Engine;
pub use error::{Error, with_causes};
pub use exchange::{Bell, Exchange, Urgency};
pub use handle::Handle;
pub use limits::Limits;
pub use restore::{Restored, RestoredRetained};
