//! Connections that do not get as far as CONNECT, and what they may cost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use martlet_codec::Version;
use martlet_robustness::{Bystanders, Client, Got, Live, Options, wait};

const CONNECTIONS: u64 = 10_000;
const KIB_EACH_MAX: u64 = 4;

/// Opens many connections that send `first` and no more: they are cheap, others go on. What they cost is there
/// for those who come next. They have all the time that opening them may take.
fn many(name: &str, first: &[u8]) {
    let mut broker = start(name, "connect_timeout=600");
    broker.client("before").publish("a", b"x", 2);
    let bystanders = Bystanders::start(broker.address(), "half/open", 0);
    bystanders.wait_rounds(10);
    let before_kib = broker.rss_kib();
    let [first_kib, second_kib] = [0, 1].map(|_| {
        let connections = open(&broker, first);
        broker.client("meanwhile").publish("a", b"x", 2);
        broker.wait_sys("connections/socket/count", CONNECTIONS + 3);
        let with_kib = broker.rss_kib();
        bystanders.wait_rounds(10);
        drop(connections);
        broker.wait_sys("connections/socket/count", 3);
        with_kib
    });
    let after_kib = broker.rss_below_kib(before_kib + 1_024, Duration::from_secs(3));
    let rounds = bystanders.finish();
    let each = first_kib.saturating_sub(before_kib) * 1_024 / CONNECTIONS;
    println!(
        "{name}: {before_kib} KiB before, {first_kib} with {CONNECTIONS} ({each} bytes each), {second_kib} with as many more later, {after_kib} after; {rounds} rounds meanwhile"
    );
    assert!(each <= KIB_EACH_MAX * 1_024, "{each} bytes for each connection");
    assert!(
        second_kib <= first_kib + (first_kib - before_kib) / 4,
        "{first_kib} KiB for the first, {second_kib} for those after them"
    );
    broker.assert_well();
}

/// `connect_timeout` ends them, while more come: each is closed, and had nothing to read. That these clients do not
/// close keeps nothing open.
fn many_end(name: &str, first: &[u8]) {
    let mut broker = start(name, "connect_timeout=1");
    let bystanders = Bystanders::start(broker.address(), "half/open", 0);
    for mut stream in open(&broker, first) {
        let bound = Some(Duration::from_secs(30));
        stream.set_read_timeout(bound).expect("a bound above 0");
        let mut buf = [0];
        let read = stream.read(&mut buf);
        assert!(matches!(read, Ok(0)), "closed without a byte: {read:?}");
    }
    broker.wait_sys("connections/socket/count", 3);
    bystanders.wait_rounds(10);
    bystanders.finish();
    assert!(broker.log().contains("no complete CONNECT in time"));
    broker.assert_well();
}

fn start(name: &str, setting: &str) -> Live {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files can be raised");
    Live::start(name, &[setting])
}

fn open(broker: &Live, first: &[u8]) -> Vec<TcpStream> {
    (0..CONNECTIONS)
        .map(|_| {
            let mut stream = broker.open();
            stream.write_all(first).expect("the broker reads");
            stream
        })
        .collect()
}

fn half_a_connect() -> Vec<u8> {
    let mut connect = Options::new("a client with a long name").encode();
    connect.truncate(20);
    connect
}

#[test]
fn silent_connections_cost_little() {
    many("silent", b"");
}

#[test]
fn connections_with_half_a_connect_cost_little() {
    many("half", &half_a_connect());
}

#[test]
fn silent_connections_are_closed() {
    many_end("silent-end", b"");
}

#[test]
fn connections_with_half_a_connect_are_closed() {
    many_end("half-end", &half_a_connect());
}

#[test]
fn a_connect_byte_by_byte_beyond_the_timeout_is_closed() {
    let mut broker = Live::start("loris", &["connect_timeout=1"]);
    let mut connect = Options::new("x").encode();
    connect.truncate(connect.len() - 1);
    let mut stream = broker.open();
    let step = Some(Duration::from_millis(200));
    stream.set_read_timeout(step).expect("a bound above 0");
    let start = Instant::now();
    let mut closed = false;
    for byte in connect {
        // It may be closed already.
        let _ = stream.write_all(&[byte]);
        let mut buf = [0];
        if !matches!(stream.read(&mut buf), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
            closed = true;
            break;
        }
    }
    assert!(closed, "still open after {:?}", start.elapsed());
    assert!(
        start.elapsed() >= Duration::from_millis(950),
        "closed after {:?}",
        start.elapsed()
    );
    broker.wait_log("no complete CONNECT in time");
    broker.assert_well();
}

#[test]
fn a_large_message_in_slow_arrival_is_life() {
    let mut broker = Live::start("slow", &[]);
    let mut subscriber = broker.client("subscriber");
    subscriber.subscribe("slow", 1);
    let mut publisher = Client::connect(
        broker.address(),
        &Options {
            keep_alive_s: 1,
            ..Options::new("publisher")
        },
    );
    let payload: Vec<u8> = (0..1_500_000_u32).map(|n| n as u8).collect();
    let (bytes, _) = publisher.publish_bytes("slow", &payload, 1);
    // 4 s, which is more than twice what a silent client has; the last step of each is a wait for nothing.
    for chunk in bytes.chunks(bytes.len() / 20) {
        publisher.raw(chunk);
        if let got @ (Got::Closed | Got::Disconnect(..)) = publisher.next_within(Duration::from_millis(200)) {
            panic!("closed while bytes come: {got:?}");
        }
    }
    let got = subscriber.publish_within(Duration::from_secs(5));
    assert!(
        got.is_some_and(|(topic, got)| topic == "slow" && got == payload),
        "the message came whole"
    );
    broker.assert_well();
}

/// At the limit nobody is accepted: clients wait in the kernel until there is room, and the log says so.
fn limited(name: &str, setting: &str, max: usize) {
    let mut broker = Live::start(name, &[setting]);
    // All at once, so that the limit is not found out one by one.
    let mut clients: Vec<Client> = (0..3 * max)
        .map(|n| {
            let mut client = Client::open(broker.address(), Version::V5);
            client.raw(&Options::new(&format!("c{n}")).encode());
            client
        })
        .collect();
    let mut connected = Vec::new();
    wait("as many as may", Duration::from_secs(10), || {
        clients.retain_mut(|client| {
            let got = client.next_within(Duration::from_millis(20));
            let is_in = matches!(got, Got::ConnAck(code, _) if !code.is_error());
            assert!(is_in || got == Got::Nothing, "{got:?}");
            if is_in {
                connected.push(client.stream().try_clone().expect("another handle"));
            }
            !is_in
        });
        connected.len() >= max
    });
    broker.wait_log("listener.full");
    for client in &mut clients {
        assert_eq!(client.next_within(Duration::from_millis(20)), Got::Nothing);
    }
    assert_eq!(connected.len(), max, "as many as may, no more");
    // Room for one lets one in.
    for stream in connected.drain(..) {
        stream.shutdown(std::net::Shutdown::Both).expect("it was open");
    }
    wait("room is used", Duration::from_secs(10), || {
        let before = clients.len();
        clients.retain_mut(|client| {
            !matches!(client.next_within(Duration::from_millis(20)), Got::ConnAck(code, _) if !code.is_error())
        });
        clients.len() < before
    });
    broker.wait_log("listener.room");
    drop(clients);
    broker.assert_well();
}

#[test]
fn beyond_the_connections_of_the_broker_clients_wait() {
    limited("limit", "global_max_connections=8", 8);
}

#[test]
fn beyond_the_connections_of_a_listener_clients_are_refused() {
    let mut broker = Live::start("listener", &["max_connections=2"]);
    let kept = [broker.client("a"), broker.client("b")];
    let mut third = Client::open(broker.address(), Version::V5);
    third.raw(&Options::new("c").encode());
    assert_eq!(
        third.answer(),
        Got::ConnAck(martlet_codec::ReasonCode::QuotaExceeded, false)
    );
    assert_eq!(third.answer(), Got::Closed);
    let mut old = Client::open(broker.address(), Version::V3_1_1);
    old.raw(
        &Options {
            version: Version::V3_1_1,
            ..Options::new("d")
        }
        .encode(),
    );
    assert!(matches!(old.answer(), Got::ConnAck(code, false) if code.is_error()));
    broker.wait_log("there are as many connections as there may be");
    drop(kept);
    wait("room again", Duration::from_secs(10), || {
        let mut client = Client::open(broker.address(), Version::V5);
        client.raw(&Options::new("e").encode());
        matches!(client.answer(), Got::ConnAck(code, _) if !code.is_error())
    });
    broker.assert_well();
}
