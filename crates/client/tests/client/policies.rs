//! What the engine does by itself and by policy: when to connect and where to, outbox limits, time to
//! live, aliases, requests, authentication, and what differs between interfaces.

use std::time::Duration;

use martlet_client::engine::{Event, Task, Token};
use martlet_client::policy::{Policy, Reconnect};
use martlet_client::{
    Bytes, ConnectError, DeliveryError, FilterBuf, Login, Lost, Message, Options, Overflow, PropertiesBuf,
    PropertyId, Protocol, PublishError, ReasonCode, Rejected, RequestError, ResponseError, Subscribe,
    TopicBuf, Value, Version,
};
use martlet_codec::{
    Ack, Address, Auth, ConnAck, Decoded, Delivery, Limits, Packet, Properties, Publish, ReasonCodes, SubAck,
    Topic,
};
use std::num::NonZeroU16;

use crate::bench::*;

const SECOND: Duration = Duration::from_secs(1);

fn suback(bench: &mut Bench, n: u16, reason: ReasonCode) {
    bench.server_sends(&Packet::SubAck(SubAck {
        packet_id: id(n),
        properties: Properties::EMPTY,
        reasons: ReasonCodes::List(&[reason]),
    }));
}

/// How the messages ended, in their order.
fn ends(bench: &mut Bench) -> Vec<(Token, Result<(), DeliveryError>)> {
    let ended = bench.events().into_iter().filter_map(|event| match event {
        Event::Published { token, end } => Some((token, end.map(|_| ()))),
        _ => None,
    });
    ended.collect()
}

// Connecting.

#[test]
fn the_engine_says_when_and_where_to_connect() {
    let list = options(Protocol::Auto)
        .or_server("second", 1884)
        .reconnect(Reconnect::fixed(SECOND));
    let mut bench = Bench::new(list);
    let unreachable = || Lost::Unreachable {
        text: "no".to_owned(),
    };
    assert_eq!(bench.engine.task(0), Task::Wait, "nobody has started it");
    bench.engine.start(0, true);
    assert_eq!(bench.engine.task(0), Task::Dial { server: 0 });
    assert_eq!(bench.engine.deadline(), Some(30_000), "the connect timeout");
    bench.engine.unreachable(5, unreachable());
    assert_eq!(bench.engine.task(5), Task::Dial { server: 1 });
    bench.engine.unreachable(5, unreachable());
    assert_eq!(bench.engine.task(6), Task::Wait);
    assert_eq!(bench.engine.deadline(), Some(1_005));
    let at: Vec<Option<u64>> = bench
        .events()
        .iter()
        .map(|event| match event {
            Event::Lost { retry_at_ms, .. } => *retry_at_ms,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(at, [Some(5), Some(1_005)]);
    // No answer to CONNECT within the connect timeout.
    assert_eq!(bench.engine.task(1_005), Task::Dial { server: 0 });
    assert!(bench.engine.connect(1_010));
    assert_eq!(bench.engine.task(1_010), Task::Carry);
    bench.engine.timeout(31_005);
    assert_eq!(bench.lost(), Lost::NoAnswer { after_ms: 30_000 });
    assert_eq!(bench.engine.task(31_005), Task::Dial { server: 1 });
}

#[test]
fn a_closed_client_begins_anew_after_a_wait() {
    let luatos = |id: &str| {
        Options::new("bench", 1883)
            .protocol(V3_1_1)
            .client_id(id)
            .clean_start(false)
            .policy(Policy::LUATOS)
    };
    let mut bench = Bench::up(luatos("c"));
    let two = Delivery::ExactlyOnce(id(9));
    bench.publish_from_server("a", two);
    bench.publish(message("b", qos(1))).unwrap();
    bench.sent();
    bench.lose();
    let events = bench.events();
    assert!(
        matches!(
            events.last(),
            Some(Event::Lost {
                retry_at_ms: None,
                ..
            })
        ),
        "{events:?}"
    );
    bench.engine.reopen(2_000, luatos("c"), 3 * SECOND);
    assert_eq!(bench.engine.task(4_999), Task::Wait);
    assert_eq!(bench.engine.deadline(), Some(5_000));
    assert_eq!(bench.engine.task(5_000), Task::Dial { server: 0 });
    bench.now_ms = 5_000;
    bench.version = Version::V3_1_1;
    bench.reconnect(true, &PropertiesBuf::new());
    bench.events();
    // The server repeats what it has no PUBREC for: the application has it.
    bench.publish_from_server("a", two);
    assert_eq!(bench.sent(), ["PUBREC 9"]);
    assert!(bench.events().is_empty());
    bench.publish(message("b", qos(1))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH b q1 2"]);
    // Another client's session knows nothing of it.
    bench.engine.close(&Lost::ByUs);
    bench.engine.reopen(6_000, luatos("d"), Duration::ZERO);
    assert_eq!(bench.engine.task(6_000), Task::Dial { server: 0 });
    bench.reconnect(false, &PropertiesBuf::new());
    bench.publish_from_server("a", two);
    assert!(
        bench
            .events()
            .iter()
            .any(|event| matches!(event, Event::Message { .. }))
    );
}

#[test]
fn a_request_has_its_identifier_until_it_is_answered() {
    let mut bench = Bench::up(options(V5));
    bench.sent();
    let now_ms = bench.now_ms;
    let subscribe = Subscribe::to(FilterBuf::new("a").unwrap(), qos(1));
    let first = bench.engine.subscribe(now_ms, subscribe.clone()).unwrap();
    let second = bench.engine.subscribe(now_ms, subscribe).unwrap();
    assert_eq!(bench.engine.packet_id_of(first), Some(id(1)));
    assert_eq!(bench.engine.packet_id_of(second), Some(id(2)));
    suback(&mut bench, 1, ReasonCode::GrantedQos1);
    assert_eq!(bench.engine.packet_id_of(first), None);
}

#[test]
fn the_packet_log_can_be_switched_while_it_runs() {
    let mut bench = Bench::up(options(V5));
    let publish = |bench: &mut Bench| {
        bench.publish(message("a", qos(0))).unwrap();
        bench.sent();
        bench.engine.poll_packet_log()
    };
    assert_eq!(publish(&mut bench), None);
    bench.engine.log_packets(true);
    let line = publish(&mut bench).unwrap();
    assert!(line.starts_with("sending PUBLISH (d0, q0, r0,"), "{line}");
    bench.engine.log_packets(false);
    assert_eq!(publish(&mut bench), None);
}

#[test]
fn the_server_names_a_client_of_luatos() {
    let nameless = Options::new("bench", 1883)
        .protocol(V3_1_1)
        .policy(Policy::LUATOS);
    let mut bench = Bench::new(nameless);
    bench.version = Version::V3_1_1;
    let (connect, _) = bench.reconnect(false, &PropertiesBuf::new());
    assert_eq!(bench.engine.client_id(), "", "{connect:?}");
}

#[test]
fn pain_18_a_lost_connection_is_made_again_with_the_server_that_was_good() {
    let mut bench = Bench::new(options(V5).or_server("second", 1884));
    bench.engine.start(1_000, true);
    assert_eq!(bench.engine.task(1_000), Task::Dial { server: 0 });
    bench
        .engine
        .unreachable(1_000, Lost::Unreachable { text: String::new() });
    assert_eq!(bench.engine.task(1_000), Task::Dial { server: 1 });
    bench.reconnect(false, &PropertiesBuf::new());
    bench.events();
    bench.lose();
    assert_eq!(bench.engine.task(1_999), Task::Wait);
    assert_eq!(bench.engine.task(2_000), Task::Dial { server: 1 });
}

#[test]
fn versions_fall_back_as_far_as_the_protocol_allows() {
    let refusal: &[u8] = &[0x20, 2, 0, 1];
    for (protocol, expected) in [
        (Protocol::Auto, &[Version::V5, Version::V3_1_1][..]),
        (Protocol::Any, &[Version::V5, Version::V3_1_1, Version::V3_1]),
        (Protocol::AutoV3, &[Version::V3_1_1, Version::V3_1]),
        (V5, &[Version::V5]),
        (V3_1, &[Version::V3_1]),
    ] {
        let mut bench = Bench::new(options(protocol));
        bench.engine.start(0, true);
        let mut asked = Vec::new();
        while bench.engine.task(0) == (Task::Dial { server: 0 }) {
            assert!(bench.engine.connect(0));
            bench.sent();
            asked.push(bench.version);
            bench.engine.input(0, refusal);
        }
        assert_eq!(asked, expected, "{protocol:?}");
        assert!(bench.engine.closed().is_some(), "no other attempt mends that");
    }
    // Another server may speak what the first does not.
    let mut bench = Bench::new(options(Protocol::Auto).or_server("second", 1883));
    bench.engine.start(0, true);
    let mut asked = Vec::new();
    while let Task::Dial { server } = bench.engine.task(0) {
        assert!(bench.engine.connect(0));
        bench.sent();
        asked.push((server, bench.version));
        bench.engine.input(0, refusal);
    }
    let both = [Version::V5, Version::V3_1_1];
    let expected: Vec<_> = [0, 1]
        .into_iter()
        .flat_map(|server| both.map(|version| (server, version)))
        .collect();
    assert_eq!(asked, expected);
}

#[test]
fn a_first_attempt_is_repeated_where_that_is_asked() {
    for (retries, expected) in [(true, Task::Wait), (false, Task::End)] {
        let mut bench = Bench::new(options(V5));
        bench.engine.start(0, retries);
        bench.engine.task(0);
        bench
            .engine
            .unreachable(0, Lost::Unreachable { text: String::new() });
        assert_eq!(bench.engine.task(0), expected);
    }
}

#[test]
fn each_attempt_says_who_it_is() {
    let mut bench = Bench::new(options(V5));
    for user in ["first", "second"] {
        bench.engine.login(Login::new(user, "secret"));
        bench.engine.connect(0);
        let bytes = bench.take_output();
        let decoded = Packet::decode(&bytes, None, &Limits::NONE).unwrap();
        let Decoded::Packet(Packet::Connect(connect), _) = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!(connect.user_name, Some(user));
        bench.lose();
    }
}

// The outbox.

#[test]
fn pain_3_a_full_outbox_does_what_was_asked_for() {
    for overflow in [
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropOldest,
        Overflow::DropNewest,
    ] {
        let mut bench = Bench::new(options(V5).outbox(2, 1_000).overflow(overflow));
        let first = bench.publish(message("a", qos(1))).unwrap();
        let second = bench.publish(message("b", qos(0))).unwrap();
        let third = bench.publish(message("c", qos(2)));
        match overflow {
            Overflow::Wait | Overflow::Reject => {
                assert!(matches!(third, Err(PublishError::Full(m)) if m.topic.as_str() == "c"));
                assert!(ends(&mut bench).is_empty());
            }
            Overflow::DropOldest => {
                assert_eq!(ends(&mut bench), [(first, Err(DeliveryError::Dropped))]);
                let fourth = bench.publish(message("d", qos(1)));
                assert_eq!(ends(&mut bench), [(second, Err(DeliveryError::Dropped))]);
                let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
                assert_eq!(sent, ["PUBLISH c q2 3", "PUBLISH d q1 4"]);
                assert!(third.is_ok() && fourth.is_ok());
            }
            Overflow::DropNewest => {
                assert_eq!(ends(&mut bench), [(third.unwrap(), Err(DeliveryError::Dropped))]);
            }
        }
        assert_eq!(bench.engine.unfinished(), 2);
    }
}

#[test]
fn only_what_was_not_sent_is_dropped_for_the_new() {
    let mut bench = Bench::up(
        options(V5)
            .outbox(10, 6)
            .overflow(Overflow::DropOldest)
            .max_inflight(NonZeroU16::MIN),
    );
    bench.publish(message("a", qos(1))).unwrap();
    bench.publish(message("b", qos(1))).unwrap();
    // This one fits beside nothing that is under way: nobody is dropped in vain.
    let large = Message::new(TopicBuf::new("large").unwrap(), "12345").qos(qos(1));
    assert!(matches!(bench.publish(large), Err(PublishError::Full(_))));
    assert!(ends(&mut bench).is_empty());
    assert_eq!(bench.engine.unfinished(), 2);
}

#[test]
fn pain_3_messages_that_waited_too_long_are_not_sent() {
    let mut bench = Bench::new(options(V5).time_to_live(SECOND));
    let old = bench.publish(message("old", qos(1))).unwrap();
    let short = bench
        .publish(message("short", qos(0)).time_to_live(SECOND / 2))
        .unwrap();
    let long = message("long", qos(1)).time_to_live(10 * SECOND);
    bench.publish(long).unwrap();
    assert_eq!(bench.engine.deadline(), Some(1_500));
    bench.now_ms = 1_500;
    bench.engine.timeout(1_500);
    assert_eq!(ends(&mut bench), [(short, Err(DeliveryError::Expired))]);
    assert_eq!(bench.engine.deadline(), Some(2_000));
    bench.now_ms = 2_000;
    bench.engine.timeout(2_000);
    assert_eq!(ends(&mut bench), [(old, Err(DeliveryError::Expired))]);
    let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
    assert_eq!(sent, ["PUBLISH long q1 3"]);
    // Once it was sent its time is the server's.
    bench.now_ms = 20_000;
    bench.engine.timeout(20_000);
    assert_eq!(bench.engine.unfinished(), 1);
}

#[test]
fn pain_3_what_was_not_sent_comes_back_when_the_client_closes() {
    let mut bench = Bench::up(options(V5).max_inflight(NonZeroU16::MIN));
    for topic in ["a", "b", "c"] {
        bench.publish(message(topic, qos(1))).unwrap();
    }
    bench.publish(message("d", qos(0))).unwrap();
    bench.engine.close(&Lost::ByUs);
    let leftover = bench.engine.leftover();
    let topics: Vec<&str> = leftover.unsent.iter().map(|m| m.topic.as_str()).collect();
    assert_eq!((topics, leftover.unacknowledged), (vec!["b", "c", "d"], 1));
    assert_eq!(bench.engine.leftover(), martlet_client::Leftover::default());
}

// Policies of interfaces.

#[test]
fn without_a_connection_messages_wait_or_are_refused() {
    let offline = PublishError::Rejected(Rejected::Offline);
    for (policy, before, between) in [
        (Policy::KEEP_ALL, true, true),
        (Policy::PAHO_PYTHON, true, true),
        (Policy::PAHO_C, false, false),
        (Policy::PAHO_C_BUFFERED, false, true),
        (Policy::LUATOS, false, false),
    ] {
        let mut bench = Bench::new(options(V3_1_1).policy(policy));
        let subscribe = || Subscribe::to(FilterBuf::new("a").unwrap(), qos(0));
        let accepted = bench.publish(message("a", qos(1)));
        assert_eq!(accepted.is_ok(), before, "{policy:?}");
        assert!(before || accepted == Err(offline.clone()));
        assert_eq!(bench.engine.subscribe(0, subscribe()).is_ok(), before);
        bench.reconnect(false, &PropertiesBuf::new());
        bench.lose();
        assert_eq!(bench.publish(message("a", qos(1))).is_ok(), between, "{policy:?}");
        assert_eq!(bench.engine.subscribe(0, subscribe()).is_ok(), between);
        bench.reconnect(false, &PropertiesBuf::new());
        assert!(bench.publish(message("a", qos(1))).is_ok());
    }
}

#[test]
fn what_becomes_of_messages_under_way_is_the_policys() {
    let cause = DeliveryError::ConnectionLost(Lost::Closed);
    for (policy, at_loss, session, after) in [
        (Policy::KEEP_ALL, None, true, "PUBLISH a q1 1 dup"),
        (Policy::KEEP_ALL, None, false, "PUBLISH a q1 1"),
        (Policy::PAHO_PYTHON, None, false, "PUBLISH a q1 1"),
        (Policy::PAHO_C, None, true, "PUBLISH a q1 1 dup"),
        (Policy::PAHO_C, None, false, ""),
        (Policy::LUATOS, Some(cause), true, ""),
    ] {
        let mut bench = Bench::up(options(V3_1_1).clean_start(false).policy(policy));
        let token = bench.publish(message("a", qos(1))).unwrap();
        bench.sent();
        bench.lose();
        let lost = ends(&mut bench);
        match &at_loss {
            Some(error) => assert_eq!(lost, [(token, Err(error.clone()))]),
            None => assert!(lost.is_empty()),
        }
        let sent = bench.reconnect(session, &PropertiesBuf::new()).1;
        assert_eq!(sent.join(" "), after, "{policy:?}");
        if at_loss.is_none() && after.is_empty() {
            assert_eq!(ends(&mut bench), [(token, Err(DeliveryError::SessionLost))]);
        }
    }
}

#[test]
fn subscriptions_are_renewed_or_the_applications() {
    for (policy, renewed) in [
        (Policy::KEEP_ALL, true),
        (Policy::PAHO_PYTHON, false),
        (Policy::LUATOS, false),
    ] {
        let mut bench = Bench::up(options(V3_1_1).policy(policy));
        bench.subscribe("a");
        suback(&mut bench, 1, ReasonCode::GrantedQos1);
        // Without an answer: asked again, or ended.
        let open = bench.subscribe("b");
        bench.lose();
        let failed = bench.events().into_iter().any(|event| {
            matches!(event, Event::Subscribed { token, end: Err(RequestError::ConnectionLost(_)) } if token == open)
        });
        assert_eq!(failed, policy == Policy::LUATOS);
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(
            sent.iter().any(|words| words.ends_with(" a")),
            renewed,
            "{sent:?}"
        );
    }
}

#[test]
fn arrival_or_taking_is_acknowledged() {
    for (policy, at_once) in [(Policy::PAHO_C, true), (Policy::KEEP_ALL, false)] {
        let mut bench = Bench::up(options(V3_1_1).policy(policy));
        bench.publish_from_server("a", Delivery::AtLeastOnce(id(5)));
        let (_, unacked) = bench.message();
        assert_eq!(bench.sent() == ["PUBACK 5"], at_once);
        assert_eq!(unacked.is_none(), at_once);
    }
}

#[test]
fn pings_begin_at_three_quarters_where_the_policy_says_so() {
    let luatos = options(V3_1_1).policy(Policy::LUATOS).keep_alive(100 * SECOND);
    let mut bench = Bench::up(luatos);
    assert_eq!(bench.engine.deadline(), Some(76_000));
    bench.engine.timeout(76_000);
    assert_eq!(bench.sent(), ["PINGREQ"]);
}

// Acknowledging.

#[test]
fn pain_13_a_message_can_be_refused_with_a_reason() {
    for (protocol, puback, pubrec) in [
        (V5, "PUBACK 1 83", "PUBREC 2 83"),
        (V3_1_1, "PUBACK 1", "PUBREC 2"),
    ] {
        let mut bench = Bench::up(options(protocol).clean_start(false));
        bench.publish_from_server("a", Delivery::AtLeastOnce(id(1)));
        let (_, first) = bench.message();
        bench.publish_from_server("b", Delivery::ExactlyOnce(id(2)));
        let (_, second) = bench.message();
        let (first, second) = (first.unwrap(), second.unwrap());
        let bad = bench.engine.refuse(first, ReasonCode::Success);
        assert_eq!(
            bad,
            Err(Rejected::Reason {
                reason: ReasonCode::Success
            })
        );
        let reason = ReasonCode::ImplementationSpecific;
        // In any order: they leave in that of arrival.
        bench.engine.refuse(second, reason).unwrap();
        assert!(bench.sent().is_empty());
        bench.engine.refuse(first, reason).unwrap();
        assert_eq!(bench.sent(), [puback, pubrec]);
        // A refusal ends the exchange: the identifier is another message's.
        bench.publish_from_server("c", Delivery::ExactlyOnce(id(2)));
        let is_new = protocol == V5;
        assert_eq!(bench.events().len(), usize::from(is_new), "{protocol:?}");
    }
}

// Topic aliases.

#[test]
fn aliases_are_chosen_for_what_is_sent_most() {
    let two = number(PropertyId::TopicAliasMaximum, 2);
    let mut bench = Bench::up_with(options(V5).topic_aliases(10), &two);
    for topic in ["a", "a", "b", "c", "b"] {
        bench.publish(message(topic, qos(0))).unwrap();
    }
    assert_eq!(
        bench.sent(),
        [
            "PUBLISH a=1 q0 0",
            "PUBLISH =1 q0 0",
            "PUBLISH b=2 q0 0",
            "PUBLISH c q0 0",
            "PUBLISH =2 q0 0"
        ]
    );
    // Aliases end with the connection; what is sent again has its name.
    bench.publish(message("a", qos(1))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH =1 q1 6"]);
    bench.lose();
    let (_, sent) = bench.reconnect(false, &two);
    assert_eq!(sent, ["PUBLISH a=1 q1 6"]);
    bench.lose();
    // Nothing is chosen where the server takes none, nor in version 3.
    assert_eq!(
        bench.reconnect(false, &PropertiesBuf::new()).1,
        ["PUBLISH a q1 6"]
    );
    let mut bench = Bench::up(options(V3_1_1).topic_aliases(10));
    bench.publish(message("a", qos(0))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH a q0 0"]);
}

#[test]
fn no_alias_is_given_to_what_does_not_fit() {
    // Two bytes of header, three of topic, one of properties, one of payload; an alias is three more.
    let tight = props(|p| {
        p.number(PropertyId::TopicAliasMaximum, 2_u32)
            .number(PropertyId::MaximumPacketSize, 7_u32);
    });
    let mut bench = Bench::up_with(options(V5).topic_aliases(10), &tight);
    for _ in 0..2 {
        bench.publish(message("a", qos(0))).unwrap();
    }
    assert_eq!(bench.sent(), ["PUBLISH a q0 0", "PUBLISH a q0 0"]);
}

// Requests.

/// The PUBLISH of a request, and the SUBSCRIBE before it if there is one: response topic and correlation data.
fn request(bench: &mut Bench) -> (Vec<String>, String, Vec<u8>) {
    let bytes = bench.take_output();
    let mut rest = &bytes[..];
    let mut words = Vec::new();
    let mut asked = None;
    while let Decoded::Packet(packet, n) = Packet::decode(rest, Some(bench.version), &Limits::NONE).unwrap() {
        words.push(in_words(&packet));
        if let Packet::Publish(publish) = packet {
            let topic = publish.properties.text(PropertyId::ResponseTopic).unwrap();
            let data = publish.properties.binary(PropertyId::CorrelationData).unwrap();
            asked = Some((topic.to_owned(), data.to_vec()));
        }
        rest = &rest[n..];
        if rest.is_empty() {
            break;
        }
    }
    let (topic, data) = asked.expect("a request");
    (words, topic, data)
}

fn respond(bench: &mut Bench, topic: &str, data: &[u8], delivery: Delivery) {
    let properties = props(|p| {
        p.push(PropertyId::CorrelationData, Value::Binary(data));
    });
    bench.server_sends(&Packet::Publish(Publish {
        dup: false,
        retain: false,
        delivery,
        address: Address::Name(Topic::new(topic).unwrap()),
        properties: properties.as_properties(),
        payload: b"42",
    }));
}

#[test]
fn a_request_has_its_response_by_its_correlation_data() {
    let mut bench = Bench::up(options(V5));
    let ask = |bench: &mut Bench| {
        let message = message("ask", qos(1));
        bench
            .engine
            .request_response(bench.now_ms, message, 5_000)
            .unwrap()
    };
    let first = ask(&mut bench);
    let (words, topic, data) = request(&mut bench);
    assert_eq!(
        words,
        [format!("SUBSCRIBE 1 {topic}"), "PUBLISH ask q1 2".to_owned()]
    );
    suback(&mut bench, 1, ReasonCode::GrantedQos1);
    bench.server_sends(&puback(2));
    let second = ask(&mut bench);
    let (words, same, other) = request(&mut bench);
    assert_eq!(words, ["PUBLISH ask q1 3"], "subscribed once");
    assert_eq!(topic, same);
    assert_ne!(data, other);
    let [Event::Published { end: Ok(_), .. }] = bench.events()[..] else {
        panic!("SUBACK is not the application's")
    };
    respond(&mut bench, &topic, &other, Delivery::AtLeastOnce(id(9)));
    assert_eq!(bench.sent(), ["PUBACK 9"]);
    let Event::Responded {
        token,
        end: Ok(response),
    } = bench.event()
    else {
        panic!()
    };
    assert_eq!((token, &response.payload[..]), (second, &b"42"[..]));
    // Twice, or with data of nobody: dropped.
    respond(&mut bench, &topic, &other, Delivery::AtMostOnce);
    respond(&mut bench, &topic, b"?", Delivery::ExactlyOnce(id(10)));
    assert!(bench.events().is_empty());
    assert_eq!(bench.sent(), ["PUBREC 10"]);
    // Too late.
    assert!(bench.engine.deadline().is_some_and(|at_ms| at_ms <= 6_000));
    bench.engine.timeout(6_000);
    let timeout = Event::Responded {
        token: first,
        end: Err(ResponseError::Timeout),
    };
    assert_eq!(bench.event(), timeout);
    respond(&mut bench, &topic, &data, Delivery::AtMostOnce);
    assert!(bench.events().is_empty());
}

#[test]
fn why_there_is_no_response() {
    let ask = |bench: &mut Bench| bench.engine.request_response(0, message("ask", qos(1)), 5_000);
    let failed = |bench: &mut Bench| {
        let events = bench.events().into_iter();
        let mut ends = events.filter_map(|event| match event {
            Event::Responded { end: Err(error), .. } => Some(error),
            _ => None,
        });
        ends.next().expect("no response")
    };
    let mut bench = Bench::up(options(V3_1_1));
    assert!(matches!(
        ask(&mut bench),
        Err(ResponseError::Publish(PublishError::Rejected(
            Rejected::NeedsVersion5 { .. }
        )))
    ));
    let mut bench = Bench::up(options(V5));
    ask(&mut bench).unwrap();
    let nobody = Ack::new(id(2), ReasonCode::NoMatchingSubscribers);
    bench.server_sends(&Packet::PubAck(nobody));
    assert_eq!(failed(&mut bench), ResponseError::NobodyListens);
    let mut bench = Bench::up(options(V5));
    ask(&mut bench).unwrap();
    let refused = Ack::new(id(2), ReasonCode::NotAuthorized);
    bench.server_sends(&Packet::PubAck(refused));
    assert!(matches!(
        failed(&mut bench),
        ResponseError::Delivery(DeliveryError::Refused(_))
    ));
    let mut bench = Bench::up(options(V5));
    ask(&mut bench).unwrap();
    suback(&mut bench, 1, ReasonCode::NotAuthorized);
    assert!(matches!(
        failed(&mut bench),
        ResponseError::Subscribe(RequestError::Refused(_))
    ));
    let mut bench = Bench::up(options(V5));
    ask(&mut bench).unwrap();
    bench.engine.close(&Lost::ByUs);
    assert!(matches!(failed(&mut bench), ResponseError::Closed(Lost::ByUs)));
    assert_eq!(bench.engine.unfinished(), 0);
}

/// A request whose time is over after one second, and what is told of it.
fn given_up(bench: &mut Bench, n: u8) -> (Token, Token) {
    let asked = bench.engine.request_response(0, message("ask", qos(n)), 1_000);
    let request = asked.unwrap();
    (request, bench.engine.message_of(request).unwrap())
}

#[test]
fn a_request_that_ended_before_it_was_sent_is_not_sent() {
    for n in 0..3 {
        let mut bench = Bench::new(options(V5).outbox(1, 100));
        let (request, told) = given_up(&mut bench, n);
        assert!(
            bench
                .publish(message("t", qos(1)))
                .is_err_and(|error| matches!(error, PublishError::Full(_)))
        );
        bench.engine.timeout(999);
        assert!(bench.events().is_empty());
        bench.engine.timeout(1_000);
        let ends = [
            Event::Responded {
                token: request,
                end: Err(ResponseError::Timeout),
            },
            Event::Published {
                token: told,
                end: Err(DeliveryError::Withdrawn),
            },
        ];
        assert_eq!(bench.events(), ends);
        // Its room is another's, as that of one that nobody waits for.
        let (request, _) = given_up(&mut bench, n);
        bench.engine.forget_request(request);
        assert_eq!(ends_of(&mut bench), [DeliveryError::Withdrawn]);
        bench.publish(message("t", qos(0))).unwrap();
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(
            sent[0].starts_with("SUBSCRIBE") && sent[1] == "PUBLISH t q0 0",
            "{sent:?}"
        );
    }
}

fn ends_of(bench: &mut Bench) -> Vec<DeliveryError> {
    ends(bench).into_iter().filter_map(|(_, end)| end.err()).collect()
}

#[test]
fn a_request_that_ended_is_not_sent_anew_when_the_session_is_lost() {
    for (n, session_present, again) in [
        (0, true, 0),
        (0, false, 0),
        (1, false, 0),
        (2, false, 0),
        (1, true, 1),
    ] {
        let mut bench = Bench::up(options(V5).clean_start(false));
        given_up(&mut bench, n);
        if n > 0 {
            request(&mut bench);
        }
        // What is not written at QoS 0 has not left.
        bench.engine.timeout(1_000);
        bench.lose();
        bench.events();
        let sent = bench.reconnect(session_present, &PropertiesBuf::new()).1;
        let asked = sent.iter().filter(|words| words.starts_with("PUBLISH"));
        assert_eq!(asked.count(), again, "QoS {n}: {sent:?}");
    }
}

#[test]
fn responses_come_where_the_server_or_the_application_says() {
    let told = props(|p| {
        p.text(PropertyId::ResponseInformation, "answers/for/c/");
    });
    let mut bench = Bench::up_with(options(V5), &told);
    bench
        .engine
        .request_response(0, message("ask", qos(0)), 1)
        .unwrap();
    assert!(request(&mut bench).1.starts_with("answers/for/c/"));
    let here = options(V5).response_topic(TopicBuf::new("here").unwrap());
    let mut bench = Bench::up_with(here, &told);
    bench
        .engine
        .request_response(0, message("ask", qos(0)), 1)
        .unwrap();
    assert!(request(&mut bench).1.starts_with("here/"));
}

#[test]
fn a_lost_session_is_subscribed_to_responses_again() {
    for (policy, renewal) in [(Policy::KEEP_ALL, true), (Policy::PAHO_PYTHON, false)] {
        let mut bench = Bench::up(options(V5).policy(policy));
        bench
            .engine
            .request_response(0, message("ask", qos(1)), 60_000)
            .unwrap();
        let (_, topic, _) = request(&mut bench);
        suback(&mut bench, 1, ReasonCode::GrantedQos1);
        bench.lose();
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent[0].ends_with(&topic), renewal, "{sent:?}");
        if !renewal {
            bench
                .engine
                .request_response(0, message("ask", qos(1)), 60_000)
                .unwrap();
            assert!(request(&mut bench).0[0].ends_with(&topic));
        }
    }
}

// Enhanced authentication.

fn with_method(data: Option<&'static [u8]>) -> PropertiesBuf {
    props(|p| {
        p.text(PropertyId::AuthenticationMethod, "M");
        if let Some(data) = data {
            p.push(PropertyId::AuthenticationData, Value::Binary(data));
        }
    })
}

fn auth(bench: &mut Bench, reason: ReasonCode, data: Option<&'static [u8]>) {
    let properties = with_method(data);
    bench.server_sends(&Packet::Auth(Auth {
        reason,
        properties: properties.as_properties(),
    }));
}

fn authenticating() -> Options {
    options(V5).authenticator("M", |_| Ok(Bytes::from_static(b"data")))
}

#[test]
fn authentication_goes_step_by_step() {
    let mut bench = Bench::new(authenticating());
    bench.engine.first_step(&Bytes::from_static(b"1")).unwrap();
    bench.engine.connect(0);
    let bytes = bench.take_output();
    let decoded = Packet::decode(&bytes, None, &Limits::NONE).unwrap();
    let Decoded::Packet(Packet::Connect(connect), _) = decoded else {
        panic!("{decoded:?}")
    };
    let data = connect.properties.binary(PropertyId::AuthenticationData);
    assert_eq!(data, Some(&b"1"[..]));
    assert!(
        bench.engine.authenticate(0, &Bytes::new()).is_err(),
        "nobody has asked"
    );
    auth(&mut bench, ReasonCode::ContinueAuthentication, Some(b"2"));
    let asked = Event::Challenge {
        data: Some(Bytes::from_static(b"2")),
    };
    assert_eq!(bench.event(), asked);
    bench.engine.authenticate(0, &Bytes::from_static(b"3")).unwrap();
    assert_eq!(bench.sent(), ["AUTH 18 M"]);
    bench.server_sends(&Packet::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: with_method(Some(b"4")).as_properties(),
    }));
    assert!(matches!(bench.event(), Event::Connected(_)));

    bench.engine.reauthenticate(0, &Bytes::from_static(b"5")).unwrap();
    assert!(
        bench.engine.reauthenticate(0, &Bytes::new()).is_err(),
        "one at a time"
    );
    assert_eq!(bench.sent(), ["AUTH 19 M"]);
    auth(&mut bench, ReasonCode::ContinueAuthentication, None);
    assert_eq!(bench.event(), Event::Challenge { data: None });
    bench.engine.authenticate(0, &Bytes::from_static(b"6")).unwrap();
    auth(&mut bench, ReasonCode::Success, None);
    assert_eq!(bench.event(), Event::Reauthenticated);
    assert!(bench.engine.reauthenticate(0, &Bytes::new()).is_ok());
}

#[test]
fn what_a_server_can_do_wrong_with_auth() {
    use martlet_client::Violation;
    // Nobody has asked for it.
    let mut bench = Bench::up(authenticating());
    auth(&mut bench, ReasonCode::ContinueAuthentication, None);
    assert_eq!(bench.violation(), Violation::Direction);
    // Another method [MQTT5-4.12.0-5].
    let mut bench = Bench::new(authenticating());
    bench.engine.connect(0);
    let other = props(|p| {
        p.text(PropertyId::AuthenticationMethod, "other");
    });
    bench.server_sends(&Packet::Auth(Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: other.as_properties(),
    }));
    assert_eq!(bench.violation(), Violation::AuthMethodUnknown);
    // Another method in CONNACK.
    let mut bench = Bench::new(authenticating());
    bench.engine.connect(0);
    bench.server_sends(&Packet::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: other.as_properties(),
    }));
    assert_eq!(bench.violation(), Violation::AuthMethodUnknown);
    // Success comes as CONNACK while connecting.
    let mut bench = Bench::new(authenticating());
    bench.engine.connect(0);
    auth(&mut bench, ReasonCode::Success, None);
    assert_eq!(bench.violation(), Violation::Direction);
}

#[test]
fn an_application_that_cannot_go_on_ends_the_attempt() {
    let mut bench = Bench::new(authenticating());
    bench.engine.start(0, true);
    bench.engine.task(0);
    bench.engine.connect(0);
    auth(&mut bench, ReasonCode::ContinueAuthentication, None);
    bench.events();
    bench.engine.cannot_authenticate(0, "no such user".to_owned());
    let text = "no login: no such user";
    assert_eq!(bench.lost().to_string(), text);
    assert_eq!(bench.engine.task(0), Task::Wait);
}

#[test]
fn errors_say_what_was_tried() {
    let error = ConnectError::Login {
        address: "h:1".to_owned(),
        text: "the token server is down".to_owned(),
    };
    assert_eq!(
        error.to_string(),
        "cannot log in at h:1: the token server is down"
    );
    assert_eq!(
        Lost::NoAnswer { after_ms: 1_500 }.to_string(),
        "the server did not answer within 1.5 s"
    );
}
