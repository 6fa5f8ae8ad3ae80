//! Which shard a client identifier belongs to: touched when a client connects and when its session ends.

use std::sync::Arc;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::connection::ClientId;

/// The shard of each client identifier that has a session.
pub struct Registry {
    shards: Mutex<HashMap<ClientId, u16, State>>,
}

/// Hashing with a seed that clients do not know: they choose the keys.
pub(crate) type State = SeedableRandomState;

pub(crate) fn hashing(seed: u64) -> State {
    SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed())
}

/// Whose a client identifier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It belongs to the shard that asked.
    Here,
    /// Its session lives there: the connection must move.
    There(u16),
}

impl Registry {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self {
            shards: Mutex::new(HashMap::with_hasher(hashing(seed))),
        }
    }

    /// Claims an identifier: where its session lives it goes, else it stays where it came in.
    pub fn claim(&self, client_id: &ClientId, here: u16) -> Claim {
        let mut shards = self.shards.lock();
        match shards.get(&**client_id) {
            Some(shard) if *shard == here => Claim::Here,
            Some(shard) => Claim::There(*shard),
            None => {
                shards.insert(Arc::clone(client_id), here);
                Claim::Here
            }
        }
    }

    /// Claims an identifier that nobody has; `false`: somebody has it.
    pub fn claim_new(&self, client_id: &ClientId, here: u16) -> bool {
        let mut shards = self.shards.lock();
        if shards.contains_key(&**client_id) {
            return false;
        }
        shards.insert(Arc::clone(client_id), here);
        true
    }

    /// The session ended.
    pub fn release(&self, client_id: &str) {
        let mut shards = self.shards.lock();
        shards.remove(client_id);
        if shards.len() * 4 < shards.capacity() {
            let len = shards.len();
            shards.shrink_to(len * 2);
        }
    }

    /// Sessions in all shards.
    pub fn len(&self) -> usize {
        self.shards.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("len", &self.len()).finish()
    }
}

/// A map whose keys strangers choose.
pub(crate) type Keyed<K, V> = HashMap<K, V, State>;

pub(crate) fn keyed<K, V>(seed: u64) -> Keyed<K, V> {
    HashMap::with_hasher(hashing(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_belongs_to_one_shard() {
        let registry = Registry::new(1);
        let a = ClientId::from("a");
        assert_eq!(registry.claim(&a, 0), Claim::Here);
        assert_eq!(registry.claim(&a, 1), Claim::There(0));
        assert!(!registry.claim_new(&a, 1));
        registry.release(&a);
        assert_eq!(registry.claim(&a, 1), Claim::Here);
        assert_eq!(registry.len(), 1);
    }
}
