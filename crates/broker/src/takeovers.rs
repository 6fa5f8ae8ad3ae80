//! Two devices with one client identifier take the session from each other for ever, and neither is told.

/// How often a client identifier changed hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Takeovers {
    since_ms: u64,
    count: u32,
    told_ms: Option<u64>,
}

/// From when on take-overs are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlappingLimits {
    /// Take-overs in one window. At it: one line in the log, and at most one a window.
    pub takeovers: u32,
    /// The length of the window.
    pub window_ms: u64,
}

impl Default for FlappingLimits {
    fn default() -> Self {
        Self {
            takeovers: 12,
            window_ms: 60_000,
        }
    }
}

impl Takeovers {
    /// None yet.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            count: 0,
            told_ms: None,
        }
    }

    /// One more; how many there were in this window if that is to be told now.
    pub(crate) fn count(&mut self, now_ms: u64, limits: FlappingLimits) -> Option<u32> {
        if now_ms - self.since_ms >= limits.window_ms {
            self.since_ms = now_ms;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        let is_told = self.told_ms.is_some_and(|at| now_ms - at < limits.window_ms);
        if is_told || self.count < limits.takeovers {
            return None;
        }
        self.told_ms = Some(now_ms);
        Some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FlappingLimits = FlappingLimits {
        takeovers: 3,
        window_ms: 1_000,
    };

    fn told(at_ms: &[u64]) -> Vec<(u64, u32)> {
        let mut takeovers = Takeovers::new(at_ms[0]);
        let count = |at: &u64| takeovers.count(*at, LIMITS).map(|n| (*at, n));
        at_ms.iter().filter_map(count).collect()
    }

    #[test]
    fn many_in_a_window_are_told_once_a_window() {
        assert_eq!(told(&[0, 1, 2, 3, 4]), [(2, 3)]);
        assert_eq!(told(&[0, 1, 990, 1_000, 1_001, 1_002, 1_003]), [(990, 3)]);
        assert_eq!(
            told(&[0, 1, 990, 1_000, 1_001, 1_990, 1_991]),
            [(990, 3), (1_990, 3)]
        );
    }

    #[test]
    fn few_are_nobodys_fault() {
        assert_eq!(told(&[0, 600, 1_200, 1_800, 2_400, 3_000]), []);
    }
}
