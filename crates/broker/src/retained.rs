//! Retained messages: the latest message of each topic, for those who subscribe later.
//!
//! [`Retained`] is one for the process, beside the [`Router`](crate::router::Router). It is generic over what
//! it keeps, and knows of a message only its topic, its version and when it expires.

mod stripe;
#[cfg(test)]
mod tests;
mod unsettled;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use martlet_codec::{Filter, Topic};
use martlet_session::handshake::is_server_topic;
use parking_lot::{Mutex, MutexGuard};

use crate::router::tree::LevelHashing;
use stripe::{Kept, NEVER, Stripe};
use unsettled::Again;

/// The retained messages of all topics, in stripes by the first level of the topic, each with a lock.
///
/// A set costs what its topic is deep; a look-up with wildcards walks nothing but the
/// branches that the filter leaves open.
pub struct Retained<V> {
    hashing: LevelHashing,
    stripes: Box<[Mutex<Stripe<V>>]>,
    /// When the first message of each stripe expires, readable without its lock.
    due: Box<[AtomicU64]>,
    messages_max: usize,
    bytes_max: u64,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// What of that is of the broker itself: it stays, as `$SYS` only ever changes.
    exempt_messages: AtomicUsize,
    exempt_bytes: AtomicUsize,
    weigh: fn(&V) -> usize,
    /// The highest version that was given out.
    versions: AtomicU64,
}

/// What became of a message that was to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOutcome {
    /// The topic had none.
    Stored,
    /// It took the place of another.
    Replaced,
    /// The topic has a newer one, which stays.
    Older,
    /// There are as many as there may be, or as many bytes.
    Full,
}

/// Where a message that is set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It is new, and stands until the store has it or not.
    Published { may_fail: bool },
    /// It was stored before: limits that are lower now do not drop it.
    Stored,
    /// It is of the broker itself, and neither counts to the limits nor is refused by them.
    Broker,
}

/// A change of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The version that it was given.
    pub version: u64,
    /// The versions that the store may have and that are over with it.
    pub replaced: Vec<u64>,
}

/// Locks: enough that shards seldom meet at one.
const STRIPES: usize = 64;

impl<V: Clone> Retained<V> {
    /// Room for `messages_max` messages of `bytes_max` bytes in all. The seed is secret, topics are chosen by strangers. `weigh` tells
    /// the bytes of a value, the same each time.
    pub fn new(seed: u64, messages_max: usize, bytes_max: u64, weigh: fn(&V) -> usize) -> Self {
        let hashing = LevelHashing::new(seed);
        Self {
            stripes: (0..STRIPES)
                .map(|_| Mutex::new(Stripe::new(hashing.clone())))
                .collect(),
            due: (0..STRIPES).map(|_| AtomicU64::new(NEVER)).collect(),
            hashing,
            messages_max,
            bytes_max,
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            exempt_messages: AtomicUsize::new(0),
            exempt_bytes: AtomicUsize::new(0),
            weigh,
            versions: AtomicU64::new(0),
        }
    }

    /// Retains a message that was just published [MQTT5-3.3.1-5]. The version is drawn under the lock of the topic,
    /// so that what is set last has the highest. `may_fail`: the store is going to answer, and [`settle`](Self::settle)
    /// is called then.
    pub fn publish(
        &self,
        topic: Topic<'_>,
        value: V,
        expires_at_ms: Option<u64>,
        may_fail: bool,
    ) -> (SetOutcome, Changed) {
        self.set_with(
            topic,
            value,
            expires_at_ms,
            if is_server_topic(topic.as_str()) {
                Origin::Broker
            } else {
                Origin::Published { may_fail }
            },
            || self.next_version(),
        )
    }

    /// Forgets the message of a topic because an empty one was just published [MQTT5-3.3.1-6]. None: it had none.
    pub fn publish_empty(&self, topic: Topic<'_>, may_fail: bool) -> Option<Changed> {
        self.clear_with(topic, may_fail, || self.next_version())
    }

    /// The store has answered for a change: it is durable, or was refused, and then the topic has again what it
    /// had before.
    pub fn settle(&self, topic: Topic<'_>, version: u64, is_durable: bool) {
        let at = stripe_of(first_level(topic));
        let mut stripe = self.stripes[at].lock();
        if is_durable {
            return stripe.unsettled.settle(topic, version);
        }
        match stripe.unsettled.refuse(topic, version) {
            Again::Stays => return,
            Again::Has(again) => {
                // It was counted before, so it may be one more than there may be now.
                let weight = (self.weigh)(&again.value);
                let node = stripe.find_or_add(topic);
                self.bytes.fetch_add(weight, Ordering::Relaxed);
                match stripe.put(node, again) {
                    Some(old) => _ = self.bytes.fetch_sub((self.weigh)(&old.value), Ordering::Relaxed),
                    None => _ = self.messages.fetch_add(1, Ordering::Relaxed),
                }
            }
            Again::Nothing => {
                let now = stripe.find(topic).filter(|node| stripe.kept(*node).is_some());
                if let Some(node) = now {
                    let old = stripe.take(node);
                    self.release(&old);
                }
            }
        }
        self.tell_due(at, &stripe);
    }

    fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Retains a message that was stored with that version, unless the topic has one of a higher
    /// version; beyond the limits too, as it was acknowledged. `expires_at_ms` is in the time that [`matching`](Self::matching) and
    /// [`expire`](Self::expire) are asked in.
    pub fn set(&self, topic: Topic<'_>, value: V, version: u64, expires_at_ms: Option<u64>) -> SetOutcome {
        self.versions.fetch_max(version, Ordering::Relaxed);
        self.set_with(topic, value, expires_at_ms, Origin::Stored, || version)
            .0
    }

    fn set_with(
        &self,
        topic: Topic<'_>,
        value: V,
        expires_at_ms: Option<u64>,
        origin: Origin,
        version: impl FnOnce() -> u64,
    ) -> (SetOutcome, Changed) {
        let is_new = matches!(origin, Origin::Published { .. });
        let weight = (self.weigh)(&value);
        let at = stripe_of(first_level(topic));
        let mut stripe = self.stripes[at].lock();
        let version = version();
        let kept = Kept {
            value,
            version,
            expires_at_ms: expires_at_ms.unwrap_or(NEVER),
        };
        let mut changed = Changed {
            version,
            replaced: Vec::new(),
        };
        let node = stripe.find_or_add(topic);
        match stripe.kept(node) {
            Some(old) if old.version > version => return (SetOutcome::Older, changed),
            Some(old) if is_new && !self.has_room(weight.saturating_sub((self.weigh)(&old.value))) => {
                return (SetOutcome::Full, changed);
            }
            Some(_) => {}
            None if !is_new => _ = self.messages.fetch_add(1, Ordering::Relaxed),
            None if self.has_room(weight) && self.claim() => {}
            None => {
                stripe.prune(node);
                return (SetOutcome::Full, changed);
            }
        }
        if origin == Origin::Broker {
            self.exempt(weight, stripe.kept(node).map(|old| (self.weigh)(&old.value)));
        }
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let may_fail = origin == Origin::Published { may_fail: true };
        let set = may_fail.then(|| kept.clone());
        let old = stripe.put(node, kept);
        self.tell_due(at, &stripe);
        let outcome = match &old {
            Some(old) => {
                self.bytes.fetch_sub((self.weigh)(&old.value), Ordering::Relaxed);
                SetOutcome::Replaced
            }
            None => SetOutcome::Stored,
        };
        changed.replaced = replace(&mut stripe, topic, version, set, old, may_fail);
        (outcome, changed)
    }

    /// Forgets the message of a topic, unless it is of a higher version. True if there was one to forget.
    /// Nothing remembers the version: who applies stored changes out of order must look to it that a set
    /// does not come after the clear that was to end it.
    pub fn clear(&self, topic: Topic<'_>, version: u64) -> bool {
        self.clear_with(topic, false, || version).is_some()
    }

    fn clear_with(&self, topic: Topic<'_>, may_fail: bool, version: impl FnOnce() -> u64) -> Option<Changed> {
        let at = stripe_of(first_level(topic));
        let mut stripe = self.stripes[at].lock();
        let version = version();
        let node = stripe.find(topic).filter(|node| stripe.kept(*node).is_some());
        let old = match node {
            Some(node) if stripe.kept(node).is_some_and(|kept| kept.version > version) => return None,
            Some(node) => {
                let old = stripe.take(node);
                self.tell_due(at, &stripe);
                self.release(&old);
                Some(old)
            }
            // What was cleared a moment ago may come back, if the store refuses that.
            None if stripe.unsettled.has(topic) => None,
            None => return None,
        };
        let replaced = replace(&mut stripe, topic, version, None, old, may_fail);
        Some(Changed { version, replaced })
    }

    /// The message of a topic.
    pub fn get(&self, topic: Topic<'_>, now_ms: u64) -> Option<V> {
        let stripe = self.stripes[stripe_of(first_level(topic))].lock();
        let node = stripe.find(topic)?;
        stripe
            .kept(node)
            .filter(|kept| kept.lives(now_ms))
            .map(|kept| kept.value.clone())
    }

    /// Appends the messages of all topics that `filter` matches [MQTT5-3.3.1-9]. A topic comes
    /// before those below it, and those side by side in the order in which they first were there: the same
    /// for the same history, whatever the seed. Of a shared subscription nothing is known here: its
    /// pattern is matched.
    pub fn matching(&self, filter: Filter<'_>, now_ms: u64, found: &mut Vec<V>) {
        let levels: Vec<_> = filter.levels().map(|level| self.hashing.key(level)).collect();
        let mut collect = |stripe: MutexGuard<'_, Stripe<V>>| {
            stripe.visit(&levels, |kept| {
                if kept.lives(now_ms) {
                    found.push(kept.value.clone());
                }
            });
        };
        match levels[0].text() {
            "+" | "#" => self.stripes.iter().for_each(|stripe| collect(stripe.lock())),
            first => collect(self.stripes[stripe_of(first)].lock()),
        }
    }

    /// Forgets messages that have expired, `most` of them so that nobody waits long; returns their versions. When
    /// there are more, [`next_expiry_ms`](Self::next_expiry_ms) says so.
    pub fn expire(&self, now_ms: u64, most: usize) -> Vec<u64> {
        let mut removed = Vec::new();
        for (at, stripe) in self.stripes.iter().enumerate() {
            if self.due[at].load(Ordering::Acquire) > now_ms {
                continue;
            }
            let mut stripe = stripe.lock();
            while removed.len() < most
                && let Some(old) = stripe.take_expired(now_ms)
            {
                self.release(&old);
                removed.push(old.version);
            }
            self.tell_due(at, &stripe);
        }
        removed
    }

    /// When the next message expires.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        let next = self.due.iter().map(|due| due.load(Ordering::Acquire)).min();
        next.filter(|next| *next != NEVER)
    }

    /// The number of messages, those included that have expired and are not removed yet.
    pub fn len(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }

    /// Whether no topic has a message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all values, as they were weighed. What the topics take comes on top.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Called under the lock of the stripe. Most sets change nothing, so that shards do not fight for the line.
    fn tell_due(&self, at: usize, stripe: &Stripe<V>) {
        let due = stripe.due();
        if self.due[at].load(Ordering::Relaxed) != due {
            self.due[at].store(due, Ordering::Release);
        }
    }

    /// A message of the broker itself takes the place of another, which was so heavy.
    fn exempt(&self, weight: usize, old: Option<usize>) {
        self.exempt_messages
            .fetch_add(usize::from(old.is_none()), Ordering::Relaxed);
        self.exempt_bytes.fetch_add(weight, Ordering::Relaxed);
        self.exempt_bytes.fetch_sub(old.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether there may be so many bytes more; shards that ask at once may all be told so.
    fn has_room(&self, more: usize) -> bool {
        let counted = |bytes: usize| bytes.saturating_sub(self.exempt_bytes.load(Ordering::Relaxed));
        more == 0 || (counted(self.bytes()) + more) as u64 <= self.bytes_max
    }

    /// Counts one message more, if there may be one more.
    fn claim(&self) -> bool {
        let messages_max = self
            .messages_max
            .saturating_add(self.exempt_messages.load(Ordering::Relaxed));
        let more = |messages| (messages < messages_max).then_some(messages + 1);
        self.messages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn release(&self, old: &Kept<V>) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub((self.weigh)(&old.value), Ordering::Relaxed);
    }
}

/// A topic has changed; returns the versions that are over with that.
fn replace<V: Clone>(
    stripe: &mut Stripe<V>,
    topic: Topic<'_>,
    version: u64,
    set: Option<Kept<V>>,
    old: Option<Kept<V>>,
    may_fail: bool,
) -> Vec<u64> {
    let mut replaced = stripe.unsettled.versions(topic);
    if let Some(old) = &old
        && !replaced.contains(&old.version)
    {
        replaced.push(old.version);
    }
    if may_fail {
        stripe.unsettled.begin(topic, version, set, old);
    } else {
        stripe.unsettled.forget(topic);
    }
    replaced
}

fn first_level(topic: Topic<'_>) -> &str {
    topic.levels().next().unwrap_or_default()
}

/// FNV-1a without a seed, so that the order of stripes is the same in each run. Who makes
/// topics meet in one stripe gains no more than with one first level for all.
fn stripe_of(level: &str) -> usize {
    let hash = level.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash >> 32) as usize % STRIPES
}
