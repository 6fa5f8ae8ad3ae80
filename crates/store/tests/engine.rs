//! An engine and one shard's end of it, on a disk that fills up, fails and forgets.

mod common;

use std::sync::Arc;

use martlet_broker::{Batch, Change, Durability, Load, Purpose, Store, StoreEvent};
use martlet_journal::disk::Faults;
use martlet_journal::{FaultyDisk, SyncJob};
use martlet_session::{Found, Key, Message, Ticket};
use martlet_store::{Engine, Exchange, Handle, Limits, Restored};

use common::NOW;

struct Rig {
    engine: Engine<FaultyDisk>,
    handle: Handle,
    next_ticket: u64,
}

fn limits() -> Limits {
    let mut limits = Limits::tiny();
    limits.journal.segment_bytes = 4 << 10;
    limits.journal.reserve_bytes = 8 << 10;
    limits.clean_bytes_min = 4 << 10;
    limits
}

fn open(disk: &FaultyDisk) -> (Rig, Restored) {
    open_with(disk, limits())
}

fn open_with(disk: &FaultyDisk, limits: Limits) -> (Rig, Restored) {
    let exchange = Exchange::new(1, limits.pending_bytes_max, |_| {}, |_, _| {});
    let opened = Engine::open(disk.clone(), limits, 7, NOW, Arc::new(exchange));
    let (engine, restored, report) = opened.unwrap();
    assert!(!report.has_damage() && restored.unknown == 0, "{report}");
    let handle = engine.handle(0);
    let rig = Rig {
        engine,
        handle,
        next_ticket: 0,
    };
    (rig, restored)
}

fn session(number: u64) -> Change {
    Change::Session(common::session(number))
}

/// A message for sessions, each at its place.
fn queued(number: u64, payload_bytes: usize, sessions: &[u64]) -> Change {
    Change::Queued {
        message: message(number, payload_bytes),
        recipients: common::recipients(number, sessions, None),
    }
}

fn message(number: u64, payload_bytes: usize) -> Arc<Message> {
    Arc::new(common::message(number, payload_bytes))
}

impl Rig {
    /// Submits, writes and syncs; whether it is kept.
    fn commit(&mut self, changes: Vec<Change>) -> bool {
        self.submit(changes);
        self.sync();
        self.ended()
    }

    fn submit(&mut self, changes: Vec<Change>) {
        self.next_ticket += 1;
        let batch = Batch {
            ticket: Some(Ticket(self.next_ticket)),
            durability: Durability::Fsync,
            changes,
            is_loose: false,
        };
        self.handle.submit(NOW, batch);
        self.handle.flush();
        self.engine.write();
    }

    fn sync(&mut self) {
        if let Some(synced) = self.engine.begin_sync().map(SyncJob::run) {
            self.engine.end_sync(synced);
        }
    }

    /// Whether the batch that was submitted last is kept; it has ended.
    fn ended(&mut self) -> bool {
        match self.handle.poll() {
            Some(StoreEvent::Durable(Ticket(ticket))) if ticket == self.next_ticket => true,
            Some(StoreEvent::Failed(Ticket(ticket))) if ticket == self.next_ticket => false,
            other => panic!("{other:?}"),
        }
    }

    /// What nobody waits for.
    fn forget(&mut self, keys: impl Iterator<Item = Key>) {
        let changes = keys.map(|key| Change::Done { key }).collect();
        let batch = Batch {
            changes,
            is_loose: true,
            ..Batch::default()
        };
        self.handle.submit(NOW, batch);
        self.handle.flush();
        self.engine.write();
    }

    fn clean(&mut self) {
        for _ in 0..1_000 {
            let goes_on = self.engine.clean();
            self.sync();
            if !goes_on {
                return;
            }
        }
        panic!("cleaning does not end");
    }
}

#[test]
fn nothing_is_promised_before_the_sync() {
    let disk = FaultyDisk::new(1);
    let (mut rig, _) = open(&disk);
    rig.submit(vec![session(1), queued(2, 10, &[1])]);
    assert!(rig.handle.poll().is_none() && rig.engine.is_waited_for());
    rig.sync();
    assert!(rig.ended());
    disk.cut_power();
    let (_, restored) = open(&disk);
    assert_eq!(restored.sessions[0].queue, [Key::new(2, 0)]);
    assert_eq!(restored.highest, 2);
}

#[test]
fn a_body_lives_as_long_as_one_has_a_link_to_it() {
    let disk = FaultyDisk::new(2);
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1), session(2), queued(3, 500, &[1, 2])]));
    let before = rig.engine.messages();
    rig.forget([Key::new(3, 0)].into_iter());
    rig.sync();
    assert_eq!((before, rig.engine.messages()), (2, 1));
    let (mut rig, restored) = open(&disk);
    let queues: Vec<_> = restored
        .sessions
        .iter()
        .map(|session| session.queue.len())
        .collect();
    assert_eq!(queues, [0, 1]);
    let purpose = Purpose::PassOn(2);
    let keys = vec![Key::new(3, 1)];
    rig.handle.load(Load { purpose, keys });
    rig.engine.serve_loads();
    let Some(StoreEvent::Page(page)) = rig.handle.poll() else {
        panic!("there is a page")
    };
    let Found::Message(found) = &page.messages[0].found else {
        panic!("{page:?}")
    };
    assert_eq!(found.message.payload.len(), 500);
    rig.forget([Key::new(3, 1)].into_iter());
    assert_eq!(rig.engine.messages(), 0);
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_messages_have_left() {
    let disk = FaultyDisk::new(3);
    let room = Faults {
        bytes_max: Some(64 << 10),
        ..Faults::default()
    };
    disk.set_faults(room);
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1)]));
    let mut number = 1;
    let kept = (2..1_000).find(|at| {
        number = *at;
        !rig.commit(vec![queued(*at, 200, &[1])])
    });
    assert!(kept.is_some_and(|at| at > 100), "{kept:?}");
    assert!(rig.engine.trouble().is_some() && rig.engine.failure().is_none());
    // What was refused is nowhere, which is not as if it could not be read.
    let purpose = Purpose::PassOn(1);
    let keys = vec![Key::new(number, 0)];
    rig.handle.load(Load { purpose, keys });
    rig.engine.serve_loads();
    let Some(StoreEvent::Page(page)) = rig.handle.poll() else {
        panic!("there is a page")
    };
    assert!(matches!(page.messages[0].found, Found::Nothing), "{page:?}");
    assert_eq!(rig.engine.unreadable().0, 0);
    rig.forget((2..number).map(|number| Key::new(number, 0)));
    rig.clean();
    assert!(rig.commit(vec![queued(number + 1, 200, &[1])]));
    assert_eq!(rig.engine.trouble(), None);
    let (_, restored) = open(&disk);
    assert_eq!(restored.sessions[0].queue, [Key::new(number + 1, 0)]);
}

#[test]
fn after_a_sync_that_failed_nothing_is_promised_until_it_is_opened_anew() {
    let disk = FaultyDisk::new(4);
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1), queued(2, 10, &[1])]));
    disk.set_faults(Faults {
        syncs_one_in: 1,
        ..Faults::default()
    });
    assert!(!rig.commit(vec![queued(3, 10, &[1])]));
    disk.set_faults(Faults::default());
    assert!(!rig.commit(vec![queued(4, 10, &[1])]), "it is not tried again");
    assert!(rig.engine.failure().is_some());
    let (mut rig, restored) = open(&disk);
    assert!(restored.sessions[0].queue.contains(&Key::new(2, 0)));
    assert!(!restored.sessions[0].queue.contains(&Key::new(4, 0)));
    assert!(rig.commit(vec![queued(5, 10, &[1])]));
}

#[test]
fn a_retained_message_that_was_replaced_before_it_came_does_not_come() {
    let disk = FaultyDisk::new(5);
    let (mut rig, _) = open(&disk);
    let retained = |version, replaces| Change::Retained {
        message: message(0, version as usize),
        version,
        expires_at_ms: None,
        replaces,
    };
    // Two shards: the second was faster to hand over what came later.
    assert!(rig.commit(vec![retained(2, vec![1])]));
    assert!(rig.commit(vec![retained(1, vec![])]));
    let (mut rig, restored) = open(&disk);
    let versions: Vec<_> = restored.retained.iter().map(|kept| kept.version).collect();
    assert_eq!(versions, [2]);
    assert!(rig.commit(vec![Change::Cleared { versions: vec![2] }]));
    assert!(open(&disk).1.retained.is_empty());
}

#[test]
fn on_a_full_disk_clients_come_back_and_new_ones_do_not() {
    let disk = FaultyDisk::new(5);
    // An eighth of the reserve is more than one step of it.
    let mut limits = limits();
    limits.journal.reserve_bytes = 1 << 20;
    disk.set_faults(Faults {
        bytes_max: Some((1 << 20) + (64 << 10)),
        ..Faults::default()
    });
    let (mut rig, _) = open_with(&disk, limits);
    assert!(rig.commit(vec![session(1)]));
    let mut number = 2;
    while rig.commit(vec![queued(number, 500, &[1])]) {
        number += 1;
    }
    // Nor is there room for what is short.
    while rig.commit(vec![queued(number, 0, &[1])]) {
        number += 1;
    }
    let id = martlet_codec::PacketId::new(1).unwrap();
    let sending = Change::Sending {
        session: 1,
        id,
        key: Some(Key::new(2, 0)),
        order: number,
    };
    assert!(rig.commit(vec![session(1)]) && rig.commit(vec![sending]));
    assert!(rig.engine.trouble().is_some());
    assert!(!rig.commit(vec![session(number + 1)]));
    // What leaves does not say that there is room.
    rig.forget([Key::new(2, 0)].into_iter());
    assert!(rig.engine.trouble().is_some());
}

#[test]
fn room_is_made_of_what_has_left_although_a_little_found_some() {
    let disk = FaultyDisk::new(9);
    disk.set_faults(Faults {
        bytes_max: Some(2 << 20),
        ..Faults::default()
    });
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1)]));
    let mut number = 3;
    while rig.commit(vec![queued(number, 50_000, &[1])]) {
        number += 1;
    }
    rig.forget((3..number).map(|number| Key::new(number, 0)));
    // A little fits all the time, so the last batch was not refused.
    while rig.engine.trouble().is_some() {
        number += 1;
        rig.commit(vec![queued(number, 0, &[1])]);
    }
    let found = (0..100).any(|_| {
        rig.clean();
        number += 1;
        rig.commit(vec![queued(number, 0, &[1])]);
        rig.engine.seeks_room() && rig.engine.finds_room()
    });
    assert!(found && !rig.engine.seeks_room());
    assert!(rig.commit(vec![queued(number + 1, 50_000, &[1])]));
}

#[test]
fn what_has_left_is_gone_even_if_the_rest_of_its_turn_is_refused() {
    let disk = FaultyDisk::new(7);
    disk.set_faults(Faults {
        bytes_max: Some(64 << 10),
        ..Faults::default()
    });
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1)]));
    let mut number = 3;
    while rig.commit(vec![queued(number, 200, &[1])]) {
        number += 1;
    }
    let messages = rig.engine.messages();
    // Somebody waits for the message, and nobody for what has left.
    let done = Change::Done { key: Key::new(4, 0) };
    let batch = Batch {
        ticket: Some(Ticket(0)),
        durability: Durability::Fsync,
        changes: vec![done, queued(number + 1, 2_000, &[1])],
        is_loose: true,
    };
    rig.handle.submit(NOW, batch);
    rig.handle.flush();
    rig.engine.write();
    assert!(matches!(rig.handle.poll(), Some(StoreEvent::Failed(Ticket(0)))));
    rig.engine.write();
    assert_eq!((rig.engine.messages(), rig.engine.lost()), (messages - 1, 1));
}

#[test]
fn a_full_disk_says_so_and_one_message_that_is_too_large_does_not() {
    let disk = FaultyDisk::new(8);
    let full = |bytes_max| Faults {
        bytes_max: Some(bytes_max),
        ..Faults::default()
    };
    disk.set_faults(full(1 << 20));
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1)]));
    assert!(!rig.commit(vec![queued(2, 2_000_000, &[1])]));
    assert!(!rig.handle.refuses());
    let mut number = 3;
    while rig.commit(vec![queued(number, 10_000, &[1])]) {
        number += 1;
    }
    assert!(rig.handle.refuses() && !rig.engine.finds_room());
    disk.set_faults(full(2 << 20));
    assert!(rig.engine.finds_room() && !rig.handle.refuses());
}

#[test]
fn what_a_session_left_to_another_one_is_lost_if_its_end_is_refused() {
    let disk = FaultyDisk::new(6);
    disk.set_faults(Faults {
        bytes_max: Some(64 << 10),
        ..Faults::default()
    });
    let (mut rig, _) = open(&disk);
    assert!(rig.commit(vec![session(1), session(2)]));
    let mut number = 3;
    while rig.commit(vec![queued(number, 200, &[1])]) {
        number += 1;
    }
    let over = |number| Change::Ended {
        number,
        subscriptions: Vec::new(),
        keys: Vec::new(),
        received: Vec::new(),
        sent: Vec::new(),
    };
    // CONNACK says that there are no new sessions.
    let new = (number + 1..number + 100).map(session);
    assert!(!rig.commit(std::iter::once(over(1)).chain(new).collect()));
    assert_eq!(rig.engine.lost(), 0);
    assert!(!rig.commit(vec![over(2), queued(number + 100, 2_000, &[1])]));
    assert_eq!(rig.engine.lost(), 1, "nobody else says so");
}
