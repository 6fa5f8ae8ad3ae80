//! Subscriptions of stored sessions that the store has not answered for yet: one that it refuses has changed nothing.

use martlet_codec::FilterBuf;
use martlet_session::Ticket;

use crate::registry::{Keyed, keyed};
use crate::router::SubOptions;

/// By the number of a subscription. As many as SUBSCRIBE packets are under way have filters, at most.
#[derive(Debug)]
pub(super) struct Subscribing(Keyed<u64, Before>);

#[derive(Debug)]
struct Before {
    /// What the store has; none: no such subscription.
    options: Option<SubOptions>,
    /// Who changed it last.
    latest: Ticket,
}

/// A subscription as a SUBSCRIBE set it.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) filter: FilterBuf,
    pub(super) number: u64,
    pub(super) options: SubOptions,
    /// What it was; none: it is new.
    pub(super) before: Option<SubOptions>,
}

/// What a subscription is to be again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    Nothing,
    With(SubOptions),
}

impl Subscribing {
    pub(super) fn new(seed: u64) -> Self {
        Self(keyed(seed))
    }

    pub(super) fn begin(&mut self, changed: &Changed, ticket: Ticket) {
        let before = self.0.entry(changed.number).or_insert(Before {
            options: changed.before,
            latest: ticket,
        });
        before.latest = ticket;
    }

    /// The batch with that ticket has ended. What the subscription is to be again, if that is not what it is.
    pub(super) fn end(&mut self, changed: &Changed, ticket: Ticket, failed: bool) -> Option<Again> {
        let before = self.0.get_mut(&changed.number)?;
        if !failed {
            before.options = Some(changed.options);
        }
        if before.latest != ticket {
            return None;
        }
        let before = self.0.remove(&changed.number)?;
        failed.then(|| before.options.map_or(Again::Nothing, Again::With))
    }
}

#[cfg(test)]
mod tests {
    use martlet_codec::Qos;

    use super::*;

    fn changed(qos: Qos, before: Option<Qos>) -> Changed {
        Changed {
            filter: FilterBuf::new("a/b").unwrap(),
            number: 7,
            options: qos.into(),
            before: before.map(SubOptions::from),
        }
    }

    #[test]
    fn the_last_that_was_kept_comes_back() {
        let (new, again) = (
            changed(Qos::AtLeastOnce, None),
            changed(Qos::AtMostOnce, Some(Qos::AtLeastOnce)),
        );
        for (failed, ends) in [
            ([true, true], [None, Some(Again::Nothing)]),
            ([false, true], [None, Some(Again::With(Qos::AtLeastOnce.into()))]),
            ([true, false], [None, None]),
            ([false, false], [None, None]),
        ] {
            let mut subscribing = Subscribing::new(1);
            subscribing.begin(&new, Ticket(1));
            subscribing.begin(&again, Ticket(2));
            let found = [
                subscribing.end(&new, Ticket(1), failed[0]),
                subscribing.end(&again, Ticket(2), failed[1]),
            ];
            assert_eq!(found, ends, "{failed:?}");
            assert!(subscribing.0.is_empty());
        }
    }
}
