//! The tokio driver against a server on the loopback.

use std::time::Duration;

use martlet_client::{
    Client, ConnectError, Connected, DeliveryError, Event, FilterBuf, Lost, Message, Options, PropertiesBuf,
    Protocol, PublishError, Qos, ReasonCode, Reconnect, RequestError, Subscribe, Subscription, TopicBuf,
    Version,
};
use martlet_codec::{ConnAck, Delivery, Disconnect, Packet, Properties, Publish, ReasonCodes, SubAck};
use tokio::join;

use crate::bench::*;
use crate::fake::{Fake, Peer, within};

async fn connected(options: Options, fake: &Fake) -> (Client, Subscription, Connected, Peer) {
    let (connected, peer) = join!(within(Client::connect(options)), fake.agree(false));
    let (client, connected) = connected.unwrap();
    let messages = client.rest();
    (client, messages, connected, peer)
}

async fn refused(options: Options) -> ConnectError {
    match within(Client::connect(options)).await {
        Err(error) => error,
        Ok(_) => panic!("there is no such server"),
    }
}

fn granted(n: u16) -> Packet<'static> {
    Packet::SubAck(SubAck {
        packet_id: id(n),
        properties: Properties::EMPTY,
        reasons: ReasonCodes::List(&[ReasonCode::GrantedQos1]),
    })
}

fn subscribe(filter: &str) -> Subscribe {
    Subscribe::to(FilterBuf::new(filter).unwrap(), Qos::AtLeastOnce)
}

const AT_ONCE: Reconnect = Reconnect::doubled(Duration::from_millis(1), Duration::from_millis(10));

#[tokio::test]
async fn each_qos_there_and_back() {
    for protocol in [V3_1, V3_1_1, V5] {
        let fake = Fake::bind().await;
        let (client, mut messages, connected, mut peer) =
            connected(fake.options().protocol(protocol), &fake).await;
        assert_eq!(connected.version, protocol.first());

        let sent = client.publish(message("a", qos(0))).await.unwrap();
        assert_eq!(sent.packet_id(), None);
        within(sent).await.unwrap();
        peer.expect("PUBLISH a q0 0").await;
        let delivery = client.publish(message("b", qos(2))).await.unwrap();
        let n = delivery.packet_id().unwrap().get();
        peer.expect(&format!("PUBLISH b q2 {n}")).await;
        peer.send(&pubrec(n)).await;
        peer.expect(&format!("PUBREL {n}")).await;
        peer.send(&pubcomp(n)).await;
        assert_eq!(within(delivery).await.unwrap().reason, ReasonCode::Success);

        let asked = client.subscribe_bare(subscribe("#"));
        let answer = async {
            let words = peer.read().await.unwrap();
            let n = words.split(' ').nth(1).unwrap().parse().unwrap();
            peer.send(&granted(n)).await;
        };
        let (suback, ()) = join!(within(asked), answer);
        assert_eq!(suback.unwrap().reasons, [ReasonCode::GrantedQos1]);

        peer.send(&Packet::Publish(incoming("c", Delivery::AtLeastOnce(id(9)))))
            .await;
        assert_eq!(within(messages.recv()).await.unwrap().topic.as_str(), "c");
        peer.expect("PUBACK 9").await;

        let gone = client.disconnect(ReasonCode::Success, PropertiesBuf::new());
        let end = async {
            peer.expect("DISCONNECT 00").await;
            assert_eq!(peer.read().await, None);
        };
        join!(async { within(gone).await.unwrap() }, end);
        assert_eq!(within(messages.recv()).await.map(|m| m.topic), None);
        assert_eq!(client.closed().await, Lost::ByUs);
        assert!(matches!(
            client.try_publish(message("a", qos(0))),
            Err(PublishError::Closed(Lost::ByUs))
        ));
    }
}

#[tokio::test]
async fn why_there_is_no_connection() {
    let free = Fake::bind().await;
    let port = free.port();
    drop(free);
    let error = refused(Options::new("127.0.0.1", port)).await;
    assert!(
        matches!(error, ConnectError::ConnectionRefused { .. }),
        "{error:?}"
    );
    let said = format!("127.0.0.1:{port} refused the connection: nothing listens on that port");
    assert_eq!(error.to_string(), said);

    let error = refused(Options::new("no such host", 1883)).await;
    assert!(matches!(error, ConnectError::HostNotFound { .. }), "{error:?}");
    assert_eq!(error.to_string(), "cannot find a host named 'no such host'");

    // Somebody listens and says nothing.
    let fake = Fake::bind().await;
    let error = refused(fake.options().connect_timeout(Duration::from_millis(30))).await;
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");

    let fake = Fake::bind().await;
    let (error, ()) = join!(refused(fake.options().protocol(V5)), async {
        fake.accept().await.read().await;
    });
    assert!(
        matches!(
            &error,
            ConnectError::Lost {
                cause: Lost::Closed,
                ..
            }
        ),
        "{error:?}"
    );

    let (error, _peer) = join!(refused(fake.options()), async {
        let mut peer = fake.accept().await;
        peer.read().await;
        // No more comes: what it says is known by its first byte.
        peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\n").await;
        peer
    });
    let began = "HTTP/1.1 400 Bad Request".to_owned();
    assert!(
        matches!(&error, ConnectError::Lost { cause, .. } if *cause == Lost::NotMqtt { began }),
        "{error:?}"
    );

    let bind = "192.0.2.1".parse().unwrap();
    let error = refused(fake.options().bind_address(bind)).await;
    assert!(matches!(error, ConnectError::Bind { .. }), "{error:?}");
    let error = refused(fake.options().client_id("a\0b")).await;
    assert!(matches!(error, ConnectError::Options(_)), "{error:?}");
}

#[tokio::test]
async fn a_refusal_by_the_server() {
    let fake = Fake::bind().await;
    let reason = props(|p| {
        p.text(martlet_client::PropertyId::ReasonString, "go away");
    });
    let (error, ()) = join!(refused(fake.options()), async {
        let mut peer = fake.accept().await;
        peer.read().await;
        let refusal = ConnAck {
            session_present: false,
            reason: ReasonCode::NotAuthorized,
            properties: reason.as_properties(),
        };
        peer.send(&Packet::ConnAck(refusal)).await;
    });
    let said = format!(
        "127.0.0.1:{} refused the connection: not authorized (0x87) (go away)",
        fake.port()
    );
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn an_old_server_is_asked_again_in_3_1_1() {
    // One answers in its own version, the other closes.
    for answer in [&[0x20_u8, 2, 0, 1][..], &[]] {
        let fake = Fake::bind().await;
        let (connected, _peer) = join!(within(Client::connect(fake.options())), async {
            let mut peer = fake.accept().await;
            peer.expect("CONNECT 5.0 \"c\" clean").await;
            peer.send_bytes(answer).await;
            drop(peer);
            fake.agree(false).await
        });
        assert_eq!(connected.unwrap().1.version, Version::V3_1_1);
    }
}

#[tokio::test]
async fn pain_1_publishing_from_the_task_that_reads_does_not_deadlock() {
    let fake = Fake::bind().await;
    let options = fake.options().outbox(1, 1_000).inbox(1, 1_000).protocol(V3_1_1);
    let (client, mut messages, _, mut peer) = connected(options, &fake).await;
    let server = async {
        // More messages than the inbox holds stand in front of each acknowledgement.
        for n in 1..=20 {
            peer.expect(&format!("PUBLISH a q1 {n}")).await;
            for _ in 0..10 {
                peer.send(&Packet::Publish(incoming("b", Delivery::AtMostOnce)))
                    .await;
            }
            peer.send(&puback(n)).await;
        }
        peer
    };
    let application = async {
        for _ in 0..20 {
            drop(client.publish(message("a", qos(1))).await.unwrap());
        }
        client.flush().await.unwrap();
        let mut came = 0;
        while messages.try_recv().is_some() {
            came += 1;
        }
        came
    };
    let (_peer, came) = within(async { join!(server, application) }).await;
    assert!(came > 0);
}

#[tokio::test]
async fn pain_2_each_message_has_its_own_acknowledgement() {
    let fake = Fake::bind().await;
    let (client, _messages, _, mut peer) = connected(fake.options(), &fake).await;
    let first = client.publish(message("a", qos(1))).await.unwrap();
    let second = client.publish(message("b", qos(1))).await.unwrap();
    peer.expect("PUBLISH a q1 1").await;
    peer.expect("PUBLISH b q1 2").await;
    let refusal = martlet_codec::Ack::new(id(2), ReasonCode::QuotaExceeded);
    peer.send(&Packet::PubAck(refusal)).await;
    let Err(DeliveryError::Refused(refused)) = within(second).await else {
        panic!()
    };
    assert_eq!(refused.reason, ReasonCode::QuotaExceeded);
    peer.send(&puback(1)).await;
    assert_eq!(within(first).await.unwrap().packet_id, Some(id(1)));
}

#[tokio::test]
async fn pain_9_a_lost_connection_ends_every_wait() {
    let fake = Fake::bind().await;
    let (client, mut messages, _, mut peer) = connected(fake.options().outbox(1, 1_000), &fake).await;
    let mut events = client.events();
    let delivery = client.publish(message("a", qos(1))).await.unwrap();
    peer.expect("PUBLISH a q1 1").await;
    let waits = async {
        join!(
            client.publish(message("b", qos(1))),
            client.subscribe_bare(subscribe("a")),
            client.flush(),
            messages.recv(),
            client.closed(),
        )
    };
    let goes = async {
        peer.expect("SUBSCRIBE 2 a").await;
        let why = Disconnect::new(ReasonCode::ServerShuttingDown);
        peer.send(&Packet::Disconnect(why)).await;
    };
    let ((published, subscribed, flushed, received, cause), ()) = within(async { join!(waits, goes) }).await;
    let down = Lost::Disconnected {
        reason: ReasonCode::ServerShuttingDown,
        properties: PropertiesBuf::new(),
    };
    assert_eq!(cause, down);
    assert_eq!(within(delivery).await, Err(DeliveryError::Closed(down.clone())));
    assert!(matches!(published, Err(PublishError::Closed(cause)) if cause == down));
    assert_eq!(subscribed, Err(RequestError::Closed(down.clone())));
    assert_eq!(flushed, Err(RequestError::Closed(down.clone())));
    assert_eq!(received, None);
    let lost = Event::Lost {
        cause: down,
        retry_in: None,
    };
    assert_eq!(within(events.recv()).await, Some(lost));
    assert_eq!(within(events.recv()).await, None);
}

#[tokio::test]
async fn pain_11_dropped_futures_take_nothing_with_them() {
    let fake = Fake::bind().await;
    let (client, mut messages, _, mut peer) = connected(fake.options().outbox(1, 1_000), &fake).await;
    // A SUBSCRIBE that was begun goes out, and its answer disturbs nobody.
    tokio::select! {
        biased;
        _ = client.subscribe_bare(subscribe("a")) => panic!("nobody answered"),
        () = std::future::ready(()) => {}
    }
    peer.expect("SUBSCRIBE 1 a").await;
    peer.send(&granted(1)).await;
    // A delivery that is dropped does not recall its message; a publish that waits for room does.
    drop(client.publish(message("a", qos(1))).await.unwrap());
    tokio::select! {
        biased;
        _ = client.publish(message("never", qos(1))) => panic!("there was no room"),
        () = std::future::ready(()) => {}
    }
    peer.expect("PUBLISH a q1 2").await;
    peer.send(&puback(2)).await;
    let last = client.publish(message("b", qos(0))).await.unwrap();
    peer.expect("PUBLISH b q0 0").await;
    within(last).await.unwrap();
    // A dropped `recv` loses no message.
    tokio::select! {
        biased;
        _ = messages.recv() => panic!("nothing came"),
        () = std::future::ready(()) => {}
    }
    peer.send(&Packet::Publish(incoming("m", Delivery::AtLeastOnce(id(1)))))
        .await;
    assert_eq!(within(messages.recv()).await.unwrap().topic.as_str(), "m");
    peer.expect("PUBACK 1").await;
}

#[tokio::test]
async fn a_cancelled_connect_is_none() {
    let fake = Fake::bind().await;
    let mut peer = tokio::select! {
        _ = Client::connect(fake.options()) => panic!("nobody agreed"),
        peer = async {
            let mut peer = fake.accept().await;
            peer.read().await;
            peer
        } => peer,
    };
    assert_eq!(peer.read().await, None);
}

#[tokio::test]
async fn pain_4_and_18_a_connection_is_made_again_by_the_policy() {
    let fake = Fake::bind().await;
    let options = fake.options().reconnect(AT_ONCE);
    let (client, mut messages, _, mut peer) = connected(options, &fake).await;
    let mut events = client.events();
    join!(
        async { within(client.subscribe_bare(subscribe("a"))).await.unwrap() },
        async {
            peer.expect("SUBSCRIBE 1 a").await;
            peer.send(&granted(1)).await;
        }
    );
    drop(peer);
    let Some(Event::Lost {
        cause: Lost::Closed,
        retry_in: Some(_),
    }) = within(events.recv()).await
    else {
        panic!()
    };
    let delivery = client.publish(message("b", qos(1))).await.unwrap();
    // The first attempt fails: the server is busy.
    let mut busy = fake.accept().await;
    busy.read().await;
    busy.send(&Packet::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::ServerBusy,
        properties: Properties::EMPTY,
    }))
    .await;
    let Some(Event::RetryFailed {
        refusal: Some(refusal),
        ..
    }) = within(events.recv()).await
    else {
        panic!()
    };
    assert_eq!(refusal.reason, ReasonCode::ServerBusy);
    let mut peer = fake.agree(false).await;
    assert!(matches!(within(events.recv()).await, Some(Event::Connected(_))));
    peer.expect("SUBSCRIBE 3 a").await;
    peer.expect("PUBLISH b q1 2").await;
    peer.send(&granted(3)).await;
    peer.send(&puback(2)).await;
    within(delivery).await.unwrap();
    peer.send(&Packet::Publish(incoming("a", Delivery::AtMostOnce)))
        .await;
    assert_eq!(within(messages.recv()).await.unwrap().topic.as_str(), "a");
    // Closed by hand while there is no connection: no attempt more.
    drop(peer);
    within(events.recv()).await;
    within(client.disconnect(ReasonCode::Success, PropertiesBuf::new()))
        .await
        .unwrap();
    assert_eq!(within(messages.recv()).await, None);
}

#[tokio::test]
async fn pain_5_messages_of_a_resumed_session_have_a_place_before_anybody_subscribes() {
    let fake = Fake::bind().await;
    let options = fake.options().clean_start(false);
    let server = async {
        let mut peer = fake.accept().await;
        peer.expect("CONNECT 5.0 \"c\"").await;
        let mut bytes = vec![0x20, 3, 1, 0, 0];
        Packet::Publish(incoming("old", Delivery::AtLeastOnce(id(5)))).encode(Version::V5, &mut bytes);
        peer.send_bytes(&bytes).await;
        peer
    };
    let (connected, mut peer) = join!(within(Client::connect(options)), server);
    let (client, connected) = connected.unwrap();
    assert!(connected.session_present);
    // Nobody wants it yet: it waits and is not acknowledged.
    let mut others = client.expect(FilterBuf::new("other").unwrap());
    assert!(others.try_recv().is_none());
    let mut messages = client.expect(FilterBuf::new("old").unwrap());
    assert_eq!(within(messages.recv()).await.unwrap().topic.as_str(), "old");
    peer.expect("PUBACK 5").await;
}

#[tokio::test]
async fn disconnect_flushes_and_dropping_all_handles_disconnects() {
    let fake = Fake::bind().await;
    let (client, _messages, _, mut peer) = connected(fake.options(), &fake).await;
    for n in [0, 1, 0] {
        drop(client.publish(message("a", qos(n))).await.unwrap());
    }
    let server = async {
        peer.expect("PUBLISH a q0 0").await;
        peer.expect("PUBLISH a q1 2").await;
        peer.expect("PUBLISH a q0 0").await;
        peer.send(&puback(2)).await;
        peer.expect("DISCONNECT 04").await;
        assert_eq!(peer.read().await, None);
    };
    let gone = client.disconnect(ReasonCode::DisconnectWithWill, PropertiesBuf::new());
    let (gone, ()) = within(async { join!(gone, server) }).await;
    gone.unwrap();

    let (client, messages, _, mut peer) = connected(fake.options(), &fake).await;
    drop(client.publish(message("last", qos(0))).await.unwrap());
    let clone = client.clone();
    drop((client, messages));
    drop(clone);
    peer.expect("PUBLISH last q0 0").await;
    peer.expect("DISCONNECT 00").await;
    assert_eq!(peer.read().await, None);
}

#[tokio::test]
async fn disconnect_now_tells_what_is_left() {
    let fake = Fake::bind().await;
    let (client, _messages, _, mut peer) = connected(fake.options(), &fake).await;
    let delivery = client.publish(message("a", qos(1))).await.unwrap();
    let gone = client.disconnect_now(ReasonCode::Success, PropertiesBuf::new());
    let server = async {
        peer.expect("PUBLISH a q1 1").await;
        peer.expect("DISCONNECT 00").await;
        drop(peer);
    };
    let (left, ()) = within(async { join!(gone, server) }).await;
    assert_eq!(left.unwrap().unacknowledged, 1);
    assert_eq!(within(delivery).await, Err(DeliveryError::Closed(Lost::ByUs)));
}

#[tokio::test]
async fn large_messages_both_ways_at_once() {
    let fake = Fake::bind().await;
    let (client, mut messages, _, mut peer) = connected(fake.options(), &fake).await;
    let payload = vec![7; 3 << 20];
    let large = Message::new(TopicBuf::new("a").unwrap(), payload.clone()).qos(qos(1));
    let delivery = client.publish(large).await.unwrap();
    let server = async {
        peer.expect("PUBLISH a q1 1").await;
        peer.send(&Packet::Publish(Publish {
            payload: &payload,
            ..incoming("b", Delivery::AtMostOnce)
        }))
        .await;
        peer.send(&puback(1)).await;
        peer
    };
    let (_peer, acked, came) = within(async { join!(server, delivery, messages.recv()) }).await;
    acked.unwrap();
    assert_eq!(came.unwrap().payload.len(), payload.len());
}

#[tokio::test]
async fn a_slow_reader_holds_the_server_back_and_loses_nothing() {
    let fake = Fake::bind().await;
    let (client, mut messages, _, mut peer) = connected(fake.options().inbox(2, 1 << 20), &fake).await;
    let payload = vec![0; 64 << 10];
    let total = 300;
    let server = tokio::spawn(async move {
        for _ in 0..total {
            peer.send(&Packet::Publish(Publish {
                payload: &payload,
                ..incoming("a", Delivery::AtMostOnce)
            }))
            .await;
        }
        peer
    });
    for _ in 0..total {
        // Other tasks run in between, so that the inbox fills up.
        tokio::task::yield_now().await;
        assert!(within(messages.recv()).await.is_some());
    }
    let _peer = server.await.unwrap();
    assert!(messages.try_recv().is_none());
    drop(client);
}

#[tokio::test]
async fn the_packet_log_speaks_mosquittos_words() {
    let fake = Fake::bind().await;
    let (sender, lines) = std::sync::mpsc::channel();
    let options = fake
        .options()
        .protocol(Protocol::V3_1_1)
        .packet_log(move |id, line| sender.send(format!("{id} {line}")).unwrap());
    let (client, messages, _, mut peer) = connected(options, &fake).await;
    let delivery = client.publish(message("a/b", qos(1))).await.unwrap();
    peer.expect("PUBLISH a/b q1 1").await;
    peer.send(&puback(1)).await;
    within(delivery).await.unwrap();
    drop(peer);
    within(client.closed()).await;
    drop((client, messages));
    let lines: Vec<String> = lines.iter().take(4).collect();
    assert_eq!(
        lines,
        [
            "c sending CONNECT",
            "c received CONNACK (0)",
            "c sending PUBLISH (d0, q1, r0, m1, 'a/b', ... (1 bytes))",
            "c received PUBACK (Mid: 1, RC:0)",
        ]
    );
}

#[tokio::test]
async fn the_packet_log_names_the_client_as_soon_as_the_server_has_named_it() {
    let fake = Fake::bind().await;
    let (sender, lines) = std::sync::mpsc::channel();
    let options = fake
        .options()
        .client_id("")
        .packet_log(move |id, line| sender.send(format!("{id} {line}")).unwrap());
    let assigned = props(|p| {
        p.text(martlet_client::PropertyId::AssignedClientIdentifier, "auto-1");
    });
    let (connected, _peer) = join!(within(Client::connect(options)), async {
        let mut peer = fake.accept().await;
        peer.expect("CONNECT 5.0 \"\" clean").await;
        peer.send(&Packet::ConnAck(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: assigned.as_properties(),
        }))
        .await;
        peer
    });
    assert_eq!(connected.unwrap().1.client_id, "auto-1");
    let lines: Vec<String> = lines.try_iter().take(2).collect();
    assert_eq!(lines, [" sending CONNECT", "auto-1 received CONNACK (0)"]);
}

#[tokio::test]
async fn what_no_retry_can_mend_closes_the_client() {
    let fake = Fake::bind().await;
    let (client, mut messages, _, mut peer) = connected(fake.options().reconnect(AT_ONCE), &fake).await;
    let mut events = client.events();
    peer.send(&Packet::Disconnect(Disconnect::new(ReasonCode::SessionTakenOver)))
        .await;
    let taken_over = Lost::Disconnected {
        reason: ReasonCode::SessionTakenOver,
        properties: PropertiesBuf::new(),
    };
    assert_eq!(within(client.closed()).await, taken_over);
    let lost = Event::Lost {
        cause: taken_over,
        retry_in: None,
    };
    assert_eq!(within(events.recv()).await, Some(lost));
    assert_eq!(within(messages.recv()).await, None);

    // The same when a new connection is refused for good.
    let (client, _messages, _, peer) = connected(fake.options().reconnect(AT_ONCE), &fake).await;
    drop(peer);
    let mut peer = fake.accept().await;
    peer.read().await;
    peer.send(&Packet::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::NotAuthorized,
        properties: Properties::EMPTY,
    }))
    .await;
    let cause = within(client.closed()).await;
    assert!(
        matches!(&cause, Lost::Refused(refusal) if refusal.reason == ReasonCode::NotAuthorized),
        "{cause:?}"
    );
}

/// The waits before the first attempts after connections that were lost at once.
async fn waits(reset_after: Duration) -> Vec<Duration> {
    let fake = Fake::bind().await;
    let reconnect =
        Reconnect::doubled(Duration::from_millis(1), Duration::from_millis(4)).reset_after(reset_after);
    let (client, _messages, _, peer) = connected(fake.options().reconnect(reconnect), &fake).await;
    let mut events = client.events();
    drop(peer);
    let mut waits = Vec::new();
    while waits.len() < 4 {
        match within(events.recv()).await {
            Some(Event::Lost {
                retry_in: Some(wait), ..
            }) => {
                waits.push(wait);
                drop(fake.agree(false).await);
            }
            Some(Event::Connected(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    waits
}

#[tokio::test]
async fn the_wait_begins_anew_only_after_a_connection_that_lasted() {
    let ms = |all: [u64; 4]| all.map(Duration::from_millis);
    assert_eq!(waits(Duration::from_secs(20)).await, ms([1, 2, 4, 4]));
    assert_eq!(waits(Duration::ZERO).await, ms([1, 1, 1, 1]));
}

#[tokio::test]
async fn messages_that_nobody_wants_are_acknowledged_all_the_same() {
    for protocol in BOTH {
        let fake = Fake::bind().await;
        let (_client, messages, _, mut peer) = connected(fake.options().protocol(protocol), &fake).await;
        peer.send(&Packet::Publish(incoming("a", Delivery::AtLeastOnce(id(1)))))
            .await;
        drop(messages);
        peer.expect("PUBACK 1").await;
        peer.send(&Packet::Publish(incoming("b", Delivery::ExactlyOnce(id(2)))))
            .await;
        peer.expect("PUBREC 2").await;
        peer.send(&pubrel(2)).await;
        peer.expect("PUBCOMP 2").await;
    }
}
