//! A connection: from its first byte to its last.

use core::fmt;
use core::net::SocketAddr;
use std::sync::Arc;

use martlet_codec::{Packet, Version};
use martlet_session::Output;

use crate::limits::OWN_BUFFER_BYTES_MIN;
use crate::login::Known;
use crate::router::Route;
use crate::timers::Armed;

/// Names a connection of a shard. An index is used again, its generation is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Its place in the shard.
    pub index: u32,
    /// Which connection of that place.
    pub generation: u32,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address of the client.
    pub address: Address,
    /// The listener that it came by, as an index into the rules.
    pub listener: u16,
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// Somewhere in a network.
    Internet(SocketAddr),
    /// On this machine: at the other end of a Unix socket.
    Local {
        /// Its process identifier, if the system tells.
        process: Option<u32>,
    },
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Internet(address)
    }
}

impl From<([u8; 4], u16)> for Address {
    fn from(address: ([u8; 4], u16)) -> Self {
        Self::Internet(address.into())
    }
}

impl fmt::Display for Address {
    /// `192.0.2.1:5000`, `unix:812`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Local {
                process: Some(process),
            } => write!(f, "unix:{process}"),
            Self::Local { process: None } => f.write_str("unix"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) peer: Peer,
    pub(crate) phase: Phase,
    /// The version of its CONNECT.
    pub(crate) version: Option<Version>,
    /// What is known of its user; none: it names none, or nobody has been asked.
    pub(crate) login: Option<Box<Known>>,
    /// Who its certificate says that it is.
    pub(crate) identity: Option<Box<str>>,
    /// Bytes that were read and not handled: the start of a packet, or packets that must wait.
    pub(crate) unread: Vec<u8>,
    /// Whether `unread` waits for something other than more bytes.
    pub(crate) waits: bool,
    /// What is to be written when no session is attached: a refusal, or the rest after the end. Few have it.
    pub(crate) last_output: Option<Box<Output>>,
    /// Whether it stands in the list of connections to flush.
    pub(crate) dirty: bool,
    /// What it publishes with, from its first PUBLISH on.
    pub(crate) publishing: Option<Box<Publishing>>,
    /// Its entry among the timers.
    pub(crate) armed: Armed,
}

/// What each message of a connection needs; taken out while one is handled, so that nothing is counted up and
/// down for it.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) client_id: ClientId,
    /// Where its last message went: most clients stay with a topic.
    pub(crate) last_route: Option<Arc<Route>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No complete CONNECT yet.
    Opening { deadline_ms: u64 },
    /// Its CONNECT came, and waits unread until its login is checked.
    Checking { deadline_ms: u64 },
    /// Its CONNECT was accepted and waits for a commit; what comes behind it waits too.
    Accepted { session: u32 },
    /// Its session is attached.
    Live { session: u32 },
    /// What is in the output goes out, nothing is read any more.
    Closing,
}

impl Connection {
    pub(crate) fn new(id: ConnId, peer: Peer, deadline_ms: u64) -> Self {
        Self {
            id,
            peer,
            phase: Phase::Opening { deadline_ms },
            version: None,
            login: None,
            identity: None,
            unread: Vec::new(),
            waits: false,
            last_output: None,
            dirty: false,
            publishing: None,
            armed: Armed::default(),
        }
    }

    pub(crate) fn last_output(&mut self) -> &mut Output {
        self.last_output.get_or_insert_default()
    }

    /// The bytes that a packet still lacks whose start came, if it is one that gets a buffer of its own.
    pub(crate) fn lacks_of_large(&self) -> Option<usize> {
        let total = Packet::announced_len(&self.unread)?;
        (total >= OWN_BUFFER_BYTES_MIN).then(|| total.saturating_sub(self.unread.len()))
    }

    pub(crate) fn session(&self) -> Option<u32> {
        match self.phase {
            Phase::Accepted { session } | Phase::Live { session } => Some(session),
            Phase::Opening { .. } | Phase::Checking { .. } | Phase::Closing => None,
        }
    }
}

/// A client identifier, shared.
pub(crate) type ClientId = Arc<str>;
