//! The bytes of a segment. Numbers are little-endian.
//!
//! ```text
//! segment = magic 8 | number 4 | salt 4 | previous end: segment 4, offset 4 | crc 4 | zeros 4, then batches
//! batch   = crc 4 | salt 4 | bytes 4 | records 4 | synced: segment 4, offset 4, then records, padded to 8
//! record  = crc 4 | bytes 4 | kind 1, then the bytes
//! ```
//! A checksum covers what follows it and where it stands, so bytes that belong elsewhere do not pass. The salt is
//! one number for the whole journal that no stranger knows: after damage, the next batch is searched for, and
//! somebody whose records hold what looks like batches must not have these found.

use crate::place::{Place, Position};

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"journal\x01";
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
pub(crate) const BATCH_HEADER_BYTES: usize = 24;
pub(crate) const RECORD_HEADER_BYTES: usize = 9;
/// Batches begin at multiples of this, so that a search for one has few places to look at.
pub(crate) const ALIGNMENT: usize = 8;
const PLACE_BYTES: usize = 12;

/// Kinds of records above this are the journal's own.
pub(crate) const KIND_MAX: u8 = 0xef;
/// Places of records that are dead from here on.
pub(crate) const DEATHS: u8 = 0xfe;
/// Numbers of segments of which everything that lives has been copied before this.
pub(crate) const EMPTIED: u8 = 0xfd;

/// What stands at the begin of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) salt: u32,
    /// Where the log ended when this segment began, so that a lost end is missed.
    pub(crate) previous: Position,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, segment: u32) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        put_u32(&mut bytes, 8, segment);
        put_u32(&mut bytes, 12, self.salt);
        put_u32(&mut bytes, 16, self.previous.segment);
        put_u32(&mut bytes, 20, self.previous.offset);
        let crc = crc32c::crc32c(&bytes[..24]);
        put_u32(&mut bytes, 24, crc);
        bytes
    }

    /// `None`: the bytes are no header of this segment.
    pub(crate) fn decode(bytes: &[u8], segment: u32) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES)?;
        let whole = bytes[..8] == SEGMENT_MAGIC
            && get_u32(bytes, 8) == segment
            && crc32c::crc32c(&bytes[..24]) == get_u32(bytes, 24)
            && get_u32(bytes, 28) == 0;
        whole.then(|| Self {
            salt: get_u32(bytes, 12),
            previous: Position {
                segment: get_u32(bytes, 16),
                offset: get_u32(bytes, 20),
            },
        })
    }
}

/// What stands at the begin of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) salt: u32,
    /// Of the records, without padding.
    pub(crate) bytes: u32,
    pub(crate) records: u32,
    /// What was durable when the batch was written: whatever lies before it and is damaged was whole once.
    pub(crate) synced: Position,
}

impl BatchHeader {
    pub(crate) fn encode(&self, at: Position, bytes: &mut [u8]) {
        put_u32(bytes, 4, self.salt);
        put_u32(bytes, 8, self.bytes);
        put_u32(bytes, 12, self.records);
        put_u32(bytes, 16, self.synced.segment);
        put_u32(bytes, 20, self.synced.offset);
        let crc = crc_at(at, &bytes[4..BATCH_HEADER_BYTES]);
        put_u32(bytes, 0, crc);
    }

    pub(crate) fn decode(bytes: &[u8], at: Position) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        (crc_at(at, &bytes[4..]) == get_u32(bytes, 0)).then(|| Self {
            salt: get_u32(bytes, 4),
            bytes: get_u32(bytes, 8),
            records: get_u32(bytes, 12),
            synced: Position {
                segment: get_u32(bytes, 16),
                offset: get_u32(bytes, 20),
            },
        })
    }

    /// With header and padding.
    pub(crate) fn batch_bytes(&self) -> u64 {
        padded(BATCH_HEADER_BYTES as u64 + u64::from(self.bytes))
    }
}

/// A record as it stands in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) place: Place,
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
}

/// The records of a batch. After a record that is not whole it ends and `is_whole` says so.
#[derive(Debug, Clone)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    at: Position,
    checks: bool,
    whole: bool,
}

impl<'a> Frames<'a> {
    /// Records in `bytes`, the first of them at `at`, their checksums checked or known to be right.
    pub(crate) fn new(bytes: &'a [u8], at: Position, checks: bool) -> Self {
        Self {
            bytes,
            at,
            checks,
            whole: true,
        }
    }

    /// Whether there are as many records as the header says and nothing else.
    pub(crate) fn check(mut self, records: u32) -> bool {
        let count = self.by_ref().count();
        self.whole && count == records as usize
    }

    fn parse(&self) -> Option<Frame<'a>> {
        let header = self.bytes.get(..RECORD_HEADER_BYTES)?;
        let (bytes, kind) = (get_u32(header, 4), header[8]);
        let payload = self.bytes[RECORD_HEADER_BYTES..].get(..bytes as usize)?;
        let place = Place {
            segment: self.at.segment,
            offset: self.at.offset,
            bytes,
        };
        let whole = !self.checks || record_crc(place, kind, payload) == get_u32(header, 0);
        whole.then_some(Frame { place, kind, payload })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.bytes.is_empty() || !self.whole {
            return None;
        }
        let frame = self.parse();
        self.whole = frame.is_some();
        let size = RECORD_HEADER_BYTES + frame?.payload.len();
        self.bytes = &self.bytes[size..];
        self.at.offset += size as u32;
        frame
    }
}

/// Writes the header of a record, whose bytes follow it.
pub(crate) fn seal_record(place: Place, kind: u8, bytes: &mut [u8]) {
    let crc = record_crc(place, kind, &bytes[RECORD_HEADER_BYTES..]);
    put_u32(bytes, 0, crc);
    put_u32(bytes, 4, place.bytes);
    bytes[8] = kind;
}

/// Whether `bytes` are the record of a place, header first. Returns its kind.
pub(crate) fn check_record(place: Place, bytes: &[u8]) -> Option<u8> {
    let payload = bytes.get(RECORD_HEADER_BYTES..)?;
    let kind = bytes[8];
    let whole = get_u32(bytes, 4) == place.bytes && record_crc(place, kind, payload) == get_u32(bytes, 0);
    whole.then_some(kind)
}

fn record_crc(place: Place, kind: u8, payload: &[u8]) -> u32 {
    let mut head = [0; 13];
    put_u32(&mut head, 0, place.segment);
    put_u32(&mut head, 4, place.offset);
    put_u32(&mut head, 8, place.bytes);
    head[12] = kind;
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

fn crc_at(at: Position, bytes: &[u8]) -> u32 {
    let mut head = [0; 8];
    put_u32(&mut head, 0, at.segment);
    put_u32(&mut head, 4, at.offset);
    crc32c::crc32c_append(crc32c::crc32c(&head), bytes)
}

pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT as u64)
}

pub(crate) fn push_place(bytes: &mut Vec<u8>, place: Place) {
    for number in [place.segment, place.offset, place.bytes] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

/// The places in a record of deaths.
pub(crate) fn places(payload: &[u8]) -> impl Iterator<Item = Place> + '_ {
    payload.chunks_exact(PLACE_BYTES).map(|bytes| Place {
        segment: get_u32(bytes, 0),
        offset: get_u32(bytes, 4),
        bytes: get_u32(bytes, 8),
    })
}

/// The numbers in a record of emptied segments.
pub(crate) fn numbers(payload: &[u8]) -> impl Iterator<Item = u32> + '_ {
    payload.chunks_exact(4).map(|bytes| get_u32(bytes, 0))
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position {
        segment: 7,
        offset: 64,
    };

    #[test]
    fn a_segment_header_is_of_its_segment() {
        let header = SegmentHeader {
            salt: 5,
            previous: AT,
        };
        let bytes = header.encode(9);
        assert_eq!(SegmentHeader::decode(&bytes, 9), Some(header));
        assert_eq!(SegmentHeader::decode(&bytes, 8), None);
        assert_eq!(SegmentHeader::decode(&bytes[..31], 9), None);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes, 9), None, "bit {bit}");
        }
    }

    #[test]
    fn a_batch_header_is_of_its_position() {
        let header = BatchHeader {
            salt: 1,
            bytes: 17,
            records: 2,
            synced: AT,
        };
        let mut bytes = [0; BATCH_HEADER_BYTES];
        header.encode(AT, &mut bytes);
        assert_eq!(BatchHeader::decode(&bytes, AT), Some(header));
        assert_eq!(BatchHeader::decode(&bytes, Position { offset: 72, ..AT }), None);
        assert_eq!(header.batch_bytes(), 48);
    }

    #[test]
    fn a_record_is_of_its_place_and_whole() {
        let place = Place {
            segment: 7,
            offset: 64,
            bytes: 3,
        };
        let mut bytes = [0; RECORD_HEADER_BYTES + 3];
        bytes[RECORD_HEADER_BYTES..].copy_from_slice(b"abc");
        seal_record(place, 4, &mut bytes);
        assert_eq!(check_record(place, &bytes), Some(4));
        assert_eq!(check_record(Place { offset: 65, ..place }, &bytes), None);
        assert!(Frames::new(&bytes, AT, true).check(1));
        assert!(!Frames::new(&bytes, AT, true).check(2));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!Frames::new(&bytes, AT, true).check(1), "bit {bit}");
        }
    }
}
