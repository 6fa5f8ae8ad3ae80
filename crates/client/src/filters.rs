//! Which streams want a topic: filters as a tree by level, so that a look-up costs as much as the topic
//! has levels, however many filters there are.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{Filter, Topic};

/// Names a stream.
pub(crate) type Slot = usize;

/// Filters and the streams that they belong to. A shared subscription counts by what stands behind its group.
#[derive(Debug, Default)]
pub(crate) struct FilterTree {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node, FixedState>,
    any: Option<Box<Node>>,
    /// Of filters that end here.
    here: Vec<Slot>,
    /// Of filters that end here with `#`.
    below: Vec<Slot>,
}

impl FilterTree {
    pub(crate) fn insert(&mut self, filter: Filter<'_>, slot: Slot) {
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = match level {
                "#" => return add(&mut node.below, slot),
                "+" => node.any.get_or_insert_default(),
                level => node.levels.entry(level.into()).or_default(),
            };
        }
        add(&mut node.here, slot);
    }

    pub(crate) fn remove(&mut self, filter: Filter<'_>, slot: Slot) {
        let levels: Vec<&str> = filter.levels().collect();
        self.root.remove(&levels, slot);
    }

    /// The streams with exactly that filter.
    pub(crate) fn of(&self, filter: Filter<'_>) -> &[Slot] {
        let mut node = &self.root;
        for level in filter.levels() {
            let next = match level {
                "#" => return &node.below,
                "+" => node.any.as_deref(),
                level => node.levels.get(level),
            };
            match next {
                Some(next) => node = next,
                None => return &[],
            }
        }
        &node.here
    }

    /// The streams that want the topic, each once.
    pub(crate) fn matches(&self, topic: Topic<'_>, found: &mut Vec<Slot>) {
        let levels: Vec<&str> = topic.levels().collect();
        if topic.is_reserved() {
            // No wildcard stands for a first level that begins with '$' [MQTT5-4.7.2-1].
            if let Some(node) = self.root.levels.get(levels[0]) {
                node.matches(&levels[1..], found);
            }
        } else {
            self.root.matches(&levels, found);
        }
        found.sort_unstable();
        found.dedup();
    }
}

impl Node {
    fn matches(&self, levels: &[&str], found: &mut Vec<Slot>) {
        found.extend_from_slice(&self.below);
        let Some((level, rest)) = levels.split_first() else {
            found.extend_from_slice(&self.here);
            return;
        };
        if let Some(node) = self.levels.get(*level) {
            node.matches(rest, found);
        }
        if let Some(node) = &self.any {
            node.matches(rest, found);
        }
    }

    fn remove(&mut self, levels: &[&str], slot: Slot) {
        match levels.split_first() {
            None => self.here.retain(|other| *other != slot),
            Some((&"#", _)) => self.below.retain(|other| *other != slot),
            Some((&"+", rest)) => {
                if let Some(node) = &mut self.any {
                    node.remove(rest, slot);
                    if node.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some((level, rest)) => {
                if let Some(node) = self.levels.get_mut(*level) {
                    node.remove(rest, slot);
                    if node.is_empty() {
                        self.levels.remove(*level);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

fn add(slots: &mut Vec<Slot>, slot: Slot) {
    if !slots.contains(&slot) {
        slots.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::new(text).unwrap()
    }

    fn found(tree: &FilterTree, topic: &str) -> Vec<Slot> {
        let mut found = Vec::new();
        tree.matches(Topic::new(topic).unwrap(), &mut found);
        found
    }

    #[test]
    fn streams_are_found_once_and_can_go() {
        let mut tree = FilterTree::default();
        for (slot, text) in [(1, "a/#"), (1, "a/b"), (2, "+/b"), (3, "$share/g/a/b"), (4, "#")] {
            tree.insert(filter(text), slot);
        }
        assert_eq!(found(&tree, "a/b"), [1, 2, 3, 4]);
        assert_eq!(found(&tree, "a"), [1, 4]);
        assert!(found(&tree, "$SYS/b").is_empty());
        assert_eq!(tree.of(filter("+/b")), [2]);
        assert!(tree.of(filter("+/c")).is_empty());
        for (slot, text) in [(1, "a/#"), (1, "a/b"), (2, "+/b"), (3, "$share/g/a/b"), (4, "#")] {
            tree.remove(filter(text), slot);
        }
        assert!(tree.root.is_empty());
    }

    fn text(levels: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(levels), 1..5).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn as_each_filter_says(
            filters in prop::collection::vec((text(&["a", "b", "+", "", "#", "$x"]), 0_usize..5), 0..20),
            topics in prop::collection::vec(text(&["a", "b", "", "$x"]), 1..10),
            gone in any::<prop::sample::Index>(),
        ) {
            let mut filters: Vec<_> = filters
                .into_iter()
                .filter(|(text, _)| Filter::new(text).is_ok())
                .collect();
            filters.sort();
            filters.dedup();
            let mut tree = FilterTree::default();
            for (text, slot) in &filters {
                tree.insert(filter(text), *slot);
            }
            if !filters.is_empty() {
                let (text, slot) = filters.remove(gone.index(filters.len()));
                tree.remove(filter(&text), slot);
            }
            for name in topics {
                let Ok(topic) = Topic::new(&name) else { continue };
                let mut expected: Vec<Slot> = filters
                    .iter()
                    .filter(|(text, _)| filter(text).matches(topic))
                    .map(|(_, slot)| *slot)
                    .collect();
                expected.sort_unstable();
                expected.dedup();
                prop_assert_eq!(found(&tree, &name), expected);
            }
        }
    }
}
