//! Stores that misbehave.

use martlet_broker::Store;

use super::Bug;

/// The store of a shard, as it is or with a bug in it.
pub(crate) fn wrap(store: Box<dyn Store>, bug: Option<Bug>) -> Box<dyn Store> {
    match bug {
        _ => store,
    }
}
