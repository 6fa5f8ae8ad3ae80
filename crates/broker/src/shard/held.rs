//! Messages of QoS 2 that are routed to nobody until they are durable, in the order of each publisher.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_session::{Message, Ticket};

use crate::registry::{Keyed, keyed};
use crate::router::{Member, Route, SessionRef};

/// Batches end in any order; the messages of one publisher leave in the order in which they came
/// [MQTT5-4.6.0-5]. As many as its receive maximum, so there is no limit here.
#[derive(Debug)]
pub(super) struct Held(Keyed<SessionRef, VecDeque<Waiting>>);

/// A message that waits, with whom it was stored for.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) message: Arc<Message>,
    pub(super) route: Arc<Route>,
    /// The member that each group chose.
    pub(super) chosen: Vec<Option<Member>>,
}

#[derive(Debug)]
struct Waiting {
    /// None: it waits only for those before it.
    ticket: Option<Ticket>,
    /// None: its batch failed.
    parked: Option<Parked>,
    ended: bool,
}

impl Held {
    pub(super) fn new(seed: u64) -> Self {
        Self(keyed(seed))
    }

    pub(super) fn push(&mut self, publisher: SessionRef, ticket: Ticket, parked: Parked) {
        let waiting = Waiting {
            ticket: Some(ticket),
            parked: Some(parked),
            ended: false,
        };
        self.0.entry(publisher).or_default().push_back(waiting);
    }

    /// A message that waits for no batch of its own still leaves behind those of its publisher that do.
    pub(super) fn push_behind(&mut self, publisher: SessionRef, parked: Parked) {
        let waiting = Waiting {
            ticket: None,
            parked: Some(parked),
            ended: true,
        };
        self.0.entry(publisher).or_default().push_back(waiting);
    }

    /// Whether messages of that publisher wait.
    pub(super) fn holds(&self, publisher: SessionRef) -> bool {
        !self.0.is_empty() && self.0.contains_key(&publisher)
    }

    /// The batch of one ended; returns those that leave now, oldest first.
    pub(super) fn end(&mut self, publisher: SessionRef, ticket: Ticket, failed: bool) -> Vec<Parked> {
        let Some(queue) = self.0.get_mut(&publisher) else {
            return Vec::new();
        };
        if let Some(waiting) = queue.iter_mut().find(|waiting| waiting.ticket == Some(ticket)) {
            waiting.ended = true;
            if failed {
                waiting.parked = None;
            }
        }
        let mut leaving = Vec::new();
        while queue.front().is_some_and(|waiting| waiting.ended) {
            leaving.extend(queue.pop_front().and_then(|waiting| waiting.parked));
        }
        if queue.is_empty() {
            self.0.remove(&publisher);
        }
        leaving
    }
}
