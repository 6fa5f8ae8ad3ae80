//! Messages from the server.

use martlet_client::{Options, PropertiesBuf, PropertyId, Protocol, Violation};
use martlet_codec::{Address, Delivery, Packet, Publish, Topic};
use std::num::NonZeroU16;

use crate::bench::*;

fn keeps(protocol: Protocol) -> Options {
    options(protocol).clean_start(false)
}

#[test]
fn acknowledged_when_taken_and_in_the_order_of_arrival() {
    for protocol in BOTH {
        let mut bench = Bench::up(keeps(protocol));
        bench.publish_from_server("a", Delivery::AtLeastOnce(id(7)));
        let (_, first) = bench.message();
        bench.publish_from_server("b", Delivery::ExactlyOnce(id(8)));
        let (_, second) = bench.message();
        bench.publish_from_server("c", Delivery::AtMostOnce);
        assert_eq!(bench.message().1, None);
        assert!(bench.sent().is_empty(), "nothing was taken");
        bench.take(second);
        assert!(bench.sent().is_empty(), "[MQTT5-4.6.0-2]");
        bench.take(first);
        assert_eq!(bench.sent(), ["PUBACK 7", "PUBREC 8"]);
        bench.server_sends(&pubrel(8));
        assert_eq!(bench.sent(), ["PUBCOMP 8"]);
        bench.server_sends(&pubrel(8));
        let unknown = if protocol == V5 {
            "PUBCOMP 8 92"
        } else {
            "PUBCOMP 8"
        };
        assert_eq!(bench.sent(), [unknown]);
    }
}

#[test]
fn pain_14_qos_2_comes_once_whatever_is_repeated() {
    for protocol in BOTH {
        let mut bench = Bench::up(keeps(protocol));
        bench.publish_from_server("a", Delivery::ExactlyOnce(id(1)));
        assert_eq!(bench.taken(), ["a"]);
        bench.publish_from_server("a", Delivery::ExactlyOnce(id(1)));
        assert!(bench.events().is_empty());
        assert_eq!(bench.sent(), ["PUBREC 1", "PUBREC 1"]);
        // Over a new connection of the same session too.
        bench.lose();
        bench.events();
        bench.reconnect(true, &PropertiesBuf::new());
        bench.events();
        bench.publish_from_server("a", Delivery::ExactlyOnce(id(1)));
        assert!(bench.events().is_empty());
        assert_eq!(bench.sent(), ["PUBREC 1"]);
        bench.server_sends(&pubrel(1));
        bench.sent();
        // Released: the identifier is free for another message.
        bench.publish_from_server("b", Delivery::ExactlyOnce(id(1)));
        assert_eq!(bench.taken(), ["b"]);
    }
}

#[test]
fn pain_12_what_was_not_taken_before_a_loss_does_not_stall_the_next_connection() {
    for protocol in BOTH {
        let mut bench = Bench::up(keeps(protocol));
        bench.publish_from_server("a", Delivery::AtLeastOnce(id(1)));
        let (_, old) = bench.message();
        bench.publish_from_server("b", Delivery::ExactlyOnce(id(2)));
        let (_, old_2) = bench.message();
        bench.lose();
        bench.reconnect(true, &PropertiesBuf::new());
        bench.events();
        // Sent again: QoS 1 is a message again, QoS 2 is the same one.
        bench.publish_from_server("a", Delivery::AtLeastOnce(id(1)));
        let (_, new) = bench.message();
        bench.publish_from_server("b", Delivery::ExactlyOnce(id(2)));
        assert!(bench.events().is_empty());
        bench.publish_from_server("c", Delivery::AtLeastOnce(id(3)));
        let (_, last) = bench.message();
        // The acknowledgement of what came before the loss means nothing here.
        bench.take(old);
        assert!(bench.sent().is_empty());
        bench.take(new);
        bench.take(last);
        assert_eq!(bench.sent(), ["PUBACK 1"]);
        bench.take(old_2);
        assert_eq!(bench.sent(), ["PUBREC 2", "PUBACK 3"]);
    }
}

#[test]
fn a_lost_session_forgets_what_was_received() {
    for protocol in BOTH {
        let mut bench = Bench::up(keeps(protocol));
        bench.publish_from_server("a", Delivery::ExactlyOnce(id(1)));
        bench.taken();
        bench.lose();
        bench.reconnect(false, &PropertiesBuf::new());
        bench.events();
        bench.publish_from_server("a", Delivery::ExactlyOnce(id(1)));
        assert_eq!(bench.taken(), ["a"]);
    }
}

#[test]
fn the_server_must_keep_to_our_receive_maximum() {
    let two = NonZeroU16::new(2).unwrap();
    let mut bench = Bench::up(options(V5).receive_maximum(two));
    bench.publish_from_server("a", Delivery::AtLeastOnce(id(1)));
    bench.publish_from_server("b", Delivery::ExactlyOnce(id(2)));
    assert_eq!(bench.taken(), ["a", "b"]);
    // PUBACK freed a slot, PUBREC did not.
    bench.publish_from_server("c", Delivery::AtLeastOnce(id(3)));
    bench.events();
    bench.sent();
    bench.publish_from_server("d", Delivery::AtLeastOnce(id(4)));
    assert_eq!(bench.violation(), Violation::ReceiveMaximum);
    assert_eq!(bench.sent(), ["DISCONNECT 93"]);
    // Version 3 knows no such limit.
    let mut bench = Bench::up(options(V3_1_1).receive_maximum(two));
    for n in 1..=5 {
        bench.publish_from_server("a", Delivery::AtLeastOnce(id(n)));
    }
    assert_eq!(bench.events().len(), 5);
}

#[test]
fn topic_aliases_of_the_server() {
    let alias = |n| NonZeroU16::new(n).unwrap();
    let with = |address, properties| {
        Packet::Publish(Publish {
            address,
            properties,
            ..incoming("x", Delivery::AtMostOnce)
        })
    };
    let a = Topic::literal("a");
    let none = martlet_client::Properties::EMPTY;
    let mut bench = Bench::up(options(V5).topic_alias_maximum(2));
    bench.server_sends(&with(Address::Define(a, alias(2)), none));
    bench.server_sends(&with(Address::Alias(alias(2)), none));
    let events = bench.events();
    let expected = "topic: \"a\"";
    assert!(
        events.iter().all(|e| format!("{e:?}").contains(expected)),
        "{events:?}"
    );
    bench.server_sends(&with(Address::Alias(alias(2)), none));
    assert_eq!(bench.message().0.topic_alias, Some(2));
    bench.server_sends(&with(Address::Alias(alias(1)), none));
    assert_eq!(bench.violation(), Violation::TopicAliasUnknown);
    // They do not outlive the connection.
    let mut bench = Bench::up(options(V5).topic_alias_maximum(2));
    bench.server_sends(&with(Address::Define(a, alias(2)), none));
    bench.lose();
    bench.reconnect(false, &PropertiesBuf::new());
    bench.events();
    bench.server_sends(&with(Address::Alias(alias(2)), none));
    assert_eq!(bench.violation(), Violation::TopicAliasUnknown);
    let mut bench = Bench::up(options(V5).topic_alias_maximum(2));
    bench.server_sends(&with(Address::Define(a, alias(3)), none));
    assert_eq!(bench.violation(), Violation::TopicAliasRange);
    assert_eq!(bench.sent(), ["DISCONNECT 94"]);
}

#[test]
fn everything_of_a_message_arrives() {
    let properties = props(|p| {
        p.text(PropertyId::ResponseTopic, "reply/to")
            .user_property("k", "v1")
            .user_property("k", "v2");
    });
    let mut bench = Bench::up(options(V5));
    bench.server_sends(&Packet::Publish(Publish {
        dup: true,
        retain: true,
        properties: properties.as_properties(),
        ..incoming("a/b", Delivery::AtLeastOnce(id(9)))
    }));
    let (message, _) = bench.message();
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("a/b", &b"x"[..]));
    assert!(message.dup && message.retain);
    assert_eq!((message.packet_id, message.properties), (Some(id(9)), properties));
}
