//! MQTT's bytes over QUIC, between both sides of this crate.
#![cfg(all(feature = "quic", unix))]

mod pki;

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use martlet_net::client::{ClientTls, DialError, Place, Proxy, Route, TlsError, WebSocketRequest, dial};
use martlet_net::quic::{Listener, check};
use martlet_net::tls::certificate::Description;
use martlet_net::tls::files::Source;
use martlet_net::tls::names::{LowestVersion, tls_1_3_ciphers};
use martlet_net::tls::server::{ServerConfig, ServerTls};
use martlet_net::{Fault, Stream};
use tokio::io::Interest;
use tokio::time::timeout;

use crate::pki::Pki;

const BOUND: Duration = Duration::from_secs(20);

fn server_tls(pki: &Pki, is_mutual: bool) -> ServerTls {
    ServerTls {
        certificate: pki.path("server.pem"),
        key: pki.path("server.key"),
        authorities: is_mutual.then(|| pki.path("ca.pem")),
        authorities_folder: None,
        revoked: None,
        require_certificate: is_mutual,
        lowest: LowestVersion::Tls12,
        suites: Vec::new(),
    }
}

fn load(tls: &ServerTls) -> Arc<ServerConfig> {
    tls.load(SystemTime::now()).expect("good files").config
}

/// A server that says back what it hears, and then whom it knows; its port.
fn serve(config: Arc<ServerConfig>) -> u16 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
    let port = socket.local_addr().expect("it is bound").port();
    let listener = Listener::new(socket, &config).expect("a listener");
    tokio::spawn(async move {
        while let Some(coming) = listener.accept().await {
            assert!(coming.address().ip().is_loopback());
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                // A client that does not trust us goes.
                let Ok(opened) = coming.open(&config).await else {
                    return;
                };
                let shown = opened.certificates.first();
                let name = shown.and_then(|shown| Description::of(shown).expect("a certificate").common_name);
                let (stream, carrying) = opened.into_parts();
                tokio::spawn(carrying);
                let mut stream = Stream::attach(stream).expect("a socket");
                while let Some(bytes) = read(&mut stream).await {
                    write(&mut stream, &bytes).await;
                }
                write(&mut stream, name.unwrap_or_default().as_bytes()).await;
                stream.shutdown().expect("it is open");
            });
        }
    });
    port
}

/// What came; none: the end.
async fn read(stream: &mut Stream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 10_000];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(0) => return None,
            Ok(bytes) => return Some(buffer[..bytes].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let ready = timeout(BOUND, stream.ready(Interest::READABLE)).await;
                ready.expect("it comes").expect("a socket");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn write(stream: &mut Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.try_write_vectored(&[IoSlice::new(bytes)]) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let ready = timeout(BOUND, stream.ready(Interest::WRITABLE)).await;
                ready.expect("there is room").expect("a socket");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn route(pki: &Pki, port: u16) -> Route {
    Route {
        place: Place::Quic {
            host: "localhost".to_owned(),
            port,
        },
        bind: None,
        no_delay: true,
        proxy: None,
        tls: Some(ClientTls {
            authorities: Some(Source::File(pki.path("ca.pem"))),
            ..ClientTls::default()
        }),
        websocket: None,
    }
}

async fn reach(route: &Route) -> Result<Stream, DialError> {
    timeout(BOUND, dial(route)).await.expect("it ends")
}

fn tls_error(result: Result<Stream, DialError>) -> TlsError {
    match result {
        Err(DialError::Tls { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

/// On two connections, more than any buffer on the way holds.
#[tokio::test]
async fn bytes_come_back_as_they_went() {
    let pki = Pki::new("quic-echo");
    let port = serve(load(&server_tls(&pki, false)));
    let mut first = reach(&route(&pki, port)).await.expect("it connects");
    let mut second = reach(&route(&pki, port)).await.expect("so does another");
    for stream in [&mut first, &mut second] {
        let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut came = Vec::new();
        let mut left = sent.as_slice();
        while !left.is_empty() {
            // As much as the buffers on the way hold, so that nobody waits for the other for ever.
            let (some, rest) = left.split_at(left.len().min(200_000));
            write(stream, some).await;
            left = rest;
            while came.len() < sent.len() - left.len() {
                came.extend(read(stream).await.expect("more"));
            }
        }
        assert!(came == sent);
        stream.shutdown().expect("it is open");
        assert_eq!(read(stream).await, None);
    }
}

#[tokio::test]
async fn the_server_knows_whose_certificate_it_is() {
    let pki = Pki::new("quic-mutual");
    let port = serve(load(&server_tls(&pki, true)));
    let mut known = route(&pki, port);
    let file = |name: &str| Source::File(pki.path(name));
    known.tls.as_mut().expect("TLS").identity = Some((file("client.pem"), file("client.key")));
    let mut stream = reach(&known).await.expect("it connects");
    write(&mut stream, b"!").await;
    assert_eq!(read(&mut stream).await.as_deref(), Some(&b"!"[..]));
    stream.shutdown().expect("it is open");
    assert_eq!(read(&mut stream).await.as_deref(), Some(&b"sensor-7"[..]));
    assert_eq!(read(&mut stream).await, None);
    // Who shows none is turned away: at the latest, nothing comes back.
    if let Ok(mut stream) = reach(&route(&pki, port)).await {
        let _ = stream.try_write_vectored(&[IoSlice::new(b"!")]);
        assert_eq!(read(&mut stream).await, None);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let pki = Pki::new("quic-wrong");
    let port = serve(load(&server_tls(&pki, false)));
    let mut stranger = route(&pki, port);
    stranger.tls.as_mut().expect("TLS").authorities = Some(Source::File(pki.path("other-ca.pem")));
    let error = tls_error(reach(&stranger).await);
    assert!(matches!(error, TlsError::UnknownAuthority { .. }), "{error}");
    let mut other_name = route(&pki, port);
    other_name.tls.as_mut().expect("TLS").server_name = Some("example.org".to_owned());
    let error = tls_error(reach(&other_name).await);
    assert_eq!(
        error.to_string(),
        "the certificate is for 'localhost', not for 'example.org'"
    );

    let mut proxied = route(&pki, port);
    proxied.proxy = Some(Proxy::from_url("socks5h://h").expect("a URL"));
    assert!(matches!(reach(&proxied).await, Err(DialError::Request(_))));
    let mut web = route(&pki, port);
    web.websocket = Some(WebSocketRequest::default());
    assert!(matches!(reach(&web).await, Err(DialError::Request(_))));
}

/// A server of HTTP/3, say.
#[tokio::test]
async fn a_server_of_another_protocol_is_told() {
    let pki = Pki::new("quic-alpn");
    let mut config = ServerConfig::clone(&load(&server_tls(&pki, false)));
    config.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).expect("ciphers");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint =
        quinn::Endpoint::server(config, "127.0.0.1:0".parse().expect("an address")).expect("a port");
    let port = endpoint.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            assert!(incoming.await.is_err());
        }
    });
    let error = tls_error(reach(&route(&pki, port)).await);
    assert_eq!(
        error,
        TlsError::Fault(Fault::Tls(rustls::Error::NoApplicationProtocol))
    );
    assert_eq!(error.to_string(), "no application protocol (ALPN) in common");
}

#[test]
fn the_cipher_that_quic_needs() {
    let pki = Pki::new("quic-cipher");
    let mut tls = server_tls(&pki, false);
    assert_eq!(check(&load(&tls)), Ok(()));
    tls.suites = tls_1_3_ciphers("TLS_AES_256_GCM_SHA384").expect("a name");
    assert!(check(&load(&tls)).is_err());
}
