//! The sessions of a shard.

use std::sync::Arc;

use hashbrown::HashMap;
use martlet_codec::FilterBuf;
use martlet_session::Session;

use crate::connection::{ClientId, ConnId};
use crate::registry::{Keyed, State, hashing, keyed};
use crate::router::{Availability, Presence, SessionRef};
use crate::takeovers::Takeovers;
use crate::timers::Armed;
use crate::will::Will;

/// A session with what the broker knows of it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) me: SessionRef,
    pub(crate) session: Session,
    /// The connection that has it, if any.
    pub(crate) conn: Option<ConnId>,
    /// Each with the number that it is stored under.
    pub(crate) subscriptions: HashMap<FilterBuf, u64, State>,
    /// Subscriptions to groups: only then anybody asks for its presence.
    pub(crate) shares: usize,
    /// What groups look at; none as long as it is in no group.
    pub(crate) presence: Option<Arc<Presence>>,
    pub(crate) will: Option<Box<Will>>,
    /// When its will goes out, once its connection is gone.
    pub(crate) will_due_ms: Option<u64>,
    /// When it ends, once its connection is gone.
    pub(crate) expires_at_ms: Option<u64>,
    /// Since when it has no connection, in wall time.
    pub(crate) away_since_ms: u64,
    /// Messages with numbers up to this one may have been sent on an earlier connection.
    pub(crate) sent_up_to: u64,
    /// Its entry among the timers.
    pub(crate) armed: Armed,
    /// What the counters say that waits for it.
    pub(crate) counted: Counted,
    /// How often its client identifier changed hands lately; none: never.
    pub(crate) takeovers: Option<Box<Takeovers>>,
}

/// What waits for a session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Those of them that are nowhere but in memory, because the session is not stored.
    pub(crate) memory_bytes: usize,
    /// Bytes of stored messages that are in memory.
    pub(crate) window_bytes: usize,
}

impl Slot {
    /// What groups look at.
    pub(crate) fn presence(&mut self) -> Arc<Presence> {
        Arc::clone(self.presence.get_or_insert_with(Presence::new))
    }

    /// Tells groups whether it can take messages.
    pub(crate) fn tell_presence(&self, limits: &martlet_session::limits::Limits) {
        let Some(presence) = self.presence.as_ref().filter(|_| self.shares > 0) else {
            return;
        };
        presence.set(match &self.session.link {
            None => Availability::Away,
            Some(_) if self.session.is_ready(limits) => Availability::Ready,
            Some(_) => Availability::Full,
        });
    }

    /// The next time at which something happens to a session without a connection.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match (self.will_due_ms, self.expires_at_ms) {
            (Some(will), Some(expiry)) => Some(will.min(expiry)),
            (one, other) => one.or(other),
        }
    }
}

/// Slots by index and by client identifier.
#[derive(Debug)]
pub(crate) struct Sessions {
    shard: u16,
    seed: u64,
    slots: slab::Slab<Box<Slot>>,
    generations: Vec<u16>,
    by_client: Keyed<ClientId, u32>,
}

impl Sessions {
    pub(crate) fn new(shard: u16, seed: u64) -> Self {
        Self {
            shard,
            seed,
            slots: slab::Slab::new(),
            generations: Vec::new(),
            by_client: keyed(seed),
        }
    }

    pub(crate) fn index_of(&self, client_id: &str) -> Option<u32> {
        self.by_client.get(client_id).copied()
    }

    /// A new session; the client identifier has none.
    pub(crate) fn insert(&mut self, session: Session) -> u32 {
        let entry = self.slots.vacant_entry();
        let index = entry.key() as u32;
        if self.generations.len() <= index as usize {
            self.generations.resize(index as usize + 1, 0);
        }
        let generation = self.generations[index as usize];
        let client_id = Arc::clone(&session.client_id);
        entry.insert(Box::new(Slot {
            me: SessionRef {
                shard: self.shard,
                generation,
                index,
            },
            session,
            conn: None,
            subscriptions: HashMap::with_hasher(hashing(self.seed)),
            shares: 0,
            presence: None,
            will: None,
            will_due_ms: None,
            expires_at_ms: None,
            away_since_ms: 0,
            sent_up_to: 0,
            armed: Armed::default(),
            counted: Counted::default(),
            takeovers: None,
        }));
        let old = self.by_client.insert(client_id, index);
        assert!(old.is_none(), "a client identifier has one session");
        index
    }

    /// The session is over; its index is free, and what still names it reaches nobody.
    pub(crate) fn remove(&mut self, index: u32) -> Slot {
        let slot = self.slots.remove(index as usize);
        self.generations[index as usize] = slot.me.generation.wrapping_add(1);
        self.by_client.remove(&slot.session.client_id);
        *slot
    }

    pub(crate) fn get(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// The session of that name, unless it has ended.
    pub(crate) fn find_mut(&mut self, name: SessionRef) -> Option<&mut Slot> {
        self.slots
            .get_mut(name.index as usize)
            .map(|slot| &mut **slot)
            .filter(|slot| slot.me == name)
    }

    pub(crate) fn find(&self, name: SessionRef) -> Option<&Slot> {
        self.slots
            .get(name.index as usize)
            .map(|slot| &**slot)
            .filter(|slot| slot.me == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn indices(&self) -> Vec<u32> {
        self.slots.iter().map(|(index, _)| index as u32).collect()
    }
}
