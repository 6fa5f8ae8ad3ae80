//! What a client keeps of TLS from one connection to the next.

use std::fs;
use std::io::{self, IoSlice};
use std::path::Path;
use std::time::{Duration, SystemTime};

use martlet_client::tls::Source;
use martlet_client::{Client, Options, Reconnect, Tls};
use martlet_net::tls::names::LowestVersion;
use martlet_net::tls::server::{ServerTls, layers};
use martlet_net::{Layers, Stream};
use tokio::io::Interest;
use tokio::net::TcpListener;

use crate::fake::within;

/// Waits for CONNECT and agrees.
async fn agree(stream: &mut Stream) {
    let mut buffer = [0; 1_000];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(bytes) => break assert!(bytes > 1 && buffer[0] == 0x10, "no CONNECT"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                within(stream.ready(Interest::READABLE)).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    // CONNACK of 5.0.
    let sent = stream.try_write_vectored(&[IoSlice::new(&[0x20, 3, 0, 0, 0])]);
    assert_eq!(sent.unwrap(), 5);
    assert!(stream.flush().unwrap());
}

#[tokio::test]
async fn a_reconnect_takes_the_session_of_tls_up_again() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    fs::write(&certificate, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let server = ServerTls {
        certificate: certificate.clone(),
        key,
        authorities: None,
        authorities_folder: None,
        revoked: None,
        require_certificate: false,
        lowest: LowestVersion::Tls12,
        suites: Vec::new(),
    };
    let config = server.load(SystemTime::now()).unwrap().config;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options::new("localhost", listener.local_addr().unwrap().port())
        .reconnect(Reconnect::fixed(Duration::ZERO))
        .tls(Tls {
            authorities: Some(Source::File(certificate)),
            ..Tls::default()
        });
    let client = Client::start(options).unwrap();
    for expected in ["Full", "Resumed", "Resumed"] {
        let (socket, _) = within(listener.accept()).await.unwrap();
        let layers = layers(Some(config.clone()), None).unwrap();
        let mut stream = Stream::from(socket).with_layers(layers);
        within(stream.open()).await.unwrap();
        agree(&mut stream).await;
        let kind = stream
            .layers()
            .and_then(Layers::handshake_kind)
            .expect("it is done");
        assert_eq!(format!("{kind:?}"), expected);
        within(client.connected()).await.unwrap();
        // Lost: the client comes back.
        drop(stream);
    }
    fs::remove_dir_all(&folder).unwrap();
}
