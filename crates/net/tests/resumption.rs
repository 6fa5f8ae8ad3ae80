//! A client that comes back to a server takes up its session of TLS again, as long as nothing has changed.

mod pki;

use std::fs;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use martlet_net::Stream;
use martlet_net::client::{ClientTls, DialError, Kept, Place, Route, TlsError, dial, dial_again};
use martlet_net::tls::certificate::Description;
use martlet_net::tls::files::Source;
use martlet_net::tls::names::LowestVersion;
use martlet_net::tls::server::{ServerTls, layers};
use rustls::HandshakeKind::{self, Full, Resumed};
use tokio::io::Interest;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::pki::Pki;

const BOUND: Duration = Duration::from_secs(20);

/// A server that wants a certificate and says a byte to each client, for as long as the test runs; and its port.
async fn serve(pki: &Pki) -> u16 {
    let tls = ServerTls {
        certificate: pki.path("server.pem"),
        key: pki.path("server.key"),
        authorities: Some(pki.path("ca.pem")),
        authorities_folder: None,
        revoked: None,
        require_certificate: true,
        lowest: LowestVersion::Tls12,
        suites: Vec::new(),
    };
    let config = tls.load(SystemTime::now()).expect("good files").config;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let layers = layers(Some(Arc::clone(&config)), None).expect("layers");
            let mut stream = Stream::from(socket).with_layers(layers);
            // A client that does not trust us goes.
            let Ok(()) = stream.open().await else { continue };
            // It knows who comes back, though no certificate was shown again.
            let shown = stream.layers().expect("TLS").peer_certificates()[0].clone();
            let name = Description::of(&shown).expect("a certificate").common_name;
            assert_eq!(name.as_deref(), Some("sensor-7"));
            let sent = stream.try_write_vectored(&[IoSlice::new(b"!")]);
            assert_eq!(sent.expect("there is room"), 1);
            let _ = stream.flush();
            let _ = stream.shutdown();
        }
    });
    port
}

fn route(pki: &Pki, port: u16) -> Route {
    let file = |name: &str| Source::File(pki.path(name));
    Route {
        place: Place::Internet {
            host: "localhost".to_owned(),
            port,
        },
        bind: None,
        no_delay: true,
        proxy: None,
        tls: Some(ClientTls {
            authorities: Some(file("ca.pem")),
            identity: Some((file("client.pem"), file("client.key"))),
            ..ClientTls::default()
        }),
        websocket: None,
    }
}

/// Connects and reads what the server says, its tickets with it.
async fn come(route: &Route, kept: &mut Kept) -> Result<HandshakeKind, DialError> {
    let connected = timeout(BOUND, dial_again(route, kept)).await.expect("it ends");
    Ok(listen(connected?).await)
}

async fn listen(mut stream: Stream) -> HandshakeKind {
    let mut buffer = [0; 100];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(bytes) => {
                assert_eq!(&buffer[..bytes], b"!");
                return stream
                    .layers()
                    .expect("TLS")
                    .handshake_kind()
                    .expect("it is done");
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let ready = timeout(BOUND, stream.ready(Interest::READABLE)).await;
                ready.expect("the server speaks").expect("a socket");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_second_handshake_is_resumed() {
    let pki = Pki::new("resumed");
    let port = serve(&pki).await;
    for lowest in [LowestVersion::Tls12, LowestVersion::Tls13] {
        let mut route = route(&pki, port);
        route.tls.as_mut().expect("TLS").lowest = lowest;
        let mut kept = Kept::default();
        for expected in [Full, Resumed, Resumed] {
            assert_eq!(come(&route, &mut kept).await.unwrap(), expected);
        }
        // Another client knows nothing of it.
        assert_eq!(come(&route, &mut Kept::default()).await.unwrap(), Full);
        assert_eq!(listen(dial(&route).await.unwrap()).await, Full);
    }
}

#[tokio::test]
async fn nothing_is_kept_of_files_that_have_changed() {
    let pki = Pki::new("changed");
    let port = serve(&pki).await;
    let route = route(&pki, port);
    let mut kept = Kept::default();
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);
    let authorities = fs::read_to_string(pki.path("ca.pem")).unwrap();

    // Written anew, and the same.
    pki.write("ca.pem", &authorities);
    assert_eq!(come(&route, &mut kept).await.unwrap(), Resumed);
    pki.write("ca.pem", &format!("# by hand\n{authorities}"));
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);
    assert_eq!(come(&route, &mut kept).await.unwrap(), Resumed);
    let key = fs::read_to_string(pki.path("client.key")).unwrap();
    pki.write("client.key", &format!("{key}\n"));
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);

    // Who is trusted no more is not let in by what was agreed on before.
    let others = fs::read_to_string(pki.path("other-ca.pem")).unwrap();
    pki.write("ca.pem", &others);
    let error = come(&route, &mut kept).await.unwrap_err();
    let is_unknown = |error: &DialError| matches!(error, DialError::Tls { source, .. } if matches!(source, TlsError::UnknownAuthority { .. }));
    assert!(is_unknown(&error), "{error}");
    fs::remove_file(pki.path("ca.pem")).unwrap();
    let error = come(&route, &mut kept).await.unwrap_err();
    assert!(
        matches!(
            &error,
            DialError::Tls {
                source: TlsError::Files(_),
                ..
            }
        ),
        "{error}"
    );
    pki.write("ca.pem", &authorities);
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);
}

#[tokio::test]
async fn other_settings_begin_anew() {
    let pki = Pki::new("settings");
    let port = serve(&pki).await;
    let mut route = route(&pki, port);
    let mut kept = Kept::default();
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);
    let tls = route.tls.as_mut().expect("TLS");
    tls.authorities = None;
    tls.authorities_folder = Some(pki.path(""));
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);
    assert_eq!(come(&route, &mut kept).await.unwrap(), Resumed);
    // One more in the folder.
    pki.write("more.pem", &fs::read_to_string(pki.path("other-ca.pem")).unwrap());
    assert_eq!(come(&route, &mut kept).await.unwrap(), Full);
}
