//! TLS: what is set is applied, what is wrong is named, and what is kept from one connection to the next.

use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use martlet_client::{Client, Options, Reconnect, Tls};
use martlet_net::tls::names::LowestVersion;
use martlet_net::tls::server::{ServerConfig, ServerTls, layers};
use martlet_net::{Layers, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpListener;

use crate::fake::within;

/// A certificate for localhost that nobody else has signed, in files.
struct Pki {
    folder: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pki {
    fn new(name: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        fs::write(&certificate, own.cert.pem()).unwrap();
        fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        Self {
            folder,
            certificate,
            key,
        }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let server = ServerTls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authorities: None,
            authorities_folder: None,
            revoked: None,
            require_certificate: false,
            lowest: LowestVersion::Tls12,
            suites: Vec::new(),
        };
        server.load(SystemTime::now()).unwrap().config
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

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
    let pki = Pki::new("again");
    let config = pki.server();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options::new("localhost", listener.local_addr().unwrap().port())
        .reconnect(Reconnect::fixed(Duration::ZERO))
        .tls(Tls::default().ca_file(&pki.certificate));
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
}

/// Why there is no connection, with what differs from run to run in capitals.
async fn refusal(options: Options, port: u16) -> String {
    let error = within(Client::connect(options)).await.unwrap_err();
    error.to_string().replace(&port.to_string(), "PORT")
}

#[tokio::test]
async fn pain_16_what_is_set_of_tls_is_applied_and_what_is_wrong_is_named() {
    let (pki, stranger) = (Pki::new("known"), Pki::new("stranger"));
    let config = pki.server();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = Stream::from(socket).with_layers(layers(Some(config.clone()), None).unwrap());
            if stream.open().await.is_ok() {
                agree(&mut stream).await;
            }
        }
    });
    let options = |tls| Options::new("localhost", port).tls(tls);
    let trusting = || Tls::default().ca_file(&pki.certificate);
    // From a file or from memory.
    within(Client::connect(options(trusting()))).await.unwrap();
    let pem = fs::read(&pki.certificate).unwrap();
    let from_memory = options(Tls::default().ca_pem(&pem));
    within(Client::connect(from_memory)).await.unwrap();

    let missing = pki.folder.join("none.pem");
    let name = |server_name: &str| Tls {
        server_name: Some(server_name.to_owned()),
        ..trusting()
    };
    for (tls, expected) in [
        (
            Tls::default().ca_file(&stranger.certificate),
            // Its authority has the name of the right one, and another key.
            "no TLS with localhost:PORT: its certificate has a bad signature",
        ),
        (
            Tls::default().ca_file(&missing),
            "no TLS with localhost:PORT: cannot read the CA certificates '",
        ),
        (
            Tls::default().ca_pem("rubbish"),
            "no TLS with localhost:PORT: no CA certificates in what was given as CA certificates: it is not PEM",
        ),
        (
            trusting().client_certificate(pki.certificate.clone(), stranger.key.clone()),
            "no TLS with localhost:PORT: the key '",
        ),
        (
            name("broker.example"),
            "no TLS with localhost:PORT: the certificate is for 'localhost', not for 'broker.example'",
        ),
    ] {
        let text = refusal(options(tls), port).await;
        assert!(text.starts_with(expected), "{text}");
    }
    server.abort();
}

#[tokio::test]
async fn pain_16_a_port_of_another_kind_is_named() {
    let alert: &'static [u8] = &[0x15, 3, 3, 0, 2, 2, 70];
    let refused: &'static [u8] = &[0x20, 3, 0, 0x81, 0];
    fn plain(port: u16) -> Options {
        Options::new("localhost", port)
    }
    fn tls(port: u16) -> Options {
        plain(port).tls(Tls::default())
    }
    type Case = (fn(u16) -> Options, &'static [u8], &'static str);
    let cases: [Case; 4] = [
        (
            plain,
            alert,
            "localhost:PORT ended the connection before it answered: the server speaks TLS on this port, and this client does not",
        ),
        (
            plain,
            &[0x88, 2, 3, 0xea],
            "localhost:PORT ended the connection before it answered: the server speaks WebSocket on this port",
        ),
        (
            tls,
            refused,
            "no TLS with localhost:PORT: the server speaks plain MQTT, not TLS",
        ),
        (
            tls,
            &[],
            "no TLS with localhost:PORT: the other side closed the connection in the handshake: it may speak no TLS on this port",
        ),
    ];
    for (options, answer, expected) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            // What is unread when it is closed would take the answer with it.
            socket.read_buf(&mut Vec::with_capacity(10_000)).await.unwrap();
            socket.write_all(answer).await.unwrap();
        });
        let text = refusal(options(port), port).await;
        assert!(text.starts_with(expected), "{text}");
        server.await.unwrap();
    }
}
