//! When to connect, and to which server: the reconnect policy in virtual time.

use std::time::Duration;

use crate::policy::{Growth, Jitter, Reconnect, Wait};

/// Attempts to connect, from the first on.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: Reconnect,
    /// Whether failures before the first connection are followed by another attempt.
    retries_first: bool,
    random: u64,
    /// How many servers there are, at least 1.
    servers: usize,
    /// The one that is tried or in use.
    server: usize,
    /// Servers that were tried since one was up or a wait began.
    tried: usize,
    /// Attempts in a row that failed or did not last.
    failures: u32,
    was_up: bool,
    up_since_ms: Option<u64>,
    /// When the next attempt begins.
    next_ms: Option<u64>,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt at that time.
    At(u64),
    /// None.
    Close,
}

impl Attempts {
    pub(super) fn new(policy: Reconnect, servers: usize, seed: u64) -> Self {
        Self {
            policy,
            retries_first: true,
            random: seed,
            servers: servers.max(1),
            server: 0,
            tried: 0,
            failures: 0,
            was_up: false,
            up_since_ms: None,
            next_ms: None,
        }
    }

    /// The first attempt begins now.
    pub(super) fn start(&mut self, now_ms: u64, retries_first: bool) {
        self.retries_first = retries_first;
        self.next_ms = Some(now_ms);
    }

    /// The server that is tried or in use.
    pub(super) const fn server(&self) -> usize {
        self.server
    }

    /// When the next attempt begins; none: there is one under way, or there is none.
    pub(super) const fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    /// An attempt is under way.
    pub(super) fn begun(&mut self) {
        self.next_ms = None;
    }

    /// The server has agreed.
    pub(super) fn up(&mut self, now_ms: u64) {
        self.was_up = true;
        self.tried = 0;
        self.up_since_ms = Some(now_ms);
        self.next_ms = None;
    }

    /// The same server is asked again at once, in another version.
    pub(super) fn again(&mut self, now_ms: u64) {
        self.next_ms = Some(now_ms);
    }

    /// The attempt failed or the connection was lost; `may_pass`: the same may go well later.
    pub(super) fn failed(&mut self, now_ms: u64, may_pass: bool) -> Next {
        let next = self.after_failure(now_ms, may_pass);
        self.next_ms = match next {
            Next::At(at_ms) => Some(at_ms),
            Next::Close => None,
        };
        next
    }

    fn after_failure(&mut self, now_ms: u64, may_pass: bool) -> Next {
        if let Some(since_ms) = self.up_since_ms.take() {
            if self.has_lasted(now_ms.saturating_sub(since_ms)) {
                self.failures = 0;
            }
        } else {
            // The next server of the list, without a wait until all were tried.
            self.server = (self.server + 1) % self.servers;
            self.tried += 1;
            if self.tried < self.servers {
                return Next::At(now_ms);
            }
            self.tried = 0;
        }
        let Reconnect::After(wait) = self.policy else {
            return Next::Close;
        };
        let gives_up = wait.attempts_max.is_some_and(|max| self.failures >= max);
        if !may_pass || gives_up || (!self.was_up && !self.retries_first) {
            return Next::Close;
        }
        let wait_ms = self.wait_ms(wait);
        self.failures = self.failures.saturating_add(1);
        Next::At(now_ms + wait_ms)
    }

    fn has_lasted(&self, up_ms: u64) -> bool {
        match self.policy {
            Reconnect::Never => true,
            Reconnect::After(wait) => up_ms >= ms(wait.reset_after),
        }
    }

    fn wait_ms(&mut self, wait: Wait) -> u64 {
        let first_ms = ms(wait.first);
        let grown_ms = match wait.growth {
            Growth::Fixed => first_ms,
            Growth::Doubled => first_ms.saturating_mul(1 << self.failures.min(20)),
        };
        let most_ms = grown_ms.min(ms(wait.max).max(first_ms));
        match wait.jitter {
            Jitter::None => most_ms,
            Jitter::Full => self.below(most_ms + 1),
            Jitter::Percent(percent) => {
                let part_ms = most_ms / 100 * u64::from(percent.min(100))
                    + most_ms % 100 * u64::from(percent.min(100)) / 100;
                most_ms - part_ms + self.below(2 * part_ms + 1)
            }
        }
    }

    /// A number from 0 to `end` - 1 (splitmix64; the tiny bias of the remainder does no harm here).
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// Whole milliseconds, a century at most so that sums of times never overflow.
pub(super) fn ms(duration: Duration) -> u64 {
    const CENTURY_MS: u64 = 100 * 366 * 86_400_000;
    u64::try_from(duration.as_millis())
        .unwrap_or(CENTURY_MS)
        .min(CENTURY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    /// The waits of attempts that all fail.
    fn waits(policy: Reconnect, seed: u64, count: usize) -> Vec<u64> {
        let mut attempts = Attempts::new(policy, 1, seed);
        attempts.start(0, true);
        let wait = |_| match attempts.failed(5, true) {
            Next::At(at_ms) => at_ms - 5,
            Next::Close => panic!("it gives up"),
        };
        (0..count).map(wait).collect()
    }

    #[test]
    fn waits_double_or_stay() {
        assert_eq!(
            waits(Reconnect::doubled(SECOND, MINUTE), 1, 8),
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(waits(Reconnect::fixed(SECOND), 1, 3), [1_000; 3]);
        let long = waits(Reconnect::doubled(SECOND, Duration::MAX), 1, 100);
        assert_eq!(long[99], 1_000 << 20);
    }

    #[test]
    fn full_jitter_takes_any_part_and_comes_from_the_seed() {
        let policy = Reconnect::full_jitter(SECOND, MINUTE);
        assert_eq!(waits(policy, 1, 50), waits(policy, 1, 50));
        assert_ne!(waits(policy, 1, 50), waits(policy, 2, 50));
        let late: Vec<u64> = (0..200).map(|seed| waits(policy, seed, 10)[9]).collect();
        assert!(late.iter().all(|wait| *wait <= 60_000));
        let below = late.iter().filter(|wait| **wait < 30_000).count();
        assert!((60..140).contains(&below), "{below} of 200 in the lower half");
    }

    #[test]
    fn a_part_more_or_less() {
        let policy = Reconnect::After(Wait {
            first: SECOND,
            max: MINUTE,
            growth: Growth::Doubled,
            jitter: Jitter::Percent(20),
            reset_after: SECOND,
            attempts_max: None,
        });
        let first: Vec<u64> = (0..200).map(|seed| waits(policy, seed, 1)[0]).collect();
        assert!(first.iter().all(|wait| (800..=1_200).contains(wait)));
        assert!(first.iter().any(|wait| *wait < 900) && first.iter().any(|wait| *wait > 1_100));
    }

    #[test]
    fn the_wait_begins_anew_only_after_a_connection_that_lasted() {
        let policy = Reconnect::doubled(SECOND, MINUTE);
        let mut attempts = Attempts::new(policy, 1, 1);
        attempts.start(0, true);
        assert_eq!(attempts.failed(0, true), Next::At(1_000));
        assert_eq!(attempts.failed(1_000, true), Next::At(3_000));
        attempts.up(3_000);
        assert_eq!(attempts.failed(22_999, true), Next::At(26_999));
        attempts.up(26_999);
        assert_eq!(attempts.failed(46_999, true), Next::At(47_999));
    }

    #[test]
    fn all_servers_are_tried_before_a_wait() {
        let mut attempts = Attempts::new(Reconnect::fixed(SECOND), 3, 1);
        attempts.start(0, true);
        let mut servers = Vec::new();
        for expected in [7, 7, 1_007] {
            servers.push(attempts.server());
            assert_eq!(attempts.failed(7, true), Next::At(expected));
        }
        assert_eq!(servers, [0, 1, 2]);
        // One that was up is tried first when it is lost.
        assert_eq!(attempts.failed(1_007, true), Next::At(1_007));
        attempts.up(1_100);
        assert_eq!(attempts.failed(1_200, true), Next::At(2_200));
        assert_eq!(attempts.server(), 1);
    }

    #[test]
    fn when_there_is_no_other_attempt() {
        let fixed = Reconnect::fixed(SECOND);
        let mut never = Attempts::new(Reconnect::Never, 1, 1);
        assert_eq!(never.failed(0, true), Next::Close);
        let mut for_good = Attempts::new(fixed, 1, 1);
        assert_eq!(for_good.failed(0, false), Next::Close);
        let mut first = Attempts::new(fixed, 1, 1);
        first.start(0, false);
        assert_eq!(first.failed(0, true), Next::Close);
        let mut later = Attempts::new(fixed, 1, 1);
        later.start(0, false);
        later.up(0);
        assert_eq!(later.failed(0, true), Next::At(1_000));
        let mut twice = Attempts::new(fixed.attempts_max(2), 1, 1);
        assert_eq!(twice.failed(0, true), Next::At(1_000));
        assert_eq!(twice.failed(1_000, true), Next::At(2_000));
        assert_eq!(twice.failed(2_000, true), Next::Close);
        assert_eq!(twice.next_ms(), None);
    }
}
