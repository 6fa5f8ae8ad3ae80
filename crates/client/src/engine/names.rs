//! Topic names that came lately: most come again and again, and need no memory of their own then.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use martlet_codec::{Topic, TopicBuf};

use crate::recent::Recent;

/// Longer names are not remembered.
const NAME_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Names {
    recent: Recent<TopicBuf>,
    /// The one that came last.
    last: Option<TopicBuf>,
}

impl Names {
    /// Brings `known` up to date: the name that came last, which the next one is compared with when it is decoded.
    pub(super) fn last(&self, known: &mut Option<TopicBuf>) {
        if at(self.last.as_ref()) != at(known.as_ref()) {
            known.clone_from(&self.last);
        }
    }

    /// An owned name, the same one as last time if it came lately.
    pub(super) fn own(&mut self, topic: Topic<'_>) -> TopicBuf {
        // It was found to be the last one when it was decoded.
        if let Some(last) = &self.last
            && std::ptr::eq(last.as_str(), topic.as_str())
        {
            return last.clone();
        }
        if topic.as_str().len() > NAME_BYTES_MAX {
            return topic.to_buf();
        }
        let name = self.remembered(topic);
        self.last = Some(name.clone());
        name
    }

    fn remembered(&mut self, topic: Topic<'_>) -> TopicBuf {
        let hash = hash(topic);
        match self.recent.get(hash) {
            Some(name) if name.as_topic() == topic => name.clone(),
            _ => self
                .recent
                .put(hash, topic.to_buf(), |name| self::hash(name.as_topic()))
                .clone(),
        }
    }
}

fn hash(topic: Topic<'_>) -> usize {
    FixedState::default().hash_one(topic.as_str()) as usize
}

fn at(name: Option<&TopicBuf>) -> Option<*const u8> {
    name.map(|name| name.as_str().as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_came_lately_is_the_same() {
        let mut names = Names::default();
        let mut own = |name: &str| names.own(Topic::new(name).unwrap());
        let first = own("t/1");
        assert_eq!(first.as_str().as_ptr(), own("t/1").as_str().as_ptr());
        for n in 0..1_000 {
            let name = format!("t/{n}");
            assert_eq!(own(&name).as_str(), name);
        }
        let mut known = None;
        names.last(&mut known);
        let known = known.unwrap();
        assert_eq!(known.as_str(), "t/999");
        assert_eq!(
            names.own(known.as_topic()).as_str().as_ptr(),
            known.as_str().as_ptr()
        );
        let mut own = |name: &str| names.own(Topic::new(name).unwrap());
        let long = "t".repeat(NAME_BYTES_MAX + 1);
        assert_ne!(own(&long).as_str().as_ptr(), own(&long).as_str().as_ptr());
    }
}
