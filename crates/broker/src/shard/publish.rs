//! PUBLISH: from a client to everybody who asked for it.

use std::sync::Arc;

use martlet_codec::{Delivery, PacketId, Publish, Qos, ReasonCode, Topic, Violation};
use martlet_session::{AckKind, Arrival, Message, MessageView, Now, Offer, Owed, Ticket, handshake, message};

use super::commit::Pending;
use super::held::Parked;
use super::incoming::{Flow, grouped};
use super::keep::{Addressed, NUMBERS_AHEAD};
use super::{Shard, Sink};
use crate::connection::{ClientId, ConnId};
use crate::event::{Ending, Event};
use crate::reason::Reason;
use crate::retained::{Changed, SetOutcome};
use crate::router::{Member, Route, SessionRef};
use crate::store::{Batch, Change, Durability};

/// Who publishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publisher<'a> {
    pub(super) conn: ConnId,
    /// The index of its session.
    pub(super) session: u32,
    pub(super) client_id: &'a ClientId,
}

impl Shard {
    /// Handles a PUBLISH. `last` is where the last one of this client went; the route of this one is
    /// returned if it is another.
    pub(super) fn publish(
        &mut self,
        now: Now,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        last: Option<&Arc<Route>>,
        sink: &mut impl Sink,
    ) -> (Flow, Option<Arc<Route>>) {
        let link = self.sessions.get_mut(from.session).session.link.as_mut();
        let link = link.expect("packets come over a link");
        let resolved = check(publish, link.agreed.qos_max, link.agreed.retain_available)
            .and_then(|()| link.resolve(publish.address));
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(violation) => return (self.violation(now, from.conn, violation, sink), None),
        };
        let topic = resolved.as_topic();
        let holds = |route: &&Arc<Route>| {
            route.topic().as_topic() == topic && route.is_current(&self.shared.generations)
        };
        let (route, found);
        if let Some(last) = last.filter(holds) {
            (route, found) = (last, None);
        } else {
            found = Some(self.routes.find(topic, &self.shared));
            route = found.as_ref().expect("it was just found");
        }
        let flow = self.publish_on(now, from, publish, topic, route, sink);
        (flow, found)
    }

    /// The client has more under way than it may, and is let: each such message is counted, the first told.
    fn exceeds_receive_maximum(&mut self, from: &Publisher<'_>, sink: &mut impl Sink) {
        self.counters().count(Reason::ReceiveMaximum, 1);
        let peer = self.connections[from.conn.index as usize].peer;
        let link = self.sessions.get_mut(from.session).session.link.as_mut();
        let link = link.expect("packets come over a link");
        if !std::mem::replace(&mut link.is_warned, true) {
            sink.event(Event::ReceiveMaximumExceeded {
                client_id: from.client_id,
                peer,
                receive_maximum: link.agreed.receive_maximum,
            });
        }
    }

    fn violation(&mut self, now: Now, conn: ConnId, violation: Violation, sink: &mut impl Sink) -> Flow {
        self.end(now, conn, Ending::Violation(violation), None, sink);
        Flow::Stop
    }

    fn publish_on(
        &mut self,
        now: Now,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        topic: Topic<'_>,
        route: &Arc<Route>,
        sink: &mut impl Sink,
    ) -> Flow {
        // A full shard parks the publisher, with its packet untouched; QoS 0 is dropped there instead.
        if publish.delivery != Delivery::AtMostOnce
            && (self.must_park(route, sink) || (self.keeps && !self.store.has_room()))
        {
            self.parked.push(from.conn);
            self.connections[from.conn.index as usize].waits = true;
            return Flow::Wait;
        }
        let counters = &self.shared.counters[usize::from(self.index)];
        counters.publish_received.add(1);
        counters.publish_bytes_received.add(publish.payload.len() as u64);
        let session = &mut self.sessions.get_mut(from.session).session;
        let arrival = session.arrived(publish.delivery);
        if publish.delivery != Delivery::AtMostOnce && session.exceeds_receive_maximum() {
            self.exceeds_receive_maximum(from, sink);
        }
        match arrival {
            Ok(Arrival::New) => {}
            Ok(Arrival::Repeat) => {
                let id = publish.delivery.packet_id().expect("only QoS 2 is repeated");
                let owed = Owed {
                    kind: AckKind::PubRec,
                    id,
                    reason: ReasonCode::Success,
                };
                return self.owe(now, from.conn, from.session, owed, None, sink);
            }
            Err(violation) => return self.violation(now, from.conn, violation, sink),
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let properties = message::forwarded(publish.properties, &mut scratch);
        let arriving = self
            .arriving
            .as_ref()
            .map(|buffer| buffer.slice_ref(publish.payload));
        let mut view = MessageView::of_publish(publish, topic, properties, Some(from.client_id), now);
        view.shared = arriving.as_ref();
        view.owned_topic = Some(route.topic());
        let flow = match self.refused(from, publish, &view, route) {
            Some(reason) => self.refuse_publish(now, from, publish, &view, reason, sink),
            None => self.accept_publish(now, from, publish, view, route, sink),
        };
        self.scratch = scratch;
        flow
    }

    /// Whether a shard that the message may go to has no room: one with hits, or for a group any.
    fn must_park(&self, route: &Route, sink: &impl Sink) -> bool {
        let is_full = |shard| shard != self.index && !sink.has_room(shard);
        route.shards_but(self.index).any(is_full)
            || (!route.groups().is_empty()
                && (0..self.shared.counters.len()).any(|shard| is_full(shard as u16)))
    }

    /// Why the broker does not take this message.
    fn refused(
        &self,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        view: &MessageView<'_>,
        route: &Route,
    ) -> Option<Reason> {
        let settings = &self.shared.settings;
        if view.topic.is_reserved() && handshake::is_server_topic(view.topic.as_str()) {
            return Some(Reason::ServerTopic);
        }
        if settings
            .payload_bytes_max
            .is_some_and(|max| publish.payload.len() > max as usize)
        {
            return Some(Reason::PayloadTooLarge);
        }
        let says_text = publish
            .properties
            .flag(martlet_codec::PropertyId::PayloadFormatIndicator)
            == Some(true);
        if settings.payload_format_check && says_text && std::str::from_utf8(publish.payload).is_err() {
            return Some(Reason::PayloadFormat);
        }
        // What nobody wants needs no room.
        if publish.delivery != Delivery::AtMostOnce && !route.is_empty() && self.shared.queues_are_full() {
            return Some(Reason::QueuesFull);
        }
        // Before those who are not stored have got it: each time that it is sent again they would get it once more.
        if self.keeps && self.store.refuses() && self.must_be_kept(from, publish, view, route) {
            return Some(Reason::StoreFailed);
        }
        None
    }

    /// Apart from the way of the many that are taken.
    #[cold]
    fn refuse_publish(
        &mut self,
        now: Now,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        view: &MessageView<'_>,
        reason: Reason,
        sink: &mut impl Sink,
    ) -> Flow {
        self.counters().count(reason, 1);
        sink.event(Event::Dropped {
            client_id: Some(from.client_id),
            topic: Some(view.topic.as_str()),
            reason,
            count: 1,
        });
        let Some(owed) = acknowledgement(publish.delivery, reason.code()) else {
            return Flow::Next;
        };
        let limit = self.shared.settings.payload_bytes_max;
        let session = &mut self.sessions.get_mut(from.session).session;
        match (reason, limit) {
            (Reason::PayloadTooLarge, Some(limit)) => {
                let (bytes, limit) = (grouped(publish.payload.len()), grouped(limit as usize));
                let text = format!("payload is {bytes} bytes, limit is {limit} (message_size_limit)");
                session.explain(owed, &text);
            }
            _ => session.explain(owed, reason.text()),
        }
        self.owe(now, from.conn, from.session, owed, None, sink)
    }

    fn accept_publish(
        &mut self,
        now: Now,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        view: MessageView<'_>,
        route: &Arc<Route>,
        sink: &mut impl Sink,
    ) -> Flow {
        let mut offer = Offer::new(view);
        let publisher = self.sessions.get(from.session).me;
        if publish.retain && self.keeps && view.qos != Qos::AtMostOnce && !view.payload.is_empty() {
            // The retained message and the stored one are the same.
            offer.store_as(self.shared.take_numbers(NUMBERS_AHEAD));
        }
        let retained = match publish.retain.then(|| self.retain(now, &mut offer, self.keeps)) {
            Some(Err(reason)) => return self.refuse_publish(now, from, publish, &view, reason, sink),
            Some(Ok(retained)) => retained,
            None => None,
        };
        // A retained message is set before it is matched: who subscribes meanwhile gets one of the two.
        let found = (publish.retain && !route.is_current(&self.shared.generations))
            .then(|| self.routes.find(view.topic, &self.shared));
        let route = found.as_ref().unwrap_or(route);
        let (mut ticket, mut chosen) = (None, Vec::new());
        if self.keeps && (retained.is_some() || self.may_be_kept(from, publish, route)) {
            (ticket, chosen) = self.keep_publish(now, from, publish, &mut offer, route, retained);
        }
        let reason = if has_recipient(route, publisher) {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        let Some(owed) = acknowledgement(publish.delivery, reason) else {
            self.deliver(now, &mut offer, route, Some(publisher), &chosen, sink);
            return Flow::Next;
        };
        if owed.kind == AckKind::PubAck {
            self.deliver(now, &mut offer, route, Some(publisher), &chosen, sink);
            let durability = self.durability_of(from.conn);
            if ticket.is_none() && durability != Durability::None && self.has_addressed_again() {
                // A member of a group that is stored got what was chosen for one that is not.
                let again = self.loose_ticket(durability);
                self.pending
                    .entry(again)
                    .or_insert(Pending::Ack { session: publisher });
                ticket = Some(again);
            }
            return self.owe(now, from.conn, from.session, owed, ticket, sink);
        }
        // PUBREC takes ownership, so it is routed now [MQTT5-4.3.3-8], or once it is durable.
        let flow = self.owe(now, from.conn, from.session, owed, ticket, sink);
        if ticket.is_none() && !self.held.holds(publisher) {
            self.deliver(now, &mut offer, route, Some(publisher), &chosen, sink);
            return flow;
        }
        let parked = Parked {
            message: offer.keep(),
            route: Arc::clone(route),
            chosen,
        };
        match ticket {
            None => self.held.push_behind(publisher, parked),
            Some(ticket) => {
                self.held.push(publisher, ticket, parked);
                self.pending.insert(ticket, Pending::Publish { publisher });
            }
        }
        flow
    }

    /// Whether anything of a message may have to survive. Most messages go to nobody who is stored.
    #[inline]
    fn may_be_kept(&self, from: &Publisher<'_>, publish: &Publish<'_>, route: &Route) -> bool {
        let is_identifier_kept = match publish.delivery {
            Delivery::AtMostOnce => return false,
            Delivery::AtLeastOnce(_) => false,
            Delivery::ExactlyOnce(_) => self.sessions.get(from.session).session.number != 0,
        };
        is_identifier_kept
            || !route.groups().is_empty()
            || route
                .hits()
                .iter()
                .any(|hit| self.shared.stored.get(hit.session) != 0)
    }

    /// Whether something of a message must survive, whoever a group chooses.
    #[cold]
    fn must_be_kept(
        &self,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        view: &MessageView<'_>,
        route: &Route,
    ) -> bool {
        let slot = self.sessions.get(from.session);
        let is_identifier_kept = match publish.delivery {
            Delivery::AtMostOnce => return false,
            Delivery::AtLeastOnce(_) => false,
            Delivery::ExactlyOnce(_) => slot.session.number != 0,
        };
        if self.durability_of(from.conn) == Durability::None {
            return false; // nothing is promised there
        }
        let is_retained = publish.retain && !publish.payload.is_empty();
        is_identifier_kept || is_retained || self.has_stored(view, route, Some(slot.me))
    }

    /// Submits what must survive of a message; what its acknowledgement waits for, and the members that groups chose.
    fn keep_publish(
        &mut self,
        now: Now,
        from: &Publisher<'_>,
        publish: &Publish<'_>,
        offer: &mut Offer<'_>,
        route: &Route,
        retained: Option<(u64, Change)>,
    ) -> (Option<Ticket>, Vec<Option<Member>>) {
        let slot = self.sessions.get(from.session);
        let (publisher, session) = (slot.me, slot.session.number);
        let Addressed { recipients, chosen } = self.address(now, offer, route, Some(publisher));
        let received = match publish.delivery {
            Delivery::ExactlyOnce(id) if session != 0 => Some(Change::Received { session, id }),
            _ => None,
        };
        if recipients.is_empty() && received.is_none() && retained.is_none() {
            return (None, chosen);
        }
        let queued = (!recipients.is_empty()).then(|| Change::Queued {
            message: offer.keep(),
            recipients,
        });
        let (version, retained) = retained.unzip();
        let changes: Vec<Change> = queued.into_iter().chain(received).chain(retained).collect();
        let durability = match publish.delivery {
            Delivery::AtMostOnce => Durability::None,
            _ => self.durability_of(from.conn),
        };
        let waits = durability != Durability::None;
        if !waits && version.is_none() {
            let batch = Batch {
                changes,
                ..Batch::default()
            };
            self.store.submit(now, batch);
            return (None, chosen);
        }
        let ticket = self.submit(now, durability, changes);
        if let Some(version) = version {
            self.retaining
                .insert(ticket, (offer.view().topic.into(), version));
        }
        if !waits {
            return (None, chosen);
        }
        self.pending.insert(ticket, Pending::Ack { session: publisher });
        (Some(ticket), chosen)
    }

    /// Sets or clears the retained message of a topic, before the message is matched. What the store must
    /// know of it, with the version of the change. `may_fail`: the change is undone if the store refuses it.
    fn retain(
        &mut self,
        now: Now,
        offer: &mut Offer<'_>,
        may_fail: bool,
    ) -> Result<Option<(u64, Change)>, Reason> {
        let view = *offer.view();
        let retained = &self.shared.retained;
        if view.payload.is_empty() {
            let cleared = retained
                .publish_empty(view.topic, may_fail)
                .filter(|_| self.keeps);
            return Ok(cleared.map(|Changed { version, replaced }| {
                let change = Change::Cleared { versions: replaced };
                (version, change)
            }));
        }
        if !view.may_wait(now) {
            return Ok(None);
        }
        let limit_ms = self
            .shared
            .settings
            .retain_expiry_ms_max
            .map(|ms| now.mono_ms + ms);
        let expires_at_ms = match (view.expires_at_ms, limit_ms) {
            (Some(own), Some(limit)) => Some(own.min(limit)),
            (own, limit) => own.or(limit),
        };
        let (outcome, changed) = retained.publish(view.topic, offer.keep(), expires_at_ms, may_fail);
        match outcome {
            SetOutcome::Full => return Err(Reason::RetainedFull),
            SetOutcome::Older => return Ok(None),
            SetOutcome::Replaced | SetOutcome::Stored => {}
        }
        let Changed { version, replaced } = changed;
        Ok(self.keeps.then(|| {
            let change = Change::Retained {
                message: offer.keep(),
                version,
                expires_at_ms,
                replaces: replaced,
            };
            (version, change)
        }))
    }

    /// A message of the broker itself or a will: set as retained, matched, delivered. Nobody waits for it to be
    /// durable; it is so with all else that this turn changes.
    pub(super) fn publish_message(
        &mut self,
        now: Now,
        message: &Message,
        publisher: Option<SessionRef>,
        sink: &mut impl Sink,
    ) {
        let mut offer = Offer::new(message.view());
        // `$SYS` is not stored.
        let is_stored = self.keeps && message.publisher.is_some();
        if is_stored && message.retain && !message.payload.is_empty() {
            offer.store_as(self.shared.take_numbers(NUMBERS_AHEAD));
        }
        let mut retained = None;
        match message.retain.then(|| self.retain(now, &mut offer, is_stored)) {
            Some(Err(reason)) => {
                self.counters().count(reason, 1);
                let client_id = message.publisher.as_deref();
                sink.event(Event::Dropped {
                    client_id,
                    topic: Some(message.topic.as_str()),
                    reason,
                    count: 1,
                });
            }
            Some(Ok(change)) => retained = change.filter(|_| is_stored),
            None => {}
        }
        let route = self.routes.find(message.topic.as_topic(), &self.shared);
        let addressed = if is_stored {
            self.address(now, &mut offer, &route, publisher)
        } else {
            Addressed::default()
        };
        let queued = (!addressed.recipients.is_empty()).then(|| Change::Queued {
            message: offer.keep(),
            recipients: addressed.recipients,
        });
        if let Some((version, change)) = retained {
            let changes = queued.into_iter().chain([change]).collect();
            let ticket = self.submit(now, Durability::None, changes);
            self.retaining.insert(ticket, (message.topic.clone(), version));
        } else if let Some(queued) = queued {
            self.keep(queued);
        }
        self.deliver(now, &mut offer, &route, publisher, &addressed.chosen, sink);
    }

    /// Owes an acknowledgement to a publisher.
    pub(super) fn owe(
        &mut self,
        now: Now,
        conn: ConnId,
        index: u32,
        owed: Owed,
        ticket: Option<Ticket>,
        sink: &mut impl Sink,
    ) -> Flow {
        let slot = self.sessions.get_mut(index);
        if let Some(link) = &mut slot.session.link {
            link.output.lend_buffer(&mut self.buffers);
        }
        if !slot.session.owe(owed, ticket) {
            self.end(now, conn, Ending::Broker(Reason::CannotTell), None, sink);
            return Flow::Stop;
        }
        let saturated = slot.session.is_saturated();
        self.counters().packets_sent.add(1);
        self.mark_dirty(conn);
        if saturated {
            self.connections[conn.index as usize].waits = true;
            return Flow::Pause;
        }
        Flow::Next
    }

    /// PUBREL came.
    pub(super) fn pubrel(
        &mut self,
        now: Now,
        conn: ConnId,
        index: u32,
        id: PacketId,
        sink: &mut impl Sink,
    ) -> Flow {
        let session = &mut self.sessions.get_mut(index).session;
        let reason = session.released(id);
        let number = session.number;
        let durability = self.durability_of(conn);
        let ticket = if number != 0 && reason == ReasonCode::Success {
            let session = number;
            let ticket = self.submit(now, durability, vec![Change::Released { session, id }]);
            self.pending.insert(
                ticket,
                Pending::Ack {
                    session: self.sessions.get(index).me,
                },
            );
            Some(ticket)
        } else {
            None
        };
        self.owe(
            now,
            conn,
            index,
            Owed {
                kind: AckKind::PubComp,
                id,
                reason,
            },
            ticket,
            sink,
        )
    }
}

/// What a PUBLISH of that QoS is answered with.
fn acknowledgement(delivery: Delivery, reason: ReasonCode) -> Option<Owed> {
    let (kind, id) = match delivery {
        Delivery::AtMostOnce => return None,
        Delivery::AtLeastOnce(id) => (AckKind::PubAck, id),
        Delivery::ExactlyOnce(id) => (AckKind::PubRec, id),
    };
    Some(Owed { kind, id, reason })
}

/// What a client may not publish, whatever the topic.
fn check(publish: &Publish<'_>, qos_max: Qos, retain_available: bool) -> Result<(), Violation> {
    if publish.delivery.qos() > qos_max {
        return Err(Violation::QosNotSupported);
    }
    if publish.retain && !retain_available {
        return Err(Violation::RetainNotSupported);
    }
    if publish.properties.subscription_identifiers().next().is_some() {
        return Err(Violation::SubscriptionIdInPublish);
    }
    Ok(())
}

/// Whether anybody gets what this session publishes.
fn has_recipient(route: &Route, publisher: SessionRef) -> bool {
    !route.groups().is_empty()
        || if route.has_no_local() {
            route.hits_from(publisher).next().is_some()
        } else {
            !route.hits().is_empty()
        }
}
