//! A store that lives as long as the process.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Contents, Store, StoreError, StoreOp};

/// A store in memory: what is kept goes from client to client of one process, as long as a clone of this is there. Clones
/// are the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    client_id: Option<String>,
    contents: Contents,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it has now.
    pub fn contents(&self) -> Contents {
        self.kept.lock().contents.clone()
    }
}

impl Store for MemoryStore {
    fn open(&mut self, client_id: &str) -> Result<Contents, StoreError> {
        let mut kept = self.kept.lock();
        match &kept.client_id {
            Some(theirs) if theirs != client_id => {
                return Err(StoreError::OtherClient {
                    place: "in memory".to_owned(),
                    theirs: theirs.clone(),
                    ours: client_id.to_owned(),
                });
            }
            _ => kept.client_id = Some(client_id.to_owned()),
        }
        kept.contents.run = kept.contents.next_run();
        Ok(kept.contents.clone())
    }

    fn keep(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let mut kept = self.kept.lock();
        for op in ops {
            kept.contents.apply(op);
        }
        Ok(Vec::new())
    }
}
