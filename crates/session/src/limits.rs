//! Limits of one session, each with its unit and what happens at it.

/// Limits of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Unsent bytes in a connection's output. At it: messages of QoS 0 are dropped, others stay in the queue.
    pub output_bytes_max: usize,
    /// Messages that wait in the queue of a session of expiry 0. At it: the newest is dropped (`drop_new`).
    pub queued_messages_max: usize,
    /// Bytes that wait in the queue of a session. At it: the newest is dropped (`drop_new`).
    pub queued_bytes_max: usize,
    /// Whether messages of QoS 0 are queued for a client that is away.
    pub queue_qos0: bool,
    /// Payloads from this size on are shared between recipients instead of copied into each output.
    pub share_payload_bytes_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_bytes_max: 16 << 20,
            queued_messages_max: 1_000,
            queued_bytes_max: 64 << 20,
            queue_qos0: false,
            share_payload_bytes_min: 8 << 10,
        }
    }
}
