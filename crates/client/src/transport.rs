//! How bytes travel to a server: TLS, WebSocket, a Unix socket, a proxy. Plain TCP needs none of them.

use std::net::SocketAddr;
use std::path::PathBuf;

use martlet_net::client::{ClientTls, Place, Proxy, Route, WebSocketRequest};

use crate::options::Options;

/// What is wanted beside host and port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transport {
    unix: Option<PathBuf>,
    tls: Option<ClientTls>,
    websocket: Option<WebSocketRequest>,
    proxy: Option<Proxy>,
    /// SRV records name the servers, and these name servers know them; an empty list: the system's.
    name_servers: Option<Vec<SocketAddr>>,
    /// By QUIC.
    is_quic: bool,
}

impl Options {
    /// Speaks TLS.
    ///
    /// ```
    /// use martlet_client::{Options, Tls};
    ///
    /// let tls = Tls::default().ca_file("ca.pem").client_certificate("pump.pem", "pump.key");
    /// let options = Options::new("broker.example", 8883).tls(tls);
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.transport.tls = Some(tls);
        self
    }

    /// Carries MQTT inside of a WebSocket.
    #[must_use]
    pub fn websocket(mut self, websocket: WebSocketRequest) -> Self {
        self.transport.websocket = Some(websocket);
        self
    }

    /// Connects through a proxy. A Unix socket is reached without.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.transport.proxy = Some(proxy);
        self
    }

    /// Connects to a Unix socket; host and port mean nothing then.
    #[must_use]
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.transport.unix = Some(path.into());
        self
    }

    /// Asks the DNS where the servers of the host are: its SRV records at `_mqtt._tcp`, with TLS at
    /// `_secure-mqtt._tcp`. They are tried by their priority and weight until one can be reached; the port means
    /// nothing then. A certificate is to name the host, not the server that a record names.
    /// `name_servers` are asked; none: those of the system, `/etc/resolv.conf`. Not for WebSocket.
    #[cfg(feature = "srv")]
    #[must_use]
    pub fn srv(mut self, name_servers: impl Into<Vec<SocketAddr>>) -> Self {
        self.transport.name_servers = Some(name_servers.into());
        self
    }

    /// Speaks QUIC, which is always secured by TLS: by that of [`tls`](Self::tls), else with the certificates that the
    /// system trusts. The protocol that is asked for (ALPN) is `mqtt`, whatever [`Tls`](crate::Tls) says.
    #[cfg(all(feature = "quic", unix))]
    #[must_use]
    pub const fn quic(mut self) -> Self {
        self.transport.is_quic = true;
        self
    }

    /// Whether the DNS names the servers.
    pub(crate) const fn asks_dns(&self) -> bool {
        self.transport.name_servers.is_some()
    }

    /// The path of the Unix socket, if it is one.
    pub(crate) fn unix_path(&self) -> Option<&PathBuf> {
        self.transport.unix.as_ref()
    }

    /// The way to a server at `host` and `port`.
    pub(crate) fn route(&self, host: &str, port: u16) -> Route {
        let Transport {
            unix,
            tls,
            websocket,
            proxy,
            name_servers,
            is_quic,
        } = self.transport.clone();
        let place = match (unix, is_quic, name_servers) {
            (Some(path), _, _) => Place::Unix(path),
            #[cfg(all(feature = "quic", unix))]
            (None, true, _) => Place::Quic {
                host: host.to_owned(),
                port,
            },
            #[cfg(feature = "srv")]
            (None, _, Some(name_servers)) => Place::Service(martlet_net::client::Service {
                domain: host.to_owned(),
                name_servers,
            }),
            (None, _, _) => Place::Internet {
                host: host.to_owned(),
                port,
            },
        };
        Route {
            place,
            bind: self.bind_address,
            no_delay: self.no_delay,
            proxy,
            tls,
            websocket,
        }
    }
}
