//! Topic aliases, both directions. They live and die with the connection [MQTT5-3.3.2-7].

use std::num::NonZeroU16;

use martlet_codec::{Address, Topic, TopicBuf, Violation};

/// The aliases that the peer defines.
#[derive(Debug, Default)]
pub struct AliasesIn {
    max: u16,
    /// Grows as far as aliases are used; index 0 is alias 1.
    topics: Vec<Option<TopicBuf>>,
}

impl AliasesIn {
    /// Takes aliases from 1 to `max`, which is what was announced.
    pub fn new(max: u16) -> Self {
        Self {
            max,
            topics: Vec::new(),
        }
    }

    /// The topic name of an incoming PUBLISH; defines or redefines an alias on the way.
    pub fn resolve<'a>(&mut self, address: Address<'a>) -> Result<Resolved<'a>, Violation> {
        match address {
            Address::Name(topic) => Ok(Resolved::Named(topic)),
            Address::Define(topic, alias) => {
                *self.slot(alias)? = Some(topic.to_buf());
                Ok(Resolved::Named(topic))
            }
            Address::Alias(alias) => {
                let known = self.slot(alias)?.clone().ok_or(Violation::TopicAliasUnknown)?;
                Ok(Resolved::Known(known))
            }
        }
    }

    fn slot(&mut self, alias: NonZeroU16) -> Result<&mut Option<TopicBuf>, Violation> {
        // [MQTT5-3.3.2-9] [MQTT5-3.3.2-12]
        if alias.get() > self.max {
            return Err(Violation::TopicAliasRange);
        }
        let index = usize::from(alias.get()) - 1;
        if index >= self.topics.len() {
            self.topics.resize(index + 1, None);
        }
        Ok(&mut self.topics[index])
    }
}

/// The topic name of an incoming PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// It stands in the packet.
    Named(Topic<'a>),
    /// It was defined before.
    Known(TopicBuf),
}

impl Resolved<'_> {
    /// The name, owned.
    pub fn into_buf(self) -> TopicBuf {
        match self {
            Self::Named(topic) => topic.to_buf(),
            Self::Known(topic) => topic,
        }
    }

    /// The name.
    pub fn as_topic(&self) -> Topic<'_> {
        match self {
            Self::Named(topic) => *topic,
            Self::Known(topic) => topic.as_topic(),
        }
    }
}

/// The aliases that this end assigns to the topics that it sends most.
#[derive(Debug, Default)]
pub struct AliasesOut {
    max: u16,
    /// Index 0 is alias 1.
    topics: Vec<(TopicBuf, u32)>,
}

impl AliasesOut {
    /// Assigns aliases from 1 to `max`, the lower of what the peer takes and of our own limit
    /// [MQTT5-3.1.2-26] [MQTT5-3.1.2-27].
    pub fn new(max: u16) -> Self {
        Self {
            max,
            topics: Vec::new(),
        }
    }

    /// How to address `topic`. A topic that is sent more often displaces the one that is sent least:
    /// each miss takes one from the least used, and at 0 it gives up its alias.
    pub fn address<'a>(&mut self, topic: Topic<'a>) -> Address<'a> {
        if self.max == 0 {
            return Address::Name(topic);
        }
        if let Some(index) = self
            .topics
            .iter()
            .position(|(known, _)| known.as_topic() == topic)
        {
            self.topics[index].1 = self.topics[index].1.saturating_add(1);
            return Address::Alias(alias(index));
        }
        if self.topics.len() < usize::from(self.max) {
            self.topics.push((topic.to_buf(), 1));
            return Address::Define(topic, alias(self.topics.len() - 1));
        }
        let (index, least) = self
            .topics
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, (_, uses))| *uses)
            .expect("max is not 0");
        if least.1 > 0 {
            least.1 -= 1;
            return Address::Name(topic);
        }
        *least = (topic.to_buf(), 1);
        Address::Define(topic, alias(index))
    }
}

fn alias(index: usize) -> NonZeroU16 {
    NonZeroU16::new(index as u16 + 1).expect("there are at most 65535 aliases")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Topic<'static> = Topic::literal("a");
    const B: Topic<'static> = Topic::literal("b");

    fn id(n: u16) -> NonZeroU16 {
        NonZeroU16::new(n).unwrap()
    }

    #[test]
    fn incoming() {
        let resolve =
            |aliases: &mut AliasesIn, address| aliases.resolve(address).map(|r| r.as_topic().to_buf());
        let mut aliases = AliasesIn::new(2);
        assert_eq!(
            resolve(&mut aliases, Address::Alias(id(1))),
            Err(Violation::TopicAliasUnknown)
        );
        assert_eq!(resolve(&mut aliases, Address::Define(A, id(2))), Ok(A.to_buf()));
        assert_eq!(resolve(&mut aliases, Address::Alias(id(2))), Ok(A.to_buf()));
        assert_eq!(resolve(&mut aliases, Address::Define(B, id(2))), Ok(B.to_buf()));
        assert_eq!(resolve(&mut aliases, Address::Alias(id(2))), Ok(B.to_buf()));
        assert_eq!(
            resolve(&mut aliases, Address::Alias(id(1))),
            Err(Violation::TopicAliasUnknown)
        );
        assert_eq!(
            resolve(&mut aliases, Address::Define(A, id(3))),
            Err(Violation::TopicAliasRange)
        );
        let mut none = AliasesIn::new(0);
        assert_eq!(
            resolve(&mut none, Address::Define(A, id(1))),
            Err(Violation::TopicAliasRange)
        );
    }

    #[test]
    fn outgoing_replaces_the_least_used() {
        assert_eq!(AliasesOut::new(0).address(A), Address::Name(A));
        let mut aliases = AliasesOut::new(1);
        assert_eq!(aliases.address(A), Address::Define(A, id(1)));
        assert_eq!(aliases.address(A), Address::Alias(id(1)));
        // `a` was sent twice, so `b` takes its place with its third message.
        assert_eq!(aliases.address(B), Address::Name(B));
        assert_eq!(aliases.address(B), Address::Name(B));
        assert_eq!(aliases.address(B), Address::Define(B, id(1)));
        assert_eq!(aliases.address(B), Address::Alias(id(1)));
    }
}
