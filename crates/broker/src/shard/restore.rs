//! What was stored becomes sessions again, before the broker listens.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use martlet_session::{NEVER, Now, Queued, Session};

use super::Shard;
use super::keep::Passing;
use crate::router::SubOptions;
use crate::store::{Change, RestoredSession};
use crate::will::Will;

impl Shard {
    /// Takes in a session that was stored; its client identifier has no other. Nothing is connected: who was when
    /// the broker ended counts as lost now.
    pub fn restore(&mut self, now: Now, restored: RestoredSession) {
        self.restored_up_to = self.shared.numbers.load(Ordering::Relaxed);
        if restored.session.is_over {
            return self.restore_over(restored);
        }
        let stored = restored.session;
        let number = stored.number;
        let mut session = Session::new(Arc::clone(&stored.client_id), stored.expiry_s);
        session.number = number;
        let all = self.restored_up_to;
        session.resent_up_to = stored.away_since_ms.map_or(all, |_| stored.sent_up_to);
        session.restore_queue(restored.queue, restored.queue_bytes, restored.has_shared);
        restored
            .received
            .into_iter()
            .for_each(|id| session.restore_received(id));
        for (id, loaded) in restored.sent {
            session.restore_sent(id, loaded);
        }
        let _ = self.shared.registry.claim(&stored.client_id, self.index);
        self.counters().sessions.add(1);
        let index = self.sessions.insert(session);
        let slot = self.sessions.get_mut(index);
        self.shared.stored.set(slot.me, number);

        let mut router = self.shared.router.write();
        for subscription in restored.subscriptions {
            let identifier = subscription.identifier.and_then(NonZeroU32::new);
            let filter = subscription.filter.as_filter();
            if filter.share_group().is_some() {
                slot.shares += 1;
            }
            let packed = SubOptions::new(subscription.options, identifier);
            router.subscribe(filter, slot.me, packed, || slot.presence());
            slot.subscriptions
                .insert(subscription.filter, subscription.number);
        }
        drop(router);

        let slot = self.sessions.get_mut(index);
        slot.sent_up_to = stored.sent_up_to;
        slot.away_since_ms = stored.away_since_ms.unwrap_or(now.wall_ms);
        let away_ms = now.wall_ms.saturating_sub(slot.away_since_ms);
        let rest_ms = |ms: u64| now.mono_ms + ms.saturating_sub(away_ms);
        let expiry_ms = u64::from(stored.expiry_s) * 1_000;
        slot.expires_at_ms = (stored.expiry_s != NEVER).then(|| rest_ms(expiry_ms));
        if let Some(will) = &stored.will {
            let grace_ms = now.mono_ms + self.shared.settings.will_grace_ms;
            slot.will_due_ms = Some(rest_ms(will.delay_ms).max(grace_ms));
            slot.will = Some(Box::new(Will::of_stored(will)));
        }
        if stored.away_since_ms.is_none() {
            // How long it is away counts from now, whatever comes.
            slot.sent_up_to = all;
            let change = Change::Session(self.stored_session(index));
            self.keep(change);
        }
        self.schedule(index);
        self.settle_books(index);
    }

    /// A session had ended, and what came to it by shared subscriptions was not passed on yet. Its client may have
    /// another by now.
    fn restore_over(&mut self, restored: RestoredSession) {
        let number = restored.session.number;
        let mut keys = restored.queue.clone();
        // What was under way to it dies with it.
        let sent = restored.sent.iter();
        keys.extend(sent.filter_map(|(_, queued)| queued.as_ref().and_then(Queued::key)));
        let ended = Change::Ended {
            number,
            subscriptions: restored.subscriptions.iter().map(|kept| kept.number).collect(),
            keys,
            received: restored.received,
            sent: restored.sent.iter().map(|(id, _)| *id).collect(),
        };
        self.load_passing(number, Passing::of_nobody(self.index, restored.queue, ended));
    }
}
