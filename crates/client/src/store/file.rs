//! A store in a folder: a journal, and an index of what lives in it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use martlet_journal::{Cleaned, Group, Journal, Place, RealDisk, Record, Report};

use super::record::{self, Kind, Name};
use super::{Contents, Store, StoreError, StoreOp};
use crate::engine::{Stage, StoredMessage, Token, received_with};
use crate::kill_points::{self, Point};
use crate::limits;

/// When a store says that something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: it survives a power cut. What comes while one sync runs shares the next.
    Fsync,
    /// The same, and each sync waits that long for more to share it.
    FsyncBatch(Duration),
    /// When the system has it: it survives the end of the process, not that of the system.
    Os,
}

/// A store in a folder, which it locks. Each client identifier needs a folder of its own.
///
/// Damage does not keep it from opening: files that are damaged are set aside, what is left of them counts, and
/// [`damage`](Self::damage) tells.
#[derive(Debug)]
pub struct FileStore {
    journal: Journal<RealDisk>,
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
}

impl FileStore {
    /// Opens the store in a folder, or begins one; the folder is made where there is none.
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        let place = path.display().to_string();
        let failed = |error: martlet_journal::Error| failed(&place, &error);
        let holder = format!("a martlet client, process {}", std::process::id());
        let disk = RealDisk::open(&path, &holder).map_err(failed)?;
        let mut index = Index::default();
        let salt = RandomState::new().hash_one(0_u8) as u32;
        let (mut journal, report) =
            Journal::open(disk, limits::store_journal(), salt, &mut index).map_err(failed)?;
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
        })
    }

    /// What was damaged when it was opened, a line each; the files have the names that it says now.
    pub fn damage(&self) -> &[String] {
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
    fn append(&mut self, append: Append) -> Result<(), martlet_journal::Error> {
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

    /// Keeps the operations one by one: a full disk takes what makes room, and refuses the messages.
    fn append_each(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let mut refused = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            let is_message = matches!(op, StoreOp::Accepted(_));
            let append = if is_message {
                Journal::append
            } else {
                Journal::append_at_need
            };
            let appended = self.stage(op).and_then(|()| self.append(append));
            match appended.map_err(|error| self.failed(&error)) {
                Err(full @ StoreError::Full { .. }) if is_message => refused.push((at, full)),
                appended => appended?,
            }
        }
        Ok(refused)
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

type Append =
    fn(&mut Journal<RealDisk>, &mut Group) -> Result<martlet_journal::Position, martlet_journal::Error>;

impl Store for FileStore {
    fn open(&mut self, client_id: &str) -> Result<Contents, StoreError> {
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

    fn keep(&mut self, ops: &[StoreOp]) -> Result<Vec<(usize, StoreError)>, StoreError> {
        let mut refused = Vec::new();
        let mut begin = 0;
        while begin < ops.len() {
            let end = group_end(ops, begin);
            let group = &ops[begin..end];
            let staged = group.iter().try_for_each(|op| self.stage(op));
            if let Err(error) = staged.and_then(|()| self.append(Journal::append)) {
                let StoreError::Full { .. } = self.failed(&error) else {
                    return Err(self.failed(&error));
                };
                let some = self.append_each(group)?;
                refused.extend(some.into_iter().map(|(at, error)| (begin + at, error)));
            }
            begin = end;
        }
        self.sync()?;
        self.clean();
        Ok(refused)
    }

    fn gathers(&self) -> Duration {
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
        Kind::Arrived => contents.apply(&StoreOp::Arrived(name.key, record::read_incoming(payload)?)),
    }
    Some(())
}

fn failed(place: &str, error: &martlet_journal::Error) -> StoreError {
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
