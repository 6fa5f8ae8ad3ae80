//! Our client by every way, in every version, at the built broker and at Debian's mosquitto: one suite for each cell of
//! that matrix, which is made of the lists at the end. What does not depend on the way is in `client.rs`.

use std::future::Future;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use martlet_client::tls::{Source, TlsError};
use martlet_client::{
    Client, ConnectError, DialError, Event, FilterBuf, Leftover, Lost, Message, Options, Protocol, Qos,
    ReasonCode, Reconnect, Subscribe, Subscription, Tls, Version, filter, topic,
};
use martlet_client::{PropertiesBuf, State};
use martlet_interop::transport::socket;
use martlet_interop::{Broker, Server, Transport};
use tokio::runtime::Runtime;

/// Bounds every wait.
const LIMIT: Duration = Duration::from_secs(30);

/// One broker, reached by one way, in one version.
struct Cell {
    server: Server,
    broker: Broker,
    transport: Transport,
    version: Version,
    runtime: Runtime,
}

impl Cell {
    fn new(server: Server, transport: Transport, version: Version, name: &str) -> Self {
        Self {
            server,
            broker: Broker::start_server_over(server, name, transport, ""),
            transport,
            version,
            runtime: runtime(),
        }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run(&self.runtime, future)
    }

    fn file(&self, name: &str) -> Source {
        Source::File(self.broker.folder().join(name))
    }

    fn url(&self) -> String {
        let port = self.broker.other_port();
        match self.transport {
            Transport::Tcp => format!("mqtt://localhost:{port}"),
            Transport::Tls | Transport::Mutual => format!("mqtts://localhost:{port}"),
            Transport::Ws => format!("ws://localhost:{port}/mqtt"),
            Transport::Wss => format!("wss://localhost:{port}/mqtt"),
            Transport::Unix => format!("unix://{}", socket(self.broker.folder()).display()),
        }
    }

    /// What a client of this cell is told, by a way without a certificate of its own.
    fn anonymous(&self, client_id: &str) -> Options {
        let options = Options::from_url(&self.url()).expect("a URL");
        let options = options.client_id(client_id).protocol(match self.version {
            Version::V3_1 => Protocol::V3_1,
            Version::V3_1_1 => Protocol::V3_1_1,
            Version::V5 => Protocol::V5,
        });
        match self.transport {
            Transport::Tls | Transport::Mutual | Transport::Wss => options.tls(self.tls("ca.pem")),
            Transport::Tcp | Transport::Ws | Transport::Unix => options,
        }
    }

    fn tls(&self, authorities: &str) -> Tls {
        Tls {
            authorities: Some(self.file(authorities)),
            ..Tls::default()
        }
    }

    fn options(&self, client_id: &str) -> Options {
        let options = self.anonymous(client_id);
        if self.transport != Transport::Mutual {
            return options;
        }
        options.tls(Tls {
            identity: Some((self.file("client.pem"), self.file("client.key"))),
            ..self.tls("ca.pem")
        })
    }

    /// One whose session outlives its connection.
    fn kept(&self, client_id: &str) -> Options {
        let options = self.options(client_id).clean_start(false);
        match self.version {
            Version::V5 => options.session_expiry(Duration::from_mins(5)),
            Version::V3_1 | Version::V3_1_1 => options,
        }
    }

    async fn client(&self, client_id: &str) -> Client {
        let connected = Client::connect(self.options(client_id)).await;
        connected.expect("it connects").0
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn run<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    let limited = runtime.block_on(async { tokio::time::timeout(LIMIT, future).await });
    limited.expect("it comes in time")
}

async fn subscribe(client: &Client, filter: impl Into<FilterBuf>, qos: Qos) -> Subscription {
    client.subscribe(Subscribe::to(filter, qos)).await.unwrap()
}

/// Publishes, and waits until the server has it.
async fn send(client: &Client, message: Message) {
    client.publish(message).await.unwrap().await.unwrap();
}

async fn next(messages: &mut Subscription) -> String {
    let message = messages.recv().await.expect("a message");
    String::from_utf8(message.payload.to_vec()).unwrap()
}

async fn disconnect(client: &Client) {
    let gone = client.disconnect(ReasonCode::Success, PropertiesBuf::new());
    assert_eq!(gone.await.unwrap(), Leftover::default());
}

fn connects_and_says_goodbye(cell: &mut Cell) {
    cell.run(async {
        let (client, connected) = Client::connect(cell.options("hello")).await.unwrap();
        assert_eq!(connected.version, cell.version);
        assert!(!connected.session_present);
        disconnect(&client).await;
        assert_eq!(client.state(), State::Closed(Lost::ByUs));
    });
}

/// Whom the certificates say nothing to, on either side, stays out; without TLS nobody is asked for any.
fn only_the_trusted_come_in(cell: &mut Cell) {
    cell.run(async {
        match cell.transport {
            Transport::Tcp | Transport::Ws | Transport::Unix => drop(cell.client("anybody").await),
            Transport::Tls | Transport::Wss | Transport::Mutual => {
                // That authority has signed nothing but itself.
                martlet_interop::transport::stranger(cell.broker.folder());
                let trusts_others = cell.options("doubts").tls(cell.tls("stranger.pem"));
                let error = Client::connect(trusts_others).await.unwrap_err();
                let ConnectError::Transport(error) = error else {
                    panic!("{error}")
                };
                let DialError::Tls { source, .. } = *error else {
                    panic!("{error}")
                };
                assert!(matches!(source, TlsError::UnknownAuthority { .. }), "{source}");
            }
        }
        if cell.transport == Transport::Mutual {
            let shows_nothing = Client::connect(cell.anonymous("nobody")).await;
            shows_nothing.expect_err("it has no certificate");
            drop(cell.client("alice").await);
        }
    });
}

fn each_qos_there_and_back(cell: &mut Cell) {
    cell.run(async {
        let client = cell.client("both").await;
        let mut messages = subscribe(&client, filter!("q/+"), Qos::ExactlyOnce).await;
        for round in 0..5 {
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let text = format!("{round} {}", qos.as_u8());
                send(&client, Message::new(topic!("q/a"), text.clone()).qos(qos)).await;
                let came = messages.recv().await.unwrap();
                assert_eq!((came.qos, came.topic.as_str()), (qos, "q/a"));
                assert_eq!((came.payload.as_ref(), came.retain), (text.as_bytes(), false));
            }
        }
        client.flush().await.unwrap();
        assert!(messages.try_recv().is_none());
        disconnect(&client).await;
    });
}

fn retained_is_kept_and_cleared(cell: &mut Cell) {
    cell.run(async {
        let client = cell.client("retains").await;
        let kept = Message::new(topic!("r/a"), "kept").qos(Qos::AtLeastOnce);
        send(&client, kept.retain(true)).await;
        let later = cell.client("later").await;
        let mut messages = subscribe(&later, filter!("r/#"), Qos::AtLeastOnce).await;
        let came = messages.recv().await.unwrap();
        assert_eq!((came.payload.as_ref(), came.retain), (b"kept".as_slice(), true));

        let empty = Message::new(topic!("r/a"), "").qos(Qos::AtLeastOnce);
        send(&client, empty.retain(true)).await;
        let last = cell.client("last").await;
        let mut messages = subscribe(&last, filter!("r/#"), Qos::AtLeastOnce).await;
        send(&client, Message::new(topic!("r/b"), "mark").qos(Qos::AtLeastOnce)).await;
        assert_eq!(next(&mut messages).await, "mark");
    });
}

fn the_will_of_one_that_is_lost(cell: &mut Cell) {
    let (client, mut messages) = cell.run(async {
        let client = cell.client("heir").await;
        let messages = subscribe(&client, filter!("w/#"), Qos::AtLeastOnce).await;
        (client, messages)
    });
    let dying = |name| {
        let will = Message::new(topic!("w/a"), name).qos(Qos::AtLeastOnce);
        cell.options(name).will(will)
    };
    cell.run(async {
        let (leaves, _) = Client::connect(dying("leaves")).await.unwrap();
        disconnect(&leaves).await;
    });
    // With its runtime a client goes as with its process: without a word.
    let its_own = runtime();
    let dies = run(&its_own, Client::connect(dying("dies"))).unwrap();
    drop(its_own);
    cell.run(async {
        assert_eq!(next(&mut messages).await, "dies");
        assert!(messages.try_recv().is_none());
    });
    drop((client, dies));
}

fn a_session_waits_for_its_client(cell: &mut Cell) {
    cell.run(async {
        let (sleeper, _) = Client::connect(cell.kept("sleeper")).await.unwrap();
        drop(subscribe(&sleeper, filter!("s/#"), Qos::ExactlyOnce).await);
        disconnect(&sleeper).await;
        let client = cell.client("wakes").await;
        for n in 0..20 {
            let qos = [Qos::AtLeastOnce, Qos::ExactlyOnce][n / 10];
            send(&client, Message::new(topic!("s/a"), n.to_string()).qos(qos)).await;
        }
        let (again, connected) = Client::connect(cell.kept("sleeper")).await.unwrap();
        // Version 3.1 has no word for it.
        assert_eq!(connected.session_present, cell.version != Version::V3_1);
        let mut messages = again.expect(filter!("s/#"));
        for n in 0..20 {
            assert_eq!(next(&mut messages).await, n.to_string());
        }
        disconnect(&again).await;
    });
}

/// Larger than any buffer on the way.
fn a_large_payload(cell: &mut Cell) {
    let bytes = match (cell.server, cell.transport) {
        // mosquitto 2.0.11 moves some 40 KB a second by WebSocket; paho-mqtt and MQTT.js wait for it as long.
        (Server::Mosquitto, Transport::Ws | Transport::Wss) => 16_000,
        _ => (1 << 20) + 17,
    };
    let payload: Vec<u8> = (0..bytes).map(|n: usize| (n % 251) as u8).collect();
    cell.run(async {
        let client = cell.client("large").await;
        let mut messages = subscribe(&client, filter!("l"), Qos::ExactlyOnce).await;
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            send(&client, Message::new(topic!("l"), payload.clone()).qos(qos)).await;
            let came = messages.recv().await.unwrap();
            assert!(came.payload == payload, "{} bytes of {bytes}", came.payload.len());
        }
        disconnect(&client).await;
    });
}

fn a_restart_of_the_broker_loses_nothing(cell: &mut Cell) {
    let reconnect = Reconnect::fixed(Duration::from_millis(20));
    let (client, mut messages, mut events) = cell.run(async {
        let options = cell.kept("stays").reconnect(reconnect);
        let (client, _) = Client::connect(options).await.unwrap();
        let messages = subscribe(&client, filter!("b/#"), Qos::ExactlyOnce).await;
        send(
            &client,
            Message::new(topic!("b/a"), "before").qos(Qos::ExactlyOnce),
        )
        .await;
        let events = client.events();
        (client, messages, events)
    });
    // Its client sees the end only when it is run again, and waits for nothing meanwhile.
    cell.broker.stop();
    let sent = cell.run(async {
        let retry_in = loop {
            if let Event::Lost { retry_in, .. } = events.recv().await.expect("an event") {
                break retry_in;
            }
        };
        assert!(retry_in.is_some());
        let during = Message::new(topic!("b/a"), "meanwhile").qos(Qos::ExactlyOnce);
        client.publish(during).await
    });
    cell.broker.start_again();
    cell.run(async {
        sent.unwrap().await.unwrap();
        for text in ["before", "meanwhile"] {
            assert_eq!(next(&mut messages).await, text);
        }
        send(
            &client,
            Message::new(topic!("b/a"), "after").qos(Qos::ExactlyOnce),
        )
        .await;
        assert_eq!(next(&mut messages).await, "after");
        assert_eq!(client.stats().connections, 2);
        disconnect(&client).await;
    });
}

const SERVERS: [(&str, Server); 2] = [("martlet", Server::Martlet), ("mosquitto", Server::Mosquitto)];

const VERSIONS: [(&str, Version); 3] = [
    ("v3_1", Version::V3_1),
    ("v3_1_1", Version::V3_1_1),
    ("v5", Version::V5),
];

type Case = (&'static str, fn(&mut Cell));

const CASES: [Case; 8] = [
    ("connects_and_says_goodbye", connects_and_says_goodbye),
    ("only_the_trusted_come_in", only_the_trusted_come_in),
    ("each_qos_there_and_back", each_qos_there_and_back),
    ("retained_is_kept_and_cleared", retained_is_kept_and_cleared),
    ("the_will_of_one_that_is_lost", the_will_of_one_that_is_lost),
    ("a_session_waits_for_its_client", a_session_waits_for_its_client),
    ("a_large_payload", a_large_payload),
    (
        "a_restart_of_the_broker_loses_nothing",
        a_restart_of_the_broker_loses_nothing,
    ),
];

fn main() {
    let mut trials = Vec::new();
    for (server_name, server) in SERVERS {
        for transport in Transport::ALL {
            for (version_name, version) in VERSIONS {
                for (case_name, case) in CASES {
                    let name = format!("{server_name}::{}::{version_name}::{case_name}", transport.name());
                    let own = name.clone();
                    trials.push(Trial::test(name, move || {
                        case(&mut Cell::new(server, transport, version, &own));
                        Ok(())
                    }));
                }
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
