//! A look at a journal changes nothing and sees everything.

mod rig;

use std::collections::BTreeMap;
use std::path::PathBuf;

use martlet_journal::{Disk, DiskFile, Error, Inspection, Logged, MemoryDisk, RealDisk};
use rig::{Draws, LIMITS, Ledger, Rig, Step, open};

fn files(disk: &MemoryDisk) -> BTreeMap<String, Vec<u8>> {
    let file = |name: String| (name.clone(), disk.contents(&name).unwrap());
    disk.list()
        .unwrap()
        .into_iter()
        .map(|entry| file(entry.name))
        .collect()
}

fn flip(disk: &MemoryDisk, name: &str, offset: u64) {
    let file = disk.open(name).unwrap();
    let mut byte = [0];
    file.read_at(offset, &mut byte).unwrap();
    file.write_at(offset, &[byte[0] ^ 1]).unwrap();
}

/// After any steps, and with any byte damaged, it finds what opening finds.
#[test]
fn it_finds_what_opening_finds() {
    for seed in 0..300 {
        let mut draws = Draws(seed);
        let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
        for _ in 0..40 {
            rig.step(&draws.step()).unwrap();
        }
        let entries = rig.disk.list().unwrap();
        let damaged = seed % 3 > 0 && !entries.is_empty();
        if damaged {
            let entry = &entries[draws.below(entries.len() as u64) as usize];
            flip(&rig.disk, &entry.name, draws.below(entry.bytes.max(1)));
        }
        let before = files(&rig.disk);
        let mut looked = Ledger::default();
        let mut inspection = Inspection::new(rig.disk.clone(), LIMITS, &mut looked).unwrap();
        let damage = inspection.read_all(|_| {}).unwrap();
        let names = damage.iter().map(|damage| &damage.name);
        for name in names.chain(&inspection.report().unused) {
            assert!(before.contains_key(name), "seed {seed}: {name}");
        }
        for (place, payload) in looked.entries.values() {
            let mut read = Vec::new();
            match inspection.read(*place, &mut read) {
                Ok(_) => assert_eq!(&read, payload),
                Err(error) => assert!(!damage.is_empty(), "seed {seed}: {error}"),
            }
        }
        assert_eq!(files(&rig.disk), before, "seed {seed}");

        let (journal, opened, report) = open(rig.disk.clone(), LIMITS).unwrap();
        assert_eq!(looked.entries, opened.entries, "seed {seed}");
        let seen = inspection.report();
        assert_eq!((seen.batches, seen.records), (report.batches, report.records));
        assert_eq!(seen.cut.is_some(), report.cut.is_some());
        assert_eq!(seen.damage.len(), report.damage.len());
        assert_eq!(inspection.live_bytes(), journal.live_bytes());
        assert!(damage.len() >= report.damage.len());
        assert!(
            damaged || (damage.is_empty() && !seen.has_damage()),
            "seed {seed}"
        );
    }
}

/// What lives can be told from the records and the deaths alone.
#[test]
fn it_reads_everything_in_order() {
    for seed in 0..50 {
        let mut draws = Draws(seed);
        let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
        for _ in 0..60 {
            rig.step(&draws.step()).unwrap();
        }
        let inspection = Inspection::new(rig.disk.clone(), LIMITS, &mut Ledger::default()).unwrap();
        let mut found = BTreeMap::new();
        let damage = inspection
            .read_all(|logged| match logged {
                Logged::Put(record) => {
                    found.insert(record.place, record.payload.to_vec());
                }
                Logged::Killed(place) => {
                    found.remove(&place);
                }
                Logged::Emptied(_) => {}
            })
            .unwrap();
        assert_eq!(damage, []);
        let lives: BTreeMap<_, _> = rig.index.entries.values().cloned().collect();
        assert_eq!(found, lives, "seed {seed}");
        let bytes: u64 = inspection
            .segments()
            .map(|segment| u64::from(segment.bytes))
            .sum();
        assert_eq!(bytes, inspection.bytes());
    }
}

/// Opening does not read what is behind a snapshot; this does.
#[test]
fn damage_behind_a_snapshot_is_found() {
    let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
    let put = |key| rig::Batch {
        puts: vec![(key, 100)],
        kills: vec![],
    };
    rig.append(&[put(1)]).unwrap();
    rig.append(&[put(2)]).unwrap();
    rig.step(&Step::Snapshot).unwrap();
    let place = rig.index.entries[&1].0;
    flip(&rig.disk, "00000001.seg", u64::from(place.offset) + 20);
    let inspection = Inspection::new(rig.disk.clone(), LIMITS, &mut Ledger::default()).unwrap();
    assert!(!inspection.report().has_damage());
    let mut left = 0;
    let damage = inspection
        .read_all(|logged| left += usize::from(matches!(logged, Logged::Put(_))))
        .unwrap();
    assert_eq!((damage.len(), &*damage[0].name), (1, "00000001.seg"));
    assert!(damage[0].from < place.offset && place.offset + place.bytes < damage[0].to);
    assert!(left > 0);
}

#[test]
fn a_torn_end_is_seen_and_stays() {
    let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
    let put = |key| rig::Batch {
        puts: vec![(key, 100)],
        kills: vec![],
    };
    rig.append(&[put(1)]).unwrap();
    rig.step(&Step::Sync).unwrap();
    let end = rig.journal.end();
    rig.append(&[put(2)]).unwrap();
    let file = rig.disk.open("00000001.seg").unwrap();
    file.truncate(u64::from(end.offset) + 50).unwrap();
    let before = files(&rig.disk);
    let inspection = Inspection::new(rig.disk.clone(), LIMITS, &mut Ledger::default()).unwrap();
    let cut = inspection.report().cut.clone().unwrap();
    assert_eq!((cut.at, cut.bytes), (end, 50));
    assert_eq!(inspection.read_all(|_| {}).unwrap(), []);
    assert_eq!(inspection.segments().next().unwrap().bytes, end.offset);
    assert_eq!(files(&rig.disk), before);
}

#[test]
fn a_real_folder_can_be_read_but_not_by_two() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("inspected");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert!(matches!(
        RealDisk::open_to_read(&folder, "nobody"),
        Err(Error::Disk { .. })
    ));
    let disk = RealDisk::open(&folder, "a broker, process 7").unwrap();
    let mut rig = Rig::new(disk, LIMITS);
    let mut draws = Draws(1);
    for _ in 0..60 {
        rig.step(&draws.step()).unwrap();
    }
    let error = RealDisk::open_to_read(&folder, "a look").unwrap_err();
    assert!(
        error.to_string().ends_with("is in use by a broker, process 7"),
        "{error}"
    );
    let state = rig.index.state();
    drop(rig);
    let disk = RealDisk::open_to_read(&folder, "a look").unwrap();
    assert!(disk.create("new").is_err() && disk.remove("00000001.seg").is_err());
    let mut index = Ledger::default();
    let inspection = Inspection::new(disk, LIMITS, &mut index).unwrap();
    assert_eq!(index.state(), state);
    assert_eq!(inspection.read_all(|_| {}).unwrap(), []);
    let error = RealDisk::open(&folder, "a broker, process 8").unwrap_err();
    assert!(error.to_string().ends_with("is in use by a look"), "{error}");
}
