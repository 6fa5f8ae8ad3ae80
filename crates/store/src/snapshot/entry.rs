//! What a snapshot says of each record that lives, in bytes.
//!
//! ```text
//! snapshot = version, records that make no sense, entries in the order of their places, 0, how many entries
//! entry    = kind (and 128: by a shared subscription), segments after the one before, offset (in the same segment
//!            after the one before), bytes, then
//!   3 message        number and recipient of the key, session, what it takes in memory
//!   4 body           number, what it takes in memory
//!   5 link           number and recipient of the key, session
//!   6 retained       version
//!   all other kinds  what the record says
//! ```
//!
//! Numbers are those of records. Numbers of messages and sessions stand as the difference to those of the message before,
//! what a message takes in memory as the difference to its bytes.

use martlet_journal::{Place, Record};
use martlet_session::Key;

use crate::bytes::{Reader, Writer};
use crate::record::{self, MessageRecord, Name, kind};

/// The version of the bytes that are written, and the only one that is read. Another means that everything is replayed.
const VERSION: u64 = 1;

const SHARED: u8 = 0x80;
const END: u8 = 0;

/// A record that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) place: Place,
    pub(crate) said: Said<'a>,
}

/// What a start wants to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// A message for one session; without a size it is a link.
    Message {
        key: Key,
        session: u64,
        size: Option<u32>,
        is_shared: bool,
    },
    Body {
        number: u64,
        size: u32,
    },
    /// A retained message, which is read at its place.
    Retained {
        version: u64,
    },
    /// All that the record says.
    Record {
        kind: u8,
        payload: &'a [u8],
    },
}

impl<'a> Entry<'a> {
    /// The entry of a record; none: it makes no sense.
    pub(crate) fn of(record: &Record<'a>) -> Option<Self> {
        let Record { place, kind, payload } = *record;
        let said = match kind {
            kind::MESSAGE | kind::LINK => {
                let (recipient, rest) = record::read_recipient(payload)?;
                Said::Message {
                    key: recipient.key,
                    session: recipient.session,
                    size: match kind {
                        kind::MESSAGE => Some(MessageRecord::read(rest)?.size() as u32),
                        _ => None,
                    },
                    is_shared: recipient.shared.is_some(),
                }
            }
            kind::BODY => Said::Body {
                number: Reader(payload).number()?,
                size: MessageRecord::read(record::body_rest(payload)?)?.size() as u32,
            },
            kind::RETAINED => Said::Retained {
                version: record::read_retained(payload)?.version,
            },
            kind => Said::Record { kind, payload },
        };
        Some(Self { place, said })
    }

    /// Its name; none: it makes no sense.
    pub(crate) fn name(&self) -> Option<Name> {
        Some(match self.said {
            Said::Message { key, .. } => Name::Message(key),
            Said::Body { number, .. } => Name::Body(number),
            Said::Retained { version } => Name::Retained(version),
            Said::Record { kind, payload } => record::name(kind, payload)?,
        })
    }
}

/// What the entry before said.
#[derive(Debug, Default, Clone, Copy)]
struct Last {
    segment: u32,
    offset: u32,
    number: u64,
    session: u64,
}

/// Writes entries.
#[derive(Debug)]
pub(crate) struct Encoder {
    last: Last,
    entries: u64,
    /// What has been written, for the caller to take away.
    pub(crate) out: Vec<u8>,
}

impl Encoder {
    /// Begins a snapshot. `unknown`: how many records make no sense.
    pub(crate) fn new(unknown: u64) -> Self {
        let mut out = Vec::new();
        Writer(&mut out).number(VERSION);
        Writer(&mut out).number(unknown);
        Self {
            last: Last::default(),
            entries: 0,
            out,
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds an entry, whose place is behind that of the one before.
    pub(crate) fn add(&mut self, entry: &Entry<'_>) {
        let Entry { place, said } = *entry;
        let Last {
            segment,
            offset,
            number,
            session,
        } = self.last;
        debug_assert!((segment, offset) < (place.segment, place.offset), "places grow");
        self.entries += 1;
        let mut out = Writer(&mut self.out);
        out.byte(said.tag());
        out.number(u64::from(place.segment - segment));
        let since = if place.segment == segment { offset } else { 0 };
        out.number(u64::from(place.offset - since));
        out.number(u64::from(place.bytes));
        (self.last.segment, self.last.offset) = (place.segment, place.offset);
        match said {
            Said::Message {
                key,
                session: of,
                size,
                ..
            } => {
                out.difference(key.number(), number);
                out.number(key.0 & 0xffff);
                out.difference(of, session);
                (self.last.number, self.last.session) = (key.number(), of);
                if let Some(size) = size {
                    out.difference(u64::from(size), u64::from(place.bytes));
                }
            }
            Said::Body { number: of, size } => {
                out.difference(of, number);
                out.difference(u64::from(size), u64::from(place.bytes));
                self.last.number = of;
            }
            Said::Retained { version } => out.number(version),
            Said::Record { payload, .. } => out.0.extend_from_slice(payload),
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        let mut out = Writer(&mut self.out);
        out.byte(END);
        out.number(self.entries);
    }
}

impl Said<'_> {
    fn tag(self) -> u8 {
        match self {
            Said::Message { size, is_shared, .. } => {
                let kind = if size.is_some() { kind::MESSAGE } else { kind::LINK };
                if is_shared { kind | SHARED } else { kind }
            }
            Said::Body { .. } => kind::BODY,
            Said::Retained { .. } => kind::RETAINED,
            Said::Record { kind, .. } => kind,
        }
    }
}

/// Reads entries out of bytes that come cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// How much of them has been read.
    at: usize,
    last: Last,
    entries: u64,
    unknown: Option<u64>,
    has_ended: bool,
    makes_no_sense: bool,
}

impl Decoder {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next entry; none: bytes are missing, or it has ended, or what comes makes no sense.
    pub(crate) fn next(&mut self) -> Option<Entry<'_>> {
        if self.makes_no_sense || self.has_ended {
            return None;
        }
        if self.unknown.is_none() {
            let mut bytes = Reader(&self.bytes[self.at..]);
            let (version, unknown) = (bytes.number()?, bytes.number()?);
            if version != VERSION {
                self.makes_no_sense = true;
                return None;
            }
            self.unknown = Some(unknown);
            self.at = self.bytes.len() - bytes.0.len();
        }
        let mut last = self.last;
        let mut bytes = Reader(&self.bytes[self.at..]);
        let Ok(entry) = last.read(&mut bytes)? else {
            self.makes_no_sense = true;
            return None;
        };
        let Some(entry) = entry else {
            let entries = bytes.number()?;
            self.has_ended = entries == self.entries && bytes.0.is_empty();
            self.makes_no_sense = !self.has_ended;
            return None;
        };
        self.at = self.bytes.len() - bytes.0.len();
        self.last = last;
        self.entries += 1;
        Some(entry)
    }

    /// How many records make no sense, once everything has come and been read; none: it is not a snapshot that this
    /// version knows.
    pub(crate) fn end(&self) -> Option<u64> {
        self.unknown.filter(|_| self.has_ended && !self.makes_no_sense)
    }

    /// How many bytes have been taken and not been read.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// It is not what an encoder writes.
#[derive(Debug)]
struct Senseless;

impl Last {
    /// Reads an entry, the end as none. None at all: bytes are missing.
    fn read<'a>(&mut self, bytes: &mut Reader<'a>) -> Option<Result<Option<Entry<'a>>, Senseless>> {
        let tag = bytes.byte()?;
        if tag == END {
            return Some(Ok(None));
        }
        let (segments, offset, count) = (bytes.number()?, bytes.number()?, bytes.number()?);
        let since = if segments == 0 { self.offset } else { 0 };
        let segment = u64::from(self.segment).saturating_add(segments);
        let offset_now = u64::from(since).saturating_add(offset);
        let (Ok(segment), Ok(offset_now), Ok(count)) = (
            u32::try_from(segment),
            u32::try_from(offset_now),
            u32::try_from(count),
        ) else {
            return Some(Err(Senseless));
        };
        // Behind the one before, or a search would miss it.
        if segments == 0 && offset == 0 {
            return Some(Err(Senseless));
        }
        (self.segment, self.offset) = (segment, offset_now);
        let place = Place {
            segment,
            offset: offset_now,
            bytes: count,
        };
        Some(
            self.said(tag, place, bytes)?
                .map(|said| Some(Entry { place, said })),
        )
    }

    fn said<'a>(
        &mut self,
        tag: u8,
        place: Place,
        bytes: &mut Reader<'a>,
    ) -> Option<Result<Said<'a>, Senseless>> {
        let in_memory = |size: u64| u32::try_from(size).map_err(|_| Senseless);
        Some(match tag & !SHARED {
            record_kind @ (kind::MESSAGE | kind::LINK) => {
                self.number = bytes.difference(self.number)?;
                let recipient = bytes.number()?;
                self.session = bytes.difference(self.session)?;
                let size = match record_kind {
                    kind::MESSAGE => match in_memory(bytes.difference(u64::from(place.bytes))?) {
                        Ok(size) => Some(size),
                        Err(senseless) => return Some(Err(senseless)),
                    },
                    _ => None,
                };
                Ok(Said::Message {
                    key: Key(self.number << 16 | recipient & 0xffff),
                    session: self.session,
                    size,
                    is_shared: tag & SHARED != 0,
                })
            }
            kind::BODY => {
                self.number = bytes.difference(self.number)?;
                let number = self.number;
                let size = bytes.difference(u64::from(place.bytes))?;
                in_memory(size).map(|size| Said::Body { number, size })
            }
            kind::RETAINED => Ok(Said::Retained {
                version: bytes.number()?,
            }),
            _ => {
                let (payload, rest) = bytes.0.split_at_checked(place.bytes as usize)?;
                bytes.0 = rest;
                Ok(Said::Record { kind: tag, payload })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry<'static>> {
        let place = |segment, offset, bytes| Place {
            segment,
            offset,
            bytes,
        };
        let message = |number, at, session, size, is_shared| Said::Message {
            key: Key::new(number, at),
            session,
            size,
            is_shared,
        };
        let entry = |place, said| Entry { place, said };
        vec![
            entry(
                place(1, 16, 4),
                Said::Record {
                    kind: kind::SESSION,
                    payload: b"what",
                },
            ),
            entry(place(1, 50, 300), message(70, 3, 9, Some(410), false)),
            entry(place(1, 400, 300), message(71, 65_533, 2, Some(10), true)),
            entry(place(4, 16, 20), message(1 << 47, 0, u64::MAX, None, true)),
            entry(
                place(4, 60, u32::MAX),
                Said::Body {
                    number: 5,
                    size: u32::MAX,
                },
            ),
            entry(place(u32::MAX, 0, 7), Said::Retained { version: u64::MAX }),
            entry(
                place(u32::MAX, 9, 0),
                Said::Record {
                    kind: kind::CLOCK,
                    payload: b"",
                },
            ),
        ]
    }

    fn written(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut encoder = Encoder::new(3);
        for entry in entries {
            encoder.add(entry);
        }
        encoder.end();
        encoder.out
    }

    /// What comes out, and how it ended.
    fn read(chunks: &[&[u8]]) -> (Vec<String>, Option<u64>) {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(entry) = decoder.next() {
                found.push(format!("{entry:?}"));
            }
        }
        (found, decoder.end())
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let bytes = written(&entries());
        let all: Vec<String> = entries().iter().map(|entry| format!("{entry:?}")).collect();
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            assert_eq!(read(&[one, other]), (all.clone(), Some(3)), "cut at {at}");
            let (found, end) = read(&[one]);
            assert!(all.starts_with(&found) && (end.is_none() || at == bytes.len()));
        }
    }

    #[test]
    fn what_is_something_else_makes_no_sense() {
        let bytes = written(&entries());
        let mut later = bytes.clone();
        later[0] += 1;
        assert_eq!(read(&[&later]), (vec![], None));
        let more = [&bytes[..], b"."].concat();
        assert_eq!(read(&[&more]).1, None);
        let mut fewer = bytes.clone();
        *fewer.last_mut().unwrap() -= 1;
        assert_eq!(read(&[&fewer]).1, None);
        assert_eq!(read(&[&[1, 0, kind::BODY, 0, 0, 0, 0, 0]]).1, None);
        assert_eq!(read(&[&[0xff; 40]]).1, None);
        assert_eq!(read(&[]).1, None);
    }
}
