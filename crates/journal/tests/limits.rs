//! What happens at limits, and on a real disk.

mod rig;

use std::path::PathBuf;

use martlet_journal::{
    Disk, DiskFile, Error, FaultyDisk, Group, Journal, Limits, MemoryDisk, Place, RealDisk,
};
use rig::{Batch, LIMITS, Ledger, Rig, Step, check_reads};

fn put(key: u64, bytes: usize) -> Batch {
    Batch {
        puts: vec![(key, bytes)],
        kills: vec![],
    }
}

#[test]
fn too_much_at_once_is_refused() {
    let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
    let error = rig.append(&[put(1, 4096)]).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes_max: 4096, .. }),
        "{error}"
    );
    rig.append(&[put(1, 3000)]).unwrap();
    rig.append(&[put(2, 3000)]).unwrap();
    assert_eq!(
        rig.journal.segment_count(),
        2,
        "a group larger than a segment has one of its own"
    );
    rig.step(&Step::Sync).unwrap();
    rig.reopen().unwrap();
}

#[test]
fn a_full_journal_still_takes_deaths_and_cleaning() {
    let limits = Limits {
        journal_bytes_max: 4000,
        ..LIMITS
    };
    let mut rig = Rig::new(MemoryDisk::default(), limits);
    let mut group = Group::new();
    let mut places: Vec<Place> = Vec::new();
    let error = loop {
        group.clear();
        group.put(208, &[places.len() as u8; 208]);
        match rig.journal.append(&mut group) {
            Ok(_) => places.extend(group.places()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { bytes_max: 4000, .. }), "{error}");
    group.clear();
    for place in &places {
        group.kill(*place);
    }
    rig.journal.append(&mut group).unwrap();
    rig.clean_all().unwrap();
    assert!(rig.journal.bytes() < 1000, "{}", rig.journal.bytes());
    rig.append(&[put(1, 200)]).unwrap();
}

#[test]
fn places_that_are_not_there_are_told_apart() {
    let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
    rig.append(&[put(1, 100)]).unwrap();
    let place = rig.index.entries[&1].0;
    let mut payload = Vec::new();
    let mut read = |place| rig.journal.read(place, &mut payload);
    assert!(read(place).is_ok());
    assert!(matches!(
        read(Place { segment: 9, ..place }),
        Err(Error::Gone { .. })
    ));
    assert!(matches!(
        read(Place {
            offset: place.offset + 1,
            ..place
        }),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(
        read(Place {
            bytes: u32::MAX,
            ..place
        }),
        Err(Error::Damaged { .. })
    ));
}

#[test]
fn cleaning_keeps_the_journal_small() {
    let mut rig = Rig::new(MemoryDisk::default(), LIMITS);
    for round in 0..2000 {
        rig.append(&[put(round % 7, 50)]).unwrap();
        rig.step(&Step::Sync).unwrap();
        rig.step(&Step::Clean(600)).unwrap();
    }
    assert!(
        rig.journal.bytes() < 5000,
        "{} bytes, {} live",
        rig.journal.bytes(),
        rig.journal.live_bytes()
    );
    assert!(rig.disk.list().unwrap().len() < 12);
    rig.check();
    rig.reopen().unwrap();
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    folder
}

#[test]
fn a_real_folder_serves_one_at_a_time() {
    let folder = folder("locked");
    let disk = RealDisk::open(&folder, "first, process 7").unwrap();
    let error = RealDisk::open(&folder, "second").unwrap_err();
    assert!(
        error.to_string().ends_with("is in use by first, process 7"),
        "{error}"
    );
    drop(disk);
    RealDisk::open(&folder, "second").unwrap();
}

#[test]
fn a_real_folder_keeps_what_it_is_given() {
    let folder = folder("kept");
    let disk = RealDisk::open(&folder.join("deep"), "test").unwrap();
    let mut rig = Rig::new(disk, LIMITS);
    let mut draws = rig::Draws(3);
    for _ in 0..200 {
        rig.step(&draws.step()).unwrap();
    }
    rig.clean_all().unwrap();
    rig.reopen().unwrap();
    check_reads(&mut rig.journal, &rig.index);
}

#[test]
fn another_thread_can_sync() {
    let mut journal = Journal::open(MemoryDisk::default(), LIMITS, 1, &mut Ledger::default())
        .unwrap()
        .0;
    let mut group = Group::new();
    group.put(1, b"0");
    let until = journal.append(&mut group).unwrap();
    let job = journal.begin_sync().unwrap().unwrap();
    assert!(matches!(journal.begin_sync(), Err(Error::SyncUnderWay)));
    let thread = std::thread::spawn(move || job.run());
    group.clear();
    group.put(1, b"1");
    journal.append(&mut group).unwrap();
    assert_eq!(journal.end_sync(thread.join().unwrap()).unwrap(), until);
    assert!(journal.durable() < journal.end() && journal.needs_sync());
}

#[test]
fn another_thread_can_read_what_is_removed_meanwhile() {
    let disk = FaultyDisk::new(1);
    let mut rig = Rig::new(disk.clone(), LIMITS);
    rig.append(&[put(1, 300)]).unwrap();
    let (place, payload) = rig.index.entries[&1].clone();
    let reader = rig.journal.reader(place).unwrap();
    rig.append(&[put(1, 301)]).unwrap();
    rig.append(&[put(2, 300)]).unwrap();
    rig.clean_all().unwrap();
    assert!(matches!(rig.journal.reader(place), Err(Error::Gone { .. })));
    let thread = std::thread::spawn(move || {
        let mut read = Vec::new();
        let kind = reader.read(&mut read).unwrap();
        (kind, read)
    });
    assert_eq!(thread.join().unwrap(), ((payload.len() % 0xf0) as u8, payload));
}

#[test]
fn records_are_read_together_and_fail_alone() {
    let disk = MemoryDisk::default();
    let limits = Limits {
        segment_bytes: 20_000,
        group_bytes_max: 1 << 20,
        ..LIMITS
    };
    let mut rig = Rig::new(disk.clone(), limits);
    for key in 0..100 {
        rig.append(&[put(key, key as usize * 20)]).unwrap();
    }
    let order: Vec<u64> = (0..100).chain([7, 3]).chain(90..100).collect();
    let mut places: Vec<Place> = order.iter().map(|key| rig.index.entries[key].0).collect();
    let damaged = places[50];
    let file = disk.open(&format!("{:08x}.seg", damaged.segment)).unwrap();
    file.write_at(u64::from(damaged.offset) + 20, b"damage").unwrap();
    places.push(Place {
        segment: 99,
        ..damaged
    });
    let mut read = Vec::new();
    rig.journal
        .records_reader(places.iter().copied())
        .read(&mut Vec::new(), |place, record| {
            read.push((place, record.map(|record| record.payload.to_vec())));
        });
    assert_eq!(read.len(), places.len());
    for (at, (place, record)) in read.into_iter().enumerate() {
        assert_eq!(place, places[at]);
        match record {
            Ok(payload) => assert_eq!(payload, rig.index.entries[&order[at]].1, "{at}"),
            Err(Error::Damaged { place }) => assert_eq!((at, place), (50, damaged)),
            Err(Error::Gone { .. }) => assert_eq!(at, order.len()),
            Err(error) => panic!("{at}: {error}"),
        }
    }
}
