//! A store on a disk that is handed in: a journal, and an index of what lives in it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use martlet_journal::{Cleaned, Disk, Group, Journal, Limits, Place, Position, Record, Report};

use super::record::{self, Kind, Name};
use super::{Contents, Durability, StoreError, StoreOp};
use crate::engine::{Stage, StoredMessage, Token, received_with};
use crate::kill_points::{self, Point};
use crate::limits;

/// A store on a disk.
#[derive(Debug)]
pub(super) struct DiskStore<D: Disk> {
    journal: Journal<D>,
    index: Index,
    group: Group,
    /// The records of the group, in the order of its places.
    names: Vec<Name>,
    staged: BTreeSet<Name>,
    /// The records that it kills.
    killed: Vec<(Name, Place)>,
    durability: Durability,
    place: String,
    damage: Vec<String>,
    /// Bytes that were appended since the last sync.
    unsynced_bytes: u64,
    /// When the disk, which was full, was asked last.
    asked: Option<Instant>,
}

impl<D: Disk> DiskStore<D> {
    /// Opens the store that is there, or begins one. `place` is what messages call it.
    pub(super) fn begin(
        disk: D,
        limits: Limits,
        durability: Durability,
        place: String,
    ) -> Result<Self, StoreError> {
        let failed = |error: martlet_journal::Error| failed(&place, &error);
        let mut index = Index::default();
        let salt = RandomState::new().hash_one(0_u8) as u32;
        let (mut journal, report) = Journal::open(disk, limits, salt, &mut index).map_err(failed)?;
        if !report.missing.is_empty() {
            journal.give_up(&report.missing).map_err(failed)?;
        }
        Ok(Self {
            journal,
            index,
            group: Group::new(),
            names: Vec::new(),
            staged: BTreeSet::new(),
            killed: Vec::new(),
            durability,
            damage: damage(&report),
            place,
            unsynced_bytes: 0,
            asked: None,
        })
    }

    pub(super) fn damage(&self) -> &[String] {
        &self.damage
    }

    fn failed(&self, error: &martlet_journal::Error) -> StoreError {
        failed(&self.place, error)
    }

    fn read(&mut self, name: Name) -> Option<Vec<u8>> {
        let place = *self.index.places.get(&name)?;
        let mut payload = Vec::new();
        match self.journal.read(place, &mut payload) {
            Ok(_) => Some(payload),
            Err(error) => {
                self.damage.push(format!("cannot read a record: {error}"));
                None
            }
        }
    }

    /// What it has. A record that makes no sense is told and left where it is.
    fn read_all(&mut self) -> Contents {
        let mut contents = Contents::default();
        for name in self.index.places.keys().copied().collect::<Vec<_>>() {
            let Some(payload) = self.read(name) else { continue };
            if read_into(&mut contents, name, &payload).is_none() {
                let what = format!("a record makes no sense to this version: {name:?}");
                self.damage.push(what);
            }
        }
        contents
    }

    fn put(&mut self, name: Name, payload: &[u8]) -> Result<(), martlet_journal::Error> {
        self.kill(name)?;
        self.group.put(name.kind as u8, payload);
        self.names.push(name);
        self.staged.insert(name);
        Ok(())
    }

    fn put_op(&mut self, op: &StoreOp) -> Result<(), martlet_journal::Error> {
        match record::put(op) {
            Some((name, payload)) => self.put(name, &payload),
            None => Ok(()),
        }
    }

    /// The record dies, if it lives. One that waits to be appended is appended first: only then it has a place.
    fn kill(&mut self, name: Name) -> Result<(), martlet_journal::Error> {
        if self.staged.contains(&name) {
            self.append(Journal::append_at_need)?;
        }
        if let Some(place) = self.index.remove(name) {
            self.group.kill(place);
            self.killed.push((name, place));
        }
        Ok(())
    }

    fn kill_message(&mut self, token: Token) -> Result<(), martlet_journal::Error> {
        for kind in [Kind::Message, Kind::Sent, Kind::Released] {
            self.kill(Name::new(kind, token.0))?;
        }
        Ok(())
    }

    /// Puts an operation into the group.
    fn stage(&mut self, op: &StoreOp) -> Result<(), martlet_journal::Error> {
        match op {
            StoreOp::Sent(token) if !self.has_message(*token) => Ok(()),
            StoreOp::Accepted(_) | StoreOp::Sent(_) | StoreOp::Received(_) => self.put_op(op),
            StoreOp::Arrived(_, message) => {
                if let Some(id) = received_with(message) {
                    self.put_op(&StoreOp::Received(id))?;
                }
                self.put_op(op)
            }
            StoreOp::Released(token) => self.release(*token),
            StoreOp::Ended(token) => self.kill_message(*token),
            StoreOp::Forgotten(id) => self.kill(Name::new(Kind::Received, id.get().into())),
            StoreOp::Taken(number) => self.kill(Name::new(Kind::Arrived, *number)),
            StoreOp::SessionLost => {
                let all = Name::new(Kind::Received, 0)..=Name::new(Kind::Received, u64::MAX);
                let names: Vec<Name> = self.index.places.range(all).map(|(name, _)| *name).collect();
                names.into_iter().try_for_each(|name| self.kill(name))
            }
        }
    }

    fn has_message(&self, token: Token) -> bool {
        let name = Name::new(Kind::Message, token.0);
        self.index.places.contains_key(&name) || self.staged.contains(&name)
    }

    /// The message itself is not needed any more.
    fn release(&mut self, token: Token) -> Result<(), martlet_journal::Error> {
        let name = Name::new(Kind::Message, token.0);
        if self.staged.contains(&name) {
            self.append(Journal::append_at_need)?;
        }
        let Some(place) = self.index.places.get(&name).copied() else {
            return Ok(());
        };
        let mut payload = Vec::new();
        self.journal.read(place, &mut payload)?;
        if let Some(kept) = record::read_message(name, &payload) {
            let released = record::released(token, kept.packet_id);
            self.put(Name::new(Kind::Released, token.0), &released)?;
        }
        self.kill(name)?;
        self.kill(Name::new(Kind::Sent, token.0))
    }

    /// Appends the group. After an error it is empty, and what it killed lives.
    fn append(&mut self, append: Append<D>) -> Result<(), martlet_journal::Error> {
        if self.group.is_empty() {
            return Ok(());
        }
        kill_points::pass(Point::BeforeAppend);
        let appended = append(&mut self.journal, &mut self.group);
        let bytes = self.group.bytes() as u64;
        match &appended {
            Ok(_) => {
                for (name, place) in self.names.iter().zip(self.group.places()) {
                    self.index.insert(*name, place);
                }
                self.unsynced_bytes += bytes;
                kill_points::pass(Point::AfterAppend);
            }
            Err(_) => {
                for (name, place) in &self.killed {
                    self.index.insert(*name, *place);
                }
            }
        }
        self.group.clear();
        self.names.clear();
        self.staged.clear();
        self.killed.clear();
        appended.map(drop)
    }

    /// Keeps the operations together. `false`: there is no room for all of it, and nothing of it is kept.
    fn append_all(&mut self, ops: &[StoreOp]) -> Result<bool, StoreError> {
        let staged = ops.iter().try_for_each(|op| self.stage(op));
        match staged.and_then(|()| self.append(Journal::append)) {
            Ok(()) => Ok(true),
            Err(error) => match self.failed(&error) {
                StoreError::Full { .. } => {
                    self.asked = Some(Instant::now());
                    Ok(false)
                }
                failed => Err(failed),
            },
        }
    }

    /// Keeps the operations one by one: a full disk takes what makes room, and refuses the messages.
    fn append_each(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let mut refused = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let is_message = matches!(op, StoreOp::Accepted(_));
            if is_message && self.is_full() {
                let (place, text) = (self.place.clone(), "the disk is full".to_owned());
                refused.push((at, StoreError::Full { place, text }));
                continue;
            }
            let append = if is_message {
                Journal::append
            } else {
                Journal::append_at_need
            };
            let appended = self.stage(op).and_then(|()| self.append(append));
            match appended.map_err(|error| self.failed(&error)) {
                Err(full @ StoreError::Full { .. }) if is_message => {
                    self.asked = Some(Instant::now());
                    refused.push((at, full));
                }
                appended => appended?,
            }
        }
        Ok(refused)
    }

    /// Whether messages are refused unasked. Each question takes some of the reserve, which marks need.
    fn is_full(&mut self) -> bool {
        if !self.journal.needs_room() {
            return false;
        }
        let is_recent = |asked: Instant| asked.elapsed() < limits::STORE_ASKS_EVERY;
        if self.asked.is_some_and(is_recent) {
            return true;
        }
        self.asked = Some(Instant::now());
        !self.journal.finds_room()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let waits =
            self.durability == Durability::Os && self.unsynced_bytes < limits::STORE_UNSYNCED_BYTES_MAX;
        if !waits {
            self.journal.sync().map_err(|error| self.failed(&error))?;
            self.unsynced_bytes = 0;
            kill_points::pass(Point::AfterSync);
        }
        Ok(())
    }

    /// Cleans a little; what goes wrong there is tried again the next time.
    fn clean(&mut self) {
        kill_points::pass(Point::BeforeClean);
        let cleaned = self.journal.clean(&mut self.index, limits::STORE_CLEAN_BYTES);
        if !matches!(cleaned, Ok(Cleaned::Nothing)) {
            kill_points::pass(Point::AfterClean);
        }
    }
}

type Append<D> = fn(&mut Journal<D>, &mut Group) -> Result<Position, martlet_journal::Error>;

impl<D: Disk> DiskStore<D> {
    /// See [`Store::open`](super::Store::open).
    pub(super) fn open(&mut self, client_id: &str) -> Result<Contents, StoreError> {
        let client = Name::new(Kind::Client, 0);
        let theirs = self
            .read(client)
            .and_then(|payload| record::read_client(&payload));
        if let Some(theirs) = theirs.as_ref().filter(|theirs| *theirs != client_id) {
            return Err(StoreError::OtherClient {
                place: self.place.clone(),
                theirs: theirs.clone(),
                ours: client_id.to_owned(),
            });
        }
        let mut contents = self.read_all();
        contents.run = contents.next_run();
        let put = |store: &mut Self| {
            if theirs.is_none() {
                store.put(client, &record::client(client_id))?;
            }
            store.put(Name::new(Kind::Run, 0), &record::run(contents.run))?;
            store.append(Journal::append_at_need)?;
            store.journal.sync().map(drop)
        };
        put(self).map_err(|error| self.failed(&error))?;
        Ok(contents)
    }

    /// See [`Store::keep`](super::Store::keep).
    pub(super) fn keep(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let mut refused = Vec::new();
        let mut begin = 0;
        while begin < ops.len() {
            let end = group_end(ops, begin);
            let group = &ops[begin..end];
            let is_full = self.is_full() || !self.append_all(group)?;
            if is_full {
                let some = self.append_each(group)?;
                refused.extend(some.into_iter().map(|(at, error)| (begin + at, error)));
            }
            begin = end;
        }
        self.sync()?;
        self.clean();
        Ok(refused)
    }

    pub(super) fn gathers(&self) -> Duration {
        match self.durability {
            Durability::FsyncBatch(time) => time.min(limits::STORE_GATHER_MAX),
            Durability::Fsync | Durability::Os => Duration::ZERO,
        }
    }
}

/// Where a group that begins there ends: one that is not too large, and in which nothing changes what it puts. So it is
/// appended as a whole or not at all.
fn group_end(ops: &[StoreOp], begin: usize) -> usize {
    let mut bytes = 0;
    let mut has_puts = false;
    for (at, op) in ops.iter().enumerate().skip(begin) {
        let (puts, size) = match op {
            StoreOp::Accepted(kept) => (true, kept.message.as_ref().map_or(0, |m| m.payload.len())),
            StoreOp::Arrived(_, message) => (true, message.payload.len()),
            StoreOp::Sent(_) | StoreOp::Received(_) => (true, 0),
            _ => (false, 0),
        };
        bytes += size + RECORD_BYTES;
        let changes = !puts && has_puts;
        if at > begin && (changes || bytes > limits::STORE_GROUP_BYTES) {
            return at;
        }
        has_puts |= puts;
    }
    ops.len()
}

/// About what a record takes beside its payload.
const RECORD_BYTES: usize = 128;

/// One record more. `None`: it makes no sense. In the order of their kinds, so that a message comes before what is
/// said of it.
fn read_into(contents: &mut Contents, name: Name, payload: &[u8]) -> Option<()> {
    let token = Token(name.key);
    match name.kind {
        Kind::Client => {}
        Kind::Run => contents.run = record::read_run(payload)?,
        Kind::Message => contents.apply(&StoreOp::Accepted(record::read_message(name, payload)?)),
        Kind::Sent => contents.apply(&StoreOp::Sent(token)),
        Kind::Released => contents.apply(&StoreOp::Accepted(StoredMessage {
            token,
            packet_id: record::read_released(payload)?,
            message: None,
            expires_wall_ms: None,
            stage: Stage::Released,
        })),
        Kind::Received => contents.apply(&StoreOp::Received(record::read_received(name)?)),
        // Its identifier has a record of its own, as long as it counts.
        Kind::Arrived => drop(contents.arrived.insert(name.key, record::read_incoming(payload)?)),
    }
    Some(())
}

pub(super) fn failed(place: &str, error: &martlet_journal::Error) -> StoreError {
    use martlet_journal::Error;
    let place = place.to_owned();
    match error {
        Error::Full { .. } | Error::NoSpace { .. } | Error::TooLarge { .. } => StoreError::Full {
            place,
            text: error.to_string(),
        },
        Error::Locked { folder, holder } => StoreError::InUse {
            place: folder.clone(),
            holder: holder.clone(),
        },
        error => StoreError::Failed {
            place,
            text: with_causes(error),
        },
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What of the report tells of something that was lost.
fn damage(report: &Report) -> Vec<String> {
    let damaged = report.damage.iter().map(|damage| format!("damaged: {damage}"));
    let missing = report
        .missing
        .iter()
        .map(|segment| format!("missing: segment {segment:08x}"));
    damaged.chain(missing).collect()
}

/// Where each record is that lives.
#[derive(Debug, Default)]
struct Index {
    places: BTreeMap<Name, Place>,
    names: BTreeMap<Place, Name>,
}

impl Index {
    fn insert(&mut self, name: Name, place: Place) {
        if let Some(before) = self.places.insert(name, place) {
            self.names.remove(&before);
        }
        self.names.insert(place, name);
    }

    fn remove(&mut self, name: Name) -> Option<Place> {
        let place = self.places.remove(&name)?;
        self.names.remove(&place);
        Some(place)
    }
}

impl martlet_journal::Index for Index {
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// There are none: what lives is little.
    fn takes_snapshots(&self) -> bool {
        false
    }

    fn snapshot(&mut self, _: &[u8]) {}

    fn snapshot_ends(&mut self) -> bool {
        false
    }

    fn gone(&mut self, _: &[u32]) {}

    fn put(&mut self, record: Record<'_>) {
        if let Some(name) = Name::of(record.kind, record.payload) {
            self.insert(name, record.place);
        }
    }

    fn killed(&mut self, place: Place) {
        if let Some(name) = self.names.get(&place).copied() {
            self.remove(name);
        }
    }

    /// What a later version has put lives for ever here.
    fn is_live(&self, record: &Record<'_>) -> bool {
        match Name::of(record.kind, record.payload) {
            Some(name) => self.places.get(&name) == Some(&record.place),
            None => true,
        }
    }

    fn moved(&mut self, record: &Record<'_>, to: Place) {
        if let Some(name) = Name::of(record.kind, record.payload) {
            self.insert(name, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use martlet_codec::{PacketId, Qos, TopicBuf};
    use martlet_journal::disk::Faults;
    use martlet_journal::{DiskFile, FaultyDisk};

    use super::*;
    use crate::message::{Incoming, Message};

    /// With segments so small that they come and go.
    fn begin(disk: FaultyDisk, reserve_bytes: u32) -> DiskStore<FaultyDisk> {
        let limits = Limits {
            segment_bytes: 2 << 10,
            reserve_bytes,
            ..Limits::default()
        };
        DiskStore::begin(disk, limits, Durability::Fsync, "of the test".to_owned()).unwrap()
    }

    const SMALL: u32 = 2 << 10;

    fn id(n: u64) -> PacketId {
        PacketId::new(1 + (n % 60_000) as u16).unwrap()
    }

    fn accepted(n: u64, payload_bytes: usize) -> StoreOp {
        let topic = TopicBuf::new("t").unwrap();
        let message = Message::new(topic, vec![b'x'; payload_bytes]).qos(Qos::ExactlyOnce);
        StoreOp::Accepted(StoredMessage {
            token: Token(n),
            packet_id: id(n),
            message: Some(message),
            expires_wall_ms: None,
            stage: Stage::Queued,
        })
    }

    fn arrived(n: u64) -> StoreOp {
        let message = Incoming {
            topic: TopicBuf::new("t").unwrap(),
            payload: bytes::Bytes::from_static(b"y"),
            qos: Qos::ExactlyOnce,
            retain: false,
            dup: false,
            packet_id: Some(id(n)),
            topic_alias: None,
            properties: martlet_codec::PropertiesBuf::new(),
        };
        StoreOp::Arrived(n, message)
    }

    /// The lives of some messages in both directions, one after the other and beside each other.
    fn lives(count: u64) -> Vec<StoreOp> {
        let mut ops = Vec::new();
        for n in 1..=count {
            ops.push(accepted(n, (n as usize * 37) % 300));
            ops.push(StoreOp::Sent(Token(n)));
            ops.push(arrived(n));
            if n > 3 {
                ops.push(StoreOp::Released(Token(n - 3)));
                ops.push(StoreOp::Taken(n - 2));
            }
            if n > 5 {
                ops.push(StoreOp::Ended(Token(n - 5)));
                ops.push(StoreOp::Forgotten(id(n - 4)));
            }
        }
        ops.push(StoreOp::SessionLost);
        ops
    }

    /// What the first operations add up to, one more from place to place.
    fn sums(ops: &[StoreOp]) -> Vec<Contents> {
        let mut sum = Contents::default();
        let mut sums = vec![sum.clone()];
        for op in ops {
            sum.apply(op);
            sums.push(sum.clone());
        }
        sums
    }

    fn files_of(disk: &impl Disk) -> Vec<(String, Vec<u8>)> {
        let read = |entry: martlet_journal::disk::Entry| {
            let mut bytes = vec![0; entry.bytes as usize];
            let file = disk.open(&entry.name).unwrap();
            let n = file.read_at(0, &mut bytes).unwrap();
            bytes.truncate(n);
            (entry.name, bytes)
        };
        disk.list().unwrap().into_iter().map(read).collect()
    }

    fn opened(disk: FaultyDisk) -> Contents {
        let mut store = begin(disk, SMALL);
        let contents = store.open("c").unwrap();
        assert_eq!(store.damage(), [""; 0]);
        Contents { run: 0, ..contents }
    }

    /// Wherever the power is cut, what is there is a part of the operations from the first on, and all that were kept.
    #[test]
    fn the_power_is_cut_everywhere() {
        for batch in [1, 2, 5, 16] {
            let ops = lives(24);
            let sums = sums(&ops);
            let disk = FaultyDisk::new(7);
            disk.record();
            let mut store = begin(disk.clone(), SMALL);
            store.open("c").unwrap();
            // How much had been done to the disk when so many operations were kept.
            let mut kept = BTreeMap::from([(0, 0)]);
            for (nth, some) in ops.chunks(batch).enumerate() {
                assert_eq!(store.keep(some), Ok(Vec::new()));
                kept.insert(disk.recorded(), nth * batch + some.len());
            }
            disk.each_cut(|done, volume| {
                let (_, least) = kept.range(..=done).next_back().unwrap();
                let most = kept.range(done..).next().map_or(ops.len(), |(_, most)| *most);
                for seed in 0..3 {
                    let cut = FaultyDisk::with_files(files_of(&volume.cut(seed)), seed);
                    let found = opened(cut);
                    assert!(
                        sums[*least..=most].contains(&found),
                        "batches of {batch}, after {done}, cut {seed}: not the first {least} to {most} operations, {found:?}"
                    );
                }
            });
        }
    }

    /// A full disk refuses messages, and takes what makes room, as far as the reserve goes; then it takes messages again.
    #[test]
    fn a_full_disk_refuses_messages_only() {
        let disk = FaultyDisk::new(7);
        let mut store = begin(disk.clone(), 1 << 20);
        store.open("c").unwrap();
        let first: Vec<_> = (1..=20).map(|n| accepted(n, 200)).collect();
        assert_eq!(store.keep(&first), Ok(Vec::new()));
        let used = disk.list().unwrap().iter().map(|file| file.bytes).sum();
        disk.set_faults(Faults {
            bytes_max: Some(used),
            ..Faults::default()
        });
        let mut ops = Vec::new();
        for n in 1..=8 {
            ops.push(accepted(100 + n, 200));
            ops.push(StoreOp::Sent(Token(n)));
            ops.push(StoreOp::Released(Token(n)));
            ops.push(StoreOp::Ended(Token(n)));
            ops.push(StoreOp::Received(id(n)));
        }
        let refused = store.keep(&ops).unwrap();
        assert!(!refused.is_empty());
        let mut expected = Contents::default();
        for op in &first {
            expected.apply(op);
        }
        for (at, op) in ops.iter().enumerate() {
            match refused.iter().find(|(place, _)| *place == at) {
                Some((_, StoreError::Full { .. })) => assert!(matches!(op, StoreOp::Accepted(_))),
                Some((_, error)) => panic!("{error}"),
                None => expected.apply(op),
            }
        }
        disk.set_faults(Faults::default());
        // A second later.
        store.asked = None;
        assert_eq!(store.keep(&[accepted(200, 200)]), Ok(Vec::new()));
        expected.apply(&accepted(200, 200));
        drop(store);
        assert_eq!(opened(disk), expected);
    }

    /// A sync that fails is for good: nothing is said to be kept any more.
    #[test]
    fn a_sync_that_fails_ends_the_store() {
        let disk = FaultyDisk::new(7);
        let mut store = begin(disk.clone(), SMALL);
        store.open("c").unwrap();
        disk.set_faults(Faults {
            syncs_one_in: 1,
            ..Faults::default()
        });
        let failed = |end| matches!(end, Err(StoreError::Failed { .. }));
        assert!(failed(store.keep(&[accepted(1, 10)])));
        disk.set_faults(Faults::default());
        assert!(failed(store.keep(&[accepted(2, 10)])));
    }
}
