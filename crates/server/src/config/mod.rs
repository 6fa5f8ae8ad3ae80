//! The configuration of the broker: the language of `mosquitto.conf`, and flags that win over it.
//!
//! One table, [`DIRECTIVES`], says what there is; [`load`] reads a file and flags by it and gives a
//! [`Config`], a plain struct in which everything is decided, or [`Errors`] with everything that is
//! wrong, at once. Nothing is parsed and then ignored: what mosquitto knows and this version does not
//! carry out is an error unless it asks for what the broker does anyway.
//!
//! This module opens no socket. [`ListenError`] words what went wrong when the server does.

mod build;
mod directive;
mod directives;
mod draft;
mod error;
mod holder;
mod listen;
mod listener;
mod log;
mod markdown;
mod nearest;
mod origin;
mod overrides;
mod reader;
mod shown;
mod tls;
mod users;
mod value;
mod written;

use std::path::{Path, PathBuf};

use martlet_broker::Durability;

pub(crate) use build::store::STORE_FOLDER;
pub use build::store::state_folder;
pub use directive::{Directive, Kind, Mode, Owner, Range, Scope, Status, Unit};
pub use directives::{DIRECTIVES, find};
pub use error::{Code, Errors, Finding, Place, explain};
pub use listen::ListenError;
pub(crate) use listen::plain;
pub use listener::{Bind, Family, Listener, ListenerPlace, Versions, WebSockets};
pub use log::{Log, LogDestination, LogType, LogTypes, TimeFormat, Timestamp};
pub use markdown::render_markdown;
pub use origin::Origin;
pub use overrides::Overrides;
pub use tls::{Identity, Tls};
pub use users::{
    PasswordFile, read_file as read_users, unreadable as users_unreadable, wrong_line as wrong_user,
    wrong_lines as wrong_users,
};
pub use written::Written;
pub(crate) use written::why;

use draft::Draft;
use reader::Reader;

/// Everything that the broker is told, decided and in range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// The rules of sessions and messages.
    pub broker: BrokerSettings,
    /// The log.
    pub log: Log,
    /// Threads that serve clients; `None`: one per core.
    pub shards: Option<u16>,
    /// From accept to a complete CONNECT.
    pub connect_timeout_ms: u64,
    /// Connections without a complete CONNECT; one more waits to be accepted.
    pub half_open_max: u32,
    /// Connections of all listeners; one more waits to be accepted. `None`: as many as the limit of open files allows.
    pub connections_max: Option<u64>,
    /// Threads that check passwords; `None`: one per core, at most 4.
    pub login_threads: Option<u16>,
    /// Logins that wait to be checked; one more is refused.
    pub logins_waiting_max: u32,
    /// `TCP_NODELAY` on every connection.
    pub tcp_nodelay: bool,
    /// How often `$SYS` is brought up to date; `None`: there is no `$SYS`.
    pub sys_interval_s: Option<u16>,
    /// Where the process identifier stands while it runs.
    pub pid_file: Option<Written>,
    /// Where state is stored; `None`: it is memory.
    pub store: Option<StoreConfig>,
    /// Worth a line in the log at the start.
    pub warnings: Vec<Finding>,
}

/// Where state is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder, which is made if it is not there.
    pub folder: PathBuf,
    /// What asked for it, for messages.
    pub origin: Origin,
    /// What it survives.
    pub durability: Durability,
}

/// What holds for sessions and messages, whatever listener they come from.
///
/// *Kept* sessions are those with an expiry above 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Sessions, connected or not.
    pub sessions_max: Option<u64>,
    /// The longest keep alive of 5.0 clients.
    pub keep_alive_s_max: Option<u16>,
    /// The keep alive of all 5.0 clients.
    pub server_keep_alive_s: Option<u16>,
    /// The largest packet from a client, whole.
    pub packet_bytes_max: u32,
    /// The largest payload from a client.
    pub payload_bytes_max: Option<u32>,
    /// Separators in a topic name or filter.
    pub topic_levels_max: u16,
    /// Payloads that are called text must be UTF-8.
    pub payload_format_check: bool,
    /// The window towards a client.
    pub inflight_out_max: u16,
    /// The same in bytes; one message always passes.
    pub inflight_out_bytes_max: Option<u64>,
    /// The window from a client.
    pub receive_maximum: u16,
    /// What happens beyond it.
    pub receive_maximum_exceeded: ReceiveMaximumExceeded,
    /// Messages that wait for a session.
    pub queued_messages_max: Option<u64>,
    /// Bytes that wait for a session of expiry 0.
    pub queued_bytes_max: Option<u64>,
    /// Bytes that wait for a kept session.
    pub kept_queued_bytes_max: Option<u64>,
    /// Bytes that wait for all sessions together.
    pub queued_bytes_total_max: u64,
    /// Those of them that wait for sessions that are not stored.
    pub queued_memory_bytes_max: u64,
    /// Queue QoS 0 for sessions without a connection.
    pub queue_qos0: bool,
    /// Deliver with the QoS of the subscription.
    pub upgrade_outgoing_qos: bool,
    /// Several filters of one client match.
    pub overlapping: Overlapping,
    /// The longest session expiry.
    pub session_expiry_s_max: Option<u32>,
    /// Retained messages are accepted.
    pub retain_available: bool,
    /// Retained messages.
    pub retained_messages_max: Option<u64>,
    /// Bytes of retained messages.
    pub retained_bytes_max: Option<u64>,
    /// The longest life of a retained message.
    pub retain_expiry_s_max: Option<u64>,
}

/// What happens to a 5.0 client that sends more than the receive maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveMaximumExceeded {
    /// DISCONNECT 0x93.
    Disconnect,
    /// It is not read while as many acknowledgements are owed.
    Warn,
}

/// What a client gets whose filters overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlapping {
    /// One copy with the highest QoS and all subscription identifiers.
    Once,
    /// One copy for each filter.
    Each,
}

/// Reads a file, if there is one, and the flags over it.
pub fn load(file: Option<&Path>, overrides: &Overrides, mode: Mode) -> Result<Config, Errors> {
    let (mut draft, root) = (Draft::default(), is_root());
    if let Some(path) = file {
        Reader::new(&mut draft, root).main_file(path);
    }
    overrides.apply(&mut draft, root);
    build::build(draft, overrides, mode)
}

/// As [`load`], with the main file in memory; `name` is what messages call it.
pub fn parse(name: &Path, bytes: &[u8], overrides: &Overrides, mode: Mode) -> Result<Config, Errors> {
    let (mut draft, root) = (Draft::default(), is_root());
    Reader::new(&mut draft, root).main_bytes(name, bytes);
    overrides.apply(&mut draft, root);
    build::build(draft, overrides, mode)
}

/// Only root can become another user. A system that does not say counts as not root.
fn is_root() -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
    }
    #[cfg(not(unix))]
    false
}

#[cfg(test)]
mod tests;
