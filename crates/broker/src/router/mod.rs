//! Who gets a message: topic filters of all sessions, and what a topic name matches.
//!
//! The [`Router`] is one for the process. A publisher asks it for the [`Route`] of a topic and keeps
//! the answer as long as the [`Generations`] say that it holds. It knows sessions by [`SessionRef`] only.

mod arena;
mod generations;
#[cfg(test)]
mod naive;
mod roster;
mod route;
mod share;
mod subscription;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use martlet_codec::{Filter, Topic};

pub use generations::Generations;
pub use route::{Hit, Route, RouteBuilder};
pub use share::{Availability, Group, Member, Presence};
pub use subscription::{SessionRef, SubOptions};

use roster::Roster;
use subscription::Subscription;
use tree::{LevelHashing, NodeId, ROOT, Tree};

/// What a session gets whose filters overlap [MQTT5-3.3.4-2].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlapping {
    /// One copy with the highest QoS and all identifiers, with RETAIN as published if any asks.
    Once,
    /// One copy for each filter that matches, each with its own QoS, RETAIN and identifier.
    Each,
}

/// The subscriptions of all sessions.
///
/// A publish costs what matches it, whatever else is subscribed to. It reads under a lock of the
/// caller's; [`Generations`] are read without.
pub struct Router {
    seed: u64,
    overlapping: Overlapping,
    tree: Tree<Branch>,
    generations: Arc<Generations>,
    subscriptions: usize,
    shared_subscriptions: usize,
}

/// What a node of the tree carries.
#[derive(Default)]
struct Branch {
    /// The child `+`.
    plus: Option<NodeId>,
    /// The child `#`.
    hash: Option<NodeId>,
    subscribers: Subscribers,
}

/// Most filters have one subscriber.
#[derive(Default)]
enum Subscribers {
    #[default]
    None,
    One(Subscription),
    Many(Box<Crowd>),
}

struct Crowd {
    plain: Roster<Subscription>,
    groups: BTreeMap<Box<str>, Arc<Group>>,
}

/// Parts of the hash table: a part of a million nodes grows in a fraction of a millisecond.
const TABLE_PARTS: usize = 64;

impl Router {
    /// An empty router. The seed is secret: topics and filters are chosen by strangers.
    pub fn new(seed: u64, overlapping: Overlapping) -> Self {
        let hashing = LevelHashing::new(seed);
        Self {
            seed,
            overlapping,
            tree: Tree::new(hashing.clone(), TABLE_PARTS),
            generations: Arc::new(Generations::new(hashing)),
            subscriptions: 0,
            shared_subscriptions: 0,
        }
    }

    /// Adds a subscription, or replaces the options of the one that the session has with this
    /// filter [MQTT5-3.8.4-3]; nothing is missed between. True if it was added. `presence` is that of the session, which only a group asks
    /// for.
    pub fn subscribe(
        &mut self,
        filter: Filter<'_>,
        session: SessionRef,
        options: SubOptions,
        presence: impl FnOnce() -> Arc<Presence>,
    ) -> bool {
        let node = self.find_or_add(filter);
        let subscribers = &mut self.tree[node].value.subscribers;
        let added = if let Some(name) = filter.share_group() {
            let groups = &mut subscribers.crowd(self.seed).groups;
            let group = groups.entry(name.into()).or_insert_with(|| {
                self.generations.bump(filter);
                Arc::new(Group::new(filter.as_str().into(), self.seed))
            });
            let added = group.insert(session, options, presence());
            self.shared_subscriptions += usize::from(added);
            added
        } else {
            self.generations.bump(filter);
            subscribers.insert(Subscription { session, options }, self.seed)
        };
        self.subscriptions += usize::from(added);
        added
    }

    /// The options of the subscription that a session has with this filter.
    pub fn options_of(&self, filter: Filter<'_>, session: SessionRef) -> Option<SubOptions> {
        let subscribers = &self.tree[self.find(filter)?].value.subscribers;
        match (subscribers, filter.share_group()) {
            (Subscribers::One(one), None) if one.session == session => Some(one.options),
            (Subscribers::Many(crowd), None) => {
                let at = crowd.plain.position(session)?;
                Some(crowd.plain.items()[at].options)
            }
            (Subscribers::Many(crowd), Some(name)) => crowd.groups.get(name)?.options_of(session),
            _ => None,
        }
    }

    /// Removes a subscription. False if there was none.
    pub fn unsubscribe(&mut self, filter: Filter<'_>, session: SessionRef) -> bool {
        let Some(node) = self.find(filter) else {
            return false;
        };
        let subscribers = &mut self.tree[node].value.subscribers;
        if let Some(name) = filter.share_group() {
            let Subscribers::Many(crowd) = subscribers else {
                return false;
            };
            let Some(group) = crowd.groups.get(name) else {
                return false;
            };
            if !group.remove(session) {
                return false;
            }
            if group.is_empty() {
                crowd.groups.remove(name);
                self.generations.bump(filter);
            }
            self.shared_subscriptions -= 1;
        } else {
            if !subscribers.remove(session) {
                return false;
            }
            self.generations.bump(filter);
        }
        self.subscriptions -= 1;
        subscribers.shrink();
        self.prune(node);
        true
    }

    /// The group of a shared subscription.
    pub fn group(&self, filter: Filter<'_>) -> Option<Arc<Group>> {
        let name = filter.share_group()?;
        match &self.tree[self.find(filter)?].value.subscribers {
            Subscribers::Many(crowd) => crowd.groups.get(name).cloned(),
            Subscribers::None | Subscribers::One(_) => None,
        }
    }

    /// Finds who gets a message of this topic.
    pub fn route(&self, topic: Topic<'_>, builder: &mut RouteBuilder) -> Route {
        self.collect(topic, builder);
        builder.build(topic.to_buf(), self.overlapping, self.generations.stamp(topic))
    }

    /// What tells whether a route still holds, to be read without the router's lock.
    pub fn generations(&self) -> &Arc<Generations> {
        &self.generations
    }

    /// The number of subscriptions, shared ones included.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// The number of shared subscriptions.
    pub fn shared_subscriptions(&self) -> usize {
        self.shared_subscriptions
    }

    /// Walks down all branches that match, a level of the topic at a time.
    fn collect(&self, topic: Topic<'_>, builder: &mut RouteBuilder) {
        let RouteBuilder {
            reached,
            next,
            matches,
            groups,
            ..
        } = builder;
        let mut take = |node: NodeId| self.tree[node].value.subscribers.collect(matches, groups);
        // [MQTT5-4.7.2-1]
        let mut wildcards = !topic.is_reserved();
        reached.push(ROOT);
        for level in topic.levels() {
            let key = self.tree.key(level);
            for node in reached.drain(..) {
                let node = (node, &self.tree[node]);
                let Branch { plus, hash, .. } = node.1.value;
                if wildcards {
                    hash.into_iter().for_each(&mut take);
                    next.extend(plus);
                }
                if node.1.children() > u32::from(plus.is_some()) + u32::from(hash.is_some()) {
                    next.extend(self.tree.child(node.0, key));
                }
            }
            std::mem::swap(reached, next);
            if reached.is_empty() {
                return;
            }
            wildcards = true;
        }
        for node in reached.drain(..) {
            take(node);
            // `a/#` matches `a` as well.
            self.tree[node].value.hash.into_iter().for_each(&mut take);
        }
    }

    fn find(&self, filter: Filter<'_>) -> Option<NodeId> {
        filter
            .levels()
            .try_fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        match level {
            "+" => self.tree[node].value.plus,
            "#" => self.tree[node].value.hash,
            level => self.tree.child(node, self.tree.key(level)),
        }
    }

    fn find_or_add(&mut self, filter: Filter<'_>) -> NodeId {
        let mut node = ROOT;
        for level in filter.levels() {
            node = self.child(node, level).unwrap_or_else(|| self.add(node, level));
        }
        node
    }

    fn add(&mut self, parent: NodeId, level: &str) -> NodeId {
        let key = self.tree.key(level);
        let node = self.tree.add_child(parent, key);
        let branch = &mut self.tree[parent].value;
        match level {
            "+" => branch.plus = Some(node),
            "#" => branch.hash = Some(node),
            _ => {}
        }
        node
    }

    /// Removes a node that leads nowhere, then its parent if that leads nowhere now, and so on.
    fn prune(&mut self, mut id: NodeId) {
        while id != ROOT {
            let node = &self.tree[id];
            if node.children() > 0 || !matches!(node.value.subscribers, Subscribers::None) {
                return;
            }
            let parent = self.tree.remove_leaf(id);
            let branch = &mut self.tree[parent].value;
            if branch.plus == Some(id) {
                branch.plus = None;
            }
            if branch.hash == Some(id) {
                branch.hash = None;
            }
            id = parent;
        }
    }
}

impl Subscribers {
    fn insert(&mut self, subscription: Subscription, seed: u64) -> bool {
        match self {
            Self::None => {
                *self = Self::One(subscription);
                true
            }
            Self::One(one) if one.session == subscription.session => {
                *one = subscription;
                false
            }
            Self::One(_) | Self::Many(_) => self.crowd(seed).plain.insert(subscription),
        }
    }

    fn remove(&mut self, session: SessionRef) -> bool {
        match self {
            Self::One(one) if one.session == session => {
                *self = Self::None;
                true
            }
            Self::None | Self::One(_) => false,
            Self::Many(crowd) => match crowd.plain.position(session) {
                Some(at) => {
                    crowd.plain.swap_remove(at);
                    true
                }
                None => false,
            },
        }
    }

    fn crowd(&mut self, seed: u64) -> &mut Crowd {
        if !matches!(self, Self::Many(_)) {
            let mut crowd = Box::new(Crowd {
                plain: Roster::new(seed),
                groups: BTreeMap::new(),
            });
            if let Self::One(one) = self {
                crowd.plain.insert(*one);
            }
            *self = Self::Many(crowd);
        }
        match self {
            Self::Many(crowd) => crowd,
            Self::None | Self::One(_) => unreachable!("it has just become one"),
        }
    }

    /// Gives back the crowd that is none.
    fn shrink(&mut self) {
        if let Self::Many(crowd) = self
            && crowd.groups.is_empty()
        {
            match crowd.plain.items() {
                [] => *self = Self::None,
                [one] => *self = Self::One(*one),
                _ => {}
            }
        }
    }

    fn collect(&self, matches: &mut Vec<Subscription>, groups: &mut Vec<Arc<Group>>) {
        match self {
            Self::None => {}
            Self::One(one) => matches.push(*one),
            Self::Many(crowd) => {
                matches.extend_from_slice(crowd.plain.items());
                groups.extend(crowd.groups.values().cloned());
            }
        }
    }
}
