//! A message, and all that became of it.

use martlet_codec::Qos;

use crate::limits::PAYLOAD_BYTES_MAX;

/// The place of a message in the ledger.
pub(crate) type Number = usize;

/// Whether a recipient must get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It was subscribed all the time from the first sending to the last acknowledgement.
    Must,
    /// A subscription was on its way meanwhile.
    May,
    /// It was not subscribed at any time.
    Never,
}

/// What one recipient has of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copies {
    pub(crate) duty: Duty,
    /// In all.
    pub(crate) all: u32,
    /// Without DUP.
    pub(crate) plain: u32,
    /// Since the connection of this number began.
    pub(crate) here: u32,
    pub(crate) connection: u32,
}

/// Something that a client saw or did.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Sent,
    Resent,
    Accepted,
    Completed,
    Came {
        recipient: u8,
        dup: bool,
        connection: u32,
    },
    Unsure {
        recipient: u8,
    },
}

/// One line of the story of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) round: u32,
    pub(crate) at_ms: u32,
    pub(crate) what: What,
}

/// A message of a publisher.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) publisher: u8,
    pub(crate) qos: Qos,
    pub(crate) topic: String,
    pub(crate) retain: bool,
    /// 0: a retained message that clears the topic.
    pub(crate) bytes: u16,
    pub(crate) resent: u32,
    /// PUBACK or PUBREC came.
    pub(crate) is_accepted: bool,
    pub(crate) copies: Vec<Copies>,
    pub(crate) events: Vec<Event>,
}

/// What message `number` says: its number, and bytes that follow from it.
pub(crate) fn payload(number: Number, bytes: u16) -> Vec<u8> {
    let bytes = usize::from(bytes).min(PAYLOAD_BYTES_MAX);
    if bytes == 0 {
        return Vec::new();
    }
    let mut payload = format!("{number} ").into_bytes();
    payload.extend((0..bytes).map(|at| b'a' + ((number + at) % 26) as u8));
    payload
}

/// The number in the payload of a message.
pub(crate) fn number(payload: &[u8]) -> Option<Number> {
    let end = payload.iter().position(|byte| *byte == b' ')?;
    std::str::from_utf8(&payload[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_its_number() {
        assert_eq!(number(&payload(812, 40)), Some(812));
        assert_eq!(number(&payload(812, 0)), None);
        assert_ne!(payload(1, 40)[2..], payload(2, 40)[2..]);
    }
}
