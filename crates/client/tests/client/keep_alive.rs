//! PINGREQ, and servers that are gone.

use std::time::Duration;

use martlet_client::engine::Event;
use martlet_client::{Lost, Policy, PropertiesBuf, PropertyId};
use martlet_codec::Packet;

use crate::bench::*;

fn at(bench: &mut Bench, now_ms: u64) -> Vec<String> {
    bench.now_ms = now_ms;
    bench.engine.timeout(now_ms);
    bench.sent()
}

#[test]
fn a_ping_when_it_is_time_and_not_before() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol).keep_alive(Duration::from_secs(10)));
        assert_eq!(bench.engine.deadline(), Some(11_000));
        assert!(at(&mut bench, 10_999).is_empty());
        assert_eq!(at(&mut bench, 11_000), ["PINGREQ"]);
        bench.now_ms = 12_000;
        bench.server_sends(&Packet::PingResp);
        assert_eq!(bench.engine.deadline(), Some(21_000));
        assert_eq!(at(&mut bench, 21_000), ["PINGREQ"]);
    }
}

#[test]
fn pain_17_a_dead_server_is_noticed_in_one_and_a_half_keep_alives() {
    for protocol in BOTH {
        let mut bench = Bench::up(options(protocol).keep_alive(Duration::from_secs(10)));
        assert_eq!(at(&mut bench, 11_000), ["PINGREQ"]);
        assert_eq!(bench.engine.deadline(), Some(16_000));
        bench.engine.timeout(16_000);
        assert_eq!(bench.lost(), Lost::PingTimeout { after_ms: 5_000 });
        assert_eq!(bench.engine.deadline(), Some(17_000), "the next attempt");
    }
}

#[test]
fn pain_17_a_client_that_only_publishes_notices_too() {
    let mut bench = Bench::up(options(V5).keep_alive(Duration::from_secs(10)));
    for now_ms in (2_000..11_000).step_by(1_000) {
        bench.now_ms = now_ms;
        bench.publish(message("a", qos(0))).unwrap();
        bench.sent();
    }
    assert_eq!(at(&mut bench, 11_000), ["PINGREQ"]);
}

#[test]
fn luatos_pings_whatever_else_is_sent_and_tells_of_the_answer() {
    let options = options(V3_1_1)
        .keep_alive(Duration::from_secs(20))
        .policy(Policy::LUATOS);
    let mut bench = Bench::up(options);
    bench.now_ms = 15_000;
    bench.publish(message("a", qos(0))).unwrap();
    bench.sent();
    assert!(at(&mut bench, 15_999).is_empty());
    assert_eq!(at(&mut bench, 16_000), ["PINGREQ"]);
    bench.events();
    bench.server_sends(&Packet::PingResp);
    assert_eq!(bench.events(), [Event::Pong]);
    assert_eq!(at(&mut bench, 31_000), ["PINGREQ"]);
}

#[test]
fn a_reader_that_is_paused_blames_nobody() {
    let mut bench = Bench::up(options(V5).keep_alive(Duration::from_secs(10)));
    bench.engine.reading(1_500, false);
    for round in 1..=5 {
        assert_eq!(
            at(&mut bench, 1_000 + round * 10_000),
            ["PINGREQ"],
            "the server must not give us up"
        );
        at(&mut bench, 6_000 + round * 10_000);
    }
    // It reads again: from now on an answer is waited for.
    bench.engine.reading(57_000, true);
    assert_eq!(at(&mut bench, 67_000), ["PINGREQ"]);
    bench.engine.timeout(72_000);
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn no_keep_alive_no_ping_and_the_servers_word_counts() {
    let bench = Bench::up(options(V3_1_1).keep_alive(Duration::ZERO));
    assert_eq!(bench.engine.deadline(), None);
    let shorter = props(|p| {
        p.number(PropertyId::ServerKeepAlive, 5_u32);
    });
    let bench = Bench::up_with(options(V5), &shorter);
    assert_eq!(bench.engine.deadline(), Some(6_000));
    let bench = Bench::up_with(options(V5), &PropertiesBuf::new());
    assert_eq!(bench.engine.deadline(), Some(61_000));
}
