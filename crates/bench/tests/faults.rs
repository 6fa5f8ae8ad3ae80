//! The checks themselves: a proxy between the benchmark and a broker commits each fault once, and the
//! report must name that fault and no other.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::{Args, Command, FromArgMatches};
use martlet_bench::BenchArgs;
use martlet_codec::Packet;
use martlet_server::Server;
use martlet_server::config::{self, Mode, Overrides};

/// What the proxy does to one PUBLISH on its way to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It is gone.
    Lose,
    /// It comes twice.
    Repeat,
    /// It comes behind the next of its stream.
    Swap,
    /// A byte in the middle of the payload is another one.
    FlipPayload,
    /// A byte of the sequence number is another one.
    FlipSequence,
    /// The payload lacks its last byte.
    Cut,
    /// It has RETAIN set.
    Retain,
    /// The topic is another one.
    OtherTopic,
    /// A message for another subscriber comes in front of it.
    Misroute,
}

/// The PUBLISH of a connection that is hit.
const VICTIM: u64 = 50;

struct Proxy {
    fault: Fault,
    port: u16,
    /// Whether a connection got as many messages as it takes to be hit.
    came_to_victim: AtomicBool,
    done: AtomicBool,
    /// The last PUBLISH to each connection.
    last: Mutex<HashMap<usize, Vec<u8>>>,
}

impl Proxy {
    /// Listens on a port of its own, in front of `server`.
    fn start(server: SocketAddr, fault: Fault) -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Arc::new(Self {
            fault,
            port: listener.local_addr().unwrap().port(),
            came_to_victim: AtomicBool::new(false),
            done: AtomicBool::new(fault == Fault::None),
            last: Mutex::default(),
        });
        let started = Arc::clone(&proxy);
        thread::spawn(move || {
            for (nth, client) in listener.incoming().enumerate() {
                let mut client = client.unwrap();
                let mut broker = TcpStream::connect(server).unwrap();
                client.set_nodelay(true).unwrap();
                broker.set_nodelay(true).unwrap();
                let (mut from, mut to) = (broker.try_clone().unwrap(), client.try_clone().unwrap());
                let proxy = Arc::clone(&proxy);
                thread::spawn(move || {
                    proxy.down(nth, &mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
                thread::spawn(move || {
                    let _ = std::io::copy(&mut client, &mut broker);
                    let _ = broker.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        started
    }

    fn came_to_victim(&self) -> bool {
        self.came_to_victim.load(Ordering::Relaxed) && self.done.load(Ordering::Relaxed)
    }

    /// From the broker to a client, frame by frame.
    fn down(&self, nth: usize, from: &mut TcpStream, to: &mut TcpStream) {
        let (mut input, mut publishes, mut held): (_, _, Option<Vec<u8>>) = (Vec::new(), 0, None);
        let mut buffer = vec![0; 65_536];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            input.extend_from_slice(&buffer[..n]);
            let mut out = Vec::new();
            while let Some(length) = Packet::announced_len(&input).filter(|length| *length <= input.len()) {
                let frame: Vec<u8> = input.drain(..length).collect();
                if frame[0] >> 4 != 3 {
                    out.extend_from_slice(&frame);
                    continue;
                }
                publishes += 1;
                self.came_to_victim
                    .fetch_or(publishes >= VICTIM, Ordering::Relaxed);
                if publishes >= VICTIM && !self.done.load(Ordering::Relaxed) {
                    self.commit(nth, &frame, &mut held, &mut out);
                } else {
                    out.extend_from_slice(&frame);
                    let released = held.take_if(|held| stream(held) == stream(&frame));
                    out.extend(released.into_iter().flatten());
                }
                self.last.lock().unwrap().insert(nth, frame);
            }
            if to.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn commit(&self, nth: usize, frame: &[u8], held: &mut Option<Vec<u8>>, out: &mut Vec<u8>) {
        let last = self.last.lock().unwrap();
        let other = last.iter().find(|(connection, _)| **connection != nth);
        if self.fault == Fault::Misroute && other.is_none() {
            return out.extend_from_slice(frame);
        }
        if self.done.swap(true, Ordering::Relaxed) {
            return out.extend_from_slice(frame);
        }
        let mut altered = frame.to_vec();
        let end = altered.len();
        match self.fault {
            Fault::None => unreachable!("it is done from the start"),
            Fault::Lose => return,
            Fault::Repeat => out.extend_from_slice(frame),
            Fault::Swap => {
                *held = Some(altered);
                return;
            }
            Fault::FlipPayload => altered[end - 20] ^= 0x10,
            Fault::FlipSequence => altered[end - 64 + 11] ^= 1,
            Fault::Cut => {
                altered.pop();
                altered[1] -= 1;
            }
            Fault::Retain => altered[0] |= 1,
            // The first byte of the name "bench/..", behind the fixed header of 2 bytes and its length.
            Fault::OtherTopic => altered[4] = b'B',
            Fault::Misroute => out.extend_from_slice(other.expect("looked above").1),
        }
        out.extend_from_slice(&altered);
    }
}

/// The stream that a message of 64 bytes belongs to: the first four bytes of the payload.
fn stream(frame: &[u8]) -> &[u8] {
    &frame[frame.len() - 64..][..4]
}

fn server() -> Server {
    let overrides = Overrides {
        port: Some(0),
        set: vec!["shards=1".into(), "max_queued_messages=0".into()],
        durability: Some("none".into()),
        ..Overrides::default()
    };
    Server::start(&config::load(None, &overrides, Mode::Native).unwrap()).unwrap()
}

/// Lost, repeated, reordered, corrupted, misrouted.
type Counts = [u64; 5];

/// Runs the benchmark through a proxy; for longer, if a slow machine did not come to the victim.
fn bench(fault: Fault, line: &str) -> (Counts, String) {
    for seconds in [0.2, 0.5, 2.0, 8.0] {
        let line = line.replace("SECONDS", &seconds.to_string());
        let server = server();
        let proxy = Proxy::start(server.addresses()[0], fault);
        let line = format!("bench {line} --json -p {}", proxy.port);
        let matches = BenchArgs::augment_args(Command::new("bench"))
            .try_get_matches_from(line.split(' '))
            .unwrap();
        let outcome = martlet_bench::run(&BenchArgs::from_arg_matches(&matches).unwrap()).unwrap();
        server.stop();
        if fault != Fault::None && !proxy.came_to_victim() {
            continue;
        }
        let report: serde_json::Value = serde_json::from_str(&outcome.text).unwrap();
        let names = ["lost", "repeated", "reordered", "corrupted", "misrouted"];
        let counts = names.map(|name| report["faults"][name].as_u64().unwrap());
        let ended_early = report["ended_early"].is_string();
        assert_eq!(outcome.good, counts == [0; 5] && !ended_early, "{}", outcome.text);
        let told = report["faults"]["first"].is_string();
        assert_eq!(told, counts != [0; 5], "{}", outcome.text);
        return (counts, outcome.text);
    }
    panic!("{fault:?} was never committed: {line}")
}

const FLOW: &[(Fault, Counts)] = &[
    (Fault::None, [0, 0, 0, 0, 0]),
    (Fault::Lose, [1, 0, 0, 0, 0]),
    (Fault::Repeat, [0, 1, 0, 0, 0]),
    (Fault::Swap, [0, 0, 1, 0, 0]),
    (Fault::FlipPayload, [1, 0, 0, 1, 0]),
    (Fault::FlipSequence, [1, 0, 0, 1, 0]),
    (Fault::Cut, [1, 0, 0, 1, 0]),
    (Fault::Retain, [1, 0, 0, 1, 0]),
    (Fault::OtherTopic, [1, 0, 0, 0, 1]),
    (Fault::Misroute, [0, 0, 0, 0, 1]),
];

fn flow(line: &str, faults: &[(Fault, Counts)]) {
    for (fault, expected) in faults {
        let (counts, text) = bench(
            *fault,
            &format!("{line} --seconds SECONDS --warm-up 0 --window 4"),
        );
        assert_eq!(counts, *expected, "{fault:?} {line}: {text}");
    }
}

#[test]
fn pairs_at_qos_0() {
    flow("pairs --pairs 3 -q 0", FLOW);
}

#[test]
fn pairs_at_qos_1_in_version_5() {
    flow("pairs --pairs 3 -q 1 -V 5", FLOW);
}

#[test]
fn pairs_at_qos_2() {
    // A PUBLISH without its PUBREC stays with the broker: what it does then is not the benchmark's.
    flow("pairs --pairs 3 -q 2", &FLOW[..4]);
}

#[test]
fn pairs_in_another_order() {
    flow("pairs --pairs 3 --order pairs", FLOW);
    flow("pairs --pairs 3 --order every-other", FLOW);
}

#[test]
fn fan_out() {
    // A message of the same stream is not misrouted but comes again.
    flow("fan-out --subscribers 3", &FLOW[..9]);
}

#[test]
fn fan_in() {
    flow("fan-in --publishers 3", &FLOW[..9]);
}

#[test]
fn many_filters() {
    // Each message has another topic than the one before, and only those of one topic have an order.
    let mut faults = FLOW.to_vec();
    let swap = faults.iter_mut().find(|(fault, _)| *fault == Fault::Swap);
    swap.expect("it is one of them").1 = [0; 5];
    flow("filters --filters 300 --subscribers 3 --publishers 2", &faults);
    flow("filters --filters 3 --subscribers 3 --publishers 2", FLOW);
}

#[test]
fn a_fixed_rate() {
    for (fault, expected) in FLOW {
        let line = "pairs --pairs 3 --rate 3000 --seconds SECONDS --warm-up 0";
        let (counts, text) = bench(*fault, line);
        assert_eq!(counts, *expected, "{fault:?}: {text}");
    }
}

#[test]
fn retained() {
    // What is read back has no order.
    let faults = [
        (Fault::None, [0, 0, 0, 0, 0]),
        (Fault::Repeat, [0, 1, 0, 0, 0]),
        (Fault::FlipPayload, [1, 0, 0, 1, 0]),
        (Fault::Cut, [1, 0, 0, 1, 0]),
        (Fault::OtherTopic, [1, 0, 0, 0, 1]),
    ];
    for (fault, expected) in faults {
        let (counts, text) = bench(fault, "retained --messages 500 -q 1 --settle 0");
        assert_eq!(counts, expected, "{fault:?}: {text}");
    }
}

#[test]
fn a_queue() {
    let faults = [
        (Fault::None, [0, 0, 0, 0, 0]),
        (Fault::Swap, [0, 0, 1, 0, 0]),
        (Fault::FlipPayload, [1, 0, 0, 1, 0]),
    ];
    for (fault, expected) in faults {
        let (counts, text) = bench(fault, "offline --messages 500 -q 1 --settle 0");
        assert_eq!(counts, expected, "{fault:?}: {text}");
    }
}

#[test]
fn memory_is_read_again_when_all_is_gone() {
    let pid = std::process::id();
    for line in [
        "retained --messages 500",
        "offline --messages 500",
        "idle --connections 20",
    ] {
        let (_, text) = bench(Fault::None, &format!("{line} --settle 0.1 --server-pid {pid}"));
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let after = report["phases"].as_array().unwrap().last().unwrap();
        assert_eq!(after["name"], "after", "{text}");
        let server = &after["server"];
        assert!(
            server["rss_bytes_max"].as_u64() >= server["rss_bytes"].as_u64(),
            "{text}"
        );
        assert!(server["rss_bytes_each"].is_f64(), "{text}");
    }
}

#[test]
fn what_stays_silent_is_lost() {
    let (counts, text) = bench(Fault::Lose, "offline --messages 500 -q 1 --settle 0");
    assert_eq!(counts, [1, 0, 0, 0, 0]);
    assert!(text.contains("nothing came any more"), "{text}");
}
