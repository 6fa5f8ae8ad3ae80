//! Whether a cached route still holds, without asking the router.

use std::sync::atomic::{AtomicU64, Ordering};

use martlet_codec::{Filter, Topic};

use super::tree::LevelHashing;

/// Counters of the changes to the router, by the first two levels of the filter that changed: those who
/// subscribe to their own `device/{id}/command` do not empty the caches of each other.
///
/// A route is valid as long as none of the three counters has moved that a filter that matches its topic
/// would move: that of its first two levels, that of its first, and that of filters that start
/// with a wildcard. Topics share counters by chance; that costs a look-up and nothing else.
pub struct Generations {
    hashing: LevelHashing,
    /// For filters that start with a wildcard.
    wild: AtomicU64,
    striped: Box<[AtomicU64]>,
}

/// 32 KiB: more would be cold, fewer would collide.
const STRIPES: usize = 4096;

/// The generation of a route: its counters, and their sum when it was made. They only rise, so the same sum
/// means the same counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    one_level: u16,
    two_levels: u16,
    sum: u64,
}

impl Generations {
    pub(crate) fn new(hashing: LevelHashing) -> Self {
        Self {
            hashing,
            wild: AtomicU64::new(0),
            striped: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether nothing has changed since that could concern a route of this stamp.
    pub(crate) fn is_current(&self, stamp: &Stamp) -> bool {
        self.sum(stamp.one_level, stamp.two_levels) == stamp.sum
    }

    /// Called while nothing can change.
    pub(crate) fn stamp(&self, topic: Topic<'_>) -> Stamp {
        let mut levels = topic.levels();
        let first = levels.next().unwrap_or_default();
        let one_level = self.one_level(first);
        let two_levels = self.two_levels(first, levels.next());
        Stamp {
            one_level,
            two_levels,
            sum: self.sum(one_level, two_levels),
        }
    }

    /// The subscribers of `filter` have changed.
    pub(crate) fn bump(&self, filter: Filter<'_>) {
        let mut levels = filter.levels();
        let counter = match (levels.next().unwrap_or_default(), levels.next()) {
            ("+" | "#", _) => &self.wild,
            (first, Some("+" | "#")) => &self.striped[usize::from(self.one_level(first))],
            (first, second) => &self.striped[usize::from(self.two_levels(first, second))],
        };
        counter.fetch_add(1, Ordering::Release);
    }

    fn sum(&self, one_level: u16, two_levels: u16) -> u64 {
        let wild = self.wild.load(Ordering::Acquire);
        let one_level = self.striped[usize::from(one_level)].load(Ordering::Acquire);
        let two_levels = self.striped[usize::from(two_levels)].load(Ordering::Acquire);
        wild.wrapping_add(one_level).wrapping_add(two_levels)
    }

    fn one_level(&self, first: &str) -> u16 {
        (self.hashing.key(first).hash() % STRIPES as u64) as u16
    }

    fn two_levels(&self, first: &str, second: Option<&str>) -> u16 {
        let second = second.map_or(0, |second| self.hashing.key(second).hash());
        (self.hashing.join(self.hashing.key(first).hash(), second) % STRIPES as u64) as u16
    }
}
