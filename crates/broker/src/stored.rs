//! Which sessions are stored, and under which numbers: read by the shard that publishes, whoever owns the session.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::router::SessionRef;

/// Places on the first shelf; each next one has twice as many.
const FIRST: usize = 1_024;

/// Together they have a place for each index that a session can have.
const SHELVES: usize = 23;

/// Numbers take this many bits; the generation of the session is above them.
const NUMBER_BITS: u32 = 48;

/// The numbers of stored sessions. Written by the shard that owns the session, before its name is in a route and
/// after it has left.
pub(crate) struct StoredNumbers(Box<[Shelves]>);

type Shelves = [OnceLock<Box<[AtomicU64]>>; SHELVES];

impl StoredNumbers {
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Shelves::default()).collect())
    }

    /// The number that a session is stored under; 0: it is not.
    #[inline]
    pub(crate) fn get(&self, name: SessionRef) -> u64 {
        let (shelf, at) = place(name.index);
        let Some(shelf) = self.0[usize::from(name.shard)][shelf].get() else {
            return 0;
        };
        let kept = shelf[at].load(Ordering::Acquire);
        if kept >> NUMBER_BITS == u64::from(name.generation) {
            kept & ((1 << NUMBER_BITS) - 1)
        } else {
            0
        }
    }

    /// Says under which number a session is stored; 0: it is not any more.
    pub(crate) fn set(&self, name: SessionRef, number: u64) {
        debug_assert!(number < 1 << NUMBER_BITS, "a number has {NUMBER_BITS} bits");
        let (index, at) = place(name.index);
        let places = || (0..FIRST << index).map(|_| AtomicU64::new(0)).collect();
        let shelf = self.0[usize::from(name.shard)][index].get_or_init(places);
        shelf[at].store(
            u64::from(name.generation) << NUMBER_BITS | number,
            Ordering::Release,
        );
    }
}

/// The shelf of an index, and the place on it.
fn place(index: u32) -> (usize, usize) {
    let from_first = index as usize + FIRST;
    let shelf = from_first.ilog2() - FIRST.ilog2();
    (shelf as usize, from_first - (FIRST << shelf))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(index: u32, generation: u16) -> SessionRef {
        SessionRef {
            shard: 1,
            generation,
            index,
        }
    }

    #[test]
    fn each_index_has_a_place_of_its_own() {
        let numbers = StoredNumbers::new(2);
        let indices = [0, 1, 1_023, 1_024, 3_071, 3_072, 100_000, 1 << 20];
        assert!(indices.iter().all(|index| numbers.get(name(*index, 0)) == 0));
        for index in indices {
            numbers.set(name(index, 7), u64::from(index) + 1);
        }
        for index in indices {
            assert_eq!(numbers.get(name(index, 7)), u64::from(index) + 1);
            assert_eq!(numbers.get(name(index, 8)), 0, "another session had that index");
        }
        numbers.set(name(1_023, 7), 0);
        assert_eq!(numbers.get(name(1_023, 7)), 0);
        assert_eq!(place(u32::MAX).0, SHELVES - 1);
    }
}
