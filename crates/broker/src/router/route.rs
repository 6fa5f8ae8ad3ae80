//! What one topic leads to.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use martlet_codec::{Qos, TopicBuf};

use super::Overlapping;
use super::generations::{Generations, Stamp};
use super::share::Group;
use super::subscription::{SessionRef, Subscription};

/// The recipients of one topic, as they were when it was made. Immutable: a shard caches it by topic and
/// asks [`is_current`](Self::is_current) before it uses it again.
pub struct Route {
    topic: TopicBuf,
    stamp: Stamp,
    /// In the order of the sessions, so by shard.
    hits: Box<[Hit]>,
    /// The identifiers of the hits that have more than one.
    identifiers: Box<[u32]>,
    /// What sessions with No Local get of their own messages; usually empty. In the order of the sessions.
    own: Box<[Own]>,
    groups: Box<[Arc<Group>]>,
    /// The most hits that a session has in `own`.
    own_max: u32,
}

/// One copy for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Who gets it.
    pub session: SessionRef,
    /// The only identifier, or where the identifiers start in the route's.
    identifier: u32,
    /// The number of identifiers, then RETAIN as published, then two bits of QoS.
    packed: u32,
}

const QOS_BITS: u32 = 2;
const RETAIN: u32 = 1 << QOS_BITS;
const COUNT_SHIFT: u32 = 3;

struct Own {
    session: SessionRef,
    hits: Box<[Hit]>,
}

impl Route {
    /// Whether no subscription has come or gone that could change this route.
    pub fn is_current(&self, generations: &Generations) -> bool {
        generations.is_current(&self.stamp)
    }

    /// The topic that it is the route of.
    pub fn topic(&self) -> &TopicBuf {
        &self.topic
    }

    /// Whether somebody among the hits has asked not to get its own messages.
    pub fn has_no_local(&self) -> bool {
        !self.own.is_empty()
    }

    /// Whether nobody has asked for the topic.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.groups.is_empty()
    }

    /// The hits in all shards, in the order of the sessions, whoever publishes.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// The hits in one shard, for a publisher that is no session, such as a bridge or a will of one that has
    /// ended.
    pub fn shard(&self, shard: u16) -> &[Hit] {
        if let [only] = &*self.hits {
            return if only.session.shard == shard {
                &self.hits
            } else {
                &[]
            };
        }
        let start = self.hits.partition_point(|hit| hit.session.shard < shard);
        let len = self.hits[start..].partition_point(|hit| hit.session.shard == shard);
        &self.hits[start..start + len]
    }

    /// The hits in one shard of what `publisher` publishes: with No Local taken into account
    /// [MQTT5-3.8.3-3], at no cost when nobody asked for it.
    pub fn shard_from(
        &self,
        shard: u16,
        publisher: SessionRef,
    ) -> impl Iterator<Item = &Hit> + Clone + use<'_> {
        self.replace_own(self.shard(shard), publisher)
    }

    /// The hits in all shards of what `publisher` publishes.
    pub fn hits_from(&self, publisher: SessionRef) -> impl Iterator<Item = &Hit> + Clone + use<'_> {
        self.replace_own(&self.hits, publisher)
    }

    /// The shards that have hits, each with its hits, whoever publishes. The hits of the publisher itself may
    /// be fewer: see [`shard_from`](Self::shard_from).
    pub fn shards(&self) -> impl Iterator<Item = (u16, &[Hit])> {
        let mut rest = &*self.hits;
        std::iter::from_fn(move || {
            let shard = rest.first()?.session.shard;
            let (hits, others) = rest.split_at(rest.partition_point(|hit| hit.session.shard == shard));
            rest = others;
            Some((shard, hits))
        })
    }

    /// The shards that have hits, but for one.
    pub fn shards_but(&self, shard: u16) -> impl Iterator<Item = u16> + use<'_> {
        // Sorted by shard, so that the first and the last tell whether there is another.
        let is_alone = |hit: Option<&Hit>| hit.is_none_or(|hit| hit.session.shard == shard);
        let alone = is_alone(self.hits.first()) && is_alone(self.hits.last());
        let shards = (!alone).then(|| self.shards().map(|(shard, _)| shard));
        shards.into_iter().flatten().filter(move |other| *other != shard)
    }

    /// The Subscription Identifiers of a hit of this route, rising. Two subscriptions with the same
    /// identifier name it twice [MQTT5-3.3.4-5].
    pub fn identifiers<'a>(&'a self, hit: &'a Hit) -> &'a [u32] {
        match hit.identifiers_len() {
            0 => &[],
            1 => std::slice::from_ref(&hit.identifier),
            len => &self.identifiers[hit.identifier as usize..][..len],
        }
    }

    /// The place of a hit of this route among all that one message can have: the same in each shard.
    pub fn place(&self, hit: &Hit) -> u32 {
        let hit_at: *const Hit = hit;
        let place_in = |hits: &[Hit]| {
            let range = hits.as_ptr_range();
            range
                .contains(&hit_at)
                .then(|| ((hit_at as usize - range.start as usize) / size_of::<Hit>()) as u32)
        };
        place_in(&self.hits).unwrap_or_else(|| {
            let own = self.own.iter().find_map(|own| place_in(&own.hits));
            self.hits.len() as u32 + own.expect("it is a hit of this route")
        })
    }

    /// The same of the member that a group chose.
    pub fn place_of_group(&self, group: usize) -> u32 {
        self.hits.len() as u32 + self.own_max + group as u32
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.hits.len() + self.own_max as usize + self.groups.len()
    }

    /// The groups of shared subscriptions, each of which gets one copy on top of the hits.
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    fn replace_own<'a>(
        &'a self,
        hits: &'a [Hit],
        publisher: SessionRef,
    ) -> impl Iterator<Item = &'a Hit> + Clone + use<'a> {
        let (before, own, after) = match self.own.binary_search_by_key(&publisher, |own| own.session) {
            Err(_) => (hits, &[][..], &[][..]),
            Ok(at) => {
                let start = hits.partition_point(|hit| hit.session < publisher);
                let len = hits[start..].partition_point(|hit| hit.session == publisher);
                let own = if len == 0 { &[] } else { &*self.own[at].hits };
                (&hits[..start], own, &hits[start + len..])
            }
        };
        before.iter().chain(own).chain(after)
    }
}

impl Hit {
    /// The highest QoS that it may be sent with.
    pub fn qos(&self) -> Qos {
        Qos::from_u8((self.packed & ((1 << QOS_BITS) - 1)) as u8).expect("it was one")
    }

    /// Whether RETAIN is forwarded as it was published.
    pub fn retain_as_published(&self) -> bool {
        self.packed & RETAIN != 0
    }

    fn identifiers_len(&self) -> usize {
        (self.packed >> COUNT_SHIFT) as usize
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("hits", &self.hits)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// Makes routes; kept by a caller so that its buffers are used again.
#[derive(Default)]
pub struct RouteBuilder {
    /// The nodes that match the levels so far, and those that match one more.
    pub(super) reached: Vec<super::tree::NodeId>,
    pub(super) next: Vec<super::tree::NodeId>,
    pub(super) matches: Vec<Subscription>,
    pub(super) groups: Vec<Arc<Group>>,
    hits: Vec<Hit>,
    identifiers: Vec<u32>,
    own: Vec<Own>,
}

/// What a builder keeps of its buffers, in items, after a route that was larger.
const KEPT: usize = 4096;

impl RouteBuilder {
    /// A builder with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the route of what was matched, and empties the buffers.
    pub(super) fn build(&mut self, topic: TopicBuf, overlapping: Overlapping, stamp: Stamp) -> Route {
        let mut matches = std::mem::take(&mut self.matches);
        if matches.len() > 1 {
            matches.sort_unstable_by_key(|m| (m.session.key(), m.options));
        }
        for of_session in matches.chunk_by(|a, b| a.session == b.session) {
            self.add(of_session, overlapping);
        }
        matches.clear();
        matches.shrink_to(KEPT);
        self.matches = matches;
        let own_max = self.own.iter().map(|own| own.hits.len()).max().unwrap_or(0);
        let route = Route {
            own_max: own_max as u32,
            topic,
            stamp,
            hits: (&*self.hits).into(),
            identifiers: (&*self.identifiers).into(),
            own: self.own.drain(..).collect(),
            groups: self.groups.drain(..).collect(),
        };
        self.hits.clear();
        self.hits.shrink_to(KEPT);
        self.identifiers.clear();
        self.identifiers.shrink_to(KEPT);
        route
    }

    /// Adds the hits of one session.
    fn add(&mut self, matches: &[Subscription], overlapping: Overlapping) {
        let session = matches[0].session;
        if matches.iter().any(|m| m.options.no_local()) {
            let start = self.hits.len();
            let plain: Vec<_> = matches
                .iter()
                .filter(|m| !m.options.no_local())
                .copied()
                .collect();
            self.add_hits(&plain, overlapping);
            let hits = self.hits.drain(start..).collect();
            self.own.push(Own { session, hits });
        }
        self.add_hits(matches, overlapping);
    }

    fn add_hits(&mut self, matches: &[Subscription], overlapping: Overlapping) {
        match overlapping {
            Overlapping::Once => self.hits.extend(merge(matches, &mut self.identifiers)),
            Overlapping::Each => self.hits.extend(matches.iter().map(single)),
        }
    }
}

fn single(matched: &Subscription) -> Hit {
    let Subscription { session, options } = *matched;
    let identifier = options.identifier();
    let first = identifier.map_or(0, NonZeroU32::get);
    hit(
        session,
        (options.qos(), options.retain_as_published()),
        first,
        usize::from(identifier.is_some()),
    )
}

fn hit(session: SessionRef, (qos, retain): (Qos, bool), identifier: u32, identifiers: usize) -> Hit {
    let retain = if retain { RETAIN } else { 0 };
    let packed = (identifiers as u32) << COUNT_SHIFT | retain | u32::from(qos.as_u8());
    Hit {
        session,
        identifier,
        packed,
    }
}

/// One hit for all matches of one session: the highest QoS, RETAIN if any asks, all identifiers
/// [MQTT5-3.3.4-2] [MQTT5-3.3.4-4].
fn merge(matches: &[Subscription], identifiers: &mut Vec<u32>) -> Option<Hit> {
    let (first, others) = matches.split_first()?;
    if others.is_empty() {
        return Some(single(first));
    }
    let start = identifiers.len();
    let mut qos = Qos::AtMostOnce;
    let mut retain = false;
    for Subscription { options, .. } in matches {
        qos = qos.max(options.qos());
        retain |= options.retain_as_published();
        identifiers.extend(options.identifier().map(NonZeroU32::get));
    }
    identifiers[start..].sort_unstable();
    let len = identifiers.len() - start;
    let identifier = match identifiers[start..] {
        [only] => {
            identifiers.truncate(start);
            only
        }
        _ => start as u32,
    };
    Some(hit(first.session, (qos, retain), identifier, len))
}
