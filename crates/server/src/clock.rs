//! The clocks: the shards' own, and that of the system.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use martlet_session::Now;

/// The clock of the process: monotonic from its start, and the wall clock that goes with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_wall_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            start_wall_ms: system_ms(),
        }
    }

    /// The same clock, whose wall time is that of a store.
    pub(crate) fn with_wall(self, wall_ms: u64) -> Self {
        Self {
            start_wall_ms: wall_ms.saturating_sub(self.now().mono_ms),
            ..self
        }
    }

    pub(crate) fn now(&self) -> Now {
        let mono_ms = self.start.elapsed().as_millis() as u64;
        Now {
            mono_ms,
            wall_ms: self.start_wall_ms + mono_ms,
        }
    }

    /// When it was, or will be, on this clock.
    pub(crate) fn mono_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_millis() as u64
    }

    pub(crate) fn instant(&self, mono_ms: u64) -> Instant {
        self.start + Duration::from_millis(mono_ms)
    }
}

/// What the clock of the system shows: it may be set at any time.
pub(crate) fn system_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    wall.as_millis() as u64
}
