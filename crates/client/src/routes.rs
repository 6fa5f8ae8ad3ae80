//! Which streams get the topics that came lately.

use martlet_codec::TopicBuf;
use smallvec::SmallVec;

use crate::filters::Slot;
use crate::recent::Recent;

/// A topic with more streams is not remembered.
const STREAMS_MAX: usize = 16;

/// Streams; most topics have one or two.
pub(crate) type Slots = SmallVec<[Slot; 2]>;

/// Streams by topic name. A name is known by where it lies: the engine gives out the same one for a topic that
/// comes again.
#[derive(Debug, Default)]
pub(crate) struct Routes(Recent<(TopicBuf, Slots)>);

impl Routes {
    pub(crate) fn get(&self, topic: &TopicBuf) -> Option<&[Slot]> {
        let (name, slots) = self.0.get(hash(topic))?;
        // It is alive as long as it is remembered, so no other lies there.
        (address(name) == address(topic)).then_some(slots)
    }

    pub(crate) fn put(&mut self, topic: &TopicBuf, slots: &[Slot]) {
        if slots.len() <= STREAMS_MAX {
            let route = (topic.clone(), slots.into());
            self.0.put(hash(topic), route, |(topic, _)| hash(topic));
        }
    }

    /// A filter or a stream comes or goes.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

fn address(topic: &TopicBuf) -> usize {
    topic.as_str().as_ptr().addr()
}

/// Of the place where the name lies.
fn hash(topic: &TopicBuf) -> usize {
    ((address(topic) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_until_something_changes() {
        let mut routes = Routes::default();
        let topics: Vec<_> = (0..1_000)
            .map(|n| TopicBuf::new(format!("t/{n}")).unwrap())
            .collect();
        for (n, topic) in topics.iter().enumerate() {
            assert_eq!(routes.get(topic), None);
            routes.put(topic, &[n, n + 1]);
            assert_eq!(routes.get(topic), Some([n, n + 1].as_slice()));
        }
        routes.put(&topics[0], &[1; STREAMS_MAX + 1]);
        assert_ne!(routes.get(&topics[0]), Some([1; STREAMS_MAX + 1].as_slice()));
        routes.forget();
        assert_eq!(routes.get(&topics[999]), None);
    }
}
