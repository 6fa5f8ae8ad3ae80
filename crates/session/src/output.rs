//! The bytes that wait to be written to one connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use martlet_codec::{Extras, Packet, Publish, Version};

/// Bytes to write: small things copied into one buffer, large payloads shared.
///
/// Appending never writes. Whoever owns the socket takes slices, writes, and says how much went.
#[derive(Debug, Default)]
pub struct Output {
    /// Complete segments in front of `tail`.
    segments: VecDeque<Segment>,
    /// Buffers of segments that were written, for the next ones. Given back instead, they would be new ones of the
    /// allocator's, and both resident for a while: an eighth more than the limit for a client that reads slowly.
    spare: Vec<Vec<u8>>,
    /// What is being appended to.
    tail: Vec<u8>,
    /// Bytes at the very front that were written already.
    written: usize,
    /// Unwritten bytes in all.
    len: usize,
}

#[derive(Debug)]
enum Segment {
    /// What was appended.
    Own(Vec<u8>),
    /// A payload that others have too.
    Shared(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(buffer) => buffer,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Buffers that an output keeps for its next segments; more are given back.
const SPARE_MAX: usize = 32;

/// Bytes that are appended to one buffer; then it becomes a segment, so that what was written of a long
/// output is given back before all of it is.
const SEGMENT_BYTES: usize = 32 << 10;

/// A buffer that grew beyond this is given back when it is empty.
const KEEP_CAPACITY_BYTES: usize = 64 << 10;

/// What a packet without payload usually takes at most. It is a guess: a buffer grows when it must.
const ROOM_BYTES: usize = 256;

impl Output {
    /// Unwritten bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a packet.
    pub fn packet(&mut self, packet: &Packet<'_>, version: Version) {
        self.make_room(ROOM_BYTES);
        let before = self.tail.len();
        packet.encode(version, &mut self.tail);
        self.len += self.tail.len() - before;
    }

    /// Appends a packet if it fits, if need be without Reason String and User Properties.
    #[must_use]
    pub fn packet_within(&mut self, packet: &Packet<'_>, bytes_max: u32, version: Version) -> bool {
        self.make_room(ROOM_BYTES);
        let before = self.tail.len();
        let fits = packet.encode_within(bytes_max, version, &mut self.tail);
        self.len += self.tail.len() - before;
        fits
    }

    /// Appends a PUBLISH; its payload is shared if `shared` holds it, else copied.
    pub fn publish(
        &mut self,
        publish: &Publish<'_>,
        extras: Extras<'_>,
        version: Version,
        shared: Option<&Bytes>,
    ) {
        let copied = if shared.is_some() {
            0
        } else {
            publish.payload.len()
        };
        self.make_room(ROOM_BYTES + publish.properties.as_bytes().len() + copied);
        let before = self.tail.len();
        let Some(payload) = shared else {
            publish.encode(version, extras, &mut self.tail);
            self.len += self.tail.len() - before;
            return;
        };
        publish.encode_head(version, extras, &mut self.tail);
        self.len += self.tail.len() - before + payload.len();
        self.seal();
        self.segments.push_back(Segment::Shared(payload.clone()));
    }

    /// Begins a new buffer if `bytes` more do not fit the one that is appended to.
    fn make_room(&mut self, bytes: usize) {
        if !self.tail.is_empty() && self.tail.len() + bytes > SEGMENT_BYTES {
            self.seal();
            // There is much to write, so there will be more.
            if let Some(spare) = self.spare.pop() {
                self.tail = spare;
            }
            self.tail.reserve_exact(SEGMENT_BYTES.max(bytes));
        }
    }

    /// What was appended becomes a segment, no larger than it is.
    fn seal(&mut self) {
        if self.tail.len() * 2 > self.tail.capacity() {
            self.segments
                .push_back(Segment::Own(std::mem::take(&mut self.tail)));
        } else {
            self.segments.push_back(Segment::Own(self.tail.as_slice().into()));
            self.tail.clear();
        }
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The front of what is to be written, as slices.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut n = 0;
        for part in self.segments.iter().map(Segment::bytes).chain([&self.tail[..]]) {
            let part = &part[skip.min(part.len())..];
            skip = 0;
            if part.is_empty() {
                continue;
            }
            let Some(slot) = slices.get_mut(n) else { break };
            *slot = IoSlice::new(part);
            n += 1;
        }
        n
    }

    /// Bytes of memory that it holds, payloads that it shares with others included.
    pub fn capacity(&self) -> usize {
        let segments: usize = self.segments.iter().map(|s| s.bytes().len()).sum();
        let spare: usize = self.spare.iter().map(Vec::capacity).sum();
        segments + self.tail.capacity() + spare
    }

    /// `n` bytes of the front were written.
    pub fn advance(&mut self, n: usize) {
        self.len = self.len.checked_sub(n).expect("no more is written than there is");
        self.written += n;
        while let Some(front) = self.segments.front() {
            let len = front.bytes().len();
            if self.written < len {
                return;
            }
            self.written -= len;
            if let Some(Segment::Own(mut buffer)) = self.segments.pop_front()
                && buffer.capacity() == SEGMENT_BYTES
                && self.spare.len() < SPARE_MAX
            {
                buffer.clear();
                self.spare.push(buffer);
            }
        }
        if self.written == self.tail.len() {
            self.spare = Vec::new();
            self.tail.clear();
            self.written = 0;
            if self.tail.capacity() > KEEP_CAPACITY_BYTES {
                self.tail = Vec::new();
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the empty buffer away, so that an idle connection owns none.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.len == 0 && self.tail.capacity() > 0).then(|| std::mem::take(&mut self.tail))
    }

    /// Gives it a buffer to append to, if it has none.
    pub fn lend_buffer(&mut self, pool: &mut Vec<Vec<u8>>) {
        if self.tail.capacity() == 0
            && let Some(buffer) = pool.pop()
        {
            self.tail = buffer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use martlet_codec::{Address, Delivery, Properties, Topic};

    fn publish(payload: &[u8]) -> Publish<'_> {
        Publish {
            dup: false,
            retain: false,
            delivery: Delivery::AtMostOnce,
            address: Address::Name(Topic::literal("t")),
            properties: Properties::EMPTY,
            payload,
        }
    }

    #[test]
    fn what_was_written_is_given_back_while_more_comes() {
        const LIMIT: usize = 1 << 20;
        let payload = [7; 100];
        let mut output = Output::default();
        for _ in 0..100_000 {
            while output.len() < LIMIT {
                output.publish(&publish(&payload), Extras::NONE, Version::V5, None);
            }
            output.advance(1_000);
        }
        let capacity = output.capacity();
        assert!(capacity <= LIMIT + LIMIT / 10, "{capacity} bytes are held");
    }

    #[test]
    fn buffers_that_were_written_are_the_next_ones_until_all_is_written() {
        const LIMIT: usize = 1 << 20;
        let payload = [7; 100];
        let mut output = Output::default();
        let fill = |output: &mut Output| {
            while output.len() < LIMIT {
                output.publish(&publish(&payload), Extras::NONE, Version::V5, None);
            }
        };
        let starts = |output: &Output| -> HashSet<usize> {
            output
                .segments
                .iter()
                .map(|s| s.bytes().as_ptr() as usize)
                .collect()
        };
        fill(&mut output);
        let before = starts(&output);
        output.advance(LIMIT / 2);
        fill(&mut output);
        let strangers = starts(&output).difference(&before).count();
        // The tail of before is one.
        assert!(strangers <= 1, "{strangers} of {} are new", before.len());
        output.advance(LIMIT / 2);
        output.advance(output.len());
        assert!(output.capacity() <= SEGMENT_BYTES, "{} bytes", output.capacity());
    }

    #[test]
    fn a_large_buffer_is_not_given_away_with_the_head_of_a_shared_payload() {
        let payload = Bytes::from(vec![7; 10_000]);
        let mut pool: Vec<Vec<u8>> = (0..8).map(|_| Vec::with_capacity(64 << 10)).collect();
        let mut output = Output::default();
        for _ in 0..100 {
            output.lend_buffer(&mut pool);
            output.publish(&publish(&payload), Extras::NONE, Version::V5, Some(&payload));
        }
        assert_eq!(pool.len(), 7);
        assert!(output.capacity() < 100 * 10_100 + (64 << 10));
    }

    #[test]
    fn shared_and_copied_bytes_leave_in_order_whatever_is_written_at_once() {
        let payload = Bytes::from(vec![7; 100]);
        let publish = publish(&payload);
        let mut expected = Vec::new();
        for step in [1, 3, 64, 1_000] {
            let mut output = Output::default();
            output.packet(&Packet::PingResp, Version::V5);
            output.publish(&publish, Extras::NONE, Version::V5, Some(&payload));
            output.publish(&publish, Extras::NONE, Version::V5, None);
            output.packet(&Packet::PingResp, Version::V5);
            let mut written = Vec::new();
            while !output.is_empty() {
                let mut slices = [IoSlice::new(&[]); 4];
                let n = output.slices(&mut slices);
                let flat: Vec<u8> = slices[..n]
                    .iter()
                    .flat_map(|s| s.iter().copied())
                    .take(step)
                    .collect();
                written.extend_from_slice(&flat);
                output.advance(flat.len());
            }
            if expected.is_empty() {
                expected.clone_from(&written);
                assert_eq!(expected.len(), 2 + 106 + 106 + 2);
            }
            assert_eq!(written, expected, "step {step}");
            assert_eq!(output.len(), 0);
        }
    }
}
