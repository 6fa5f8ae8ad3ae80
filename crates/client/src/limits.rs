//! Every number that bounds a client: its unit, its default, and what happens at it.

use std::time::Duration;

/// Keep alive in seconds.
pub const KEEP_ALIVE_S_DEFAULT: u16 = 60;

/// How long one attempt to connect may take. At it: `ConnectError::Timeout`.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Messages of QoS 1 and 2 under way to the server. At it: the next wait in the outbox.
pub const INFLIGHT_MAX_DEFAULT: u16 = 20;

/// Accepted messages whose end is not known yet. At it: `publish` waits, `try_publish` says `Full`.
/// It stays below 65,535 with room for SUBSCRIBE and UNSUBSCRIBE, so that identifiers never run out.
pub const OUTBOX_MESSAGES_MAX_DEFAULT: usize = 1_000;

/// The ceiling of the number of messages in the outbox, whatever the options say.
pub const OUTBOX_MESSAGES_CEILING: usize = 60_000;

/// Bytes of accepted messages whose end is not known yet; one message always fits an empty outbox.
pub const OUTBOX_BYTES_MAX_DEFAULT: usize = 64 << 20;

/// Received messages that the application has not taken. At it: the socket is not read, unless
/// the application waits for an answer of the server.
pub const INBOX_MESSAGES_MAX_DEFAULT: usize = 1_000;

/// Bytes of received messages that the application has not taken.
pub const INBOX_BYTES_MAX_DEFAULT: usize = 64 << 20;

/// How far the inbox may grow above its limits while the application waits for an answer of the
/// server, as a factor. At it: messages of QoS 0 are dropped and counted.
pub const INBOX_STRETCH: usize = 4;

/// SUBSCRIBE and UNSUBSCRIBE that wait for their answer. At it: `Rejected::TooManyRequests`.
pub const REQUESTS_MAX: usize = 1_000;

/// Events that a slow reader of [`Client::events`](crate::Client::events) may lag behind. At it:
/// `Event::Missed`.
pub const EVENTS_MAX: usize = 256;

/// How often dropped messages are told at most, in milliseconds. In between they are counted.
pub const DROPS_TOLD_EVERY_MS: u64 = 1_000;

/// Servers of one client. Above it: `OptionsError::TooManyServers`.
pub const SERVERS_MAX: usize = 100;

/// How long received messages wait for a stream that wants them. At it: they are acknowledged and
/// dropped, `Event::Unclaimed`.
pub const UNCLAIMED_FOR_DEFAULT: Duration = Duration::from_secs(30);

/// Messages of QoS 0 that wait for a stream that wants them. At it: the oldest is dropped.
pub const UNCLAIMED_QOS0_MAX: usize = 1_000;

/// Requests that wait for their response. At it: `Rejected::TooManyRequests`.
pub const RESPONSES_MAX: usize = 1_000;

/// One field of MQTT.
pub const FIELD_BYTES_MAX: usize = 65_535;

/// Bytes of one read from the socket.
pub const READ_BYTES: usize = 16 << 10;

/// Reads in a row before the connection looks at what there is to write.
pub const READS_PER_TURN: usize = 4;

/// How long a server may take nothing of what is left to write in front of our DISCONNECT, in
/// milliseconds. At it: the client is closed.
pub const LEAVE_TIMEOUT_MS: u64 = 5_000;

/// Of a store on the disk: what is appended at once, in bytes; a larger message alone.
pub const STORE_GROUP_BYTES: usize = 1 << 20;

/// Bytes of a store's file that are cleaned between two syncs.
pub const STORE_CLEAN_BYTES: u32 = 256 << 10;

/// How many bytes a store that waits for no sync appends until it syncs all the same, so that files that were cleaned can go.
pub const STORE_UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// How often a disk that was full is asked whether it has room. In between messages are refused.
pub const STORE_ASKS_EVERY: Duration = Duration::from_secs(1);

/// How long a store may gather before a sync. At it: it syncs.
pub const STORE_GATHER_MAX: Duration = Duration::from_secs(1);

/// The files of a store on the disk: 1 MiB each, and as much that is kept free for deaths on a full disk. What it holds is
/// bounded by the outbox and by what the server may have under way.
#[cfg(unix)]
pub(crate) fn store_journal() -> martlet_journal::Limits {
    // Who tests kills wants to see segments come and go.
    let segment_bytes = if cfg!(feature = "kill-points") {
        4 << 10
    } else {
        1 << 20
    };
    martlet_journal::Limits {
        segment_bytes,
        reserve_bytes: segment_bytes,
        ..martlet_journal::Limits::default()
    }
}

/// How long a server may take to close the connection behind our DISCONNECT. At it: we do.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
