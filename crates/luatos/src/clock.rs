//! The time that scripts see: that of the system, or one that jumps.

use std::cell::Cell;
use std::time::Instant;

/// Milliseconds since the runtime began.
#[derive(Debug)]
pub(crate) enum Clock {
    /// As they pass.
    Real(Instant),
    /// As the machine says.
    Virtual(Cell<u64>),
}

impl Clock {
    pub(crate) fn new(is_virtual: bool) -> Self {
        if is_virtual {
            Self::Virtual(Cell::new(0))
        } else {
            Self::Real(Instant::now())
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::Real(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            Self::Virtual(now_ms) => now_ms.get(),
        }
    }

    /// Goes on to that time, if it is one that jumps.
    pub(crate) fn jump(&self, to_ms: u64) {
        if let Self::Virtual(now_ms) = self {
            now_ms.set(to_ms.max(now_ms.get()));
        }
    }
}
