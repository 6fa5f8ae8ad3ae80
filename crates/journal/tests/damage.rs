//! Damage of each kind: what is left is served, and the report says what is not.

mod rig;

use martlet_journal::{Cleaned, Disk, DiskFile, Journal, Limits, MemoryDisk};
use rig::{Batch, LIMITS, Ledger, Rig, State, Step, check_reads, open};

/// A journal of several segments, each batch synced: key `n` has `n` in it.
fn filled(keys: u64) -> Rig<MemoryDisk> {
    let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
    for key in 1..=keys {
        rig.append(&[Batch {
            puts: vec![(key, 100)],
            kills: vec![],
        }])
        .unwrap();
        rig.step(&Step::Sync).unwrap();
    }
    rig
}

fn flip(disk: &MemoryDisk, name: &str, offset: u64) {
    let file = disk.open(name).unwrap();
    let mut byte = [0];
    file.read_at(offset, &mut byte).unwrap();
    file.write_at(offset, &[byte[0] ^ 1]).unwrap();
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().map(|entry| entry.name).collect()
}

/// Which of the batches are there.
fn keys(index: &Ledger) -> Vec<u64> {
    index
        .entries
        .keys()
        .copied()
        .filter(|key| *key < rig::COUNTERS)
        .collect()
}

#[test]
fn a_bad_batch_in_the_middle_costs_that_batch() {
    let rig = filled(12);
    let place = rig.index.entries[&5].0;
    let name = format!("{:08x}.seg", place.segment);
    flip(&rig.disk, &name, u64::from(place.offset) + 40);
    drop(rig.journal);

    let (mut journal, index, report) = open(rig.disk.clone(), LIMITS).unwrap();
    assert_eq!(keys(&index), [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]);
    check_reads(&mut journal, &index);
    let damage = &report.damage[0];
    assert_eq!(
        (report.damage.len(), &damage.name),
        (1, &name.replace(".seg", ".damaged"))
    );
    assert!(damage.from < place.offset && place.offset + place.bytes < damage.to);
    assert!(
        report
            .to_string()
            .contains(&format!("damaged: bytes {} to {} of ", damage.from, damage.to)),
        "{report}"
    );
    assert!(names(&rig.disk).contains(&damage.name) && !names(&rig.disk).contains(&name));

    // It is the same when it is opened again, and the segment is emptied first.
    drop(journal);
    let (mut journal, mut index, again) = open(rig.disk.clone(), LIMITS).unwrap();
    assert_eq!(again.damage, report.damage);
    let cleaned = journal.clean(&mut index, 1 << 20).unwrap();
    assert_eq!(
        cleaned,
        Cleaned::Emptied {
            segment: place.segment,
            damaged: true
        }
    );
    journal.sync().unwrap();
    journal.clean(&mut index, 1 << 20).unwrap();
    journal.sync().unwrap();
    check_reads(&mut journal, &index);
    let emptied = name.replace(".seg", ".emptied");
    assert!(names(&rig.disk).contains(&emptied), "{:?}", names(&rig.disk));
    drop(journal);
    let (_, index, report) = open(rig.disk, LIMITS).unwrap();
    assert_eq!(keys(&index), [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(
        (report.damage.len(), report.missing.len(), report.unused),
        (0, 0, vec![emptied])
    );
}

#[test]
fn any_bit_may_flip() {
    let rig = filled(8);
    drop(rig.journal);
    for entry in rig.disk.list().unwrap() {
        for offset in 0..entry.bytes {
            let copy = MemoryDisk::with_files(rig.disk.list().unwrap().into_iter().map(|entry| {
                let bytes = rig.disk.contents(&entry.name).unwrap();
                (entry.name, bytes)
            }));
            flip(&copy, &entry.name, offset);
            let name = format!("{} byte {offset}", entry.name);
            let (mut journal, index, report) = open(copy, LIMITS).unwrap();
            let lost = 8 - keys(&index).len();
            assert!(lost <= 1, "{name}: {lost} lost: {report}");
            assert!(
                lost == 0 || report.has_damage() || report.cut.is_some(),
                "{name}: {report}"
            );
            check_reads(&mut journal, &index);
        }
    }
}

#[test]
fn an_end_that_is_not_whole_is_cut() {
    let mut rig = filled(3);
    let end = rig.journal.end();
    rig.append(&[Batch {
        puts: vec![(9, 100)],
        kills: vec![],
    }])
    .unwrap();
    let last = rig.journal.end();
    let name = format!("{:08x}.seg", last.segment);
    assert_eq!(end.segment, last.segment);
    for bytes in end.offset..last.offset {
        rig.disk
            .open(&name)
            .unwrap()
            .truncate(u64::from(last.offset))
            .unwrap();
        rig.disk.open(&name).unwrap().truncate(u64::from(bytes)).unwrap();
        let (journal, index, report) = open(rig.disk.clone(), LIMITS).unwrap();
        assert_eq!(keys(&index), [1, 2, 3]);
        assert_eq!(journal.end(), end);
        assert!(!report.has_damage());
        assert_eq!(
            report.cut.map(|cut| (cut.at, cut.bytes)),
            (bytes > end.offset).then(|| (end, u64::from(bytes - end.offset)))
        );
    }
}

#[test]
fn a_damaged_snapshot_falls_back() {
    let mut rig = filled(6);
    let before = rig.index.state();
    rig.step(&Step::Snapshot).unwrap();
    rig.append(&[Batch {
        puts: vec![(7, 10)],
        kills: vec![2],
    }])
    .unwrap();
    rig.step(&Step::Snapshot).unwrap();
    let snapshots: Vec<String> = names(&rig.disk)
        .into_iter()
        .filter(|name| name.contains(".snap"))
        .collect();
    assert_eq!(snapshots.len(), 2);
    assert_ne!(before, rig.index.state());
    for damaged in 0..=2 {
        if let Some(name) = snapshots
            .iter()
            .rev()
            .nth(damaged - usize::from(damaged > 0))
            .filter(|_| damaged > 0)
        {
            flip(&rig.disk, name, 90);
        }
        let (mut journal, index, report) = open(rig.disk.clone(), LIMITS).unwrap();
        assert_eq!(index.state(), rig.index.state(), "{damaged} damaged");
        assert_eq!(
            report.snapshots_damaged.len(),
            usize::from(damaged > 0),
            "{report}"
        );
        assert_eq!(report.snapshot.is_some(), damaged < 2);
        check_reads(&mut journal, &index);
    }
}

#[test]
fn a_segment_that_is_not_there_is_missed() {
    for snapshot in [false, true] {
        let mut rig = filled(12);
        if snapshot {
            rig.step(&Step::Snapshot).unwrap();
        }
        let gone = rig.index.entries[&5].0.segment;
        rig.disk.remove(&format!("{gone:08x}.seg")).unwrap();
        let (mut journal, index, report) = open(rig.disk.clone(), LIMITS).unwrap();
        assert_eq!(report.missing, [gone], "{report}");
        // A death was in it too, so what counts batches may have come back.
        let kept: State = rig
            .index
            .state()
            .into_iter()
            .filter(|(key, _)| *key < rig::COUNTERS)
            .collect();
        let left: State = index
            .state()
            .into_iter()
            .filter(|(key, _)| *key < rig::COUNTERS)
            .collect();
        assert!(left.len() < kept.len());
        assert!(left.iter().all(|(key, payload)| kept.get(key) == Some(payload)));
        check_reads(&mut journal, &index);
    }
}

/// Somebody who can choose what is in a record cannot make it pass for a batch when the disk is damaged.
#[test]
fn what_looks_like_a_batch_in_a_record_is_not_found() {
    let build = |salt, payload: &[u8]| {
        let disk = MemoryDisk::default();
        let (mut journal, _) =
            Journal::open(disk.clone(), Limits::default(), salt, &mut Ledger::default()).unwrap();
        let mut group = martlet_journal::Group::new();
        for payload in [&[1; 0x80][..], payload, &[2; 0x80]] {
            group.clear();
            group.put((payload.len() % 0xf0) as u8, payload);
            journal.append(&mut group).unwrap();
            journal.sync().unwrap();
        }
        disk
    };
    // What a batch is at that very place, with another salt.
    let model = build(1, &[3; 400]).contents("00000001.seg").unwrap();
    let first: usize = 32 + 24 + 9 + 0x80 + 7;
    let (record, at) = (first + 24 + 9, first + 24 + 9 + 40);
    let at = at.next_multiple_of(8);
    let forged = {
        let disk = MemoryDisk::default();
        let (mut journal, _) =
            Journal::open(disk.clone(), Limits::default(), 1, &mut Ledger::default()).unwrap();
        let mut group = martlet_journal::Group::new();
        group.put_with(0, |bytes| bytes.resize(bytes.len() + at - 32 - 24 - 9, 0));
        journal.append(&mut group).unwrap();
        group.clear();
        group.put(16, &[9; 16]);
        journal.append(&mut group).unwrap();
        disk.contents("00000001.seg").unwrap()[at..].to_vec()
    };
    let mut payload = vec![3; 400];
    payload[at - record..][..forged.len()].copy_from_slice(&forged);
    assert_eq!(
        model.len(),
        build(1, &payload).contents("00000001.seg").unwrap().len()
    );
    for (salt, found) in [(1, true), (2, false)] {
        let disk = build(salt, &payload);
        flip(&disk, "00000001.seg", record as u64);
        let (_, index, report) = open(disk, Limits::default()).unwrap();
        let forged = index.entries.values().any(|(_, payload)| payload == &[9; 16]);
        assert_eq!(forged, found, "salt {salt}: {report}");
        assert!(report.has_damage());
    }
}

/// The only header that was right goes with a segment that was never durable; the salt is known all the same.
#[test]
fn the_salt_outlives_the_last_right_header() {
    for aside in [true, false] {
        let disk = MemoryDisk::default();
        let (mut journal, _) = Journal::open(disk.clone(), LIMITS, 1, &mut Ledger::default()).unwrap();
        let mut group = martlet_journal::Group::new();
        let mut ends = Vec::new();
        for key in 0..4u64 {
            group.clear();
            let mut payload = key.to_le_bytes().to_vec();
            payload.resize(0x90, 0);
            group.put(0x90, &payload);
            ends.push(journal.append(&mut group).unwrap());
            if key < 2 {
                journal.sync().unwrap();
            }
        }
        drop(journal);
        assert_eq!((ends[2].segment, ends[3].segment), (1, 2));
        // A power cut takes the third, damage the header and the first.
        let file = disk.open("00000001.seg").unwrap();
        file.truncate(u64::from(ends[1].offset)).unwrap();
        flip(&disk, "00000001.seg", 12);
        flip(&disk, "00000001.seg", 40);
        if !aside {
            disk.remove("00000002.seg").unwrap();
        }
        for salt in 2..5 {
            let mut index = Ledger::default();
            let (mut journal, report) = Journal::open(disk.clone(), LIMITS, salt, &mut index).unwrap();
            assert_eq!(keys(&index), [1], "opened with {salt}: {report}");
            check_reads(&mut journal, &index);
            let torn = names(&disk).contains(&"00000002.torn".to_owned());
            assert_eq!(torn, aside, "{:?}", names(&disk));
        }
    }
}

/// What somebody else put into the folder stays, and moves no number.
#[test]
fn files_of_strangers_stay_and_count_for_nothing() {
    let rig = filled(3);
    let next = rig.journal.end().segment + 1;
    let strangers = [
        "+0000001.seg",
        "00000000.seg",
        "0000000A.seg",
        "20261128-backup",
        "20261128-backup.snap",
        "ffffffff",
        "ffffffff.seg",
        "notes.tmp",
        "snapshot-new.tmp",
    ];
    for name in strangers.iter().chain(&["snapshot-7.tmp"]) {
        let file = rig.disk.create(name).unwrap();
        file.write_at(0, b"a stranger's").unwrap();
    }
    drop(rig.journal);

    let (mut journal, index, report) = open(rig.disk.clone(), LIMITS).unwrap();
    assert_eq!(report.unused, strangers);
    assert_eq!(keys(&index), [1, 2, 3]);
    assert!(!report.has_damage(), "{report}");
    let left = names(&rig.disk);
    assert!(
        !left.contains(&"snapshot-7.tmp".to_owned()),
        "it is ours, and unfinished"
    );
    for name in strangers {
        assert_eq!(rig.disk.contents(name).unwrap(), b"a stranger's", "{name}");
    }
    let mut group = martlet_journal::Group::new();
    while journal.end().segment < next {
        group.clear();
        group.put(0x90, &[0; 400]);
        journal.append(&mut group).unwrap();
    }
    assert_eq!(journal.end().segment, next);
}

/// A look that takes no snapshot believes what it says of the log: an end that is not there was lost.
#[test]
fn an_end_that_a_snapshot_knows_is_missed() {
    let build = || {
        let mut rig = filled(6);
        rig.step(&Step::Snapshot).unwrap();
        rig.disk
    };
    let last = build().list().unwrap().into_iter().map(|entry| entry.name);
    let last = last.filter(|name| name.contains(".seg")).max().unwrap();
    let number = u32::from_str_radix(&last[..8], 16).unwrap();
    let bytes = build().contents(&last).unwrap().len() as u64;
    for left in 0..bytes {
        let disk = build();
        disk.open(&last).unwrap().truncate(left).unwrap();
        let mut index = WithoutSnapshots(Ledger::default());
        let (mut journal, report) = Journal::open(disk.clone(), LIMITS, 1, &mut index).unwrap();
        assert!(report.has_damage(), "{left} left: {report}");
        assert!(keys(&index.0).len() < 6);
        check_reads(&mut journal, &index.0);
        assert_eq!(
            report.missing.contains(&number),
            left == 0,
            "{left} left: {report}"
        );
        // What is written then is found again.
        let mut group = martlet_journal::Group::new();
        group.put(0x90, &[7; 0x90]);
        journal.append(&mut group).unwrap();
        journal.sync().unwrap();
        let place = group.places().next().unwrap();
        drop(journal);
        let mut index = WithoutSnapshots(Ledger::default());
        Journal::open(disk.clone(), LIMITS, 1, &mut index).unwrap();
        let found = |index: &Ledger| index.entries.values().any(|(at, _)| *at == place);
        assert!(found(&index.0), "{left} left");
        assert!(found(&open(disk, LIMITS).unwrap().1), "{left} left");
    }
}

/// Once it is said that a segment is known to be gone, nobody misses it again, with snapshots or without.
#[test]
fn what_is_given_up_is_not_missed_again() {
    for snapshot in [false, true] {
        let mut rig = filled(12);
        if snapshot {
            rig.step(&Step::Snapshot).unwrap();
        }
        let gone = rig.index.entries[&5].0.segment;
        rig.disk.remove(&format!("{gone:08x}.seg")).unwrap();
        let (mut journal, mut index, report) = open(rig.disk.clone(), LIMITS).unwrap();
        assert_eq!(report.missing, [gone]);
        journal.give_up(&report.missing).unwrap();
        journal.sync().unwrap();
        // Also when what says so has been cleaned and copied.
        for _ in 0..3 {
            while journal.clean(&mut index, 1 << 20).unwrap() != Cleaned::Nothing {
                journal.sync().unwrap();
            }
            drop(journal);
            let mut looked = WithoutSnapshots(Ledger::default());
            let (_, report) = Journal::open(rig.disk.clone(), LIMITS, 1, &mut looked).unwrap();
            assert_eq!(report.missing, [0; 0], "snapshot: {snapshot}");
            let report;
            (journal, index, report) = open(rig.disk.clone(), LIMITS).unwrap();
            assert_eq!(report.missing, [0; 0], "snapshot: {snapshot}");
        }
    }
}

/// An index that has everything replayed.
struct WithoutSnapshots(Ledger);

impl martlet_journal::Index for WithoutSnapshots {
    fn clear(&mut self) {
        self.0.clear();
    }
    fn takes_snapshots(&self) -> bool {
        false
    }
    fn snapshot(&mut self, _: &[u8]) {}
    fn snapshot_ends(&mut self) -> bool {
        false
    }
    fn gone(&mut self, segments: &[u32]) {
        self.0.gone(segments);
    }
    fn put(&mut self, record: martlet_journal::Record<'_>) {
        self.0.put(record);
    }
    fn killed(&mut self, place: martlet_journal::Place) {
        self.0.killed(place);
    }
    fn is_live(&self, record: &martlet_journal::Record<'_>) -> bool {
        self.0.is_live(record)
    }
    fn moved(&mut self, record: &martlet_journal::Record<'_>, to: martlet_journal::Place) {
        self.0.moved(record, to);
    }
}
