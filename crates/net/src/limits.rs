//! Every number that bounds a way of carrying bytes: its unit, and what happens at it.

use std::time::Duration;

/// Bytes of MQTT that are turned into frames and records at a time. More waits for the next turn of its writer.
pub const SEND_BYTES_MAX: usize = 64 * 1024;

/// Bytes that layers have to send of their own (answers to pings, alerts) and the peer does not take. Above it:
/// nothing is read from it until it has taken them.
pub const UNSENT_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one read from a socket under layers.
pub const READ_BYTES_MAX: usize = 16 * 1024;

/// Bytes of the opening request of a WebSocket, if nobody says otherwise. A longer one is answered with 431.
pub const WEBSOCKET_HEAD_BYTES_DEFAULT: usize = 4 * 1024;

/// Bytes of the answer of a server or a proxy, up to its empty line. A longer one is an error.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one WebSocket frame: the largest packet of MQTT. A larger one closes the connection (1009). What is in
/// a frame is passed on as it comes, so that a large one takes no memory.
pub const WEBSOCKET_FRAME_BYTES_MAX: u64 = 268_435_460;

/// Bytes of a ping, pong or close frame, as RFC 6455 has it. A larger one closes the connection (1002).
pub const WEBSOCKET_CONTROL_BYTES_MAX: u64 = 125;

/// Bytes of a file of certificates, keys or revocation lists. A larger one is refused unread.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Files of a folder of certificates (`capath`). More are refused.
pub const FOLDER_FILES_MAX: usize = 10_000;

/// Sessions of TLS that a listener remembers, so that their clients come back with less work. The oldest go.
pub const TLS_SESSIONS_MAX: usize = 1_024;

/// Servers whose sessions of TLS a client remembers, so that it comes back to them with less work. The oldest go.
pub const TLS_SERVERS_MAX: usize = 8;

/// How long a client keeps what it read for TLS, its sessions with it. Then it reads all of it again, so that
/// certificates that the system trusts no more are trusted no more here either.
pub const TLS_KEPT_FOR: Duration = Duration::from_hours(1);

/// How long a connection of QUIC may hear nothing of the other side, keep-alives included. Then it is lost.
pub const QUIC_IDLE_MAX: Duration = Duration::from_mins(1);

/// How often each side of QUIC says that it is there: less than a third of the above.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long one way of a QUIC stream may take to end when the other has. Then the connection is closed.
pub const QUIC_LINGER: Duration = Duration::from_secs(5);

/// Bytes of a QUIC stream that are under way in each direction, or wait to be taken. Then its sender waits.
pub const QUIC_WINDOW_BYTES: u32 = 256 * 1024;

/// Connections of QUIC that came and were not looked at. One more is turned away.
pub const QUIC_INCOMING_MAX: usize = 1_024;

/// Bytes that these have sent. What is beyond is dropped; they send it again.
pub const QUIC_INCOMING_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Servers of SRV records that are tried for one connection, the best first. More are not tried.
pub const SRV_TARGETS_MAX: usize = 20;

/// How long each of them but the last may take to connect and agree on TLS. Then the next is tried.
pub const SRV_TARGET_WAIT_MAX: Duration = Duration::from_secs(5);

/// Name servers of the system that are asked. More are not asked, as in the resolvers of all systems.
pub const NAME_SERVERS_MAX: usize = 3;

/// How long a name server may take to answer. Then the next is asked.
pub const DNS_ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often all name servers are asked. Then there is no connection.
pub const DNS_ROUNDS: usize = 2;
