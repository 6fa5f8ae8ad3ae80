//! A session whose state is stored: pages of its queue, identifiers that must be durable first, its restoration, and
//! what is left of it at its end.

use martlet_codec::{Ack, Delivery, Packet, PacketId, ReasonCode};

use super::link::Outgoing;
use super::{Effect, Session, Turn};
use crate::inflight::Resend;
use crate::message::Key;
use crate::queue::{Found, Loaded, Queued};

impl Session {
    /// The identifier of a message of QoS 2, or that it is released, is durable: what waited for that is sent.
    pub fn identifier_kept(&mut self, id: PacketId, turn: &mut Turn<'_>) {
        let Some(waiting) = self.inflight.let_go(id) else {
            return;
        };
        let Some(link) = &mut self.link else { return };
        let sent = match waiting {
            Resend::Release(id) => {
                link.answer(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
                true
            }
            Resend::Publish(id, kept) => {
                let to = Outgoing {
                    dup: kept.resent,
                    retain: kept.retain,
                    delivery: Delivery::ExactlyOnce(id),
                    subscription_ids: &kept.subscription_ids,
                };
                link.publish(&to, &kept.message.view(), turn)
            }
        };
        if !sent {
            self.forget(id, turn);
        }
    }

    /// It could not be made durable. That is tried again on the next connection.
    pub fn identifier_not_kept(&mut self, id: PacketId) {
        self.inflight.not_kept(id);
    }

    /// Bytes of stored messages of the queue that are in memory.
    pub fn window_bytes(&self) -> usize {
        self.queue.window_bytes()
    }

    /// Drops queued messages whose time is over, and tells how many.
    pub fn drop_expired(&mut self, turn: &mut Turn<'_>) -> usize {
        let is_stored = self.number != 0;
        self.queue.drop_expired(turn.now, |queued| {
            turn.effects
                .extend(queued.key().filter(|_| is_stored).map(Effect::Done));
        })
    }

    /// Which messages of the queue are to be loaded from the store now.
    pub fn next_load(&mut self) -> Vec<Key> {
        if self.link.is_some() {
            self.queue.next_load(PAGE_MESSAGES_MAX)
        } else {
            Vec::new()
        }
    }

    /// Messages of the queue were loaded. Call `pump` after it. Returns how many of them cannot be read: the store keeps
    /// them, for who can read them later.
    pub fn loaded(&mut self, mut page: Vec<Loaded>) -> usize {
        for loaded in &mut page {
            if let Found::Message(queued) = &mut loaded.found {
                queued.resent |= queued.message.number.get() <= self.resent_up_to;
            }
        }
        self.queue.loaded(page)
    }

    /// Takes in messages that were queued when they were stored, oldest first, and their bytes in all.
    pub fn restore_queue(&mut self, keys: impl IntoIterator<Item = Key>, bytes: usize, has_shared: bool) {
        self.queue.restore(keys, bytes, has_shared);
    }

    /// Takes in a message of QoS 2 that was under way when it was stored; none: it was released.
    pub fn restore_sent(&mut self, id: PacketId, queued: Option<Queued>) {
        let payload_bytes = queued.as_ref().map_or(0, |queued| queued.message.payload.len());
        self.inflight.restore(id, payload_bytes, queued);
    }

    /// Takes in an identifier of QoS 2 that its client had not released when it was stored.
    pub fn restore_received(&mut self, id: PacketId) {
        self.received.restore(id);
    }

    /// Whether what waits in the store may have come by a shared subscription.
    pub fn has_shared_away(&self) -> bool {
        self.queue.has_shared_away()
    }

    /// The session ends: what is left of it.
    pub fn into_remains(self) -> Remains {
        let is_stored = self.number != 0;
        let mut remains = Remains {
            received: self.received.unreleased().collect(),
            ..Remains::default()
        };
        for (id, queued) in self.inflight.unfinished() {
            remains.sent.extend(id);
            remains.keys.extend(queued.and_then(Queued::key));
        }
        remains.shared.extend(self.inflight.into_shared_qos1());
        let (here, away) = self.queue.into_parts();
        remains.keys.extend(here.iter().filter_map(Queued::key));
        remains
            .shared
            .extend(here.into_iter().filter(|queued| queued.shared.is_some()));
        if !is_stored {
            remains.keys.clear();
        }
        remains.away = away;
        remains
    }
}

/// What is left of a session that ends.
#[derive(Debug, Default)]
pub struct Remains {
    /// What came by shared subscriptions and was not acknowledged, in order: for another member.
    pub shared: Vec<Queued>,
    /// The stored messages that are in memory or under way.
    pub keys: Vec<Key>,
    /// The messages that are only in the store.
    pub away: Vec<Key>,
    /// Identifiers of QoS 2 that its client had not released.
    pub received: Vec<PacketId>,
    /// Identifiers of QoS 2 that were under way to its client.
    pub sent: Vec<PacketId>,
}

/// Messages that are loaded from the store at a time.
const PAGE_MESSAGES_MAX: usize = 256;
