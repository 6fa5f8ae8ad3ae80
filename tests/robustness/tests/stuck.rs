//! Subscribers that stop reading, and what they may cost: their limit and a tenth.

use std::time::{Duration, Instant};

use martlet_codec::{Delivery, Version};
use martlet_robustness::{Bystanders, Client, Got, Live, Options, wait};

const MIB: u64 = 1 << 20;
/// Unsent bytes in the output of one connection; not a directive.
const OUTPUT_BYTES_MAX: u64 = 16 * MIB;
/// What `max_queued_bytes` is set to, for stored sessions too.
const QUEUE_BYTES_MAX: u64 = 64 * MIB;
const TOPIC: &str = "stuck";

struct Case {
    name: &'static str,
    version: Version,
    qos: u8,
    payload_bytes: usize,
    is_persistent: bool,
    /// How many messages it reads of each batch of the publisher.
    reads_of_batch: usize,
}

const CASE: Case = Case {
    name: "",
    version: Version::V5,
    qos: 0,
    payload_bytes: 0,
    is_persistent: false,
    reads_of_batch: 0,
};

/// Messages that a publisher sends before it waits for its honest subscriber.
fn batch(payload_bytes: usize) -> u64 {
    (256 * 1024 / payload_bytes as u64).clamp(2, 500)
}

/// A publisher whose every message an honest subscriber gets once and in order, while the stuck one does not
/// read.
struct Flood {
    publisher: Client,
    reader: Client,
    qos: u8,
    payload: Vec<u8>,
    sent: u64,
}

impl Flood {
    fn start(broker: &Live, case: &Case) -> Self {
        let mut reader = broker.client("honest");
        reader.subscribe(TOPIC, case.qos);
        Self {
            publisher: broker.client("publisher"),
            reader,
            qos: case.qos,
            payload: vec![b'.'; case.payload_bytes],
            sent: 0,
        }
    }

    fn batch(&mut self) {
        let n = batch(self.payload.len());
        let mut bytes = Vec::new();
        for number in self.sent..self.sent + n {
            let text = format!("flood {number:012}");
            self.payload[..text.len()].copy_from_slice(text.as_bytes());
            bytes.append(&mut self.publisher.publish_bytes(TOPIC, &self.payload, self.qos).0);
        }
        self.publisher.raw(&bytes);
        let mut next = self.sent;
        while next < self.sent + n {
            let got = self.reader.answer();
            self.reader.acknowledge(&got);
            let Got::Publish { payload, dup, .. } = got else {
                panic!("{got:?}")
            };
            if payload.starts_with(b"flood ") {
                assert_eq!(payload[6..18], *format!("{next:012}").as_bytes());
                assert_eq!(payload.len(), self.payload.len());
                assert!(!dup, "nothing is sent twice");
                next += 1;
            }
        }
        self.sent += n;
        for _ in 0..if self.qos > 0 { n } else { 0 } {
            let got = self.publisher.answer();
            assert!(matches!(got, Got::PubAck(_, code) if !code.is_error()), "{got:?}");
        }
    }
}

fn stuck(case: &Case) {
    let queue = format!("max_queued_bytes={QUEUE_BYTES_MAX}");
    let mut broker = Live::start(case.name, &["max_queued_messages=10000000", &queue]);
    // All that is needed once is there: buffers of all clients, threads, topics.
    let mut flood = Flood::start(&broker, case);
    let bystanders = Bystanders::start(broker.address(), TOPIC, 0);
    for _ in 0..100 {
        flood.batch();
        bystanders.wait_others(flood.sent);
    }
    bystanders.wait_rounds(20);
    let rounds_before = bystanders.finish();
    let sent_before = flood.sent;
    let before_kib = broker.rss_kib();

    let mut stuck = Client::connect(
        broker.address(),
        &Options {
            version: case.version,
            clean: !case.is_persistent,
            expiry_s: if case.is_persistent { 3_600 } else { 0 },
            ..Options::new("stuck")
        },
    );
    stuck.subscribe(TOPIC, case.qos);
    let bystanders = Bystanders::start(broker.address(), TOPIC, 0);
    let limit = if case.qos == 0 {
        OUTPUT_BYTES_MAX
    } else {
        QUEUE_BYTES_MAX + 64 * case.payload_bytes as u64
    };
    // Several times what it may have, with what a message costs in a queue.
    let (cost, times) = if case.qos == 0 { (0, 4) } else { (272, 2) };
    let goal = times * limit / (case.payload_bytes as u64 + cost);
    let mut received = 0;
    let mut peak_kib = 0;
    let start = Instant::now();
    while flood.sent - sent_before < goal {
        flood.batch();
        bystanders.wait_others(flood.sent - sent_before);
        for _ in 0..case.reads_of_batch {
            received += read_one(&mut stuck, Duration::from_secs(5)).expect("there is much to read");
        }
        peak_kib = peak_kib.max(broker.rss_kib());
        assert!(
            start.elapsed() < Duration::from_secs(25),
            "too slow: {}",
            flood.sent
        );
    }
    let took = start.elapsed();
    bystanders.wait_rounds(20);
    let rounds = bystanders.finish();
    let sent = flood.sent - sent_before + 3 * rounds;

    // It reads again: what is missing was dropped, counted, and told in the log.
    while let Some(n) = read_one(&mut stuck, Duration::from_millis(500)) {
        received += n;
    }
    let missing = sent - received;
    let grown_kib = peak_kib - before_kib;
    println!(
        "{}: {grown_kib} KiB more at a limit of {} KiB; {sent} messages, {missing} dropped, {rounds} rounds of {rounds_before}+ others, {took:?}",
        case.name,
        limit / 1024
    );
    broker.wait_sys("publish/messages/dropped", missing);
    wait("every drop in the log", Duration::from_secs(10), || {
        logged_drops(&broker.log()) == missing
    });
    assert!(missing > 0, "the limit was reached");
    // What is on its way to the two that read is not the stuck one's.
    let others = 2 * batch(case.payload_bytes) * case.payload_bytes as u64;
    assert!(
        grown_kib * 1024 <= limit + limit / 10 + others,
        "{grown_kib} KiB more than before, the limit is {} KiB",
        limit / 1024
    );
    broker.assert_well();
}

/// Reads one message; none: nothing came.
fn read_one(client: &mut Client, bound: Duration) -> Option<u64> {
    let got = client.next_within(bound);
    client.acknowledge(&got);
    match got {
        Got::Publish { dup, delivery, .. } => {
            assert!(!dup && !matches!(delivery, Delivery::ExactlyOnce(_)));
            Some(1)
        }
        Got::Nothing => None,
        got => panic!("{got:?}"),
    }
}

/// Messages that the log says were dropped.
fn logged_drops(log: &str) -> u64 {
    let lines = log.lines().filter(|line| line.contains("warn message.dropped"));
    lines
        .filter_map(|line| {
            let count = line.split(" count=").nth(1)?;
            count.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

macro_rules! cases {
    ($($test:ident: $($field:ident = $value:expr),*;)*) => {
        $(#[test] fn $test() {
            stuck(&Case { name: stringify!($test), $($field: $value,)* ..CASE });
        })*
    };
}

cases! {
    qos0_small: payload_bytes = 300;
    qos0_small_v3: payload_bytes = 300, version = Version::V3_1_1;
    qos0_large: payload_bytes = 100_000;
    qos0_large_persistent: payload_bytes = 100_000, is_persistent = true;
    qos1_small: qos = 1, payload_bytes = 300;
    qos1_small_persistent: qos = 1, payload_bytes = 300, is_persistent = true;
    qos1_large: qos = 1, payload_bytes = 100_000;
    qos1_large_persistent: qos = 1, payload_bytes = 100_000, is_persistent = true;
    qos0_small_that_reads_too_slowly: payload_bytes = 300, reads_of_batch = 100;
    qos0_large_that_reads_too_slowly: payload_bytes = 100_000, reads_of_batch = 1;
}
