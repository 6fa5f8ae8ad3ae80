//! What a seed decides.

use martlet_broker::Seed;

/// Numbers from a seed: the same seed gives the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Draws(Seed);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seed::new(seed))
    }

    /// Others, that do not depend on how many are drawn here later.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// From 0 to below `end`; 0 for an empty range.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in so many; never for 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
