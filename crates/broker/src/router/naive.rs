//! The router as one would write it without a thought for speed: what the real one is compared with.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use martlet_codec::{Filter, FilterBuf, Qos, Topic};

use super::{Overlapping, SessionRef, SubOptions};

/// A list of subscriptions.
#[derive(Default)]
pub(super) struct Naive(Vec<(FilterBuf, SessionRef, SubOptions)>);

/// What a session is to get: QoS, RETAIN as published, identifiers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    pub(super) session: SessionRef,
    pub(super) qos: Qos,
    pub(super) retain_as_published: bool,
    pub(super) identifiers: Vec<u32>,
}

/// A filter with its group, and its members.
pub(super) type Shared = (String, Vec<(SessionRef, SubOptions)>);

impl Naive {
    pub(super) fn subscribe(&mut self, filter: Filter<'_>, session: SessionRef, options: SubOptions) -> bool {
        let added = !self.unsubscribe(filter, session);
        self.0.push((filter.to_buf(), session, options));
        added
    }

    pub(super) fn unsubscribe(&mut self, filter: Filter<'_>, session: SessionRef) -> bool {
        let before = self.0.len();
        self.0
            .retain(|(f, s, _)| (f.as_filter(), *s) != (filter, session));
        before > self.0.len()
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (&FilterBuf, SessionRef)> {
        self.0.iter().map(|(filter, session, _)| (filter, *session))
    }

    /// The copies of a message, sorted.
    pub(super) fn copies(
        &self,
        topic: Topic<'_>,
        publisher: Option<SessionRef>,
        overlapping: Overlapping,
    ) -> Vec<Copy> {
        let matches = self.0.iter().filter(|(filter, session, options)| {
            filter.as_filter().share_group().is_none()
                && filter.as_filter().matches(topic)
                && !(options.no_local() && Some(*session) == publisher)
        });
        let mut copies: Vec<_> = matches
            .map(|(_, session, options)| Copy {
                session: *session,
                qos: options.qos(),
                retain_as_published: options.retain_as_published(),
                identifiers: options.identifier().map(NonZeroU32::get).into_iter().collect(),
            })
            .collect();
        copies.sort_unstable();
        match overlapping {
            Overlapping::Each => copies,
            Overlapping::Once => {
                let sessions: BTreeSet<_> = copies.iter().map(|copy| copy.session).collect();
                sessions
                    .into_iter()
                    .map(|session| merge(session, &copies))
                    .collect()
            }
        }
    }

    /// The groups that get a copy, sorted, with their members, sorted.
    pub(super) fn shared(&self, topic: Topic<'_>) -> Vec<Shared> {
        let filters: BTreeSet<_> = self
            .0
            .iter()
            .map(|(filter, ..)| filter.as_filter())
            .filter(|filter| filter.share_group().is_some() && filter.matches(topic))
            .collect();
        let members = |filter: Filter<'_>| {
            let mut members: Vec<_> = self
                .0
                .iter()
                .filter(|(f, ..)| f.as_filter() == filter)
                .map(|(_, session, options)| (*session, *options))
                .collect();
            members.sort_unstable();
            members
        };
        filters
            .iter()
            .map(|filter| (filter.as_str().to_owned(), members(*filter)))
            .collect()
    }
}

fn merge(session: SessionRef, copies: &[Copy]) -> Copy {
    let mut merged = Copy {
        session,
        qos: Qos::AtMostOnce,
        retain_as_published: false,
        identifiers: Vec::new(),
    };
    for copy in copies.iter().filter(|copy| copy.session == session) {
        merged.qos = merged.qos.max(copy.qos);
        merged.retain_as_published |= copy.retain_as_published;
        merged.identifiers.extend(&copy.identifiers);
    }
    merged.identifiers.sort_unstable();
    merged
}
