//! The topics of a run and the filters for them. All topics of a run have one length.

use crate::message::{Head, Shape};

/// Which topic a message has.
#[derive(Debug, Clone)]
pub(crate) enum Topics {
    /// Each stream has its own: `PREFIX/00007`.
    Fixed { prefix: String },
    /// Each message of a stream goes to another of the filters that its subscriber has.
    Scattered(Scattered),
}

/// Filters of which each topic matches one: a third each exact, with `+` and with `#`.
#[derive(Debug, Clone)]
pub(crate) struct Scattered {
    pub(crate) prefix: String,
    /// Filter `i` is held by subscriber `i % subscribers`.
    pub(crate) filters: u64,
    pub(crate) subscribers: u64,
}

impl Topics {
    /// The topic of a message.
    pub(crate) fn of(&self, stream: usize, sequence: u64) -> String {
        match self {
            Self::Fixed { prefix } => format!("{prefix}/{stream:05}"),
            Self::Scattered(scattered) => {
                let levels = levels(scattered.index(stream, sequence));
                let levels = std::str::from_utf8(&levels).expect("digits, letters and slashes");
                format!("{}/{levels}", scattered.prefix)
            }
        }
    }

    /// After how many messages a stream comes to the same topic again.
    pub(crate) fn period(&self, stream: usize) -> u64 {
        match self {
            Self::Fixed { .. } => 1,
            // The stride is a prime: it meets all filters before it comes back.
            Self::Scattered(scattered) => scattered.own(stream),
        }
    }

    /// Makes a head of that stream one of that message.
    #[inline]
    pub(crate) fn patch(&self, shape: &Shape, head: &mut Head, stream: usize, sequence: u64) {
        if let Self::Scattered(scattered) = self {
            scattered.patch(shape, head, stream, sequence);
        }
    }
}

/// A prime that strides over the filters, so that neighbours in time are not neighbours in the tree.
const STRIDE: u64 = 7_368_787;

impl Scattered {
    /// Apart, so that what has one topic for each stream does not make room for this.
    #[inline(never)]
    fn patch(&self, shape: &Shape, head: &mut Head, stream: usize, sequence: u64) {
        let levels = levels(self.index(stream, sequence));
        head.patch_topic(shape, self.prefix.len() + 1, &levels);
    }

    /// The filter that a message matches. Streams count over publishers, then over subscribers.
    fn index(&self, stream: usize, sequence: u64) -> u64 {
        let (publisher, subscriber) = (stream as u64 / self.subscribers, stream as u64 % self.subscribers);
        let nth = (sequence.wrapping_mul(STRIDE) + publisher * 7_919) % self.own(stream);
        nth * self.subscribers + subscriber
    }

    /// How many filters the subscriber of a stream has.
    fn own(&self, stream: usize) -> u64 {
        (self.filters - stream as u64 % self.subscribers).div_ceil(self.subscribers)
    }

    /// The filter of that number.
    pub(crate) fn filter(&self, index: u64) -> String {
        let prefix = &self.prefix;
        let (high, low) = (index / 1_000, index % 1_000);
        match index % 3 {
            0 => format!("{prefix}/{high:04}/e{low:03}/reading"),
            1 => format!("{prefix}/{high:04}/+/p{low:03}..."),
            _ => format!("{prefix}/{high:04}/h{low:03}/#"),
        }
    }
}

/// The levels behind the prefix that match filter `index` alone: `0012/e345/reading`.
fn levels(index: u64) -> [u8; 17] {
    let mut text = *b"0000/e000/reading";
    let (high, low) = (index / 1_000, index % 1_000);
    digits(&mut text[..4], high);
    match index % 3 {
        0 => digits(&mut text[6..9], low),
        1 => {
            text[5..].copy_from_slice(b"some/p000...");
            digits(&mut text[11..14], low);
        }
        _ => {
            text[5] = b'h';
            digits(&mut text[6..9], low);
        }
    }
    text
}

fn digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_codec::{Filter, Topic};

    #[test]
    fn each_topic_matches_one_filter() {
        let scattered = Scattered {
            prefix: "b".into(),
            filters: 3_100,
            subscribers: 7,
        };
        let filters: Vec<String> = (0..3_100).map(|index| scattered.filter(index)).collect();
        for (stream, sequence) in [(0, 0), (3, 1), (6, 99), (13, 2_000), (700, u64::MAX)] {
            let topic = Topics::Scattered(scattered.clone()).of(stream, sequence);
            let topic = Topic::new(&topic).unwrap();
            let matching = (0..3_100).filter(|i| Filter::new(&filters[*i]).unwrap().matches(topic));
            let matching: Vec<usize> = matching.collect();
            assert_eq!(matching, [scattered.index(stream, sequence) as usize]);
            assert_eq!(matching[0] % 7, stream % 7);
        }
    }

    #[test]
    fn one_stream_meets_every_filter() {
        let scattered = Scattered {
            prefix: "b".into(),
            filters: 100,
            subscribers: 10,
        };
        let mut met: Vec<u64> = (0..10).map(|sequence| scattered.index(4, sequence)).collect();
        met.sort_unstable();
        assert_eq!(met, [4, 14, 24, 34, 44, 54, 64, 74, 84, 94]);
    }
}
