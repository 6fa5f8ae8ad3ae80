//! SUBSCRIBE and UNSUBSCRIBE.

use std::num::NonZeroU32;
use std::sync::Arc;

use martlet_codec::{
    Filter, FilterBuf, Packet, PacketId, Properties, ReasonCode, ReasonCodes, RetainHandling, SubAck,
    Subscribe, SubscribeOptions, UnsubAck, Unsubscribe,
};
use martlet_session::{Message, Now, Offer, Target, Ticket};

use super::commit::Pending;
use super::subscribing::{Again, Changed};
use super::{Shard, Sink};
use crate::connection::ConnId;
use crate::event::Event;
use crate::reason::Reason;
use crate::router::{SessionRef, SubOptions};
use crate::store::{Batch, Change, Durability, StoredSubscription};

/// Retained messages that a SUBSCRIBE brings, with what its filter granted.
#[derive(Debug)]
pub(super) struct Replay {
    messages: Vec<Arc<Message>>,
    options: SubscribeOptions,
    identifier: Option<NonZeroU32>,
}

/// A subscription that was granted.
struct Granted {
    options: SubscribeOptions,
    /// Whether the session had none with exactly this filter.
    is_new: bool,
    /// What it had, if it is stored.
    before: Option<SubOptions>,
}

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        now: Now,
        conn: ConnId,
        index: u32,
        subscribe: &Subscribe<'_>,
        sink: &mut impl Sink,
    ) {
        let identifier = subscribe.properties.subscription_identifiers().next();
        let mut reasons = Vec::new();
        let mut replays = Vec::new();
        let mut changes = Vec::new();
        let mut changed = Vec::new();
        for (filter, asked) in subscribe.requests.iter() {
            let reason = match self.subscribe_one(index, filter, asked, identifier) {
                Ok(Granted {
                    options,
                    is_new,
                    before,
                }) => {
                    let slot = self.sessions.get(index);
                    let session = slot.session.number;
                    if session != 0 {
                        let number = slot.subscriptions[filter.as_str()];
                        changes.push(Change::Subscribed(StoredSubscription {
                            number,
                            session,
                            filter: filter.to_buf(),
                            options,
                            identifier: identifier.map(NonZeroU32::get),
                        }));
                        changed.push(Changed {
                            filter: filter.to_buf(),
                            number,
                            options: SubOptions::new(options, identifier),
                            before,
                        });
                    }
                    if let Some(messages) = self.retained_for(now, filter, options, is_new) {
                        replays.push(Replay {
                            messages,
                            options,
                            identifier,
                        });
                    }
                    ReasonCode::granted(options.qos)
                }
                Err(reason) => self.refuse_subscription(index, filter, asked, reason, sink),
            };
            let client_id = &self.sessions.get(index).session.client_id;
            sink.event(Event::Subscribed {
                client_id,
                filter: filter.as_str(),
                granted: reason,
            });
            reasons.push(reason);
        }
        if changes.is_empty() {
            self.suback(now, conn, index, subscribe.packet_id, &reasons, replays, sink);
            return;
        }
        let durability = self.durability_of(conn);
        let ticket = self.submit(now, durability, changes);
        if durability == Durability::None {
            self.suback(now, conn, index, subscribe.packet_id, &reasons, replays, sink);
            return;
        }
        for changed in &changed {
            self.subscribing.begin(changed, ticket);
        }
        let pending = Pending::Subscribe {
            conn,
            session: self.sessions.get(index).me,
            id: subscribe.packet_id,
            reasons,
            replays,
            changed,
        };
        self.pending.insert(ticket, pending);
    }

    /// A subscription is durable, or could not be kept: then it is what it was before, as its client is told.
    pub(super) fn subscribing_ended(
        &mut self,
        session: SessionRef,
        changed: &Changed,
        ticket: Ticket,
        failed: bool,
    ) {
        let Some(again) = self.subscribing.end(changed, ticket, failed) else {
            return;
        };
        let filter = changed.filter.as_filter();
        let Some(slot) = self.sessions.find_mut(session) else {
            return;
        };
        if slot.subscriptions.get(filter.as_str()) != Some(&changed.number) {
            return;
        }
        match again {
            Again::With(options) => {
                let mut router = self.shared.router.write();
                router.subscribe(filter, slot.me, options, || slot.presence());
            }
            Again::Nothing => _ = self.remove_subscription(session.index, filter),
        }
    }

    /// Takes one subscription out of the session and the router; `false`: there was none. The text itself is
    /// compared, wildcards and all [MQTT5-3.10.4-1].
    fn remove_subscription(&mut self, index: u32, filter: Filter<'_>) -> bool {
        let slot = self.sessions.get_mut(index);
        if slot.subscriptions.remove(filter.as_str()).is_none() {
            return false;
        }
        slot.shares -= usize::from(filter.share_group().is_some());
        self.shared.router.write().unsubscribe(filter, slot.me);
        true
    }

    /// Puts one subscription into the session and into the router.
    fn subscribe_one(
        &mut self,
        index: u32,
        filter: Filter<'_>,
        asked: SubscribeOptions,
        identifier: Option<NonZeroU32>,
    ) -> Result<Granted, Reason> {
        let subscriptions_max = self.shared.settings.subscriptions_max;
        let slot = self.sessions.get_mut(index);
        let agreed = slot
            .session
            .link
            .as_ref()
            .expect("packets come over a link")
            .agreed;
        let mut options = asked;
        options.qos = asked.qos.min(agreed.qos_max);
        if agreed.bridge && filter.share_group().is_none() {
            options.no_local = true;
            options.retain_as_published = true;
        }
        let is_there = slot.subscriptions.contains_key(filter.as_str());
        if !is_there && slot.subscriptions.len() >= subscriptions_max {
            return Err(Reason::TooManySubscriptions);
        }
        if !is_there {
            let is_stored = slot.session.number != 0;
            let number = if is_stored { self.shared.take_numbers(1) } else { 0 };
            slot.subscriptions.insert(filter.to_buf(), number);
        }
        if !is_there && filter.share_group().is_some() {
            slot.shares += 1;
            slot.presence();
            slot.tell_presence(&self.shared.settings.session);
        }
        let packed = SubOptions::new(options, identifier);
        let is_stored = slot.session.number != 0;
        let mut router = self.shared.router.write();
        let before = (is_there && is_stored).then(|| router.options_of(filter, slot.me));
        router.subscribe(filter, slot.me, packed, || slot.presence());
        drop(router);
        let was_leaving = self.unsubscribing.keep(slot.me, filter);
        Ok(Granted {
            options,
            is_new: !is_there || was_leaving,
            before: before.flatten(),
        })
    }

    fn refuse_subscription(
        &mut self,
        index: u32,
        filter: Filter<'_>,
        asked: SubscribeOptions,
        reason: Reason,
        sink: &mut impl Sink,
    ) -> ReasonCode {
        self.counters().count(reason, 1);
        let slot = self.sessions.get(index);
        sink.event(Event::SubscribeRefused {
            client_id: &slot.session.client_id,
            filter: filter.as_str(),
            reason,
        });
        let can_refuse = slot
            .session
            .link
            .as_ref()
            .is_some_and(|link| link.agreed.can_refuse_subscribe);
        if can_refuse {
            reason.code()
        } else {
            ReasonCode::granted(asked.qos)
        }
    }

    /// The retained messages that a subscription brings; read after it stands in the router, so that
    /// nothing falls between.
    fn retained_for(
        &self,
        now: Now,
        filter: Filter<'_>,
        options: SubscribeOptions,
        is_new: bool,
    ) -> Option<Vec<Arc<Message>>> {
        let wanted = match options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::New => is_new,
            RetainHandling::Never => false,
        };
        // Never for shared subscriptions.
        if !wanted || filter.share_group().is_some() || self.shared.retained.is_empty() {
            return None;
        }
        let mut found = Vec::new();
        self.shared.retained.matching(filter, now.mono_ms, &mut found);
        (!found.is_empty()).then_some(found)
    }

    #[allow(clippy::too_many_arguments)] // a SUBACK has that many parts
    pub(super) fn suback(
        &mut self,
        now: Now,
        conn: ConnId,
        index: u32,
        packet_id: PacketId,
        reasons: &[ReasonCode],
        replays: Vec<Replay>,
        sink: &mut impl Sink,
    ) {
        let suback = SubAck {
            packet_id,
            properties: Properties::EMPTY,
            reasons: ReasonCodes::List(reasons),
        };
        self.answer(conn, index, &Packet::SubAck(suback));
        for replay in replays {
            self.replay(now, index, &replay, sink);
        }
        self.pump(now, index);
    }

    fn replay(&mut self, now: Now, index: u32, replay: &Replay, sink: &mut impl Sink) {
        let slot = self.sessions.get(index);
        let (me, client_id) = (slot.me, Arc::clone(&slot.session.client_id));
        let identifier = replay.identifier.map(NonZeroU32::get);
        for message in &replay.messages {
            if replay.options.no_local && message.publisher.as_deref() == Some(&*client_id) {
                continue;
            }
            let target = Target {
                qos: replay.options.qos,
                retain: true,
                subscription_ids: identifier.as_slice(),
                shared: None,
                replay: true,
                at: 0,
            };
            let mut offer = Offer::kept(message);
            let delivered = self.deliver_to(now, me, target, &mut offer);
            if let Some(martlet_session::Delivered::Dropped(reason)) = delivered {
                self.dropped(Some(me), offer.view(), reason.into(), sink);
            }
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        now: Now,
        conn: ConnId,
        index: u32,
        unsubscribe: &Unsubscribe<'_>,
        sink: &mut impl Sink,
    ) {
        let slot = self.sessions.get(index);
        let me = slot.me;
        let stays_until = (slot.session.number != 0).then(|| self.ticket());
        let mut filters = Vec::new();
        let mut reasons = Vec::new();
        for filter in unsubscribe.filters.iter() {
            let existed = match stays_until {
                None => self.leave_subscription(me, filter, sink),
                Some(ticket) => {
                    let is_there = self
                        .sessions
                        .get(index)
                        .subscriptions
                        .contains_key(filter.as_str());
                    is_there && self.unsubscribing.add(me, filter, ticket)
                }
            };
            reasons.push(if existed {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            });
            if existed && stays_until.is_some() {
                filters.push(filter.to_buf());
            }
        }
        let id = unsubscribe.packet_id;
        let Some(ticket) = stays_until.filter(|_| !filters.is_empty()) else {
            return self.unsuback(conn, index, id, &reasons);
        };
        let subscriptions = &self.sessions.get(index).subscriptions;
        let change = |filter: &FilterBuf| Change::Unsubscribed {
            number: subscriptions[filter.as_str()],
        };
        let batch = Batch {
            ticket: Some(ticket),
            durability: self.durability_of(conn),
            changes: filters.iter().map(change).collect(),
            is_loose: false,
        };
        self.store.submit(now, batch);
        self.pending.insert(
            ticket,
            Pending::Unsubscribe {
                conn,
                session: me,
                id,
                reasons,
                filters,
            },
        );
    }

    /// A session has a subscription no more, and the log is told; `false`: it had none, or has ended.
    pub(super) fn leave_subscription(
        &mut self,
        session: SessionRef,
        filter: Filter<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        if self.sessions.find(session).is_none() || !self.remove_subscription(session.index, filter) {
            return false;
        }
        sink.event(Event::Unsubscribed {
            client_id: &self.sessions.get(session.index).session.client_id,
            filter: filter.as_str(),
        });
        true
    }

    pub(super) fn unsuback(&mut self, conn: ConnId, index: u32, packet_id: PacketId, reasons: &[ReasonCode]) {
        let unsuback = UnsubAck {
            packet_id,
            properties: Properties::EMPTY,
            reasons: ReasonCodes::List(reasons),
        };
        self.answer(conn, index, &Packet::UnsubAck(unsuback));
    }
}
