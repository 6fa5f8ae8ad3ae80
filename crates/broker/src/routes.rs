//! The routes that a shard remembers.

use std::sync::Arc;

use martlet_codec::{Topic, TopicBuf};

use crate::registry::{Keyed, keyed};
use crate::router::{Route, RouteBuilder};
use crate::shared::Shared;

/// Topic to route. Valid as long as the router's generations say so; at its limit all are forgotten.
pub(crate) struct Routes {
    known: Keyed<TopicBuf, Arc<Route>>,
    builder: RouteBuilder,
    max: usize,
}

impl Routes {
    pub(crate) fn new(seed: u64, max: usize) -> Self {
        Self {
            known: keyed(seed),
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
        if self.known.len() >= self.max {
            self.known.clear();
        }
        let route = Arc::new(shared.router.read().route(topic, &mut self.builder));
        self.known.insert(route.topic().clone(), Arc::clone(&route));
        route
    }
}
