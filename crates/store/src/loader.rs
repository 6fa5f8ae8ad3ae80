//! What a replay of the journal finds, from its begin or from a snapshot.

use hashbrown::HashMap;
use martlet_broker::{StoredSession, StoredSubscription};
use martlet_codec::PacketId;
use martlet_journal::{Place, Record};
use martlet_session::{Key, Message};

use crate::clock::Reading;
use crate::index::{Index, Map};
use crate::record::{self, IdentifierRecord, MessageRecord, Name, Times, kind};
use crate::snapshot::{Decoder, Entry, Said};

/// What the replay of the journal finds.
#[derive(Debug)]
pub(crate) struct Loader {
    found: Map<u64, Found>,
    by_name: HashMap<Name, u64, foldhash::fast::FixedState>,
    /// Messages, bodies and retained messages of the snapshot, in the order of their places: there may be many millions.
    many: Vec<One>,
    snapshot: Decoder,
    /// Records that something else has the name of now, with their bytes.
    garbage: Map<u64, u32>,
    /// Records that this version cannot read.
    pub(crate) unknown: u64,
}

/// One of many.
#[derive(Debug, Clone, Copy)]
struct One {
    spot: u64,
    /// A key, a number or a version.
    number: u64,
    session: u64,
    bytes: u32,
    size: u32,
    kind: u8,
    is_shared: bool,
    is_dead: bool,
}

/// What is left to do.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Retained messages that are to be read.
    pub(crate) unread: Vec<Place>,
    /// Records that nothing names.
    pub(crate) garbage: Vec<Place>,
}

#[derive(Debug)]
struct Found {
    name: Name,
    bytes: u32,
    what: What,
}

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
    RetainedLink {
        body: u64,
        expires_at_ms: Option<u64>,
    },
    Received {
        session: u64,
        id: PacketId,
    },
    Sent {
        identifier: IdentifierRecord,
    },
    Clock(Reading),
    Format(u64),
}

impl One {
    fn name(&self) -> Name {
        match self.kind {
            kind::BODY => Name::Body(self.number),
            kind::RETAINED => Name::Retained(self.number),
            _ => Name::Message(Key(self.number)),
        }
    }

    fn what(&self) -> Option<What> {
        match self.kind {
            kind::BODY => Some(What::Body { size: self.size }),
            kind::RETAINED => None,
            kind => Some(What::Message {
                session: self.session,
                size: (kind == kind::MESSAGE).then_some(self.size),
                is_shared: self.is_shared,
            }),
        }
    }
}

/// Where a record lies, as one number.
pub(crate) fn spot(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.offset)
}

pub(crate) fn place(spot: u64, bytes: u32) -> Place {
    Place {
        segment: (spot >> 32) as u32,
        offset: spot as u32,
        bytes,
    }
}

impl Loader {
    pub(crate) fn new() -> Self {
        Self {
            found: Map::default(),
            by_name: HashMap::default(),
            many: Vec::new(),
            snapshot: Decoder::default(),
            garbage: Map::default(),
            unknown: 0,
        }
    }

    /// Takes what a snapshot says.
    fn take(&mut self, entry: Entry<'_>) {
        let Entry { place, said } = entry;
        let one = One {
            spot: spot(place),
            number: 0,
            session: 0,
            bytes: place.bytes,
            size: 0,
            kind: kind::MESSAGE,
            is_shared: false,
            is_dead: false,
        };
        self.many.push(match said {
            Said::Message {
                key,
                session,
                size,
                is_shared,
            } => One {
                number: key.0,
                session,
                size: size.unwrap_or(0),
                kind: if size.is_some() { kind::MESSAGE } else { kind::LINK },
                is_shared,
                ..one
            },
            Said::Body { number, size } => One {
                number,
                size,
                kind: kind::BODY,
                ..one
            },
            Said::Retained { version } => One {
                number: version,
                kind: kind::RETAINED,
                ..one
            },
            Said::Record { kind, payload } => {
                return martlet_journal::Index::put(self, Record { place, kind, payload });
            }
        });
    }

    /// Gives each record that lives a place in the index, and what it says to `take`.
    pub(crate) fn fill(self, index: &mut Index, mut take: impl FnMut(Name, What)) -> Rest {
        let mut rest = Rest::default();
        drop(self.by_name);
        for (at, found) in self.found {
            index.set(found.name, Some(place(at, found.bytes)));
            take(found.name, found.what);
        }
        for one in self.many.into_iter().filter(|one| !one.is_dead) {
            let (name, place) = (one.name(), place(one.spot, one.bytes));
            // What has its name came later, as a copy, and damage has hidden the death of this.
            if index.get(name).is_some() {
                rest.garbage.push(place);
                continue;
            }
            index.set(name, Some(place));
            match one.what() {
                Some(what) => take(name, what),
                None => rest.unread.push(place),
            }
        }
        let garbage = self.garbage.into_iter().map(|(at, bytes)| place(at, bytes));
        rest.garbage.extend(garbage);
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
            kind::SENDING | kind::RELEASING => What::Sent {
                identifier: record::read_identifier(record.payload)?,
            },
            kind::CLOCK => What::Clock(Reading::read(record.payload)?),
            kind::FORMAT => What::Format(crate::bytes::Reader(record.payload).number()?),
            _ => return None,
        };
        Some((name, what))
    }
}

impl martlet_journal::Index for Loader {
    fn clear(&mut self) {
        *self = Self::new();
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
        let mut gone = Vec::new();
        self.found.retain(|spot, found| {
            let stays = segments.binary_search(&((spot >> 32) as u32)).is_err();
            if !stays {
                gone.push(found.name);
            }
            stays
        });
        for name in &gone {
            self.by_name.remove(name);
        }
        let stays = |one: &One| segments.binary_search(&((one.spot >> 32) as u32)).is_err();
        self.many.retain(stays);
    }

    fn put(&mut self, record: Record<'_>) {
        let Some((name, what)) = Self::read(&record) else {
            self.unknown += 1;
            return;
        };
        let at = spot(record.place);
        if let Some(old) = self.by_name.insert(name, at)
            && let Some(old_found) = self.found.remove(&old)
        {
            self.garbage.insert(old, old_found.bytes);
        }
        let bytes = record.place.bytes;
        self.found.insert(at, Found { name, bytes, what });
    }

    fn killed(&mut self, place: Place) {
        let at = spot(place);
        if let Some(found) = self.found.remove(&at) {
            self.by_name.remove(&found.name);
        } else if let Ok(at) = self.many.binary_search_by_key(&at, |one| one.spot) {
            self.many[at].is_dead = true;
        } else {
            self.garbage.remove(&at);
        }
    }

    fn is_live(&self, record: &Record<'_>) -> bool {
        let at = spot(record.place);
        let one = self.many.binary_search_by_key(&at, |one| one.spot);
        self.found.contains_key(&at) || one.is_ok_and(|one| !self.many[one].is_dead)
    }

    fn moved(&mut self, _: &Record<'_>, _: Place) {
        unreachable!("nothing is cleaned while a journal is opened");
    }
}
