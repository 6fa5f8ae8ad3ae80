//! A list of sessions in which one is found fast, however long it is.

use hashbrown::HashTable;

use super::subscription::{SessionRef, Subscription};

/// What a roster lists: at most one for each session.
pub(crate) trait OfSession {
    fn session(&self) -> SessionRef;
}

impl OfSession for Subscription {
    fn session(&self) -> SessionRef {
        self.session
    }
}

/// From this length on the roster has an index; it is dropped at half of it.
const INDEX_FROM: usize = 32;

/// A list with, once it is long, an index by session, so that the coming and going of 100,000 sessions at
/// one node is not quadratic.
pub(crate) struct Roster<T> {
    items: Vec<T>,
    seed: u64,
    /// Positions in `items`.
    index: Option<HashTable<u32>>,
}

impl<T: OfSession> Roster<T> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            items: Vec::new(),
            seed,
            index: None,
        }
    }

    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }

    pub(crate) fn position(&self, session: SessionRef) -> Option<usize> {
        let is_it = |at: &u32| self.items[*at as usize].session() == session;
        match &self.index {
            Some(index) => index.find(hash(self.seed, session), is_it).map(|at| *at as usize),
            None => self.items.iter().position(|item| item.session() == session),
        }
    }

    /// Adds an item, or puts it in the place of the one that its session has there. True if it was added.
    pub(crate) fn insert(&mut self, item: T) -> bool {
        if let Some(at) = self.position(item.session()) {
            self.items[at] = item;
            return false;
        }
        self.items.push(item);
        if self.index.is_some() {
            self.index_item(self.items.len() - 1);
        } else if self.items.len() >= INDEX_FROM {
            self.index = Some(HashTable::with_capacity(self.items.len() * 2));
            (0..self.items.len()).for_each(|at| self.index_item(at));
        }
        true
    }

    /// Removes the item at a position; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, at: usize) -> T {
        self.swap(at, self.items.len() - 1);
        self.unindex_item(self.items.len() - 1);
        let item = self.items.pop().expect("there is one at the position");
        self.shrink();
        item
    }

    pub(crate) fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        self.unindex_item(a);
        self.unindex_item(b);
        self.items.swap(a, b);
        self.index_item(a);
        self.index_item(b);
    }

    fn index_item(&mut self, at: usize) {
        let Self { items, seed, index } = self;
        if let Some(index) = index {
            let hash_at = |at: &u32| hash(*seed, items[*at as usize].session());
            index.insert_unique(hash_at(&(at as u32)), at as u32, hash_at);
        }
    }

    fn unindex_item(&mut self, at: usize) {
        if let Some(index) = &mut self.index {
            let hash = hash(self.seed, self.items[at].session());
            let entry = index.find_entry(hash, |a| *a as usize == at).ok();
            entry.expect("each item is in the index").remove();
        }
    }

    fn shrink(&mut self) {
        let Self { items, seed, index } = self;
        if items.capacity() > 8 && items.len() < items.capacity() / 4 {
            items.shrink_to(items.len() * 2);
        }
        if items.len() <= INDEX_FROM / 2 {
            *index = None;
        } else if let Some(index) = index
            && index.len() < index.capacity() / 4
        {
            index.shrink_to(index.len() * 2, |at| hash(*seed, items[*at as usize].session()));
        }
    }
}

/// One step of `SplitMix64`: a bijection, so two sessions never collide before the table cuts the hash.
fn hash(seed: u64, session: SessionRef) -> u64 {
    let x = session.key() ^ seed;
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_codec::Qos;

    fn entry(index: u32, qos: Qos) -> Subscription {
        Subscription {
            session: SessionRef {
                shard: 0,
                generation: 0,
                index,
            },
            options: qos.into(),
        }
    }

    #[test]
    fn long_and_short_alike() {
        let mut roster = Roster::new(3);
        for n in [1, 31, 32, 33, 1000] {
            for i in 0..n {
                assert!(roster.insert(entry(i, Qos::AtMostOnce)));
            }
            for i in 0..n {
                assert!(!roster.insert(entry(i, Qos::AtLeastOnce)));
            }
            assert!(roster.items().iter().all(|s| s.options.qos() == Qos::AtLeastOnce));
            for i in (0..n).rev().step_by(2).chain((0..n - 1).rev().step_by(2)) {
                let at = roster.position(entry(i, Qos::AtMostOnce).session).unwrap();
                assert_eq!(roster.swap_remove(at), entry(i, Qos::AtLeastOnce));
                assert_eq!(roster.position(entry(i, Qos::AtMostOnce).session), None);
            }
            assert!(roster.items().is_empty() && roster.index.is_none());
            assert!(roster.items.capacity() <= 8, "{}", roster.items.capacity());
        }
    }
}
