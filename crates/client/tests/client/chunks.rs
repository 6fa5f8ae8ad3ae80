//! Any chunking of the server's bytes gives the same events and the same answers.

use martlet_client::engine::Event;
use martlet_client::{Properties, Protocol, ReasonCode};
use martlet_codec::{Ack, Delivery, Packet, ReasonCodes, SubAck};
use proptest::prelude::*;

use crate::bench::*;

/// What a server may send, right or wrong, at any time.
fn server_packet() -> impl Strategy<Value = Packet<'static>> {
    let delivery = (0_u8..3, 1_u16..6).prop_map(|(qos, n)| match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce(id(n)),
        _ => Delivery::ExactlyOnce(id(n)),
    });
    let topics = prop_oneof![Just("a"), Just("a/b"), Just("日本")];
    let ack = (0_usize..4, 1_u16..6).prop_map(|(kind, n)| {
        let ack = Ack::new(id(n), ReasonCode::Success);
        [
            Packet::PubAck(ack),
            Packet::PubRec(ack),
            Packet::PubRel(ack),
            Packet::PubComp(ack),
        ][kind]
    });
    prop_oneof![
        6 => (topics, delivery).prop_map(|(topic, delivery)| Packet::Publish(incoming(topic, delivery))),
        6 => ack,
        1 => Just(Packet::PingResp),
        1 => (1_u16..6).prop_map(|n| Packet::SubAck(SubAck {
            packet_id: id(n),
            properties: Properties::EMPTY,
            reasons: ReasonCodes::List(&[ReasonCode::GrantedQos1]),
        })),
    ]
}

/// A client with something of each kind under way.
fn busy(protocol: Protocol) -> Bench {
    let mut bench = Bench::up(options(protocol));
    for n in [1, 2, 2, 1] {
        bench.publish(message("t", qos(n))).unwrap();
    }
    bench.subscribe("s");
    bench.sent();
    bench
}

/// Feeds the bytes and takes each message that comes: the events, and the bytes that are answered.
fn feed<'a>(bench: &mut Bench, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>) {
    let mut all = Vec::new();
    for chunk in chunks {
        bench.engine.input(bench.now_ms, chunk);
        all.extend(bench.events());
    }
    for event in &all {
        if let Event::Message { unacked, .. } = event {
            bench.take(*unacked);
        }
    }
    (all, bench.peek_output())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        v5 in any::<bool>(),
        packets in prop::collection::vec(server_packet(), 0..20),
        rubbish in prop::collection::vec(any::<u8>(), 0..6),
        sizes in prop::collection::vec(1_usize..20, 1..10),
    ) {
        let protocol = if v5 { V5 } else { V3_1_1 };
        let mut whole = busy(protocol);
        let mut bytes = Vec::new();
        for packet in &packets {
            packet.encode(whole.version, &mut bytes);
        }
        bytes.extend(rubbish);
        let at_once = feed(&mut whole, std::iter::once(&bytes[..]));

        let mut rest = &bytes[..];
        let mut sizes = sizes.iter().cycle();
        let chunks = std::iter::from_fn(|| {
            let n = (*sizes.next()?).min(rest.len());
            let (chunk, after) = rest.split_at(n);
            rest = after;
            (n > 0).then_some(chunk)
        });
        let in_chunks = feed(&mut busy(protocol), chunks);
        prop_assert_eq!(at_once, in_chunks);
    }

    #[test]
    fn no_bytes_of_a_server_make_it_panic(
        v5 in any::<bool>(),
        before in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let protocol = if v5 { V5 } else { V3_1_1 };
        let mut bench = if before { Bench::new(options(protocol)) } else { busy(protocol) };
        if before {
            bench.engine.connect(0);
        }
        bench.engine.input(5, &bytes);
        bench.taken();
        bench.lose();
        bench.engine.close(&martlet_client::Lost::Closed);
        prop_assert_eq!(bench.engine.unfinished(), 0);
    }
}
