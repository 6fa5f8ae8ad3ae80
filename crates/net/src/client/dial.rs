//! Connects: socket, proxy, TLS, WebSocket, one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::ClientConnection;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::kept::Kept;
use super::proxy::ProxyError;
use super::tls::{ClientTls, TlsError, Witness};
use super::{Place, Route};
use crate::fault::{Fault, said};
use crate::layers::Layers;
use crate::socket::StdSocket;
use crate::stream::Stream;
use crate::websocket::Request;

/// Why there is no stream. Where the text says what is behind it, `Error::source` does not say it again.
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
        r#source: ProxyError,
    },
    /// There is no TLS.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// Host and port, or path.
        address: String,
        /// Why.
        r#source: TlsError,
    },
    /// There is no WebSocket.
    #[error("no WebSocket at {address}: {source}")]
    WebSocket {
        /// Host and port, or path.
        address: String,
        /// Why.
        r#source: Fault,
    },
    /// The DNS names no server.
    #[cfg(feature = "srv")]
    #[error("cannot find a server by {name}: {source}")]
    Srv {
        /// The name that was asked for.
        name: String,
        /// Why there is none.
        r#source: super::srv::SrvError,
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
    dial_again(route, &mut Kept::default()).await
}

/// The same for one who was connected before: what was kept of that makes it cheaper. Dropped before it is done, nothing
/// is kept.
///
/// # Errors
/// As those of [`dial`].
pub async fn dial_again(route: &Route, kept: &mut Kept) -> Result<Stream, DialError> {
    #[cfg(feature = "srv")]
    if let Place::Service(service) = &route.place {
        return super::srv::dial(route, service, kept).await;
    }
    #[cfg(all(feature = "quic", unix))]
    if let Place::Quic { host, port } = &route.place {
        return crate::quic::dial(route, host, *port, kept).await;
    }
    dial_place(route, kept).await
}

/// A socket to the server without the layers over it, for one who has no runtime: waits, at most so long. What reads and
/// writes it waits too.
///
/// # Errors
/// As those of [`dial`] below TLS.
pub fn dial_waiting(route: &Route, time: Duration) -> Result<StdSocket, DialError> {
    let address = route.place.to_string();
    let io = |source| failed(&address, source);
    let runtime = Builder::new_current_thread().enable_all().build();
    let socket = runtime.map_err(io)?.block_on(async {
        let connected = timeout(time, connect(route, &address)).await;
        let stream = connected.map_err(|_| io(io::ErrorKind::TimedOut.into()))??;
        stream.into_socket().map_err(io)
    })?;
    socket.set_nonblocking(false).map_err(io)?;
    Ok(socket)
}

/// The same to a place that is known.
pub(super) async fn dial_place(route: &Route, kept: &mut Kept) -> Result<Stream, DialError> {
    let address = route.place.to_string();
    let tls_failed = |source| DialError::Tls {
        address: address.clone(),
        source,
    };
    // What is wrong here is told before anybody is connected to.
    let begun = match &route.tls {
        None => None,
        Some(tls) => Some(begin(tls, route.place.host(), kept).await.map_err(tls_failed)?),
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
            if in_tls {
                kept.forget();
            }
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

/// A connection of TLS, with the files as they are now.
async fn begin(
    tls: &ClientTls,
    host: &str,
    kept: &mut Kept,
) -> Result<(ClientConnection, Witness), TlsError> {
    kept.load(tls).await?.begin(host)
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
        #[cfg(all(feature = "quic", unix))]
        Place::Quic { .. } => place.to_string(),
        #[cfg(feature = "srv")]
        Place::Service(service) => service.domain.clone(),
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
        #[cfg(all(feature = "quic", unix))]
        Place::Quic { .. } => Err(DialError::Request(
            "QUIC is not reached by a socket of TCP".to_owned(),
        )),
        #[cfg(feature = "srv")]
        Place::Service(_) => Err(DialError::Request(
            "a domain is reached at the servers that its DNS names".to_owned(),
        )),
        Place::Internet { host, port } => match &route.proxy {
            None => Ok(dial_host(route, host, *port).await?.into()),
            Some(proxy) => {
                let failed = |source| DialError::Proxy {
                    proxy: format!("{}:{}", proxy.host, proxy.port),
                    address: address.to_owned(),
                    source,
                };
                let reached = dial_host(route, &proxy.host, proxy.port).await;
                let mut stream = reached.map_err(|error| match unreachable(&error) {
                    Some(why) => failed(ProxyError::Unreachable(why)),
                    None => error,
                })?;
                proxy.connect(&mut stream, host, *port).await.map_err(failed)?;
                Ok(stream.into())
            }
        },
    }
}

/// Why whoever is in between cannot be reached, if that is its fault.
fn unreachable(error: &DialError) -> Option<String> {
    match error {
        DialError::HostNotFound { source, .. } => Some(format!("no host has its name ({})", said(source))),
        DialError::ConnectionRefused { .. } => Some("nothing listens there".to_owned()),
        DialError::Io { source, .. } => Some(said(source)),
        _ => None,
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
