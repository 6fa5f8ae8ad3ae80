//! What a replay of the journal finds.

use hashbrown::HashMap;
use martlet_broker::{StoredSession, StoredSubscription};
use martlet_codec::PacketId;
use martlet_journal::{Place, Record};
use martlet_session::Message;

use crate::clock::Reading;
use crate::index::Map;
use crate::record::{self, IdentifierRecord, MessageRecord, Name, Times, kind};

/// What the replay of the journal finds.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) found: Map<u64, Found>,
    pub(crate) by_name: HashMap<Name, u64, foldhash::fast::FixedState>,
    /// Records that something else has the name of now, with their bytes.
    pub(crate) garbage: Map<u64, u32>,
    /// Records that this version cannot read.
    pub(crate) unknown: u64,
}

#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: Name,
    pub(crate) bytes: u32,
    pub(crate) what: What,
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
            garbage: Map::default(),
            unknown: 0,
        }
    }

    /// What a record is; none: it is of no kind that this version knows, or makes no sense.
    fn read(record: &Record<'_>) -> Option<(Name, What)> {
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

    fn snapshot(&mut self, _: &[u8]) {}

    /// This version writes none, and replays everything.
    fn snapshot_ends(&mut self) -> bool {
        false
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
        } else {
            self.garbage.remove(&at);
        }
    }

    fn is_live(&self, record: &Record<'_>) -> bool {
        self.found.contains_key(&spot(record.place))
    }

    fn moved(&mut self, _: &Record<'_>, _: Place) {
        unreachable!("nothing is cleaned while a journal is opened");
    }
}
