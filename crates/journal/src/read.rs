//! Reading records: what to read is looked up in the journal, the reading itself needs it no more.

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::frame::{self, RECORD_HEADER_BYTES};
use crate::index::Record;
use crate::journal::{Journal, read_all};
use crate::limits::{CHUNK_BYTES, READ_GAP_BYTES_MAX};
use crate::place::Place;
use crate::segments::{self, State};

/// A record to be read, on any thread, while the journal goes on. It can be read even if its segment is cleaned and
/// removed before that.
#[derive(Debug, Clone)]
pub struct RecordReader<F> {
    file: F,
    place: Place,
}

/// Records to be read, on any thread, while the journal goes on: those that lie near each other at once.
#[derive(Debug)]
pub struct RecordsReader<F> {
    spans: Vec<Span<F>>,
    places: Vec<Place>,
}

/// Bytes of a segment that are read at once.
#[derive(Debug)]
struct Span<F> {
    /// Why the record, which is one then, cannot be read.
    file: Result<F, Error>,
    from: u64,
    to: u64,
    /// How many records it has of those that are to be read.
    count: usize,
}

impl<D: Disk> Journal<D> {
    /// What is needed to read a record, without reading it.
    pub fn reader(&mut self, place: Place) -> Result<RecordReader<D::File>, Error> {
        let found = self
            .segments
            .get(place.segment)
            .filter(|segment| segment.state != State::Removed);
        let Some(segment) = found else {
            return Err(Error::Gone { place });
        };
        if u64::from(place.offset) + place.record_bytes() > u64::from(segment.bytes) {
            return Err(Error::Damaged { place });
        }
        let file = self
            .segments
            .file(&self.disk, place.segment)
            .map_err(Error::disk("open", segments::name(place.segment, false)))?;
        Ok(RecordReader { file, place })
    }

    /// What is needed to read several records. Neighbours in `places` are read at once if they lie behind each other.
    pub fn records_reader(&mut self, places: impl IntoIterator<Item = Place>) -> RecordsReader<D::File> {
        let mut reader = RecordsReader {
            spans: Vec::new(),
            places: Vec::new(),
        };
        for place in places {
            let span = match self.reader(place) {
                Ok(found) => Span::of(found),
                Err(error) => Span {
                    file: Err(error),
                    from: 0,
                    to: 0,
                    count: 1,
                },
            };
            let before = reader.places.last().map(|place| place.segment);
            match reader.spans.last_mut() {
                Some(last) if before == Some(place.segment) && last.goes_on(&span) => {
                    last.to = span.to;
                    last.count += 1;
                }
                _ => reader.spans.push(span),
            }
            reader.places.push(place);
        }
        reader
    }

    /// Reads a record into `payload`, in place of what is there. Returns its kind.
    pub fn read(&mut self, place: Place, payload: &mut Vec<u8>) -> Result<u8, Error> {
        self.reader(place)?.read(payload)
    }
}

impl<F: DiskFile> RecordReader<F> {
    /// Where it lies.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Reads the record into `payload`, in place of what is there. Returns its kind.
    pub fn read(&self, payload: &mut Vec<u8>) -> Result<u8, Error> {
        let place = self.place;
        payload.clear();
        payload.resize(RECORD_HEADER_BYTES + place.bytes as usize, 0);
        read_all(&self.file, u64::from(place.offset), payload)
            .map_err(Error::disk("read", segments::name(place.segment, false)))?;
        let kind = check(place, payload)?;
        payload.copy_within(RECORD_HEADER_BYTES.., 0);
        payload.truncate(place.bytes as usize);
        Ok(kind)
    }
}

impl<F: DiskFile> RecordsReader<F> {
    /// Reads all, and gives each to `take` in the order in which they were asked for. `buffer` is room that can be used
    /// again.
    pub fn read(self, buffer: &mut Vec<u8>, mut take: impl FnMut(Place, Result<Record<'_>, Error>)) {
        let mut places = &self.places[..];
        for span in self.spans {
            let (now, later) = places.split_at(span.count);
            places = later;
            match span.file {
                Ok(file) => read_span(&file, span.from, span.to, now, buffer, &mut take),
                Err(error) => now
                    .first()
                    .into_iter()
                    .zip([error])
                    .for_each(|(place, error)| take(*place, Err(error))),
            }
        }
    }
}

impl<F> Span<F> {
    fn of(reader: RecordReader<F>) -> Self {
        let from = u64::from(reader.place.offset);
        Self {
            file: Ok(reader.file),
            from,
            to: from + reader.place.record_bytes(),
            count: 1,
        }
    }

    /// Whether `next`, of the same segment, is worth being read together with this.
    fn goes_on(&self, next: &Self) -> bool {
        let reads = self.file.is_ok() && next.file.is_ok();
        let near = next.from >= self.to && next.from - self.to <= READ_GAP_BYTES_MAX;
        reads && near && next.to - self.from <= CHUNK_BYTES as u64
    }
}

fn read_span<F: DiskFile>(
    file: &F,
    from: u64,
    to: u64,
    places: &[Place],
    buffer: &mut Vec<u8>,
    take: &mut impl FnMut(Place, Result<Record<'_>, Error>),
) {
    let size = (to - from) as usize;
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    let at_once = read_all(file, from, &mut buffer[..size]);
    for place in places {
        let begin = if at_once.is_ok() {
            (u64::from(place.offset) - from) as usize
        } else {
            0
        };
        let bytes = &mut buffer[begin..][..place.record_bytes() as usize];
        let read = match &at_once {
            Ok(()) => Ok(()),
            // What one of them lies on cannot be read; the others may be whole.
            Err(_) => read_all(file, u64::from(place.offset), bytes),
        };
        let record = read
            .map_err(Error::disk("read", segments::name(place.segment, false)))
            .and_then(|()| check(*place, bytes));
        let payload = &bytes[RECORD_HEADER_BYTES..];
        take(
            *place,
            record.map(|kind| Record {
                place: *place,
                kind,
                payload,
            }),
        );
    }
}

/// The kind of a record, header first, if it is what was put there.
fn check(place: Place, bytes: &[u8]) -> Result<u8, Error> {
    let kind = frame::check_record(place, bytes).filter(|kind| *kind <= frame::KIND_MAX);
    kind.ok_or(Error::Damaged { place })
}
