//! Our client against the built broker and against Debian's mosquitto, with both of its drivers: one suite.

use std::future::Future;
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::{Duration, Instant};

use martlet_client::poll::Pump;
use martlet_client::tls::Source;
use martlet_client::{
    Buffer, BufferOverflow, Client, Event, FilterBuf, Leftover, Lost, Message, Options, PropertiesBuf,
    Protocol, Qos, ReasonCode, Reconnect, RequestError, ResponseError, State, Subscribe, Subscription, Topic,
    Unsubscribe, Version, filter, topic,
};
use martlet_client::{Tls, WebSocket};
use martlet_interop::transport::{self, Transport};
use martlet_interop::{Broker, free_port};

/// Bounds every wait.
const LIMIT: Duration = Duration::from_secs(30);
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

#[derive(Clone, Copy)]
enum Driver {
    Tokio,
    Poll,
}

/// Runs the clients of a test.
enum Runner {
    Tokio(tokio::runtime::Runtime),
    Poll(Vec<Pump>),
}

impl Runner {
    fn new(driver: Driver) -> Self {
        match driver {
            Driver::Tokio => {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                Self::Tokio(builder.enable_all().build().expect("a runtime"))
            }
            Driver::Poll => Self::Poll(Vec::new()),
        }
    }

    fn start(&mut self, options: Options) -> Client {
        match self {
            Self::Tokio(runtime) => {
                let _guard = runtime.enter();
                Client::start(options).expect("the options are right")
            }
            Self::Poll(pumps) => {
                let (client, pump) = Pump::new(options).expect("the options are right");
                pumps.push(pump);
                client
            }
        }
    }

    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Tokio(runtime) => runtime.block_on(async {
                tokio::time::timeout(LIMIT, future)
                    .await
                    .expect("it does not come")
            }),
            Self::Poll(pumps) => pumped(pumps, future),
        }
    }
}

fn pumped<T>(pumps: &mut [Pump], future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let mut future = pin!(future);
    while start.elapsed() < LIMIT {
        for pump in pumps.iter_mut() {
            let wait = Duration::from_micros(500);
            if let Some(output) = pump.run(future.as_mut(), wait) {
                return output;
            }
        }
    }
    panic!("it does not come");
}

/// A broker, and the way to it.
struct Server {
    broker: Broker,
    /// None: plain TCP.
    over: Option<Transport>,
}

impl Server {
    fn start(name: &str, kind: Kind) -> Self {
        let broker = match kind {
            Kind::Martlet => Broker::start(name),
            Kind::Mosquitto => Broker::start_mosquitto(name),
            Kind::Over(transport) => Broker::start_over(name, transport, ""),
        };
        let over = match kind {
            Kind::Martlet | Kind::Mosquitto => None,
            Kind::Over(transport) => Some(transport),
        };
        Self { broker, over }
    }
}

/// What a suite runs against.
#[derive(Clone, Copy)]
enum Kind {
    Martlet,
    Mosquitto,
    /// Martlet, reached another way.
    Over(Transport),
}

fn options(server: &Server) -> Options {
    let broker = &server.broker;
    let file = |name: &str| Source::File(broker.folder().join(name));
    let tls = Tls {
        authorities: Some(file("ca.pem")),
        ..Tls::default()
    };
    let mutual = Tls {
        identity: Some((file("client.pem"), file("client.key"))),
        ..tls.clone()
    };
    let plain = Options::new("127.0.0.1", broker.port());
    let other = Options::new("localhost", broker.other_port());
    match server.over {
        None | Some(Transport::Tcp) => plain,
        Some(Transport::Tls) => other.tls(tls),
        Some(Transport::Mutual) => other.tls(mutual),
        Some(Transport::Ws) => other.websocket(WebSocket::default()),
        Some(Transport::Wss) => other.tls(tls).websocket(WebSocket::default()),
        Some(Transport::Unix) => plain.unix(transport::socket(broker.folder())),
    }
}

fn v5(server: &Server, client_id: &str) -> Options {
    options(server).protocol(Protocol::V5).client_id(client_id)
}

async fn subscribe(client: &Client, filter: FilterBuf, qos: Qos) -> Subscription {
    client.subscribe(Subscribe::to(filter, qos)).await.unwrap()
}

/// Publishes and leaves the acknowledgement to `flush`.
async fn send(client: &Client, message: Message) {
    drop(client.publish(message).await.unwrap());
}

async fn disconnect(client: &Client) -> Leftover {
    let gone = client.disconnect(ReasonCode::Success, PropertiesBuf::new());
    gone.await.unwrap()
}

async fn payloads(messages: &mut Subscription, count: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    while payloads.len() < count {
        let message = messages.recv().await.expect("a message");
        payloads.push(String::from_utf8(message.payload.to_vec()).unwrap());
    }
    payloads
}

fn message(topic: Topic<'_>, payload: impl std::fmt::Display, qos: Qos) -> Message {
    Message::new(topic, format!("{payload}")).qos(qos)
}

fn each_qos_there_and_back(runner: &mut Runner, server: &Server) {
    for (protocol, version) in [
        (Protocol::V3_1, Version::V3_1),
        (Protocol::V3_1_1, Version::V3_1_1),
        (Protocol::Auto, Version::V5),
    ] {
        let client = runner.start(options(server).protocol(protocol));
        runner.run(async {
            assert_eq!(client.connected().await.unwrap().version, version);
            let mut messages = subscribe(&client, filter!("q/+").into(), Qos::ExactlyOnce).await;
            for qos in QOS {
                let sent = client.publish(message(topic!("q/a"), qos.as_u8(), qos)).await;
                sent.unwrap().await.unwrap();
                let came = messages.recv().await.unwrap();
                assert_eq!((came.qos, came.topic.as_str()), (qos, "q/a"));
            }
            client.flush().await.unwrap();
            assert_eq!(disconnect(&client).await, Leftover::default());
            assert!(messages.recv().await.is_none());
            assert!(matches!(client.state(), State::Closed(_)));
        });
    }
}

fn commands_may_come_before_the_connection(runner: &mut Runner, server: &Server) {
    let client = runner.start(v5(server, "early"));
    assert_eq!(client.state(), State::Connecting);
    let first = client.try_publish(message(topic!("e"), "first", Qos::AtLeastOnce));
    runner.run(async {
        first.unwrap().await.unwrap();
        let mut messages = subscribe(&client, filter!("e").into(), Qos::AtLeastOnce).await;
        let second = message(topic!("e"), "second", Qos::AtLeastOnce);
        send(&client, second).await;
        assert_eq!(payloads(&mut messages, 1).await, ["second"]);
    });
}

fn pain_5_a_resumed_session_has_its_messages(runner: &mut Runner, server: &Server) {
    let keeps = |server: &Server| {
        v5(server, "sleeper")
            .clean_start(false)
            .session_expiry(Duration::from_mins(5))
    };
    let sleeper = runner.start(keeps(server));
    runner.run(async {
        drop(subscribe(&sleeper, filter!("s/#").into(), Qos::ExactlyOnce).await);
        disconnect(&sleeper).await;
    });
    let publisher = runner.start(v5(server, "publisher"));
    runner.run(async {
        for n in 0..30 {
            let qos = QOS[1 + n % 2];
            send(&publisher, message(topic!("s/1"), n, qos)).await;
        }
        publisher.flush().await.unwrap();
    });
    let again = runner.start(keeps(server));
    runner.run(async {
        assert!(again.connected().await.unwrap().session_present);
        // Though the stream is made late, nothing was missed.
        let mut messages = again.expect(filter!("s/#"));
        let came = payloads(&mut messages, 30).await;
        // Order is that of a QoS: one of QoS 2 is the server's when it is released.
        for parity in 0..2 {
            let numbers = came.iter().filter_map(|text| text.parse::<usize>().ok());
            let one_qos: Vec<usize> = numbers.filter(|n| n % 2 == parity).collect();
            let expected: Vec<usize> = (0..30).filter(|n| n % 2 == parity).collect();
            assert_eq!(one_qos, expected);
        }
        disconnect(&again).await;
    });
}

fn pain_1_a_task_that_publishes_and_reads_does_not_deadlock(runner: &mut Runner, server: &Server) {
    const COUNT: usize = 2_000;
    // Version 3 has no receive maximum: what bounds the inbox is that the socket is not read.
    let both = v5(server, "both").protocol(Protocol::V3_1_1);
    let client = runner.start(both.outbox(10, 1 << 20).inbox(50, 1 << 20));
    runner.run(async {
        let mut messages = subscribe(&client, filter!("b").into(), Qos::AtLeastOnce).await;
        let mut came = 0;
        for n in 0..COUNT {
            let sent = client.publish(message(topic!("b"), n, Qos::AtLeastOnce)).await;
            drop(sent.unwrap());
            // It reads late and little.
            if n % 100 == 99 {
                came += payloads(&mut messages, 20).await.len();
            }
        }
        let rest = payloads(&mut messages, COUNT - came).await;
        assert_eq!(rest.last(), Some(&(COUNT - 1).to_string()));
        client.flush().await.unwrap();
        assert_eq!(client.stats().delivered, COUNT as u64);
    });
}

fn each_stream_has_its_own_messages(runner: &mut Runner, server: &Server) {
    let client = runner.start(v5(server, "streams"));
    runner.run(async {
        let mut one = subscribe(&client, filter!("m/1").into(), Qos::AtLeastOnce).await;
        let mut two = subscribe(&client, filter!("m/2").into(), Qos::AtLeastOnce).await;
        // This one drops what it has no room for, and holds nobody up.
        let lossy = Subscribe::to(filter!("m/3"), Qos::AtMostOnce).buffer(Buffer {
            messages_max: 1,
            overflow: BufferOverflow::DropOldest,
        });
        let mut lossy = client.subscribe(lossy).await.unwrap();
        for n in 0..3 {
            for topic in [topic!("m/3"), topic!("m/2"), topic!("m/1")] {
                let sent = client.publish(message(topic, n, Qos::AtLeastOnce)).await.unwrap();
                sent.await.unwrap();
            }
        }
        assert_eq!(payloads(&mut one, 3).await, ["0", "1", "2"]);
        assert_eq!(payloads(&mut two, 3).await, ["0", "1", "2"]);
        assert_eq!(payloads(&mut lossy, 1).await, ["2"]);
        // Unsubscribed, a stream gives out what it has and ends.
        send(&client, message(topic!("m/1"), "last", Qos::AtLeastOnce)).await;
        client.flush().await.unwrap();
        client
            .unsubscribe(Unsubscribe::from(filter!("m/1")))
            .await
            .unwrap();
        assert_eq!(payloads(&mut one, 1).await, ["last"]);
        assert!(one.recv().await.is_none());
        // One that was dropped takes nothing more, and the client goes on.
        drop(two);
        for topic in [topic!("m/2"), topic!("m/3")] {
            let sent = client
                .publish(message(topic, "x", Qos::AtLeastOnce))
                .await
                .unwrap();
            sent.await.unwrap();
        }
        assert_eq!(payloads(&mut lossy, 1).await, ["x"]);
    });
}

fn pain_13_an_offer_that_is_not_accepted_comes_again(runner: &mut Runner, server: &Server) {
    let options = v5(server, "offers").receive_maximum(NonZeroU16::new(2).unwrap());
    let client = runner.start(options);
    runner.run(async {
        let mut messages = subscribe(&client, filter!("o").into(), Qos::AtLeastOnce).await;
        for n in 0..4 {
            send(&client, message(topic!("o"), n, Qos::AtLeastOnce)).await;
        }
        for n in 0..4_u8 {
            for tries in 0..3 {
                let Some(offer) = messages.offer().await else {
                    panic!("closed: {:?}", client.state());
                };
                assert_eq!(offer.payload, n.to_string());
                match tries {
                    0 => offer.retry(),
                    1 => drop(offer),
                    _ => drop(offer.accept()),
                }
            }
        }
        // With receipts several may be open, and be given back in any order.
        for n in 4..8 {
            send(&client, message(topic!("o"), n, Qos::AtLeastOnce)).await;
        }
        for _ in 0..2 {
            let (_, first) = messages.recv_with_receipt().await.unwrap();
            let (_, second) = messages.recv_with_receipt().await.unwrap();
            second.acknowledge();
            first.refuse(ReasonCode::ImplementationSpecific).unwrap();
        }
        client.flush().await.unwrap();
    });
}

fn a_request_gets_its_response(runner: &mut Runner, server: &Server) {
    let asks = runner.start(v5(server, "asks"));
    let answers = runner.start(v5(server, "answers"));
    runner.run(async {
        let silent = message(topic!("nobody"), "?", Qos::AtLeastOnce);
        let error = asks
            .request(silent, Duration::from_millis(300))
            .await
            .unwrap_err();
        // Not every server tells that nobody listens.
        assert!(matches!(
            error,
            ResponseError::NobodyListens | ResponseError::Timeout
        ));
        let mut questions = subscribe(&answers, filter!("square").into(), Qos::AtLeastOnce).await;
        let serve = async {
            for _ in 0..3 {
                let question = questions.recv().await.unwrap();
                let text = String::from_utf8(question.payload.to_vec()).unwrap();
                let number: u32 = text.parse().unwrap();
                let answer = answers.respond(&question, (number * number).to_string());
                drop(answer.await.unwrap());
            }
        };
        let ask = async {
            for number in [3, 4, 5] {
                let question = message(topic!("square"), number, Qos::AtLeastOnce);
                let response = asks.request(question, LIMIT).await.unwrap();
                assert_eq!(response.payload, (number * number).to_string());
            }
        };
        tokio::join!(serve, ask);
    });
}

fn aliases_that_the_client_chooses(runner: &mut Runner, server: &Server) {
    let client = runner.start(v5(server, "aliases").topic_aliases(3));
    runner.run(async {
        let mut messages = subscribe(&client, filter!("a/#").into(), Qos::AtLeastOnce).await;
        let mut expected = Vec::new();
        for n in 0..60 {
            let topic = martlet_client::TopicBuf::new(format!("a/{}", n % 5)).unwrap();
            expected.push(topic.to_string());
            let sent = Message::new(topic, n.to_string()).qos(QOS[n % 3]);
            drop(client.publish(sent).await.unwrap());
        }
        let mut came = Vec::new();
        while came.len() < expected.len() {
            came.push(messages.recv().await.unwrap().topic.to_string());
        }
        came.sort();
        expected.sort();
        assert_eq!(came, expected);
    });
}

fn pain_16_where_nobody_listens_it_tries_again_and_says_why(runner: &mut Runner, server: &Server) {
    let reconnect = Reconnect::fixed(Duration::from_millis(10));
    let nowhere = Options::new("127.0.0.1", free_port()).reconnect(reconnect);
    let client = runner.start(nowhere);
    let mut events = client.events();
    let over =
        runner.start(Options::new("127.0.0.1", free_port()).or_server("127.0.0.1", server.broker.port()));
    runner.run(async {
        for _ in 0..3 {
            let Some(Event::RetryFailed { error, .. }) = events.recv().await else {
                panic!()
            };
            assert!(error.ends_with("refused the connection: nothing listens on that port"));
        }
        let waiting = client.publish(message(topic!("a"), "x", Qos::AtLeastOnce)).await;
        let leftover = disconnect_now(&client).await;
        assert_eq!(leftover.unsent.len(), 1);
        assert!(waiting.unwrap().await.is_err());
        // The next server of the list is there.
        over.connected().await.unwrap();
        let sent = over.publish(message(topic!("a"), "x", Qos::AtLeastOnce)).await;
        sent.unwrap().await.unwrap();
    });
}

async fn disconnect_now(client: &Client) -> Leftover {
    let gone = client.disconnect_now(ReasonCode::Success, PropertiesBuf::new());
    gone.await.unwrap()
}

fn pain_17_keep_alive_goes_on_while_nobody_takes_messages(runner: &mut Runner, server: &Server) {
    let options = v5(server, "slow")
        .keep_alive(Duration::from_secs(1))
        .inbox(1, 1 << 20);
    let client = runner.start(options);
    let other = runner.start(v5(server, "other"));
    runner.run(async {
        let mut messages = subscribe(&client, filter!("k").into(), Qos::AtLeastOnce).await;
        for n in 0..5 {
            let sent = other
                .publish(message(topic!("k"), n, Qos::AtLeastOnce))
                .await
                .unwrap();
            sent.await.unwrap();
        }
        // Three seconds of another client's life, in which this one would have been given up.
        let pause = other.request(
            message(topic!("none"), "", Qos::AtMostOnce),
            Duration::from_secs(3),
        );
        assert!(matches!(pause.await, Err(ResponseError::Timeout)));
        assert!(matches!(client.state(), State::Online(_)));
        assert_eq!(payloads(&mut messages, 5).await, ["0", "1", "2", "3", "4"]);
        assert_eq!(client.stats().connections, 1);
    });
}

fn a_closed_client_says_so_to_everybody(runner: &mut Runner, server: &Server) {
    let client = runner.start(v5(server, "twice"));
    runner.run(client.connected()).unwrap();
    let second = runner.start(v5(server, "twice"));
    runner.run(async {
        // Taken over by the other. (mosquitto 2.0 says nothing and closes.)
        let cause = client.closed().await;
        assert!(
            matches!(cause, Lost::Disconnected { .. } | Lost::Closed),
            "{cause}"
        );
        second.connected().await.unwrap();
        let refused = client
            .subscribe(Subscribe::to(filter!("x"), Qos::AtMostOnce))
            .await;
        assert!(matches!(refused, Err(RequestError::Closed(_))));
    });
}

macro_rules! cases {
    ($($case:ident)*) => {
        cases! { @driver tokio_driver Tokio $($case)* }
        cases! { @driver poll_driver Poll $($case)* }
    };
    (@driver $module:ident $driver:ident $($case:ident)*) => {
        mod $module {
            cases! { @server martlet $driver Kind::Martlet, $($case)* }
            cases! { @server mosquitto $driver Kind::Mosquitto, $($case)* }
            cases! { @server tls $driver Kind::Over(Transport::Tls), $($case)* }
            cases! { @server mutual $driver Kind::Over(Transport::Mutual), $($case)* }
            cases! { @server ws $driver Kind::Over(Transport::Ws), $($case)* }
            cases! { @server wss $driver Kind::Over(Transport::Wss), $($case)* }
            cases! { @server unix $driver Kind::Over(Transport::Unix), $($case)* }
        }
    };
    (@server $module:ident $driver:ident $kind:expr, $($case:ident)*) => {
        mod $module {
            use super::super::*;
            $(#[test]
            fn $case() {
                let name = concat!(stringify!($module), "-", stringify!($driver), "-", stringify!($case));
                super::super::$case(&mut Runner::new(Driver::$driver), &Server::start(name, $kind));
            })*
        }
    };
}

cases! {
    each_qos_there_and_back
    commands_may_come_before_the_connection
    pain_5_a_resumed_session_has_its_messages
    pain_1_a_task_that_publishes_and_reads_does_not_deadlock
    each_stream_has_its_own_messages
    pain_13_an_offer_that_is_not_accepted_comes_again
    a_request_gets_its_response
    aliases_that_the_client_chooses
    pain_16_where_nobody_listens_it_tries_again_and_says_why
    pain_17_keep_alive_goes_on_while_nobody_takes_messages
    a_closed_client_says_so_to_everybody
}
