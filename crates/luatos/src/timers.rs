//! The timers of `rtos`, by the number that the script gave each.

use std::collections::{BTreeMap, HashMap};

use crate::limits;

/// Timers that run.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// By when they are due, and in the order in which they were started.
    due: BTreeMap<(u64, u64), i64>,
    by_id: HashMap<i64, Timer>,
    started: u64,
}

#[derive(Debug)]
struct Timer {
    key: (u64, u64),
    period_ms: u64,
    /// How many times more; below 0 for ever.
    repeats: i64,
}

impl Timers {
    /// Starts a timer, again if it runs. `false`: there are too many.
    pub(crate) fn start(&mut self, now_ms: u64, id: i64, period_ms: u64, repeats: i64) -> bool {
        self.stop(id);
        if self.by_id.len() >= limits::TIMERS_MAX {
            return false;
        }
        self.insert(now_ms, id, period_ms, repeats);
        true
    }

    fn insert(&mut self, from_ms: u64, id: i64, period_ms: u64, repeats: i64) {
        self.started += 1;
        let key = (from_ms.saturating_add(period_ms), self.started);
        self.due.insert(key, id);
        self.by_id.insert(
            id,
            Timer {
                key,
                period_ms,
                repeats,
            },
        );
    }

    pub(crate) fn stop(&mut self, id: i64) {
        if let Some(timer) = self.by_id.remove(&id) {
            self.due.remove(&timer.key);
        }
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// The next timer that is due, and how many times more it will be.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<(i64, i64)> {
        let entry = self.due.first_entry()?;
        let (at_ms, _) = *entry.key();
        if at_ms > now_ms {
            return None;
        }
        let id = entry.remove();
        let timer = self.by_id.remove(&id)?;
        if timer.repeats != 0 {
            let repeats = (timer.repeats - 1).max(-1);
            // One that was late does not fire for each time that it missed.
            let from_ms = if at_ms + timer.period_ms < now_ms {
                now_ms
            } else {
                at_ms
            };
            self.insert(from_ms, id, timer.period_ms.max(1), repeats);
        }
        Some((id, timer.repeats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_repeat() {
        let mut timers = Timers::default();
        assert!(timers.start(0, 1, 20, 0));
        assert!(timers.start(0, 2, 10, -1));
        assert!(timers.start(0, 3, 10, 1));
        assert_eq!(timers.next_ms(), Some(10));
        assert_eq!(timers.pop(9), None);
        assert_eq!(timers.pop(10), Some((2, -1)));
        assert_eq!(timers.pop(10), Some((3, 1)));
        assert_eq!(timers.pop(10), None);
        let rest: Vec<_> = std::iter::from_fn(|| timers.pop(30)).collect();
        assert_eq!(rest, [(1, 0), (2, -1), (3, 0), (2, -1)]);
        timers.stop(2);
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn a_late_timer_fires_once_for_all_that_it_missed() {
        let mut timers = Timers::default();
        assert!(timers.start(0, 1, 10, -1));
        assert_eq!(timers.pop(1_000), Some((1, -1)));
        assert_eq!(timers.pop(1_000), None);
        assert_eq!(timers.next_ms(), Some(1_010));
    }
}
