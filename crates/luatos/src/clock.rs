//! The time that scripts see: that of the system, or one that jumps.

use std::cell::Cell;
use std::time::{Instant, SystemTime};

/// What a calendar says when a time that jumps begins, in milliseconds of Unix: the first moment of 2026, in UTC.
pub(crate) const VIRTUAL_BEGIN_MS: u64 = 1_767_225_600_000;

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

    /// What a calendar says, in milliseconds of Unix.
    pub(crate) fn wall_ms(&self) -> u64 {
        match self {
            Self::Real(_) => {
                let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
            }
            Self::Virtual(now_ms) => VIRTUAL_BEGIN_MS.saturating_add(now_ms.get()),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(_))
    }

    /// Goes on to that time, if it is one that jumps.
    pub(crate) fn jump(&self, to_ms: u64) {
        if let Self::Virtual(now_ms) = self {
            now_ms.set(to_ms.max(now_ms.get()));
        }
    }
}
