//! Power cuts at every point of what was done to the disk, with what was not synced lost, kept or torn.

#[path = "rig/planted.rs"]
mod planted;
mod rig;

use std::panic::{AssertUnwindSafe, catch_unwind};

use martlet_journal::disk::Faults;
use martlet_journal::{Disk, Error, FaultyDisk, Limits};
use planted::{BUGS, Bug, Planted};
use rig::{Draws, LIMITS, Rig, Step, batches_of, check_reads, open};

/// Each is a run of steps, all of whose points are cut by `CUTS` seeds.
const RUNS: u64 = 40;
const STEPS: u64 = 60;
const CUTS: u64 = 8;

/// So many batches were durable and so many had been appended when so many things had been done to the disk.
struct Mark {
    recorded: usize,
    durable: usize,
    appended: usize,
}

fn runs() -> u64 {
    std::env::var("JOURNAL_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(RUNS)
}

#[test]
fn what_was_durable_is_there_after_every_cut() {
    let cuts: u64 = (0..runs()).map(|seed| cut_everywhere(seed, None)).sum();
    println!("{cuts} power cuts");
}

/// Cuts the power at each point of a run. Returns how often.
fn cut_everywhere(seed: u64, bug: Option<Bug>) -> u64 {
    let (rig, marks) = record(seed, bug);
    let mut cuts = 0;
    rig.disk.disk.each_cut(|done, volume| {
        let (durable, appended) = at(&marks, done);
        for cut in 0..CUTS {
            let name = format!("seed {seed}, after {done}, cut {cut}");
            let disk = FaultyDisk::with_files(files(&volume.cut(cut.max(cut * seed))), cut);
            check_after_cut(&Planted::new(disk, bug), &rig, durable, appended, &name);
            cuts += 1;
        }
    });
    cuts
}

/// A cut while a journal is being opened after a cut loses nothing that was there.
#[test]
fn a_cut_while_opening_loses_nothing() {
    for seed in 0..runs() / 4 {
        let (rig, marks) = record(seed, None);
        let (mut next, step) = (0, 1 + seed as usize % 7);
        rig.disk.disk.each_cut(|done, volume| {
            if done != next {
                return;
            }
            next += step;
            let (durable, appended) = at(&marks, done);
            let disk = FaultyDisk::with_files(files(&volume.cut(2 + seed)), seed);
            disk.record();
            open(disk.clone(), LIMITS).unwrap();
            disk.each_cut(|again, volume| {
                for cut in 0..4 {
                    let name = format!("seed {seed}, after {done}, again {again}, cut {cut}");
                    let disk = FaultyDisk::with_files(files(&volume.cut(cut)), cut);
                    check_after_cut(&Planted::new(disk, None), &rig, durable, appended, &name);
                }
            });
        });
    }
}

/// How many batches were durable at least, and how many had been appended at most, after so many things.
fn at(marks: &[Mark], done: usize) -> (usize, usize) {
    let before = marks.iter().take_while(|mark| mark.recorded <= done).last();
    let after = marks.iter().find(|mark| mark.recorded >= done).or(before);
    (before.unwrap().durable, after.unwrap().appended)
}

/// A test that finds no bug that is there would prove nothing.
#[test]
fn bugs_that_are_planted_are_found() {
    for bug in BUGS {
        let finds = |seed: &u64| {
            let run = || match bug {
                Bug::SyncsAgain => fail_now_and_then(*seed, Some(bug), &mut Counts::default()),
                _ => drop(cut_everywhere(*seed, Some(bug))),
            };
            catch_unwind(AssertUnwindSafe(run)).is_err()
        };
        let found = (0..RUNS).find(finds);
        assert!(found.is_some(), "{bug:?} is not found in {RUNS} runs");
        println!("{bug:?}: found by seed {found:?}");
    }
}

fn record(seed: u64, bug: Option<Bug>) -> (Rig<Planted>, Vec<Mark>) {
    let disk = FaultyDisk::new(seed);
    disk.record();
    let mut draws = Draws(seed);
    let mut rig = Rig::new(Planted::new(disk, bug), LIMITS);
    let mut marks = vec![Mark {
        recorded: 0,
        durable: 0,
        appended: 0,
    }];
    for _ in 0..STEPS {
        rig.step_with_bug(&draws.step()).unwrap();
        let recorded = rig.disk.disk.recorded();
        marks.push(Mark {
            recorded,
            durable: rig.durable,
            appended: rig.states.len() - 1,
        });
    }
    (rig, marks)
}

fn check_after_cut(disk: &Planted, rig: &Rig<Planted>, durable: usize, appended: usize, name: &str) {
    let (mut journal, index, report) =
        open(disk.clone(), LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(
        !report.has_damage() && report.snapshots_damaged.is_empty(),
        "{name}: a cut is no damage: {report}"
    );
    let count = batches_of(&index, &rig.states);
    assert!(
        (durable..=appended).contains(&count),
        "{name}: {durable} durable, {appended} appended, {count} there"
    );
    check_reads(&mut journal, &index);
    // What was found is durable now.
    drop(journal);
    disk.disk.cut_power();
    let (_, again, report) = open(disk.clone(), LIMITS).unwrap();
    assert!(
        !report.has_damage() && report.snapshots_damaged.is_empty() && report.cut.is_none(),
        "{name}: {report}"
    );
    assert_eq!(again.state(), index.state(), "{name}: lost by a second cut");
}

fn files(disk: &impl Disk) -> Vec<(String, Vec<u8>)> {
    use martlet_journal::DiskFile;
    let read = |entry: martlet_journal::disk::Entry| {
        let mut bytes = vec![0; entry.bytes as usize];
        disk.open(&entry.name).unwrap().read_at(0, &mut bytes).unwrap();
        (entry.name, bytes)
    };
    disk.list().unwrap().into_iter().map(read).collect()
}

#[derive(Default)]
struct Counts {
    poisoned: usize,
    full: usize,
}

/// Everything fails now and then, the disk is full now and then, the power goes: nothing durable is lost, nothing
/// that failed is there.
#[test]
fn failures_of_all_kinds_lose_nothing() {
    let mut counts = Counts::default();
    for seed in 0..runs() * 20 {
        fail_now_and_then(seed, None, &mut counts);
    }
    let Counts { poisoned, full } = counts;
    assert!(poisoned > 100 && full > 100, "{poisoned} {full}");
}

fn fail_now_and_then(seed: u64, bug: Option<Bug>, counts: &mut Counts) {
    let mut draws = Draws(seed);
    let disk = FaultyDisk::new(seed);
    let limits = Limits {
        reserve_bytes: if seed.is_multiple_of(2) { 0 } else { 700 },
        ..LIMITS
    };
    let mut rig = Rig::new(Planted::new(disk.clone(), bug), limits);
    let faults = Faults {
        writes_one_in: 10,
        syncs_one_in: 12,
        others_one_in: 20,
        bytes_max: Some(1500 + draws.below(6000)),
        reads_one_in: 0,
    };
    for _ in 0..120 {
        disk.set_faults(faults);
        let step = draws.step();
        let failed = rig.step(&step).err();
        disk.set_faults(Faults::default());
        counts.full += usize::from(matches!(failed, Some(Error::NoSpace { .. })));
        counts.poisoned += usize::from(matches!(failed, Some(Error::SyncFailed { .. })));
        let cut = draws.below(20) == 0;
        if cut {
            disk.cut_power();
        }
        // A journal beside one that did not open is of no use.
        let unopened = matches!(step, Step::Reopen) && failed.is_some();
        if cut || unopened || rig.journal.poison().is_some() || draws.below(20) == 0 {
            come_back(&mut rig, cut, &format!("seed {seed}, {step:?}"));
        }
    }
}

fn come_back(rig: &mut Rig<Planted>, cut: bool, name: &str) {
    let (journal, index, report) = open(rig.disk.clone(), rig.limits).unwrap();
    assert!(
        !report.has_damage() && report.snapshots_damaged.is_empty(),
        "{name}: {report}"
    );
    let count = batches_of(&index, &rig.states);
    assert!(
        count >= rig.durable,
        "{name}: {} durable, {count} there",
        rig.durable
    );
    let certain = rig.certain;
    assert!(
        cut || count >= certain,
        "{name}: the process alone crashed, {count} of {certain} are there: {report}"
    );
    rig.continue_with(journal, index, count);
    rig.check();
}

/// The sync that failed is not tried again, and what it lost is written again when the journal is opened.
#[test]
fn a_failed_sync_poisons() {
    for seed in 0..100 {
        let disk = FaultyDisk::new(seed);
        let mut rig = Rig::new(disk.clone(), LIMITS);
        let batch = || {
            vec![rig::Batch {
                puts: vec![(seed, 700)],
                kills: vec![],
            }]
        };
        rig.append(&batch()).unwrap();
        disk.set_faults(Faults {
            syncs_one_in: 1,
            ..Faults::default()
        });
        assert!(matches!(rig.journal.sync(), Err(Error::SyncFailed { .. })));
        disk.set_faults(Faults::default());
        assert!(matches!(rig.journal.sync(), Err(Error::Poisoned { .. })));
        assert!(matches!(rig.append(&batch()), Err(Error::Poisoned { .. })));
        check_reads(&mut rig.journal, &rig.index);
        rig.reopen().unwrap();
        disk.cut_power();
        rig.reopen().unwrap();
        assert_eq!(rig.durable, 1);
    }
}

#[test]
fn a_full_disk_harms_nothing() {
    let disk = FaultyDisk::new(1);
    let mut rig = Rig::new(disk.clone(), LIMITS);
    let put = |key| {
        vec![
            rig::Batch {
                puts: vec![(key, 100)],
                kills: vec![]
            };
            2
        ]
    };
    rig.append(&put(1)).unwrap();
    disk.set_faults(Faults {
        bytes_max: Some(700),
        ..Faults::default()
    });
    let error = (2..10).find_map(|key| rig.append(&put(key)).err()).unwrap();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    rig.step(&Step::Sync).unwrap();
    disk.set_faults(Faults::default());
    rig.append(&put(20)).unwrap();
    rig.step(&Step::Sync).unwrap();
    rig.reopen().unwrap();
}
