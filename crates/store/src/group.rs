//! From what shards handed over to a group of the journal, in a way that can be taken back.

use martlet_journal::{Group, Place};

use crate::exchange::Step;
use crate::index::{Index, Undo};
use crate::record::Name;

/// The segment of records that are in the group and have no place yet; the offset is their turn.
const NOWHERE: u32 = u32::MAX;

/// A group that is being filled, and what it changes.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    pub(crate) group: Group,
    /// The names of its records, in their order.
    names: Vec<Name>,
    undo: Vec<Undo>,
    /// Records that are dead once they have a place: taken out of the index while they had none.
    pub(crate) late: Vec<Place>,
}

/// One batch as it was handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a> {
    pub(crate) steps: &'a [Step],
    pub(crate) bytes: &'a [u8],
}

impl Steps<'_> {
    /// Whether it lets messages leave, so that it may have room when others are refused: it puts nothing but sessions
    /// that are there already, as when a client comes or goes, and identifiers of what goes out.
    pub(crate) fn makes_room(self, index: &Index) -> bool {
        self.steps.iter().all(|step| match step {
            Step::Put { name, .. } => match name {
                Name::Session(_) => index.get(*name).is_some(),
                Name::Sent(..) => true,
                _ => false,
            },
            Step::Delete(_) | Step::End(..) => true,
        })
    }
}

fn nowhere(turn: usize) -> Place {
    Place {
        segment: NOWHERE,
        offset: turn as u32,
        bytes: 0,
    }
}

impl Filling {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.group.is_empty()
    }

    pub(crate) fn has_puts(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether a batch changes what is in the group and has no place yet: it must wait until that is written.
    pub(crate) fn conflicts(&self, index: &Index, batch: Steps<'_>) -> bool {
        if self.names.is_empty() {
            return false;
        }
        batch.steps.iter().any(|step| {
            let name = match step {
                Step::Put { name, .. } | Step::Delete(name) => *name,
                Step::End(..) => return false,
            };
            index.get(name).is_some_and(|place| place.segment == NOWHERE)
        })
    }

    /// Adds a batch.
    pub(crate) fn add(&mut self, index: &mut Index, batch: Steps<'_>) {
        let mut bytes = batch.bytes;
        for step in batch.steps {
            match *step {
                Step::Put {
                    name,
                    kind,
                    len,
                    about,
                } => {
                    let (payload, rest) = bytes.split_at(len as usize);
                    bytes = rest;
                    self.put(index, name, kind, payload, about);
                }
                Step::Delete(name) => self.delete(index, name),
                Step::End(..) => {}
            }
        }
        self.group.end_batch();
    }

    fn put(&mut self, index: &mut Index, name: Name, kind: u8, payload: &[u8], about: u64) {
        if let Name::Retained(version) | Name::RetainedLink(version) = name
            && index.comes(version)
        {
            self.undo.push(Undo::Came(version));
            if let Name::RetainedLink(_) = name {
                self.unlink(index, about);
            }
            return;
        }
        let old = index.set(name, Some(nowhere(self.names.len())));
        self.undo.push(Undo::Place(name, old));
        self.names.push(name);
        self.group.put(kind, payload);
        self.bury(old);
        match name {
            Name::Body(number) => {
                self.undo.push(Undo::Links(number, index.links(number)));
                index.set_links(number, about as u32);
            }
            Name::RetainedLink(version) => index.set_body_of(version, about),
            _ => {}
        }
    }

    fn delete(&mut self, index: &mut Index, name: Name) {
        let name = match name {
            Name::Retained(version) if index.get(name).is_none() => {
                if index.get(Name::RetainedLink(version)).is_none() {
                    // Another shard replaced it before the one that set it handed it over.
                    index.doom(version);
                    self.undo.push(Undo::Doomed(version));
                    return;
                }
                Name::RetainedLink(version)
            }
            other => other,
        };
        let body = match name {
            Name::RetainedLink(version) => index.body_of(version),
            _ => None,
        };
        let Some(old) = index.set(name, None) else { return };
        self.undo.push(Undo::Place(name, Some(old)));
        self.bury(Some(old));
        match (name, body) {
            (Name::RetainedLink(version), Some(body)) => {
                self.undo.push(Undo::Body(version, body));
                self.unlink(index, body);
            }
            (Name::Message(key), _) if index.is_link(key) => self.unlink(index, key.number()),
            _ => {}
        }
    }

    /// A link of a body is gone; the body goes with the last.
    fn unlink(&mut self, index: &mut Index, body: u64) {
        let links = index.links(body);
        if links == 0 {
            return;
        }
        self.undo.push(Undo::Links(body, links));
        index.set_links(body, links - 1);
        if links == 1
            && let Some(old) = index.set(Name::Body(body), None)
        {
            self.undo.push(Undo::Place(Name::Body(body), Some(old)));
            self.bury(Some(old));
        }
    }

    /// A record that had a place is dead; one that has none yet is found out when it has.
    fn bury(&mut self, place: Option<Place>) {
        if let Some(place) = place.filter(|place| place.segment != NOWHERE) {
            self.group.kill(place);
        }
    }

    /// Adds a record of the store itself.
    pub(crate) fn add_own(
        &mut self,
        index: &mut Index,
        name: Name,
        kind: u8,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut payload = Vec::new();
        write(&mut payload);
        self.put(index, name, kind, &payload, 0);
        self.group.end_batch();
    }

    /// Kills what died before it had a place; returns that, for when the group cannot be appended.
    pub(crate) fn kill_late(&mut self) -> Vec<Place> {
        let late = std::mem::take(&mut self.late);
        for place in &late {
            self.group.kill(*place);
        }
        self.group.end_batch();
        late
    }

    /// The group has been appended: its records have places.
    pub(crate) fn appended(&mut self, index: &mut Index) {
        for (turn, (name, place)) in self.names.iter().zip(self.group.places()).enumerate() {
            if index.get(*name) == Some(nowhere(turn)) {
                index.set(*name, Some(place));
            } else {
                self.late.push(place);
            }
        }
        self.clear();
    }

    /// The group could not be appended: the index is as it was.
    pub(crate) fn taken_back(&mut self, index: &mut Index) {
        while let Some(undo) = self.undo.pop() {
            index.undo(undo);
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.group.clear();
        self.names.clear();
        self.undo.clear();
    }
}
