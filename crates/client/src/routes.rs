//! Which streams get the topics that came lately.

use martlet_codec::TopicBuf;
use smallvec::SmallVec;

use crate::filters::Slot;

/// Topics that are remembered; one that comes may take the place of another.
const TOPICS_MAX: usize = 64;

/// A topic with more streams is not remembered.
const STREAMS_MAX: usize = 16;

/// Streams; most topics have one or two.
pub(crate) type Slots = SmallVec<[Slot; 2]>;

/// Streams by topic name. A name is known by where it lies: the engine gives out the same one for a topic that
/// comes again.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Empty, or of [`TOPICS_MAX`].
    places: Vec<Option<(TopicBuf, Slots)>>,
}

impl Routes {
    pub(crate) fn get(&self, topic: &TopicBuf) -> Option<&[Slot]> {
        let (name, slots) = self.places.get(place(topic))?.as_ref()?;
        // It is alive as long as it is remembered, so no other lies there.
        (address(name) == address(topic)).then_some(slots)
    }

    pub(crate) fn put(&mut self, topic: &TopicBuf, slots: &[Slot]) {
        if slots.len() > STREAMS_MAX {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(TOPICS_MAX, || None);
        }
        self.places[place(topic)] = Some((topic.clone(), slots.into()));
    }

    /// A filter or a stream comes or goes.
    pub(crate) fn forget(&mut self) {
        self.places.clear();
    }
}

fn address(topic: &TopicBuf) -> usize {
    topic.as_str().as_ptr().addr()
}

fn place(topic: &TopicBuf) -> usize {
    // What allocators give out differs in these bits.
    (address(topic) >> 4 ^ address(topic) >> 10) % TOPICS_MAX
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
        assert!(topics.iter().filter(|topic| routes.get(topic).is_some()).count() <= TOPICS_MAX);
        routes.put(&topics[0], &[1; STREAMS_MAX + 1]);
        assert_ne!(routes.get(&topics[0]), Some([1; STREAMS_MAX + 1].as_slice()));
        routes.forget();
        assert_eq!(routes.get(&topics[999]), None);
    }
}
