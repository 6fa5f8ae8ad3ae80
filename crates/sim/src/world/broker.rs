//! What the process does to the world around it.

use std::io::IoSlice;

use martlet_broker::Input;
use martlet_journal::disk::Faults;
use martlet_journal::{Disk, DiskFile, FaultyDisk};
use martlet_store::Bell;

use super::World;
use crate::agenda::Task;
use crate::engine::{DiskStore, SyncStep};
use crate::history::{ConnNo, Fact, LOST};
use crate::pipe::{BrokerEnd, Piece};
use crate::plan::Keeping;
use crate::plant::Bug;
use crate::process::{Effect, Process};

/// How long a connection that is to be closed waits for its client to read.
const LINGER_MS: u64 = 5_000;

/// How often a store without room looks for it.
const LOOKS_FOR_ROOM_MS: u64 = 1_000;

/// Slices of an output that are looked at in one go.
const SLICES: usize = 16;

impl World {
    /// The process starts. The disk does no harm while it does.
    pub(super) fn start(&mut self) {
        self.recipe.disk.set_faults(Faults::default());
        let started = Process::start(&self.recipe, self.now_ms, &mut self.draws);
        match started {
            Ok(process) => self.process = Some(process),
            Err(what) => return self.history.note(Fact::NotStarted { what }),
        }
        if !self.is_draining {
            self.recipe.disk.set_faults(self.faults);
        }
        let shards = self.recipe.shards;
        self.store_is_due = vec![false; usize::from(shards)];
        let store = self.recipe.keeping.name();
        self.history.note(Fact::Started { shards, store });
        for shard in 0..shards {
            self.handle(shard, Input::Time);
        }
    }

    /// Hands something to a shard, and does what it wants.
    pub(super) fn handle(&mut self, shard: u16, input: Input<'_>) {
        let Some(process) = &mut self.process else { return };
        let names = &self.names;
        let effects = process.handle(shard, self.now_ms, input, &|name| names.get(name).copied());
        for effect in effects {
            self.act(shard, effect);
        }
        let Some(process) = &mut self.process else { return };
        let mut dirty = Vec::new();
        process.shards[usize::from(shard)].take_dirty(&mut dirty);
        for id in dirty {
            if let Some(conn) = process.conns.get(&(shard, id)) {
                self.agenda.add(self.now_ms, Task::Flush(*conn));
            }
        }
        if process.has_slow_store() && !self.store_is_due[usize::from(shard)] {
            self.store_is_due[usize::from(shard)] = true;
            let at_ms = self.now_ms + self.draws.below(50);
            self.agenda.add(at_ms, Task::Store(shard));
        }
        self.plan_store();
    }

    fn act(&mut self, shard: u16, effect: Effect) {
        let Some(process) = &mut self.process else { return };
        match effect {
            Effect::Fact(fact) => self.history.note(fact),
            Effect::Parcels(to) => {
                let at_ms = self.now_ms + self.draws.below(6);
                self.agenda.add(at_ms, Task::Forward(to, shard));
            }
            // The bug leaves the connection as it is, as if nobody had told the network.
            Effect::Close(_) if self.recipe.bug == Some(Bug::NotClosed) => {}
            Effect::Close(id) => {
                let Some(conn) = process.conns.get(&(shard, id)) else {
                    return;
                };
                let by_ms = self.now_ms + LINGER_MS;
                if let Some(pipe) = self.pipes.get_mut(conn)
                    && let BrokerEnd::Open { closes_by_ms, .. } = &mut pipe.end
                {
                    *closes_by_ms = Some(by_ms);
                }
                self.agenda.add(self.now_ms, Task::Flush(*conn));
                self.agenda.add(by_ms, Task::Flush(*conn));
            }
            Effect::Relocate(id, to, relocated) => {
                let conn = process
                    .conns
                    .remove(&(shard, id))
                    .expect("a connection that is known moves");
                if let Some(pipe) = self.pipes.get_mut(&conn) {
                    pipe.end = BrokerEnd::Moving {
                        shard: to,
                        relocated: Some(relocated),
                    };
                }
                let at_ms = self.now_ms + self.draws.below(4);
                self.agenda.add(at_ms, Task::Arrive(conn));
            }
        }
    }

    /// Writes what there is to write, as much as the socket takes.
    pub(super) fn flush(&mut self, conn: ConnNo) {
        loop {
            let (Some(pipe), Some(process)) = (self.pipes.get_mut(&conn), &mut self.process) else {
                return;
            };
            let BrokerEnd::Open {
                shard,
                id,
                closes_by_ms,
            } = pipe.end
            else {
                return;
            };
            let output = process.shards[usize::from(shard)]
                .output(id)
                .filter(|output| !output.is_empty());
            let room = self.network.socket_bytes.saturating_sub(pipe.down.bytes);
            let Some(output) = output.filter(|_| room > 0) else {
                let is_written = output.is_none();
                if closes_by_ms.is_some_and(|by_ms| is_written || by_ms <= self.now_ms) {
                    self.close_at_broker(conn);
                }
                return;
            };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let n = output.slices(&mut slices);
            let mut bytes: Vec<u8> = slices[..n]
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            bytes.truncate(room);
            let wrote = bytes.len();
            let bytes = pipe.wire.down(bytes);
            self.send_down(conn, &bytes);
            self.handle(shard, Input::Wrote(id, wrote));
            self.agenda.add(self.now_ms, Task::Up(conn));
        }
    }

    /// The broker's end of a connection is closed.
    pub(super) fn close_at_broker(&mut self, conn: ConnNo) {
        let Some(pipe) = self.pipes.get_mut(&conn) else {
            return;
        };
        let BrokerEnd::Open { shard, id, .. } = pipe.end else {
            return;
        };
        pipe.end = BrokerEnd::Closed;
        pipe.up.lose();
        let at_ms = pipe.down.push(self.now_ms, Piece::End);
        self.agenda.add(at_ms, Task::Down(conn));
        if let Some(process) = &mut self.process {
            process.conns.remove(&(shard, id));
        }
        self.handle(shard, Input::Closed(id));
        self.forget(conn);
    }

    /// One shard's parcels reach another.
    pub(super) fn forward(&mut self, to: u16, from: u16) {
        let Some(process) = &mut self.process else { return };
        let (mut parcels, was_full) = process.take_parcels(to, from);
        if parcels.is_empty() {
            return;
        }
        self.handle(to, Input::Forwarded(&mut parcels));
        if was_full {
            self.agenda.add(self.now_ms, Task::Room(from));
        }
    }

    /// The store ends a batch, and will tell of it.
    pub(super) fn store(&mut self, shard: u16) {
        let Some(process) = &self.process else { return };
        let has_ended = process.end_one(shard);
        self.store_is_due[usize::from(shard)] = has_ended;
        if has_ended {
            let told_ms = self.now_ms + self.draws.below(20);
            self.agenda.add(told_ms, Task::Stored(shard));
            let next_ms = self.now_ms + self.draws.below(50);
            self.agenda.add(next_ms, Task::Store(shard));
        }
    }

    pub(super) fn store_fails(&mut self, fails: bool) {
        if let Some(process) = &self.process {
            process.set_failing(fails);
            self.history.note(Fact::Store(format!("fails: {fails}")));
        }
        let at_ms = self.now_ms + self.draws.between(1, 5_000);
        self.agenda.add(at_ms, Task::StoreFails(!fails));
    }

    /// Cuts the power as it would have been when the disk had done no more than it was to do. What came later was told
    /// to nobody.
    fn cut_if_due(&mut self) -> bool {
        let Some(point) = self.cut_at.filter(|point| *point <= self.recipe.disk.recorded()) else {
            return false;
        };
        self.cut_at = None;
        let seed = self.draws.next();
        let mut files = Vec::new();
        self.recipe.disk.each_cut(|done, volume| {
            if done == point {
                files = files_of(&volume.cut(seed));
            }
        });
        self.recipe.disk = FaultyDisk::with_files(files, seed);
        self.crash();
        true
    }

    /// Sees to it that the disk store does what there is to do.
    fn plan_store(&mut self) {
        let Some(store) = self
            .process
            .as_mut()
            .and_then(|process| process.disk_store.as_mut())
        else {
            return;
        };
        let (has_work, bells) = (store.has_work(), store.take_bells());
        let lost = store.take_lost();
        let is_syncing = store.sync_step() != SyncStep::None;
        if store.seeks_room() && !self.looks_for_room {
            self.looks_for_room = true;
            self.agenda
                .add(self.now_ms + LOOKS_FOR_ROOM_MS, Task::LookForRoom);
        }
        if has_work && !self.writes {
            self.writes = true;
            let at_ms = self.now_ms + self.draws.below(8);
            self.agenda.add(at_ms, Task::Write);
        }
        if is_syncing && !self.syncs {
            self.syncs = true;
            let at_ms = self.now_ms + self.draws.below(30);
            self.agenda.add(at_ms, Task::Sync);
        }
        if lost > 0 {
            self.history.note(Fact::BrokerDropped {
                client: None,
                topic: None,
                reason: LOST.to_owned(),
                count: lost,
            });
        }
        for (shard, bell) in bells {
            let at_ms = self.now_ms + self.draws.below(4);
            let task = match bell {
                Bell::Stored => Task::Stored(shard),
                Bell::Room => Task::Room(shard),
            };
            self.agenda.add(at_ms, task);
        }
    }

    /// The disk store writes, and begins a sync if none is under way.
    pub(super) fn write(&mut self) {
        self.writes = false;
        let even_so = self.draws.one_in(4);
        let cleans = self.draws.one_in(4);
        let Some(store) = self
            .process
            .as_mut()
            .and_then(|process| process.disk_store.as_mut())
        else {
            return;
        };
        store.write();
        if cleans {
            store.clean();
        }
        store.snapshot();
        store.begin_sync(even_so);
        if self.cut_if_due() {
            return;
        }
        self.look_for_failure();
        self.plan_store();
    }

    /// As the server does now and then while messages are refused.
    pub(super) fn look_for_room(&mut self) {
        self.looks_for_room = false;
        let store = self
            .process
            .as_mut()
            .and_then(|process| process.disk_store.as_mut());
        if let Some(store) = store {
            store.look_for_room();
            self.plan_store();
        }
    }

    /// A sync runs, or its end is told.
    pub(super) fn sync(&mut self) {
        self.syncs = false;
        let Some(store) = self
            .process
            .as_mut()
            .and_then(|process| process.disk_store.as_mut())
        else {
            return;
        };
        match store.sync_step() {
            SyncStep::Run => store.run_sync(),
            SyncStep::End => {
                store.end_sync();
                store.snapshot();
                store.begin_sync(false);
            }
            SyncStep::None => {}
        }
        if self.cut_if_due() {
            return;
        }
        self.look_for_failure();
        self.plan_store();
    }

    /// A store that has failed for good, or that could not read a message, is opened anew by an operator, after a while.
    fn look_for_failure(&mut self) {
        let store = self
            .process
            .as_ref()
            .and_then(|process| process.disk_store.as_ref());
        if let Some(failure) = store.and_then(DiskStore::failure)
            && !self.is_given_up
        {
            self.is_given_up = true;
            self.history.note(Fact::Store(failure));
            let at_ms = self.now_ms + self.draws.between(1, 3_000);
            self.agenda.add(at_ms, Task::CrashOnce);
        }
    }

    /// The disk has no room for a while.
    pub(super) fn disk_full(&mut self, is_full: bool) {
        let used: u64 = self
            .recipe
            .disk
            .list()
            .map(|files| files.iter().map(|file| file.bytes).sum())
            .unwrap_or_default();
        self.faults.bytes_max = is_full.then(|| used + self.draws.below(2_000));
        if self.process.is_some() {
            self.recipe.disk.set_faults(self.faults);
        }
        self.history.note(Fact::Store(format!("full: {is_full}")));
        let at_ms = self.now_ms + self.draws.between(1, 5_000);
        self.agenda.add(at_ms, Task::DiskFull(!is_full));
    }

    /// Nothing fails any more. Crashes that were planned are forgotten, but for one that mends a store.
    pub(super) fn mend(&mut self) {
        self.recipe.disk.set_faults(Faults::default());
        if let Some(process) = &self.process {
            process.set_failing(false);
        }
        let mends = self.is_given_up;
        self.agenda.retain(|task| mends || task != Task::CrashOnce);
    }

    /// The process is gone, and all that it had.
    pub(super) fn crash(&mut self) {
        if self.process.take().is_none() {
            return;
        }
        (self.writes, self.syncs, self.is_given_up) = (false, false, false);
        self.looks_for_room = false;
        let cuts_power = self.cuts_power && self.draws.one_in(2);
        if cuts_power {
            self.recipe.disk.cut_power();
        }
        self.history.note(Fact::Crashed {
            keeps: self.recipe.keeping == Keeping::Disk,
            cuts_power,
        });
        self.agenda.retain(|task| {
            !matches!(
                task,
                Task::Arrive(_)
                    | Task::Up(_)
                    | Task::Flush(_)
                    | Task::Forward(..)
                    | Task::Room(_)
                    | Task::Store(_)
                    | Task::Stored(_)
                    | Task::Write
                    | Task::LookForRoom
                    | Task::Sync
            )
        });
        let conns: Vec<_> = self.pipes.keys().copied().collect();
        for conn in conns {
            let loses = self.draws.one_in(2);
            let Some(pipe) = self.pipes.get_mut(&conn) else {
                continue;
            };
            pipe.end = BrokerEnd::Closed;
            pipe.up.lose();
            if loses {
                pipe.down.lose();
            }
            let at_ms = self.now_ms + self.draws.below(100);
            let at_ms = pipe.down.push(at_ms, Piece::End);
            self.agenda.add(at_ms, Task::Down(conn));
            self.forget(conn);
        }
        let at_ms = self.now_ms + self.draws.between(1, 3_000);
        self.agenda.add(at_ms, Task::Start);
    }
}

fn files_of(disk: &impl Disk) -> Vec<(String, Vec<u8>)> {
    let read = |entry: martlet_journal::disk::Entry| {
        let mut bytes = vec![0; entry.bytes as usize];
        let file = disk.open(&entry.name).expect("it was just listed");
        let n = file.read_at(0, &mut bytes).expect("memory can be read");
        bytes.truncate(n);
        (entry.name, bytes)
    };
    let entries = disk.list().expect("memory can be listed");
    entries.into_iter().map(read).collect()
}
