//! Which streams want a topic: filters as a tree by level, so that a look-up costs as much as the topic
//! has levels, however many filters there are.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{Filter, Topic};
use slab::Slab;

/// Names a stream.
pub(crate) type Slot = usize;

/// Filters and the streams that they belong to. A shared subscription counts by what stands behind its group.
///
/// A filter may have as many levels as a field has bytes, so the nodes lie side by side: nothing here calls
/// itself, and none drops another.
#[derive(Debug)]
pub(crate) struct FilterTree {
    nodes: Slab<Node>,
    root: Index,
}

/// The place of a node.
type Index = usize;

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Index, FixedState>,
    any: Option<Index>,
    /// Of filters that end here.
    here: Vec<Slot>,
    /// Of filters that end here with `#`.
    below: Vec<Slot>,
}

impl Default for FilterTree {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        Self { nodes, root }
    }
}

impl FilterTree {
    pub(crate) fn insert(&mut self, filter: Filter<'_>, slot: Slot) {
        let mut index = self.root;
        for level in filter.levels() {
            if level == "#" {
                return add(&mut self.nodes[index].below, slot);
            }
            index = match self.nodes[index].next(level) {
                Some(next) => next,
                None => self.grow(index, level),
            };
        }
        add(&mut self.nodes[index].here, slot);
    }

    /// A new node below that one.
    fn grow(&mut self, index: Index, level: &str) -> Index {
        let next = self.nodes.insert(Node::default());
        let node = &mut self.nodes[index];
        match level {
            "+" => node.any = Some(next),
            level => drop(node.levels.insert(level.into(), next)),
        }
        next
    }

    pub(crate) fn remove(&mut self, filter: Filter<'_>, slot: Slot) {
        let mut path: Vec<(Index, &str)> = Vec::new();
        let mut index = self.root;
        for level in filter.levels() {
            if level == "#" {
                break;
            }
            path.push((index, level));
            match self.nodes[index].next(level) {
                Some(next) => index = next,
                None => return,
            }
        }
        let node = &mut self.nodes[index];
        let slots = match filter.levels().next_back() {
            Some("#") => &mut node.below,
            _ => &mut node.here,
        };
        slots.retain(|other| *other != slot);
        while let Some((above, level)) = path.pop() {
            if !self.nodes[index].is_empty() {
                return;
            }
            self.nodes.remove(index);
            let node = &mut self.nodes[above];
            match level {
                "+" => node.any = None,
                level => drop(node.levels.remove(level)),
            }
            index = above;
        }
    }

    /// The streams with exactly that filter.
    pub(crate) fn of(&self, filter: Filter<'_>) -> &[Slot] {
        let mut node = &self.nodes[self.root];
        for level in filter.levels() {
            if level == "#" {
                return &node.below;
            }
            match node.next(level) {
                Some(next) => node = &self.nodes[next],
                None => return &[],
            }
        }
        &node.here
    }

    /// The streams that want the topic, each once.
    pub(crate) fn matches(&self, topic: Topic<'_>, found: &mut Vec<Slot>) {
        let levels: Vec<&str> = topic.levels().collect();
        // The node to look at and how many levels lead there, and those that a `+` leads to.
        let mut next = if topic.is_reserved() {
            // No wildcard stands for a first level that begins with '$' [MQTT5-4.7.2-1].
            self.nodes[self.root]
                .levels
                .get(levels[0])
                .map(|index| (*index, 1))
        } else {
            Some((self.root, 0))
        };
        let mut others = Vec::new();
        while let Some((index, depth)) = next.take().or_else(|| others.pop()) {
            let node = &self.nodes[index];
            found.extend_from_slice(&node.below);
            let Some(level) = levels.get(depth) else {
                found.extend_from_slice(&node.here);
                continue;
            };
            next = node.levels.get(*level).map(|index| (*index, depth + 1));
            others.extend(node.any.map(|index| (index, depth + 1)));
        }
        found.sort_unstable();
        found.dedup();
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes[self.root].is_empty()
    }
}

impl Node {
    /// The node below for a level of a filter.
    fn next(&self, level: &str) -> Option<Index> {
        match level {
            "+" => self.any,
            level => self.levels.get(level).copied(),
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
        assert!(tree.is_empty());
    }

    #[test]
    fn a_filter_of_very_many_levels_needs_no_stack() {
        let levels = |n| vec!["a"; n].join("/");
        let (deep, longest) = (levels(10_000), "/".repeat(65_535));
        let wild = vec!["+"; 10_000].join("/");
        let work = move || {
            let mut tree = FilterTree::default();
            for (slot, text) in [(1, &deep), (2, &wild), (3, &longest)] {
                tree.insert(filter(text), slot);
            }
            assert_eq!(found(&tree, &deep), [1, 2]);
            assert_eq!(found(&tree, &longest), [3]);
            tree.remove(filter(&longest), 3);
            tree.remove(filter(&wild), 2);
            assert_eq!(found(&tree, &deep), [1]);
            // And one goes with the tree.
        };
        let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(work);
        thread.unwrap().join().unwrap();
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
