//! The interface of the client: streams, acknowledgements, logins, the blocking twin and the pump.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use martlet_client::poll::Pump;
use martlet_client::{
    Buffer, BufferOverflow, Bytes, Client, Connected, Event, FilterBuf, Leftover, Login, Lost, Message,
    Options, Overflow, PropertiesBuf, PropertyId, PublishError, ReasonCode, Reconnect, RequestError,
    RespondError, ResponseError, State, Subscribe, SubscribeOptions, Subscription, Topic, blocking, filter,
    topic,
};
use martlet_codec::{Auth, ConnAck, Delivery, Packet, Properties, Publish, ReasonCodes, SubAck};
use tokio::join;

use crate::bench::*;
use crate::fake::{Fake, Peer, within};

const SOON: Duration = Duration::from_millis(20);

async fn connected(options: Options, fake: &Fake) -> (Client, Peer) {
    let (connected, peer) = join!(within(Client::connect(options)), fake.agree(false));
    (connected.unwrap().0, peer)
}

async fn answer_subscribe(peer: &mut Peer, words: &str, reasons: &[ReasonCode]) {
    peer.expect(words).await;
    let n: u16 = words.split(' ').nth(1).unwrap().parse().unwrap();
    peer.send(&Packet::SubAck(SubAck {
        packet_id: id(n),
        properties: Properties::EMPTY,
        reasons: ReasonCodes::List(reasons),
    }))
    .await;
}

/// A stream that the server has granted.
async fn subscribed(client: &Client, peer: &mut Peer, subscribe: Subscribe, words: &str) -> Subscription {
    let granted = [ReasonCode::GrantedQos1];
    let (stream, ()) = join!(
        within(client.subscribe(subscribe)),
        answer_subscribe(peer, words, &granted)
    );
    stream.unwrap()
}

async fn publish(peer: &mut Peer, topic: &'static str, n: u16) {
    let delivery = Delivery::AtLeastOnce(id(n));
    peer.send(&Packet::Publish(incoming(topic, delivery))).await;
}

/// What was sent before a PINGREQ-like mark: a QoS 0 message of ours.
async fn nothing_came(client: &Client, peer: &mut Peer) {
    drop(client.publish(message("mark", qos(0))).await.unwrap());
    peer.expect("PUBLISH mark q0 0").await;
}

#[tokio::test]
async fn a_message_for_two_streams_is_acknowledged_when_both_have_it() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options(), &fake).await;
    let to = |filter| Subscribe::to(filter, qos(1));
    let mut one = subscribed(&client, &mut peer, to(filter!("a/#")), "SUBSCRIBE 1 a/#").await;
    let mut two = subscribed(&client, &mut peer, to(filter!("a/b")), "SUBSCRIBE 2 a/b").await;
    publish(&mut peer, "a/b", 9).await;
    assert_eq!(within(one.recv()).await.unwrap().topic.as_str(), "a/b");
    nothing_came(&client, &mut peer).await;
    assert_eq!(within(two.recv()).await.unwrap().topic.as_str(), "a/b");
    peer.expect("PUBACK 9").await;
    // What only one wants is that one's.
    publish(&mut peer, "a/c", 10).await;
    assert_eq!(within(one.recv()).await.unwrap().topic.as_str(), "a/c");
    peer.expect("PUBACK 10").await;
    assert!(two.try_recv().is_none());
}

#[tokio::test]
async fn filters_that_are_refused_are_no_part_of_the_stream() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options(), &fake).await;
    let both = Subscribe::to(filter!("a"), qos(1)).and(filter!("b"), SubscribeOptions::default());
    let reasons = [ReasonCode::NotAuthorized, ReasonCode::Success];
    let (stream, ()) = join!(
        within(client.subscribe(both)),
        answer_subscribe(&mut peer, "SUBSCRIBE 1 a b", &reasons)
    );
    let stream = stream.unwrap();
    assert_eq!(stream.granted().unwrap().reasons, reasons);
    assert_eq!(stream.filters(), [filter!("b").to_buf()]);
    let (refused, ()) = join!(
        within(client.subscribe(Subscribe::to(filter!("c"), qos(1)))),
        answer_subscribe(&mut peer, "SUBSCRIBE 2 c", &reasons[..1])
    );
    let Err(RequestError::Refused(suback)) = refused else {
        panic!()
    };
    assert_eq!(suback.reasons, [ReasonCode::NotAuthorized]);
}

#[tokio::test]
async fn pain_5_what_nobody_claims_is_told_and_stalls_nobody_for_ever() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options().unclaimed_for(SOON), &fake).await;
    let mut events = client.events();
    let mut mine = client.expect(filter!("mine"));
    publish(&mut peer, "stray", 1).await;
    publish(&mut peer, "mine", 2).await;
    assert_eq!(within(mine.recv()).await.unwrap().topic.as_str(), "mine");
    let stray = topic!("stray").to_buf();
    assert_eq!(
        within(events.recv()).await,
        Some(Event::Unclaimed { topic: stray })
    );
    peer.expect("PUBACK 1").await;
    peer.expect("PUBACK 2").await;
}

#[tokio::test]
async fn pain_8_the_application_may_use_the_client_wherever_it_is_called() {
    let fake = Fake::bind().await;
    let place: Arc<Mutex<Option<Client>>> = Arc::default();
    let inside = Arc::clone(&place);
    let options = fake.options().packet_log(move |_, line| {
        if let Some(client) = inside.lock().unwrap().as_ref()
            && line.starts_with("received PUBLISH")
        {
            assert_eq!(client.stats().received, 1);
            drop(client.try_publish(message("from/inside", qos(0))).unwrap());
        }
    });
    let (client, mut peer) = connected(options, &fake).await;
    *place.lock().unwrap() = Some(client.clone());
    let mut messages = client.rest();
    publish(&mut peer, "a", 1).await;
    within(messages.recv()).await.unwrap();
    let mut both = [peer.read().await.unwrap(), peer.read().await.unwrap()];
    both.sort();
    assert_eq!(both, ["PUBACK 1", "PUBLISH from/inside q0 0"]);
    place.lock().unwrap().take();
}

#[tokio::test]
async fn pain_11_a_cancelled_subscribe_leaves_nothing_that_stalls() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options(), &fake).await;
    tokio::select! {
        biased;
        _ = client.subscribe(Subscribe::to(filter!("a"), qos(1))) => panic!("nobody answered"),
        () = std::future::ready(()) => {}
    }
    answer_subscribe(&mut peer, "SUBSCRIBE 1 a", &[ReasonCode::GrantedQos1]).await;
    // Nobody will take it: acknowledged at once.
    publish(&mut peer, "a", 5).await;
    peer.expect("PUBACK 5").await;
    // Subscribed again, it has a reader again.
    let again = Subscribe::to(filter!("a"), qos(1));
    let mut stream = subscribed(&client, &mut peer, again, "SUBSCRIBE 2 a").await;
    publish(&mut peer, "a", 6).await;
    assert!(within(stream.recv()).await.is_some());
    peer.expect("PUBACK 6").await;
}

#[tokio::test]
async fn pain_12_receipts_of_a_lost_connection_stall_nobody() {
    let fake = Fake::bind().await;
    let options = fake
        .options()
        .clean_start(false)
        .reconnect(Reconnect::fixed(Duration::from_millis(1)));
    let (client, mut peer) = connected(options, &fake).await;
    let mut messages = client.rest();
    publish(&mut peer, "a", 1).await;
    let (_, old) = within(messages.recv_with_receipt()).await.unwrap();
    drop(peer);
    let mut peer = fake.agree(true).await;
    publish(&mut peer, "a", 1).await;
    publish(&mut peer, "b", 2).await;
    let (_, first) = within(messages.recv_with_receipt()).await.unwrap();
    let (_, second) = within(messages.recv_with_receipt()).await.unwrap();
    old.acknowledge();
    second.acknowledge();
    nothing_came(&client, &mut peer).await;
    first.acknowledge();
    peer.expect("PUBACK 1").await;
    peer.expect("PUBACK 2").await;
}

#[tokio::test]
async fn pain_13_nothing_is_acknowledged_before_it_is_accepted() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options(), &fake).await;
    let mut messages = client.rest();
    publish(&mut peer, "a", 1).await;
    publish(&mut peer, "b", 2).await;
    for _ in 0..3 {
        let offer = within(messages.offer()).await.unwrap();
        assert_eq!(offer.topic.as_str(), "a");
    }
    nothing_came(&client, &mut peer).await;
    within(messages.offer()).await.unwrap().accept();
    peer.expect("PUBACK 1").await;
    let offer = within(messages.offer()).await.unwrap();
    let bad = offer.refuse(ReasonCode::Success);
    assert!(bad.is_err());
    let offer = within(messages.offer()).await.unwrap();
    offer.refuse(ReasonCode::NotAuthorized).unwrap();
    peer.expect("PUBACK 2 87").await;
    // A task that panics acknowledges nothing.
    publish(&mut peer, "c", 3).await;
    let (_, receipt) = within(messages.recv_with_receipt()).await.unwrap();
    let task = tokio::spawn(async move {
        let _receipt = receipt;
        panic!("on purpose");
    });
    assert!(task.await.is_err());
    nothing_came(&client, &mut peer).await;
}

#[tokio::test]
async fn a_stream_that_drops_holds_nobody_up() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options().inbox(3, 1 << 20), &fake).await;
    let mut events = client.events();
    let newest = Buffer {
        messages_max: 1,
        overflow: BufferOverflow::DropNewest,
    };
    let mut lossy = client.expect_in(filter!("lossy"), newest);
    let mut sure = client.expect(filter!("sure"));
    for _ in 0..20 {
        peer.send(&Packet::Publish(incoming("lossy", Delivery::AtMostOnce)))
            .await;
    }
    publish(&mut peer, "sure", 1).await;
    assert!(within(sure.recv()).await.is_some());
    assert!(lossy.try_recv().is_some() && lossy.try_recv().is_none());
    dropped(&mut events, 19).await;
}

/// Waits until so many messages are told as dropped.
async fn dropped(events: &mut martlet_client::Events, messages: u64) {
    let mut told = 0;
    while told < messages {
        let Some(Event::Dropped { messages }) = within(events.recv()).await else {
            panic!()
        };
        told += messages;
    }
    assert_eq!(told, messages);
}

#[tokio::test]
async fn what_is_dropped_is_told_though_nobody_takes_anything() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options().inbox(5, 1 << 20), &fake).await;
    let mut events = client.events();
    let mut waits = client.expect(filter!("a"));
    // The answer that is waited for has to be read: what lies before it and does not fit is dropped.
    let delivery = client.publish(message("t", qos(1))).await.unwrap();
    peer.expect("PUBLISH t q1 1").await;
    for _ in 0..30 {
        peer.send(&Packet::Publish(incoming("a", Delivery::AtMostOnce)))
            .await;
    }
    peer.send(&puback(1)).await;
    within(delivery).await.unwrap();
    dropped(&mut events, 10).await;
    for _ in 0..20 {
        assert!(waits.try_recv().is_some());
    }
    assert!(waits.try_recv().is_none());
}

#[tokio::test]
async fn what_is_dropped_because_no_stream_wants_it_is_told() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options().inbox(5_000, 1 << 20), &fake).await;
    let mut events = client.events();
    for _ in 0..1_010 {
        peer.send(&Packet::Publish(incoming("a", Delivery::AtMostOnce)))
            .await;
    }
    dropped(&mut events, 10).await;
    assert_eq!(client.waiting(), 1_000);
}

#[tokio::test]
async fn a_started_client_tells_where_it_stands() {
    let fake = Fake::bind().await;
    let options = fake
        .options()
        .reconnect(Reconnect::fixed(Duration::from_millis(1)));
    let client = Client::start(options).unwrap();
    let mut states = client.states();
    assert_eq!(states.current(), State::Connecting);
    let early = client.try_publish(message("early", qos(1))).unwrap();
    let mut peer = fake.agree(false).await;
    assert!(matches!(within(states.changed()).await, Some(State::Online(_))));
    peer.expect("PUBLISH early q1 1").await;
    peer.send(&puback(1)).await;
    within(early).await.unwrap();
    drop(peer);
    let _peer = fake.agree(false).await;
    loop {
        match within(states.changed()).await {
            Some(
                State::Connecting
                | State::Offline {
                    cause: Lost::Closed, ..
                },
            ) => {}
            Some(State::Online(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(within(client.goodbye()).await.unwrap(), Leftover::default());
    assert_eq!(within(states.changed()).await, Some(State::Closed(Lost::ByUs)));
    assert_eq!(within(states.changed()).await, None);
    assert_eq!(client.stats().connections, 2);
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_attempt() {
    let fake = Fake::bind().await;
    let asked: Arc<Mutex<Vec<u32>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let options = fake
        .options()
        .reconnect(Reconnect::fixed(Duration::from_millis(1)))
        .credentials(move |attempt| {
            seen.lock().unwrap().push(attempt);
            async move {
                match attempt {
                    2 => Err("no token today".to_owned()),
                    _ => Ok(Login::new("me", "token")),
                }
            }
        });
    let (client, peer) = connected(options, &fake).await;
    let mut events = client.events();
    drop(peer);
    assert!(matches!(within(events.recv()).await, Some(Event::Lost { .. })));
    let Some(Event::RetryFailed { error, .. }) = within(events.recv()).await else {
        panic!()
    };
    assert!(error.ends_with(": no token today"), "{error}");
    let _peer = fake.agree(false).await;
    assert!(matches!(within(events.recv()).await, Some(Event::Connected(_))));
    assert_eq!(*asked.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn the_authenticator_takes_the_steps() {
    let fake = Fake::bind().await;
    let options = fake.options().protocol(V5).authenticator("M", |data| match data {
        None => Ok(Bytes::from_static(b"first")),
        Some(b"more") => Ok(Bytes::from_static(b"second")),
        Some(_) => Err("that is not what I expected".to_owned()),
    });
    let challenge = |data: &[u8]| {
        props(|p| {
            p.text(PropertyId::AuthenticationMethod, "M").push(
                PropertyId::AuthenticationData,
                martlet_client::Value::Binary(data),
            );
        })
    };
    let auth = |reason, properties: &PropertiesBuf| {
        let mut bytes = Vec::new();
        let properties = properties.as_properties();
        Packet::Auth(Auth { reason, properties }).encode(martlet_client::Version::V5, &mut bytes);
        bytes
    };
    let (result, mut peer) = join!(within(Client::connect(options)), async {
        let mut peer = fake.accept().await;
        peer.read().await;
        let more = auth(ReasonCode::ContinueAuthentication, &challenge(b"more"));
        peer.send_bytes(&more).await;
        peer.expect("AUTH 18 M").await;
        peer.send(&Packet::ConnAck(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: challenge(b"done").as_properties(),
        }))
        .await;
        peer
    });
    let (client, _) = result.unwrap();
    let mut events = client.events();
    client.reauthenticate().unwrap();
    peer.expect("AUTH 19 M").await;
    peer.send_bytes(&auth(ReasonCode::Success, &challenge(b""))).await;
    assert_eq!(within(events.recv()).await, Some(Event::Reauthenticated));
    client.reauthenticate().unwrap();
    peer.expect("AUTH 19 M").await;
    let odd = auth(ReasonCode::ContinueAuthentication, &challenge(b"odd"));
    peer.send_bytes(&odd).await;
    let cause = within(client.closed()).await;
    assert_eq!(cause.to_string(), "no login: that is not what I expected");
}

#[tokio::test]
async fn rejecting_does_not_wait() {
    let fake = Fake::bind().await;
    let options = fake.options().outbox(1, 1_000).overflow(Overflow::Reject);
    let (client, mut peer) = connected(options, &fake).await;
    let first = client.publish(message("a", qos(1))).await.unwrap();
    let second = within(client.publish(message("b", qos(1)))).await;
    assert!(matches!(second, Err(PublishError::Full(m)) if m.topic.as_str() == "b"));
    peer.expect("PUBLISH a q1 1").await;
    peer.send(&puback(1)).await;
    within(first).await.unwrap();
    assert!(client.publish(message("c", qos(1))).await.is_ok());
}

/// A request at QoS 1 for the topic "ask", whose response goes to "reply".
async fn ask(peer: &mut Peer) {
    let properties = props(|p| {
        p.text(PropertyId::ResponseTopic, "reply");
    });
    let publish = incoming("ask", Delivery::AtLeastOnce(id(9)));
    peer.send(&Packet::Publish(Publish {
        properties: properties.as_properties(),
        ..publish
    }))
    .await;
}

#[tokio::test]
async fn a_request_is_answered() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options(), &fake).await;
    let mut questions = client.expect(filter!("ask"));
    ask(&mut peer).await;
    let question = within(questions.recv()).await.unwrap();
    peer.expect("PUBACK 9").await;
    drop(client.respond(&question, "42").await.unwrap());
    peer.expect("PUBLISH reply q1 1").await;
    publish(&mut peer, "ask", 10).await;
    let told = within(questions.recv()).await.unwrap();
    let nobody = client.respond(&told, "42").await;
    assert!(matches!(nobody, Err(RespondError::NoResponseTopic)));
}

#[tokio::test]
async fn a_request_whose_time_is_over_without_a_server_is_never_sent() {
    let fake = Fake::bind().await;
    let client = Client::start(fake.options().protocol(V5)).unwrap();
    let late = client.request(message("ask", qos(1)), SOON);
    assert_eq!(within(late).await.unwrap_err(), ResponseError::Timeout);
    let dropped = client.request(message("ask", qos(0)), Duration::from_mins(1));
    assert!(tokio::time::timeout(SOON, dropped).await.is_err());
    assert_eq!(client.stats().outbox_messages, 0);
    let mut peer = fake.agree(false).await;
    assert!(peer.read().await.unwrap().starts_with("SUBSCRIBE 1 "));
    nothing_came(&client, &mut peer).await;
}

#[tokio::test]
async fn a_flush_waits_for_requests_too() {
    let fake = Fake::bind().await;
    let (client, mut peer) = connected(fake.options().protocol(V5), &fake).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .request(message("ask", qos(1)), Duration::from_mins(1))
                .await
        }
    });
    assert!(peer.read().await.unwrap().starts_with("SUBSCRIBE 1 "));
    peer.expect("PUBLISH ask q1 2").await;
    assert!(tokio::time::timeout(SOON, client.flush()).await.is_err());
    peer.send(&puback(2)).await;
    // Without its response.
    within(client.flush()).await.unwrap();
    asking.abort();
}

#[test]
fn the_blocking_twin_needs_no_runtime() {
    let runtime = runtime();
    let fake = runtime.block_on(Fake::bind());
    let options = fake.options();
    let server = std::thread::spawn(move || {
        runtime.block_on(async {
            let mut peer = fake.agree(false).await;
            answer_subscribe(&mut peer, "SUBSCRIBE 1 a", &[ReasonCode::GrantedQos1]).await;
            peer.expect("PUBLISH a q1 2").await;
            publish(&mut peer, "a", 7).await;
            peer.expect("PUBACK 7").await;
            peer.send(&puback(2)).await;
            ask(&mut peer).await;
            peer.expect("PUBACK 9").await;
            peer.expect("PUBLISH reply q1 3").await;
            peer.send(&puback(3)).await;
            peer.expect("DISCONNECT 00").await;
        });
    });
    let (client, connected): (blocking::Client, Connected) = blocking::Client::connect(options).unwrap();
    assert_eq!(connected.client_id, "c");
    let mut messages = client.subscribe(Subscribe::to(filter!("a"), qos(1))).unwrap();
    assert!(messages.recv_within(Duration::from_millis(1)).is_none());
    let mut delivery = client.publish(message("a", qos(1))).unwrap();
    assert!(delivery.wait_within(Duration::ZERO).is_none());
    assert_eq!(messages.next().unwrap().topic.as_str(), "a");
    let acked = delivery.wait_within(Duration::from_secs(20)).unwrap().unwrap();
    assert_eq!(acked.packet_id, Some(id(2)));
    // What has come can be asked for again.
    assert_eq!(delivery.wait_within(Duration::ZERO), Some(Ok(acked.clone())));
    assert_eq!(delivery.wait(), Ok(acked));
    let question = client.expect(filter!("ask")).recv().unwrap();
    drop(client.respond(&question, "42").unwrap());
    assert!(client.flush_within(Duration::from_secs(20)).unwrap());
    assert_eq!(client.goodbye().unwrap(), Leftover::default());
    assert!(messages.next().is_none());
    server.join().unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Turns until that holds.
fn turn_until(pump: &mut Pump, mut holds: impl FnMut(&Pump) -> bool) {
    let start = Instant::now();
    while !holds(pump) {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come");
        pump.turn(Duration::from_millis(5));
    }
}

#[test]
fn a_pump_moves_nothing_by_itself_and_says_what_it_waits_for() {
    let runtime = runtime();
    let fake = runtime.block_on(Fake::bind());
    let options = fake.options().keep_alive(Duration::from_secs(50));
    let (client, mut pump) = Pump::new(options).unwrap();
    assert!(pump.socket().is_none() && !pump.wants_read() && !pump.wants_write());
    assert!(
        pump.deadline().is_some_and(|at| at <= Instant::now()),
        "it is to connect"
    );
    turn_until(&mut pump, |pump| pump.socket().is_some());
    let mut peer = runtime.block_on(fake.accept());
    turn_until(&mut pump, Pump::wants_read);
    assert_eq!(runtime.block_on(peer.read()).unwrap(), "CONNECT 5.0 \"c\" clean");
    let connack = Packet::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    });
    runtime.block_on(peer.send(&connack));
    turn_until(&mut pump, |_| matches!(client.state(), State::Online(_)));
    let left = pump.deadline().unwrap().saturating_duration_since(Instant::now());
    assert!((45..=50).contains(&left.as_secs()), "the next ping: {left:?}");

    // A turn waits as long as it may, and no longer.
    let start = Instant::now();
    assert!(pump.turn(SOON));
    assert!(start.elapsed() >= SOON && start.elapsed() < Duration::from_secs(10));
    // A command: something is to be written, which the next turn does.
    let delivery = client.try_publish(message("a", qos(1))).unwrap();
    assert!(pump.wants_write());
    assert!(pump.turn(Duration::ZERO));
    assert!(!pump.wants_write());
    assert_eq!(runtime.block_on(peer.read()).unwrap(), "PUBLISH a q1 1");
    assert!(pump.run(std::future::pending::<()>(), SOON).is_none());
    runtime.block_on(peer.send(&puback(1)));
    let end = pump.run(delivery, Duration::from_secs(20)).unwrap();
    assert_eq!(end.unwrap().packet_id, Some(id(1)));

    // A command of another thread wakes a turn that waits.
    let other = client.clone();
    let thread = std::thread::spawn(move || drop(other.try_publish(message("b", qos(0))).unwrap()));
    let start = Instant::now();
    while client.stats().delivered < 2 {
        pump.turn(Duration::from_secs(20));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    thread.join().unwrap();
    assert_eq!(runtime.block_on(peer.read()).unwrap(), "PUBLISH b q0 0");

    // It says goodbye, and reads until the server has closed.
    let gone = client.disconnect(ReasonCode::Success, PropertiesBuf::new());
    let server = std::thread::spawn(move || {
        let words = runtime.block_on(peer.read());
        drop(peer);
        (words, runtime)
    });
    let left = pump.run(gone, Duration::from_secs(20)).unwrap().unwrap();
    assert_eq!(left, Leftover::default());
    assert_eq!(server.join().unwrap().0.unwrap(), "DISCONNECT 00");
    assert!(!pump.turn(Duration::from_secs(20)));
}

#[test]
fn a_pump_that_is_dropped_cuts_the_connection() {
    let runtime = runtime();
    let fake = runtime.block_on(Fake::bind());
    let (client, mut pump) = Pump::new(fake.options()).unwrap();
    let (mut peer, runtime) = {
        let server = std::thread::spawn(move || (runtime.block_on(fake.agree(false)), runtime));
        pump.run(client.connected(), Duration::from_secs(20))
            .unwrap()
            .unwrap();
        server.join().unwrap()
    };
    drop(pump);
    assert_eq!(runtime.block_on(peer.read()), None, "no DISCONNECT");
    assert_eq!(client.state(), State::Closed(Lost::ByUs));
}

#[test]
fn a_stream_of_very_many_levels_can_be_dropped() {
    // Nothing is connected to: the pump is not turned.
    let (client, pump) = Pump::new(Options::new("127.0.0.1", 1)).unwrap();
    let deep = FilterBuf::new(&format!("a{}", "/b".repeat(10_000))).unwrap();
    drop(client.expect(deep.clone()));
    let _kept = client.expect(deep);
    drop(pump);
}

#[test]
fn literals_and_messages_fit() {
    const RECM: Topic<'static> = topic!("S013/MOT01/RECM");
    let message = Message::new(RECM, "DRVZ+1000").time_to_live(SOON);
    assert_eq!(message.topic.as_str(), "S013/MOT01/RECM");
    assert!(filter!("S013/+/RECM").matches(RECM));
}

#[tokio::test]
async fn a_connection_that_was_made_and_ended_at_once_was_made() {
    let fake = Fake::bind().await;
    let (connected, _peer) = join!(within(Client::connect(fake.options())), async {
        let mut peer = fake.accept().await;
        peer.read().await;
        // CONNACK and DISCONNECT in one piece.
        peer.send_bytes(&[0x20, 3, 0, 0, 0, 0xe0, 2, 0x8e, 0]).await;
        peer
    });
    let (client, _) = connected.unwrap();
    let cause = within(client.closed()).await;
    assert!(matches!(cause, Lost::Disconnected { .. }), "{cause:?}");
}
