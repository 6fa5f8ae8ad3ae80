//! Limits of one session, each with its unit and what happens at it.

/// Limits of a session; `usize::MAX` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Unsent bytes in a connection's output. At it: messages of QoS 0 are dropped, others stay in the queue.
    pub output_bytes_max: usize,
    /// Bytes of unacknowledged messages towards a client; one always passes. At it: others wait in the queue.
    pub inflight_bytes_max: usize,
    /// Bytes of stored messages of one queue that are in memory. Above it: they wait in the store and are loaded when
    /// their turn comes.
    pub window_bytes: usize,
    /// What waits for a session of expiry 0. At it: the newest is dropped (`drop_new`).
    pub queue: QueueLimits,
    /// What waits for a session that outlives its connection. At it: the newest is dropped (`drop_new`).
    pub stored_queue: QueueLimits,
    /// Whether messages of QoS 0 are queued for a client that is away.
    pub queue_qos0: bool,
    /// Whether a message is sent at the QoS of the subscription although it was published at a lower one.
    pub upgrade_qos: bool,
    /// Payloads from this size on are shared between recipients instead of copied into each output.
    pub share_payload_bytes_min: usize,
}

/// Limits of one queue; at them the newest is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages, at most.
    pub messages_max: usize,
    /// Bytes, at most.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_bytes_max: 16 << 20,
            inflight_bytes_max: usize::MAX,
            window_bytes: 1 << 20,
            // "Nothing acknowledged is lost" and a count contradict each other: a window of a publisher that is larger
            // would be lost to a subscriber that only reads a little slower. So bytes are the limit.
            queue: QUEUE,
            stored_queue: QUEUE,
            queue_qos0: false,
            upgrade_qos: false,
            share_payload_bytes_min: 8 << 10,
        }
    }
}

const QUEUE: QueueLimits = QueueLimits {
    messages_max: usize::MAX,
    bytes_max: 64 << 20,
};
