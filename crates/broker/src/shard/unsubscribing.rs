//! Subscriptions that go once that is durable.

use hashbrown::HashMap;
use martlet_codec::{Filter, FilterBuf};
use martlet_session::Ticket;

use crate::registry::{Keyed, State, hashing, keyed};
use crate::router::SessionRef;

/// Until then they stand, so that an UNSUBSCRIBE that is refused has changed nothing. As many as there are
/// subscriptions, at most.
#[derive(Debug)]
pub(super) struct Unsubscribing {
    seed: u64,
    sessions: Keyed<SessionRef, HashMap<FilterBuf, Ticket, State>>,
}

impl Unsubscribing {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            sessions: keyed(seed),
        }
    }

    /// It goes with that ticket; `false`: it was to go already.
    pub(super) fn add(&mut self, session: SessionRef, filter: Filter<'_>, ticket: Ticket) -> bool {
        let (entry, seed) = (self.sessions.entry(session), self.seed);
        let filters = entry.or_insert_with(|| HashMap::with_hasher(hashing(seed)));
        if filters.contains_key(filter.as_str()) {
            return false;
        }
        filters.insert(filter.to_buf(), ticket);
        true
    }

    /// It was asked for anew and stays; whether it was to go.
    pub(super) fn keep(&mut self, session: SessionRef, filter: Filter<'_>) -> bool {
        self.take(session, filter, |_| true)
    }

    /// The batch with that ticket ended; whether it was to go with it.
    pub(super) fn end(&mut self, session: SessionRef, filter: Filter<'_>, ticket: Ticket) -> bool {
        self.take(session, filter, |with| with == ticket)
    }

    fn take(&mut self, session: SessionRef, filter: Filter<'_>, is_it: impl Fn(Ticket) -> bool) -> bool {
        let Some(filters) = self.sessions.get_mut(&session) else {
            return false;
        };
        if !filters.get(filter.as_str()).copied().is_some_and(is_it) {
            return false;
        }
        filters.remove(filter.as_str());
        if filters.is_empty() {
            self.sessions.remove(&session);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_anew_stays() {
        let mut unsubscribing = Unsubscribing::new(1);
        let session = SessionRef {
            shard: 0,
            generation: 0,
            index: 7,
        };
        let filter = Filter::new("a/#").unwrap();
        assert!(unsubscribing.add(session, filter, Ticket(1)));
        assert!(!unsubscribing.add(session, filter, Ticket(2)), "it goes once");
        assert!(unsubscribing.keep(session, filter));
        assert!(!unsubscribing.keep(session, filter));
        // An UNSUBSCRIBE after that is another one, though the batch of the first ends later.
        assert!(unsubscribing.add(session, filter, Ticket(3)));
        assert!(!unsubscribing.end(session, filter, Ticket(1)));
        assert!(unsubscribing.end(session, filter, Ticket(3)));
        assert!(unsubscribing.sessions.is_empty());
    }
}
