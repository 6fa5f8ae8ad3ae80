//! The routes that a shard remembers.

use std::hash::BuildHasher;
use std::sync::Arc;

use martlet_codec::{Topic, TopicBuf};

use crate::registry::{Keyed, State, hashing, keyed};
use crate::router::{Route, RouteBuilder};
use crate::shared::Shared;

/// Topic to route. Valid as long as the router's generations say so; at its limit all are forgotten.
pub(crate) struct Routes {
    known: Keyed<TopicBuf, Arc<Route>>,
    /// What topics were asked for once, as hashes, each in its place. A route is remembered from the second time on:
    /// a hundred thousand topics that come once, as retained messages do, would cost memory for nothing.
    once: Box<[u32]>,
    hashing: State,
    builder: RouteBuilder,
    max: usize,
}

/// Topics that are known to have come once: 64 KiB. Another in the same place displaces one.
const ONCE: usize = 1 << 14;

impl Routes {
    pub(crate) fn new(seed: u64, max: usize) -> Self {
        Self {
            known: keyed(seed),
            once: vec![0; ONCE].into(),
            hashing: hashing(seed),
            builder: RouteBuilder::new(),
            max,
        }
    }

    pub(crate) fn find(&mut self, topic: Topic<'_>, shared: &Shared) -> Arc<Route> {
        if let Some(route) = self.known.get_mut(topic.as_str()) {
            if !route.is_current(&shared.generations) {
                *route = Arc::new(shared.router.read().route(topic, &mut self.builder));
            }
            return Arc::clone(route);
        }
        let route = Arc::new(shared.router.read().route(topic, &mut self.builder));
        if self.came_before(topic) {
            if self.known.len() >= self.max {
                self.known.clear();
            }
            self.known.insert(route.topic().clone(), Arc::clone(&route));
        }
        route
    }

    /// Whether a topic has come before, as far as is known.
    fn came_before(&mut self, topic: Topic<'_>) -> bool {
        let hash = self.hashing.hash_one(topic.as_str());
        // The high half tells topics of one place apart; 0 is that of no topic.
        let mark = (hash >> 32) as u32 | 1;
        std::mem::replace(&mut self.once[hash as usize % ONCE], mark) == mark
    }
}
