//! What waits for the store, and what a client of another run goes on with.

use std::num::NonZeroU16;
use std::time::Duration;

use martlet_client::engine::{Contents, Event, StoreBatch, StoreOp};
use martlet_client::policy::Policy;
use martlet_client::store::{Durability, FileStore, MemoryStore, Store, StoreError};
use martlet_client::{
    Client, DeliveryError, Lost, Message, Options, OptionsError, PropertiesBuf, Protocol, PublishError,
    ReasonCode, Reconnect, Rejected, ResponseError, Stage, Token, Version, blocking,
};
use martlet_codec::Delivery;
use tokio::join;

use crate::bench::*;
use crate::fake::{Fake, within};

/// A time of the system's clock.
const WALL_MS: u64 = 1_790_000_000_000;

/// A client with a store that keeps what the test lets it keep.
struct Kept {
    bench: Bench,
    contents: Contents,
}

impl Kept {
    fn new(options: Options) -> Self {
        Self::restart(options, Contents::default(), WALL_MS)
    }

    /// The next run.
    fn restart(options: Options, mut contents: Contents, wall_ms: u64) -> Self {
        contents.run = contents.next_run();
        let mut bench = Bench::new(options);
        bench.engine.restore(contents.clone(), wall_ms);
        Self { bench, contents }
    }

    fn up(options: Options) -> Self {
        let mut kept = Self::new(options);
        kept.connect(false);
        kept.keep();
        kept.bench.events();
        kept
    }

    fn connect(&mut self, session_present: bool) -> Vec<String> {
        let (_, sent) = self.bench.reconnect(session_present, &PropertiesBuf::new());
        sent
    }

    fn batch(&mut self) -> Option<StoreBatch> {
        self.bench.engine.store_batch()
    }

    fn done(&mut self, batch: &StoreBatch, refused: Vec<(usize, StoreError)>) {
        let is_refused = |at: usize| refused.iter().any(|(place, _)| *place == at);
        for (at, op) in batch.ops.iter().enumerate() {
            if !is_refused(at) {
                self.contents.apply(op);
            }
        }
        self.bench.engine.store_done(self.bench.now_ms, batch, refused);
    }

    /// The store keeps all there is.
    fn keep(&mut self) -> Vec<StoreOp> {
        let mut ops = Vec::new();
        while let Some(batch) = self.batch() {
            self.done(&batch, Vec::new());
            ops.extend(batch.ops);
        }
        ops
    }

    fn publish(&mut self, topic: &str, n: u8) -> Token {
        self.bench.publish(message(topic, qos(n))).unwrap()
    }

    fn sent(&mut self) -> Vec<String> {
        self.bench.sent()
    }

    fn ends(&mut self) -> Vec<(Token, bool)> {
        let of = |event| match event {
            Event::Published { token, end } => Some((token, end.is_ok())),
            _ => None,
        };
        self.bench.events().into_iter().filter_map(of).collect()
    }
}

fn stored(options: Options) -> Options {
    options.clean_start(false).session_expiry(Duration::from_hours(1))
}

fn full() -> StoreError {
    StoreError::Full {
        place: "of the test".to_owned(),
        text: "nothing fits".to_owned(),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn nothing_leaves_before_it_is_kept() {
    for protocol in BOTH {
        let mut kept = Kept::up(stored(options(protocol)));
        let token = kept.publish("a", 2);
        kept.publish("b", 0);
        assert_eq!(kept.sent(), ["PUBLISH b q0 0"], "QoS 0 is not stored");
        assert_eq!(kept.keep().len(), 1, "one operation for what leaves at once");
        assert_eq!(kept.sent(), ["PUBLISH a q2 1"]);
        let accepted = Event::Stored { token, end: Ok(()) };
        assert!(kept.bench.events().contains(&accepted));

        kept.bench.server_sends(&pubrec(1));
        assert_eq!(kept.sent(), NONE);
        kept.bench.server_sends(&pubrec(1));
        assert_eq!(kept.keep(), [StoreOp::Released(token)]);
        assert_eq!(kept.sent(), ["PUBREL 1"]);
        kept.bench.server_sends(&pubrec(1));
        assert_eq!(kept.sent(), ["PUBREL 1"], "it is kept already");
        kept.bench.server_sends(&pubcomp(1));
        assert_eq!(kept.ends(), [(token, true)]);
        assert_eq!(kept.keep(), [StoreOp::Ended(token)]);
        assert_eq!(kept.contents.messages.len(), 0);
    }
}

#[test]
fn what_comes_is_kept_before_it_is_acknowledged() {
    for protocol in BOTH {
        let mut kept = Kept::up(stored(options(protocol)));
        kept.bench.publish_from_server("a", Delivery::ExactlyOnce(id(7)));
        let (_, unacked) = kept.bench.message();
        assert!(kept.keep().is_empty(), "the application does not have it");
        kept.bench.take(unacked);
        assert_eq!(kept.sent(), NONE);
        assert_eq!(kept.keep(), [StoreOp::Received(id(7))]);
        assert_eq!(kept.sent(), ["PUBREC 7"]);
        kept.bench.server_sends(&pubrel(7));
        assert_eq!(kept.sent(), NONE, "else another message could take 7 now");
        assert_eq!(kept.keep(), [StoreOp::Forgotten(id(7))]);
        assert_eq!(kept.sent(), ["PUBCOMP 7"]);
    }
}

#[test]
fn a_repeat_waits_for_the_same_operation() {
    let mut kept = Kept::up(stored(options(V5)));
    kept.bench.publish_from_server("a", Delivery::ExactlyOnce(id(7)));
    let (_, unacked) = kept.bench.message();
    kept.bench.take(unacked);
    kept.bench.lose();
    kept.connect(true);
    kept.bench.events();
    kept.bench.publish_from_server("a", Delivery::ExactlyOnce(id(7)));
    assert_eq!(kept.bench.events(), []);
    assert_eq!(kept.sent(), NONE);
    kept.keep();
    assert_eq!(kept.sent(), ["PUBREC 7"]);
    // The answer to a PUBREL of which the connection was lost waits too.
    kept.bench.server_sends(&pubrel(7));
    kept.bench.lose();
    kept.connect(true);
    kept.bench.server_sends(&pubrel(7));
    assert_eq!(kept.sent(), NONE);
    kept.keep();
    assert_eq!(kept.sent().len(), 1, "once, on the connection that is there");
}

#[test]
fn a_message_that_waited_is_marked_before_it_leaves() {
    let window = NonZeroU16::new(2).unwrap();
    let mut kept = Kept::new(stored(options(V5)).max_inflight(window));
    let tokens: Vec<Token> = ["a", "b", "c"].map(|topic| kept.publish(topic, 1)).to_vec();
    assert_eq!(kept.keep().len(), 3);
    assert!(kept.contents.messages.values().all(|m| m.stage == Stage::Queued));
    assert_eq!(kept.connect(false), NONE);
    let batch = kept.batch().unwrap();
    let first_two = [
        StoreOp::SessionLost,
        StoreOp::Sent(tokens[0]),
        StoreOp::Sent(tokens[1]),
    ];
    assert_eq!(batch.ops, first_two);
    kept.done(&batch, Vec::new());
    assert_eq!(kept.sent(), ["PUBLISH a q1 1", "PUBLISH b q1 2"]);
    kept.bench.server_sends(&puback(1));
    assert_eq!(kept.sent(), NONE);
    kept.keep();
    assert_eq!(kept.sent(), ["PUBLISH c q1 3"]);
}

/// One message each that is queued, may have been sent, was released.
fn three() -> (Contents, [Token; 3]) {
    let window = NonZeroU16::new(2).unwrap();
    let mut kept = Kept::up(stored(options(V5)).max_inflight(window));
    let tokens = ["a", "b", "c"].map(|topic| kept.publish(topic, 2));
    kept.keep();
    kept.sent();
    kept.bench.server_sends(&pubrec(1));
    kept.keep();
    let stages = kept.contents.messages.values().map(|m| m.stage);
    let expected = [Stage::Released, Stage::Sent, Stage::Queued];
    assert!(stages.eq(expected));
    (kept.contents, tokens)
}

#[test]
fn pain_6_the_next_run_goes_on_where_the_server_has_the_session() {
    let (contents, tokens) = three();
    let mut kept = Kept::restart(stored(options(V5)), contents, WALL_MS);
    let pending = kept.bench.engine.pending();
    let told: Vec<_> = pending
        .iter()
        .map(|pending| (pending.token, pending.stage))
        .collect();
    let expected = [Stage::Released, Stage::Sent, Stage::Queued];
    assert!(told.iter().copied().eq(tokens.into_iter().zip(expected)));
    assert!(pending[0].message.is_none() && pending[1].message.is_some());

    assert_eq!(kept.connect(true), ["PUBREL 1", "PUBLISH b q2 2 dup"]);
    kept.keep();
    assert_eq!(kept.sent(), ["PUBLISH c q2 3"], "it was never sent");
    kept.bench.server_sends(&pubcomp(1));
    assert_eq!(kept.ends(), [(tokens[0], true)]);
    // Neither tokens nor identifiers of the run before are given out again.
    let token = kept.publish("d", 2);
    assert!(token > tokens[2]);
    kept.keep();
    assert_eq!(kept.sent(), ["PUBLISH d q2 1"], "that one is free again");
}

#[test]
fn pain_6_the_next_run_begins_anew_where_the_server_has_lost_the_session() {
    let (contents, tokens) = three();
    let mut kept = Kept::restart(stored(options(V5)), contents, WALL_MS);
    let first = kept.connect(false);
    assert_eq!(first, ["PUBLISH b q2 2"], "as a new one");
    assert_eq!(kept.ends(), [(tokens[0], true)], "that one was the server's");
    kept.keep();
    assert_eq!(kept.sent(), ["PUBLISH c q2 3"]);
}

#[test]
fn a_policy_that_fails_them_takes_them_out_of_the_store() {
    let (contents, _) = three();
    let options = stored(options(V5)).policy(Policy::PAHO_C_BUFFERED);
    let mut kept = Kept::restart(options, contents, WALL_MS);
    kept.connect(false);
    kept.keep();
    let left: Vec<_> = kept.contents.messages.values().map(|m| m.stage).collect();
    assert_eq!(left, [Stage::Sent], "the one that waited is sent");
}

/// A message of QoS 1 with a property.
fn with_property(topic: &str) -> Message {
    message(topic, qos(1)).properties(props(|p| {
        p.user_property("k", "v");
    }))
}

/// The version that is tried after the server has closed without a word.
fn after_a_cut(kept: &mut Kept) -> Option<Version> {
    kept.bench.engine.connect(0);
    kept.bench.sent();
    kept.bench.lose();
    match kept.bench.event() {
        Event::Lost { retry_with, .. } => retry_with,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_is_no_reason_to_give_up_properties_that_are_kept() {
    let auto = || stored(options(Protocol::Auto));
    // Of an earlier run, waiting or sent; released, nothing of it is said again.
    let mut kept = Kept::new(auto());
    let token = kept.bench.publish(with_property("a")).unwrap();
    kept.keep();
    for is_sent in [false, true] {
        if is_sent {
            kept.contents.apply(&StoreOp::Sent(token));
        }
        let mut next = Kept::restart(auto(), kept.contents.clone(), WALL_MS);
        for _ in 0..3 {
            assert_eq!(after_a_cut(&mut next), None);
        }
        next.bench.engine.connect(0);
        next.bench.sent();
        // A refusal is no guess: then the message is told to be undeliverable.
        next.bench.engine.input(0, &[0x20, 2, 0, 1]);
        let Event::Refused { retry_with, .. } = next.bench.event() else {
            panic!()
        };
        assert_eq!(retry_with, Some(Version::V3_1_1));
        next.connect(false);
        next.keep();
        assert_eq!(next.ends(), [(token, false)]);
    }
    kept.contents.apply(&StoreOp::Ended(token));
    let mut none = Kept::restart(auto(), kept.contents, WALL_MS);
    assert_eq!(after_a_cut(&mut none), Some(Version::V3_1_1));
}

#[test]
fn properties_that_come_after_a_fall_back_are_kept_too() {
    let mut kept = Kept::new(stored(options(Protocol::Auto)));
    assert_eq!(after_a_cut(&mut kept), Some(Version::V3_1_1));
    kept.bench.publish(with_property("a")).unwrap();
    kept.keep();
    assert_eq!(
        kept.bench.reconnect(false, &PropertiesBuf::new()).0[0],
        "CONNECT 5.0 \"c\""
    );
    // While 3.1.1 is tried they are not accepted.
    let mut kept = Kept::new(stored(options(Protocol::Auto)));
    after_a_cut(&mut kept);
    kept.bench.engine.connect(0);
    let refused = kept.bench.publish(with_property("a"));
    assert!(matches!(
        refused,
        Err(PublishError::Rejected(Rejected::NeedsVersion5 { .. }))
    ));
}

#[test]
fn received_identifiers_outlive_the_run_but_not_the_session() {
    for (session_present, comes) in [(true, 0), (false, 1)] {
        let mut kept = Kept::up(stored(options(V5)));
        kept.bench.publish_from_server("a", Delivery::ExactlyOnce(id(7)));
        let (_, unacked) = kept.bench.message();
        kept.bench.take(unacked);
        kept.keep();
        let mut next = Kept::restart(stored(options(V5)), kept.contents, WALL_MS);
        next.connect(session_present);
        next.keep();
        next.bench.events();
        next.bench.publish_from_server("a", Delivery::ExactlyOnce(id(7)));
        assert_eq!(next.bench.events().len(), comes);
        if session_present {
            assert_eq!(next.sent(), ["PUBREC 7"]);
        }
    }
}

#[test]
fn a_message_that_the_store_refuses_was_not_accepted() {
    let mut kept = Kept::up(stored(options(V5)));
    let tokens = ["a", "b"].map(|topic| kept.publish(topic, 1));
    let batch = kept.batch().unwrap();
    kept.done(&batch, vec![(0, full())]);
    assert_eq!(kept.sent(), ["PUBLISH b q1 2"]);
    let events = kept.bench.events();
    let (token, end) = (tokens[0], Err(full()));
    assert_eq!(events[0], Event::Stored { token, end });
    let end = Err(DeliveryError::Store(full()));
    assert_eq!(events[1], Event::Published { token, end });
    assert_eq!(kept.bench.engine.unfinished(), 1);
    kept.keep();
    assert_eq!(kept.contents.messages.len(), 1);
}

#[test]
fn a_store_that_fails_closes_the_client() {
    let mut kept = Kept::up(stored(options(V5)));
    let kept_before = kept.publish("a", 2);
    kept.keep();
    kept.sent();
    let token = kept.publish("b", 1);
    kept.bench.server_sends(&pubrec(1));
    kept.bench.publish_from_server("c", Delivery::ExactlyOnce(id(7)));
    for event in kept.bench.events() {
        if let Event::Message { unacked, .. } = event {
            kept.bench.take(unacked);
        }
    }
    kept.batch();
    let now_ms = kept.bench.now_ms;
    kept.bench.engine.store_failed(now_ms, full());
    assert_eq!(kept.sent(), NONE, "no PUBREL, no PUBREC, no PUBLISH");
    assert_eq!(kept.bench.engine.closed(), Some(&Lost::Store(full())));
    let events = kept.bench.events();
    let end = Err(full());
    assert_eq!(events[0], Event::Stored { token, end });
    let ends = |event: &Event| matches!(event, Event::Published { token, .. } if *token == kept_before);
    assert!(events.iter().any(ends));
    let closed = kept.bench.publish(message("d", qos(1)));
    assert_eq!(closed, Err(PublishError::Closed(Lost::Store(full()))));
    assert_eq!(kept.bench.engine.leftover().stored, 2);
}

#[test]
fn the_time_to_live_goes_on_by_the_clock_on_the_wall() {
    let mut kept = Kept::new(stored(options(V5)));
    let second = Duration::from_secs(1);
    let short = kept
        .bench
        .publish(message("a", qos(1)).time_to_live(10 * second))
        .unwrap();
    let long = kept
        .bench
        .publish(message("b", qos(1)).time_to_live(100 * second))
        .unwrap();
    kept.keep();
    let later_ms = WALL_MS + kept.bench.now_ms + 60_000;
    let mut next = Kept::restart(stored(options(V5)), kept.contents, later_ms);
    next.bench.engine.timeout(next.bench.now_ms);
    assert_eq!(next.ends(), [(short, false)]);
    next.bench.now_ms += 41_000;
    next.bench.engine.timeout(next.bench.now_ms);
    assert_eq!(next.ends(), [(long, false)]);
    next.keep();
    assert!(next.contents.messages.is_empty());
}

#[test]
fn a_request_of_an_earlier_run_is_not_sent_late() {
    for later_ms in [4_999, 5_000] {
        let mut kept = Kept::new(stored(options(V5)));
        let now_ms = kept.bench.now_ms;
        let asked = kept
            .bench
            .engine
            .request_response(now_ms, message("ask", qos(1)), 5_000);
        asked.unwrap();
        kept.keep();
        let wall_ms = WALL_MS + now_ms + later_ms;
        let mut next = Kept::restart(stored(options(V5)), kept.contents, wall_ms - now_ms);
        next.bench.engine.timeout(now_ms);
        next.connect(true);
        next.keep();
        let is_sent = next.sent() == ["PUBLISH ask q1 2"];
        assert_eq!(is_sent, later_ms < 5_000, "after {later_ms} ms");
    }
    // In the same run it is told as a request that has no response.
    let mut kept = Kept::new(stored(options(V5)));
    let asked = kept
        .bench
        .engine
        .request_response(0, message("ask", qos(1)), 5_000);
    asked.unwrap();
    kept.keep();
    kept.bench.events();
    kept.bench.engine.timeout(5_000);
    let timeout = |event: &Event| {
        matches!(
            event,
            Event::Responded {
                end: Err(ResponseError::Timeout),
                ..
            }
        )
    };
    assert!(kept.bench.events().iter().any(timeout));
    kept.keep();
    assert!(kept.contents.messages.is_empty());
}

/// What may have been sent has an identifier that the server may know: it does not expire.
#[test]
fn what_may_have_been_sent_does_not_expire_in_the_next_run() {
    let mut kept = Kept::up(stored(options(V5)));
    let second = Duration::from_secs(1);
    kept.bench
        .publish(message("a", qos(2)).time_to_live(second))
        .unwrap();
    kept.keep();
    let mut next = Kept::restart(stored(options(V5)), kept.contents, WALL_MS + 1_000_000);
    next.bench.engine.timeout(next.bench.now_ms);
    assert_eq!(next.ends(), []);
    assert_eq!(next.connect(true), ["PUBLISH a q2 1 dup"]);
}

#[test]
fn what_is_acknowledged_on_arrival_is_kept_until_it_is_taken() {
    for n in [1, 2] {
        let paho = || stored(options(V5)).policy(Policy::PAHO_C);
        let mut kept = Kept::up(paho());
        let (delivery, acked) = match n {
            1 => (Delivery::AtLeastOnce(id(7)), "PUBACK 7"),
            _ => (Delivery::ExactlyOnce(id(7)), "PUBREC 7"),
        };
        kept.bench.publish_from_server("a", delivery);
        assert_eq!(kept.sent(), NONE);
        kept.keep();
        assert_eq!(kept.sent(), [acked]);
        let mut next = Kept::restart(paho(), kept.contents, WALL_MS);
        let (again, unacked) = next.bench.message();
        assert_eq!(again.topic.as_str(), "a");
        next.bench.take(unacked);
        next.keep();
        assert!(next.contents.arrived.is_empty());
        let mut last = Kept::restart(paho(), next.contents, WALL_MS);
        assert_eq!(last.bench.events(), []);
    }
}

#[test]
fn what_is_in_the_store_is_not_given_back_at_the_end() {
    let mut kept = Kept::new(stored(options(V5)));
    kept.publish("a", 1);
    kept.publish("b", 0);
    kept.keep();
    let now_ms = kept.bench.now_ms;
    let nothing = PropertiesBuf::new();
    kept.bench
        .engine
        .disconnect(now_ms, ReasonCode::Success, &nothing)
        .unwrap();
    let left = kept.bench.engine.leftover();
    assert_eq!((left.unsent.len(), left.unacknowledged, left.stored), (1, 0, 1));
    kept.keep();
    assert_eq!(kept.contents.messages.len(), 1);
}

// The store on the disk.

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("martlet-client-{name}-{}", std::process::id()));
        // One that a killed test has left.
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> FileStore {
        FileStore::open(&self.0, Durability::Os).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store on the disk has what a store in memory has, whatever is kept and however it is cut into batches.
#[test]
fn on_the_disk_as_in_memory() {
    let folder = Folder::new("as-in-memory");
    let mut memory = MemoryStore::new();
    memory.open("c").unwrap();
    let mut disk = folder.open();
    disk.open("c").unwrap();
    let mut kept = Kept::up(stored(options(V5)));
    let mut under_way: Vec<(u16, bool)> = Vec::new();
    for step in 0_u16..2_000 {
        match step % 5 {
            0 | 1 => {
                let payload = vec![b'x'; usize::from(step) * 7 % 5_000];
                let topic = martlet_client::TopicBuf::new("t").unwrap();
                let n = 1 + (step % 2) as u8;
                if let Ok(accepted) = kept
                    .bench
                    .engine
                    .publish(kept.bench.now_ms, Message::new(topic, payload).qos(qos(n)))
                {
                    under_way.push((accepted.packet_id.unwrap().get(), n == 2));
                }
            }
            2 if !under_way.is_empty() => {
                let (n, is_qos2) = under_way.remove(usize::from(step) % under_way.len());
                let sent = kept.bench.engine.pending();
                let is_sent =
                    |p: &martlet_client::Pending| p.packet_id == Some(id(n)) && p.stage == Stage::Sent;
                if !sent.iter().any(is_sent) {
                    under_way.push((n, is_qos2));
                } else if is_qos2 {
                    kept.bench.server_sends(&pubrec(n));
                    kept.bench.server_sends(&pubcomp(n));
                } else {
                    kept.bench.server_sends(&puback(n));
                }
            }
            3 => kept
                .bench
                .publish_from_server("a", Delivery::ExactlyOnce(id(1 + step % 100))),
            _ => kept.bench.server_sends(&pubrel(1 + step % 100)),
        }
        for event in kept.bench.events() {
            if let Event::Message { unacked, .. } = event {
                kept.bench.take(unacked);
            }
        }
        kept.sent();
        if step % 3 == 0
            && let Some(batch) = kept.batch()
        {
            assert_eq!(memory.keep(&batch.ops), Ok(Vec::new()));
            assert_eq!(disk.keep(&batch.ops), Ok(Vec::new()));
            kept.done(&batch, Vec::new());
        }
        if step % 400 == 399 {
            drop(disk);
            disk = folder.open();
            assert_eq!(disk.damage(), [""; 0]);
            let (mut ours, mut theirs) = (disk.open("c").unwrap(), memory.contents());
            assert!(!theirs.messages.is_empty() && !theirs.received.is_empty());
            (ours.run, theirs.run) = (0, 0);
            assert_eq!(ours, theirs, "at step {step}");
        }
    }
    let folder_bytes: u64 = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(
        folder_bytes < 8 << 20,
        "{folder_bytes} bytes: nothing was cleaned"
    );
}

#[test]
fn pain_7_each_run_has_tokens_of_its_own() {
    let folder = Folder::new("runs");
    let runs: Vec<u64> = (0..3).map(|_| folder.open().open("c").unwrap().run).collect();
    assert_eq!(runs, [1, 2, 3]);
}

#[test]
fn pain_7_a_folder_belongs_to_one_client_at_a_time() {
    let folder = Folder::new("locked");
    let mut store = folder.open();
    store.open("pump-7").unwrap();
    let place = folder.0.display().to_string();
    let locked = FileStore::open(&folder.0, Durability::Os).unwrap_err();
    let holder = format!("a martlet client, process {}", std::process::id());
    assert_eq!(
        locked,
        StoreError::InUse {
            place: place.clone(),
            holder
        }
    );
    drop(store);
    let options = Options::new("127.0.0.1", 1)
        .client_id("pump-8")
        .store(folder.open());
    let error = blocking::Client::start(options).unwrap_err().to_string();
    assert!(
        error.contains("pump-7") && error.contains("pump-8") && error.contains(&place),
        "{error}"
    );
}

#[test]
fn pain_7_damage_is_told_and_the_rest_is_served() {
    let folder = Folder::new("damage");
    let mut kept = Kept::up(stored(options(V5)));
    let mut disk = folder.open();
    disk.open("c").unwrap();
    for topic in ["first", "second", "third"] {
        kept.publish(topic, 1);
        let batch = kept.batch().unwrap();
        disk.keep(&batch.ops).unwrap();
        kept.done(&batch, Vec::new());
    }
    // What the next run writes says that all of it was durable: a bad end would only be a torn one.
    drop(disk);
    folder.open().open("c").unwrap();
    let files = std::fs::read_dir(&folder.0).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    let segment = files.find(|path| path.extension().is_some_and(|end| end == "seg"));
    let segment = segment.expect("there is a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|bytes| bytes == b"second").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let mut disk = folder.open();
    let left = disk.open("c").unwrap().messages;
    let topics = left
        .values()
        .map(|kept| kept.message.as_ref().unwrap().topic.to_string());
    assert_eq!(topics.collect::<Vec<_>>(), ["first", "third"]);
    let told = disk.damage().join(", ");
    assert!(told.contains("damaged: bytes"), "{told}");
}

// The drivers.

#[test]
fn a_store_needs_a_client_identifier() {
    let options = Options::new("127.0.0.1", 1).store(MemoryStore::new());
    assert_eq!(options.check(), Err(OptionsError::StoreWithoutClientId));
}

#[tokio::test]
async fn pain_6_a_client_of_the_next_run_goes_on() {
    let folder = Folder::new("next-run");
    let fake = Fake::bind().await;
    let options = || {
        let store = FileStore::open(&folder.0, Durability::Fsync).unwrap();
        fake.options()
            .protocol(V5)
            .store(store)
            .reconnect(Reconnect::fixed(Duration::from_secs(1)))
    };
    let (connected, mut peer) = join!(within(Client::connect(options())), fake.agree(false));
    let (client, _) = connected.unwrap();
    let delivery = within(client.publish(message("a", qos(2)))).await.unwrap();
    let token = delivery.token();
    peer.expect("PUBLISH a q2 1").await;
    let left = within(client.disconnect_now(ReasonCode::Success, PropertiesBuf::new()))
        .await
        .unwrap();
    assert_eq!((left.stored, left.unacknowledged), (1, 0));
    assert!(matches!(
        within(delivery).await,
        Err(DeliveryError::Closed(Lost::ByUs))
    ));

    // Who is told that it is closed can open the store again.
    let (connected, mut peer) = join!(within(Client::connect(options())), fake.agree(true));
    let (client, _) = connected.unwrap();
    assert_eq!(client.pending().len(), 1);
    let delivery = client.delivery(token).expect("it has no end yet");
    peer.expect("PUBLISH a q2 1 dup").await;
    peer.send(&pubrec(1)).await;
    peer.expect("PUBREL 1").await;
    peer.send(&pubcomp(1)).await;
    assert_eq!(within(delivery).await.unwrap().packet_id, Some(id(1)));
    within(client.flush()).await.unwrap();
    within(client.stored()).await.unwrap();
    assert!(client.delivery(token).is_none() && client.pending().is_empty());
}

/// The same without a runtime: the turn of a pump keeps and syncs.
#[test]
fn a_pump_keeps_in_its_turn() {
    use martlet_client::poll::Pump;
    let store = MemoryStore::new();
    let options = || {
        let reconnect = Reconnect::fixed(Duration::from_hours(1));
        Options::new("127.0.0.1", 1).client_id("c").reconnect(reconnect)
    };
    let (client, mut pump) = Pump::new(options().store(store.clone())).unwrap();
    let limit = Duration::from_secs(20);
    let delivery = pump
        .run(client.publish(message("a", qos(1))), limit)
        .unwrap()
        .unwrap();
    assert_eq!(store.contents().messages.len(), 1);
    let dropped = client.try_publish(message("b", qos(1))).unwrap();
    pump.run(client.stored(), limit).unwrap().unwrap();
    assert_eq!(store.contents().messages.len(), 2);
    drop((delivery, dropped, pump));

    let (client, _pump) = Pump::new(options().store(store.clone())).unwrap();
    assert_eq!(client.pending().len(), 2);
    let again = Client::start(options().client_id("d").store(store));
    assert!(matches!(
        again,
        Err(OptionsError::Store(StoreError::OtherClient { .. }))
    ));
}

struct Full;

impl Store for Full {
    fn open(&mut self, _: &str) -> Result<Contents, StoreError> {
        let run = 1;
        Ok(Contents {
            run,
            ..Contents::default()
        })
    }

    fn keep(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let accepted = ops
            .iter()
            .enumerate()
            .filter(|(_, op)| matches!(op, StoreOp::Accepted(_)));
        Ok(accepted.map(|(at, _)| (at, full())).collect())
    }
}

#[test]
fn pain_7_publish_says_that_the_store_is_full() {
    let reconnect = Reconnect::fixed(Duration::from_hours(1));
    let options = Options::new("127.0.0.1", 1).client_id("c").reconnect(reconnect);
    let client = blocking::Client::start(options.store(Full)).unwrap();
    let refused = client.publish(message("a", qos(1))).unwrap_err();
    assert_eq!(refused, PublishError::Store(full()));
    let delivery = client.try_publish(message("a", qos(2))).unwrap();
    assert_eq!(delivery.wait(), Err(DeliveryError::Store(full())));
    assert_eq!(client.stats().outbox_messages, 0);
}
