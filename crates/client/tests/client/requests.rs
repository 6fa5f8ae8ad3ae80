//! SUBSCRIBE, UNSUBSCRIBE, and subscriptions that a server has lost.

use martlet_client::engine::Event;
use martlet_client::{
    FilterBuf, PropertiesBuf, PropertyId, Qos, ReasonCode, Rejected, RequestError, Subscribe,
    SubscribeOptions, Unsubscribe, Violation,
};
use martlet_codec::{Packet, Properties, ReasonCodes, SubAck, UnsubAck};

use crate::bench::*;

fn suback(bench: &mut Bench, n: u16, reasons: &[ReasonCode]) {
    bench.server_sends(&Packet::SubAck(SubAck {
        packet_id: id(n),
        properties: Properties::EMPTY,
        reasons: ReasonCodes::List(reasons),
    }));
}

fn unsuback(bench: &mut Bench, n: u16, reasons: &[ReasonCode]) {
    bench.server_sends(&Packet::UnsubAck(UnsubAck {
        packet_id: id(n),
        properties: Properties::EMPTY,
        reasons: ReasonCodes::List(reasons),
    }));
}

fn filter(text: &str) -> FilterBuf {
    FilterBuf::new(text).unwrap()
}

#[test]
fn each_request_gets_its_own_answer() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        let (a, b) = (bench.subscribe("a"), bench.subscribe("b"));
        assert_eq!(bench.sent(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"]);
        suback(&mut bench, 2, &[ReasonCode::Unspecified]);
        let Event::Subscribed { token, end } = bench.event() else {
            panic!()
        };
        assert_eq!((token, end.unwrap().reasons), (b, vec![ReasonCode::Unspecified]));
        suback(&mut bench, 1, &[ReasonCode::GrantedQos1]);
        let Event::Subscribed { token, .. } = bench.event() else {
            panic!()
        };
        assert_eq!(token, a);
        let gone = bench
            .engine
            .unsubscribe(0, Unsubscribe::from(filter("a")))
            .unwrap();
        assert_eq!(bench.sent(), ["UNSUBSCRIBE 3 a"]);
        unsuback(&mut bench, 3, &[ReasonCode::Success]);
        let Event::Unsubscribed { token, end } = bench.event() else {
            panic!()
        };
        assert_eq!((token, end.unwrap().packet_id), (gone, id(3)));
    }
}

#[test]
fn answers_to_nothing_are_ignored_and_wrong_ones_are_not() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        suback(&mut bench, 5, &[ReasonCode::Success]);
        assert!(bench.events().is_empty());
        bench.subscribe("a");
        suback(&mut bench, 1, &[ReasonCode::Success, ReasonCode::Success]);
        assert_eq!(bench.violation(), Violation::WrongAck);
        let mut bench = Bench::up(options(protocol));
        bench.subscribe("a");
        unsuback(&mut bench, 1, &[ReasonCode::Success]);
        assert_eq!(bench.violation(), Violation::WrongAck);
    }
}

#[test]
fn pain_4_a_lost_session_is_subscribed_again_in_order() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol));
        for (n, topic) in [(1, "a"), (2, "b"), (3, "refused"), (4, "gone"), (5, "c")] {
            bench.subscribe(topic);
            let reason = if topic == "refused" {
                ReasonCode::Unspecified
            } else {
                ReasonCode::GrantedQos1
            };
            suback(&mut bench, n, &[reason]);
        }
        bench
            .engine
            .unsubscribe(0, Unsubscribe::from(filter("gone")))
            .unwrap();
        unsuback(&mut bench, 6, &[ReasonCode::Success]);
        bench.lose();
        // What waits for the next connection comes after the renewal.
        bench.subscribe("d");
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent, ["SUBSCRIBE 8 a b c", "SUBSCRIBE 7 d"]);
        bench.events();
        // A renewal that is refused is told, and not tried again.
        suback(
            &mut bench,
            8,
            &[
                ReasonCode::GrantedQos1,
                ReasonCode::Unspecified,
                ReasonCode::GrantedQos1,
            ],
        );
        let Event::ResubscribeRefused { filter, .. } = bench.event() else {
            panic!()
        };
        assert_eq!(filter.as_str(), "b");
        bench.lose();
        let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
        assert_eq!(sent, ["SUBSCRIBE 9 a c", "SUBSCRIBE 7 d"]);
    }
}

#[test]
fn a_session_that_is_there_is_not_subscribed_again() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol).clean_start(false));
        bench.subscribe("a");
        suback(&mut bench, 1, &[ReasonCode::Success]);
        let unanswered = bench.subscribe("b");
        bench.lose();
        bench.events();
        assert_eq!(bench.reconnect(true, &PropertiesBuf::new()).1, ["SUBSCRIBE 2 b"]);
        bench.events();
        suback(&mut bench, 2, &[ReasonCode::Success]);
        assert!(matches!(bench.event(), Event::Subscribed { token, .. } if token == unanswered));
    }
}

#[test]
fn version_3_1_cannot_tell_so_flows_go_on_and_subscriptions_are_renewed() {
    let mut bench = Bench::up(options(V3_1).clean_start(false));
    bench.subscribe("a");
    suback(&mut bench, 1, &[ReasonCode::Success]);
    bench.publish(message("t", qos(2))).unwrap();
    bench.lose();
    let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
    assert_eq!(sent, ["SUBSCRIBE 3 a", "PUBLISH t q2 2 dup"]);
}

#[test]
fn renewals_keep_their_properties_and_fit_the_server() {
    let mut bench = Bench::up(options(V5));
    let with_id = |n: u32| number(PropertyId::SubscriptionIdentifier, n);
    for (n, topic) in [(1, "a"), (2, "b"), (3, "c")] {
        let subscribe = Subscribe::to(filter(topic), Qos::AtMostOnce).properties(with_id(n.min(2)));
        bench.engine.subscribe(0, subscribe).unwrap();
        suback(&mut bench, n as u16, &[ReasonCode::Success]);
    }
    bench.lose();
    let sent = bench.reconnect(false, &PropertiesBuf::new()).1;
    assert_eq!(sent, ["SUBSCRIBE 4 a", "SUBSCRIBE 5 b c"]);
    bench.lose();
    let small = number(PropertyId::MaximumPacketSize, 16);
    let sent = bench.reconnect(false, &small).1;
    assert_eq!(sent.len(), 3, "{sent:?}");
}

#[test]
fn what_the_server_does_not_serve_is_not_asked() {
    let nothing = props(|p| {
        p.number(PropertyId::SharedSubscriptionAvailable, 0_u32)
            .number(PropertyId::WildcardSubscriptionAvailable, 0_u32);
    });
    let mut bench = Bench::up_with(options(V5), &nothing);
    let mut ask = |text: &str, options: SubscribeOptions| {
        let subscribe = Subscribe::default().and(filter(text), options);
        match bench.engine.subscribe(0, subscribe) {
            Err(RequestError::Rejected(rejected)) => rejected,
            other => panic!("{other:?}"),
        }
    };
    let plain = SubscribeOptions::default();
    let no_local = SubscribeOptions {
        no_local: true,
        ..plain
    };
    assert!(matches!(
        ask("a/#", plain),
        Rejected::NotServed {
            what: "wildcard subscriptions"
        }
    ));
    assert!(matches!(
        ask("$share/g/a", plain),
        Rejected::NotServed {
            what: "shared subscriptions"
        }
    ));
    assert_eq!(
        ask("$share/g/a", no_local),
        Rejected::Violation(Violation::SharedNoLocal)
    );
    let empty = bench.engine.subscribe(0, Subscribe::default());
    assert_eq!(empty, Err(Rejected::Violation(Violation::NoFilter).into()));
    let empty = bench.engine.unsubscribe(0, Unsubscribe::default());
    assert_eq!(empty, Err(Rejected::Violation(Violation::NoFilter).into()));
    let mut bench = Bench::up(options(V3_1_1));
    let asked = bench
        .engine
        .subscribe(0, Subscribe::default().and(filter("a"), no_local));
    assert!(matches!(
        asked,
        Err(RequestError::Rejected(Rejected::NeedsVersion5 { .. }))
    ));
}

#[test]
fn requests_are_bounded() {
    let mut bench = Bench::new(options(V5));
    for _ in 0..1_000 {
        bench.subscribe("a");
    }
    let one_more = Subscribe::to(filter("a"), Qos::AtMostOnce);
    let refused = bench.engine.subscribe(0, one_more);
    assert_eq!(refused, Err(Rejected::TooManyRequests { maximum: 1_000 }.into()));
}
