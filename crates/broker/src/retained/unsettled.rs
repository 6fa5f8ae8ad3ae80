//! Changes of retained messages that the store has not answered yet: one that it refuses leaves no trace.

use std::collections::BTreeMap;

use martlet_codec::Topic;

use super::stripe::Kept;

/// By topic, what is under way. It is empty as long as nobody waits for the store.
pub(super) struct Unsettled<V>(BTreeMap<Box<str>, Chain<V>>);

/// The changes of one topic that may be refused yet.
struct Chain<V> {
    /// What the topic had before all of them.
    before: Option<Kept<V>>,
    /// Their versions, in order, and what they set; none: they cleared it.
    changes: Vec<(u64, Option<Kept<V>>)>,
}

/// What a topic has once a change of it was refused.
pub(super) enum Again<V> {
    /// What it has now: a later change, or one that nobody waits for.
    Stays,
    /// What it had before.
    Has(Kept<V>),
    /// Nothing, as before.
    Nothing,
}

impl<V: Clone> Unsettled<V> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether a change of that topic is under way.
    pub(super) fn has(&self, topic: Topic<'_>) -> bool {
        !self.0.is_empty() && self.0.contains_key(topic.as_str())
    }

    /// The versions that the store may have of that topic, beside the one that can be seen.
    pub(super) fn versions(&self, topic: Topic<'_>) -> Vec<u64> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0.get(topic.as_str()).map_or_else(Vec::new, |chain| {
            let sets = chain.changes.iter().filter_map(|(_, set)| set.as_ref());
            chain.before.iter().chain(sets).map(|kept| kept.version).collect()
        })
    }

    /// A change that the store is going to answer. `before` is what the topic had.
    pub(super) fn begin(
        &mut self,
        topic: Topic<'_>,
        version: u64,
        set: Option<Kept<V>>,
        before: Option<Kept<V>>,
    ) {
        if let Some(chain) = self.0.get_mut(topic.as_str()) {
            return chain.changes.push((version, set));
        }
        let changes = vec![(version, set)];
        self.0.insert(topic.as_str().into(), Chain { before, changes });
    }

    /// A change that nobody waits for: what came before it does not come back.
    pub(super) fn forget(&mut self, topic: Topic<'_>) {
        if !self.0.is_empty() {
            self.0.remove(topic.as_str());
        }
    }

    /// A change is durable, and with it that those before it are over.
    pub(super) fn settle(&mut self, topic: Topic<'_>, version: u64) {
        let Some((chain, at)) = self.find(topic, version) else {
            return;
        };
        chain.before = chain.changes.drain(..=at).next_back().and_then(|(_, set)| set);
        if chain.changes.is_empty() {
            self.0.remove(topic.as_str());
        }
    }

    /// A change was refused.
    pub(super) fn refuse(&mut self, topic: Topic<'_>, version: u64) -> Again<V> {
        let Some((chain, at)) = self.find(topic, version) else {
            return Again::Stays;
        };
        chain.changes.remove(at);
        if at < chain.changes.len() {
            return Again::Stays;
        }
        let again = match chain.changes.last() {
            Some((_, set)) => set.clone(),
            None => chain.before.take(),
        };
        if chain.changes.is_empty() {
            self.0.remove(topic.as_str());
        }
        again.map_or(Again::Nothing, Again::Has)
    }

    fn find(&mut self, topic: Topic<'_>, version: u64) -> Option<(&mut Chain<V>, usize)> {
        let chain = self.0.get_mut(topic.as_str())?;
        let at = chain.changes.iter().position(|(of, _)| *of == version)?;
        Some((chain, at))
    }
}
