//! The index of a store that no broker runs.

use std::collections::BTreeMap;

use martlet_journal::{Index, Place, Record};

use crate::record::{self, Name};

/// The places of what lives.
#[derive(Debug, Default)]
pub(super) struct Live {
    by_name: BTreeMap<Name, Place>,
    /// None: a record of a kind that this version does not know, or without a name.
    by_place: BTreeMap<Place, Option<Name>>,
}

impl Live {
    pub(super) fn get(&self, name: Name) -> Option<Place> {
        self.by_name.get(&name).copied()
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.by_place.contains_key(&place)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Name, Place)> + '_ {
        self.by_name.iter().map(|(name, place)| (*name, *place))
    }

    pub(super) fn unknown(&self) -> impl Iterator<Item = Place> + '_ {
        self.by_place
            .iter()
            .filter_map(|(place, name)| name.is_none().then_some(*place))
    }

    pub(super) fn insert(&mut self, record: &Record<'_>, place: Place) {
        let name = record::name(record.kind, record.payload);
        if let Some(old) = name.and_then(|name| self.by_name.insert(name, place)) {
            self.by_place.remove(&old);
        }
        self.by_place.insert(place, name);
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(Some(name)) = self.by_place.remove(&place) {
            self.by_name.remove(&name);
        }
    }
}

impl Index for Live {
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everything is replayed, so that all damage is found.
    fn takes_snapshots(&self) -> bool {
        false
    }

    fn snapshot(&mut self, _: &[u8]) {}

    fn snapshot_ends(&mut self) -> bool {
        false
    }

    fn gone(&mut self, segments: &[u32]) {
        let gone = |place: &Place| segments.binary_search(&place.segment).is_ok();
        let places: Vec<Place> = self.by_place.keys().copied().filter(gone).collect();
        for place in places {
            self.remove(place);
        }
    }

    fn put(&mut self, record: Record<'_>) {
        self.insert(&record, record.place);
    }

    fn killed(&mut self, place: Place) {
        self.remove(place);
    }

    fn is_live(&self, record: &Record<'_>) -> bool {
        self.has(record.place)
    }

    fn moved(&mut self, record: &Record<'_>, to: Place) {
        self.remove(record.place);
        self.insert(record, to);
    }
}
