//! What this version makes of the store in `store-1`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use martlet_codec::{
    Ack, Address, Delivery, Extras, Packet, PacketId, Properties, Publish, ReasonCode, Topic, Version,
};
use martlet_compat::{path, text, write};
use martlet_interop::{binary, run, target};
use martlet_journal::{RealDisk, Report};
use martlet_robustness::{Client, Got, Live, Options};
use martlet_session::Now;
use martlet_store::{Engine, Exchange, Limits};

const STORE: &str = "store-1";
const TEXT: &str = "store-1.txt";

/// A copy that goes with the value.
struct Copied(PathBuf);

impl Copied {
    fn new(name: &str) -> Self {
        let folder = target()
            .join("tmp")
            .join(format!("compat-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the copy");
        for file in std::fs::read_dir(path(STORE)).expect("the store is there") {
            let file = file.expect("it can be listed");
            std::fs::copy(file.path(), folder.join(file.file_name())).expect("it can be copied");
        }
        Self(folder)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn expected() -> String {
    std::fs::read_to_string(path(TEXT)).expect("the text is there")
}

fn martlet(command: &str, folder: &Path) -> Output {
    run(Command::new(binary())
        .args(["store", command, "--data-dir"])
        .arg(folder))
}

/// With `UPDATE=1` it becomes what is committed; else it says the same.
#[test]
fn written_anew() {
    let is_update = std::env::var_os("UPDATE").is_some();
    let folder = if is_update {
        path(STORE)
    } else {
        target()
            .join("tmp")
            .join(format!("compat-anew-{}", std::process::id()))
    };
    let _ = std::fs::remove_dir_all(&folder);
    write(&folder);
    let found = text(&folder);
    if is_update {
        std::fs::write(path(TEXT), found).expect("it can be written");
        std::fs::remove_file(folder.join("lock")).ok();
        return;
    }
    std::fs::remove_dir_all(&folder).expect("it was written");
    assert_eq!(found, expected());
}

#[test]
fn the_library_reads_all_of_it() {
    let copy = Copied::new("library");
    assert_eq!(text(&copy.0), expected());
    let report = starts_with_all_of_it(&copy.0);
    assert!(report.snapshot.is_some() && report.batches > 0, "{report}");
}

/// As a version does that passes over the snapshots of this one.
#[test]
fn the_library_needs_no_snapshot() {
    let copy = Copied::new("snapshotless");
    let mut removed = 0;
    for file in std::fs::read_dir(&copy.0).expect("the copy is there") {
        let path = file.expect("it can be listed").path();
        if path.extension().is_some_and(|ending| ending == "snap") {
            std::fs::remove_file(path).expect("the copy is ours");
            removed += 1;
        }
    }
    assert_eq!(removed, 1, "snapshots");
    let report = starts_with_all_of_it(&copy.0);
    assert!(report.snapshot.is_none(), "{report}");
}

fn starts_with_all_of_it(folder: &Path) -> Report {
    let disk = RealDisk::open(folder, "a test").expect("the copy is ours");
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = Now {
        mono_ms: 0,
        wall_ms: since.expect("the clock is right").as_millis() as u64,
    };
    let exchange = Exchange::new(1, 1 << 20, |_| {}, |_, _| {});
    let opened = Engine::open(disk, Limits::default(), 1, now, Arc::new(exchange));
    let (_, restored, report) = opened.expect("it is a store");
    assert!(
        !report.has_damage() && report.snapshots_damaged.is_empty(),
        "{report}"
    );
    assert_eq!(restored.unknown, 0);
    // Its clock went on as that of the system did.
    assert_eq!(restored.wall_ms, now.wall_ms);
    let sessions: Vec<String> = restored
        .sessions
        .iter()
        .map(|restored| {
            let session = &restored.session;
            format!(
                "{}: {} subscriptions, {} queued, {} received, {} sent, over {}, will {}",
                session.client_id,
                restored.subscriptions.len(),
                restored.queue.len(),
                restored.received.len(),
                restored.sent.len(),
                session.is_over,
                session.will.is_some()
            )
        })
        .collect();
    let expected = [
        "three: 1 subscriptions, 6 queued, 0 received, 0 sent, over false, will false",
        "five: 2 subscriptions, 3 queued, 1 received, 2 sent, over false, will false",
        "member: 1 subscriptions, 0 queued, 0 received, 0 sent, over false, will false",
        "over: 0 subscriptions, 1 queued, 0 received, 0 sent, over true, will false",
        "will: 0 subscriptions, 0 queued, 0 received, 0 sent, over false, will true",
        "expired: 1 subscriptions, 1 queued, 0 received, 0 sent, over false, will false",
    ];
    assert_eq!(sessions, expected);
    let mut topics: Vec<_> = restored
        .retained
        .iter()
        .map(|retained| retained.message.topic.as_str())
        .collect();
    topics.sort_unstable();
    assert_eq!(topics, ["own", "retained/far", "retained/late", "retained/plain"]);
    report
}

#[test]
fn the_commands_find_it_whole() {
    let copy = Copied::new("commands");
    let check = martlet("check", &copy.0);
    println!("{}", String::from_utf8_lossy(&check.stdout));
    assert!(check.status.success(), "{check:?}");
    let export = martlet("export", &copy.0);
    assert!(export.status.success(), "{export:?}");
    assert_eq!(String::from_utf8_lossy(&export.stdout), expected());
}

/// What comes, in words: so much that is due, and what else does.
fn collect(client: &mut Client, due: usize) -> Vec<String> {
    let mut came = Vec::new();
    loop {
        let bound = Duration::from_millis(if came.len() < due { 5_000 } else { 200 });
        let got = client.next_within(bound);
        client.acknowledge(&got);
        came.push(match got {
            Got::Nothing => return came,
            Got::Publish {
                topic,
                payload,
                delivery,
                retain,
                dup,
            } => format!(
                "{topic} QoS {} {:?}{}{}",
                delivery.qos().as_u8(),
                String::from_utf8_lossy(&payload),
                if retain { " retain" } else { "" },
                // Only an identifier that is kept is the same as before.
                match delivery {
                    Delivery::ExactlyOnce(id) if dup => format!(" again as {id}"),
                    _ => String::new(),
                }
            ),
            Got::PubRel(id) if id.get() < 30 => "PUBREL of a new identifier".to_owned(),
            Got::PubRel(id) => format!("PUBREL {id}"),
            got => panic!("{got:?}"),
        });
    }
}

fn resume(broker: &Live, id: &str, version: Version) -> Client {
    let mut client = Client::open(broker.address(), version);
    let options = Options {
        version,
        clean: false,
        expiry_s: u32::MAX,
        ..Options::new(id)
    };
    client.raw(&options.encode());
    let is_there = !matches!(id, "over" | "expired");
    assert_eq!(
        client.answer(),
        Got::ConnAck(ReasonCode::Success, is_there),
        "{id}"
    );
    client
}

#[test]
fn the_broker_delivers_what_it_owes() {
    let copy = Copied::new("broker");
    let mut broker = Live::start_on("compat", &copy.0, &[], &[]);
    let mut three = resume(&broker, "three", Version::V3_1_1);
    let due = [
        "news/shared QoS 1 \"\\0\u{fffd}\"",
        "news/far QoS 1 \"expires in a hundred years\"",
        "news/many QoS 1 \"stays\"",
        "news/many QoS 1 \"stays\"",
        "news/many QoS 1 \"stays\"",
    ];
    assert_eq!(collect(&mut three, due.len()), due);

    let mut five = resume(&broker, "five", Version::V5);
    let due = [
        "PUBREL 30",
        "PUBREL 31",
        "PUBREL of a new identifier",
        "news/shared QoS 2 \"\\0\u{fffd}\" retain",
        "news/two QoS 2 \"sent\" again as 30",
        "own QoS 1 \"alone\"",
        "own QoS 1 \"queued and retained\"",
    ];
    let mut came = collect(&mut five, due.len());
    came.sort_unstable();
    assert_eq!(came, due);
    // Its client has not released 1: that is a repeat. It has released 2: that is new.
    for (id, comes) in [(1, &[][..]), (2, &["news/again QoS 1 \"2\""][..])] {
        let id = PacketId::new(id).expect("not 0");
        let mut bytes = Vec::new();
        Publish {
            dup: true,
            retain: false,
            delivery: Delivery::ExactlyOnce(id),
            address: Address::Name(Topic::new("news/again").expect("a topic")),
            properties: Properties::EMPTY,
            payload: id.to_string().as_bytes(),
        }
        .encode(Version::V5, Extras::NONE, &mut bytes);
        five.raw(&bytes);
        assert_eq!(five.answer(), Got::PubRec(id, ReasonCode::Success));
        five.send(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        assert_eq!(five.answer(), Got::PubComp(id));
        assert_eq!(collect(&mut three, comes.len()), comes);
    }

    let mut member = resume(&broker, "member", Version::V5);
    assert_eq!(
        collect(&mut member, 1),
        ["jobs QoS 1 \"left by a member that is over\""]
    );
    for id in ["will", "over", "expired"] {
        assert_eq!(collect(&mut resume(&broker, id, Version::V5), 0), [""; 0], "{id}");
    }

    let mut watcher = broker.client("watcher");
    watcher.subscribe("#", 1);
    let due = [
        "own QoS 1 \"queued and retained\" retain",
        "retained/far QoS 1 \"far\" retain",
        "retained/plain QoS 1 \"plain\" retain",
    ];
    let mut came = collect(&mut watcher, due.len());
    came.sort_unstable();
    assert_eq!(came, due);
    broker.assert_well();
}
