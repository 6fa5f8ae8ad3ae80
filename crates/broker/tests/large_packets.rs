//! A packet arrives whole, whatever its size and wherever the network cuts it.

#![allow(missing_docs)]

use std::io::IoSlice;

use martlet_broker::{
    ConnId, Event, Input, ListenerRules, Login, MemoryStore, Parcels, Peer, Relocated, Seed, Settings, Shard,
    Shared, Sink,
};
use martlet_codec::{
    Address, Connect, Delivery, Extras, Filter, Packet, PacketId, Properties, Publish, Subscribe,
    SubscribeOptions, SubscribeRequests, Topic, Version,
};
use martlet_session::Now;

struct Nowhere;

impl Sink for Nowhere {
    fn close(&mut self, _: ConnId) {
        panic!("nothing is wrong with what is sent");
    }
    fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {}
    fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
        false
    }
    fn has_room(&self, _: u16) -> bool {
        true
    }
    fn parcels(&mut self, _: u16) -> &mut Parcels {
        unreachable!("there is one shard")
    }
    fn event(&mut self, _: Event<'_>) {}
}

const NOW: Now = Now {
    mono_ms: 0,
    wall_ms: 0,
};

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V3_1_1, &mut bytes);
    bytes
}

fn publish(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = Publish {
        dup: false,
        retain: false,
        delivery: Delivery::AtMostOnce,
        address: Address::Name(Topic::literal("a")),
        properties: Properties::EMPTY,
        payload,
    };
    publish.encode(Version::V3_1_1, Extras::NONE, &mut bytes);
    bytes
}

fn client(shard: &mut Shard, name: &str) -> ConnId {
    let peer = Peer {
        address: ([127, 0, 0, 1], 1).into(),
        listener: 0,
    };
    let conn = shard.open(NOW, peer);
    let connect = Connect {
        version: Version::V3_1_1,
        bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        client_id: name,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    };
    shard.handle(
        NOW,
        Input::Bytes(conn, &encoded(&Packet::Connect(connect))),
        &mut Nowhere,
    );
    conn
}

/// Takes all that waits to be written to a connection.
fn written(shard: &mut Shard, conn: ConnId) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(output) = shard.output(conn).filter(|output| !output.is_empty()) {
        let mut slices = [IoSlice::new(&[]); 16];
        let n = output.slices(&mut slices);
        let before = all.len();
        slices[..n].iter().for_each(|slice| all.extend_from_slice(slice));
        let wrote = all.len() - before;
        shard.handle(NOW, Input::Wrote(conn, wrote), &mut Nowhere);
    }
    all
}

/// Hands in bytes as a server does that reads at most `at_once` of them.
fn read(shard: &mut Shard, conn: ConnId, mut bytes: &[u8], at_once: usize) {
    const ROOM: usize = 32 << 10;
    let mut buffer = vec![0; ROOM + at_once];
    while !bytes.is_empty() {
        let n = at_once.min(bytes.len());
        buffer[ROOM..ROOM + n].copy_from_slice(&bytes[..n]);
        let input = Input::Read {
            conn,
            buffer: &mut buffer[..ROOM + n],
            start: ROOM,
        };
        shard.handle(NOW, input, &mut Nowhere);
        bytes = &bytes[n..];
    }
}

#[test]
fn packets_of_all_sizes_arrive_in_order_and_unchanged() {
    let settings = Settings {
        sys_interval_ms: None,
        ..Settings::default()
    };
    let shared = Shared::new(settings, vec![ListenerRules::default()], 1, &mut Seed::new(1));
    let mut shard = Shard::new(0, shared, Box::new(MemoryStore), Seed::new(2), NOW);
    let publisher = client(&mut shard, "p");
    let subscriber = client(&mut shard, "s");
    let requests = [(Filter::new("a").unwrap(), SubscribeOptions::default())];
    let subscribe = Packet::Subscribe(Subscribe {
        packet_id: PacketId::MIN,
        properties: Properties::EMPTY,
        requests: SubscribeRequests::List(&requests),
    });
    shard.handle(NOW, Input::Bytes(subscriber, &encoded(&subscribe)), &mut Nowhere);
    written(&mut shard, subscriber);

    let sizes = [
        0,
        10,
        40_000,
        5,
        32 << 10,
        (32 << 10) - 7,
        200_000,
        1,
        1_000_000,
        3,
    ];
    let mut sent = Vec::new();
    for (nth, size) in sizes.into_iter().enumerate() {
        let payload: Vec<u8> = (0..size).map(|at| (at * 31 + nth * 7) as u8).collect();
        sent.extend(publish(&payload));
    }
    for at_once in [1_000, 4_096, 65_536, 300_000] {
        read(&mut shard, publisher, &sent, at_once);
        let got = written(&mut shard, subscriber);
        assert!(
            got == sent,
            "{at_once} at once: {} of {} bytes",
            got.len(),
            sent.len()
        );
    }
}
