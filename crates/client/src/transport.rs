//! How bytes travel to a server: TLS, WebSocket, a Unix socket, a proxy. Plain TCP needs none of them.

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
}

impl Options {
    /// Speaks TLS.
    ///
    /// ```
    /// use martlet_client::{Options, Tls};
    /// use martlet_client::tls::Source;
    ///
    /// let tls = Tls {
    ///     authorities: Some(Source::File("ca.pem".into())),
    ///     ..Tls::default()
    /// };
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
        } = self.transport.clone();
        let place = match unix {
            Some(path) => Place::Unix(path),
            None => Place::Internet {
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
