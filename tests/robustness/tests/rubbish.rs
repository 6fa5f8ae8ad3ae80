//! Clients that send rubbish: each gets a reason code or a close, and nobody else notices.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use martlet_codec::{
    Ack, Auth, ConnAck, Disconnect, Filter, Packet, PacketId, Properties, PropertiesBuf, PropertyId, Qos,
    ReasonCode, ReasonCodes, SubAck, Subscribe, SubscribeOptions, SubscribeRequests, UnsubAck, Version,
};
use martlet_robustness::{Bystanders, Client, Got, Live, Options, Random, encode};

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];
/// How long rubbish is sent, in each test that sends it at random.
const SPAN: Duration = Duration::from_secs(6);

fn options(version: Version) -> Options<'static> {
    Options {
        version,
        ..Options::new("rubbish")
    }
}

/// One packet of each type.
fn packets(version: Version) -> Vec<(&'static str, Vec<u8>)> {
    let id = PacketId::new(7).expect("not 0");
    let ack = Ack::new(id, ReasonCode::Success);
    let requests = [(
        Filter::new("rubbish/+").expect("a filter"),
        SubscribeOptions::qos(Qos::ExactlyOnce),
    )];
    let codes = ReasonCodes::List(&[ReasonCode::Success]);
    let none = Properties::EMPTY;
    let packet = |name, packet: Packet<'_>| (name, encode(&packet, version));
    let publish = |name: &'static str, qos: u8| {
        let first = 0x30 | qos << 1;
        let mut body = b"\x00\x09rubbish/a".to_vec();
        if qos > 0 {
            body.extend_from_slice(&[0, 7]);
        }
        if version == Version::V5 {
            body.extend_from_slice(b"\x10\x01\x01\x03\x00\x04text\x26\x00\x01k\x00\x01v");
        }
        body.extend_from_slice(b"payload");
        let mut bytes = vec![first, body.len() as u8];
        bytes.append(&mut body);
        (name, bytes)
    };
    vec![
        ("CONNECT", options(version).encode()),
        packet(
            "CONNACK",
            Packet::ConnAck(ConnAck {
                session_present: false,
                reason: ReasonCode::Success,
                properties: none,
            }),
        ),
        publish("PUBLISH 0", 0),
        publish("PUBLISH 1", 1),
        publish("PUBLISH 2", 2),
        packet("PUBACK", Packet::PubAck(ack)),
        packet("PUBREC", Packet::PubRec(ack)),
        packet("PUBREL", Packet::PubRel(ack)),
        packet("PUBCOMP", Packet::PubComp(ack)),
        packet(
            "SUBSCRIBE",
            Packet::Subscribe(Subscribe {
                packet_id: id,
                properties: none,
                requests: SubscribeRequests::List(&requests),
            }),
        ),
        packet(
            "SUBACK",
            Packet::SubAck(SubAck {
                packet_id: id,
                properties: none,
                reasons: codes,
            }),
        ),
        (
            "UNSUBSCRIBE",
            if version == Version::V5 {
                b"\xa2\x0e\x00\x07\x00\x00\x09rubbish/+".to_vec()
            } else {
                b"\xa2\x0d\x00\x07\x00\x09rubbish/+".to_vec()
            },
        ),
        packet(
            "UNSUBACK",
            Packet::UnsubAck(UnsubAck {
                packet_id: id,
                properties: none,
                reasons: codes,
            }),
        ),
        packet("PINGREQ", Packet::PingReq),
        packet("PINGRESP", Packet::PingResp),
        packet(
            "DISCONNECT",
            Packet::Disconnect(Disconnect {
                reason: ReasonCode::Success,
                properties: none,
            }),
        ),
        (
            "AUTH",
            if version == Version::V5 {
                let mut method = PropertiesBuf::new();
                method.text(PropertyId::AuthenticationMethod, "none");
                encode(
                    &Packet::Auth(Auth {
                        reason: ReasonCode::ContinueAuthentication,
                        properties: method.as_properties(),
                    }),
                    version,
                )
            } else {
                vec![0xf0, 0]
            },
        ),
        ("type 0", vec![0, 0]),
    ]
}

/// What a connected client gets for a packet that a client may not send, or not now.
fn is_wrong(name: &str) -> bool {
    matches!(
        name,
        "CONNECT" | "CONNACK" | "SUBACK" | "UNSUBACK" | "PINGRESP" | "AUTH" | "type 0"
    )
}

#[test]
fn every_packet_in_every_state() {
    let mut broker = Live::start("states", &[]);
    let bystanders = Bystanders::start(broker.address(), "by/stander", 0);
    for version in VERSIONS {
        for (name, bytes) in packets(version) {
            let case = format!("{name} in {version:?}");
            // Before CONNECT: a close without a word.
            let mut client = Client::open(broker.address(), version);
            client.raw(&bytes);
            let got = client.answer();
            if name == "CONNECT" {
                assert!(
                    matches!(got, Got::ConnAck(ReasonCode::Success, false)),
                    "{case}: {got:?}"
                );
            } else {
                assert_eq!(got, Got::Closed, "first: {case}");
            }

            // Connected.
            let mut client = Client::connect(broker.address(), &options(version));
            client.raw(&bytes);
            if is_wrong(name) {
                if version == Version::V5 {
                    let got = client.answer();
                    assert!(
                        matches!(got, Got::Disconnect(ReasonCode::ProtocolError, _)),
                        "{case}: {got:?}"
                    );
                }
                assert_eq!(client.answer(), Got::Closed, "{case}");
            } else if name == "DISCONNECT" {
                assert_eq!(client.answer(), Got::Closed, "{case}");
            } else {
                // Whatever it answers, it serves on.
                client.send(&Packet::PingReq);
                let mut answers = 0;
                loop {
                    match client.answer() {
                        Got::Pong => break,
                        got @ (Got::Closed | Got::Disconnect(..)) => panic!("{case}: {got:?}"),
                        _ => answers += 1,
                    }
                }
                assert!(answers <= 1, "{case}");
            }

            // After DISCONNECT: nothing is heard any more.
            let mut client = Client::connect(broker.address(), &options(version));
            let mut last = vec![0xe0, 0];
            last.extend_from_slice(&bytes);
            client.raw(&last);
            assert_eq!(client.answer(), Got::Closed, "after DISCONNECT: {case}");
        }
    }
    bystanders.finish();
    broker.wait_sys("clients/total", 1);
    broker.assert_well();
}

/// Sends bytes, ends its side, and reads to the end, which must come.
fn send_to_the_end(address: SocketAddr, bytes: &[u8], case: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    let bound = Some(Duration::from_secs(10));
    stream.set_read_timeout(bound).expect("a bound above 0");
    // The broker may have closed before all was written, or what it wrote is lost with the rest.
    let _ = stream
        .write_all(bytes)
        .and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "{case}: no end, sent {bytes:02x?}"
        );
    }
    answer
}

/// Changes bytes at random.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random
            .below(bytes.len().max(1))
            .min(bytes.len().saturating_sub(1));
        match random.below(7) {
            _ if bytes.is_empty() => return,
            0 => bytes[at] = random.draw() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => {
                let n = 1 + random.below(20);
                let more = random.bytes(n);
                bytes.splice(at..at, more);
            }
            4 => {
                bytes.remove(at);
            }
            // Lengths, mostly.
            5 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend_from_slice(&part[..part.len().min(40)]);
            }
        }
    }
}

fn at_random(name: &str, make: impl Fn(&mut Random) -> Vec<u8> + Send + Copy + 'static) {
    let mut broker = Live::start(name, &[]);
    let address = broker.address();
    let bystanders = Bystanders::start(address, "by/stander", 0);
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            std::thread::spawn(move || {
                let start = Instant::now();
                let mut connections = 0_u64;
                while start.elapsed() < SPAN {
                    // Each connection has a seed of its own, so that a failure is a number.
                    let seed = connections * 2 + thread;
                    let bytes = make(&mut Random::new(seed));
                    send_to_the_end(address, &bytes, &format!("seed {seed}"));
                    connections += 1;
                }
                connections
            })
        })
        .collect();
    let connections: u64 = threads
        .into_iter()
        .map(|thread| thread.join().expect("each connection ends"))
        .sum();
    let rounds = bystanders.finish();
    println!("{name}: {connections} connections, {rounds} rounds of others");
    // What it said with a session stays only as long as it asked for.
    broker.wait_sys("connections/socket/count", 1);
    broker.assert_well();
}

#[test]
fn random_bytes() {
    at_random("random", |random| {
        let n = 1 + random.below(300);
        random.bytes(n)
    });
}

#[test]
fn random_bytes_of_a_connected_client() {
    at_random("random-connected", |random| {
        let mut bytes = options(VERSIONS[random.below(3)]).encode();
        let n = 1 + random.below(300);
        bytes.append(&mut random.bytes(n));
        bytes
    });
}

#[test]
fn mutated_packets() {
    at_random("mutated", |random| {
        let version = VERSIONS[random.below(3)];
        let corpus = packets(version);
        let mut bytes = options(version).encode();
        if random.below(4) == 0 {
            mutate(&mut bytes, random);
        }
        for _ in 0..=random.below(6) {
            let mut packet = corpus[1 + random.below(corpus.len() - 1)].1.clone();
            if random.below(2) == 0 {
                mutate(&mut packet, random);
            }
            bytes.append(&mut packet);
        }
        bytes
    });
}
