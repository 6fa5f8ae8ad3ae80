//! Any bytes as the files of a journal, and a whole journal with any bytes changed: it opens, twice with the same
//! result, and goes on.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/journal/tests/rig/mod.rs"]
mod rig;

use libfuzzer_sys::fuzz_target;
use martlet_journal::{Disk, DiskFile, Index, Journal, MemoryDisk, Place, Record};
use std::collections::BTreeSet;

/// Places are all that any bytes have.
#[derive(Default, Debug, PartialEq)]
struct Places(BTreeSet<Place>);

impl Index for Places {
    fn clear(&mut self) {
        self.0.clear();
    }
    fn snapshot(&mut self, _: &[u8]) {}
    fn snapshot_ends(&mut self) -> bool {
        true
    }
    fn gone(&mut self, segments: &[u32]) {
        self.0.retain(|place| !segments.contains(&place.segment));
    }
    fn put(&mut self, record: Record<'_>) {
        self.0.insert(record.place);
    }
    fn killed(&mut self, place: Place) {
        self.0.remove(&place);
    }
    fn is_live(&self, record: &Record<'_>) -> bool {
        self.0.contains(&record.place)
    }
    fn moved(&mut self, record: &Record<'_>, to: Place) {
        self.0.remove(&record.place);
        self.0.insert(to);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let disk = if choice % 2 == 0 {
        any(bytes)
    } else {
        changed(bytes)
    };
    let mut first = Places::default();
    let (mut journal, _) = Journal::open(disk.clone(), rig::LIMITS, 1, &mut first).unwrap();
    let mut payload = Vec::new();
    for place in &first.0 {
        journal.read(*place, &mut payload).unwrap();
    }
    drop(journal);
    let mut again = Places::default();
    let (mut journal, report) = Journal::open(disk, rig::LIMITS, 1, &mut again).unwrap();
    assert_eq!(first, again, "{report}");
    for _ in 0..20 {
        journal.clean(&mut again, 1 << 20).unwrap();
        journal.sync().unwrap();
    }
});

/// Two segments and a snapshot, cut where the first bytes say.
fn any(bytes: &[u8]) -> MemoryDisk {
    let at = |index: usize| bytes.get(index).map_or(0, |byte| *byte as usize * 4);
    let (first, rest) = bytes.split_at(at(0).min(bytes.len()));
    let (second, snapshot) = rest.split_at(at(1).min(rest.len()));
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    MemoryDisk::with_files([
        file("00000001.seg", first),
        file("00000002.seg", second),
        file("00000001-00000020.snap", snapshot),
    ])
}

/// Each four bytes change one: which file, where, to what.
fn changed(bytes: &[u8]) -> MemoryDisk {
    let mut rig = rig::Rig::new(MemoryDisk::default(), rig::LIMITS);
    for key in 0..10 {
        rig.append(&[rig::Batch {
            puts: vec![(key, 60)],
            kills: vec![key / 2],
        }])
        .unwrap();
        rig.step(if key == 4 {
            &rig::Step::Clean(300)
        } else {
            &rig::Step::Sync
        })
        .unwrap();
    }
    let files = rig.disk.list().unwrap();
    for change in bytes.chunks_exact(4) {
        let entry = &files[change[0] as usize % files.len()];
        let at = u64::from(u16::from_le_bytes([change[1], change[2]])) % entry.bytes.max(1);
        rig.disk
            .open(&entry.name)
            .unwrap()
            .write_at(at, &change[3..])
            .unwrap();
    }
    rig.disk
}
