//! A disk that is full, and one whose syncs fail, under the built broker.

use std::time::{Duration, Instant};

use martlet_codec::{Ack, Packet, ReasonCode, Version};
use martlet_robustness::{Bystanders, Client, Got, Live, Options, TroubledDisk};

const KIB: usize = 1 << 10;
const TOPIC: &str = "stored";
const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];
const REFUSES: &str =
    "refuses: messages that must be stored are refused (0x97); make room; it goes on by itself";
const FAILED: &str = "failed: nothing is stored any more, and nothing that must be stored is acknowledged; look at the \
                      disk, then start the broker again: it keeps what was acknowledged";
const KEEPS: &str = "keeps: what must be stored is";

/// A client whose session is stored.
fn stored(id: &str, version: Version) -> Options<'_> {
    Options {
        version,
        clean: false,
        expiry_s: 86_400,
        ..Options::new(id)
    }
}

/// A session that is stored, and nobody is connected to.
struct Away {
    id: String,
    version: Version,
}

impl Away {
    /// One for each version and each QoS that is stored.
    fn all(broker: &Live) -> Vec<Self> {
        let mut all = Vec::new();
        for version in VERSIONS {
            for qos in [1, 2] {
                let id = format!("away, {version}, QoS {qos}");
                let mut client = Client::connect(broker.address(), &stored(&id, version));
                client.subscribe(TOPIC, qos);
                client.raw(&[0xe0, 0]);
                assert_eq!(client.answer(), Got::Closed);
                all.push(Self { id, version });
            }
        }
        all
    }

    /// What comes: all of `owed`, each once and those of each QoS in their order, and among them only what `may_be`.
    fn collect(&self, broker: &Live, owed: &[Owed], may_be: &[&str]) {
        let mut client = Client::connect(broker.address(), &stored(&self.id, self.version));
        let mut missing = [1, 2].map(|qos| owed.iter().filter(move |owed| owed.qos == qos).peekable());
        let mut others = Vec::new();
        loop {
            let is_all_there = missing.iter_mut().all(|of_qos| of_qos.peek().is_none());
            let got = if is_all_there {
                client.next_within(Duration::from_millis(200))
            } else {
                client.answer()
            };
            client.acknowledge(&got);
            match got {
                Got::Publish { payload, .. } => {
                    let text = String::from_utf8(payload).expect("it was text");
                    let mut of_qos = missing.iter_mut();
                    if of_qos.any(|of_qos| of_qos.next_if(|next| next.payload == text).is_some()) {
                        continue;
                    }
                    let head = text.split('.').next().unwrap_or_default();
                    assert!(may_be.contains(&head), "{}: '{head}' is not due", self.id);
                    assert!(!others.contains(&text), "{}: '{head}' came twice", self.id);
                    others.push(text);
                }
                Got::PubRel(_) => {}
                Got::Nothing if is_all_there => break,
                got => panic!("{}: {got:?}", self.id),
            }
        }
        client.ping();
    }
}

/// A message that was acknowledged.
#[derive(Clone)]
struct Owed {
    payload: String,
    qos: u8,
}

impl Owed {
    /// Those of QoS 1 and 2 take turns.
    fn new(number: usize, bytes: usize) -> Self {
        Self {
            payload: format!("{number} {}", ".".repeat(bytes)),
            qos: 1 + number as u8 % 2,
        }
    }

    /// Whether it is taken.
    fn is_taken_from(&self, client: &mut Client) -> bool {
        is_taken(&publish(client, TOPIC, &self.payload, self.qos))
    }
}

/// Publishes, and says how it was answered; a message of QoS 2 that was taken is released.
fn publish(client: &mut Client, topic: &str, payload: &str, qos: u8) -> Got {
    let (bytes, _) = client.publish_bytes(topic, payload.as_bytes(), qos);
    client.raw(&bytes);
    let got = client.answer();
    if let Got::PubRec(id, code) = &got
        && !code.is_error()
    {
        client.send(&Packet::PubRel(Ack::new(*id, ReasonCode::Success)));
        assert_eq!(client.answer(), Got::PubComp(*id));
    }
    got
}

fn is_taken(got: &Got) -> bool {
    match got {
        Got::PubAck(_, code) | Got::PubRec(_, code) => !code.is_error(),
        _ => false,
    }
}

/// Publishes until a message is refused; what was taken.
fn publish_until_refused(client: &mut Client, bytes: usize) -> Vec<Owed> {
    let start = Instant::now();
    let mut taken = Vec::new();
    loop {
        let next = Owed::new(taken.len(), bytes);
        if !next.is_taken_from(client) {
            return taken;
        }
        taken.push(next);
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is refused");
    }
}

/// Publishers of each QoS and version are told, or closed, and never acknowledged.
fn assert_refuses_publishers(broker: &Live) {
    for qos in [1, 2] {
        let mut client = broker.client("publisher, 5");
        let got = publish(&mut client, TOPIC, "refused", qos);
        assert!(
            matches!(
                got,
                Got::PubAck(_, ReasonCode::QuotaExceeded) | Got::PubRec(_, ReasonCode::QuotaExceeded)
            ),
            "{got:?}"
        );
        // The connection is as it was, and what nobody has to store is taken.
        assert!(is_taken(&publish(&mut client, "nobody/stores", "taken", qos)));
        let options = Options {
            version: Version::V3_1_1,
            ..Options::new("publisher, 3")
        };
        let mut client = Client::connect(broker.address(), &options);
        assert_eq!(publish(&mut client, TOPIC, "refused", qos), Got::Closed);
    }
}

/// New sessions, and subscriptions of those that are there, are refused in words where there are any.
fn assert_refuses_sessions(broker: &Live, connected: &mut Client) {
    let refused = |version| {
        let mut client = Client::open(broker.address(), version);
        client.raw(&stored("new", version).encode());
        let got = client.answer();
        assert_eq!(client.answer(), Got::Closed);
        got
    };
    assert_eq!(
        refused(Version::V5),
        Got::ConnAck(ReasonCode::QuotaExceeded, false)
    );
    assert!(matches!(refused(Version::V3_1_1), Got::ConnAck(code, false) if code.is_error()));
    connected.raw(&[0x82, 7, 0, 9, 0, 0, 1, b'f', 1]);
    assert_eq!(connected.answer(), Got::SubAck(vec![ReasonCode::QuotaExceeded]));
}

fn lines_of(broker: &Live, words: &str) -> usize {
    broker.log().lines().filter(|line| line.contains(words)).count()
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let disk = TroubledDisk::new("full");
    let mut broker = disk.start("full", &[]);
    let sessions = Away::all(&broker);
    let mut connected = Client::connect(broker.address(), &stored("connected", Version::V5));
    let bystanders = Bystanders::start(broker.address(), "bystanders", 0);
    let mut publisher = broker.client("publisher");
    disk.fill(64 * KIB as u64);
    let mut owed = publish_until_refused(&mut publisher, KIB);
    // Nor is there any for a short one.
    disk.fill(0);
    assert_refuses_publishers(&broker);
    assert_refuses_sessions(&broker, &mut connected);
    broker.wait_sys("store/state", REFUSES);
    bystanders.wait_rounds(20);
    assert_eq!(lines_of(&broker, "error store.refuses"), 1, "{}", broker.log());
    assert_eq!(lines_of(&broker, "store.accepts_again"), 0);
    println!("full after {} messages, {} bytes", owed.len(), disk.bytes());

    // A start does not need any room.
    drop((connected, bystanders.finish()));
    broker.assert_well();
    drop(broker);
    let mut broker = disk.start("full-again", &[]);
    assert_refuses_publishers(&broker);
    sessions[0].collect(&broker, &owed, &[]);
    sessions[1].collect(&broker, &owed, &[]);

    disk.free();
    // It looks once a second; until then it refuses without a try.
    broker.wait_log("store.accepts_again");
    broker.wait_sys("store/state", KEEPS);
    let mut publisher = broker.client("publisher");
    let last = Owed::new(owed.len(), KIB);
    assert!(last.is_taken_from(&mut publisher));
    for session in &sessions[..2] {
        session.collect(&broker, std::slice::from_ref(&last), &[]);
    }
    owed.push(last);
    for session in &sessions[2..] {
        session.collect(&broker, &owed, &[]);
    }
    broker.assert_well();
}

#[test]
fn what_is_collected_from_a_full_disk_makes_room() {
    let disk = TroubledDisk::new("drained");
    let mut broker = disk.start("drained", &[]);
    let sessions = Away::all(&broker);
    disk.fill(4 << 20);
    let mut publisher = broker.client("publisher");
    let owed = publish_until_refused(&mut publisher, 64 * KIB);
    disk.fill(0);
    assert_refuses_publishers(&broker);
    for session in &sessions {
        session.collect(&broker, &owed, &[]);
    }
    // Nobody has made any room but they, and nobody has to be refused to find that out.
    broker.wait_log("store.accepts_again");
    let after = Owed::new(owed.len(), 64 * KIB);
    assert!(after.is_taken_from(&mut publisher), "{}", broker.log());
    println!("{} messages", owed.len());
    assert_eq!(lines_of(&broker, "error store.refuses"), 1, "{}", broker.log());
    sessions[0].collect(&broker, &[after], &[]);
    broker.assert_well();
}

#[test]
fn after_a_failed_sync_nothing_that_must_be_stored_is_acknowledged() {
    let disk = TroubledDisk::new("sync");
    let mut broker = disk.start("sync", &[]);
    let sessions = Away::all(&broker);
    let mut connected = Client::connect(broker.address(), &stored("connected", Version::V5));
    let bystanders = Bystanders::start(broker.address(), "bystanders", 0);
    let mut publisher = broker.client("publisher");
    let owed: Vec<Owed> = (0..20).map(|number| Owed::new(number, KIB)).collect();
    assert!(owed.iter().all(|owed| owed.is_taken_from(&mut publisher)));
    disk.set_sync_fails(true);
    assert!(!is_taken(&publish(&mut publisher, TOPIC, "in doubt", 1)));
    // The next one would succeed, and say nothing of what the last one lost.
    disk.set_sync_fails(false);
    assert_refuses_publishers(&broker);
    assert_refuses_sessions(&broker, &mut connected);
    broker.wait_sys("store/state", FAILED);
    bystanders.wait_rounds(20);
    assert_eq!(lines_of(&broker, "error store.failed"), 1, "{}", broker.log());
    assert_eq!(lines_of(&broker, "store.accepts_again"), 0);
    drop((connected, bystanders.finish()));
    broker.assert_well();
    drop(broker);

    let mut broker = disk.start("sync-again", &[]);
    for session in &sessions {
        session.collect(&broker, &owed, &["in doubt"]);
    }
    let mut publisher = broker.client("publisher");
    let after = Owed::new(owed.len(), KIB);
    assert!(after.is_taken_from(&mut publisher));
    sessions[3].collect(&broker, &[after], &[]);
    broker.assert_well();
}
