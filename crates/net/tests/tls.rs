//! TLS over loopback sockets: both sides of this crate, and what each says when the other is not what it wants.

mod pki;

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use martlet_net::client::{Checks, ClientTls, DialError, Place, Route, TlsError, WebSocketRequest, dial};
use martlet_net::tls::certificate::Description;
use martlet_net::tls::files::Source;
use martlet_net::tls::names::{LowestVersion, tls_1_3_ciphers};
use martlet_net::tls::server::{ServerConfig, ServerTls, layers};
use martlet_net::websocket::Requirements;
use martlet_net::{Fault, Got, Stream};
use tokio::io::Interest;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::pki::Pki;

const BOUND: Duration = Duration::from_secs(20);

fn server_tls(pki: &Pki) -> ServerTls {
    ServerTls {
        certificate: pki.path("server.pem"),
        key: pki.path("server.key"),
        authorities: None,
        authorities_folder: None,
        revoked: None,
        require_certificate: false,
        lowest: LowestVersion::Tls12,
        suites: Vec::new(),
    }
}

fn mutual(pki: &Pki) -> ServerTls {
    ServerTls {
        authorities: Some(pki.path("ca.pem")),
        require_certificate: true,
        ..server_tls(pki)
    }
}

fn client_tls(pki: &Pki) -> ClientTls {
    ClientTls {
        authorities: Some(Source::File(pki.path("ca.pem"))),
        ..ClientTls::default()
    }
}

fn identified(pki: &Pki, name: &str) -> ClientTls {
    let file = |end: &str| Source::File(pki.path(&format!("{name}.{end}")));
    ClientTls {
        identity: Some((file("pem"), file("key"))),
        ..client_tls(pki)
    }
}

fn load(tls: &ServerTls) -> Arc<ServerConfig> {
    tls.load(SystemTime::now()).expect("the files are good").config
}

/// Writes all, and waits where the socket is full.
async fn write_all(stream: &mut Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() || !stream.flush().expect("the peer reads") {
        match stream.try_write_vectored(&[IoSlice::new(bytes)]) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.ready(Interest::WRITABLE).await.expect("a socket");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads once; 0 bytes: the end.
async fn read(stream: &mut Stream) -> Result<Vec<u8>, Fault> {
    let mut buffer = vec![0; 10_000];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(n) => return Ok(buffer[..n].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.ready(Interest::READABLE).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whom the client is at the server, by its certificate.
type Met = Result<Option<String>, Fault>;

/// One connection to a server that says back what it hears: what the client got, and what the server made of it.
async fn meet(
    config: Option<Arc<ServerConfig>>,
    web: Option<Requirements>,
    route: impl FnOnce(u16) -> Route,
) -> (Result<(), DialError>, Met) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("somebody comes");
        let mut stream = Stream::from(socket).with_layers(layers(config, web).expect("layers"));
        if let Err(fault) = stream.open().await {
            let _ = stream.shutdown();
            stream.linger().await;
            return Err(fault);
        }
        let shown = stream
            .layers()
            .and_then(|layers| layers.peer_certificates().first().cloned());
        let name = shown.and_then(|shown| Description::of(&shown).expect("it was read before").common_name);
        loop {
            let bytes = read(&mut stream).await?;
            if bytes.is_empty() {
                return Ok(name);
            }
            write_all(&mut stream, &bytes).await;
        }
    });
    let client = async move {
        let mut stream = dial(&route(port)).await?;
        let payload: Vec<u8> = (0..=250).cycle().take(300_000).collect();
        let (mut sent, mut came) = (0, Vec::new());
        while came.len() < payload.len() {
            // A part at a time, so that neither side waits for the other with full buffers.
            if sent < payload.len() {
                let end = (sent + 40_000).min(payload.len());
                write_all(&mut stream, &payload[sent..end]).await;
                sent = end;
            }
            while came.len() < sent {
                let bytes = read(&mut stream).await.map_err(|source| DialError::WebSocket {
                    address: "after the handshake".to_owned(),
                    source,
                })?;
                assert!(!bytes.is_empty(), "the server ended it");
                came.extend(bytes);
            }
        }
        assert!(came == payload, "what came back is not what was sent");
        stream.shutdown().expect("the server is there");
        Ok::<(), DialError>(())
    };
    let both = timeout(BOUND, async {
        let client = client.await;
        (client, server.await.expect("no panic"))
    });
    both.await.expect("both come to an end")
}

fn to(host: &str, tls: ClientTls) -> impl FnOnce(u16) -> Route {
    let host = host.to_owned();
    move |port| Route {
        place: Place::Internet { host, port },
        bind: None,
        no_delay: true,
        proxy: None,
        tls: Some(tls),
        websocket: None,
    }
}

fn web() -> Requirements {
    Requirements {
        head_bytes_max: 4_096,
        origins: Vec::new(),
    }
}

fn tls_error(result: Result<(), DialError>) -> TlsError {
    match result {
        Err(DialError::Tls { source, .. }) => source,
        other => panic!("no error of TLS: {other:?}"),
    }
}

#[tokio::test]
async fn tls_carries_bytes_both_ways() {
    let pki = Pki::new("carries");
    for lowest in [LowestVersion::Tls12, LowestVersion::Tls13] {
        let tls = ServerTls {
            lowest,
            ..server_tls(&pki)
        };
        let (client, server) = meet(Some(load(&tls)), None, to("localhost", client_tls(&pki))).await;
        client.unwrap();
        assert_eq!(server.unwrap(), None);
    }
}

#[tokio::test]
async fn a_websocket_inside_of_tls_and_without() {
    let pki = Pki::new("wss");
    for is_secured in [true, false] {
        let config = is_secured.then(|| load(&server_tls(&pki)));
        let tls = is_secured.then(|| client_tls(&pki));
        let route = move |port| Route {
            tls,
            websocket: Some(WebSocketRequest::default()),
            ..to("localhost", ClientTls::default())(port)
        };
        let (client, server) = meet(config, Some(web()), route).await;
        client.unwrap();
        assert_eq!(server.unwrap(), None);
    }
}

#[tokio::test]
async fn clients_are_known_by_their_certificates() {
    let pki = Pki::new("mutual");
    let (client, server) = meet(
        Some(load(&mutual(&pki))),
        None,
        to("localhost", identified(&pki, "client")),
    )
    .await;
    client.unwrap();
    assert_eq!(server.unwrap().as_deref(), Some("sensor-7"));

    let (client, server) = meet(Some(load(&mutual(&pki))), None, to("localhost", client_tls(&pki))).await;
    let text = client.unwrap_err().to_string();
    assert!(text.contains("it wants a certificate of this side"), "{text}");
    let fault = server.unwrap_err();
    assert_eq!(
        (fault.key(), fault.to_string().as_str()),
        ("no_certificate", "the other side shows no certificate, and must")
    );

    let (_, server) = meet(
        Some(load(&mutual(&pki))),
        None,
        to("localhost", identified(&pki, "stranger")),
    )
    .await;
    let fault = server.unwrap_err();
    assert_eq!(
        (fault.key(), fault.to_string().as_str()),
        (
            "unknown_ca",
            "its certificate is signed by nobody who is trusted here"
        )
    );

    let revoking = ServerTls {
        revoked: Some(pki.path("revoked.pem")),
        ..mutual(&pki)
    };
    let (_, server) = meet(
        Some(load(&revoking)),
        None,
        to("localhost", identified(&pki, "client")),
    )
    .await;
    assert_eq!(server.unwrap_err().key(), "revoked");
}

#[tokio::test]
async fn a_key_with_a_pass_phrase_opens() {
    let pki = Pki::new("pass-phrase");
    let sealed = |pass_phrase: Option<&str>| ClientTls {
        identity: Some((
            Source::File(pki.path("client.pem")),
            Source::File(pki.path("sealed.key")),
        )),
        pass_phrase: pass_phrase.map(|text| text.as_bytes().into()),
        ..client_tls(&pki)
    };
    pki.seal("client.key", "sealed.key", "open sesame");
    let (client, server) = meet(
        Some(load(&mutual(&pki))),
        None,
        to("localhost", sealed(Some("open sesame"))),
    )
    .await;
    client.unwrap();
    assert_eq!(server.unwrap().as_deref(), Some("sensor-7"));
    for (pass_phrase, expected) in [
        (Some("wrong"), "the pass phrase is not the right one"),
        (None, "there is no pass phrase"),
    ] {
        let route = to("localhost", sealed(pass_phrase))(1);
        let text = dial(&route).await.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_server_is_named() {
    let pki = Pki::new("named");
    let other = ClientTls {
        authorities: Some(Source::File(pki.path("other-ca.pem"))),
        ..ClientTls::default()
    };
    let (client, server) = meet(Some(load(&server_tls(&pki))), None, to("localhost", other)).await;
    let error = tls_error(client);
    let expected = format!(
        "the server's certificate is signed by 'CN=Test CA', which is not in {}",
        pki.path("other-ca.pem").display()
    );
    assert_eq!(error.to_string(), expected);
    let text = server.unwrap_err().to_string();
    assert_eq!(
        text,
        "the other side refused: it does not trust who signed our certificate"
    );

    let (client, _) = meet(
        Some(load(&server_tls(&pki))),
        None,
        to("127.0.0.1", client_tls(&pki)),
    )
    .await;
    assert_eq!(
        tls_error(client).to_string(),
        "the certificate is for 'localhost', not for '127.0.0.1'"
    );

    let old = ServerTls {
        certificate: pki.path("expired.pem"),
        key: pki.path("expired.key"),
        ..server_tls(&pki)
    };
    let loaded = old.load(SystemTime::now()).unwrap();
    assert!(
        loaded.warnings[0].contains("(CN=localhost) expired"),
        "{:?}",
        loaded.warnings
    );
    let (client, _) = meet(Some(loaded.config), None, to("localhost", client_tls(&pki))).await;
    let text = tls_error(client).to_string();
    assert!(
        text.starts_with("the server's certificate ('CN=localhost') expired "),
        "{text}"
    );
}

#[tokio::test]
async fn insecure_is_as_insecure_as_it_is_named() {
    let pki = Pki::new("insecure");
    let checking = |checks, authorities: &str| ClientTls {
        authorities: Some(Source::File(pki.path(authorities))),
        checks,
        ..ClientTls::default()
    };
    let config = load(&server_tls(&pki));
    let cases = [
        (checking(Checks::AllButTheName, "ca.pem"), true),
        (checking(Checks::AllButTheName, "other-ca.pem"), false),
        (checking(Checks::Nothing, "other-ca.pem"), true),
        (
            ClientTls {
                checks: Checks::Nothing,
                ..ClientTls::default()
            },
            true,
        ),
    ];
    for (tls, is_accepted) in cases {
        let shown = format!("{tls:?}");
        let (client, _) = meet(Some(Arc::clone(&config)), None, to("127.0.0.1", tls)).await;
        assert_eq!(client.is_ok(), is_accepted, "{shown}");
    }
}

#[tokio::test]
async fn nothing_in_common() {
    let pki = Pki::new("common");
    let only = |name| tls_1_3_ciphers(name).unwrap();
    let server = ServerTls {
        suites: only("TLS_AES_128_GCM_SHA256"),
        lowest: LowestVersion::Tls13,
        ..server_tls(&pki)
    };
    let client = ClientTls {
        suites: only("TLS_AES_256_GCM_SHA384"),
        lowest: LowestVersion::Tls13,
        ..client_tls(&pki)
    };
    let (client, server) = meet(Some(load(&server)), None, to("localhost", client)).await;
    assert_eq!(server.unwrap_err().to_string(), "no cipher in common");
    let text = tls_error(client).to_string();
    assert!(text.contains("nothing in common"), "{text}");
}

/// Bytes that a client sends in the clear where TLS is expected, what they are, and how the answer begins.
#[tokio::test]
async fn who_speaks_something_else_is_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let pki = Pki::new("mismatch");
    let config = load(&server_tls(&pki));
    let cases: [(&[u8], Got, &[u8]); 3] = [
        (b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", Got::Mqtt, b"\x15\x03"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Got::Http, b"HTTP/1.1 400 "),
        (b"SSH-2.0-OpenSSH\r\n", Got::Unknown, b"\x15\x03"),
    ];
    for (bytes, got, answer) in cases {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::clone(&config);
        let server = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = Stream::from(socket).with_layers(layers(Some(config), None).unwrap());
            let fault = stream.open().await.unwrap_err();
            let _ = stream.shutdown();
            stream.linger().await;
            fault
        });
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        timeout(BOUND, client.read_to_end(&mut all))
            .await
            .unwrap()
            .unwrap();
        assert!(all.starts_with(answer), "{got}: {all:?}");
        drop(client);
        let fault = timeout(BOUND, server).await.unwrap().unwrap();
        assert_eq!(fault.got(), Some(got));
    }
}

/// TLS towards a broker that does not speak it.
#[tokio::test]
async fn a_server_without_tls_is_told_from_one_with() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let pki = Pki::new("plain");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 10]).await;
        let _ = socket.write_all(b"\x20\x02\0\x01").await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let result = timeout(BOUND, dial(&to("localhost", client_tls(&pki))(port)))
        .await
        .unwrap();
    let error = tls_error(result.map(drop));
    assert_eq!(error, TlsError::NotTls(Got::Mqtt));
    assert_eq!(error.to_string(), "the server speaks plain MQTT, not TLS");
}

#[test]
fn files_that_are_wrong_say_how() {
    let pki = Pki::new("files");
    pki.write("empty.pem", "");
    pki.write("text.pem", "hello\n");
    let server = std::fs::read_to_string(pki.path("server.pem")).unwrap();
    pki.write(
        "cut.pem",
        &format!("# of the broker\n\n{}", &server[..server.len() / 2]),
    );
    pki.write(
        "rubbish.pem",
        "\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    pki.write(
        "old.key",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    );
    pki.seal("server.key", "sealed.key", "x");
    let cases = [
        (
            "none.pem",
            "server.key",
            "T003",
            "cannot read the certificate '{}none.pem': there is no such file",
        ),
        (
            "",
            "server.key",
            "T003",
            "cannot read the certificate '{}': it is a folder",
        ),
        (
            "empty.pem",
            "server.key",
            "T004",
            "'{}empty.pem' holds no certificate: it is empty",
        ),
        ("text.pem", "server.key", "T004", "it is not PEM"),
        (
            "cut.pem",
            "server.key",
            "T004",
            "'{}cut.pem':3: this entry cannot be read: its END line is missing",
        ),
        (
            "rubbish.pem",
            "server.key",
            "T004",
            "'{}rubbish.pem':2: this entry cannot be read: ",
        ),
        (
            "server.key",
            "server.pem",
            "T004",
            "it holds a private key (are the two files swapped?)",
        ),
        (
            "server.pem",
            "server.pem",
            "T004",
            "'{}server.pem' holds no key: it holds a certificate",
        ),
        (
            "server.pem",
            "client.key",
            "T005",
            "the key '{}client.key' does not belong to the certificate '{}server.pem' (their public keys differ: ",
        ),
        (
            "server.pem",
            "sealed.key",
            "T006",
            "the key '{}sealed.key' is encrypted, and there is no pass phrase",
        ),
        ("server.pem", "old.key", "T006", "in the old way of OpenSSL"),
    ];
    let folder = format!("{}/", pki.path("").display()).replace("//", "/");
    for (certificate, key, code, words) in cases {
        let tls = ServerTls {
            certificate: if certificate.is_empty() {
                PathBuf::from(&folder)
            } else {
                pki.path(certificate)
            },
            key: pki.path(key),
            ..server_tls(&pki)
        };
        let faults = tls.load(SystemTime::now()).unwrap_err();
        let text = faults[0].to_string();
        assert!(
            text.contains(&words.replace("{}", &folder)),
            "{certificate} {key}: {text}"
        );
        assert_eq!(faults[0].code(), code, "{text}");
    }
    let both = ServerTls {
        certificate: pki.path("none.pem"),
        key: pki.path("none.key"),
        authorities: Some(pki.path("empty.pem")),
        ..server_tls(&pki)
    };
    assert_eq!(both.load(SystemTime::now()).unwrap_err().len(), 3);
}

/// Files are read where waiting is allowed: a runtime of one thread goes on meanwhile.
#[test]
fn files_are_read_off_the_thread_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        // The one thread that may wait has something else to do.
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        let tls = ClientTls {
            authorities: Some(Source::File("no/such/ca.pem".into())),
            ..ClientTls::default()
        };
        let route = to("localhost", tls)(1);
        let mut dialed = Box::pin(dial(&route));
        for _ in 0..100 {
            let is_pending =
                std::future::poll_fn(|cx| Poll::Ready(dialed.as_mut().poll(cx).is_pending())).await;
            assert!(is_pending, "it did not wait for the thread that reads files");
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        let dialed = timeout(BOUND, dialed).await.unwrap();
        assert!(matches!(tls_error(dialed.map(|_| ())), TlsError::Files(_)));
        busy.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn files_that_change_are_read_again_at_the_next_attempt() {
    let pki = Pki::new("client-files");
    let config = load(&server_tls(&pki));
    let file = pki.path("trusted.pem");
    let tls = ClientTls {
        authorities: Some(Source::File(file.clone())),
        ..ClientTls::default()
    };
    std::fs::copy(pki.path("other-ca.pem"), &file).unwrap();
    let (result, _) = meet(Some(Arc::clone(&config)), None, to("localhost", tls.clone())).await;
    assert!(matches!(tls_error(result), TlsError::UnknownAuthority { .. }));
    std::fs::copy(pki.path("ca.pem"), &file).unwrap();
    let (result, _) = meet(Some(config), None, to("localhost", tls)).await;
    result.unwrap();
}
