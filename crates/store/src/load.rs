//! Pages of queues, read when they are due.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use martlet_broker::{Load, Page, StoreEvent};
use martlet_journal::{Disk, Place};
use martlet_session::{Found, Key, Loaded, Message, Queued};

use crate::engine::Engine;
use crate::index::Map;
use crate::loader::spot;
use crate::record::{self, MessageRecord, Name, kind};

impl<D: Disk> Engine<D> {
    /// Reads the pages that shards wait for; what was handed over before is written first.
    pub fn serve_loads(&mut self) {
        if self.exchange.has_loads() {
            self.write();
        }
        for (shard, load) in std::mem::take(&mut self.loads) {
            let page = self.page(&load);
            self.ended[usize::from(shard)].push(StoreEvent::Page(page));
        }
        self.exchange.tell(&mut self.ended);
    }

    /// Reads records that lie near each other at once. What is not there was refused.
    fn page(&mut self, load: &Load) -> Page {
        let mut bytes = 0;
        let page_bytes = self.limits.page_bytes;
        let places = load.keys.iter().map(|key| self.index.get(Name::Message(*key)));
        let places: Vec<_> = places
            .take_while(|place| {
                let goes_on = bytes < page_bytes;
                bytes += place.map_or(0, |place| place.bytes as usize);
                goes_on
            })
            .collect();
        let mut records = Records::default();
        records.read(self, places.iter().flatten().copied());
        let bodies: BTreeMap<_, _> = load.keys[..places.len()]
            .iter()
            .filter(|key| self.index.is_link(**key))
            .filter_map(|key| Some((key.number(), self.index.get(Name::Body(key.number()))?)))
            .collect();
        let mut body_records = Records::default();
        body_records.read(self, bodies.values().copied());
        let mut messages = Vec::with_capacity(places.len());
        let mut links: Map<u64, Arc<Message>> = Map::default();
        for (key, place) in load.keys.iter().zip(places) {
            let queued = place.and_then(|place| {
                let (found, payload) = records.get(place)?;
                let (recipient, rest) = record::read_recipient(payload)?;
                if found == kind::MESSAGE {
                    let message = MessageRecord::read(rest)?.to_message(key.number(), self.times);
                    return Some(recipient.queued(&Arc::new(message)));
                }
                if let Some(message) = links.get(&key.number()) {
                    return Some(recipient.queued(message));
                }
                let (_, payload) = body_records.get(*bodies.get(&key.number())?)?;
                let rest = record::body_rest(payload)?;
                let message = Arc::new(MessageRecord::read(rest)?.to_message(key.number(), self.times));
                links.insert(key.number(), Arc::clone(&message));
                Some(recipient.queued(&message))
            });
            let found = match (place, queued) {
                (Some(_), Some(queued)) => Found::Message(queued),
                (Some(_), None) => Found::Unreadable,
                (None, _) => Found::Nothing,
            };
            messages.push(Loaded { key: *key, found });
        }
        Page {
            purpose: load.purpose,
            messages,
        }
    }

    /// A message for a session; none: it is not there, or cannot be read.
    pub(crate) fn read_queued(&mut self, key: Key, payload: &mut Vec<u8>) -> Option<Queued> {
        let found = self.read(Name::Message(key), payload)?;
        let (recipient, rest) = record::read_recipient(payload)?;
        let message = if found == kind::MESSAGE {
            MessageRecord::read(rest)?.to_message(key.number(), self.times)
        } else {
            self.read_body(key.number(), payload)?
        };
        Some(recipient.queued(&Arc::new(message)))
    }

    /// The message of a body.
    pub(crate) fn read_body(&mut self, number: u64, payload: &mut Vec<u8>) -> Option<Message> {
        self.read(Name::Body(number), payload)?;
        let rest = record::body_rest(payload)?;
        Some(MessageRecord::read(rest)?.to_message(number, self.times))
    }

    fn read(&mut self, name: Name, payload: &mut Vec<u8>) -> Option<u8> {
        let place = self.index.get(name)?;
        match self.journal.read(place, payload) {
            Ok(kind) => Some(kind),
            Err(error) => {
                self.count_unreadable(&error);
                None
            }
        }
    }
}

/// How often a record is read that cannot be: what hinders it may pass, as when there are too many open files.
const TRIES: usize = 3;

/// Records that have been read.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    /// Of each place the kind, and where its payload is.
    found: Map<u64, (u8, Range<usize>)>,
}

impl Records {
    fn read<D: Disk>(&mut self, engine: &mut Engine<D>, places: impl Iterator<Item = Place>) {
        let mut left: Vec<_> = places.collect();
        let (mut buffer, mut failed) = (Vec::new(), None);
        for _ in 0..TRIES {
            if left.is_empty() {
                return;
            }
            let reader = engine.journal.records_reader(left.iter().copied());
            reader.read(&mut buffer, |place, record| match record {
                Ok(record) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(record.payload);
                    self.found
                        .insert(spot(place), (record.kind, start..self.bytes.len()));
                }
                Err(error) => failed = Some(error),
            });
            left.retain(|place| !self.found.contains_key(&spot(*place)));
        }
        if let Some(error) = failed.filter(|_| !left.is_empty()) {
            engine.count_unreadable(&error);
        }
    }

    fn get(&self, place: Place) -> Option<(u8, &[u8])> {
        let (kind, range) = self.found.get(&spot(place))?;
        Some((*kind, &self.bytes[range.clone()]))
    }
}
