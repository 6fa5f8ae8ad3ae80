//! Every limit of the runtime, with what happens at it.

/// Messages on the bus before nothing more is read from servers; then the servers wait.
pub const BUS_MESSAGES_MAX: usize = 1_000;

/// Bytes that are read from a server before other connections get their turn.
pub const READ_BYTES: usize = 16 * 1024;

/// Bytes of a client's output at which a publish writes at once instead of when the script waits.
pub const OUTPUT_BYTES_SOON: usize = 64 * 1024;

/// Messages that are published and have no end yet; one more is not taken (`publish` returns nothing).
pub const OUTBOX_MESSAGES_MAX: usize = 10_000;

/// Bytes of them.
pub const OUTBOX_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages of the bus that are handled before sockets and timers are looked at.
pub const MESSAGES_PER_TURN: u32 = 64;

/// How long a program that ends waits for what it has published to leave, in milliseconds.
pub const FINISH_MS: u64 = 1_000;

/// Timers that run at once; one more is not started (`rtos.timer_start` returns nothing).
pub const TIMERS_MAX: usize = 100_000;

/// Bytes of a host name, or of the URL of a WebSocket, from which on `mqtt.create` returns nil.
pub const HOST_BYTES: usize = 192;
/// The same of a URL.
pub const URL_BYTES: usize = 256;
/// Bytes of a client identifier or user name from which on `auth` returns nothing.
pub const NAME_BYTES: usize = 192;
/// The same of a password.
pub const PASSWORD_BYTES: usize = 512;

/// The receive buffer without `rxSize`: what a larger packet ends is the connection.
pub const RX_BYTES_DEFAULT: u32 = 32 * 1024;

/// `conn_timeout`: default, least and most, in seconds.
pub const CONNECT_TIMEOUT_S: (u64, u64, u64) = (30, 5, 120);

/// `keepalive`: default, least and most, in seconds.
pub const KEEP_ALIVE_S: (i64, i64, i64) = (240, 15, 600);

/// `autoreconn`: default period and the least, in milliseconds.
pub const RECONNECT_MS: (i64, i64) = (3_000, 1_000);

/// The highest number of a network adapter.
pub const ADAPTER_MAX: i64 = 15;

/// Mebibytes of Lua where nothing else is said; more is the error `not enough memory`.
pub const MEMORY_MIB_DEFAULT: usize = 1_024;

/// Bytes of `crypto.trng` at once; more is an error.
pub const RANDOM_BYTES_MAX: usize = 1024 * 1024;

/// Tables within tables that `json` follows; deeper ones are an error.
pub const JSON_DEPTH_MAX: usize = 128;

/// An array with more than so many places for each value, and more than so many in all, has no form in JSON: an error.
pub const JSON_GAPS: (i64, i64) = (2, 10);

/// Bytes of a `zbuff`; a larger one is not made.
pub const ZBUFF_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that wait in a port of `uart`; at it the oldest are dropped.
pub const UART_BYTES_MAX: usize = 64 * 1024;
