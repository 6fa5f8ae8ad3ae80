//! Messages to the server.

use martlet_client::engine::Event;
use martlet_client::{
    Acked, DeliveryError, Lost, Message, PropertiesBuf, PropertyId, PublishError, Qos, ReasonCode, Rejected,
    TopicBuf, Violation,
};
use martlet_codec::{Ack, Packet};
use std::num::{NonZeroU16, NonZeroU32};

use crate::bench::*;

fn acked(bench: &mut Bench) -> Result<Acked, DeliveryError> {
    match bench.event() {
        Event::Published { end, .. } => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_qos_ends_with_its_own_acknowledgement() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        bench.publish(message("a", qos(0))).unwrap();
        assert!(bench.events().is_empty(), "not before it has left");
        assert_eq!(bench.sent(), ["PUBLISH a q0 0"]);
        assert_eq!(acked(&mut bench).unwrap().packet_id, None);

        bench.publish(message("b", qos(1))).unwrap();
        assert_eq!(bench.sent(), ["PUBLISH b q1 2"]);
        bench.server_sends(&puback(2));
        assert_eq!(acked(&mut bench).unwrap().packet_id, Some(id(2)));

        bench.publish(message("c", qos(2))).unwrap();
        assert_eq!(bench.sent(), ["PUBLISH c q2 3"]);
        bench.server_sends(&pubrec(3));
        assert_eq!(bench.sent(), ["PUBREL 3"]);
        assert!(bench.events().is_empty());
        bench.server_sends(&pubcomp(3));
        assert_eq!(acked(&mut bench).unwrap().packet_id, Some(id(3)));
        assert!(bench.sent().is_empty());
    }
}

#[test]
fn pain_13_the_reason_and_the_properties_of_an_acknowledgement_arrive() {
    let why = props(|p| {
        p.text(PropertyId::ReasonString, "not yours");
    });
    let ack = |n, reason| Ack {
        packet_id: id(n),
        reason,
        properties: why.as_properties(),
    };
    let mut bench = Bench::up(options(V5));
    bench.publish(message("a", qos(1))).unwrap();
    bench.server_sends(&Packet::PubAck(ack(1, ReasonCode::NotAuthorized)));
    let Err(DeliveryError::Refused(refused)) = acked(&mut bench) else {
        panic!()
    };
    assert_eq!(
        (refused.reason, &refused.properties),
        (ReasonCode::NotAuthorized, &why)
    );
    // PUBREC of 0x80 and above ends it; no PUBREL.
    bench.publish(message("a", qos(2))).unwrap();
    bench.sent();
    bench.server_sends(&Packet::PubRec(ack(2, ReasonCode::QuotaExceeded)));
    assert!(matches!(acked(&mut bench), Err(DeliveryError::Refused(_))));
    assert!(bench.sent().is_empty());
    // What PUBREC said beside success is told at the end.
    bench.publish(message("a", qos(2))).unwrap();
    bench.server_sends(&Packet::PubRec(ack(3, ReasonCode::NoMatchingSubscribers)));
    bench.server_sends(&pubcomp(3));
    let end = acked(&mut bench).unwrap();
    assert_eq!(
        (end.reason, end.properties),
        (ReasonCode::NoMatchingSubscribers, why)
    );
}

#[test]
fn a_full_window_holds_back_qos_1_and_2_only() {
    for (protocol, connack, ours) in [
        (V3_1_1, PropertiesBuf::new(), 2),
        (V5, number(PropertyId::ReceiveMaximum, 2), 100),
    ] {
        let options = options(protocol).max_inflight(NonZeroU16::new(ours).unwrap());
        let mut bench = Bench::up_with(options, &connack);
        for topic in ["a", "b", "c", "d"] {
            bench.publish(message(topic, qos(1))).unwrap();
        }
        bench.publish(message("z", qos(0))).unwrap();
        assert_eq!(
            bench.sent(),
            ["PUBLISH a q1 1", "PUBLISH b q1 2", "PUBLISH z q0 0"]
        );
        bench.server_sends(&puback(2));
        assert_eq!(bench.sent(), ["PUBLISH c q1 3"]);
        // An acknowledgement of nothing gains nothing.
        bench.server_sends(&puback(2));
        assert!(bench.sent().is_empty());
    }
}

#[test]
fn acknowledgements_of_nothing_and_of_something_else() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        for packet in [puback(9), pubcomp(9)] {
            bench.server_sends(&packet);
            assert!(bench.sent().is_empty() && bench.events().is_empty());
        }
        bench.server_sends(&pubrec(9));
        let expected = if protocol == V5 { "PUBREL 9 92" } else { "PUBREL 9" };
        assert_eq!(bench.sent(), [expected]);
        bench.publish(message("a", qos(2))).unwrap();
        bench.server_sends(&puback(1));
        assert_eq!(bench.violation(), Violation::WrongAck);
    }
}

#[test]
fn pain_15_what_the_server_does_not_take_is_told_at_once() {
    let limits = props(|p| {
        p.number(PropertyId::MaximumPacketSize, 30_u32)
            .number(PropertyId::MaximumQos, 1_u32)
            .number(PropertyId::RetainAvailable, 0_u32);
    });
    let mut bench = Bench::up_with(options(V5), &limits);
    let rejected = |bench: &mut Bench, message| match bench.publish(message) {
        Err(PublishError::Rejected(rejected)) => rejected,
        other => panic!("{other:?}"),
    };
    let large = Message::new(TopicBuf::new("a").unwrap(), vec![0; 30]);
    let said = rejected(&mut bench, large).to_string();
    assert_eq!(said, "the packet has 36 bytes, the server takes 30 at most");
    let maximum = Qos::AtLeastOnce;
    assert_eq!(
        rejected(&mut bench, message("a", qos(2))),
        Rejected::Qos { qos: qos(2), maximum }
    );
    assert_eq!(
        rejected(&mut bench, message("a", qos(0)).retain(true)),
        Rejected::Retain
    );
    // The client works on, and without limits a large message is nothing special.
    bench.publish(message("a", qos(1))).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH a q1 1"]);
    let mut bench = Bench::up(options(V3_1_1));
    bench
        .publish(Message::new(TopicBuf::new("a").unwrap(), vec![0; 3_000_000]))
        .unwrap();
    assert_eq!(bench.sent(), ["PUBLISH a q0 0"]);
}

#[test]
fn pain_15_a_packet_above_our_own_limit_ends_the_connection_with_its_reason() {
    let small = NonZeroU32::new(20).unwrap();
    for (protocol, told) in [(V3_1_1, None), (V5, Some("DISCONNECT 95"))] {
        let mut bench = Bench::up(options(protocol).max_packet_size(small));
        bench.engine.input(1_000, &[0x30, 30]);
        assert_eq!(bench.violation(), Violation::PacketTooLarge);
        assert_eq!(bench.sent(), told.into_iter().collect::<Vec<_>>());
    }
    // Another attempt would meet the same packet: the client says so instead of trying for ever.
    let mut bench = Bench::up(options(V5).max_packet_size(small));
    bench.engine.input(1_000, &[0x30, 30]);
    let too_large = Lost::Violation(Violation::PacketTooLarge);
    assert_eq!(bench.engine.closed(), Some(&too_large));
}

#[test]
fn properties_need_version_5() {
    let with = |id| message("a", qos(0)).properties(number(id, 5));
    let expiry = PropertyId::MessageExpiryInterval;
    let mut bench = Bench::up(options(V3_1_1));
    let said = bench.publish(with(expiry)).unwrap_err().to_string();
    assert_eq!(
        said,
        "properties of a message need MQTT 5, the connection has MQTT 3.1.1"
    );
    let mut bench = Bench::up(options(V5));
    bench.publish(with(expiry)).unwrap();
    let identified = with(PropertyId::SubscriptionIdentifier);
    let violation = Violation::SubscriptionIdInPublish;
    assert_eq!(
        bench.publish(identified),
        Err(Rejected::Violation(violation).into())
    );
    let misplaced = with(PropertyId::ReceiveMaximum);
    let violation = Violation::PropertyNotHere;
    let property = PropertyId::ReceiveMaximum;
    let refused = bench.publish(misplaced).unwrap_err();
    assert_eq!(refused, Rejected::Property { property, violation }.into());
    assert_eq!(
        refused.to_string(),
        "not allowed: receive-maximum: a property that does not belong in this packet"
    );
}

#[test]
fn a_topic_alias_is_defined_once_a_connection() {
    let aliased = |topic: &str, alias: u32| {
        let properties = number(PropertyId::TopicAlias, alias);
        message(topic, qos(1)).properties(properties)
    };
    let two = number(PropertyId::TopicAliasMaximum, 2);
    let mut bench = Bench::up_with(options(V5), &two);
    for message in [
        aliased("a", 1),
        aliased("a", 1),
        aliased("b", 2),
        aliased("b", 1),
        aliased("a", 1),
    ] {
        bench.publish(message).unwrap();
    }
    let sent = [
        "PUBLISH a=1 q1 1",
        "PUBLISH =1 q1 2",
        "PUBLISH b=2 q1 3",
        "PUBLISH b=1 q1 4",
    ];
    assert_eq!(bench.sent()[..4], sent);
    for alias in [0, 3] {
        let rejected = bench.publish(aliased("a", alias)).unwrap_err();
        let alias = alias as u16;
        assert_eq!(rejected, Rejected::TopicAlias { alias, maximum: 2 }.into());
    }
    // A server that names no maximum takes none.
    let mut none = Bench::up(options(V5));
    let rejected = none.publish(aliased("a", 1)).unwrap_err();
    assert_eq!(rejected, Rejected::TopicAlias { alias: 1, maximum: 0 }.into());
    // On a new connection nothing of it is known: resends have the name, new messages define again.
    bench.lose();
    let again = bench.reconnect(true, &two).1;
    assert_eq!(again[..2], ["PUBLISH a q1 1 dup", "PUBLISH a q1 2 dup"]);
    bench.publish(aliased("a", 1)).unwrap();
    assert_eq!(bench.sent(), ["PUBLISH a=1 q1 6"]);
}

#[test]
fn pain_3_the_outbox_is_bounded_and_offline_messages_wait_in_order() {
    for protocol in BOTH {
        let mut bench = Bench::new(options(protocol).outbox(3, 1_000));
        for (topic, qos_) in [("a", 1), ("b", 0), ("c", 2)] {
            bench.publish(message(topic, qos(qos_))).unwrap();
        }
        let Err(PublishError::Full(back)) = bench.publish(message("d", qos(1))) else {
            panic!()
        };
        assert_eq!(back.topic.as_str(), "d");
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent, ["PUBLISH a q1 1", "PUBLISH b q0 0", "PUBLISH c q2 3"]);
        bench.publish(message("d", qos(1))).unwrap();
    }
    // By bytes too, but a large message goes alone.
    let mut bench = Bench::new(options(V5).outbox(100, 10));
    bench
        .publish(Message::new(TopicBuf::new("a").unwrap(), vec![0; 50]))
        .unwrap();
    assert!(matches!(
        bench.publish(message("b", qos(0))),
        Err(PublishError::Full(_))
    ));
}

#[test]
fn what_was_accepted_offline_and_cannot_be_sent_ends_with_the_reason() {
    let mut bench = Bench::new(options(V5));
    bench.publish(message("a", qos(2))).unwrap();
    bench.publish(message("b", qos(1))).unwrap();
    let no_qos_2 = number(PropertyId::MaximumQos, 1);
    assert_eq!(bench.reconnect(false, &no_qos_2).1, ["PUBLISH b q1 2"]);
    let events = bench.events();
    let Event::Published { end, .. } = &events[1] else {
        panic!("{events:?}")
    };
    assert!(matches!(end, Err(DeliveryError::Rejected(Rejected::Qos { .. }))));
}

#[test]
fn a_resumed_session_resends_in_order_before_anything_new() {
    for protocol in BOTH {
        let options = options(protocol)
            .clean_start(false)
            .max_inflight(NonZeroU16::new(3).unwrap());
        let mut bench = Bench::up(options);
        for (topic, n) in [("a", 1), ("b", 2), ("c", 2), ("d", 1)] {
            bench.publish(message(topic, qos(n))).unwrap();
        }
        bench.server_sends(&pubrec(2));
        bench.lose();
        let one = number(PropertyId::ReceiveMaximum, 2);
        let connack = if protocol == V5 { one } else { PropertiesBuf::new() };
        let sent = bench.reconnect(true, &connack).1;
        assert_eq!(sent[..2], ["PUBLISH a q1 1 dup", "PUBREL 2"]);
        bench.server_sends(&puback(1));
        bench.server_sends(&pubcomp(2));
        bench.server_sends(&pubrec(3));
        bench.server_sends(&pubcomp(3));
        bench.server_sends(&puback(4));
        let ends = bench
            .events()
            .into_iter()
            .filter(|e| matches!(e, Event::Published { end: Ok(_), .. }));
        assert_eq!(ends.count(), 4);
        let rest = bench.sent();
        assert!(rest.contains(&"PUBLISH d q1 4".to_owned()), "{rest:?}");
    }
}

#[test]
fn pain_10_a_lost_session_publishes_again_as_new_and_identifiers_never_collide() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        for (topic, n) in [("a", 1), ("b", 2), ("c", 2)] {
            bench.publish(message(topic, qos(n))).unwrap();
        }
        bench.server_sends(&pubrec(3));
        bench.lose();
        bench.events();
        // `c` had its PUBREC: it was the server's. The others are published again, not resent.
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent, ["PUBLISH a q1 1", "PUBLISH b q2 2"]);
        let ends = bench.events();
        assert!(matches!(ends[1], Event::Published { end: Ok(_), .. }), "{ends:?}");
        bench.publish(message("d", qos(1))).unwrap();
        assert_eq!(bench.sent(), ["PUBLISH d q1 4"]);
        bench.subscribe("e");
        assert_eq!(bench.sent(), ["SUBSCRIBE 5 e"]);
        for packet in [puback(1), pubrec(2), pubcomp(2), puback(4)] {
            bench.server_sends(&packet);
        }
        assert_eq!(bench.engine.unfinished(), 0);
    }
}

#[test]
fn pain_9_when_the_client_closes_every_delivery_ends() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol).max_inflight(NonZeroU16::MIN));
        let mut tokens = Vec::new();
        for n in [0, 1, 2, 1] {
            tokens.push(bench.publish(message("a", qos(n))).unwrap());
        }
        bench.subscribe("a");
        bench.lose();
        bench.events();
        bench
            .publish(message("a", qos(0)))
            .map(|token| tokens.push(token))
            .unwrap();
        bench.engine.close(&Lost::Closed);
        let mut ended = Vec::new();
        let mut requests = 0;
        for event in bench.events() {
            match event {
                Event::Published {
                    token,
                    end: Err(DeliveryError::Closed(_)),
                } => ended.push(token),
                Event::Subscribed { end: Err(_), .. } => requests += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((ended, requests), (tokens, 1));
        assert_eq!(bench.engine.unfinished(), 0);
    }
}

#[test]
fn qos_0_that_did_not_leave_goes_first_on_the_next_connection() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        bench.publish(message("a", qos(0))).unwrap();
        bench.publish(message("b", qos(0))).unwrap();
        // `a` and a part of `b` were written.
        bench.engine.written(1_000, 8);
        assert_eq!(bench.events().len(), 1);
        bench.lose();
        bench.publish(message("c", qos(0))).unwrap();
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent, ["PUBLISH b q0 0", "PUBLISH c q0 0"]);
    }
}

#[test]
fn pubrels_follow_the_order_of_pubrecs() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        for _ in 0..3 {
            bench.publish(message("a", qos(2))).unwrap();
        }
        bench.sent();
        for n in [2, 3, 1] {
            bench.server_sends(&pubrec(n));
        }
        assert_eq!(bench.sent(), ["PUBREL 2", "PUBREL 3", "PUBREL 1"]);
    }
}
