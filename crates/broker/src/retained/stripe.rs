//! The topics of one lock: a tree whose children can be listed, and an order of expiry.

use std::collections::BTreeSet;

use martlet_codec::Topic;

use super::unsettled::Unsettled;
use crate::router::tree::{LevelHashing, LevelKey, NodeId, ROOT, Tree};

/// The expiry of a message that has none.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) struct Stripe<V> {
    tree: Tree<Place<V>>,
    expiry: BTreeSet<(u64, NodeId)>,
    pub(super) unsettled: Unsettled<V>,
}

/// A message with what decides about it.
#[derive(Clone)]
pub(super) struct Kept<V> {
    pub(super) value: V,
    pub(super) version: u64,
    /// [`NEVER`] if it does not expire.
    pub(super) expires_at_ms: u64,
}

impl<V> Kept<V> {
    pub(super) fn lives(&self, now_ms: u64) -> bool {
        self.expires_at_ms > now_ms || self.expires_at_ms == NEVER
    }
}

/// What a node of the tree carries: its place among its siblings, and the message of its topic.
struct Place<V> {
    first_child: Option<NodeId>,
    /// None for the last child.
    next: Option<NodeId>,
    /// For the first child this is the last one.
    previous: Option<NodeId>,
    kept: Option<Kept<V>>,
}

impl<V> Default for Place<V> {
    fn default() -> Self {
        Self {
            first_child: None,
            next: None,
            previous: None,
            kept: None,
        }
    }
}

impl<V: Clone> Stripe<V> {
    pub(super) fn new(hashing: LevelHashing) -> Self {
        Self {
            tree: Tree::new(hashing, 1),
            expiry: BTreeSet::new(),
            unsettled: Unsettled::new(),
        }
    }

    pub(super) fn find(&self, topic: Topic<'_>) -> Option<NodeId> {
        topic
            .levels()
            .try_fold(ROOT, |node, level| self.tree.child(node, self.tree.key(level)))
    }

    /// The node of a topic. One that is new goes with [`prune`](Self::prune) if it gets no message.
    pub(super) fn find_or_add(&mut self, topic: Topic<'_>) -> NodeId {
        let mut node = ROOT;
        for level in topic.levels() {
            let key = self.tree.key(level);
            node = match self.tree.child(node, key) {
                Some(child) => child,
                None => self.add(node, level),
            };
        }
        node
    }

    pub(super) fn kept(&self, node: NodeId) -> Option<&Kept<V>> {
        self.tree[node].value.kept.as_ref()
    }

    /// Puts a message at a node; returns what was there.
    pub(super) fn put(&mut self, node: NodeId, kept: Kept<V>) -> Option<Kept<V>> {
        let expires_at_ms = kept.expires_at_ms;
        let old = self.tree[node].value.kept.replace(kept);
        let old_expires_at_ms = old.as_ref().map_or(NEVER, |old| old.expires_at_ms);
        if old_expires_at_ms != expires_at_ms {
            self.expiry.remove(&(old_expires_at_ms, node));
            if expires_at_ms != NEVER {
                self.expiry.insert((expires_at_ms, node));
            }
        }
        old
    }

    /// Takes the message from a node, and the node if it leads nowhere then.
    pub(super) fn take(&mut self, node: NodeId) -> Kept<V> {
        let kept = self.tree[node]
            .value
            .kept
            .take()
            .expect("there is a message to take");
        if kept.expires_at_ms != NEVER {
            self.expiry.remove(&(kept.expires_at_ms, node));
        }
        self.prune(node);
        kept
    }

    pub(super) fn take_expired(&mut self, now_ms: u64) -> Option<Kept<V>> {
        let (expires_at_ms, node) = *self.expiry.first()?;
        (expires_at_ms <= now_ms).then(|| self.take(node))
    }

    /// When the first message expires, or [`NEVER`].
    pub(super) fn due(&self) -> u64 {
        self.expiry
            .first()
            .map_or(NEVER, |(expires_at_ms, _)| *expires_at_ms)
    }

    /// Visits the messages that a filter matches, walking from node to node by their links: neither the
    /// depth nor the number of what it walks needs memory.
    pub(super) fn visit(&self, levels: &[LevelKey<'_>], mut found: impl FnMut(&Kept<V>)) {
        let mut node = ROOT;
        let mut depth = 0;
        loop {
            // The node is reached by the first `depth` levels.
            let child = match levels.get(depth).map(|level| level.text()) {
                None => {
                    self.tree[node].value.kept.iter().for_each(&mut found);
                    None
                }
                Some("#") => {
                    self.visit_below(node, &mut found);
                    None
                }
                Some("+") => self.wild(node, self.tree[node].value.first_child),
                Some(_) => self.tree.child(node, levels[depth]),
            };
            if let Some(child) = child {
                node = child;
                depth += 1;
                continue;
            }
            // Up to the next sibling that a `+` leaves open.
            loop {
                let Some(parent) = self.tree[node].parent() else {
                    return;
                };
                depth -= 1;
                let next = self.tree[node].value.next.filter(|_| levels[depth].text() == "+");
                if let Some(next) = self.wild(parent, next) {
                    node = next;
                    depth += 1;
                    break;
                }
                node = parent;
            }
        }
    }

    /// Visits a node and all below it: what `#` matches there.
    fn visit_below(&self, top: NodeId, found: &mut impl FnMut(&Kept<V>)) {
        let mut node = top;
        loop {
            let place = &self.tree[node].value;
            place.kept.iter().for_each(&mut *found);
            if let Some(child) = self.wild(node, place.first_child) {
                node = child;
                continue;
            }
            loop {
                if node == top {
                    return;
                }
                let parent = self.tree[node].parent().expect("only the root has none");
                if let Some(next) = self.wild(parent, self.tree[node].value.next) {
                    node = next;
                    break;
                }
                node = parent;
            }
        }
    }

    /// The first of these siblings that a wildcard matches: at the start of a topic none with `$`
    /// [MQTT5-4.7.2-1].
    fn wild(&self, parent: NodeId, mut sibling: Option<NodeId>) -> Option<NodeId> {
        while parent == ROOT
            && let Some(node) = sibling
            && self.tree[node].is_reserved()
        {
            sibling = self.tree[node].value.next;
        }
        sibling
    }

    /// Adds a child behind the others.
    fn add(&mut self, parent: NodeId, level: &str) -> NodeId {
        let key = self.tree.key(level);
        let node = self.tree.add_child(parent, key);
        match self.tree[parent].value.first_child {
            None => {
                self.tree[parent].value.first_child = Some(node);
                self.tree[node].value.previous = Some(node);
            }
            Some(first) => {
                let last = self.tree[first]
                    .value
                    .previous
                    .replace(node)
                    .expect("the list has a last");
                self.tree[last].value.next = Some(node);
                self.tree[node].value.previous = Some(last);
            }
        }
        node
    }

    /// Removes a node that leads nowhere, then its parent if that leads nowhere now, and so on.
    pub(super) fn prune(&mut self, mut node: NodeId) {
        while node != ROOT && self.tree[node].children() == 0 && self.kept(node).is_none() {
            self.unlink(node);
            node = self.tree.remove_leaf(node);
        }
    }

    fn unlink(&mut self, node: NodeId) {
        let parent = self.tree[node].parent().expect("the root is never unlinked");
        let Place { next, previous, .. } = self.tree[node].value;
        let previous = previous.expect("the list has a last");
        let first = self.tree[parent].value.first_child.expect("a parent has a child");
        if first == node {
            self.tree[parent].value.first_child = next;
        } else {
            self.tree[previous].value.next = next;
        }
        // Who comes next, or the first one, which knows the last.
        let follower = next.unwrap_or(first);
        if follower != node {
            self.tree[follower].value.previous = Some(previous);
        }
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.tree.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    #[test]
    fn a_place_is_a_cache_line_with_its_node() {
        // 24 bytes of node on top.
        assert_eq!(size_of::<super::Place<Arc<()>>>(), 40);
    }
}
