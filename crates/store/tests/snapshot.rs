//! A start from a snapshot finds what a replay of everything finds.

mod common;

use std::sync::Arc;

use martlet_broker::{
    Batch, Change, Durability, Recipient, Store, StoreEvent, StoredSession, StoredSubscription,
};
use martlet_codec::{FilterBuf, PacketId, SubscribeOptions, TopicBuf};
use martlet_journal::report::Report;
use martlet_journal::{Disk, DiskFile, Journal, MemoryDisk, SyncJob};
use martlet_session::{Key, Message, Ticket};
use martlet_store::offline::{Offline, repair};
use martlet_store::{Engine, Exchange, Handle, Limits, Restored};
use proptest::prelude::*;

use common::{Everything, NOW, copy};

/// Small, so that a snapshot takes many steps while much goes on.
fn limits() -> Limits {
    let mut limits = Limits::tiny();
    limits.journal.segment_bytes = 1 << 10;
    limits.journal.reserve_bytes = 0;
    limits.clean_bytes_min = 0;
    limits.clean_bytes = 300;
    limits.snapshot_bytes_min = 400;
    limits.snapshot_step_bytes = 200;
    limits
}

#[derive(Debug, Clone)]
enum Step {
    Session(u64),
    Ended(u64),
    Subscribed(u64),
    Queued {
        sessions: Vec<u64>,
        bytes: usize,
        is_shared: bool,
    },
    Retained {
        topic: u8,
        bytes: usize,
        also_for: Option<u64>,
    },
    Received(u64, u16),
    Released(u64, u16),
    Sending(u64, u16),
    Completed(u64, u16),
    /// The oldest messages but so many.
    Done(usize),
    Sync,
    Clean,
    Snapshot(u8),
    Stop,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = || 1..6_u64;
    let id = || 1..4_u16;
    let step = prop_oneof![
        2 => session().prop_map(Step::Session),
        1 => session().prop_map(Step::Ended),
        1 => session().prop_map(Step::Subscribed),
        9 => (prop::collection::vec(session(), 1..4), 0..200_usize, any::<bool>()).prop_map(
            |(mut sessions, bytes, is_shared)| {
                sessions.sort_unstable();
                sessions.dedup();
                Step::Queued { sessions, bytes, is_shared }
            }
        ),
        2 => (0..3_u8, 1..200_usize, prop::option::of(session()))
            .prop_map(|(topic, bytes, also_for)| Step::Retained { topic, bytes, also_for }),
        1 => (session(), id()).prop_map(|(session, id)| Step::Received(session, id)),
        1 => (session(), id()).prop_map(|(session, id)| Step::Released(session, id)),
        1 => (session(), id()).prop_map(|(session, id)| Step::Sending(session, id)),
        1 => (session(), id()).prop_map(|(session, id)| Step::Completed(session, id)),
        3 => (0..12_usize).prop_map(Step::Done),
        4 => Just(Step::Sync),
        3 => Just(Step::Clean),
        6 => (1..9_u8).prop_map(Step::Snapshot),
        1 => Just(Step::Stop),
        2 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..120)
}

struct Rig {
    disk: MemoryDisk,
    engine: Engine<MemoryDisk>,
    handle: Handle,
    highest: u64,
    order: u64,
    keys: Vec<Key>,
    retained: [Option<u64>; 3],
}

fn open(disk: &MemoryDisk) -> (Engine<MemoryDisk>, Restored, Report) {
    let exchange = Exchange::new(1, limits().pending_bytes_max, |_| {}, |_, _| {});
    Engine::open(disk.clone(), limits(), 7, NOW, Arc::new(exchange)).unwrap()
}

fn ending(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or("")
}

fn snapshots(disk: &MemoryDisk) -> Vec<String> {
    let names = disk.list().unwrap().into_iter().map(|entry| entry.name);
    let mut names: Vec<String> = names.filter(|name| ending(name) == "snap").collect();
    names.sort();
    names
}

/// Everything that it says, in an order that does not depend on maps.
fn told(mut restored: Restored) -> String {
    for session in &mut restored.sessions {
        session
            .subscriptions
            .sort_by_key(|subscription| subscription.number);
        session.received.sort();
    }
    restored.retained.sort_by_key(|retained| retained.version);
    format!("{restored:#?}")
}

/// What a start finds, on a copy of the disk.
fn found(disk: &MemoryDisk) -> (String, Report) {
    let (engine, restored, report) = open(&copy(disk));
    assert_eq!(engine.unreadable().0, 0);
    (told(restored), report)
}

/// What a start finds that knows no snapshot.
fn found_without(disk: &MemoryDisk) -> (String, Report) {
    let disk = copy(disk);
    for name in snapshots(&disk) {
        disk.remove(&name).unwrap();
    }
    let (engine, restored, report) = open(&disk);
    assert!(report.snapshot.is_none() && !report.has_damage(), "{report}");
    assert_eq!(engine.unreadable().0, 0);
    (told(restored), report)
}

impl Rig {
    fn new() -> Self {
        let disk = MemoryDisk::default();
        let (engine, ..) = open(&disk);
        let handle = engine.handle(0);
        Self {
            disk,
            engine,
            handle,
            highest: 10,
            order: 0,
            keys: Vec::new(),
            retained: [None; 3],
        }
    }

    fn next(&mut self) -> u64 {
        self.highest += 1;
        self.highest
    }

    fn message(&mut self, topic: &str, bytes: usize) -> Arc<Message> {
        let number = self.next();
        Arc::new(Message {
            topic: TopicBuf::new(topic).unwrap(),
            expires_at_ms: bytes.is_multiple_of(3).then_some(90_000),
            publisher: bytes.is_multiple_of(2).then(|| "publisher".into()),
            ..common::message(number, bytes)
        })
    }

    fn recipients(&mut self, message: &Message, sessions: &[u64], is_shared: bool) -> Vec<Recipient> {
        let shared = is_shared.then_some("$share/g/a");
        let recipients = common::recipients(message.number.get(), sessions, shared);
        self.keys.extend(recipients.iter().map(|recipient| recipient.key));
        recipients
    }

    fn submit(&mut self, changes: Vec<Change>) {
        let batch = Batch {
            ticket: Some(Ticket(1)),
            durability: Durability::None,
            changes,
            is_loose: false,
        };
        self.handle.submit(NOW, batch);
        self.handle.flush();
        self.engine.write();
        assert!(matches!(self.handle.poll(), Some(StoreEvent::Durable(_))));
    }

    fn sync(&mut self) {
        if let Some(synced) = self.engine.begin_sync().map(SyncJob::run) {
            self.engine.end_sync(synced);
        }
    }

    fn stored(number: u64, order: u64) -> StoredSession {
        StoredSession {
            away_since_ms: Some(NOW.wall_ms + order),
            ..common::session(number)
        }
    }

    fn step(&mut self, step: &Step) {
        self.order += 1;
        let packet = |id| PacketId::new(id).unwrap();
        let order = self.order;
        match step.clone() {
            Step::Session(number) => self.submit(vec![Change::Session(Self::stored(number, order))]),
            Step::Ended(number) => self.submit(vec![Change::Ended {
                number,
                subscriptions: Vec::default(),
                keys: Vec::default(),
                received: Vec::default(),
                sent: Vec::default(),
            }]),
            Step::Subscribed(session) => {
                let number = self.next();
                let subscription = StoredSubscription {
                    number,
                    session,
                    filter: FilterBuf::new(&format!("a/{number}")).unwrap(),
                    options: SubscribeOptions::default(),
                    identifier: None,
                };
                self.submit(vec![Change::Subscribed(subscription)]);
            }
            Step::Queued {
                sessions,
                bytes,
                is_shared,
            } => {
                let message = self.message("a/b", bytes);
                let recipients = self.recipients(&message, &sessions, is_shared);
                self.submit(vec![Change::Queued { message, recipients }]);
            }
            Step::Retained {
                topic,
                bytes,
                also_for,
            } => {
                let message = self.message(&format!("kept/{topic}"), bytes);
                let version = self.next();
                let replaces = self.retained[usize::from(topic)].replace(version);
                let sessions: Vec<u64> = also_for.into_iter().collect();
                let recipients = self.recipients(&message, &sessions, false);
                let mut changes = vec![Change::Retained {
                    message: Arc::clone(&message),
                    version,
                    expires_at_ms: None,
                    replaces: replaces.into_iter().collect(),
                }];
                if !recipients.is_empty() {
                    changes.push(Change::Queued { message, recipients });
                }
                self.submit(changes);
            }
            Step::Received(session, id) => self.submit(vec![Change::Received {
                session,
                id: packet(id),
            }]),
            Step::Released(session, id) => self.submit(vec![Change::Released {
                session,
                id: packet(id),
            }]),
            Step::Sending(session, id) => {
                let key = self.keys.last().copied();
                self.submit(vec![Change::Sending {
                    session,
                    id: packet(id),
                    key,
                    order,
                }]);
            }
            Step::Completed(session, id) => self.submit(vec![Change::Completed {
                session,
                id: packet(id),
            }]),
            Step::Done(left) => {
                let count = self.keys.len().saturating_sub(left);
                let done = self.keys.drain(..count).map(|key| Change::Done { key });
                let changes: Vec<_> = done.collect();
                if !changes.is_empty() {
                    self.submit(changes);
                }
            }
            Step::Sync => self.sync(),
            Step::Clean => {
                self.engine.clean();
            }
            Step::Snapshot(steps) => {
                for _ in 0..steps {
                    self.engine.snapshot();
                }
            }
            Step::Stop => {
                self.sync();
                self.engine.last_snapshot();
                self.start();
            }
            Step::Kill => self.start(),
        }
        assert_eq!(
            self.engine.snapshots_failed().0,
            0,
            "{:?}",
            self.engine.snapshots_failed()
        );
    }

    fn start(&mut self) {
        let (with, report) = found(&self.disk);
        assert!(
            !report.has_damage() && report.snapshots_damaged.is_empty(),
            "{report}"
        );
        assert_eq!(report.snapshot.is_some(), !snapshots(&self.disk).is_empty());
        assert_eq!(with, found_without(&self.disk).0);
        let (engine, ..) = open(&self.disk);
        self.handle = engine.handle(0);
        self.engine = engine;
    }
}

proptest! {
    #[test]
    fn it_finds_the_same(steps in steps()) {
        let mut rig = Rig::new();
        for number in 1..6 {
            rig.step(&Step::Session(number));
        }
        for step in &steps {
            rig.step(step);
        }
        rig.start();
    }
}

/// A store with two snapshots and something after each.
fn filled() -> MemoryDisk {
    let mut rig = Rig::new();
    for round in 0..3 {
        for number in 1..4 {
            rig.step(&Step::Session(number));
            rig.step(&Step::Subscribed(number));
            rig.step(&Step::Received(number, 2));
            for bytes in [30, 101] {
                rig.step(&Step::Queued {
                    sessions: vec![number],
                    bytes,
                    is_shared: bytes == 30,
                });
                rig.step(&Step::Queued {
                    sessions: vec![1, 2],
                    bytes,
                    is_shared: false,
                });
            }
            rig.step(&Step::Retained {
                topic: number as u8 - 1,
                bytes: 40,
                also_for: (number == 2).then_some(3),
            });
        }
        rig.step(&Step::Done(10));
        rig.step(&Step::Sending(2, 1));
        rig.sync();
        if round < 2 {
            rig.engine.last_snapshot();
        }
    }
    assert_eq!(snapshots(&rig.disk).len(), 2);
    rig.disk
}

#[test]
fn one_that_is_damaged_or_cut_anywhere_is_not_missed() {
    let disk = filled();
    let (all, report) = found_without(&disk);
    assert!(report.snapshot.is_none());
    let (with, report) = found(&disk);
    let newest = report.snapshot;
    assert_eq!(with, all);
    let names = snapshots(&disk);
    let name = names.last().unwrap();
    let bytes = disk.contents(name).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        for cuts in [false, true] {
            let disk = copy(&disk);
            let file = disk.open(name).unwrap();
            if cuts {
                file.truncate(at as u64).unwrap();
            } else {
                file.write_at(at as u64, &[byte ^ 0x10]).unwrap();
            }
            let (with, report) = found(&disk);
            assert_eq!(with, all, "byte {at}, cut: {cuts}");
            assert_eq!(report.snapshots_damaged.len(), 1, "byte {at}: {report}");
            assert!(report.snapshot < newest);
        }
    }
    for name in &names {
        disk.open(name).unwrap().truncate(20).unwrap();
    }
    let (with, report) = found(&disk);
    assert_eq!((with, report.snapshot), (all, None));
}

/// A snapshot of another version is left where it is, and nobody is told of damage.
#[test]
fn one_that_makes_no_sense_is_not_used() {
    let disk = filled();
    let all = found_without(&disk).0;
    let (mut journal, _) = Journal::open(disk.clone(), limits().journal, 7, &mut Everything).unwrap();
    let mut writer = journal.begin_snapshot().unwrap();
    writer.write(&[99, 0, 1, 2, 3]).unwrap();
    journal.end_snapshot(writer.finish().unwrap()).unwrap();
    drop(journal);
    let later = snapshots(&disk).pop().unwrap();
    let (with, report) = found(&disk);
    assert_eq!(with, all);
    assert!(!report.has_damage() && report.snapshot.is_some(), "{report}");
    assert_eq!(report.unused, [later]);
}

/// A segment that has gone behind a snapshot is missed, by a start and by a check.
#[test]
fn what_is_gone_behind_one_is_told() {
    let disk = filled();
    let mut names: Vec<String> = disk.list().unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let segment = names.iter().find(|name| ending(name) == "seg").unwrap();
    disk.remove(segment).unwrap();
    let number = u32::from_str_radix(&segment[..8], 16).unwrap();
    let (_, _, report) = open(&copy(&disk));
    assert!(report.snapshot.is_some());
    assert_eq!(report.missing, [number], "{report}");
    let check = Offline::open(disk.clone(), limits().journal)
        .unwrap()
        .check()
        .unwrap();
    assert_eq!(check.missing, [number]);
}

/// A check reads everything, whatever snapshots say, and tells of one that is damaged.
#[test]
fn a_check_and_a_repair_do_not_rely_on_one() {
    let disk = filled();
    let whole = Offline::open(disk.clone(), limits().journal)
        .unwrap()
        .check()
        .unwrap();
    assert!(whole.is_whole() && whole.unused.is_empty(), "{whole:?}");
    let name = snapshots(&disk).pop().unwrap();
    disk.open(&name).unwrap().truncate(40).unwrap();
    let check = Offline::open(disk.clone(), limits().journal)
        .unwrap()
        .check()
        .unwrap();
    assert_eq!(check.snapshots_damaged, [name]);
    assert!(check.is_whole(), "nothing is lost: {check:?}");
    assert_eq!((check.queued, check.sessions), (whole.queued, whole.sessions));
    let all = found_without(&disk).0;
    let repaired = repair(&disk, limits().journal, 1).unwrap();
    assert_eq!((repaired.set_aside.len(), repaired.dropped), (1, 0));
    assert_eq!(found(&disk).0, all);
}

/// Whichever segment is gone or empty: a check sees it, and a repair is the end of it.
#[test]
fn a_segment_that_is_gone_is_given_up_by_a_repair() {
    let disk = filled();
    let newest = snapshots(&disk).pop().unwrap();
    let names = disk.list().unwrap().into_iter().map(|entry| entry.name);
    let segments: Vec<String> = names.filter(|name| ending(name) == "seg").collect();
    let each = segments.iter().map(|name| vec![name.clone()]);
    for gone in each.chain([segments.clone()]) {
        for empties in [false, true] {
            let disk = copy(&disk);
            for name in &gone {
                if empties {
                    disk.open(name).unwrap().truncate(0).unwrap();
                } else {
                    disk.remove(name).unwrap();
                }
            }
            let look = || {
                let mut offline = Offline::open(copy(&disk), limits().journal).unwrap();
                assert!(offline.is_there(), "{gone:?}");
                offline.check().unwrap()
            };
            let known = gone.iter().any(|name| name[..8] <= newest[..8]);
            assert_ne!(
                known,
                look().is_whole(),
                "{gone:?}, empty: {empties}: {:?}",
                look()
            );
            repair(&disk, limits().journal, 1).unwrap();
            assert!(look().is_whole(), "{gone:?}, empty: {empties}: {:?}", look());
            let (engine, _, report) = open(&disk);
            assert!(!report.has_damage(), "{gone:?}, empty: {empties}: {report}");
            assert_eq!(engine.unreadable().0, 0);
        }
    }
}
