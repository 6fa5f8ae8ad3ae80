//! Two clients that mind their own business while others misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Client, Got, Options};

/// A publisher and a subscriber. Messages of QoS 0, 1 and 2 go from one to the other all the time, and
/// none may be lost, repeated or come out of order.
#[derive(Debug)]
pub struct Bystanders {
    stops: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    others: Arc<AtomicU64>,
    publisher: JoinHandle<()>,
    subscriber: JoinHandle<[u64; 3]>,
}

impl Bystanders {
    /// Starts them on `topic`; the publisher's payloads are `payload_bytes` long.
    pub fn start(address: SocketAddr, topic: &'static str, payload_bytes: usize) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let mut subscriber = Client::connect(address, &Options::new(&format!("bystander of {topic}")));
        subscriber.subscribe(topic, 2);
        let received = Arc::new(AtomicU64::new(0));
        let publisher = {
            let (stops, sent, received) = (Arc::clone(&stops), Arc::clone(&sent), Arc::clone(&received));
            let client = Client::connect(address, &Options::new(&format!("publisher of {topic}")));
            std::thread::spawn(move || publish(client, topic, payload_bytes, &stops, &sent, &received))
        };
        let others = Arc::new(AtomicU64::new(0));
        let subscriber = {
            let (stops, sent, others) = (Arc::clone(&stops), Arc::clone(&sent), Arc::clone(&others));
            std::thread::spawn(move || receive(subscriber, &stops, &sent, &received, &others))
        };
        Self {
            stops,
            sent,
            others,
            publisher,
            subscriber,
        }
    }

    /// Rounds of three messages until now.
    pub fn rounds(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until the subscriber has heard that many messages that others published to its topic.
    pub fn wait_others(&self, count: u64) {
        crate::wait("bystanders hear others", Duration::from_secs(20), || {
            self.others.load(Ordering::Relaxed) >= count || self.subscriber.is_finished()
        });
    }

    /// Waits until they exchanged that many more rounds.
    pub fn wait_rounds(&self, more: u64) {
        let goal = self.rounds() + more;
        crate::wait("bystanders go on", Duration::from_secs(20), || {
            self.rounds() >= goal || self.publisher.is_finished()
        });
    }

    /// Ends them; all that was sent has arrived. Returns how many messages of each QoS.
    pub fn finish(self) -> u64 {
        self.stops.store(true, Ordering::Relaxed);
        let publisher = self.publisher.join();
        let counts = self.subscriber.join();
        assert!(publisher.is_ok(), "the bystanders' publisher failed");
        let counts = counts.expect("the bystanders' subscriber failed");
        let sent = self.sent.load(Ordering::Relaxed);
        assert!(sent > 0, "bystanders that did nothing show nothing");
        assert_eq!(counts, [sent; 3], "messages of QoS 0, 1 and 2 that arrived");
        sent
    }
}

fn publish(
    mut client: Client,
    topic: &str,
    payload_bytes: usize,
    stops: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
) {
    while !stops.load(Ordering::Relaxed) {
        let number = sent.load(Ordering::Relaxed);
        for qos in 0..3 {
            let mut payload = format!("{qos} {number} ").into_bytes();
            payload.resize(payload.len().max(payload_bytes), b'.');
            client.publish(topic, &payload, qos);
        }
        sent.store(number + 1, Ordering::Relaxed);
        // No faster than the reader, whose own limits are not what is tested.
        let start = Instant::now();
        while number > received.load(Ordering::Relaxed) + 16 {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the bystander hears nothing any more: {number} sent, {received:?} came"
            );
            std::thread::yield_now();
        }
    }
}

/// Counts by QoS of the publisher; a number that is not the next one fails.
fn receive(
    mut client: Client,
    stops: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
    others: &AtomicU64,
) -> [u64; 3] {
    let mut next = [0; 3];
    let mut quiet = 0;
    loop {
        let got = client.next_within(Duration::from_millis(100));
        match &got {
            Got::Publish {
                payload,
                topic,
                dup: false,
                retain: false,
                ..
            } => {
                quiet = 0;
                let head = String::from_utf8_lossy(&payload[..payload.len().min(40)]);
                let mut words = head.split(' ');
                let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
                let (Some(qos), Some(n)) = (number(), number()) else {
                    client.acknowledge(&got);
                    others.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let expected = &mut next[qos as usize];
                assert_eq!(n, *expected, "QoS {qos} on {topic}: the next message");
                *expected += 1;
                if qos == 2 {
                    received.store(*expected, Ordering::Relaxed);
                }
            }
            Got::Nothing if stops.load(Ordering::Relaxed) => {
                quiet += 1;
                let is_all = next == [sent.load(Ordering::Relaxed); 3];
                if is_all || quiet > 30 {
                    return next;
                }
            }
            Got::Nothing | Got::PubRel(_) => {}
            other => panic!("the bystander got {other:?}"),
        }
        client.acknowledge(&got);
    }
}
