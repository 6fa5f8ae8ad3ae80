//! What is appended at once.

use crate::frame::{self, BATCH_HEADER_BYTES, BatchHeader, DEATHS, EMPTIED, KIND_MAX, RECORD_HEADER_BYTES};
use crate::place::{Place, Position};

/// Batches that are written together. After a crash each of them is there as a whole or not at all, and none
/// without those before it.
///
/// Records and deaths go into the open batch, [`end_batch`](Self::end_batch) closes it. A group can be cleared and
/// filled again, which costs no allocation.
#[derive(Debug, Default)]
pub struct Group {
    /// Batches as they will be written, but for headers, which say where they are.
    bytes: Vec<u8>,
    batches: Vec<Span>,
    records: Vec<Slot>,
    /// Of the open batch.
    deaths: Vec<Place>,
    emptied: Vec<u32>,
    /// All that were killed, by all batches.
    killed: Vec<(Place, Death)>,
    /// Where it was appended.
    at: Option<Position>,
    begin: usize,
    first_record: usize,
    puts: usize,
}

/// Why a death is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The caller says so.
    New,
    /// It was written before, and its segment is being cleaned.
    Again,
    /// The record has been copied, and its segment is being cleaned.
    Moved,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    at: u32,
    bytes: u32,
    records: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    at: u32,
    bytes: u32,
    kind: u8,
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a record into the open batch. `kind` is the caller's, at most `0xef`.
    pub fn put(&mut self, kind: u8, payload: &[u8]) {
        self.put_with(kind, |bytes| bytes.extend_from_slice(payload));
    }

    /// Puts a record that `write` appends to the bytes it is given; it must not touch what is there.
    pub fn put_with(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        assert!(kind <= KIND_MAX, "kind {kind:#x} is the journal's own");
        self.puts += 1;
        self.record(kind, write);
    }

    /// Says that a record is dead from this batch on. Once for each record: nobody else counts them. It must have
    /// been appended before.
    pub fn kill(&mut self, place: Place) {
        self.kill_as(place, Death::New);
    }

    pub(crate) fn kill_as(&mut self, place: Place, death: Death) {
        self.deaths.push(place);
        self.killed.push((place, death));
    }

    pub(crate) fn emptied(&mut self, segment: u32) {
        self.emptied.push(segment);
    }

    /// Closes the open batch, if anything is in it.
    pub fn end_batch(&mut self) {
        let deaths = std::mem::take(&mut self.deaths);
        if !deaths.is_empty() {
            self.record(DEATHS, |bytes| {
                for place in &deaths {
                    frame::push_place(bytes, *place);
                }
            });
        }
        self.deaths = deaths;
        self.deaths.clear();
        let emptied = std::mem::take(&mut self.emptied);
        if !emptied.is_empty() {
            let write = |bytes: &mut Vec<u8>| {
                for segment in &emptied {
                    bytes.extend_from_slice(&segment.to_le_bytes());
                }
            };
            self.record(EMPTIED, write);
        }
        if self.bytes.len() > self.begin {
            self.close();
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.deaths.is_empty() && self.emptied.is_empty()
    }

    /// What it takes in a segment, in bytes, but for what is not closed yet.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Makes it empty.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.batches.clear();
        self.records.clear();
        self.deaths.clear();
        self.emptied.clear();
        self.killed.clear();
        self.at = None;
        (self.begin, self.first_record, self.puts) = (0, 0, 0);
    }

    /// Whether it only takes away, so that it may go where nothing else may.
    pub(crate) fn only_kills(&self) -> bool {
        self.puts == 0
    }

    pub(crate) fn killed(&self) -> &[(Place, Death)] {
        &self.killed
    }

    /// The bytes as they are written to `at`, with checksums and with `synced` in each batch.
    pub(crate) fn seal(&mut self, at: Position, salt: u32, synced: Position) -> &[u8] {
        for slot in &self.records {
            let bytes = &mut self.bytes[slot.at as usize..][..RECORD_HEADER_BYTES + slot.bytes as usize];
            frame::seal_record(slot.place(at), slot.kind, bytes);
        }
        for span in &self.batches {
            let header = BatchHeader {
                salt,
                bytes: span.bytes,
                records: span.records,
                synced,
            };
            let at = Position {
                offset: at.offset + span.at,
                ..at
            };
            header.encode(at, &mut self.bytes[span.at as usize..]);
        }
        &self.bytes
    }

    pub(crate) fn set_place(&mut self, at: Position) {
        self.at = Some(at);
    }

    /// Where its records are, in the order in which they were put, once it has been appended.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let at = self.at.expect("a group has places when it has been appended");
        let slots = self.records.iter().filter(|slot| slot.kind <= KIND_MAX);
        slots.map(move |slot| slot.place(at))
    }

    /// The caller's records, in the order of `places`.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (u8, &[u8])> + '_ {
        let slots = self.records.iter().filter(|slot| slot.kind <= KIND_MAX);
        slots.map(|slot| {
            let from = slot.at as usize + RECORD_HEADER_BYTES;
            (slot.kind, &self.bytes[from..from + slot.bytes as usize])
        })
    }

    fn record(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.len() == self.begin {
            self.bytes.resize(self.begin + BATCH_HEADER_BYTES, 0);
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        let from = self.bytes.len();
        write(&mut self.bytes);
        // Longer than 4 GiB is refused by its length when it is appended.
        let bytes = (self.bytes.len() - from) as u32;
        self.records.push(Slot {
            at: at as u32,
            bytes,
            kind,
        });
    }

    fn close(&mut self) {
        let records = (self.records.len() - self.first_record) as u32;
        let bytes = (self.bytes.len() - self.begin - BATCH_HEADER_BYTES) as u32;
        self.batches.push(Span {
            at: self.begin as u32,
            bytes,
            records,
        });
        self.bytes
            .resize(frame::padded(self.bytes.len() as u64) as usize, 0);
        (self.begin, self.first_record) = (self.bytes.len(), self.records.len());
    }
}

impl Slot {
    fn place(self, at: Position) -> Place {
        Place {
            segment: at.segment,
            offset: at.offset + self.at,
            bytes: self.bytes,
        }
    }
}
