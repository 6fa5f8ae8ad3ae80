//! Proxies over loopback sockets: dialogs of SOCKS5 and CONNECT with a proxy that really connects, and with proxies
//! that refuse, talk rubbish or say nothing.

mod pki;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use martlet_net::Stream;
use martlet_net::client::{ClientTls, DialError, Place, Proxy, ProxyError, Route, dial};
use martlet_net::tls::files::Source;
use martlet_net::tls::names::LowestVersion;
use martlet_net::tls::server::{ServerConfig, ServerTls, layers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::pki::Pki;

const BOUND: Duration = Duration::from_secs(20);

/// What a client asked a proxy for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// As SOCKS5 or HTTP spell it.
    host: String,
    login: Option<String>,
}

/// A listener on a port of its own.
async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A server that says hello at once and sends back what comes.
async fn echo() -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello ").await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    port
}

/// A SOCKS5 proxy for one client. Whatever host is asked for, it is this machine's.
async fn socks5(login: Option<&'static str>) -> (u16, oneshot::Receiver<Asked>) {
    let (listener, port) = listen().await;
    let (tell, asked) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 5);
        let methods = short(&mut stream).await;
        let mut shown = None;
        if let Some(login) = login {
            assert!(methods.contains(&2), "{methods:?}");
            stream.write_all(&[5, 2]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 1);
            let (name, password) = (short(&mut stream).await, short(&mut stream).await);
            let text = format!("{}:{}", text(name), text(password));
            let is_known = text == login;
            stream.write_all(&[1, u8::from(!is_known)]).await.unwrap();
            if !is_known {
                return;
            }
            shown = Some(text);
        } else {
            stream.write_all(&[5, 0]).await.unwrap();
        }
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[..3], [5, 1, 0]);
        let host = match head[3] {
            1 => std::net::Ipv4Addr::from(stream.read_u32().await.unwrap()).to_string(),
            3 => text(short(&mut stream).await),
            4 => std::net::Ipv6Addr::from(stream.read_u128().await.unwrap()).to_string(),
            kind => panic!("there is no kind of address {kind}"),
        };
        let to = stream.read_u16().await.unwrap();
        let _ = tell.send(Asked { host, login: shown });
        let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        // It answers with the address that it connects from, here as a name.
        stream
            .write_all(&[5, 0, 0, 3, 2, b'm', b'e', 1, 2])
            .await
            .unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    });
    (port, asked)
}

/// A proxy that knows CONNECT, for one client.
async fn http() -> (u16, oneshot::Receiver<Asked>) {
    let (listener, port) = listen().await;
    let (tell, asked) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = text(head);
        let target = head
            .strip_prefix("CONNECT ")
            .and_then(|rest| rest.split_once(" HTTP/1.1\r\n"))
            .unwrap()
            .0;
        let (host, to) = target.rsplit_once(':').unwrap();
        assert!(head.contains(&format!("\r\nHost: {target}\r\n")), "{head}");
        let login = head
            .lines()
            .find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        let _ = tell.send(Asked {
            host: host.to_owned(),
            login: login.map(str::to_owned),
        });
        let mut server = TcpStream::connect(("127.0.0.1", to.parse().unwrap()))
            .await
            .unwrap();
        // The server's first bytes come right behind the empty line.
        let mut answer = b"HTTP/1.1 200 Connection established\r\nVia: a test\r\n\r\n".to_vec();
        let mut hello = [0; 6];
        server.read_exact(&mut hello).await.unwrap();
        answer.extend(hello);
        stream.write_all(&answer).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    });
    (port, asked)
}

async fn short(stream: &mut TcpStream) -> Vec<u8> {
    let length = stream.read_u8().await.unwrap();
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn route(proxy: &str, host: &str, port: u16) -> Route {
    Route {
        place: Place::Internet {
            host: host.to_owned(),
            port,
        },
        bind: None,
        no_delay: true,
        proxy: Some(Proxy::from_url(proxy).unwrap()),
        tls: None,
        websocket: None,
    }
}

async fn read(stream: &mut Stream, count: usize) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 256];
    while all.len() < count {
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.ready(Interest::READABLE).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    text(all)
}

/// Connects, and shows that bytes go both ways.
async fn talk(route: &Route) {
    let mut stream = timeout(BOUND, dial(route)).await.unwrap().unwrap();
    stream.try_write_vectored(&[IoSlice::new(b"there")]).unwrap();
    let said = timeout(BOUND, read(&mut stream, 11)).await.unwrap();
    assert_eq!(said, "hello there");
}

/// Names are the proxy's to look up: `.invalid` has no address anywhere.
const HOSTS: [(&str, &str); 4] = [
    ("127.0.0.1", "127.0.0.1"),
    ("broker.invalid", "broker.invalid"),
    ("::1", "::1"),
    ("2001:db8::7", "2001:db8::7"),
];

#[tokio::test]
async fn socks5_connects_by_address_and_by_name() {
    for (host, asked_for) in HOSTS {
        let server = echo().await;
        let (proxy, asked) = socks5(None).await;
        talk(&route(&format!("socks5h://127.0.0.1:{proxy}"), host, server)).await;
        let expected = Asked {
            host: asked_for.to_owned(),
            login: None,
        };
        assert_eq!(asked.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn socks5_with_a_login() {
    let server = echo().await;
    let (proxy, asked) = socks5(Some("alice:s3cr:t")).await;
    let url = format!("socks5://alice:s3cr:t@127.0.0.1:{proxy}");
    talk(&route(&url, "broker.invalid", server)).await;
    assert_eq!(asked.await.unwrap().login.as_deref(), Some("alice:s3cr:t"));
    // A proxy that wants no login is given none.
    let server = echo().await;
    let (proxy, asked) = socks5(None).await;
    let url = format!("socks5://alice:s3cr:t@127.0.0.1:{proxy}");
    talk(&route(&url, "broker.invalid", server)).await;
    assert_eq!(asked.await.unwrap().login, None);
}

#[tokio::test]
async fn http_connects_by_address_and_by_name() {
    for (host, asked_for) in HOSTS {
        let server = echo().await;
        let (proxy, asked) = http().await;
        talk(&route(&format!("http://127.0.0.1:{proxy}"), host, server)).await;
        let expected = Asked {
            host: if asked_for.contains(':') {
                format!("[{asked_for}]")
            } else {
                asked_for.to_owned()
            },
            login: None,
        };
        assert_eq!(asked.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn http_with_a_login() {
    let server = echo().await;
    let (proxy, asked) = http().await;
    let url = format!("http://alice:secret@127.0.0.1:{proxy}");
    talk(&route(&url, "broker.invalid", server)).await;
    let login = asked.await.unwrap().login;
    assert_eq!(login.as_deref(), Some("Basic YWxpY2U6c2VjcmV0"));
}

/// The certificate is the server's, and is to have the server's name, not the proxy's.
#[tokio::test]
async fn tls_goes_through_a_proxy_to_the_server() {
    let pki = Pki::new("proxies");
    let (listener, port) = listen().await;
    let config = server_config(&pki);
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = Stream::from(socket).with_layers(layers(Some(config), None).unwrap());
        timeout(BOUND, stream.open()).await.unwrap().unwrap();
        stream.try_write_vectored(&[IoSlice::new(b"sealed")]).unwrap();
        timeout(BOUND, stream.linger()).await.unwrap();
    });
    let (proxy, _) = socks5(None).await;
    let mut route = route(&format!("socks5h://127.0.0.1:{proxy}"), "localhost", port);
    route.tls = Some(ClientTls {
        authorities: Some(Source::File(pki.path("ca.pem"))),
        ..ClientTls::default()
    });
    let mut stream = timeout(BOUND, dial(&route)).await.unwrap().unwrap();
    assert_eq!(timeout(BOUND, read(&mut stream, 6)).await.unwrap(), "sealed");
    drop(stream);
    server.await.unwrap();
}

fn server_config(pki: &Pki) -> Arc<ServerConfig> {
    let tls = ServerTls {
        certificate: pki.path("server.pem"),
        key: pki.path("server.key"),
        authorities: None,
        authorities_folder: None,
        revoked: None,
        require_certificate: false,
        lowest: LowestVersion::Tls12,
        suites: Vec::new(),
    };
    tls.load(SystemTime::now()).unwrap().config
}

/// A proxy that answers whatever comes, one answer after the other, and closes behind the last.
async fn answering(answers: Vec<Vec<u8>>) -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut asked = [0; 1_024];
            if !matches!(stream.read(&mut asked).await, Ok(1..)) {
                return;
            }
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        let _ = stream.shutdown().await;
        // What is unread when it is closed would take the answer with it.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    port
}

async fn refusal(scheme: &str, login: &str, host: &str, answers: &[&[u8]]) -> (ProxyError, String) {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    let proxy = answering(answers).await;
    let route = route(&format!("{scheme}://{login}127.0.0.1:{proxy}"), host, 1883);
    let Err(error) = timeout(BOUND, dial(&route)).await.unwrap() else {
        panic!("{scheme} to {host} connected");
    };
    let text = error.to_string().replace(&proxy.to_string(), "PORT");
    match error {
        DialError::Proxy { source, .. } => (source, text),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_says_why() {
    let said = |why: &str| format!("the proxy 127.0.0.1:PORT does not connect to broker.invalid:1883: {why}");
    let socks: [(u8, &str); 9] = [
        (1, "it has failed"),
        (2, "its rules do not allow this connection"),
        (3, "the network is unreachable"),
        (4, "the host is unreachable"),
        (5, "the server refuses the connection"),
        (6, "it took too long"),
        (7, "it does not connect by TCP"),
        (8, "it does not know this kind of address"),
        (77, "reply 77"),
    ];
    for (code, why) in socks {
        let answers: [&[u8]; 2] = [&[5, 0], &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]];
        let (_, text) = refusal("socks5h", "", "broker.invalid", &answers).await;
        assert_eq!(text, said(&format!("it does not connect: {why}")));
    }
    let http: [(&[u8], &str); 3] = [
        (
            b"HTTP/1.1 403 Forbidden\r\n\r\n",
            "it does not connect: 403 Forbidden",
        ),
        (
            b"HTTP/1.0 502 Bad \x1b[31mGateway\r\n\r\n",
            "it does not connect: 502 Bad \\u{1b}[31mGateway",
        ),
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "it refuses this login",
        ),
    ];
    for (answer, why) in http {
        let (_, text) = refusal("http", "", "broker.invalid", &[answer]).await;
        assert_eq!(text, said(why));
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_as_such() {
    let is_login = |(error, _): (ProxyError, String)| matches!(error, ProxyError::Login);
    // None was given, and the proxy takes none of what is offered.
    assert!(is_login(refusal("socks5h", "", "h", &[&[5, 0xff]]).await));
    assert!(is_login(refusal("socks5h", "", "h", &[&[5, 2]]).await));
    // One was given, and is wrong.
    let wrong: [&[u8]; 2] = [&[5, 2], &[1, 1]];
    assert!(is_login(refusal("socks5h", "u:p@", "h", &wrong).await));
    let (proxy, _) = socks5(Some("alice:secret")).await;
    let url = format!("socks5h://alice:wrong@127.0.0.1:{proxy}");
    let error = dial(&route(&url, "h", 1883)).await.unwrap_err();
    assert!(
        !error.to_string().contains("wrong"),
        "no password in a message: {error}"
    );
    assert!(matches!(
        error,
        DialError::Proxy {
            source: ProxyError::Login,
            ..
        }
    ));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let proxy = format!("127.0.0.1:{port}");
    let error = dial(&route(&format!("socks5h://{proxy}"), "broker.invalid", 1883)).await;
    let error = error.unwrap_err();
    let why = "it cannot be reached: nothing listens there";
    assert_eq!(
        error.to_string(),
        format!("the proxy {proxy} does not connect to broker.invalid:1883: {why}")
    );
    // Said once.
    assert!(std::error::Error::source(&error).is_none());
}

#[tokio::test]
async fn rubbish_is_told_from_a_proxy() {
    let http: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let cases: [(&str, Vec<&[u8]>); 6] = [
        ("socks5h", vec![http]),
        ("socks5h", vec![&[4, 90]]),
        ("socks5h", vec![&[5, 0], &[9, 0, 0, 1]]),
        ("socks5h", vec![&[5, 0], &[5, 0, 0, 99]]),
        ("http", vec![b"\x05\xff\r\n\r\n"]),
        ("http", vec![b"SSH-2.0-x\r\n\r\n"]),
    ];
    for (scheme, answers) in cases {
        let (error, text) = refusal(scheme, "", "h", &answers).await;
        assert!(matches!(error, ProxyError::NotAProxy(_)), "{answers:?}: {text}");
    }
    // An answer without an end is not read for ever.
    let endless = b"HTTP/1.1 200 OK\r\n"
        .iter()
        .chain(b"X: y\r\n".iter().cycle().take(1 << 20));
    let endless: Vec<u8> = endless.copied().collect();
    let (error, text) = refusal("http", "", "h", &[&endless]).await;
    assert!(matches!(error, ProxyError::NotAProxy("HTTP")), "{text}");
}

#[tokio::test]
async fn a_proxy_that_hangs_up_in_the_middle() {
    let cases: [(&str, Vec<&[u8]>); 5] = [
        ("socks5h", vec![b"\x05"]),
        ("socks5h", vec![&[5, 0], &[5, 0, 0]]),
        ("socks5h", vec![&[5, 0], &[5, 0, 0, 1, 127, 0]]),
        ("socks5h", vec![&[5, 0], &[5, 0, 0, 3, 200, b'x']]),
        ("http", vec![b"HTTP/1.1 200 OK\r\n"]),
    ];
    for (scheme, answers) in cases {
        let (error, text) = refusal(scheme, "", "h", &answers).await;
        assert!(
            text.ends_with("it closed the connection in the middle of its answer"),
            "{error:?}: {text}"
        );
    }
}

#[tokio::test]
async fn what_no_proxy_can_be_asked_for() {
    let long = "n".repeat(256);
    let (error, _) = refusal("socks5h", "", &long, &[&[5, 0]]).await;
    assert!(matches!(error, ProxyError::TooLong("the name of the server")));
    let login = format!("{long}:p@");
    let (error, _) = refusal("socks5h", &login, "h", &[&[5, 2]]).await;
    assert!(matches!(error, ProxyError::TooLong("the name for the proxy")));
    // A name must not become a header.
    for host in ["h\r\nX: y", "a b", "h\0"] {
        let (error, _) = refusal("http", "", host, &[b"HTTP/1.1 200 OK\r\n\r\n"]).await;
        assert!(matches!(error, ProxyError::Name), "{host:?}");
    }
}

/// Whoever dials bounds the time; a proxy that says nothing costs no more than that.
#[tokio::test]
async fn a_silent_proxy_is_left() {
    for scheme in ["socks5h", "http"] {
        let (listener, port) = listen().await;
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Ends when the client has gone.
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            all
        });
        let route = route(&format!("{scheme}://127.0.0.1:{port}"), "h", 1883);
        let dialed = timeout(Duration::from_millis(50), dial(&route)).await;
        assert!(dialed.is_err(), "{scheme}");
        let said = timeout(BOUND, silent).await.unwrap().unwrap();
        assert!(said.len() < 100, "it asked once: {said:?}");
    }
}
