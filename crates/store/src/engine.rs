//! The engine: appends what shards hand over, and tells them what is durable.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use martlet_broker::{Durability, Load, StoreEvent};
use martlet_journal::{Cleaned, Disk, Group, Journal, Place, Position, Record, SyncJob, Synced};
use martlet_session::Ticket;

use crate::clock::Reading;
use crate::error::with_causes;
use crate::exchange::{End, Exchange, Pack, Step};
use crate::group::{Filling, Steps};
use crate::handle::Handle;
use crate::index::Index;
use crate::limits::Limits;
use crate::record::{self, Name, Times, kind};
use crate::snapshot::Snapshots;

/// How a group is appended.
type Append<D> = fn(&mut Journal<D>, &mut Group) -> Result<Position, martlet_journal::Error>;

/// A store on a disk. One owner drives it.
#[derive(Debug)]
pub struct Engine<D: Disk> {
    pub(crate) journal: Journal<D>,
    pub(crate) index: Index,
    pub(crate) limits: Limits,
    pub(crate) times: Times,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) filling: Filling,
    /// Batches of the group.
    batches: Vec<Waiting>,
    packs: Vec<(u16, Pack)>,
    /// Pages that shards wait for, of messages that have been written.
    pub(crate) loads: Vec<(u16, Load)>,
    /// Batches that wait for a sync, with where they end.
    waiting: VecDeque<(Position, u16, Ticket)>,
    /// What came to an end, by shard.
    pub(crate) ended: Vec<Vec<StoreEvent>>,
    /// Deletions that nobody waits for and that could not be written.
    left: Vec<Step>,
    failure: Option<String>,
    /// The last thing that went wrong and passes: the disk is full.
    trouble: Option<String>,
    lost: u64,
    /// Messages that could not be read, and why the last one could not.
    unreadable: (u64, String),
    pub(crate) snapshots: Snapshots<D>,
}

impl<D: Disk> Engine<D> {
    pub(crate) fn new(
        journal: Journal<D>,
        index: Index,
        limits: Limits,
        times: Times,
        exchange: Arc<Exchange>,
    ) -> Self {
        let shards = exchange.shards();
        Self {
            journal,
            index,
            limits,
            times,
            exchange,
            filling: Filling::default(),
            batches: Vec::new(),
            packs: Vec::new(),
            loads: Vec::new(),
            waiting: VecDeque::new(),
            ended: (0..shards).map(|_| Vec::new()).collect(),
            left: Vec::new(),
            failure: None,
            trouble: None,
            lost: 0,
            unreadable: (0, String::new()),
            snapshots: Snapshots::default(),
        }
    }

    /// A shard's end of it.
    pub fn handle(&self, shard: u16) -> Handle {
        Handle::new(shard, Arc::clone(&self.exchange))
    }

    /// Where it meets the shards.
    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Appends all that shards have handed over. Batches that need no sync end with that.
    pub fn write(&mut self) {
        // Before the batches: what is to be loaded was handed over before it was asked for.
        self.loads.append(&mut self.exchange.take_loads());
        let mut packs = std::mem::take(&mut self.packs);
        self.exchange.take_packs(&mut packs);
        self.write_left();
        for (at, (_, pack)) in packs.iter().enumerate() {
            let (mut step, mut byte) = (0, 0);
            for steps in pack.steps.split_inclusive(|step| matches!(step, Step::End(..))) {
                let len = steps.iter().map(bytes_of).sum::<usize>();
                let waiting = Waiting {
                    pack: at,
                    steps: step..step + steps.len(),
                    bytes: byte..byte + len,
                };
                (step, byte) = (waiting.steps.end, waiting.bytes.end);
                self.write_batch(&packs, waiting);
            }
        }
        self.append(&packs);
        packs
            .drain(..)
            .for_each(|(_, pack)| self.exchange.give_back(pack));
        self.packs = packs;
        self.exchange.tell(&mut self.ended);
    }

    fn write_batch(&mut self, packs: &[(u16, Pack)], waiting: Waiting) {
        let batch = waiting.batch(packs);
        if self.failure.is_some() {
            return self.refuse(packs, &waiting);
        }
        let bytes = self.filling.group.bytes() + batch.bytes.len();
        let is_full = bytes > self.limits.group_bytes && !self.filling.is_empty();
        if is_full || self.filling.conflicts(&self.index, batch) {
            self.append(packs);
            if self.failure.is_some() {
                return self.refuse(packs, &waiting);
            }
        }
        self.filling.add(&mut self.index, batch);
        self.batches.push(waiting);
    }

    /// Appends the group. If the disk has no room for all of it, each of its batches on its own, so that those which
    /// make room get through.
    fn append(&mut self, packs: &[(u16, Pack)]) {
        let batches = std::mem::take(&mut self.batches);
        let has_puts = self.filling.has_puts();
        if self.append_group(Journal::append).is_ok() {
            if has_puts {
                self.forget_trouble();
            }
            for batch in &batches {
                self.appended(packs, batch);
            }
        } else {
            let was_alone = batches.len() == 1;
            for batch in &batches {
                if self.append_alone(batch.batch(packs), was_alone).is_ok() {
                    self.appended(packs, batch);
                } else {
                    self.refuse(packs, batch);
                }
            }
        }
        self.batches = batches;
        self.batches.clear();
    }

    /// Appends a batch of a group that could not be appended; `was_alone`: it was all of it.
    fn append_alone(&mut self, batch: Steps<'_>, was_alone: bool) -> Result<(), ()> {
        let makes_room = batch.makes_room(&self.index);
        if self.failure.is_some() || (was_alone && !makes_room) {
            return Err(());
        }
        self.filling.add(&mut self.index, batch);
        self.append_group(if makes_room {
            Journal::append_at_need
        } else {
            Journal::append
        })
    }

    fn append_group(&mut self, append: Append<D>) -> Result<(), ()> {
        let late = !self.filling.late.is_empty();
        if self.filling.is_empty() && !late {
            return Ok(());
        }
        let kept = self.filling.kill_late();
        match append(&mut self.journal, &mut self.filling.group) {
            Ok(_) => {
                self.filling.appended(&mut self.index);
                if !self.filling.late.is_empty() {
                    // A batch may promise that they are dead. If this fails it is tried again with the next group.
                    let _ = self.append_group(Journal::append);
                }
                Ok(())
            }
            Err(error) => {
                self.filling.taken_back(&mut self.index);
                self.filling.late = kept;
                self.note(&error);
                Err(())
            }
        }
    }

    /// What a failure means: that the disk is full passes, the others do not.
    fn note(&mut self, error: &martlet_journal::Error) {
        use martlet_journal::Error::{Disk, Full, NoSpace, TooLarge};
        let text = with_causes(error);
        match error {
            NoSpace { .. } | Full { .. } | TooLarge { .. } | Disk { .. }
                if self.journal.poison().is_none() =>
            {
                self.trouble = Some(text);
                // If there is room for less, only this was too much.
                if matches!(error, NoSpace { .. }) && !self.journal.finds_room() {
                    self.exchange.set_refuses(true);
                }
            }
            _ => self.fail(text),
        }
    }

    /// Nothing is kept any more: what waits is refused, as nobody knows what of it the disk has.
    fn fail(&mut self, text: String) {
        self.failure.get_or_insert(text);
        self.exchange.set_refuses(true);
        for (_, shard, ticket) in self.waiting.drain(..) {
            self.ended[usize::from(shard)].push(StoreEvent::Failed(ticket));
        }
    }

    fn appended(&mut self, packs: &[(u16, Pack)], batch: &Waiting) {
        let (shard, end) = batch.end(packs);
        let Some(ticket) = end.ticket else { return };
        if end.durability == Durability::Fsync && self.journal.durable() < self.journal.end() {
            self.waiting.push_back((self.journal.end(), shard, ticket));
        } else {
            self.ended[usize::from(shard)].push(StoreEvent::Durable(ticket));
        }
    }

    /// A batch was not kept. What it deletes is tried again if it is loose, or if a session is over with it.
    fn refuse(&mut self, packs: &[(u16, Pack)], batch: &Waiting) {
        let (shard, End { ticket, is_loose, .. }) = batch.end(packs);
        if let Some(ticket) = ticket {
            self.ended[usize::from(shard)].push(StoreEvent::Failed(ticket));
        }
        let steps = batch.batch(packs).steps;
        let is_over = |step: &Step| matches!(step, Step::Delete(Name::Session(_)));
        let is_over = steps.iter().any(is_over);
        // A message for another member of a group: who waits for the rest of the batch is not told of that.
        let is_lost = |step: &&Step| match step {
            Step::Put { name, .. } => match name {
                Name::Message(_) => ticket.is_none() || is_loose || is_over,
                Name::Body(_) => false,
                _ => ticket.is_none(),
            },
            Step::Delete(_) | Step::End(..) => false,
        };
        self.lost += steps.iter().filter(is_lost).count() as u64;
        if self.failure.is_none() && (is_loose || is_over) {
            let deletes = steps.iter().filter(|step| matches!(step, Step::Delete(_)));
            self.left.extend(deletes);
        }
    }

    /// A record could not be read.
    pub(crate) fn count_unreadable(&mut self, error: &martlet_journal::Error) {
        self.unreadable.0 += 1;
        self.unreadable.1 = with_causes(error);
    }

    /// Deletions that did not get through the last time.
    fn write_left(&mut self) {
        if self.left.is_empty() || self.failure.is_some() {
            return;
        }
        let left = std::mem::take(&mut self.left);
        let steps = Steps {
            steps: &left,
            bytes: &[],
        };
        self.filling.add(&mut self.index, steps);
        if self.append_group(Journal::append).is_err() {
            self.left = left;
        }
    }

    /// Whether deletions that found no room wait for the next [`write`](Self::write).
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether somebody waits for a sync.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a sync would do anything.
    pub fn needs_sync(&self) -> bool {
        self.failure.is_none() && self.journal.needs_sync()
    }

    /// Begins a sync of all that has been written. The job runs on any thread, and its outcome is for
    /// [`end_sync`](Self::end_sync). None: there is nothing to sync, or another is under way.
    pub fn begin_sync(&mut self) -> Option<SyncJob<D>> {
        if self.failure.is_some() {
            return None;
        }
        match self.journal.begin_sync() {
            Ok(job) => {
                if job.is_none() {
                    self.synced(self.journal.durable());
                    self.exchange.tell(&mut self.ended);
                }
                job
            }
            Err(martlet_journal::Error::SyncUnderWay) => None,
            Err(error) => {
                self.note(&error);
                self.exchange.tell(&mut self.ended);
                None
            }
        }
    }

    /// A sync has ended: so have the batches that it was for.
    pub fn end_sync(&mut self, synced: Synced) {
        match self.journal.end_sync(synced) {
            Ok(durable) => self.synced(durable),
            Err(error) => self.note(&error),
        }
        self.exchange.tell(&mut self.ended);
    }

    pub(crate) fn synced(&mut self, durable: Position) {
        while let Some((_, shard, ticket)) = self.waiting.pop_front_if(|(at, ..)| *at <= durable) {
            self.ended[usize::from(shard)].push(StoreEvent::Durable(ticket));
        }
    }

    /// Whether it is to be asked now and then whether there [is room](Self::finds_room).
    pub fn seeks_room(&self) -> bool {
        self.failure.is_none() && (self.trouble.is_some() || self.journal.needs_room())
    }

    /// Cleans for a while, if more is dead than is worth its place; whether there is more to do.
    pub fn clean(&mut self) -> bool {
        let (bytes, live) = (self.journal.bytes(), self.journal.live_bytes());
        let is_worth_it = bytes > 2 * live + self.limits.clean_bytes_min || self.journal.needs_room();
        if self.failure.is_some() || !is_worth_it {
            return false;
        }
        match self.journal.clean(&mut self.index, self.limits.clean_bytes) {
            Ok(Cleaned::Nothing) => false,
            Ok(Cleaned::Part { .. } | Cleaned::Emptied { .. }) => true,
            Err(error) => {
                self.note(&error);
                false
            }
        }
    }

    /// The clock of the system has been set: from now on as much passes as on that one.
    pub fn clock_set(&mut self, shown_ms: u64, system_ms: u64) {
        if self.failure.is_some() {
            return;
        }
        let reading = Reading { shown_ms, system_ms };
        // If it cannot be written now, the next start sees the jump; nothing else is lost.
        self.put_own(Name::Clock, kind::CLOCK, |out| reading.write(out));
    }

    /// Writes a record of the store itself.
    pub(crate) fn put_own(&mut self, name: Name, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.filling.add_own(&mut self.index, name, kind, write);
        let _ = self.append_group(Journal::append);
    }

    /// Kills records that nothing names.
    pub(crate) fn bury(&mut self, places: Vec<Place>) {
        self.filling.late.extend(places);
        let _ = self.append_group(Journal::append);
    }

    /// Deletes what belongs to nothing.
    pub(crate) fn delete_all(&mut self, names: &[Name]) {
        self.left.extend(names.iter().map(|name| Step::Delete(*name)));
        self.write_left();
    }

    /// Why nothing is kept any more, if so: only opening it anew can mend that.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Why the last batch was refused, if the last one was: the disk is full.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Asks whether a disk that was full has room again.
    pub fn finds_room(&mut self) -> bool {
        let found = self.failure.is_none() && self.journal.finds_room();
        if found {
            self.forget_trouble();
        }
        found
    }

    fn forget_trouble(&mut self) {
        self.trouble = None;
        if self.failure.is_none() {
            self.exchange.set_refuses(false);
        }
    }

    /// How many changes that nobody waited for could not be kept.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many messages could not be read, and why the last one could not.
    pub fn unreadable(&self) -> (u64, &str) {
        (self.unreadable.0, &self.unreadable.1)
    }

    /// Sessions that are stored.
    pub fn sessions(&self) -> usize {
        self.index.sessions()
    }

    /// Messages that are stored on their way to sessions.
    pub fn messages(&self) -> usize {
        self.index.messages()
    }
}

/// A batch of a pack.
#[derive(Debug, Clone)]
struct Waiting {
    pack: usize,
    steps: Range<usize>,
    bytes: Range<usize>,
}

impl Waiting {
    fn batch<'a>(&self, packs: &'a [(u16, Pack)]) -> Steps<'a> {
        let (_, pack) = &packs[self.pack];
        Steps {
            steps: &pack.steps[self.steps.clone()],
            bytes: &pack.bytes[self.bytes.clone()],
        }
    }

    fn end(&self, packs: &[(u16, Pack)]) -> (u16, End) {
        let (shard, pack) = &packs[self.pack];
        match pack.steps[self.steps.end - 1] {
            Step::End(end) => (*shard, end),
            Step::Put { .. } | Step::Delete(_) => unreachable!("a batch has an end"),
        }
    }
}

fn bytes_of(step: &Step) -> usize {
    match step {
        Step::Put { len, .. } => *len as usize,
        Step::Delete(_) | Step::End(..) => 0,
    }
}

/// The journal asks it only while it cleans; replays go to the loader.
impl martlet_journal::Index for Index {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn snapshot(&mut self, _: &[u8]) {}

    fn snapshot_ends(&mut self) -> bool {
        false
    }

    fn gone(&mut self, _: &[u32]) {}

    fn put(&mut self, _: Record<'_>) {}

    fn killed(&mut self, _: Place) {}

    fn is_live(&self, record: &Record<'_>) -> bool {
        record::name(record.kind, record.payload).is_some_and(|name| self.get(name) == Some(record.place))
    }

    fn moved(&mut self, record: &Record<'_>, to: Place) {
        if let Some(name) = record::name(record.kind, record.payload) {
            self.set(name, Some(to));
        }
    }
}
