//! Whether each message came once, in order, whole, and where it belongs.

use std::fmt;

use serde::Serialize;

/// What was wrong with the messages of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Sent, and never delivered.
    pub lost: u64,
    /// Delivered more than once.
    pub repeated: u64,
    /// Delivered behind a later one of the same publisher.
    pub reordered: u64,
    /// Not as its publisher wrote it. What it should have been counts as lost.
    pub corrupted: u64,
    /// Delivered to a subscriber that did not ask for it, or under another topic.
    pub misrouted: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

impl Faults {
    /// Whether there was any.
    pub const fn any(&self) -> bool {
        self.lost + self.repeated + self.reordered + self.corrupted + self.misrouted > 0
    }

    /// Keeps the story of the first.
    pub(crate) fn tell(&mut self, story: impl FnOnce() -> String) {
        self.first.get_or_insert_with(story);
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lost, {} repeated, {} reordered, {} corrupted, {} misrouted",
            self.lost, self.repeated, self.reordered, self.corrupted, self.misrouted
        )
    }
}

/// Gaps that are remembered for each stream; what is missing beyond counts as lost at once, even if it
/// comes later, and then as repeated.
const GAPS_MAX: usize = 1024;

/// What a subscriber has seen of one stream.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The sequence number that comes next.
    pub(crate) next: u64,
    /// What was skipped: from, and up to but without.
    gaps: Vec<(u64, u64)>,
    forgotten: u64,
}

/// What a sequence number says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one.
    Due,
    /// One that is further on; those in between are missing as yet.
    Early,
    /// One that was missing.
    Late,
    /// One that has been here.
    Again,
}

impl Expected {
    pub(crate) fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence == self.next {
            self.next += 1;
            return Arrival::Due;
        }
        if sequence > self.next {
            if self.gaps.len() < GAPS_MAX {
                self.gaps.push((self.next, sequence));
            } else {
                self.forgotten += sequence - self.next;
            }
            self.next = sequence + 1;
            return Arrival::Early;
        }
        let gap = self
            .gaps
            .iter()
            .position(|(from, to)| (*from..*to).contains(&sequence));
        let Some(at) = gap else { return Arrival::Again };
        let (from, to) = self.gaps.remove(at);
        self.gaps.extend(
            [(from, sequence), (sequence + 1, to)]
                .into_iter()
                .filter(|(from, to)| from < to),
        );
        Arrival::Late
    }

    /// Whether one of `sequence + period`, `sequence + 2 * period` .. has been here: if these have one topic,
    /// `sequence` comes too late. Messages of different topics may overtake each other [MQTT5-4.6.0-5].
    pub(crate) fn is_overtaken(&self, sequence: u64, period: u64) -> bool {
        let is_missing = |sequence: u64| {
            self.gaps
                .iter()
                .any(|(from, to)| (*from..*to).contains(&sequence))
        };
        let later = (sequence + period..self.next).step_by(period as usize);
        later.into_iter().any(|sequence| !is_missing(sequence))
    }

    /// What is missing when `sent` were sent.
    pub(crate) fn missing(&self, sent: u64) -> u64 {
        let skipped: u64 = self.gaps.iter().map(|(from, to)| to - from).sum();
        skipped + self.forgotten + sent.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals() {
        use Arrival::{Again, Due, Early, Late};
        let mut expected = Expected::default();
        let cases = [
            (0, Due),
            (1, Due),
            (5, Early),
            (3, Late),
            (3, Again),
            (0, Again),
            (6, Due),
            (2, Late),
        ];
        for (sequence, arrival) in cases {
            assert_eq!(expected.arrive(sequence), arrival, "{sequence}");
        }
        assert_eq!((expected.missing(7), expected.missing(10)), (1, 4));
    }

    #[test]
    fn only_the_same_topic_keeps_its_order() {
        let mut expected = Expected::default();
        for sequence in [0, 3, 4] {
            expected.arrive(sequence);
        }
        // 1 and 2 are missing; with three topics in turn, 4 has that of 1, and 5 would have that of 2.
        assert!(expected.is_overtaken(1, 1) && expected.is_overtaken(2, 1));
        assert!(expected.is_overtaken(1, 3) && !expected.is_overtaken(2, 3));
        assert!(!expected.is_overtaken(1, 10));
    }

    #[test]
    fn what_is_too_much_to_remember_is_lost() {
        let mut expected = Expected::default();
        for nth in 0..2_000 {
            assert_eq!(expected.arrive(nth * 2 + 1), Arrival::Early);
        }
        assert_eq!(expected.missing(4_000), 2_000);
    }
}
