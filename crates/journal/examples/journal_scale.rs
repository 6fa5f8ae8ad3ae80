//! What a record costs: `journal_scale [FOLDER] [RECORDS]`.
//!
//! It appends records of 200 bytes, each batch synced by `fdatasync`, and kills the oldest when 100,000 (20,000 at
//! batches of 1) are there, with cleaning; then it opens a journal of RECORDS live records with and without a
//! snapshot; then it reads queues whose records lie between those of others, one by one and together. CPU is that of this thread, in the kernel too; written bytes are those that went to the disk.

#![allow(clippy::cast_precision_loss)] // numbers for people

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use martlet_journal::{Cleaned, Group, Index, Journal, Limits, Place, RealDisk, Record};

const RECORD_BYTES: usize = 200;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A queue: the place of each record by its number.
#[derive(Default)]
struct Queue {
    first: u64,
    places: VecDeque<Option<Place>>,
    snapshot: Vec<u8>,
}

impl Queue {
    fn slot(&mut self, number: u64) -> Option<&mut Option<Place>> {
        self.places
            .get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn set(&mut self, number: u64, place: Place) {
        if self.places.is_empty() {
            self.first = number;
        }
        while self.first + self.places.len() as u64 <= number {
            self.places.push_back(None);
        }
        if let Some(slot) = self.slot(number) {
            *slot = Some(place);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.first.to_le_bytes().to_vec();
        for place in self.places.iter().flatten() {
            for number in [place.segment, place.offset, place.bytes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }
}

fn number(payload: &[u8]) -> u64 {
    payload[..8]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Index for Queue {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn snapshot(&mut self, bytes: &[u8]) {
        self.snapshot.extend_from_slice(bytes);
    }

    fn snapshot_ends(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.snapshot);
        self.first = number(&bytes);
        let part = |row: &[u8], at| number(&[&row[at..at + 4], &[0; 4]].concat()) as u32;
        let place = |row: &[u8]| Place {
            segment: part(row, 0),
            offset: part(row, 4),
            bytes: part(row, 8),
        };
        self.places = bytes[8..].chunks_exact(12).map(|row| Some(place(row))).collect();
        true
    }

    fn gone(&mut self, segments: &[u32]) {
        for slot in &mut self.places {
            slot.take_if(|place| segments.binary_search(&place.segment).is_ok());
        }
    }

    fn put(&mut self, record: Record<'_>) {
        self.set(number(record.payload), record.place);
    }

    fn killed(&mut self, place: Place) {
        while self
            .places
            .front()
            .is_some_and(|first| first.is_none_or(|first| first == place))
        {
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn is_live(&self, record: &Record<'_>) -> bool {
        let at = number(record.payload).checked_sub(self.first);
        at.and_then(|at| self.places.get(at as usize))
            .is_some_and(|slot| *slot == Some(record.place))
    }

    fn moved(&mut self, record: &Record<'_>, to: Place) {
        self.set(number(record.payload), to);
    }
}

/// Time on the processor and the clock, and bytes that went to the disk.
struct Meter {
    cpu_ns: u64,
    written: u64,
    began: Instant,
}

impl Meter {
    fn start() -> Outcome<Self> {
        Ok(Self {
            cpu_ns: cpu_ns()?,
            written: of_self("io", "write_bytes:")?,
            began: Instant::now(),
        })
    }

    fn print(&self, what: &str, records: u64) -> Outcome {
        let cpu_us = (cpu_ns()? - self.cpu_ns) as f64 / 1000.0;
        let written = (of_self("io", "write_bytes:")? - self.written) as f64;
        let (count, seconds) = (records as f64, self.began.elapsed().as_secs_f64());
        println!(
            "{what:<28} {:>7.2} us CPU a record, {:>8.0} records/s, {:>6.2} bytes written a byte, peak {} MB",
            cpu_us / count,
            count / seconds,
            written / (count * RECORD_BYTES as f64),
            of_self("status", "VmHWM:")? / 1024,
        );
        Ok(())
    }
}

fn cpu_ns() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no schedstat")?.parse()?)
}

fn of_self(file: &str, key: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/self/{file}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .ok_or("not there")?;
    Ok(line.split_whitespace().next().ok_or("empty")?.parse()?)
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("journal_scale"), PathBuf::from);
    let records = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    for (batch, count, outstanding) in [
        (1, 40_000, 20_000),
        (64, records / 2, 100_000),
        (1024, records, 100_000),
    ] {
        queue(&folder, batch, count, outstanding)?;
    }
    reserve(&folder)?;
    reopen(&folder, records)?;
    for queues in [1, 2, 4, 8, 16, 32, 64] {
        collect(&folder, queues)?;
    }
    Ok(())
}

/// What the reserve costs when a folder is new: the opening, and the first sync behind it.
fn reserve(folder: &Path) -> Outcome {
    for reserve_bytes in [0, Limits::default().reserve_bytes] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let disk = RealDisk::open(folder, "journal_scale")?;
        let limits = Limits {
            reserve_bytes,
            ..Limits::default()
        };
        let began = Instant::now();
        let (mut journal, _) = Journal::open(disk, limits, 1, &mut Queue::default())?;
        let opened = began.elapsed();
        let mut group = Group::new();
        put(&mut group, 0);
        journal.append(&mut group)?;
        journal.sync()?;
        println!(
            "a new folder with a reserve of {} MB: opened in {opened:?}, first sync after {:?}",
            reserve_bytes >> 20,
            began.elapsed()
        );
    }
    Ok(())
}

/// Reads 100,000 records of which only one in `queues` is asked for at a time.
fn collect(folder: &Path, queues: usize) -> Outcome {
    const RECORDS: u64 = 102_400;
    let mut journal = fresh(folder, &mut Queue::default())?;
    let (mut group, mut places) = (Group::new(), Vec::new());
    for from in (0..RECORDS).step_by(1024) {
        group.clear();
        (from..from + 1024).for_each(|number| put(&mut group, number));
        journal.append(&mut group)?;
        places.extend(group.places());
    }
    let pages: Vec<Vec<Place>> = (0..queues)
        .flat_map(|queue| {
            let queue: Vec<Place> = places.iter().copied().skip(queue).step_by(queues).collect();
            queue.chunks(1000).map(<[Place]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    let (mut payload, mut bytes) = (Vec::new(), 0);
    let meter = Meter::start()?;
    for place in pages.iter().flatten() {
        journal.read(*place, &mut payload)?;
        bytes += payload.len();
    }
    meter.print(&format!("read alone, one in {queues}"), RECORDS)?;
    let meter = Meter::start()?;
    for page in &pages {
        let reader = journal.records_reader(page.iter().copied());
        reader.read(&mut payload, |_, record| {
            bytes += record.map_or(0, |record| record.payload.len());
        });
    }
    meter.print(&format!("read together, one in {queues}"), RECORDS)?;
    assert_eq!(bytes, 2 * RECORDS as usize * RECORD_BYTES);
    Ok(())
}

fn fresh(folder: &Path, index: &mut Queue) -> Outcome<Journal<RealDisk>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    open(folder, index)
}

fn open(folder: &Path, index: &mut Queue) -> Outcome<Journal<RealDisk>> {
    let disk = RealDisk::open(folder, "journal_scale")?;
    let (journal, report) = Journal::open(disk, Limits::default(), 1, index)?;
    assert!(!report.has_damage() && report.cut.is_none(), "{report}");
    Ok(journal)
}

fn queue(folder: &Path, batch: u64, count: u64, outstanding: u64) -> Outcome {
    let mut queue = Queue::default();
    let mut journal = fresh(folder, &mut queue)?;
    let (mut group, mut commits) = (Group::new(), Vec::new());
    let meter = Meter::start()?;
    let mut next = 0;
    while next < count {
        let until = (next + batch).min(count);
        let began = Instant::now();
        group.clear();
        let dead = until.saturating_sub(outstanding).min(next);
        while queue.first < dead {
            if let Some(place) = queue.places.pop_front().flatten() {
                group.kill(place);
            }
            queue.first += 1;
        }
        (next..until).for_each(|number| put(&mut group, number));
        journal.append(&mut group)?;
        for (number, place) in (next..until).zip(group.places()) {
            queue.set(number, place);
        }
        journal.sync()?;
        commits.push(began.elapsed());
        // In a queue the oldest segment soon has nothing that lives; to clean it before would copy in vain.
        if journal.bytes() > 2 * journal.live_bytes() + (64 << 20) {
            let _: Cleaned = journal.clean(&mut queue, 256 << 10)?;
        }
        next = until;
    }
    meter.print(&format!("append, batches of {batch}"), count)?;
    commits.sort();
    let at = |percent: usize| commits[(commits.len() - 1) * percent / 100];
    println!(
        "    commit p50 {:?}, p99 {:?}; {} MB on the disk",
        at(50),
        at(99),
        journal.bytes() >> 20
    );
    Ok(())
}

fn put(group: &mut Group, number: u64) {
    group.put_with(1, |bytes| {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.resize(bytes.len() + RECORD_BYTES - 8, number as u8);
    });
}

fn reopen(folder: &Path, records: u64) -> Outcome {
    let mut queue = Queue::default();
    let mut journal = fresh(folder, &mut queue)?;
    let mut group = Group::new();
    for from in (0..records).step_by(1024) {
        group.clear();
        (from..records.min(from + 1024)).for_each(|number| put(&mut group, number));
        journal.append(&mut group)?;
        for (number, place) in (from..).zip(group.places()) {
            queue.set(number, place);
        }
        journal.sync()?;
    }
    drop(journal);
    let meter = Meter::start()?;
    let mut again = Queue::default();
    let mut journal = open(folder, &mut again)?;
    meter.print("open without snapshot", records)?;
    println!(
        "    {} records in {:?}",
        again.places.len(),
        meter.began.elapsed()
    );
    let meter = Meter::start()?;
    let mut writer = journal.begin_snapshot()?;
    writer.write(&again.encode())?;
    journal.end_snapshot(writer.finish()?)?;
    println!("    snapshot in {:?}", meter.began.elapsed());
    drop(journal);
    let meter = Meter::start()?;
    let mut again = Queue::default();
    open(folder, &mut again)?;
    meter.print("open with snapshot", records)?;
    println!(
        "    {} records in {:?}",
        again.places.len(),
        meter.began.elapsed()
    );
    Ok(fs::remove_dir_all(folder)?)
}
