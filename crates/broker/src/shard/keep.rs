//! What of a shard's state is stored: whom a message is stored for, what sessions change, and the pages of their
//! queues.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_codec::{PacketId, Qos};
use martlet_session::server::granted;
use martlet_session::{Effect, Found, Key, Message, MessageView, Now, Offer, Remains, Ticket};

use super::commit::Pending;
use super::deliver::member_target;
use super::{Shard, Sink};
use crate::connection::ConnId;
use crate::reason::Reason;
use crate::router::{Group, Hit, Member, Route, SessionRef};
use crate::sessions::Slot;
use crate::store::{Batch, Change, Durability, Load, Page, Purpose, Recipient, StoredSession};
use crate::will::Will;

/// Changes that wait for the end of a turn, when they become one batch.
#[derive(Debug, Default)]
pub(super) struct Loose {
    changes: Vec<Change>,
    /// Whether a message is among them that was stored for another than was chosen first.
    has_again: bool,
    /// Who waits for them, if anybody does.
    ticket: Option<Ticket>,
    /// What they must survive for that.
    durability: Option<Durability>,
    /// Identifiers that are used once they are durable: a batch of their own.
    identifiers: Vec<(SessionRef, PacketId)>,
    identifier_changes: Vec<Change>,
}

/// A session that has ended, whose messages of shared subscriptions are still in the store.
#[derive(Debug)]
pub(super) struct Passing {
    me: SessionRef,
    /// The session, marked as over; none: it ended before the broker was started.
    over: Option<StoredSession>,
    left: VecDeque<Key>,
    ended: Change,
    lost: u64,
}

impl Passing {
    /// What was left by a session that ended before the broker was started.
    pub(super) fn of_nobody(shard: u16, left: Vec<Key>, ended: Change) -> Self {
        Self {
            me: SessionRef {
                shard,
                generation: u16::MAX,
                index: u32::MAX,
            },
            over: None,
            left: left.into(),
            ended,
            lost: 0,
        }
    }

    /// What the store is to know of the session until all is passed on.
    pub(super) fn over(&self) -> Option<StoredSession> {
        self.over.clone()
    }
}

/// Whom a message goes to that is stored for somebody or goes to a group.
#[derive(Debug, Default)]
pub(super) struct Addressed {
    pub(super) recipients: Vec<Recipient>,
    /// The member that each group chose.
    pub(super) chosen: Vec<Option<Member>>,
}

/// What is known of a stored session that has ended.
#[derive(Debug)]
pub(super) struct Over {
    me: SessionRef,
    session: StoredSession,
    subscriptions: Vec<u64>,
    has_shared_away: bool,
}

impl Over {
    pub(super) fn of(slot: &Slot) -> Option<Self> {
        (slot.session.number != 0).then(|| Self {
            me: slot.me,
            session: StoredSession {
                number: slot.session.number,
                client_id: Arc::clone(&slot.session.client_id),
                expiry_s: 0,
                is_over: true,
                away_since_ms: Some(slot.away_since_ms),
                sent_up_to: slot.sent_up_to,
                will: None,
            },
            subscriptions: slot.subscriptions.values().copied().collect(),
            has_shared_away: slot.session.has_shared_away(),
        })
    }
}

/// Numbers for a message that gets them before its recipients are known: enough for all that there can be.
pub(super) const NUMBERS_AHEAD: u64 = 1 << 16;

/// Messages that are loaded at a time to be passed on.
const PASSED_AT_ONCE: usize = 256;

impl Shard {
    /// Chooses members of groups, and finds out which recipients of a message are stored. If any is, the message gets
    /// a number, and the recipients their keys.
    pub(super) fn address(
        &self,
        now: Now,
        offer: &mut Offer<'_>,
        route: &Route,
        publisher: Option<SessionRef>,
    ) -> Addressed {
        let view = *offer.view();
        let mut addressed = Addressed::default();
        if view.qos == Qos::AtMostOnce {
            return addressed;
        }
        let recipients = &mut addressed.recipients;
        self.add_hits(&view, route, publisher, recipients);
        for (index, group) in route.groups().iter().enumerate() {
            let member = self.choose(now, &view, group);
            if let Some(member) = &member {
                recipients.extend(self.recipient_in(&view, route.place_of_group(index), group, member));
            }
            addressed.chosen.push(member);
        }
        if !recipients.is_empty() {
            if view.number == 0 {
                offer.store_as(self.shared.take_numbers(Key::numbers(route.places())));
            }
            let number = offer.view().number;
            for recipient in recipients {
                recipient.key = Key(recipient.key.0 + (number << 16));
            }
        }
        addressed
    }

    /// Chooses a member of a group, in this shard one that takes the message: so what is stored is stored for who gets
    /// it, before it is acknowledged. If none takes it, it is still somebody's until it is dropped, and counted.
    fn choose(&self, now: Now, view: &MessageView<'_>, group: &Group) -> Option<Member> {
        let mut tried = Vec::new();
        let mut first = None;
        while let Some(member) = group.pick(&tried) {
            if self.takes(now, view, group, &member) {
                return Some(member);
            }
            tried.push(member.session);
            first.get_or_insert(member);
        }
        first
    }

    /// Whether a member of a group takes a message, as far as this shard knows.
    pub(super) fn takes(&self, now: Now, view: &MessageView<'_>, group: &Group, member: &Member) -> bool {
        if member.session.shard != self.index {
            return true;
        }
        self.sessions.find(member.session).is_some_and(|slot| {
            let identifier = member.options.identifier().map(std::num::NonZeroU32::get);
            let target = member_target(group, member, view, 0, identifier.as_slice());
            slot.session
                .takes(&target, view, now, &self.shared.settings.session)
        })
    }

    /// Whether a message is stored for anybody, apart from groups.
    pub(super) fn has_stored(
        &self,
        view: &MessageView<'_>,
        route: &Route,
        publisher: Option<SessionRef>,
    ) -> bool {
        let mut recipients = Vec::new();
        self.add_hits(view, route, publisher, &mut recipients);
        !recipients.is_empty()
    }

    fn add_hits(
        &self,
        view: &MessageView<'_>,
        route: &Route,
        publisher: Option<SessionRef>,
        recipients: &mut Vec<Recipient>,
    ) {
        if let Some(publisher) = publisher.filter(|_| route.has_no_local()) {
            self.add_stored(view, route, route.hits_from(publisher), recipients);
        } else {
            self.add_stored(view, route, route.hits().iter(), recipients);
        }
    }

    /// Adds the recipients whose sessions are stored; their keys are relative to the number of the message.
    fn add_stored<'a>(
        &self,
        view: &MessageView<'_>,
        route: &Route,
        hits: impl Iterator<Item = &'a Hit>,
        recipients: &mut Vec<Recipient>,
    ) {
        for hit in hits {
            let session = self.shared.stored.get(hit.session);
            if session == 0 {
                continue;
            }
            let qos = granted(view.qos, hit.qos(), &self.shared.settings.session);
            if qos != Qos::AtMostOnce {
                recipients.push(Recipient {
                    session,
                    key: Key::new(0, route.place(hit)),
                    qos,
                    retain: view.retain && hit.retain_as_published(),
                    subscription_ids: route.identifiers(hit).into(),
                    shared: None,
                    resent: false,
                });
            }
        }
    }

    /// The same of a member of a group.
    fn recipient_in(
        &self,
        view: &MessageView<'_>,
        at: u32,
        group: &Group,
        member: &Member,
    ) -> Option<Recipient> {
        let session = self.shared.stored.get(member.session);
        let options = member.options;
        let qos = granted(view.qos, options.qos(), &self.shared.settings.session);
        let identifier = options.identifier().map(std::num::NonZeroU32::get);
        (session != 0 && qos != Qos::AtMostOnce).then(|| Recipient {
            session,
            key: Key::new(0, at),
            qos,
            retain: view.retain && options.retain_as_published(),
            subscription_ids: identifier.as_slice().into(),
            shared: Some(Arc::clone(group.filter())),
            resent: false,
        })
    }

    /// Whether a message is stored for those of its recipients who are.
    pub(super) fn may_be_stored(&self, offer: &Offer<'_>) -> bool {
        self.keeps && offer.view().qos != Qos::AtMostOnce
    }

    /// A member of a group gets what another could not take: if it is stored, the message is stored once more, for it.
    pub(super) fn address_again(
        &mut self,
        offer: &Offer<'_>,
        group: &Group,
        member: &Member,
    ) -> Option<Arc<Message>> {
        if !self.may_be_stored(offer) {
            return None;
        }
        let view = offer.view();
        let mut recipient = self.recipient_in(view, 0, group, member)?;
        recipient.resent = offer.resent;
        let mut message = view.to_message();
        message.number = self.shared.take_numbers(1).into();
        recipient.key = Key::new(message.number.get(), 0);
        let message = Arc::new(message);
        self.loose.has_again = true;
        self.loose.changes.push(Change::Queued {
            message: Arc::clone(&message),
            recipients: vec![recipient],
        });
        Some(message)
    }

    /// Changes that nobody waits for go out with others of this turn.
    pub(super) fn keep(&mut self, change: Change) {
        self.loose.changes.push(change);
    }

    /// A session ends: what was to be stored of it in this turn is not, or its end would come before it.
    pub(super) fn forget_loose(&mut self, me: SessionRef, number: u64) {
        if number == 0 || (self.loose.changes.is_empty() && self.loose.identifiers.is_empty()) {
            return;
        }
        self.loose
            .changes
            .retain(|change| !matches!(change, Change::Session(session) if session.number == number));
        if self.loose.identifiers.iter().any(|(of, _)| *of == me) {
            self.loose.identifiers.retain(|(of, _)| *of != me);
            let is_of = |change: &Change| matches!(change, Change::Sending { session, .. } | Change::Releasing { session, .. } if *session == number);
            self.loose.identifier_changes.retain(|change| !is_of(change));
        }
    }

    /// Whether a message was stored for somebody in this turn, on its way to another.
    pub(super) fn has_addressed_again(&self) -> bool {
        self.loose.has_again
    }

    /// The ticket of what goes out at the end of this turn.
    pub(super) fn loose_ticket(&mut self, durability: Durability) -> Ticket {
        let ticket = self.loose.ticket.unwrap_or_else(|| self.ticket());
        self.loose.ticket = Some(ticket);
        self.loose.durability = self.loose.durability.max(Some(durability));
        ticket
    }

    /// What a session did becomes changes.
    #[inline]
    pub(super) fn keep_effects(&mut self, index: u32) {
        if !self.effects.is_empty() {
            self.keep_all_effects(index);
        }
    }

    fn keep_all_effects(&mut self, index: u32) {
        let slot = self.sessions.get(index);
        let (me, session) = (slot.me, slot.session.number);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Done(key) => self.loose.changes.push(Change::Done { key }),
                Effect::Completed(id) => self.loose.changes.push(Change::Completed { session, id }),
                Effect::Sending(id, key) => {
                    let order = self.shared.take_numbers(1);
                    self.loose.identifiers.push((me, id));
                    self.loose.identifier_changes.push(Change::Sending {
                        session,
                        id,
                        key,
                        order,
                    });
                }
                Effect::Releasing(id, key) => {
                    let order = self.shared.take_numbers(1);
                    self.loose.identifiers.push((me, id));
                    self.loose.identifier_changes.push(Change::Releasing {
                        session,
                        id,
                        key,
                        order,
                    });
                }
            }
        }
    }

    /// Submits what nobody waits for, and behind it the identifiers that somebody does.
    pub(super) fn submit_loose(&mut self, now: Now) {
        self.loose.has_again = false;
        if !self.loose.changes.is_empty() || self.loose.ticket.is_some() {
            self.store.submit(
                now,
                Batch {
                    ticket: self.loose.ticket.take(),
                    durability: self.loose.durability.take().unwrap_or(Durability::None),
                    changes: std::mem::take(&mut self.loose.changes),
                    is_loose: true,
                },
            );
        }
        if !self.loose.identifiers.is_empty() {
            let identifiers = std::mem::take(&mut self.loose.identifiers);
            let changes = std::mem::take(&mut self.loose.identifier_changes);
            let durability = self.shared.settings.durability;
            let ticket = self.submit(now, durability, changes);
            self.pending.insert(ticket, Pending::Identifiers { identifiers });
        }
    }

    /// The end of a turn: what it changed is submitted.
    #[inline]
    pub(super) fn flush_store(&mut self, now: Now) {
        if self.keeps {
            self.submit_loose(now);
            self.store.flush();
        }
    }

    /// What a publisher's acknowledgement waits for.
    pub(super) fn durability_of(&self, conn: ConnId) -> Durability {
        let listener = self.connections[conn.index as usize].peer.listener;
        self.shared.listeners[usize::from(listener)].durability
    }

    /// Identifiers of QoS 2 are durable, or will not be.
    pub(super) fn identifiers_ended(
        &mut self,
        now: Now,
        identifiers: Vec<(SessionRef, PacketId)>,
        failed: bool,
        sink: &mut impl Sink,
    ) {
        let mut last = None;
        for (name, id) in identifiers {
            let Some(slot) = self.sessions.find_mut(name) else {
                continue;
            };
            if failed {
                slot.session.identifier_not_kept(id);
                if let Some(conn) = slot.conn {
                    let ending = crate::event::Ending::Broker(Reason::NotStored);
                    self.end(now, conn, ending, None, sink);
                }
                continue;
            }
            self.with_turn(now, name.index, |session, turn| session.identifier_kept(id, turn));
            if last != Some(name) {
                if let Some(last) = last.replace(name) {
                    self.pump_if_there(now, last);
                }
                self.mark_dirty_if_output(name.index);
            }
        }
        if let Some(last) = last {
            self.pump_if_there(now, last);
        }
    }

    fn pump_if_there(&mut self, now: Now, name: SessionRef) {
        if self.sessions.find(name).is_some() {
            self.mark_dirty_if_output(name.index);
            self.pump(now, name.index);
        }
    }

    /// Asks for the next page of a queue, if it is time.
    pub(super) fn load_more(&mut self, index: u32) {
        let slot = self.sessions.get_mut(index);
        if slot.session.number == 0 {
            return;
        }
        let keys = slot.session.next_load();
        if !keys.is_empty() {
            let purpose = Purpose::Queue(slot.me);
            self.store.load(Load { purpose, keys });
        }
    }

    /// Messages were loaded.
    pub(super) fn page(&mut self, now: Now, page: Page, sink: &mut impl Sink) {
        match page.purpose {
            Purpose::Queue(name) => {
                let Some(slot) = self.sessions.find_mut(name) else {
                    return;
                };
                let gone = slot.session.loaded(page.messages);
                self.dropped_unseen(Some(name), Reason::Unreadable, gone as u64, sink);
                self.keep_effects(name.index);
                self.pump(now, name.index);
                // Without a connection nothing was sent, and the books must be right all the same.
                self.settle_books(name.index);
            }
            Purpose::PassOn(number) => {
                let Some(mut passing) = self.passing.remove(&number) else {
                    return;
                };
                for loaded in page.messages {
                    if passing.left.front() == Some(&loaded.key) {
                        passing.left.pop_front();
                    }
                    match loaded.found {
                        Found::Message(queued) if queued.shared.is_some() => {
                            self.pass_on_one(now, passing.me, &queued, sink);
                        }
                        Found::Message(_) | Found::Unreadable => passing.lost += 1,
                        Found::Nothing => {}
                    }
                    // With what the other member got, or a crash would have it passed on again.
                    self.keep(Change::Done { key: loaded.key });
                }
                self.go_on_passing(number, passing, sink);
            }
        }
    }

    /// Loads what is left to be passed on; then the session is over in the store too.
    fn go_on_passing(&mut self, number: u64, passing: Passing, sink: &mut impl Sink) {
        let lost = passing.lost;
        if self.load_passing(number, passing) {
            self.dropped_unseen(None, Reason::SessionEnded, lost, sink);
        }
    }

    /// The next step of it; whether it was the last.
    pub(super) fn load_passing(&mut self, number: u64, passing: Passing) -> bool {
        let keys: Vec<_> = passing.left.iter().take(PASSED_AT_ONCE).copied().collect();
        if keys.is_empty() {
            self.keep(passing.ended);
            return true;
        }
        let purpose = Purpose::PassOn(number);
        self.store.load(Load { purpose, keys });
        self.passing.insert(number, passing);
        false
    }

    /// A session as it is to be stored now.
    pub(super) fn stored_session(&self, index: u32) -> StoredSession {
        let slot = self.sessions.get(index);
        StoredSession {
            number: slot.session.number,
            client_id: Arc::clone(&slot.session.client_id),
            expiry_s: slot.session.expiry_s,
            is_over: false,
            away_since_ms: slot.conn.is_none().then_some(slot.away_since_ms),
            sent_up_to: slot.sent_up_to,
            will: slot.will.as_deref().map(Will::to_stored),
        }
    }

    /// A stored session has ended: what is left of it goes, once what came by shared subscriptions has been passed on.
    pub(super) fn end_stored(&mut self, over: Over, remains: Remains, sink: &mut impl Sink) {
        let number = over.session.number;
        self.shared.stored.set(over.me, 0);
        self.linger(&over.session.client_id, number);
        if !over.has_shared_away {
            let keys = remains.keys.into_iter().chain(remains.away).collect();
            return self.keep(Change::Ended {
                number,
                subscriptions: over.subscriptions,
                keys,
                received: remains.received,
                sent: remains.sent,
            });
        }
        // What was in memory has been passed on in this very batch, and must not be once more after a crash.
        let session = number;
        let gone = remains.keys.into_iter().map(|key| Change::Done { key });
        let released = remains.received.into_iter();
        let completed = remains.sent.into_iter();
        let gone = gone
            .chain(released.map(|id| Change::Released { session, id }))
            .chain(completed.map(|id| Change::Completed { session, id }));
        gone.for_each(|change| self.keep(change));
        self.keep(Change::Session(over.session.clone()));
        let ended = Change::Ended {
            number,
            subscriptions: over.subscriptions,
            keys: remains.away.clone(),
            received: Vec::new(),
            sent: Vec::new(),
        };
        let passing = Passing {
            me: over.me,
            over: Some(over.session),
            left: remains.away.into(),
            ended,
            lost: 0,
        };
        self.go_on_passing(number, passing, sink);
    }
}
