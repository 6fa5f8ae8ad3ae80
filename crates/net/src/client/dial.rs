//! Connects: socket, proxy, TLS, WebSocket, one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustls::ClientConnection;
use tokio::net::{TcpSocket, TcpStream};

use super::proxy::ProxyError;
use super::tls::{ClientTls, TlsError, Witness};
use super::{Place, Route};
use crate::fault::Fault;
use crate::layers::Layers;
use crate::stream::Stream;
use crate::websocket::Request;

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host name has no address.
    #[error("cannot find a host named '{host}'")]
    HostNotFound {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{address} refused the connection: nothing listens there")]
    ConnectionRefused {
        /// Host and port, or path.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The local address cannot be used.
    #[error("cannot connect from the local address {bind}")]
    Bind {
        /// The local address.
        bind: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The network failed in another way.
    #[error("cannot connect to {address}")]
    Io {
        /// Host and port, or path.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy did not connect us.
    #[error("the proxy {proxy} does not connect to {address}: {source}")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// The server.
        address: String,
        /// Why.
        source: ProxyError,
    },
    /// There is no TLS.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// Host and port, or path.
        address: String,
        /// Why.
        source: TlsError,
    },
    /// There is no WebSocket.
    #[error("no WebSocket at {address}: {source}")]
    WebSocket {
        /// Host and port, or path.
        address: String,
        /// Why.
        source: Fault,
    },
    /// What is wanted cannot be asked for.
    #[error("{0}")]
    Request(String),
}

/// Connects, and runs all handshakes below MQTT. Whoever calls bounds the time.
///
/// # Errors
/// Which of the steps failed, and why.
pub async fn dial(route: &Route) -> Result<Stream, DialError> {
    let address = route.place.to_string();
    let tls_failed = |source| DialError::Tls {
        address: address.clone(),
        source,
    };
    // What is wrong here is told before anybody is connected to.
    let begun = match &route.tls {
        None => None,
        Some(tls) => Some(begin(tls, route.place.host()).await.map_err(tls_failed)?),
    };
    let request = route.websocket.as_ref().map(|asked| {
        Request::new(
            &authority(&route.place, route.tls.is_some()),
            &asked.path,
            &asked.headers,
        )
    });
    let request = request.transpose().map_err(DialError::Request)?;
    let stream = connect(route, &address).await?;
    let (tls, witness) = begun.unzip();
    let tls: Option<rustls::Connection> = tls.map(Into::into);
    let layers = match (tls, request) {
        (None, None) => return Ok(stream),
        (tls, None) => Layers::new(tls, None),
        (tls, Some(request)) => Layers::with_request(tls, request),
    };
    let mut stream = stream.with_layers(layers);
    match stream.open().await {
        Ok(()) => Ok(stream),
        Err(fault) => {
            let in_tls = stream.layers().is_some_and(Layers::is_handshaking);
            Err(match witness {
                Some(witness) if in_tls => tls_failed(witness.explain(fault)),
                _ => DialError::WebSocket {
                    address,
                    source: fault,
                },
            })
        }
    }
}

/// A connection of TLS, with the files as they are now. They are read on a thread for what may take long.
async fn begin(tls: &ClientTls, host: &str) -> Result<(ClientConnection, Witness), TlsError> {
    let tls = tls.clone();
    let loaded = tokio::task::spawn_blocking(move || tls.load()).await;
    let loaded = loaded.map_err(|error| TlsError::Settings(error.to_string()))??;
    loaded.begin(host)
}

/// What stands in `Host`: the port only if it is not the usual one.
pub(super) fn authority(place: &Place, is_secured: bool) -> String {
    match place {
        Place::Internet { port, .. } if *port == if is_secured { 443 } else { 80 } => {
            let whole = place.to_string();
            let end = whole.rfind(':').unwrap_or(whole.len());
            whole[..end].to_owned()
        }
        Place::Internet { .. } => place.to_string(),
        Place::Unix(_) => "localhost".to_owned(),
    }
}

async fn connect(route: &Route, address: &str) -> Result<Stream, DialError> {
    match &route.place {
        #[cfg(unix)]
        Place::Unix(path) => {
            let socket = tokio::net::UnixStream::connect(path).await;
            Ok(socket.map_err(|source| failed(address, source))?.into())
        }
        #[cfg(not(unix))]
        Place::Unix(_) => Err(failed(address, io::ErrorKind::Unsupported.into())),
        Place::Internet { host, port } => match &route.proxy {
            None => Ok(dial_host(route, host, *port).await?.into()),
            Some(proxy) => {
                let mut stream = dial_host(route, &proxy.host, proxy.port).await?;
                proxy
                    .connect(&mut stream, host, *port)
                    .await
                    .map_err(|source| DialError::Proxy {
                        proxy: format!("{}:{}", proxy.host, proxy.port),
                        address: address.to_owned(),
                        source,
                    })?;
                Ok(stream.into())
            }
        },
    }
}

fn failed(address: &str, source: io::Error) -> DialError {
    let address = address.to_owned();
    if source.kind() == io::ErrorKind::ConnectionRefused {
        DialError::ConnectionRefused { address, source }
    } else {
        DialError::Io { address, source }
    }
}

/// A connection to one of the addresses of a host.
async fn dial_host(route: &Route, host: &str, port: u16) -> Result<TcpStream, DialError> {
    let not_found = |source| DialError::HostNotFound {
        host: host.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host((host, port)).await.map_err(not_found)?;
    let place = Place::Internet {
        host: host.to_owned(),
        port,
    };
    let address = place.to_string();
    let mut last = None;
    for to in found {
        match dial_address(route, to, &address).await {
            Ok(stream) => return Ok(stream),
            // The address of the other family says less than one that was tried.
            Err(DialError::Bind { .. }) if last.is_some() => {}
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| not_found(io::ErrorKind::NotFound.into())))
}

async fn dial_address(route: &Route, to: SocketAddr, address: &str) -> Result<TcpStream, DialError> {
    let failed = |source| failed(address, source);
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(failed)?;
    if let Some(bind) = route.bind {
        socket
            .bind(SocketAddr::new(bind, 0))
            .map_err(|source| DialError::Bind { bind, source })?;
    }
    let stream = socket.connect(to).await.map_err(failed)?;
    stream.set_nodelay(route.no_delay).map_err(failed)?;
    Ok(stream)
}
