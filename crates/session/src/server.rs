//! A broker's end of one session: what survives connections, and the link of the one that is up.

mod acks;
mod link;
mod stored;

use std::sync::Arc;

use martlet_codec::{Ack, Delivery, Packet, PacketId, Qos, ReasonCode, Violation};

use self::acks::{can_tell, write_ack};
pub use self::link::Link;
use self::link::Outgoing;
pub use self::stored::Remains;
use crate::Now;
use crate::handshake::Beyond;
use crate::inflight::{Acked, Inflight, Resend};
use crate::limits::{Limits, QueueLimits};
use crate::message::{Key, MessageView, Offer};
use crate::queue::{Queue, Queued};
use crate::received::{AckKind, Arrival, Owed, Received, Ticket};

/// What the subscriptions of one session made of a message.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The highest QoS granted [MQTT5-3.3.4-2].
    pub qos: Qos,
    /// The RETAIN to send.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched [MQTT5-3.3.4-4].
    pub subscription_ids: &'a [u32],
    /// The filter of the shared subscription that it came by.
    pub shared: Option<&'a Arc<str>>,
    /// Sent because of a SUBSCRIBE.
    pub replay: bool,
    /// Its place among the recipients of the message.
    pub at: u32,
}

/// What became of a message for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the output.
    Sent,
    /// It waits in the queue.
    Queued,
    /// It was dropped.
    Dropped(Undelivered),
}

/// Why a message was dropped for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// The queue is full (`drop_new`).
    QueueFull,
    /// QoS 0, and the client does not read what is written to it.
    OutputFull,
    /// Its time was over.
    Expired,
    /// Larger than the client's maximum packet size; counts as delivered [MQTT5-3.1.2-25].
    TooLarge,
    /// The client is away and the message may not wait.
    Away,
}

/// What left or was dropped while a queue was worked off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// PUBLISH packets that were put into the output.
    pub sent: u32,
    /// The bytes of their payloads.
    pub sent_bytes: u64,
    /// Messages that expired while they waited.
    pub expired: u32,
    /// Messages that were too large for the client.
    pub too_large: u32,
}

/// What a step of a stored session changed of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The message is acknowledged, or was dropped.
    Done(Key),
    /// A message of QoS 2 goes out with that identifier, once that is durable.
    Sending(PacketId, Option<Key>),
    /// Its PUBREC came, and its PUBREL goes out once that is durable.
    Releasing(PacketId, Option<Key>),
    /// The identifier is free.
    Completed(PacketId),
}

/// What each step of a turn is given: the time, the limits, and where to count.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The time of the turn.
    pub now: Now,
    /// The limits of sessions.
    pub limits: &'a Limits,
    /// What of the stored messages that wait for this session may be in memory, in bytes.
    pub window_bytes_max: usize,
    /// What left and what was dropped.
    pub tally: &'a mut Tally,
    /// What is to be stored.
    pub effects: &'a mut Vec<Effect>,
}

/// A broker's end of one session.
#[derive(Debug)]
pub struct Session {
    /// The client identifier, under which the session is known [MQTT5-3.1.3-2].
    pub client_id: Arc<str>,
    /// How long it outlives its connection, in seconds.
    pub expiry_s: u32,
    /// The number under which it is stored; 0: it is not.
    pub number: u64,
    /// Messages from the store with numbers up to this one may have been sent before the broker was started.
    pub resent_up_to: u64,
    /// The connection, while there is one.
    pub link: Option<Box<Link>>,
    inflight: Inflight,
    received: Received,
    queue: Queue,
}

impl Session {
    /// A new session.
    pub fn new(client_id: Arc<str>, expiry_s: u32) -> Self {
        Self {
            client_id,
            expiry_s,
            number: 0,
            resent_up_to: 0,
            link: None,
            inflight: Inflight::default(),
            received: Received::default(),
            queue: Queue::default(),
        }
    }

    /// A connection takes the session on. Call `pump` when CONNACK is in the output: what is
    /// unfinished goes out first, then what waits.
    pub fn attach(&mut self, link: Box<Link>, effects: &mut Vec<Effect>) {
        self.inflight.resume(link.agreed.inflight_max);
        self.inflight.hold_unkept(|id, is_released, queued| {
            let key = queued.and_then(Queued::key);
            effects.push(if is_released {
                Effect::Releasing(id, key)
            } else {
                Effect::Sending(id, key)
            });
        });
        self.expiry_s = link.agreed.expiry_s;
        self.link = Some(link);
    }

    /// The connection is gone; its output goes with it.
    pub fn detach(&mut self, limits: &Limits) -> Option<Box<Link>> {
        self.received.disconnect();
        self.queue.drop_transient(limits.queue_qos0);
        self.link.take()
    }

    /// Whether what it is owed must outlive its connection.
    pub fn is_stored(&self) -> bool {
        self.expiry_s > 0
    }

    fn queue_limits(&self, limits: &Limits) -> QueueLimits {
        if self.is_stored() {
            limits.stored_queue
        } else {
            limits.queue
        }
    }

    /// Whether a message of QoS 1 or 2 would be sent at once.
    pub fn is_ready(&self, limits: &Limits) -> bool {
        let has_output = self
            .link
            .as_ref()
            .is_some_and(|link| link.output.len() < limits.output_bytes_max);
        has_output && self.queue.is_empty() && self.inflight.has_room(limits.inflight_bytes_max)
    }

    /// What a message is stored as for this session; none: it is not.
    #[inline]
    fn key(&self, target: &Target<'_>, qos: Qos, number: u64) -> Option<Key> {
        (self.number != 0 && number != 0 && !target.replay && qos != Qos::AtMostOnce)
            .then(|| Key::new(number, target.at))
    }

    /// Whether [`deliver`](Self::deliver) would take a message of QoS 1 or 2 now, and the client its packet.
    pub fn takes(&self, target: &Target<'_>, view: &MessageView<'_>, now: Now, limits: &Limits) -> bool {
        let is_sent = self.is_ready(limits);
        let has_room = is_sent || (view.may_wait(now) && self.queue.has_room(self.queue_limits(limits)));
        let qos = granted(view.qos, target.qos, limits);
        let fits = |link: &Link| link.fits(qos, target, view, now);
        has_room && !view.has_expired(now) && self.link.as_deref().is_none_or(fits)
    }

    /// A message for this session.
    pub fn deliver(&mut self, target: Target<'_>, offer: &mut Offer<'_>, turn: &mut Turn<'_>) -> Delivered {
        let qos = granted(offer.view().qos, target.qos, turn.limits);
        let key = self.key(&target, qos, offer.view().number);
        let delivered = self.deliver_at(qos, key, target, offer, turn);
        if let (Delivered::Dropped(_), Some(key)) = (delivered, key) {
            turn.effects.push(Effect::Done(key));
        }
        delivered
    }

    #[inline]
    fn deliver_at(
        &mut self,
        qos: Qos,
        key: Option<Key>,
        target: Target<'_>,
        offer: &mut Offer<'_>,
        turn: &mut Turn<'_>,
    ) -> Delivered {
        if offer.view().has_expired(turn.now) {
            return Delivered::Dropped(Undelivered::Expired);
        }
        // What came because of a SUBSCRIBE keeps its order: later messages wait behind it.
        let behind = qos == Qos::AtMostOnce && turn.limits.queue_qos0 && !self.queue.is_empty();
        let in_turn = target.replay || behind || self.queue.has_replays();
        let has_output = match &self.link {
            Some(link) => link.output.len() < turn.limits.output_bytes_max,
            None if qos == Qos::AtMostOnce && !turn.limits.queue_qos0 => {
                return Delivered::Dropped(Undelivered::Away);
            }
            None => false,
        };
        if self.link.is_some() && !in_turn {
            if qos == Qos::AtMostOnce {
                if !has_output {
                    return Delivered::Dropped(Undelivered::OutputFull);
                }
                return self.send(qos, target, offer.view(), false, None, turn);
            }
            if has_output && self.queue.is_empty() && self.inflight.has_room(turn.limits.inflight_bytes_max) {
                let kept = self
                    .keeps(target.shared.is_some())
                    .then(|| queued(target, qos, offer));
                return self.send(qos, target, offer.view(), offer.resent, kept, turn);
            }
        }
        if !offer.view().may_wait(turn.now) {
            return Delivered::Dropped(Undelivered::Expired);
        }
        let queue_limits = self.queue_limits(turn.limits);
        let queued = queued(target, qos, offer);
        if !self.queue.push(queued, key, queue_limits, turn.window_bytes_max) {
            return Delivered::Dropped(Undelivered::QueueFull);
        }
        Delivered::Queued
    }

    /// Whether an unfinished message must be kept: for a resend, or for another member of its group.
    fn keeps(&self, shared: bool) -> bool {
        self.is_stored() || self.number != 0 || shared
    }

    /// Sends a message; for QoS 1 and 2 the window has room.
    fn send(
        &mut self,
        qos: Qos,
        target: Target<'_>,
        view: &MessageView<'_>,
        dup: bool,
        kept: Option<Queued>,
        turn: &mut Turn<'_>,
    ) -> Delivered {
        if self.number != 0 && qos == Qos::ExactlyOnce {
            let key = kept.as_ref().and_then(Queued::key);
            let id = self.inflight.send(qos, view.payload.len(), kept);
            self.inflight.hold(id);
            turn.effects.push(Effect::Sending(id, key));
            return Delivered::Sent;
        }
        let link = self.link.as_mut().expect("messages are sent over a link");
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(self.inflight.send(qos, view.payload.len(), kept)),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(self.inflight.send(qos, view.payload.len(), kept)),
        };
        let Target {
            retain,
            subscription_ids,
            ..
        } = target;
        let to = Outgoing {
            dup,
            retain,
            delivery,
            subscription_ids,
        };
        if !link.publish(&to, view, turn) {
            if let Some(id) = delivery.packet_id() {
                self.inflight.forget(id);
            }
            return Delivered::Dropped(Undelivered::TooLarge);
        }
        Delivered::Sent
    }

    /// Sends what may be sent: first again what is unfinished, then what waits, as long as the window
    /// and the output have room.
    pub fn pump(&mut self, turn: &mut Turn<'_>) {
        self.resend(turn);
        while let Some(link) = &self.link {
            if link.output.len() >= turn.limits.output_bytes_max {
                return;
            }
            let Some(front) = self.queue.front() else { return };
            if front.qos != Qos::AtMostOnce && !self.inflight.has_room(turn.limits.inflight_bytes_max) {
                return;
            }
            let item = self.queue.pop().expect("there is a front");
            let key = item.key().filter(|_| self.number != 0);
            if item.message.view().has_expired(turn.now) {
                turn.tally.expired += 1;
            } else if self.send_queued(item, turn) == Delivered::Dropped(Undelivered::TooLarge) {
                turn.tally.too_large += 1;
            } else {
                continue;
            }
            turn.effects.extend(key.map(Effect::Done));
        }
    }

    fn send_queued(&mut self, item: Queued, turn: &mut Turn<'_>) -> Delivered {
        let message = Arc::clone(&item.message);
        let qos = item.qos;
        let (retain, replay, at) = (item.retain, item.replay, item.at);
        let dup = item.resent && qos != Qos::AtMostOnce;
        let (kept, ids) = if qos != Qos::AtMostOnce && self.keeps(item.shared.is_some()) {
            let ids = item.subscription_ids.clone();
            (Some(item), ids)
        } else {
            (None, item.subscription_ids)
        };
        let target = Target {
            qos,
            retain,
            subscription_ids: &ids,
            shared: None,
            replay,
            at,
        };
        self.send(qos, target, &message.view(), dup, kept, turn)
    }

    /// [MQTT5-4.4.0-1]: old identifiers, old order, before anything new. What was sent once never
    /// expires.
    fn resend(&mut self, turn: &mut Turn<'_>) {
        let Some(link) = &mut self.link else { return };
        let mut too_large = Vec::new();
        while let Some(resend) = self.inflight.next_resend() {
            match resend {
                Resend::Release(id) => link.answer(&Packet::PubRel(Ack::new(id, ReasonCode::Success))),
                Resend::Publish(id, kept) => {
                    let delivery = match kept.qos {
                        Qos::ExactlyOnce => Delivery::ExactlyOnce(id),
                        _ => Delivery::AtLeastOnce(id),
                    };
                    let to = Outgoing {
                        dup: true,
                        retain: kept.retain,
                        delivery,
                        subscription_ids: &kept.subscription_ids,
                    };
                    if !link.publish(&to, &kept.message.view(), turn) {
                        too_large.push(id);
                    }
                }
            }
        }
        if too_large.is_empty() {
            return;
        }
        for id in too_large {
            self.forget(id, turn);
        }
        self.resend(turn);
    }

    /// A message cannot be sent to this client: it counts as delivered.
    fn forget(&mut self, id: PacketId, turn: &mut Turn<'_>) {
        turn.tally.too_large += 1;
        let Some(queued) = self.inflight.forget(id).filter(|_| self.number != 0) else {
            return;
        };
        turn.effects.extend(queued.key().map(Effect::Done));
        if queued.qos == Qos::ExactlyOnce {
            turn.effects.push(Effect::Completed(id));
        }
    }

    /// PUBACK, PUBREC or PUBCOMP came for a message that we sent. Call `pump` after it: there may be room.
    pub fn acknowledged(&mut self, packet: &Packet<'_>, effects: &mut Vec<Effect>) -> Result<(), Violation> {
        match packet {
            Packet::PubAck(ack) => match self.inflight.puback(ack.packet_id) {
                Acked::Wrong => return Err(Violation::WrongAck),
                Acked::Finished(queued) => self.done(queued, effects),
                Acked::Release(_) | Acked::Unknown => {}
            },
            Packet::PubComp(ack) => match self.inflight.pubcomp(ack.packet_id) {
                Acked::Wrong => return Err(Violation::WrongAck),
                Acked::Finished(_) if self.number != 0 => effects.push(Effect::Completed(ack.packet_id)),
                Acked::Finished(_) | Acked::Release(_) | Acked::Unknown => {}
            },
            Packet::PubRec(ack) => return self.pubrec(ack, effects),
            _ => return Err(Violation::Direction),
        }
        Ok(())
    }

    fn done(&self, queued: Option<Queued>, effects: &mut Vec<Effect>) {
        if self.number != 0 {
            effects.extend(queued.and_then(|queued| queued.key()).map(Effect::Done));
        }
    }

    fn pubrec(&mut self, ack: &Ack<'_>, effects: &mut Vec<Effect>) -> Result<(), Violation> {
        let id = ack.packet_id;
        let reason = match self.inflight.pubrec(id, ack.reason) {
            Acked::Wrong => return Err(Violation::WrongAck),
            Acked::Finished(queued) => {
                self.done(queued, effects);
                if self.number != 0 {
                    effects.push(Effect::Completed(id));
                }
                return Ok(());
            }
            Acked::Release(Some(queued)) if self.number != 0 => {
                // The message must not be sent again, also after a restart, once its PUBREL has left.
                effects.push(Effect::Releasing(id, queued.key()));
                self.inflight.hold_release(id, queued);
                return Ok(());
            }
            Acked::Release(_) if self.inflight.is_held(id) => return Ok(()),
            Acked::Release(_) => ReasonCode::Success,
            // A PUBREC of 0x80 and above ends the exchange, whether we know of it or not.
            Acked::Unknown if ack.reason.is_error() => return Ok(()),
            Acked::Unknown => ReasonCode::PacketIdentifierNotFound,
        };
        if let Some(link) = &mut self.link {
            link.answer(&Packet::PubRel(Ack::new(id, reason)));
        }
        Ok(())
    }

    /// A PUBLISH of QoS 1 or 2 came: whether it is new. It takes a slot of our receive maximum.
    pub fn arrived(&mut self, delivery: Delivery) -> Result<Arrival, Violation> {
        let Some(link) = &self.link else {
            return Ok(Arrival::New);
        };
        let max = match link.agreed.beyond_receive_maximum {
            Beyond::Ended => link.agreed.receive_maximum,
            Beyond::Unread | Beyond::Warned => u16::MAX,
        };
        match delivery {
            Delivery::AtMostOnce => Ok(Arrival::New),
            Delivery::AtLeastOnce(_) => self.received.publish_qos1(max).map(|()| Arrival::New),
            Delivery::ExactlyOnce(id) => self.received.publish_qos2(id, max),
        }
    }

    /// PUBREL came: releases the identifier; the reason of the PUBCOMP that is owed.
    pub fn released(&mut self, id: PacketId) -> ReasonCode {
        self.received.pubrel(id)
    }

    /// The reason string of an acknowledgement that is owed next, for a client that wants it [MQTT5-3.1.2-29].
    pub fn explain(&mut self, owed: Owed, text: &str) {
        if let Some(link) = &mut self.link
            && link.agreed.can_refuse_publish
            && link.agreed.problem_information
        {
            link.words.push((owed, text.into()));
        }
    }

    /// Owes an acknowledgement; it leaves when its commit has ended and all before it have left.
    /// `false`: the client cannot be told what it says, and must be closed.
    #[must_use]
    pub fn owe(&mut self, owed: Owed, ticket: Option<Ticket>) -> bool {
        if ticket.is_none() && self.received.owes_nothing() {
            self.received.sent(owed);
            return self.link.as_mut().is_none_or(|link| write_ack(link, owed));
        }
        if let Some(link) = &mut self.link {
            link.is_refused |= !can_tell(link, owed);
        }
        self.received.owe(owed, ticket);
        self.flush_acks()
    }

    /// How many messages of the client wait for that commit: PUBCOMP is for none.
    pub fn owes_for_messages(&self, ticket: Ticket) -> usize {
        let owed = self.received.owed_on(ticket);
        owed.filter(|owed| owed.kind != AckKind::PubComp).count()
    }

    /// A commit ended, badly with that reason and its words. `false` as of `owe`.
    #[must_use]
    pub fn settle(&mut self, ticket: Ticket, failure: Option<(ReasonCode, &str)>) -> bool {
        if let Some((reason, text)) = failure {
            let refused: Vec<Owed> = self.received.owed_on(ticket).collect();
            for owed in refused {
                self.explain(Owed { reason, ..owed }, text);
            }
        }
        let failure = failure.map(|(reason, _)| reason);
        !self.received.settle(ticket, failure) || self.flush_acks()
    }

    fn flush_acks(&mut self) -> bool {
        let Some(link) = &mut self.link else { return true };
        while let Some(owed) = self.received.next_ready() {
            if !write_ack(link, owed) {
                return false;
            }
        }
        true
    }

    /// Whether the client must not be read now: it knows no receive maximum and has used up ours, is only
    /// warned of more and there is more, or is to be closed for what it sent.
    pub fn is_saturated(&self) -> bool {
        let Some(link) = &self.link else { return false };
        if link.is_refused {
            return true;
        }
        let max = usize::from(link.agreed.receive_maximum);
        match link.agreed.beyond_receive_maximum {
            Beyond::Unread => self.received.owed_len() >= max,
            Beyond::Warned => self.received.owed_len() > max,
            Beyond::Ended => false,
        }
    }

    /// Whether the client has more unacknowledged messages than it was told that it may have, and is warned.
    pub fn exceeds_receive_maximum(&self) -> bool {
        self.link.as_ref().is_some_and(|link| {
            link.agreed.beyond_receive_maximum == Beyond::Warned
                && self.received.exceeds(link.agreed.receive_maximum)
        })
    }

    /// Messages in the queue.
    pub fn queued_len(&self) -> usize {
        self.queue.len()
    }

    /// The bytes of the messages in the queue.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether something waits that `pump` could send once there is room: messages in the queue, or what
    /// must be sent again.
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty() || self.inflight.must_resend()
    }

    /// Identifiers of QoS 2 that its client has not released.
    pub fn unreleased_len(&self) -> usize {
        self.received.unreleased_len()
    }
}

/// The QoS that a message is sent at.
#[inline]
pub fn granted(published: Qos, subscribed: Qos, limits: &Limits) -> Qos {
    if limits.upgrade_qos {
        subscribed
    } else {
        published.min(subscribed)
    }
}

fn queued(target: Target<'_>, qos: Qos, offer: &mut Offer<'_>) -> Queued {
    Queued {
        message: offer.keep(),
        qos,
        retain: target.retain,
        subscription_ids: target.subscription_ids.into(),
        shared: target.shared.cloned(),
        replay: target.replay,
        resent: offer.resent,
        at: target.at,
    }
}
