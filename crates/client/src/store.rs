//! Stores: what makes a client survive the end of its process.
//!
//! With [`Options::store`](crate::Options::store) a message of QoS 1 or 2 is accepted when the store has it, and what
//! was not acknowledged when the process ended is sent by the next client of that store. What came is known too: a
//! message of QoS 2 that the application has taken, and whose acknowledgement the store has, does not come again.
//!
//! | store | keeps it |
//! |---|---|
//! | [`FileStore`] | in a folder |
//! | [`MemoryStore`] | as long as the process lives, over several clients |
//! | another [`Store`] | where you like |
//!
//! ```no_run
//! use martlet_client::{Client, Durability, FileStore, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = FileStore::open("/var/lib/pump", Durability::Fsync)?;
//! for line in store.damage() {
//!     eprintln!("{line}");
//! }
//! let options = Options::new("localhost", 1883).client_id("pump-7").store(store);
//! let (client, _) = Client::connect(options).await?;
//! for pending in client.pending() {
//!     println!("{:?} of an earlier run is {:?}", pending.token, pending.stage);
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(unix)]
mod disk;
#[cfg(unix)]
mod file;
mod memory;
#[cfg(unix)]
mod record;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

#[cfg(unix)]
pub use file::{Durability, FileStore};
pub use memory::MemoryStore;

pub use crate::engine::{Contents, StoreOp, StoredMessage};
pub use crate::error::StoreError;

/// Where a client keeps what must survive. One thread uses it at a time: one of the client's own, or with
/// [`Pump`](crate::poll::Pump) the one that turns.
pub trait Store: Send {
    /// What is kept of that client, with a [`run`](Contents::run) that no client had before; see
    /// [`Contents::next_run`]. Called once, before anything is kept.
    fn open(&mut self, client_id: &str) -> Result<Contents, StoreError>;

    /// Keeps all of it, in its order: when this returns, it survives whatever the store promises to survive. Only
    /// [`StoreOp::Accepted`] may be refused, named by its place in `ops`, in ascending order. An error is for good: the
    /// client closes.
    fn keep(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError>;

    /// How long to gather operations before they are kept together.
    fn gathers(&self) -> Duration {
        Duration::ZERO
    }
}

/// A store that the options hand to one client.
#[derive(Clone)]
pub(crate) struct StoreSlot {
    store: Arc<Mutex<Option<Box<dyn Store>>>>,
}

impl fmt::Debug for StoreSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store")
    }
}

impl StoreSlot {
    pub(crate) fn new(store: impl Store + 'static) -> Self {
        let store: Box<dyn Store> = Box::new(store);
        Self {
            store: Arc::new(Mutex::new(Some(store))),
        }
    }

    /// The store with what it has of that client.
    pub(crate) fn open(&self, client_id: &str) -> Result<(Box<dyn Store>, Contents), StoreError> {
        let mut store = self.store.lock().take().ok_or_else(|| StoreError::InUse {
            place: "of these options".to_owned(),
            holder: "another client of this process".to_owned(),
        })?;
        let contents = store.open(client_id)?;
        Ok((store, contents))
    }
}
