//! MQTT over QUIC (RFC 9000): one bidirectional stream of a connection carries it, agreed on as `mqtt` (ALPN).
//!
//! Above it a connection looks like any other: its bytes come and go by one end of a pair of Unix sockets, and a task
//! carries them between the other end and the stream. So brokers and clients need no second kind of socket; it costs
//! them a copy. Loss, migration to another address and keeping alive are quinn's.

mod client;
mod server;

use std::io;
use std::sync::Arc;

use quinn::{ConnectionError, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::{AlertDescription, CertificateError, Error as Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

pub(crate) use self::client::dial;
pub use self::server::{Coming, Listener, Opened, check};
use crate::fault::Fault;
use crate::limits::{QUIC_IDLE_MAX, QUIC_KEEP_ALIVE, QUIC_LINGER, QUIC_WINDOW_BYTES, READ_BYTES_MAX};

/// What both sides say that they speak (ALPN).
pub const PROTOCOL: &[u8] = b"mqtt";

/// What holds for connections of both sides.
fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(QUIC_IDLE_MAX).expect("it fits");
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(QUIC_KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(QUIC_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_WINDOW_BYTES))
        .send_window(QUIC_WINDOW_BYTES.into());
    Arc::new(transport)
}

/// Carries bytes both ways until both have ended, or one has and the other takes too long.
async fn carry(connection: quinn::Connection, send: SendStream, receive: RecvStream, local: UnixStream) {
    let (from, to) = local.into_split();
    let (mut out, mut back) = (
        std::pin::pin!(outwards(from, send)),
        std::pin::pin!(inwards(receive, to)),
    );
    tokio::select! {
        () = &mut out => drop(timeout(QUIC_LINGER, back).await),
        () = &mut back => drop(timeout(QUIC_LINGER, out).await),
    }
    connection.close(VarInt::from_u32(0), b"");
}

/// Until the end of what this side says, and the other has all of it.
async fn outwards(mut from: OwnedReadHalf, mut send: SendStream) {
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        match from.read(&mut buffer).await {
            Ok(bytes) if bytes > 0 => {
                if send.write_all(&buffer[..bytes]).await.is_err() {
                    // The connection is over: the other way says so as well.
                    return;
                }
            }
            _ => break,
        }
    }
    if send.finish().is_ok() {
        let _ = send.stopped().await;
    }
}

/// Until the end of what the other side says. What is left of the socket then ends too.
async fn inwards(mut receive: RecvStream, mut to: OwnedWriteHalf) {
    while let Ok(Some(chunk)) = receive.read_chunk(READ_BYTES_MAX, true).await {
        if to.write_all(&chunk.bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// What ended a handshake, in words of TLS where it was that.
fn fault(error: &ConnectionError) -> Fault {
    let (code, is_ours) = match error {
        ConnectionError::TransportError(error) => (u64::from(error.code), true),
        ConnectionError::ConnectionClosed(close) => (u64::from(close.error_code), false),
        ConnectionError::TimedOut => return Fault::Io("nobody answers by QUIC".to_owned()),
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => return Fault::Closed,
        other => return Fault::Io(other.to_string()),
    };
    // RFC 9001: alerts of TLS have these codes.
    let Some(alert) = code.checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok()) else {
        return Fault::Io(error.to_string());
    };
    let alert = AlertDescription::from(alert);
    if alert == AlertDescription::NoApplicationProtocol {
        return Fault::Tls(Tls::NoApplicationProtocol);
    }
    if is_ours {
        return ours(alert).map_or_else(|| Fault::Io(error.to_string()), Fault::Tls);
    }
    Fault::Tls(Tls::AlertReceived(alert))
}

/// What has made this side send an alert: quinn tells no more of it.
fn ours(alert: AlertDescription) -> Option<Tls> {
    Some(match alert {
        AlertDescription::CertificateRequired => Tls::NoCertificatesPresented,
        AlertDescription::UnknownCA => CertificateError::UnknownIssuer.into(),
        AlertDescription::CertificateExpired => CertificateError::Expired.into(),
        AlertDescription::CertificateRevoked => CertificateError::Revoked.into(),
        AlertDescription::BadCertificate => CertificateError::BadEncoding.into(),
        _ => return None,
    })
}

/// A pair of sockets: one for whoever speaks MQTT, one for the task that carries.
fn pair() -> io::Result<(std::os::unix::net::UnixStream, std::os::unix::net::UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    for end in [&ours, &theirs] {
        end.set_nonblocking(true)?;
    }
    Ok((ours, theirs))
}
