//! What the server itself bounds, beyond what a directive sets.
//!
//! The limits that an operator can choose stand in the table of directives
//! ([`crate::config::DIRECTIVES`]) with their defaults and ranges. Here are the fixed ones.

/// Bytes of one configuration file. A larger one is refused unread (F011): it is not a configuration.
pub const CONFIG_FILE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one line of a configuration file. A longer one is an error (F014) and is not looked into.
pub const CONFIG_LINE_BYTES_MAX: usize = 8 * 1024;

/// Files that `include_dir` brings in, over all directories. One more is an error (F015).
pub const CONFIG_FILES_MAX: usize = 256;

/// Findings that are kept of one configuration. The rest is only counted.
pub const CONFIG_FINDINGS_MAX: usize = 50;

/// Listeners of one broker. One more is an error (F016).
pub const LISTENERS_MAX: usize = 256;

/// Columns of a source line that an error shows. A longer line is cut around the mark.
pub const SHOWN_COLUMNS_MAX: usize = 100;

/// Characters of a word of the user's that an error repeats. A longer one is cut.
pub const QUOTED_CHARS_MAX: usize = 60;

/// Processes that are looked at to name the holder of a port. Beyond, the holder stays unnamed.
pub const PROCESSES_SEARCHED_MAX: usize = 65_536;

/// Bytes of names and passwords that wait to be checked; one login always passes. At it: a login is refused with 0x89, 3
/// in version 3. Their count is the directive `max_waiting_logins`.
pub const LOGINS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Threads that check logins, if nobody says: as many as there are cores, not more than this. Each may take 46 MiB
/// and more while it does.
pub const LOGIN_THREADS_DEFAULT_MAX: usize = 4;

/// Messages that wait for one shard. At it: QoS 0 is dropped, publishers of QoS 1 and 2 are not read.
pub const INBOX_MESSAGES_MAX: usize = 8_192;

/// Bytes of the payloads of messages that wait for one shard; one always passes. At it: as above.
pub const INBOX_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that one connection is read in one turn. More waits for the next.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the start of a packet that are put before what is read next. A longer start belongs to a large packet,
/// which is put together in a buffer of its own.
pub const KEPT_BYTES_MAX: usize = martlet_broker::limits::OWN_BUFFER_BYTES_MIN;

/// Connections that are written in one slice, before sockets are polled again.
pub const FLUSH_SLICE: usize = 16;

/// Connections that wait to be written. Above it: nothing is read until they are fewer.
pub const FLUSH_BACKLOG_MAX: usize = 8 * FLUSH_SLICE;

/// Bytes that were read and, as messages, wait to be written. Above it: nothing is read until some are written. Less
/// costs more: 256 KiB a tenth more at 4 KiB a message, 60 KiB a sixth.
pub const FLUSH_BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that one connection is written in one turn. More waits for the next.
pub const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Milliseconds in which a client that is closed may read what is left for it. Then it is cut.
pub const LINGER_MS: u64 = 1_000;

/// Milliseconds in which clients are told that the broker stops. Then it exits.
pub const STOP_MS: u64 = 3_000;

/// Handshakes of TLS and WebSocket that run at a time. At it: who needs one waits to be accepted, and the log says so.
/// Each takes up to about 40 KiB.
pub const HANDSHAKES_MAX: usize = 4_096;

/// Files that are kept open beside connections.
pub const FILES_RESERVED: u64 = 100;

/// Connections below which the log warns of the limit of open files.
pub const CONNECTIONS_FEW: u64 = 1_000;

/// Milliseconds between two lines about messages that one client lost for one reason. What comes between is counted
/// and told in the next.
pub const DROP_LINE_INTERVAL_MS: u64 = 1_000;

/// Clients that have such lines of their own, for each shard and reason. What more of them lose is told in one line.
pub const DROP_CLIENTS_TOLD_MAX: usize = 16;

/// Clients that are counted for that line. Beyond, it says "or more".
pub const DROP_CLIENTS_COUNTED_MAX: usize = 4_096;

/// Lines that wait to be written to the log. One more is lost, and counted in the next that fits.
pub const LOG_LINES_MAX: usize = 8_192;

/// Characters of one value in a log line. A longer one is cut.
pub const LOG_VALUE_CHARS_MAX: usize = 512;

/// Milliseconds in which the log is written out at the end. What is left then is lost.
pub const LOG_FLUSH_MS: u64 = 500;

/// Milliseconds between two looks at the memory of the process.
pub const MEMORY_INTERVAL_MS: u64 = 1_000;

/// Bytes that the allocator is asked for as often, so that it gives back what has been free for a while; they are never
/// touched.
pub const ASKED_BYTES: usize = 1024 * 1024;

/// Files of the store that a line of the log names at the start; of more it tells how many.
pub const STORE_FILES_NAMED_MAX: usize = 16;

/// Milliseconds after which what nobody waits for is synced, and the clock of the system is looked at.
pub const STORE_TICK_MS: u64 = 1_000;

/// Milliseconds that what nobody waits for may wait for more before it is appended.
pub const STORE_LATER_MS: u64 = 20;

/// By how much the clock of the system must have been set for that to be noted. Less is how clocks are kept right.
pub const CLOCK_JUMP_MS: u64 = 1_000;
