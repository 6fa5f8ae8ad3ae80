//! A store that no broker runs: looked at, damaged, repaired, exported and imported.

mod common;

use std::collections::BTreeSet;

use martlet_journal::{Disk, DiskFile, Group, Journal, Limits, MemoryDisk};
use martlet_store::Error;
use martlet_store::offline::{ImportError, Importer, Line, Offline, repair};

use common::{Everything, copy};

const LIMITS: Limits = Limits {
    segment_bytes: 700,
    group_bytes_max: 1 << 20,
    journal_bytes_max: u64::MAX,
    open_files_max: 4,
    snapshots_max: 2,
    dead_percent_min: 50,
    reserve_bytes: 0,
};

/// What an export of a small store gives.
const LINES: &str = r#"{"kind":"format","format":1}
{"kind":"session","number":1,"client_id":"device","expiry_s":4294967295,"over":false,"away_since_ms":1700000000000,"sent_up_to":9,"will":null}
{"kind":"session","number":2,"client_id":"gate","expiry_s":60,"over":false,"away_since_ms":null,"sent_up_to":0,"will":{"delay_ms":5000,"expiry_s":null,"message":{"topic":"gone/gate","qos":1,"retain":true,"expires_at_ms":null,"publisher":"gate","properties":[],"payload":"gone"}}}
{"kind":"subscription","number":3,"session":1,"filter":"a/+/b","qos":1,"no_local":true,"retain_as_published":false,"retain_handling":2,"identifier":7}
{"kind":"subscription","number":4,"session":2,"filter":"$share/g/a/#","qos":2,"no_local":false,"retain_as_published":true,"retain_handling":0,"identifier":null}
{"kind":"message","to":{"session":1,"key":327681,"qos":1,"retain":false,"subscription_ids":[7],"shared":null},"message":{"topic":"a/1/b","qos":1,"retain":false,"expires_at_ms":1700000060000,"publisher":"sender","properties":[["content-type","text/plain"],["correlation-data",{"hex":"ff00"}],["user-property",["name","value"]]],"payload":"DRVZ+1000"}}
{"kind":"link","to":{"session":1,"key":393217,"qos":1,"retain":false,"subscription_ids":[],"shared":null}}
{"kind":"link","to":{"session":2,"key":393218,"qos":2,"retain":true,"subscription_ids":[],"shared":"$share/g/a/#"}}
{"kind":"body","number":6,"message":{"topic":"a/2/b","qos":2,"retain":false,"expires_at_ms":null,"publisher":null,"properties":[["payload-format-indicator",1]],"payload":{"hex":"fffe"}}}
{"kind":"retained","version":8,"goes_at_ms":null,"message":{"topic":"state","qos":0,"retain":true,"expires_at_ms":null,"publisher":"gate","properties":[],"payload":"on"}}
{"kind":"retained-link","version":9,"goes_at_ms":1700000000500,"body":6}
{"kind":"received","session":1,"id":11}
{"kind":"sending","session":2,"id":12,"order":5,"key":393218}
{"kind":"releasing","session":2,"id":13,"order":6}
{"kind":"clock","shown_ms":1700000000900,"system_ms":1700000000100}
"#;

fn imported() -> MemoryDisk {
    let (disk, count) = import(LINES.lines());
    assert_eq!(count, 14);
    disk
}

fn import<'a>(mut lines: impl Iterator<Item = &'a str>) -> (MemoryDisk, u64) {
    let disk = MemoryDisk::default();
    let mut importer = Importer::new(disk.clone(), LIMITS, 7).unwrap();
    lines.by_ref().for_each(|line| importer.take(line).unwrap());
    (disk, importer.finish().unwrap())
}

#[test]
fn what_belongs_to_no_session_is_counted() {
    let check = |disk| Offline::open(disk, LIMITS).unwrap().check().unwrap();
    assert_eq!(check(imported()).sessionless, 0);
    let without = LINES
        .lines()
        .filter(|line| !line.contains(r#""kind":"session","number":1"#));
    let check = check(import(without).0);
    assert!(check.is_whole());
    assert_eq!((check.sessions, check.sessionless), (1, 4));
}

fn exported(disk: &MemoryDisk) -> (String, u64) {
    let mut lines = String::new();
    let mut offline = Offline::open(disk.clone(), LIMITS).unwrap();
    let left_out = offline
        .each_live(|line| {
            lines += &line.text();
            lines.push('\n');
            Ok::<_, ()>(())
        })
        .unwrap();
    (lines, left_out)
}

#[test]
fn what_is_exported_is_imported() {
    let disk = imported();
    assert_eq!(exported(&disk), (LINES.to_owned(), 0));
    let check = Offline::open(disk, LIMITS).unwrap().check().unwrap();
    assert!(check.is_whole(), "{check:?}");
    assert_eq!(
        (check.sessions, check.subscriptions, check.queued, check.retained),
        (2, 2, 3, 2)
    );
    assert_eq!((check.received, check.sent), (1, 2));
}

#[test]
fn only_an_empty_folder_is_imported_into() {
    let error = Importer::new(imported(), LIMITS, 7).unwrap_err();
    assert!(matches!(error, ImportError::NotEmpty), "{error}");
}

#[test]
fn wrong_lines_are_refused() {
    let refused = |lines: &[&str]| {
        let mut importer = Importer::new(MemoryDisk::default(), LIMITS, 7).unwrap();
        let taken = lines.iter().try_for_each(|line| importer.take(line));
        taken
            .and_then(|()| importer.finish().map(drop))
            .unwrap_err()
            .to_string()
    };
    let first = r#"{"kind":"format","format":1}"#;
    let format = "the first line is to be the format, 1 to 1";
    assert_eq!(refused(&[]), format);
    assert_eq!(refused(&[r#"{"kind":"format","format":2}"#]), format);
    assert_eq!(refused(&[r#"{"kind":"received","session":1,"id":1}"#]), format);
    assert_eq!(refused(&[first, first]), format);
    let message = |part: &str| {
        format!(
            r#"{{"kind":"body","number":6,"message":{{"topic":"a","qos":2,"retain":false,"expires_at_ms":null,"publisher":null,{part}}}}}"#
        )
    };
    for (line, why) in [
        (
            r#"{"kind":"received","session":1,"id":0}"#.to_owned(),
            "0 is no packet identifier",
        ),
        (r#"{"kind":"receeved"}"#.to_owned(), "unknown variant `receeved`"),
        (
            message(r#""properties":[],"payload":{"hex":"0"}"#),
            "'0' is not pairs of hexadecimal digits",
        ),
        (
            message(r#""properties":[["nothing",1]],"payload":"""#),
            "there is no property 'nothing'",
        ),
        (
            message(r#""properties":[["content-type",1]],"payload":"""#),
            "has another kind of value",
        ),
        (
            message(r#""properties":[["topic-alias",1]],"payload":"""#),
            "a property does not belong",
        ),
        (
            message(r#""properties":[],"payload":"","more":1"#),
            "unknown field `more`",
        ),
        (
            message(r#""properties":[],"payload":"""#).replace("\"a\"", "\"a/#\""),
            "'a/#' is no topic name",
        ),
        (
            message(r#""properties":[],"payload":"""#).replace(":2,", ":3,"),
            "there is no QoS 3",
        ),
        (
            LINES.lines().nth(3).unwrap().replace("a/+/b", "a/+b"),
            "'a/+b' is no topic filter",
        ),
        (
            LINES.lines().nth(6).unwrap().replace("393217", "393216"),
            "393216 is no key",
        ),
    ] {
        let said = refused(&[first, &line]);
        assert!(said.contains(why), "{line}: {said}");
    }
}

/// A store that is half imported must not be taken for one that lost the rest.
#[test]
fn an_import_that_did_not_end_is_no_store() {
    let disk = MemoryDisk::default();
    let mut importer = Importer::new(disk.clone(), LIMITS, 7).unwrap();
    LINES
        .lines()
        .take(5)
        .for_each(|line| importer.take(line).unwrap());
    drop(importer);
    let error = Offline::open(disk.clone(), LIMITS).unwrap_err();
    assert!(matches!(error, Error::Unfinished), "{error}");
    let error = repair(&disk, LIMITS, 1).unwrap_err();
    assert!(matches!(error, Error::Unfinished), "{error}");
}

#[test]
fn any_byte_may_be_damaged_and_is_repaired() {
    let disk = MemoryDisk::default();
    let mut importer = Importer::new(disk.clone(), LIMITS, 7).unwrap();
    LINES.lines().for_each(|line| importer.take(line).unwrap());
    importer.finish().unwrap();
    // Several batches in several segments, with one behind them that says that they were durable.
    let (mut journal, _) = Journal::open(disk.clone(), LIMITS, 7, &mut Everything).unwrap();
    let mut group = Group::new();
    for id in 100..130u16 {
        let line = Line::Received { session: 1, id };
        let (kind, payload) = line.write().unwrap();
        group.clear();
        group.put(kind, &payload);
        journal.append(&mut group).unwrap();
        journal.sync().unwrap();
    }
    drop(journal);
    let all: BTreeSet<String> = exported(&disk).0.lines().map(str::to_owned).collect();
    assert_eq!(all.len(), 45);
    for entry in disk.list().unwrap() {
        for at in (0..entry.bytes).step_by(7) {
            let disk = copy(&disk);
            let file = disk.open(&entry.name).unwrap();
            let mut byte = [0];
            file.read_at(at, &mut byte).unwrap();
            file.write_at(at, &[byte[0] ^ 0x10]).unwrap();
            let name = format!("{} byte {at}", entry.name);

            let mut offline = Offline::open(disk.clone(), LIMITS).unwrap();
            let check = offline.check().unwrap();
            let (left, left_out) = exported(&disk);
            let left: BTreeSet<String> = left.lines().map(str::to_owned).collect();
            assert!(left.is_subset(&all) && left_out == 0, "{name}");
            let unseen = left.len() < all.len() && check.is_whole();
            assert!(!unseen || check.torn_bytes > 0, "{name}: {check:?}");

            let repaired = repair(&disk, LIMITS, 1).unwrap();
            let names: Vec<String> = disk.list().unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(repaired.set_aside.is_empty(), check.damage.is_empty(), "{name}");
            for aside in &repaired.set_aside {
                assert!(names.contains(aside), "{name}: {aside} of {names:?}");
            }
            let again = Offline::open(disk.clone(), LIMITS).unwrap().check().unwrap();
            assert!(again.is_whole() && again.torn_bytes == 0, "{name}: {again:?}");
            let kept: BTreeSet<String> = exported(&disk).0.lines().map(str::to_owned).collect();
            let lost_bodies = check.bodiless as usize;
            assert_eq!(kept.len(), left.len() - lost_bodies, "{name}");
            assert!(kept.is_subset(&left), "{name}");
        }
    }
}

/// A record of a later kind is told, and goes with a repair.
#[test]
fn what_makes_no_sense_is_told_and_dropped() {
    let disk = imported();
    let (mut journal, _) = Journal::open(disk.clone(), LIMITS, 7, &mut Everything).unwrap();
    let mut group = Group::new();
    group.put(0x70, b"what is this");
    group.put(1, b"no session");
    journal.append(&mut group).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let check = Offline::open(disk.clone(), LIMITS).unwrap().check().unwrap();
    assert_eq!(check.senseless.len(), 2, "{check:?}");
    assert!(!check.is_whole());
    let mut dead_and_alive = (0, 0);
    Offline::open(disk.clone(), LIMITS)
        .unwrap()
        .each(|_, lives, line| {
            dead_and_alive.0 += usize::from(!lives);
            dead_and_alive.1 += usize::from(line.is_none());
        })
        .unwrap();
    assert_eq!(
        dead_and_alive,
        (1, 2),
        "the format that was there while it was imported is dead"
    );
    let repaired = repair(&disk, LIMITS, 1).unwrap();
    assert_eq!(
        (repaired.dropped, repaired.kept, repaired.set_aside),
        (2, 15, vec![])
    );
    assert!(
        Offline::open(disk.clone(), LIMITS)
            .unwrap()
            .check()
            .unwrap()
            .is_whole()
    );
    assert_eq!(exported(&disk).0, LINES);
}

#[test]
fn a_later_format_is_left_alone() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = Journal::open(disk.clone(), LIMITS, 7, &mut Everything).unwrap();
    let mut group = Group::new();
    let (kind, payload) = Line::Format { format: 9 }.write().unwrap();
    group.put(kind, &payload);
    journal.append(&mut group).unwrap();
    journal.sync().unwrap();
    drop(journal);
    for error in [
        Offline::open(disk.clone(), LIMITS).unwrap_err(),
        repair(&disk, LIMITS, 1).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Format { found: 9, known: 1 }), "{error}");
    }
}
