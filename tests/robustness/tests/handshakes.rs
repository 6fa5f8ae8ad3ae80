//! Handshakes of TLS that do not come to an end, and what they may cost.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use martlet_interop::{Transport, binary, run, text};
use martlet_robustness::{Bystanders, Live, wait};

/// As many as the server runs at a time.
const AT_ONCE: usize = 4_096;
const KIB_EACH_MAX: u64 = 16;
const BOUND: Duration = Duration::from_secs(30);

fn start(name: &str, more: &str) -> Live {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files can be raised");
    Live::start_over(name, Transport::Tls, more)
}

/// The head of a `ClientHello` that would have 508 bytes, and a part of it.
fn half_a_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(300, 7);
    hello
}

fn open(broker: &Live, count: usize) -> Vec<TcpStream> {
    let hello = half_a_hello();
    let open = |_| {
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, broker.other_port())).expect("the broker listens");
        stream.write_all(&hello).expect("the system takes a few bytes");
        stream
    };
    (0..count).map(open).collect()
}

/// One message over TLS, by a program of its own.
fn publish_over_tls(broker: &Live) {
    let mut command = Command::new(binary());
    command.args(["pub", "-h", "localhost", "-t", "tls", "-m", "x", "-q", "1"]);
    command.args(["-p", &broker.other_port().to_string(), "--cafile"]);
    let output = run(command.arg(broker.file("ca.pem")));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}{}", broker.log());
}

/// Beyond the limit others wait in the kernel; clients that are connected notice nothing, and when some of the slow go,
/// those who wait get their turn.
#[test]
fn slow_handshakes_are_bounded_and_hold_up_nobody() {
    let mut broker = start("handshakes-slow", "connect_timeout 600\n");
    publish_over_tls(&broker);
    let bystanders = Bystanders::start(broker.address(), "slow/handshakes", 0);
    bystanders.wait_rounds(10);
    let before_kib = broker.rss_kib();
    let mut slow = open(&broker, AT_ONCE);
    // What is accepted and what is read is both told by the memory of the process, and by nothing else.
    slow.extend(open(&broker, 64));
    broker.wait_log("listener.full");
    assert!(broker.log().contains("too many handshakes"), "{}", broker.log());
    bystanders.wait_rounds(10);
    // The other door is open all the while.
    broker.client("meanwhile").publish("a", b"x", 2);
    let with_kib = broker.rss_kib();
    let each = with_kib.saturating_sub(before_kib) * 1_024 / AT_ONCE as u64;
    assert!(each <= KIB_EACH_MAX * 1_024, "{each} bytes for each handshake");
    slow.drain(..AT_ONCE / 2);
    broker.wait_log("listener.room");
    publish_over_tls(&broker);
    drop(slow);
    broker.wait_sys("connections/socket/count", 3);
    publish_over_tls(&broker);
    let after_kib = broker.rss_below_kib(before_kib + 4_096, Duration::from_secs(5));
    let rounds = bystanders.finish();
    println!(
        "{before_kib} KiB before, {with_kib} with {AT_ONCE} ({each} bytes each), {after_kib} after; {rounds} rounds meanwhile"
    );
    assert!(
        after_kib <= before_kib + (with_kib - before_kib) / 2 + 4_096,
        "{before_kib} KiB before, {with_kib} with them, {after_kib} after"
    );
    broker.assert_well();
}

/// `connect_timeout` ends each, also if it goes on byte by byte.
#[test]
fn handshakes_that_take_too_long_are_closed() {
    const SILENT: usize = 300;
    let mut broker = start("handshakes-timeout", "connect_timeout 1\n");
    let bystanders = Bystanders::start(broker.address(), "late/handshakes", 0);
    let silent = open(&broker, SILENT);
    let mut trickling = open(&broker, 1).remove(0);
    trickling
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a bound above 0");
    wait("the one that trickles is closed", BOUND, || {
        // Its reading is the pause between two bytes.
        let is_sent = trickling.write_all(&[7]).is_ok();
        let read = trickling.read(&mut [0; 64]);
        let goes_on = |kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
        !is_sent || !read.is_err_and(|error| goes_on(error.kind()))
    });
    for mut stream in silent {
        stream.set_read_timeout(Some(BOUND)).expect("a bound above 0");
        let mut said = Vec::new();
        let end = stream.read_to_end(&mut said);
        let is_closed = end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert!(is_closed, "closed in time");
    }
    wait("all timeouts are in the log", BOUND, || {
        broker.log().matches("reason=timeout").count() > SILENT
    });
    publish_over_tls(&broker);
    bystanders.wait_rounds(10);
    bystanders.finish();
    broker.assert_well();
}
