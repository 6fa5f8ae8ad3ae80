//! Deadlines of a shard: one heap, looked at when its first is due.
//!
//! A deadline that moves on is not moved here: the entry stays, and whoever it wakes says when to wake it
//! again. So a packet costs nothing, and a connection has one entry.

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

    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.deadline_ms()? > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.timer)
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
        assert_eq!(timers.pop_due(30), Some(Timer::Retained));
        assert_eq!(timers.pop_due(30), Some(Timer::Sys));
        assert_eq!(timers.pop_due(30), None);
    }
}
