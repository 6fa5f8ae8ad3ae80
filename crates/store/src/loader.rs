//! What a replay of the journal finds, from its begin or from a snapshot.

use martlet_broker::{StoredSession, StoredSubscription};
use martlet_codec::PacketId;
use martlet_journal::{Place, Record};
use martlet_session::Message;

use crate::clock::Reading;
use crate::index::Index;
use crate::record::{self, IdentifierRecord, MessageRecord, Name, Times, kind};
use crate::snapshot::{Decoder, Entry, Said};

/// What the replay of the journal finds.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    /// In the order of their places, which is the order in which they come.
    found: Vec<Found>,
    /// How many of them have died.
    dead: usize,
    snapshot: Decoder,
    /// Records that this version cannot read.
    pub(crate) unknown: u64,
}

/// What is left to do.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Retained messages that are to be read.
    pub(crate) unread: Vec<Place>,
    /// Records that something else has the name of now.
    pub(crate) garbage: Vec<Place>,
}

#[derive(Debug)]
struct Found {
    spot: u64,
    bytes: u32,
    name: Name,
    what: What,
}

/// So many dead ones are kept in any case.
const DEAD_MIN: usize = 1 << 12;

#[derive(Debug)]
pub(crate) enum What {
    Session(Box<StoredSession>),
    Subscription(Box<StoredSubscription>),
    /// Whose it is, what it takes in memory if it is no link, and whether it came by a shared subscription.
    Message {
        session: u64,
        size: Option<u32>,
        is_shared: bool,
    },
    Body {
        size: u32,
    },
    Retained(Box<(Message, Option<u64>)>),
    /// A retained message of which only the place is known yet.
    Unread,
    RetainedLink {
        body: u64,
        expires_at_ms: Option<u64>,
    },
    Received {
        session: u64,
        id: PacketId,
    },
    Sent(Box<IdentifierRecord>),
    Clock(Reading),
    Format(u64),
    /// It has died.
    Nothing,
}

/// Where a record lies, as one number.
pub(crate) fn spot(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.offset)
}

impl Found {
    fn lives(&self) -> bool {
        !matches!(self.what, What::Nothing)
    }

    fn place(&self) -> Place {
        Place {
            segment: (self.spot >> 32) as u32,
            offset: self.spot as u32,
            bytes: self.bytes,
        }
    }
}

impl Loader {
    /// Takes what a snapshot says.
    fn take(&mut self, entry: Entry<'_>) {
        let Entry { place, said } = entry;
        let (name, what) = match said {
            Said::Message {
                key,
                session,
                size,
                is_shared,
            } => (
                Name::Message(key),
                What::Message {
                    session,
                    size,
                    is_shared,
                },
            ),
            Said::Body { number, size } => (Name::Body(number), What::Body { size }),
            Said::Retained { version } => (Name::Retained(version), What::Unread),
            Said::Record { kind, payload } => {
                return martlet_journal::Index::put(self, Record { place, kind, payload });
            }
        };
        self.push(place, name, what);
    }

    fn push(&mut self, place: Place, name: Name, what: What) {
        let spot = spot(place);
        debug_assert!(
            self.found.last().is_none_or(|last| last.spot < spot),
            "they come in order"
        );
        self.found.push(Found {
            spot,
            bytes: place.bytes,
            name,
            what,
        });
    }

    /// Where the record at a place is, if it lives.
    fn find(&self, place: Place) -> Option<usize> {
        let at = self
            .found
            .binary_search_by_key(&spot(place), |found| found.spot)
            .ok()?;
        self.found[at].lives().then_some(at)
    }

    fn forget_dead(&mut self) {
        self.found.retain(Found::lives);
        self.dead = 0;
    }

    /// Gives each record that lives a place in the index, and what it says to `take`.
    pub(crate) fn fill(mut self, index: &mut Index, mut take: impl FnMut(Name, What)) -> Rest {
        self.forget_dead();
        let mut rest = Rest::default();
        for found in &self.found {
            // What has its name comes later, perhaps as a copy, and damage has hidden the death of the old one.
            rest.garbage.extend(index.set(found.name, Some(found.place())));
        }
        for found in self.found {
            let place = found.place();
            match found.what {
                _ if index.get(found.name) != Some(place) => {}
                What::Unread => rest.unread.push(place),
                what => take(found.name, what),
            }
        }
        rest
    }

    /// What a record is; none: it is of no kind that this version knows, or makes no sense.
    pub(crate) fn read(record: &Record<'_>) -> Option<(Name, What)> {
        let name = record::name(record.kind, record.payload)?;
        let what = match record.kind {
            kind::SESSION => What::Session(Box::new(record::read_session(record.payload, Times::AS_STORED)?)),
            kind::SUBSCRIPTION => What::Subscription(Box::new(record::read_subscription(record.payload)?)),
            kind::MESSAGE | kind::LINK => {
                let (recipient, rest) = record::read_recipient(record.payload)?;
                What::Message {
                    session: recipient.session,
                    size: match record.kind {
                        kind::MESSAGE => Some(MessageRecord::read(rest)?.size() as u32),
                        _ => None,
                    },
                    is_shared: recipient.shared.is_some(),
                }
            }
            kind::BODY => What::Body {
                size: MessageRecord::read(record::body_rest(record.payload)?)?.size() as u32,
            },
            kind::RETAINED => {
                let retained = record::read_retained(record.payload)?;
                let message = MessageRecord::read(retained.rest)?.to_message(0, Times::AS_STORED);
                What::Retained(Box::new((message, retained.expires_at_ms)))
            }
            kind::RETAINED_LINK => {
                let retained = record::read_retained(record.payload)?;
                What::RetainedLink {
                    body: retained.body()?,
                    expires_at_ms: retained.expires_at_ms,
                }
            }
            kind::RECEIVED => {
                let identifier = record::read_identifier(record.payload)?;
                What::Received {
                    session: identifier.session,
                    id: identifier.id,
                }
            }
            kind::SENDING | kind::RELEASING => What::Sent(Box::new(record::read_identifier(record.payload)?)),
            kind::CLOCK => What::Clock(Reading::read(record.payload)?),
            kind::FORMAT => What::Format(crate::bytes::Reader(record.payload).number()?),
            _ => return None,
        };
        Some((name, what))
    }
}

impl martlet_journal::Index for Loader {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn snapshot(&mut self, bytes: &[u8]) {
        let mut snapshot = std::mem::take(&mut self.snapshot);
        snapshot.push(bytes);
        while let Some(entry) = snapshot.next() {
            self.take(entry);
        }
        self.snapshot = snapshot;
    }

    fn snapshot_ends(&mut self) -> bool {
        let Some(unknown) = std::mem::take(&mut self.snapshot).end() else {
            return false;
        };
        // A record that this version wrote and cannot read: the log is to be asked.
        let is_whole = self.unknown == 0;
        self.unknown = unknown;
        is_whole
    }

    fn gone(&mut self, segments: &[u32]) {
        let stays = |found: &Found| segments.binary_search(&((found.spot >> 32) as u32)).is_err();
        self.found.retain(|found| found.lives() && stays(found));
        self.dead = 0;
    }

    fn put(&mut self, record: Record<'_>) {
        match Self::read(&record) {
            Some((name, what)) => self.push(record.place, name, what),
            None => self.unknown += 1,
        }
    }

    fn killed(&mut self, place: Place) {
        if let Some(at) = self.find(place) {
            self.found[at].what = What::Nothing;
            self.dead += 1;
            if self.dead > DEAD_MIN.max(self.found.len() / 2) {
                self.forget_dead();
            }
        }
    }

    fn is_live(&self, record: &Record<'_>) -> bool {
        self.find(record.place).is_some()
    }

    fn moved(&mut self, _: &Record<'_>, _: Place) {
        unreachable!("nothing is cleaned while a journal is opened");
    }
}
