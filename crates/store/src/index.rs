//! Where the record of each thing lies.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::PacketId;
use martlet_journal::Place;
use martlet_session::Key;

use crate::places::Places;
use crate::record::Name;

/// Numbers are our own, so nobody can choose them to collide.
pub(crate) type Map<K, V> = HashMap<K, V, FixedState>;

/// The places of all records that live.
#[derive(Debug, Default)]
pub(crate) struct Index {
    sessions: Places,
    subscriptions: Places,
    messages: Places,
    bodies: Places,
    /// How many links a body has.
    links: Map<u64, u32>,
    retained: Places,
    retained_links: Map<u64, (Place, u64)>,
    received: Places,
    sent: Places,
    clock: Option<Place>,
    format: Option<Place>,
    /// Retained messages that were cleared before they came.
    doomed: BTreeSet<u64>,
}

/// Those that were refused never come: the oldest are forgotten.
const DOOMED_MAX: usize = 1 << 16;

/// A change of the index, to be taken back if it could not be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Undo {
    Place(Name, Option<Place>),
    Links(u64, u32),
    /// The body of a retained link.
    Body(u64, u64),
    /// A retained message was cleared before it came.
    Doomed(u64),
    /// One that had been cleared came.
    Came(u64),
}

fn of_identifier(session: u64, id: PacketId) -> u64 {
    session << 16 | u64::from(id.get())
}

impl Index {
    pub(crate) fn get(&self, name: Name) -> Option<Place> {
        match name {
            Name::Session(number) => self.sessions.get(number),
            Name::Subscription(number) => self.subscriptions.get(number),
            Name::Message(key) => self.messages.get(key.0),
            Name::Body(number) => self.bodies.get(number),
            Name::Retained(version) => self.retained.get(version),
            Name::RetainedLink(version) => self.retained_links.get(&version).map(|(place, _)| *place),
            Name::Received(session, id) => self.received.get(of_identifier(session, id)),
            Name::Sent(session, id) => self.sent.get(of_identifier(session, id)),
            Name::Clock => self.clock,
            Name::Format => self.format,
        }
    }

    /// Gives a name a place, or takes it away; returns the one that it had.
    pub(crate) fn set(&mut self, name: Name, place: Option<Place>) -> Option<Place> {
        fn set_in(places: &mut Places, number: u64, place: Option<Place>) -> Option<Place> {
            match place {
                Some(place) => places.insert(number, place),
                None => places.remove(number),
            }
        }
        match name {
            Name::Session(number) => set_in(&mut self.sessions, number, place),
            Name::Subscription(number) => set_in(&mut self.subscriptions, number, place),
            Name::Message(key) => set_in(&mut self.messages, key.0, place),
            Name::Body(number) => set_in(&mut self.bodies, number, place),
            Name::Retained(version) => set_in(&mut self.retained, version, place),
            Name::RetainedLink(version) => match place {
                Some(place) => {
                    let body = self.body_of(version).unwrap_or(0);
                    let old = self.retained_links.insert(version, (place, body));
                    old.map(|(old, _)| old)
                }
                None => self.retained_links.remove(&version).map(|(old, _)| old),
            },
            Name::Received(session, id) => set_in(&mut self.received, of_identifier(session, id), place),
            Name::Sent(session, id) => set_in(&mut self.sent, of_identifier(session, id), place),
            Name::Clock => std::mem::replace(&mut self.clock, place),
            Name::Format => std::mem::replace(&mut self.format, place),
        }
    }

    /// How many links a body has; 0: there is no such body.
    pub(crate) fn links(&self, body: u64) -> u32 {
        self.links.get(&body).copied().unwrap_or(0)
    }

    pub(crate) fn set_links(&mut self, body: u64, links: u32) {
        if links == 0 {
            self.links.remove(&body);
        } else {
            self.links.insert(body, links);
        }
    }

    /// The body of a retained link, which has a place.
    pub(crate) fn body_of(&self, version: u64) -> Option<u64> {
        self.retained_links.get(&version).map(|(_, body)| *body)
    }

    pub(crate) fn set_body_of(&mut self, version: u64, body: u64) {
        if let Some((_, of)) = self.retained_links.get_mut(&version) {
            *of = body;
        }
    }

    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Place(name, place) => {
                self.set(name, place);
            }
            Undo::Links(body, links) => self.set_links(body, links),
            Undo::Body(version, body) => self.set_body_of(version, body),
            Undo::Doomed(version) => _ = self.comes(version),
            Undo::Came(version) => self.doom(version),
        }
    }

    /// A retained message that has not come yet is cleared.
    pub(crate) fn doom(&mut self, version: u64) {
        self.doomed.insert(version);
        if self.doomed.len() > DOOMED_MAX {
            self.doomed.pop_first();
        }
    }

    /// A retained message comes: whether it was cleared before.
    pub(crate) fn comes(&mut self, version: u64) -> bool {
        self.doomed.remove(&version)
    }

    /// Whether a message is a link to a body.
    pub(crate) fn is_link(&self, key: Key) -> bool {
        !self.links.is_empty() && self.links.contains_key(&key.number())
    }

    /// How many records it has the places of.
    pub(crate) fn records(&self) -> usize {
        let single = usize::from(self.clock.is_some()) + usize::from(self.format.is_some());
        let maps = [
            &self.sessions,
            &self.subscriptions,
            &self.messages,
            &self.bodies,
            &self.retained,
            &self.received,
            &self.sent,
        ];
        single + self.retained_links.len() + maps.iter().map(|map| map.len()).sum::<usize>()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages.len()
    }
}
