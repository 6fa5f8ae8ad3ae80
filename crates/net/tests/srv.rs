//! Servers that SRV records name, asked for at a name server of the test's own.
#![cfg(feature = "srv")]

mod pki;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use martlet_net::Stream;
use martlet_net::client::{
    ClientTls, DialError, Place, Route, Service, SrvError, TlsError, WebSocketRequest, dial,
};
use martlet_net::tls::files::Source;
use martlet_net::tls::names::LowestVersion;
use martlet_net::tls::server::{ServerTls, layers};
use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use crate::pki::Pki;

const BOUND: Duration = Duration::from_secs(20);

/// Priority, weight, port, host.
type Record = (u16, u16, u16, &'static str);

#[derive(Clone)]
enum Says {
    Records(Vec<Record>),
    /// By TCP only.
    TooMany(Vec<Record>),
    Code(RCODE),
    /// First an answer to a question that nobody asked.
    AfterRubbish(Vec<Record>),
    Nothing,
}

struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    async fn start(says: Says) -> Self {
        // The same number for both, which somebody else may have for TCP.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a free port");
            let address = udp.local_addr().expect("it is bound");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, by_tcp) = (Arc::clone(&asked), says.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((bytes, from)) = udp.recv_from(&mut buffer).await {
                let question = &buffer[..bytes];
                let name = Packet::parse(question).expect("a question").questions[0]
                    .qname
                    .to_string();
                log.lock().unwrap().push(name);
                match &says {
                    Says::Nothing => continue,
                    Says::AfterRubbish(_) => {
                        let mut stray = answer(question, &says);
                        stray[0] ^= 0xff;
                        for bytes in [&stray, &stray[..5]] {
                            udp.send_to(bytes, from).await.expect("loopback");
                        }
                    }
                    _ => {}
                }
                let mut bytes = answer(question, &says);
                if matches!(says, Says::TooMany(_)) {
                    let mut cut = Packet::parse(&bytes).expect("our own");
                    cut.set_flags(PacketFlag::TRUNCATION);
                    cut.answers.clear();
                    bytes = cut.build_bytes_vec().expect("it is small");
                }
                udp.send_to(&bytes, from).await.expect("loopback");
            }
        });
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = tcp.accept().await {
                let bytes = socket.read_u16().await.expect("a length");
                let mut question = vec![0; bytes.into()];
                socket.read_exact(&mut question).await.expect("a question");
                let answer = answer(&question, &by_tcp);
                let bytes = u16::try_from(answer.len()).expect("it fits");
                socket.write_u16(bytes).await.expect("loopback");
                socket.write_all(&answer).await.expect("loopback");
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(question: &[u8], says: &Says) -> Vec<u8> {
    let mut packet = Packet::parse(question).expect("a question").into_reply();
    let name = packet.questions[0].qname.clone();
    match says {
        Says::Code(code) => *packet.rcode_mut() = *code,
        Says::Nothing => {}
        Says::Records(records) | Says::TooMany(records) | Says::AfterRubbish(records) => {
            for (priority, weight, port, host) in records {
                let srv = SRV {
                    priority: *priority,
                    weight: *weight,
                    port: *port,
                    target: Name::new(host).expect("a name"),
                };
                let record = ResourceRecord::new(name.clone(), CLASS::IN, 60, RData::SRV(srv));
                packet.answers.push(record);
            }
        }
    }
    packet.build_bytes_vec_compressed().expect("it is small")
}

fn route(domain: &str, name_servers: &[&NameServer]) -> Route {
    Route {
        place: Place::Service(Service {
            domain: domain.to_owned(),
            name_servers: name_servers.iter().map(|server| server.address).collect(),
        }),
        bind: None,
        no_delay: true,
        proxy: None,
        tls: None,
        websocket: None,
    }
}

async fn reach(route: &Route) -> Result<Stream, DialError> {
    timeout(BOUND, dial(route)).await.expect("it ends")
}

fn srv_error(result: Result<Stream, DialError>) -> (String, SrvError) {
    match result {
        Err(DialError::Srv { name, source }) => (name, source),
        other => panic!("{other:?}"),
    }
}

/// One that takes connections, and its port.
async fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// A port on which nothing listens.
async fn closed() -> u16 {
    server().await.1
}

#[tokio::test]
async fn the_next_one_is_tried_where_one_cannot_be_reached() {
    let (listener, port) = server().await;
    let records = vec![
        (2, 0, port, "localhost"),
        (1, 5, closed().await, "localhost"),
        (1, 5, 1883, "no-such-host.invalid"),
        (3, 0, closed().await, "localhost"),
    ];
    for says in [
        Says::Records(records.clone()),
        Says::TooMany(records.clone()),
        Says::AfterRubbish(records),
    ] {
        let names = NameServer::start(says).await;
        reach(&route("example.org.", &[&names]))
            .await
            .expect("the second");
        assert_eq!(names.asked(), ["_mqtt._tcp.example.org"]);
        timeout(BOUND, listener.accept()).await.expect("it came").unwrap();
    }
}

#[tokio::test]
async fn the_last_failure_is_told() {
    let port = closed().await;
    let records = vec![(1, 0, 1883, "no-such-host.invalid"), (2, 0, port, "localhost")];
    let names = NameServer::start(Says::Records(records)).await;
    let error = reach(&route("example.org", &[&names])).await.unwrap_err();
    let expected = format!("localhost:{port} refused the connection: nothing listens there");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_name_server_that_cannot_answer_is_followed_by_the_next() {
    let (_listener, port) = server().await;
    let good = NameServer::start(Says::Records(vec![(0, 0, port, "localhost")])).await;
    let failing = NameServer::start(Says::Code(RCODE::ServerFailure)).await;
    let silent = NameServer::start(Says::Nothing).await;
    reach(&route("example.org", &[&failing, &silent, &good]))
        .await
        .unwrap();
    assert_eq!((failing.asked().len(), silent.asked().len()), (1, 1));

    let (name, error) = srv_error(reach(&route("example.org", &[&failing])).await);
    assert_eq!(name, "_mqtt._tcp.example.org");
    assert_eq!(
        error,
        SrvError::NoAnswer(format!("{}: ServerFailure", failing.address))
    );
}

#[tokio::test]
async fn what_the_dns_may_say_instead() {
    let cases = [
        (Says::Code(RCODE::NameError), SrvError::NoRecord),
        (Says::Records(Vec::new()), SrvError::NoRecord),
        (Says::Records(vec![(0, 0, 0, ".")]), SrvError::NotOffered),
    ];
    for (says, expected) in cases {
        let (first, second) = (
            NameServer::start(says).await,
            NameServer::start(Says::Nothing).await,
        );
        let (_, error) = srv_error(reach(&route("example.org", &[&first, &second])).await);
        assert_eq!(error, expected);
        assert!(second.asked().is_empty(), "the answer was final");
    }
}

#[tokio::test]
async fn what_has_no_srv_records() {
    let names = NameServer::start(Says::Nothing).await;
    for domain in ["127.0.0.1", "::1", &"a".repeat(64)] {
        let (_, error) = srv_error(reach(&route(domain, &[&names])).await);
        assert!(matches!(error, SrvError::Name(_)), "{error}");
    }
    let mut route = route("example.org", &[&names]);
    route.websocket = Some(WebSocketRequest::default());
    assert!(matches!(reach(&route).await, Err(DialError::Request(_))));
    assert!(names.asked().is_empty());
}

/// Whoever can forge an answer of the DNS must not be able to choose whose certificate is good.
#[tokio::test]
async fn a_certificate_names_the_domain_and_not_the_target() {
    let pki = Pki::new("srv-name");
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
    let config = tls.load(SystemTime::now()).expect("good files").config;
    let (listener, port) = server().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let layers = layers(Some(Arc::clone(&config)), None).expect("layers");
            let mut stream = Stream::from(socket).with_layers(layers);
            // A client that does not trust us goes: that is what the test is about.
            let _ = stream.open().await;
        }
    });
    // The certificate is for localhost: as a target that is not enough, as the domain it is.
    let names = NameServer::start(Says::Records(vec![(0, 0, port, "localhost")])).await;
    let secured = |domain| Route {
        tls: Some(ClientTls {
            authorities: Some(Source::File(pki.path("ca.pem"))),
            ..ClientTls::default()
        }),
        ..route(domain, &[&names])
    };
    match reach(&secured("example.org")).await {
        Err(DialError::Tls {
            source: TlsError::WrongName { wanted, .. },
            ..
        }) => assert_eq!(wanted, "example.org"),
        other => panic!("{other:?}"),
    }
    reach(&secured("localhost")).await.expect("its own name");
    assert_eq!(
        names.asked(),
        ["_secure-mqtt._tcp.example.org", "_secure-mqtt._tcp.localhost"]
    );
}

/// One that takes connections and says nothing does not use up the time of all.
#[tokio::test]
async fn a_silent_server_is_left_for_the_next() {
    let pki = Pki::new("srv-silent");
    let (_silent, silent) = server().await;
    let records = vec![(1, 0, silent, "localhost"), (2, 0, closed().await, "localhost")];
    let names = NameServer::start(Says::Records(records)).await;
    let mut route = route("localhost", &[&names]);
    route.tls = Some(ClientTls {
        authorities: Some(Source::File(pki.path("ca.pem"))),
        ..ClientTls::default()
    });
    let start = Instant::now();
    let error = reach(&route).await.unwrap_err();
    assert!(matches!(error, DialError::ConnectionRefused { .. }), "{error}");
    assert!(start.elapsed() >= martlet_net::limits::SRV_TARGET_WAIT_MAX);
}
