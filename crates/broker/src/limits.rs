//! The rules and limits of a broker, each with its unit and what happens at it.

use std::sync::atomic::AtomicU64;

use martlet_session::Policy;

use crate::router::Overlapping;
use crate::store::Durability;
use crate::takeovers::FlappingLimits;

/// A packet of at least that many bytes that arrives in parts is put together in a buffer of its own, whose payload
/// recipients share.
pub const OWN_BUFFER_BYTES_MIN: usize = 32 << 10;

/// What holds for all sessions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of decoding. At them: the packet is refused and the connection closed.
    pub decode: martlet_codec::Limits,
    /// Limits of each session.
    pub session: martlet_session::limits::Limits,
    /// What a session gets whose filters overlap.
    pub overlapping: Overlapping,
    /// The largest payload. Above it: PUBACK or PUBREC 0x83; dropped where that cannot be said.
    pub payload_bytes_max: Option<u32>,
    /// Whether a payload that says that it is UTF-8 must be. If not: 0x99.
    pub payload_format_check: bool,
    /// Bytes in all queues. At it: publishers of QoS 1 and 2 are refused with 0x97, in version 3 closed.
    pub queued_bytes_total_max: u64,
    /// Bytes in the queues of sessions that are not stored. At it: the same.
    pub queued_memory_bytes_max: u64,
    /// Bytes of stored messages of all queues that are in memory. Above it: they wait in the store alone.
    pub window_bytes_total_max: usize,
    /// What must be survived before an identifier of QoS 2 is used.
    pub durability: Durability,
    /// How long the will of a client waits at least that was connected when the broker was killed, in milliseconds.
    pub will_grace_ms: u64,
    /// Sessions, connected or not. At it: CONNACK 0x97, 3 in version 3.
    pub sessions_max: u64,
    /// Subscriptions of one session. At it: SUBACK 0x97.
    pub subscriptions_max: usize,
    /// Retained messages. At it: a new topic is refused with 0x97.
    pub retained_messages_max: usize,
    /// Bytes of retained messages. At it: what would add to them is refused with 0x97.
    pub retained_bytes_max: u64,
    /// The longest life of a retained message in milliseconds.
    pub retain_expiry_ms_max: Option<u64>,
    /// From the start of a connection to its complete CONNECT; at it: closed. Then until its login is checked; at it:
    /// CONNACK 0x89, 3 in version 3.
    pub connect_timeout_ms: u64,
    /// Bytes behind CONNECT that wait for CONNACK. At it: closed.
    pub early_bytes_max: usize,
    /// Topics whose route a shard remembers. At it: all are forgotten.
    pub routes_max: usize,
    /// Between two looks at `$SYS`; none: there is no `$SYS`.
    pub sys_interval_ms: Option<u64>,
    /// When clients that take a session from each other are told in the log.
    pub flapping: FlappingLimits,
    /// How the broker names itself in `$SYS/broker/version`.
    pub version: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            decode: martlet_codec::Limits::default(),
            session: martlet_session::limits::Limits::default(),
            overlapping: Overlapping::Once,
            payload_bytes_max: None,
            payload_format_check: false,
            queued_bytes_total_max: 1 << 30,
            queued_memory_bytes_max: 1 << 30,
            window_bytes_total_max: 256 << 20,
            durability: Durability::Fsync,
            will_grace_ms: 10_000,
            sessions_max: 1_000_000,
            subscriptions_max: 1_000_000,
            retained_messages_max: 10_000_000,
            retained_bytes_max: 4 << 30,
            retain_expiry_ms_max: None,
            connect_timeout_ms: 10_000,
            early_bytes_max: 16 << 10,
            routes_max: 65_536,
            sys_interval_ms: Some(10_000),
            flapping: FlappingLimits::default(),
            version: concat!("martlet version ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What holds for the clients of one listener, and how many there are.
#[derive(Debug)]
pub struct ListenerRules {
    /// What is allowed and announced.
    pub policy: Policy,
    /// Whether clients may come without a user.
    pub allow_anonymous: bool,
    /// Whether there are users, so that whoever names one is checked. If not, a name says nothing.
    pub has_users: bool,
    /// The user name is what the certificate says, whatever CONNECT says; who shows none is refused.
    pub user_from_certificate: bool,
    /// What a message must survive before it is acknowledged.
    pub durability: Durability,
    /// How assigned client identifiers begin.
    pub auto_id_prefix: String,
    /// Connections at a time. Above it: CONNACK 0x97, 3 in version 3.
    pub connections_max: Option<u64>,
    /// Connections that are open.
    pub connections: AtomicU64,
}

impl Default for ListenerRules {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            allow_anonymous: true,
            has_users: false,
            user_from_certificate: false,
            durability: Durability::Fsync,
            auto_id_prefix: "auto-".to_owned(),
            connections_max: None,
            connections: AtomicU64::new(0),
        }
    }
}
