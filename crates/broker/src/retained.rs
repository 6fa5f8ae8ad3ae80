//! Retained messages: the latest message of each topic, for those who subscribe later.
//!
//! [`Retained`] is one for the process, beside the [`Router`](crate::router::Router). It is generic over what
//! it keeps, and knows of a message only its topic, its version and when it expires.

mod stripe;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use martlet_codec::{Filter, Topic};
use parking_lot::{Mutex, MutexGuard};

use crate::router::tree::LevelHashing;
use stripe::{Kept, NEVER, Stripe};

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
    messages: AtomicUsize,
    bytes: AtomicUsize,
    weigh: fn(&V) -> usize,
    /// The highest version that was given out.
    versions: AtomicU64,
}

/// What became of a message that was to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOutcome {
    /// The topic had none.
    Stored,
    /// It took the place of the one with that version.
    Replaced(u64),
    /// The topic has a newer one, which stays.
    Older,
    /// The topic has none, and there are as many as there may be.
    Full,
}

/// Locks: enough that shards seldom meet at one.
const STRIPES: usize = 64;

impl<V: Clone> Retained<V> {
    /// Room for `messages_max` messages. The seed is secret, topics are chosen by strangers. `weigh` tells
    /// the bytes of a value, the same each time.
    pub fn new(seed: u64, messages_max: usize, weigh: fn(&V) -> usize) -> Self {
        let hashing = LevelHashing::new(seed);
        Self {
            stripes: (0..STRIPES)
                .map(|_| Mutex::new(Stripe::new(hashing.clone())))
                .collect(),
            due: (0..STRIPES).map(|_| AtomicU64::new(NEVER)).collect(),
            hashing,
            messages_max,
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            weigh,
            versions: AtomicU64::new(0),
        }
    }

    /// Retains a message that was just published [MQTT5-3.3.1-5]; the version that it was given. The
    /// version is drawn under the lock of the topic, so that what is set last has the highest.
    pub fn publish(&self, topic: Topic<'_>, value: V, expires_at_ms: Option<u64>) -> (SetOutcome, u64) {
        self.set_with(topic, value, expires_at_ms, || self.next_version())
    }

    /// Forgets the message of a topic because an empty one was just published [MQTT5-3.3.1-6]; the version
    /// of the message that it had.
    pub fn publish_empty(&self, topic: Topic<'_>) -> Option<u64> {
        self.clear_with(topic, || self.next_version())
    }

    fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Retains a message that was stored with that version, unless the topic has one of a higher
    /// version. `expires_at_ms` is in the time that [`matching`](Self::matching) and
    /// [`expire`](Self::expire) are asked in.
    pub fn set(&self, topic: Topic<'_>, value: V, version: u64, expires_at_ms: Option<u64>) -> SetOutcome {
        self.versions.fetch_max(version, Ordering::Relaxed);
        self.set_with(topic, value, expires_at_ms, || version).0
    }

    fn set_with(
        &self,
        topic: Topic<'_>,
        value: V,
        expires_at_ms: Option<u64>,
        version: impl FnOnce() -> u64,
    ) -> (SetOutcome, u64) {
        let weight = (self.weigh)(&value);
        let at = stripe_of(first_level(topic));
        let mut stripe = self.stripes[at].lock();
        let version = version();
        let kept = Kept {
            value,
            version,
            expires_at_ms: expires_at_ms.unwrap_or(NEVER),
        };
        let node = stripe.find_or_add(topic);
        match stripe.kept(node) {
            Some(old) if old.version > version => return (SetOutcome::Older, version),
            Some(_) => {}
            None if self.claim() => {}
            None => {
                stripe.prune(node);
                return (SetOutcome::Full, version);
            }
        }
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        let replaced = stripe.put(node, kept);
        self.tell_due(at, &stripe);
        drop(stripe);
        let Some(old) = replaced else {
            return (SetOutcome::Stored, version);
        };
        self.bytes.fetch_sub((self.weigh)(&old.value), Ordering::Relaxed);
        (SetOutcome::Replaced(old.version), version)
    }

    /// Forgets the message of a topic, unless it is of a higher version. True if there was one to forget.
    /// Nothing remembers the version: who applies stored changes out of order must look to it that a set
    /// does not come after the clear that was to end it.
    pub fn clear(&self, topic: Topic<'_>, version: u64) -> bool {
        self.clear_with(topic, || version).is_some()
    }

    fn clear_with(&self, topic: Topic<'_>, version: impl FnOnce() -> u64) -> Option<u64> {
        let at = stripe_of(first_level(topic));
        let mut stripe = self.stripes[at].lock();
        let version = version();
        let node = stripe.find(topic)?;
        if stripe.kept(node).is_none_or(|kept| kept.version > version) {
            return None;
        }
        let old = stripe.take(node);
        self.tell_due(at, &stripe);
        drop(stripe);
        self.release(&old);
        Some(old.version)
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

    /// Counts one message more, if there may be one more.
    fn claim(&self) -> bool {
        let more = |messages| (messages < self.messages_max).then_some(messages + 1);
        self.messages
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn release(&self, old: &Kept<V>) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub((self.weigh)(&old.value), Ordering::Relaxed);
    }
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
