//! What all clients share.

use std::time::{Duration, Instant};

use martlet_robustness::Random;

use crate::ledger::Ledger;

/// What clients do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They are connected, finish what they began and acknowledge at once.
    Settle,
    /// Publishers publish, subscribers hesitate, come and go.
    Traffic,
}

/// The ledger, the dice, and where the broker is.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) ledger: Ledger,
    pub(crate) random: Random,
    pub(crate) phase: Phase,
    pub(crate) port: u16,
    pub(crate) now: Instant,
    /// Connections until now.
    pub(crate) connections: u32,
    /// Packets from the broker until now.
    pub(crate) packets: u64,
    /// Clients whose connection the broker closed, with what it said.
    pub(crate) closed: Vec<String>,
}

impl Scene {
    /// Whether something happens now that happens once in `n` turns.
    pub(crate) const fn one_in(&mut self, n: usize) -> bool {
        self.random.below(n) == 0
    }

    /// A moment in the next `ms` milliseconds.
    pub(crate) fn soon(&mut self, ms: usize) -> Instant {
        self.now + Duration::from_millis(self.random.below(ms + 1) as u64)
    }
}
