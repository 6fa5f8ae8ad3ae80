//! Why a run could not be made or ended early.

use std::io;

use martlet_net::client::{DialError, TlsError};

/// A run that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server could not be reached.
    #[error("no connection to {address}: {source}")]
    Connect {
        /// Where it was tried.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The name of the server has no address.
    #[error("cannot find a host named '{host}': {source}")]
    HostNotFound {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The proxy could not be reached, or does not connect to the server.
    #[error("{0}")]
    Proxy(DialError),
    /// There is no TLS.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// Host and port.
        address: String,
        /// Why not.
        source: TlsError,
    },
    /// The server refused a client.
    #[error("the server refused connection {client}: {reason}")]
    Refused {
        /// The client identifier.
        client: String,
        /// The reason code.
        reason: String,
    },
    /// The server refused a subscription.
    #[error("the server refused a subscription: {reason}")]
    SubscriptionRefused {
        /// The reason code.
        reason: String,
    },
    /// A connection ended or stayed silent while something was expected of it.
    #[error("connection {client}, waiting for {what}: {source}")]
    Lost {
        /// The client identifier.
        client: String,
        /// What did not come.
        what: &'static str,
        /// How it ended.
        source: io::Error,
    },
    /// The server sent what is not MQTT or not due.
    #[error("connection {client}: the server sent {what}")]
    Protocol {
        /// The client identifier.
        client: String,
        /// What it sent.
        what: String,
    },
    /// The process of `--server-pid` cannot be read.
    #[error("process {pid} cannot be measured: {source}")]
    Process {
        /// The identifier.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// More connections than files may be open.
    #[error("{wanted} open files are needed and {allowed} are allowed: raise the limit (ulimit -n)")]
    OpenFiles {
        /// What the run needs.
        wanted: usize,
        /// The limit.
        allowed: u64,
    },
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(String),
    /// The system failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) const fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
