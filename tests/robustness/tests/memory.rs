//! What is stored lies on the disk: what of it may be in memory, and what happens at the limits.

use std::time::Duration;

use martlet_codec::{Address, Delivery, Extras, Properties, Publish, ReasonCode, Topic, Version};
use martlet_robustness::{Client, Got, Live, Options, wait};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn stored(id: &str) -> Options<'_> {
    Options {
        clean: false,
        expiry_s: 86_400,
        ..Options::new(id)
    }
}

/// Sends them all, then waits for all answers; how many were refused.
fn publish_all<'a>(
    client: &mut Client,
    topic: &str,
    payloads: impl Iterator<Item = &'a [u8]>,
    code: ReasonCode,
) -> u64 {
    let mut bytes = Vec::new();
    let mut count = 0;
    for payload in payloads {
        bytes.append(&mut client.publish_bytes(topic, payload, 1).0);
        count += 1;
    }
    client.raw(&bytes);
    (0..count)
        .map(|_| match client.answer() {
            Got::PubAck(_, found) if found == code => 1,
            Got::PubAck(_, found) if !found.is_error() => 0,
            got => panic!("{got:?}"),
        })
        .sum()
}

/// Messages of the session's queue that memory may hold are a window of 1 MiB, which is no directive; beside it there are
/// what is under way to the disk and the keys of the others.
#[test]
fn a_subscriber_that_stops_reading_costs_the_disk() {
    const MESSAGES: usize = 24_000;
    const PAYLOAD_BYTES: usize = 4 << 10;
    const GROWN_KIB_MAX: u64 = 32 * KIB;
    let mut broker = Live::start("memory-stuck", &["max_inflight_messages=100", "shards=1"]);
    let mut stuck = Client::connect(broker.address(), &stored("stuck"));
    stuck.subscribe("flood", 1);
    let mut publisher = broker.client("publisher");
    let before_kib = broker.rss_kib();
    let mut peak_kib = before_kib;
    for batch in 0..MESSAGES / 100 {
        let payloads: Vec<Vec<u8>> = (0..100)
            .map(|at| {
                let mut payload = format!("{} ", batch * 100 + at).into_bytes();
                payload.resize(PAYLOAD_BYTES, b'.');
                payload
            })
            .collect();
        let all = payloads.iter().map(Vec::as_slice);
        assert_eq!(
            publish_all(&mut publisher, "flood", all, ReasonCode::QuotaExceeded),
            0
        );
        peak_kib = peak_kib.max(broker.rss_kib());
    }
    let grown_kib = peak_kib - before_kib;
    println!(
        "{grown_kib} KiB more with {} KiB of payload waiting",
        MESSAGES * PAYLOAD_BYTES / 1024
    );
    assert!(grown_kib < GROWN_KIB_MAX, "{grown_kib} KiB more than before");

    // Then it reads again, and gets all of it.
    for number in 0..MESSAGES {
        let got = stuck.answer();
        stuck.acknowledge(&got);
        let Got::Publish { payload, .. } = got else {
            panic!("{got:?}")
        };
        assert!(payload.starts_with(format!("{number} ").as_bytes()), "{number}");
    }
    let grown_kib = broker.rss_kib().saturating_sub(before_kib);
    assert!(
        grown_kib < GROWN_KIB_MAX,
        "{grown_kib} KiB more when all was read"
    );
    broker.wait_sys("publish/messages/dropped", 0);
    broker.assert_well();
}

/// Leaves sessions behind whose clients never come back.
fn abandon(broker: &Live, count: usize) {
    for at in 0..count {
        let mut client = Client::connect(broker.address(), &stored(&format!("gone {at}")));
        client.subscribe("flood", 1);
        client.raw(&[0xe0, 0]);
        assert_eq!(client.answer(), Got::Closed);
    }
}

#[test]
fn a_session_that_never_comes_back_has_its_limit() {
    const SESSIONS: usize = 8;
    let mut broker = Live::start("memory-gone", &["max_queued_bytes_session=1048576"]);
    abandon(&broker, SESSIONS);
    let mut publisher = broker.client("publisher");
    let payload = vec![b'.'; 4 << 10];
    let sent = 1_000;
    for _ in 0..sent / 100 {
        let batch = std::iter::repeat_n(payload.as_slice(), 100);
        // Nobody but the sessions is refused anything.
        assert_eq!(
            publish_all(&mut publisher, "flood", batch, ReasonCode::QuotaExceeded),
            0
        );
    }
    // What one of them has.
    let mut client = Client::connect(broker.address(), &stored("gone 0"));
    let mut kept = 0;
    loop {
        let got = client.next_within(Duration::from_secs(1));
        client.acknowledge(&got);
        match got {
            Got::Publish { .. } => kept += 1,
            Got::Nothing => break,
            got => panic!("{got:?}"),
        }
    }
    println!("each keeps {kept} of {sent} messages of 4 KiB");
    // The payload fits, less what a message costs beside it; one message always passes.
    assert!((200..=257).contains(&kept), "{kept}");
    let missing = SESSIONS as u64 * (sent - kept);
    broker.wait_sys("publish/messages/dropped", missing);
    wait("every drop in the log", Duration::from_secs(10), || {
        let log = broker.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("warn message.dropped") && line.contains("reason=queue_full"));
        let counts = lines.filter_map(|line| {
            line.split(" count=")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<u64>()
                .ok()
        });
        counts.sum::<u64>() == missing
    });
    broker.assert_well();
}

#[test]
fn all_sessions_together_have_their_limit() {
    const SESSIONS: usize = 64;
    let mut broker = Live::start("memory-total", &["max_queued_bytes_total=4194304"]);
    abandon(&broker, SESSIONS);
    let mut publisher = broker.client("publisher");
    let payload = vec![b'.'; 4 << 10];
    let mut taken = 0;
    let refused = loop {
        let one = std::iter::once(payload.as_slice());
        if publish_all(&mut publisher, "flood", one, ReasonCode::QuotaExceeded) > 0 {
            break true;
        }
        taken += 1;
        if taken * SESSIONS as u64 * 4 * KIB > 8 * MIB {
            break false;
        }
    };
    println!("refused after {taken} messages of 4 KiB to {SESSIONS} sessions");
    assert!(refused, "the limit is 4 MiB");
    broker.wait_log("reason=queues_full");
    // A version 3 publisher cannot be told.
    let options = Options {
        version: Version::V3_1_1,
        ..Options::new("old")
    };
    let mut old = Client::connect(broker.address(), &options);
    let bytes = old.publish_bytes("flood", &payload, 1).0;
    old.raw(&bytes);
    assert_eq!(old.answer(), Got::Closed);
    // Nothing that was taken was dropped, and what nobody queues goes on.
    broker.wait_sys("publish/messages/dropped", 0);
    publisher.publish("nobody/waits", b"x", 2);
    // One of them comes back, and there is room.
    let mut back = Client::connect(broker.address(), &stored("gone 0"));
    for _ in 0..taken {
        let got = back.answer();
        assert!(matches!(got, Got::Publish { .. }), "{got:?}");
        back.acknowledge(&got);
    }
    back.ping();
    let mut again = 1;
    wait("a message is taken again", Duration::from_secs(10), || {
        let one = std::iter::once(payload.as_slice());
        again = publish_all(&mut publisher, "flood", one, ReasonCode::QuotaExceeded);
        again == 0
    });
    broker.assert_well();
}

#[test]
fn retained_messages_take_little_memory() {
    const COUNT: u64 = 200_000;
    const BYTES_MAX: u64 = 400;
    let mut broker = Live::start("memory-retained", &[]);
    let mut publisher = broker.client("publisher");
    let payload = [b'.'; 100];
    let mut publish = |range: std::ops::Range<u64>| {
        let mut bytes = Vec::new();
        for number in range.clone() {
            let topic = format!("retained/{}/{number}", number % 1_000);
            let publish = Publish {
                dup: false,
                retain: true,
                delivery: Delivery::AtLeastOnce(publisher.id()),
                address: Address::Name(Topic::new(&topic).expect("a topic")),
                properties: Properties::EMPTY,
                payload: &payload,
            };
            publish.encode(Version::V5, Extras::NONE, &mut bytes);
        }
        publisher.raw(&bytes);
        for _ in range {
            let got = publisher.answer();
            assert!(matches!(got, Got::PubAck(_, code) if !code.is_error()), "{got:?}");
        }
    };
    // Buffers and threads are there.
    publish(COUNT..COUNT + 500);
    let before_kib = broker.rss_kib();
    for batch in 0..COUNT / 500 {
        publish(batch * 500..(batch + 1) * 500);
    }
    let bound_kib = before_kib + COUNT * BYTES_MAX / KIB;
    let rss_kib = broker.rss_below_kib(bound_kib, Duration::from_secs(5));
    let each = (rss_kib - before_kib) * KIB / COUNT;
    println!("{each} bytes of memory for a retained message of 100 bytes");
    assert!(each <= BYTES_MAX, "{each} bytes each");
    broker.assert_well();
}
