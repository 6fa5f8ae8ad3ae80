//! A journal, an index of it, and what both should be.

// Each test binary uses its part.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;

use martlet_journal::report::Report;
use martlet_journal::{
    Cleaned, Disk, Error, Group, Index, Journal, Limits, Place, Position, Record, SyncJob,
};

pub type State = BTreeMap<u64, Vec<u8>>;

/// Keys from here on count batches.
pub const COUNTERS: u64 = 1 << 63;

/// Small, so that much happens at the edges.
pub const LIMITS: Limits = Limits {
    segment_bytes: 600,
    group_bytes_max: 4096,
    journal_bytes_max: u64::MAX,
    open_files_max: 3,
    snapshots_max: 2,
    dead_percent_min: 30,
    reserve_bytes: 0,
};

/// An index that keeps payloads too. A payload begins with its key.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    pub entries: BTreeMap<u64, (Place, Vec<u8>)>,
    snapshot: Vec<u8>,
}

impl Ledger {
    pub fn state(&self) -> State {
        self.entries
            .iter()
            .map(|(key, (_, payload))| (*key, payload.clone()))
            .collect()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (place, payload) in self.entries.values() {
            for number in [place.segment, place.offset, place.bytes] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(payload);
        }
        bytes
    }
}

fn key(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

impl Index for Ledger {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn snapshot(&mut self, bytes: &[u8]) {
        self.snapshot.extend_from_slice(bytes);
    }

    fn snapshot_ends(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.snapshot);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let number = |at| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let place = Place {
                segment: number(0),
                offset: number(4),
                bytes: number(8),
            };
            let payload = &rest[12..12 + place.bytes as usize];
            self.entries.insert(key(payload), (place, payload.to_vec()));
            rest = &rest[12 + payload.len()..];
        }
        true
    }

    fn gone(&mut self, segments: &[u32]) {
        self.entries
            .retain(|_, (place, _)| !segments.contains(&place.segment));
    }

    fn put(&mut self, record: Record<'_>) {
        assert_eq!(usize::from(record.kind), record.payload.len() % 0xf0);
        self.entries
            .insert(key(record.payload), (record.place, record.payload.to_vec()));
    }

    fn killed(&mut self, place: Place) {
        self.entries.retain(|_, (other, _)| *other != place);
    }

    fn is_live(&self, record: &Record<'_>) -> bool {
        self.entries
            .get(&key(record.payload))
            .is_some_and(|(place, _)| *place == record.place)
    }

    fn moved(&mut self, record: &Record<'_>, to: Place) {
        let (place, payload) = self.entries.get_mut(&key(record.payload)).unwrap();
        assert_eq!((*place, &payload[..]), (record.place, record.payload));
        *place = to;
    }
}

/// What one batch does: keys that get a new value of that length, and keys that go.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub puts: Vec<(u64, usize)>,
    pub kills: Vec<u64>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Append(Vec<Batch>),
    Sync,
    BeginSync,
    EndSync,
    Clean(u32),
    Snapshot,
    Reopen,
}

pub struct Rig<D: Disk> {
    pub disk: D,
    pub limits: Limits,
    pub journal: Journal<D>,
    pub index: Ledger,
    /// After so many batches that is what lives.
    pub states: Vec<State>,
    /// After so many batches the log ended there.
    pub ends: Vec<Position>,
    pub durable: usize,
    /// After so many batches it is certain that they are there if only the process crashes.
    pub certain: usize,
    sync: Option<SyncJob<D>>,
    group: Group,
}

pub fn open<D: Disk>(disk: D, limits: Limits) -> Result<(Journal<D>, Ledger, Report), Error> {
    let mut index = Ledger::default();
    let (journal, report) = Journal::open(disk, limits, 0x5a17, &mut index)?;
    Ok((journal, index, report))
}

impl<D: Disk> Rig<D> {
    pub fn new(disk: D, limits: Limits) -> Self {
        let (journal, index, _) = open(disk.clone(), limits).unwrap();
        Self {
            disk,
            limits,
            journal,
            index,
            states: vec![State::new()],
            ends: vec![Position::default()],
            durable: 0,
            certain: 0,
            sync: None,
            group: Group::new(),
        }
    }

    pub fn step(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Append(batches) => self.append(batches),
            Step::Sync => {
                self.step(&Step::EndSync)?;
                let durable = self.journal.sync()?;
                assert_eq!(durable, self.journal.end());
                self.now_durable(durable);
                Ok(())
            }
            Step::BeginSync => {
                if self.sync.is_none() {
                    self.sync = self.journal.begin_sync()?;
                }
                Ok(())
            }
            Step::EndSync => {
                if let Some(job) = self.sync.take() {
                    let durable = self.journal.end_sync(job.run())?;
                    self.now_durable(durable);
                }
                Ok(())
            }
            Step::Clean(budget) => self.journal.clean(&mut self.index, *budget).map(|_| ()),
            Step::Snapshot => self.snapshot(),
            Step::Reopen => self.reopen(),
        }
    }

    pub fn append(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let mut entries = self.index.entries.clone();
        let mut states = Vec::new();
        let (mut state, count) = (self.states.last().unwrap().clone(), self.states.len() as u64);
        let mut keys = Vec::new();
        let mut touched = Vec::new();
        self.group.clear();
        for (number, batch) in (count..).zip(batches) {
            let old: Vec<u64> = if number == count {
                state.range(COUNTERS..).map(|(key, _)| *key).collect()
            } else {
                Vec::new()
            };
            let puts = batch.puts.iter().copied().chain([(COUNTERS + number, 8)]);
            for key in batch.kills.iter().copied().chain(old) {
                if !touched.contains(&key)
                    && let Some((place, _)) = entries.remove(&key)
                {
                    self.group.kill(place);
                    state.remove(&key);
                }
                touched.push(key);
            }
            for (key, length) in puts {
                if touched.contains(&key) {
                    continue;
                }
                touched.push(key);
                let payload = payload(key, number, length);
                if let Some((place, _)) = entries.get(&key) {
                    self.group.kill(*place);
                }
                self.group.put((payload.len() % 0xf0) as u8, &payload);
                state.insert(key, payload.clone());
                keys.push((key, payload));
            }
            self.group.end_batch();
            states.push(state.clone());
        }
        let appended = self.journal.append(&mut self.group);
        if let Err(Error::Uncertain { .. }) = &appended {
            // Any of them may be found, and none is durable.
            self.ends.resize(
                self.ends.len() + states.len(),
                Position {
                    segment: u32::MAX,
                    offset: 0,
                },
            );
            self.states.extend(states);
            return appended.map(drop);
        }
        assert_eq!(appended?, self.journal.end());
        let places: Vec<Place> = self.group.places().collect();
        assert_eq!(places.len(), keys.len());
        for (place, (key, payload)) in places.into_iter().zip(keys) {
            entries.insert(key, (place, payload));
        }
        self.index.entries = entries;
        self.ends
            .resize(self.ends.len() + states.len(), self.journal.end());
        self.states.extend(states);
        self.certain = self.states.len() - 1;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), Error> {
        self.step(&Step::EndSync)?;
        let mut writer = self.journal.begin_snapshot()?;
        self.now_durable(self.journal.durable());
        for piece in self.index.encode().chunks(100) {
            writer.write(piece)?;
        }
        self.journal.end_snapshot(writer.finish()?)
    }

    /// Opens it anew as after a crash of the process; nothing is lost.
    pub fn reopen(&mut self) -> Result<(), Error> {
        self.sync = None;
        let report;
        (self.journal, self.index, report) = open(self.disk.clone(), self.limits)?;
        assert!(
            !report.has_damage() && report.snapshots_damaged.is_empty() && report.cut.is_none(),
            "{report}"
        );
        self.now_durable(self.journal.durable());
        assert_eq!(&self.index.state(), self.states.last().unwrap());
        Ok(())
    }

    /// Goes on with a journal that was opened after so many batches.
    pub fn continue_with(&mut self, journal: Journal<D>, index: Ledger, count: usize) {
        (self.journal, self.index, self.sync) = (journal, index, None);
        self.states.truncate(count + 1);
        self.ends.truncate(count + 1);
        (self.durable, self.certain) = (count, count);
    }

    fn now_durable(&mut self, position: Position) {
        let until = self.ends.iter().rposition(|end| *end <= position).unwrap_or(0);
        self.durable = self.durable.max(until);
    }

    /// The index is as it should be, and everything can be read.
    pub fn check(&mut self) {
        assert_eq!(&self.index.state(), self.states.last().unwrap());
        check_reads(&mut self.journal, &self.index);
    }

    /// Cleans and syncs until nothing is left to do.
    pub fn clean_all(&mut self) -> Result<(), Error> {
        self.step(&Step::Sync)?;
        for _ in 0..1000 {
            let cleaned = self.journal.clean(&mut self.index, 200)?;
            self.step(&Step::Sync)?;
            if cleaned == Cleaned::Nothing {
                return Ok(());
            }
        }
        panic!("cleaning does not end");
    }
}

pub fn check_reads<D: Disk>(journal: &mut Journal<D>, index: &Ledger) {
    let mut read = Vec::new();
    for (place, payload) in index.entries.values() {
        let kind = journal.read(*place, &mut read).unwrap();
        assert_eq!(
            (usize::from(kind), &read),
            (payload.len() % 0xf0, payload),
            "{place}"
        );
    }
}

fn payload(key: u64, version: u64, length: usize) -> Vec<u8> {
    let mut payload = key.to_le_bytes().to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    payload.extend((0..length).map(|at| (at as u64 + key + version) as u8));
    payload
}

/// After so many batches the index is as it is now; it panics if there was no such time.
pub fn batches_of(index: &Ledger, states: &[State]) -> usize {
    let last = index.entries.keys().next_back().filter(|key| **key >= COUNTERS);
    let count = last.map_or(0, |key| (key - COUNTERS) as usize);
    assert_eq!(index.state(), states[count], "half a batch, after {count}");
    count
}

/// Numbers from a seed.
pub struct Draws(pub u64);

impl Draws {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub fn batch(&mut self) -> Batch {
        let puts = (0..self.below(4))
            .map(|_| (self.below(20), self.below(60) as usize))
            .collect();
        let kills = (0..self.below(4)).map(|_| self.below(20)).collect();
        Batch { puts, kills }
    }

    pub fn step(&mut self) -> Step {
        match self.below(20) {
            0..=8 => Step::Append((0..=self.below(3)).map(|_| self.batch()).collect()),
            9..=10 => Step::Sync,
            11..=12 => Step::BeginSync,
            13..=14 => Step::EndSync,
            15..=17 => Step::Clean(1 + self.below(900) as u32),
            18 => Step::Snapshot,
            _ => Step::Reopen,
        }
    }
}
