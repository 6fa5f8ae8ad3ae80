//! What is to happen when: the virtual clock moves to the next entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::draws::Draws;
use crate::history::{ClientNo, ConnNo};

/// Something that is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// A client acts.
    Tick(ClientNo),
    /// A connection reaches its shard, for the first time or from another.
    Arrive(ConnNo),
    /// Bytes may have arrived at the broker.
    Up(ConnNo),
    /// Bytes may have arrived at the client.
    Down(ConnNo),
    /// The broker writes what it has for a connection.
    Flush(ConnNo),
    /// One shard's parcels reach another: `to`, `from`.
    Forward(u16, u16),
    /// A shard is told that there is room.
    Room(u16),
    /// The store goes on, for this shard.
    Store(u16),
    /// The disk store writes.
    Write,
    /// The disk store goes on with a sync.
    Sync,
    /// The disk store looks whether there is room again.
    LookForRoom,
    /// A shard is told that batches have ended.
    Stored(u16),
    /// The network cuts the connection that a client has.
    Cut(ClientNo),
    /// The store fails for a while, or works again.
    StoreFails(bool),
    /// The disk has no room for a while, or has again.
    DiskFull(bool),
    /// The process crashes, as it does now and then.
    Crash,
    /// It crashes once more.
    CrashOnce,
    /// The process starts again.
    Start,
}

/// The entries, soonest first; those of the same time in an order that the seed decides.
#[derive(Debug)]
pub(crate) struct Agenda<T: Ord = Task> {
    heap: BinaryHeap<Reverse<(u64, u64, T)>>,
    draws: Draws,
}

impl<T: Ord + Copy> Agenda<T> {
    pub(crate) fn new(draws: Draws) -> Self {
        Self {
            heap: BinaryHeap::new(),
            draws,
        }
    }

    pub(crate) fn add(&mut self, at_ms: u64, task: T) {
        self.heap.push(Reverse((at_ms, self.draws.next(), task)));
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ms, _, _))| *at_ms)
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|Reverse((at_ms, _, task))| (at_ms, task))
    }

    /// Drops what does not count any more.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(T) -> bool) {
        self.heap.retain(|Reverse((_, _, task))| keep(*task));
    }
}
