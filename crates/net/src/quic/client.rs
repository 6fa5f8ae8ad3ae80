//! The client's side: a connection, its stream, and the task that carries its bytes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectError, Endpoint};
use tokio::net::UnixStream;

use super::{PROTOCOL, carry, fault, pair, transport};
use crate::client::{DialError, Kept, Route, TlsError};
use crate::fault::Fault;
use crate::stream::Stream;

/// A stream to the server at `host` and `port`.
pub(crate) async fn dial(route: &Route, host: &str, port: u16, kept: &mut Kept) -> Result<Stream, DialError> {
    if route.proxy.is_some() || route.websocket.is_some() {
        let why = "MQTT over QUIC goes through no proxy and no WebSocket".to_owned();
        return Err(DialError::Request(why));
    }
    let address = route.place.to_string();
    let failed = |source| DialError::Io {
        address: address.clone(),
        source,
    };
    let tls_failed = |source| DialError::Tls {
        address: address.clone(),
        source,
    };
    let mut tls = route.tls.clone().unwrap_or_default();
    tls.protocols = vec![PROTOCOL.to_vec()];
    let loaded = kept.load(&tls).await.map_err(tls_failed)?;
    let (config, name, witness) = loaded.quic(host).map_err(tls_failed)?;
    let crypto = QuicClientConfig::try_from(config).map_err(|_| {
        let why = "QUIC needs the cipher TLS_AES_128_GCM_SHA256".to_owned();
        tls_failed(TlsError::Settings(why))
    })?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    let not_found = |source| DialError::HostNotFound {
        host: host.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host((host, port)).await.map_err(not_found)?;
    let mut last = not_found(io::ErrorKind::NotFound.into());
    for to in found {
        let endpoint = match bind(route, to) {
            Ok(endpoint) => endpoint,
            // The address of the other family says less than one that was tried.
            Err(DialError::Bind { .. }) if !matches!(last, DialError::HostNotFound { .. }) => continue,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let connecting = endpoint.connect_with(config.clone(), to, &name);
        let connecting = connecting.map_err(|error| failed(in_words(&error)))?;
        match connecting.await {
            Ok(connection) => {
                let (send, receive) = connection
                    .open_bi()
                    .await
                    .map_err(|error| failed(io::Error::other(error.to_string())))?;
                let (ours, theirs) = pair().map_err(failed)?;
                let ours = UnixStream::from_std(ours).map_err(failed)?;
                let theirs = UnixStream::from_std(theirs).map_err(failed)?;
                tokio::spawn(async move {
                    carry(connection, send, receive, ours).await;
                    // What was said last is on its way.
                    endpoint.wait_idle().await;
                });
                return Ok(theirs.into());
            }
            Err(error) => {
                kept.forget();
                // What this side has refused is known better than the alert that it has sent.
                last = match (witness.refused(), fault(&error)) {
                    (Some(refused), _) => tls_failed(witness.clone().explain(refused.into())),
                    (None, Fault::Io(text)) => failed(io::Error::other(text)),
                    (None, other) => tls_failed(TlsError::Fault(other)),
                };
            }
        }
    }
    Err(last)
}

fn bind(route: &Route, to: SocketAddr) -> Result<Endpoint, DialError> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let bind = route.bind.unwrap_or(any);
    let not_bound = |source| DialError::Bind { bind, source };
    if bind.is_ipv4() != to.is_ipv4() {
        return Err(not_bound(io::ErrorKind::AddrNotAvailable.into()));
    }
    Endpoint::client(SocketAddr::new(bind, 0)).map_err(not_bound)
}

fn in_words(error: &ConnectError) -> io::Error {
    io::Error::other(error.to_string())
}
