//! The server's side: a listener, and what comes to it.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::net::UnixStream;

use super::{PROTOCOL, carry, fault, pair, transport};
use crate::fault::Fault;
use crate::limits::{QUIC_INCOMING_BYTES_MAX, QUIC_INCOMING_MAX};
use crate::socket::StdSocket;
use crate::stream::Detached;

/// A socket that takes connections of QUIC, in the runtime that it was made in.
#[derive(Debug)]
pub struct Listener(Endpoint);

/// Somebody who comes: nothing is agreed on yet.
#[derive(Debug)]
pub struct Coming(Incoming);

/// A connection with its stream.
#[derive(Debug)]
pub struct Opened {
    /// For whoever speaks MQTT.
    pub stream: Detached,
    /// What the client has shown, first its own.
    pub certificates: Vec<CertificateDer<'static>>,
    connection: quinn::Connection,
    halves: (quinn::SendStream, quinn::RecvStream),
    local: UnixStream,
}

/// Whether QUIC can be had with this TLS.
///
/// # Errors
/// What it lacks.
pub fn check(tls: &Arc<rustls::ServerConfig>) -> Result<(), &'static str> {
    config(tls).map(|_| ())
}

fn config(tls: &Arc<rustls::ServerConfig>) -> Result<ServerConfig, &'static str> {
    let mut tls = rustls::ServerConfig::clone(tls);
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|_| "QUIC needs the cipher TLS_AES_128_GCM_SHA256, which is not among those allowed")?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(transport())
        .max_incoming(QUIC_INCOMING_MAX)
        .incoming_buffer_size_total(QUIC_INCOMING_BYTES_MAX);
    Ok(config)
}

impl Listener {
    /// Listens by a socket that is bound.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(socket: UdpSocket, tls: &Arc<rustls::ServerConfig>) -> io::Result<Self> {
        let config = config(tls).map_err(io::Error::other)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?;
        Ok(Self(endpoint))
    }

    /// The next who comes; none: it is closed.
    pub async fn accept(&self) -> Option<Coming> {
        self.0.accept().await.map(Coming)
    }

    /// Ends what is still open, and waits until the other sides know.
    pub async fn close(self) {
        self.0.close(VarInt::from_u32(0), b"");
        self.0.wait_idle().await;
    }
}

impl Coming {
    /// Where it comes from, at first.
    pub fn address(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Turns it away.
    pub fn refuse(self) {
        self.0.refuse();
    }

    /// Runs the handshake and waits for the stream. Whoever calls bounds the time.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open(self, tls: &Arc<rustls::ServerConfig>) -> Result<Opened, Fault> {
        let config = config(tls).map_err(|why| Fault::Io(why.to_owned()))?;
        let connecting = self.0.accept_with(Arc::new(config));
        let connection = connecting.map_err(|error| fault(&error))?;
        let connection = connection.await.map_err(|error| fault(&error))?;
        let halves = connection.accept_bi().await.map_err(|error| fault(&error))?;
        let certificates = connection
            .peer_identity()
            .and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let (local, theirs) = pair()?;
        Ok(Opened {
            stream: StdSocket::Unix(theirs).into(),
            certificates: certificates.map(|shown| *shown).unwrap_or_default(),
            connection,
            halves,
            local: UnixStream::from_std(local)?,
        })
    }
}

impl Opened {
    /// Its stream, for whoever speaks MQTT, and what carries its bytes: to be polled to its end.
    pub fn into_parts(self) -> (Detached, impl Future<Output = ()>) {
        let (send, receive) = self.halves;
        let carrying = carry(self.connection, send, receive, self.local);
        (self.stream, carrying)
    }
}
