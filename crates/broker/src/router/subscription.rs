//! What one session asked for with one filter.

use std::fmt;
use std::num::NonZeroU32;

use martlet_codec::{Qos, SubscribeOptions};

/// Names a session in the process.
///
/// The index is used again when the session has ended; the generation tells the two apart, so that a
/// hit that comes too late reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// The shard that the session belongs to.
    pub shard: u16,
    /// How often the index was given out before, wrapping around.
    pub generation: u16,
    /// Its place in the shard.
    pub index: u32,
}

impl SessionRef {
    /// Sorts by shard, then index, then generation.
    pub(crate) fn key(self) -> u64 {
        u64::from(self.shard) << 48 | u64::from(self.index) << 16 | u64::from(self.generation)
    }
}

impl PartialOrd for SessionRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SessionRef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// The options of a subscription that decide about a delivery, in 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubOptions(u32);

const QOS: u32 = 0b11;
const NO_LOCAL: u32 = 1 << 2;
const RETAIN_AS_PUBLISHED: u32 = 1 << 3;
const IDENTIFIER_SHIFT: u32 = 4;

impl SubOptions {
    /// What SUBSCRIBE asked for, with its Subscription Identifier, which has at most 28 bits on the wire.
    pub fn new(asked: SubscribeOptions, identifier: Option<NonZeroU32>) -> Self {
        let identifier = identifier.map_or(0, NonZeroU32::get);
        assert!(identifier < 1 << 28, "a subscription identifier has 28 bits");
        let flag = |on, bit| if on { bit } else { 0 };
        Self(
            u32::from(asked.qos.as_u8())
                | flag(asked.no_local, NO_LOCAL)
                | flag(asked.retain_as_published, RETAIN_AS_PUBLISHED)
                | identifier << IDENTIFIER_SHIFT,
        )
    }

    /// The maximum QoS.
    pub fn qos(self) -> Qos {
        Qos::from_u8((self.0 & QOS) as u8).expect("it was one")
    }

    /// Whether the session's own messages are kept from it.
    pub fn no_local(self) -> bool {
        self.0 & NO_LOCAL != 0
    }

    /// Whether RETAIN is forwarded as it was published.
    pub fn retain_as_published(self) -> bool {
        self.0 & RETAIN_AS_PUBLISHED != 0
    }

    /// The Subscription Identifier.
    pub fn identifier(self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.0 >> IDENTIFIER_SHIFT)
    }
}

/// Only a QoS, all else as in version 3.
impl From<Qos> for SubOptions {
    fn from(qos: Qos) -> Self {
        Self::new(SubscribeOptions::qos(qos), None)
    }
}

impl fmt::Debug for SubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubOptions")
            .field("qos", &self.qos())
            .field("no_local", &self.no_local())
            .field("retain_as_published", &self.retain_as_published())
            .field("identifier", &self.identifier())
            .finish()
    }
}

/// A session with its options for one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subscription {
    pub(crate) session: SessionRef,
    pub(crate) options: SubOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kept_apart() {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for (no_local, retain_as_published) in [(false, false), (true, false), (false, true)] {
                for identifier in [None, NonZeroU32::new(1), NonZeroU32::new((1 << 28) - 1)] {
                    let asked = SubscribeOptions {
                        no_local,
                        retain_as_published,
                        ..SubscribeOptions::qos(qos)
                    };
                    let options = SubOptions::new(asked, identifier);
                    assert_eq!(options.qos(), qos);
                    assert_eq!(options.no_local(), no_local);
                    assert_eq!(options.retain_as_published(), retain_as_published);
                    assert_eq!(options.identifier(), identifier);
                }
            }
        }
    }

    #[test]
    fn sessions_sort_by_shard() {
        let at = |shard, index, generation| SessionRef {
            shard,
            generation,
            index,
        };
        let sorted = [
            at(0, 1, 9),
            at(0, 2, 0),
            at(0, 2, 1),
            at(1, 0, 0),
            at(1, u32::MAX, 0),
        ];
        assert!(sorted.is_sorted());
        assert_eq!(size_of::<SessionRef>(), 8);
        assert_eq!(size_of::<Subscription>(), 12);
    }
}
