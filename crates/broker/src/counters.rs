//! What a shard counts. Each shard writes its own; `$SYS` and metrics add them up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::reason::{Loses, Reason};

macro_rules! counters {
    ($( $(#[$doc:meta])* $name:ident; )*) => {
        /// The counters of one shard. One thread writes, others read; no two shards write to one cache line.
        #[derive(Debug)]
        #[repr(align(128))]
        pub struct Counters { $( $(#[$doc])* pub $name: Counter, )* reasons: Vec<Counter> }

        impl Default for Counters {
            fn default() -> Self {
                Self { $( $name: Counter::default(), )* reasons: Reason::ALL.iter().map(|_| Counter::default()).collect() }
            }
        }

        /// The counters of all shards, added up.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Totals { $( $(#[$doc])* pub $name: u64, )* /** Messages that were dropped on their way to sessions. */ pub dropped: u64, /** Messages that were not taken. */ pub refused: u64, /** Those of them that the store could not take. */ pub refused_by_store: u64 }

        impl Totals {
            /// Adds up.
            pub fn of<'a>(shards: impl IntoIterator<Item = &'a Counters>) -> Self {
                let mut totals = Self::default();
                for shard in shards {
                    $( totals.$name = totals.$name.wrapping_add(shard.$name.get()); )*
                    totals.dropped += shard.lost(Loses::Copy);
                    totals.refused += shard.lost(Loses::Message);
                    totals.refused_by_store += shard.of(Reason::StoreFailed);
                }
                totals
            }
        }
    };
}

counters! {
    /// Packets that came.
    packets_received;
    /// Packets that were answered or sent.
    packets_sent;
    /// Bytes that came.
    bytes_received;
    /// Bytes that were written.
    bytes_sent;
    /// PUBLISH packets that came.
    publish_received;
    /// PUBLISH packets that were sent.
    publish_sent;
    /// Payload bytes of PUBLISH packets that came.
    publish_bytes_received;
    /// Payload bytes of PUBLISH packets that were sent.
    publish_bytes_sent;
    /// Connections that were opened.
    sockets_opened;
    /// Connections that are open.
    sockets;
    /// CONNECT packets that were accepted or refused.
    connects;
    /// Sessions, connected or not.
    sessions;
    /// Sessions that are connected.
    sessions_connected;
    /// Sessions that expired.
    sessions_expired;
    /// Messages in queues.
    queued;
    /// Bytes in queues.
    queued_bytes;
    /// Those of them that wait for sessions that are not stored.
    queued_memory_bytes;
}

/// A number that one thread writes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to it. Only the shard that owns it may.
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes from it.
    pub fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }
}

impl Counters {
    /// Counts a reason.
    pub fn count(&self, reason: Reason, n: u64) {
        self.reasons[reason as usize].add(n);
    }

    /// How often a reason was counted.
    pub fn of(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize].get()
    }

    /// How often something was lost that way.
    pub fn lost(&self, what: Loses) -> u64 {
        let by = Reason::ALL.iter().filter(|reason| reason.loses() == what);
        by.map(|reason| self.of(*reason)).sum()
    }
}
