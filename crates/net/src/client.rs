//! The client's side: from what is wanted to an open stream.

mod dial;
mod kept;
mod opening;
mod proxy;
mod recording;
#[cfg(feature = "srv")]
mod srv;
mod tls;

use std::net::IpAddr;
use std::path::PathBuf;

pub use self::dial::{DialError, dial, dial_again, dial_waiting};
pub use self::kept::Kept;
pub use self::opening::Opening;
pub use self::proxy::{Proxy, ProxyError, ProxyKind, ProxyUrlError};
#[cfg(feature = "srv")]
pub use self::srv::{Service, SrvError};
pub use self::tls::{Checks, ClientTls, LoadedTls, TlsError, Witness};

/// Where a server is, and every way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where the server is.
    pub place: Place,
    /// The local address to connect from.
    pub bind: Option<IpAddr>,
    /// Send small packets at once.
    pub no_delay: bool,
    /// Whom to ask for the connection; none: the server itself. Not to Unix sockets.
    pub proxy: Option<Proxy>,
    /// TLS; none: in the clear.
    pub tls: Option<ClientTls>,
    /// WebSocket; none: MQTT directly.
    pub websocket: Option<WebSocketRequest>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At a port of a host.
    Internet {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// At a Unix socket of this machine.
    Unix(PathBuf),
    /// The same by QUIC, which is always secured by TLS.
    #[cfg(all(feature = "quic", unix))]
    Quic {
        /// A name or an address.
        host: String,
        /// Its port, of UDP.
        port: u16,
    },
    /// Where the SRV records of a domain say.
    #[cfg(feature = "srv")]
    Service(Service),
}

impl Place {
    /// The name that the certificate of the server is to have.
    fn host(&self) -> &str {
        match self {
            Self::Internet { host, .. } => host,
            Self::Unix(_) => "localhost",
            #[cfg(all(feature = "quic", unix))]
            Self::Quic { host, .. } => host,
            #[cfg(feature = "srv")]
            Self::Service(service) => &service.domain,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internet { host, port } => host_and_port(f, host, *port),
            #[cfg(all(feature = "quic", unix))]
            Self::Quic { host, port } => host_and_port(f, host, *port),
            Self::Unix(path) => path.display().fmt(f),
            #[cfg(feature = "srv")]
            Self::Service(service) => service.fmt(f),
        }
    }
}

fn host_and_port(f: &mut std::fmt::Formatter<'_>, host: &str, port: u16) -> std::fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

/// What a WebSocket is asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketRequest {
    /// The path of its URL, the query with it: `/mqtt`.
    pub path: String,
    /// More headers: `Authorization`, `Cookie` ...
    pub headers: Vec<(String, String)>,
}

impl Default for WebSocketRequest {
    /// `/mqtt`, where most brokers have it.
    fn default() -> Self {
        Self {
            path: "/mqtt".to_owned(),
            headers: Vec::new(),
        }
    }
}
