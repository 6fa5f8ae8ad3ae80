//! The messages of a run: how each is written, and the one look that tells whether what arrived is it.
//!
//! A payload is `stream (4 bytes), sequence (8), pattern, check (8)`; below 20 bytes the check is left
//! out. A *stream* is what one publisher sends to one set of receivers, so each receiver sees each
//! stream's sequence grow by one.

use martlet_codec::{Address, Delivery, Extras, PacketId, Properties, Publish, Qos, Topic, Version};

/// The shortest payload: stream and sequence.
pub(crate) const SIZE_MIN: usize = 12;
const CHECKED_SIZE_MIN: usize = 20;
const CHECK_BYTES: usize = 8;
/// A frame up to this is kept ready for each stream and copied at once.
const WHOLE_BYTES_MAX: usize = 1024;
/// An odd number without regularity: neighbours' checks differ in all bytes.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// What all messages of a run have in common: their lengths and the pattern.
#[derive(Debug)]
pub(crate) struct Shape {
    version: Version,
    qos: Qos,
    retain: bool,
    topic_len: usize,
    /// Where the topic stands in a frame.
    pub(crate) topic_at: usize,
    /// Where the packet identifier stands in a frame.
    id_at: Option<usize>,
    /// Where the payload starts in a frame.
    payload_at: usize,
    pub(crate) frame_len: usize,
    pattern: Vec<u8>,
    has_check: bool,
}

impl Shape {
    /// `topic` stands for all: they have one length.
    pub(crate) fn new(version: Version, qos: Qos, size: usize, topic: &str) -> Self {
        Self::with_retain(version, qos, size, topic, false)
    }

    /// Messages that are to be retained.
    pub(crate) fn retained(version: Version, qos: Qos, size: usize, topic: &str) -> Self {
        Self::with_retain(version, qos, size, topic, true)
    }

    fn with_retain(version: Version, qos: Qos, size: usize, topic: &str, retain: bool) -> Self {
        let size = size.max(SIZE_MIN);
        let has_check = size >= CHECKED_SIZE_MIN;
        let tail = if has_check { CHECK_BYTES } else { 0 };
        let pattern = (0..size - SIZE_MIN - tail).map(|i| (i * 31 + (i >> 8) * 7) as u8);
        let mut shape = Self {
            version,
            qos,
            retain,
            topic_len: topic.len(),
            topic_at: 0,
            id_at: None,
            payload_at: 0,
            frame_len: 0,
            pattern: pattern.collect(),
            has_check,
        };
        let frame = shape.encode_slowly(topic, 0, 0);
        let payload_at = frame.len() - size;
        shape.frame_len = frame.len();
        shape.payload_at = payload_at;
        shape.topic_at = 2 + frame[1..].iter().take_while(|byte| **byte >= 0x80).count() + 2;
        shape.id_at = (qos != Qos::AtMostOnce).then_some(shape.topic_at + topic.len());
        shape
    }

    pub(crate) const fn qos(&self) -> Qos {
        self.qos
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// The frame as the codec writes it: the form that the quick paths copy and compare.
    fn encode_slowly(&self, topic: &str, stream: u32, sequence: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend_from_slice(&stream.to_be_bytes());
        payload.extend_from_slice(&sequence.to_be_bytes());
        payload.extend_from_slice(&self.pattern);
        if self.has_check {
            payload.extend_from_slice(&check(stream, sequence));
        }
        let mut frame = Vec::new();
        self.encode(&mut frame, topic, PacketId::MIN, &payload);
        frame
    }

    fn encode(&self, out: &mut Vec<u8>, topic: &str, id: PacketId, payload: &[u8]) {
        let publish = Publish {
            dup: false,
            retain: self.retain,
            delivery: match self.qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce(id),
                Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
            },
            address: Address::Name(Topic::new(topic).expect("made here, without wildcards")),
            properties: Properties::EMPTY,
            payload,
        };
        publish.encode(self.version, Extras::NONE, out);
    }

    /// Appends a message without payload: a retained one is cleared by it.
    pub(crate) fn put_empty(&self, out: &mut Vec<u8>, topic: &str, id: u16) {
        self.encode(out, topic, PacketId::new(id).unwrap_or(PacketId::MIN), &[]);
    }

    /// What a stream's frames have in common: small ones as a whole, of large ones the part in front of
    /// the pattern, so that many streams do not hold it each.
    pub(crate) fn head(&self, topic: &str, stream: u32) -> Head {
        assert_eq!(topic.len(), self.topic_len, "all topics of a run have one length");
        let mut bytes = self.encode_slowly(topic, stream, 0);
        if self.frame_len > WHOLE_BYTES_MAX {
            bytes.truncate(self.payload_at + SIZE_MIN);
        }
        Head { bytes, stream }
    }

    /// Appends a message.
    #[inline]
    pub(crate) fn put(&self, out: &mut Vec<u8>, head: &Head, sequence: u64, id: u16) {
        let start = out.len();
        out.extend_from_slice(&head.bytes);
        if head.bytes.len() < self.frame_len {
            out.extend_from_slice(&self.pattern);
            out.resize(start + self.frame_len, 0);
        }
        let frame = &mut out[start..];
        if let Some(at) = self.id_at {
            frame[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        let stamp_at = self.payload_at + 4;
        frame[stamp_at..stamp_at + 8].copy_from_slice(&sequence.to_be_bytes());
        if self.has_check {
            let at = frame.len() - CHECK_BYTES;
            frame[at..].copy_from_slice(&check(head.stream, sequence));
        }
    }

    /// The stream that the frame at the front of `bytes` says it belongs to, if it is a whole frame
    /// of the usual length and kind.
    #[inline]
    pub(crate) fn stream_of(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() < self.frame_len || bytes[0] != 0x30 | self.qos.as_u8() << 1 {
            return None;
        }
        let stream = bytes[self.payload_at..self.payload_at + 4].try_into();
        Some(u32::from_be_bytes(stream.expect("four bytes")))
    }

    /// Whether the front of `bytes`, of which `stream_of` said that it is long enough, is exactly that
    /// message, whatever its packet identifier; the identifier, 0 for none.
    #[inline]
    pub(crate) fn is(&self, bytes: &[u8], head: &Head, sequence: u64) -> Option<u16> {
        let frame = &bytes[..self.frame_len];
        let stamp_at = self.payload_at + 4;
        let pattern_at = self.payload_at + SIZE_MIN;
        let mut id = 0;
        let same_head = match self.id_at {
            None => frame[..stamp_at] == head.bytes[..stamp_at],
            Some(at) => {
                id = u16::from_be_bytes([frame[at], frame[at + 1]]);
                frame[..at] == head.bytes[..at]
                    && frame[at + 2..stamp_at] == head.bytes[at + 2..stamp_at]
                    && id != 0
            }
        };
        let same = same_head
            && frame[stamp_at..pattern_at] == sequence.to_be_bytes()
            && self.is_body(&frame[pattern_at..], head.stream, sequence);
        same.then_some(id)
    }

    /// Stream and sequence of a payload, if all of it is as its sender wrote it.
    pub(crate) fn read_payload(&self, payload: &[u8]) -> Option<(u32, u64)> {
        let (stream, rest) = payload.split_first_chunk::<4>()?;
        let (sequence, body) = rest.split_first_chunk::<8>()?;
        let (stream, sequence) = (u32::from_be_bytes(*stream), u64::from_be_bytes(*sequence));
        self.is_body(body, stream, sequence).then_some((stream, sequence))
    }

    #[inline]
    fn is_body(&self, body: &[u8], stream: u32, sequence: u64) -> bool {
        let Some((pattern, tail)) = body.split_at_checked(self.pattern.len()) else {
            return false;
        };
        pattern == self.pattern
            && if self.has_check {
                tail == check(stream, sequence)
            } else {
                tail.is_empty()
            }
    }
}

#[inline]
fn check(stream: u32, sequence: u64) -> [u8; CHECK_BYTES] {
    (sequence.wrapping_add(1) ^ u64::from(stream).rotate_left(40))
        .wrapping_mul(MIX)
        .to_be_bytes()
}

/// What a stream's frames have in common.
#[derive(Debug)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    stream: u32,
}

impl Head {
    /// Writes into the topic; `at` counts from its start.
    pub(crate) fn patch_topic(&mut self, shape: &Shape, at: usize, text: &[u8]) {
        let at = shape.topic_at + at;
        self.bytes[at..at + text.len()].copy_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_codec::{Decoded, Limits, Packet};

    #[test]
    fn quick_and_slow_paths_agree() {
        for version in [Version::V3_1_1, Version::V5] {
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                for size in [1, 12, 19, 20, 64, 300, 20_000] {
                    let shape = Shape::new(version, qos, size, "bench/t/00000");
                    let head = shape.head("bench/t/00007", 7);
                    let mut frame = Vec::new();
                    shape.put(&mut frame, &head, 123_456, 1);
                    assert_eq!(frame, shape.encode_slowly("bench/t/00007", 7, 123_456));
                    assert_eq!(shape.stream_of(&frame), Some(7));
                    let id = u16::from(qos != Qos::AtMostOnce);
                    assert_eq!(shape.is(&frame, &head, 123_456), Some(id));
                    assert_eq!(shape.is(&frame, &head, 123_457), None);
                    let Ok(Decoded::Packet(Packet::Publish(publish), _)) =
                        Packet::decode(&frame, Some(version), &Limits::NONE)
                    else {
                        panic!("{frame:?}")
                    };
                    assert_eq!(shape.read_payload(publish.payload), Some((7, 123_456)));
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let shape = Shape::new(Version::V5, Qos::AtMostOnce, 64, "bench/00000");
        let head = shape.head("bench/00003", 3);
        let mut frame = Vec::new();
        shape.put(&mut frame, &head, 9, 0);
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            let seen = shape.stream_of(&frame) != Some(3) || shape.is(&frame, &head, 9).is_none();
            assert!(seen, "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
