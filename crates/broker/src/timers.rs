//! Deadlines of a shard: one heap, looked at when its first is due.
//!
//! A deadline that moves on is not moved here: the entry stays, and whoever it wakes says when to wake it
//! again. So a packet costs nothing, and a connection or session has one entry that counts ([`Armed`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::connection::ConnId;
use crate::router::SessionRef;

/// What a deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// CONNECT or keep alive of a connection.
    Connection(ConnId),
    /// Expiry or will of a session.
    Session(SessionRef),
    /// Retained messages that expire; the first shard only.
    Retained,
    /// `$SYS`; the first shard only.
    Sys,
    /// Subscriptions of sessions that have ended.
    Leaving,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    /// Orders entries of the same time by when they were made.
    next: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at_ms: u64,
    number: u64,
    timer: Timer,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Timers {
    pub(crate) fn add(&mut self, at_ms: u64, timer: Timer) {
        self.heap.push(Reverse(Entry {
            at_ms,
            number: self.next,
            timer,
        }));
        self.next += 1;
    }

    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at_ms)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops entries that `counts` does not know any more, with the times that they were entered for.
    pub(crate) fn retain(&mut self, counts: impl Fn(u64, Timer) -> bool) {
        self.heap
            .retain(|Reverse(entry)| counts(entry.at_ms, entry.timer));
    }

    /// The next timer that is due, with the time that it was entered for.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<(u64, Timer)> {
        if self.deadline_ms()? > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at_ms, entry.timer))
    }
}

/// The earliest entry that a connection or a session has among the timers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Armed(Option<u64>);

impl Armed {
    /// Sees to it that `timer` comes up at `at_ms` or before.
    pub(crate) fn arm(&mut self, at_ms: u64, timer: Timer, timers: &mut Timers) {
        if self.0.is_none_or(|armed_ms| at_ms < armed_ms) {
            self.0 = Some(at_ms);
            timers.add(at_ms, timer);
        }
    }

    /// Whether the entry for that time is the one that counts.
    pub(crate) fn is_at(&self, at_ms: u64) -> bool {
        self.0 == Some(at_ms)
    }

    /// An entry came up; whether it is the one that counts.
    pub(crate) fn came_up(&mut self, at_ms: u64) -> bool {
        let counts = self.is_at(at_ms);
        if counts {
            self.0 = None;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_in_order() {
        let mut timers = Timers::default();
        timers.add(20, Timer::Sys);
        timers.add(10, Timer::Retained);
        assert_eq!(timers.deadline_ms(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(30), Some((10, Timer::Retained)));
        assert_eq!(timers.pop_due(30), Some((20, Timer::Sys)));
        assert_eq!(timers.pop_due(30), None);
    }

    #[test]
    fn a_deadline_that_moves_on_makes_no_second_entry() {
        let (mut timers, mut armed) = (Timers::default(), Armed::default());
        for at_ms in [100, 200, 300, 50] {
            armed.arm(at_ms, Timer::Sys, &mut timers);
        }
        assert_eq!(timers.heap.len(), 2);
        assert!(armed.came_up(50));
        armed.arm(400, Timer::Sys, &mut timers);
        // The entry for 100 is left over and counts no more.
        assert!(!armed.came_up(100));
        assert!(armed.came_up(400));
    }
}
