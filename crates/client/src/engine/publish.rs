//! Messages on their way to the server: accepted, sent in order within the window, acknowledged.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use martlet_codec::packet::PacketType;
use martlet_codec::{
    Ack, Address, Delivery, Extras, Packet, PacketId, PropertiesBuf, PropertyId, Publish, Qos, ReasonCode,
    Violation,
};
use martlet_session::{Acked as Flowed, ClientAgreed, Resend};

use super::attempts::ms;
use super::outbox::{Pending, size};
use super::request::check_properties;
use super::store::StoreOp;
use super::{Engine, Event, Phase, Token};
use crate::error::{DeliveryError, Lost, PublishError, Rejected};
use crate::event::Acked;
use crate::message::Message;
use crate::policy::Overflow;

/// A message that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its name in [`Event::Published`].
    pub token: Token,
    /// Its packet identifier; none at QoS 0.
    pub packet_id: Option<PacketId>,
}

/// A message of QoS 1 or 2 without an end.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) token: Token,
    bytes: usize,
    pub(super) release: Release,
    /// What its PUBREC said beyond success.
    pubrec: Option<(ReasonCode, PropertiesBuf)>,
    /// Why it cannot be sent again, though it was sent.
    rejected: Option<Box<Rejected>>,
}

/// Whether a store knows that PUBREC has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    /// Not yet; without a store never.
    None,
    /// It was told.
    Asked,
    /// It does.
    Kept,
}

impl Flow {
    /// One of an earlier run.
    pub(super) const fn restored(token: Token, bytes: usize, is_released: bool) -> Self {
        let release = if is_released { Release::Kept } else { Release::None };
        Self {
            token,
            bytes,
            release,
            pubrec: None,
            rejected: None,
        }
    }
}

/// Whether the server takes the message; its size is looked at when it is encoded.
fn check_server(agreed: &ClientAgreed, message: &Message) -> Result<(), Rejected> {
    if message.qos > agreed.qos_max {
        return Err(Rejected::Qos {
            qos: message.qos,
            maximum: agreed.qos_max,
        });
    }
    if message.retain && !agreed.retain_available {
        return Err(Rejected::Retain);
    }
    let properties = message.properties.as_properties();
    if !agreed.speech.properties && !properties.is_empty() {
        return Err(Rejected::NeedsVersion5 {
            what: "properties of a message",
            version: agreed.version,
        });
    }
    Ok(())
}

/// Whether the server takes the topic alias that the message names [MQTT5-3.3.2-8] [MQTT5-3.3.2-9].
fn check_alias(agreed: &ClientAgreed, message: &Message) -> Result<(), Rejected> {
    match message.properties.as_properties().topic_alias() {
        Some(alias) if alias == 0 || alias > agreed.topic_alias_maximum => Err(Rejected::TopicAlias {
            alias,
            maximum: agreed.topic_alias_maximum,
        }),
        _ => Ok(()),
    }
}

/// Whether any server could take it.
fn check(message: &Message) -> Result<(), Rejected> {
    check_properties(&message.properties, PacketType::Publish)?;
    let properties = message.properties.as_properties();
    // [MQTT5-3.3.4-6]
    if properties.get(PropertyId::SubscriptionIdentifier).is_some() {
        return Err(Rejected::Violation(Violation::SubscriptionIdInPublish));
    }
    Ok(())
}

impl Engine {
    /// Accepts a message. It leaves as soon as there is a connection and the window allows; its end is
    /// told by [`Event::Published`]. Where there is no room, [`Overflow`] decides: the message comes back in
    /// [`PublishError::Full`], or it or older ones are dropped.
    pub fn publish(&mut self, now_ms: u64, message: Message) -> Result<Accepted, PublishError> {
        self.now_ms = now_ms;
        self.check_open().map_err(PublishError::Closed)?;
        check(&message)?;
        if let (Phase::Online, Some(agreed)) = (&self.phase, &self.agreed) {
            check_server(agreed, &message)?;
            if self.options.aliases_out_max == 0 {
                check_alias(agreed, &message)?;
            }
            self.wire.fits(self.publish_bytes(&message))?;
        } else if self.refuses_offline() {
            return Err(Rejected::Offline.into());
        } else if self.agreed.is_some() || self.phase == Phase::Connecting {
            // The next connection speaks what this one does.
            let has_properties = !message.properties.as_properties().is_empty();
            self.needs_version_5(has_properties, "properties of a message")?;
        }
        let bytes = size(&message);
        if self.options.outbox.overflow == Overflow::DropOldest {
            self.make_room(bytes);
        }
        if !self.outbox.has_room(&self.options.outbox, bytes) {
            if self.options.outbox.overflow == Overflow::DropNewest {
                return Ok(self.dropped_newest());
            }
            return Err(PublishError::Full(Box::new(message)));
        }
        let packet_id = match message.qos {
            Qos::AtMostOnce => None,
            _ => match self.ids.take() {
                Some(id) => Some(id),
                None => return Err(PublishError::Full(Box::new(message))),
            },
        };
        let token = self.token();
        let time_to_live = message.time_to_live.or(self.options.outbox.time_to_live);
        let expires_ms = time_to_live.map(|time| now_ms.saturating_add(ms(time)));
        if let Some(id) = packet_id {
            let flow = Flow {
                token,
                bytes,
                release: Release::None,
                pubrec: None,
                rejected: None,
            };
            self.flows.insert(id, flow);
            self.keep_accepted(token, id, &message, expires_ms);
        }
        let number = packet_id.unwrap_or_else(|| self.ids.step());
        let pending = Pending {
            token,
            packet_id,
            number,
            message,
        };
        self.outbox.push(pending, expires_ms);
        self.stats.accepted += 1;
        self.pump();
        Ok(Accepted { token, packet_id })
    }

    /// The bytes of the PUBLISH with its full topic name.
    fn publish_bytes(&self, message: &Message) -> usize {
        let delivery = match message.qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            _ => Delivery::AtLeastOnce(PacketId::MIN),
        };
        let publish = Publish {
            dup: false,
            retain: false,
            delivery,
            address: self.manual_address(message),
            properties: message.properties.as_properties(),
            payload: &message.payload,
        };
        publish.encoded_len(self.wire.version, Extras::NONE)
    }

    /// Drops the oldest messages that were not sent, until one of that size fits or none is left.
    fn make_room(&mut self, bytes: usize) {
        if !self.outbox.could_have_room(&self.options.outbox, bytes) {
            return;
        }
        while !self.outbox.has_room(&self.options.outbox, bytes) {
            let Some(oldest) = self.outbox.pop_oldest() else {
                return;
            };
            self.stats.dropped += 1;
            self.unsent(&oldest, DeliveryError::Dropped);
        }
    }

    fn dropped_newest(&mut self) -> Accepted {
        let token = self.token();
        self.stats.dropped += 1;
        self.published(token, Err(DeliveryError::Dropped));
        Accepted {
            token,
            packet_id: None,
        }
    }

    /// Ends the messages that have waited too long to be sent.
    pub(super) fn expire_messages(&mut self) {
        while let Some(pending) = self.outbox.pop_expired(self.now_ms) {
            self.stats.expired += 1;
            self.unsent(&pending, DeliveryError::Expired);
        }
    }

    /// Sends what may be sent: first again what a resumed session left unfinished, then new messages.
    pub(super) fn pump(&mut self) {
        if self.phase != Phase::Online {
            return;
        }
        self.resend();
        while let Some(pending) = self.outbox.pop(self.inflight.has_room(usize::MAX)) {
            if self.is_given_up(pending.token) {
                self.unsent(&pending, DeliveryError::Withdrawn);
            } else {
                self.send(pending);
            }
        }
        self.mark_next();
    }

    fn send(&mut self, pending: Pending) {
        let sent = match self.options.aliases_out_max {
            0 => self.send_as_asked(&pending),
            _ => self.send_short(&pending),
        };
        if let Err(rejected) = sent {
            return self.unsent(&pending, DeliveryError::Rejected(rejected));
        }
        match pending.packet_id {
            None => self.leaving.push_back((self.wire.end(), pending)),
            Some(id) => {
                let payload_bytes = pending.message.payload.len();
                self.inflight
                    .send_as(id, pending.message.qos, payload_bytes, Some(pending));
            }
        }
    }

    /// With the alias that the message names, if it does.
    fn send_as_asked(&mut self, pending: &Pending) -> Result<(), Rejected> {
        let agreed = self.agreed.as_ref().expect("the connection is up");
        let message = &pending.message;
        check_server(agreed, message)?;
        check_alias(agreed, message)?;
        let address = self.manual_address(message);
        let publish = pending.publish(false, address);
        self.wire.publish(&publish, &message.payload, pending.number)?;
        if let Address::Define(_, alias) = address {
            self.aliases_out.insert(alias.get(), message.topic.clone());
        }
        Ok(())
    }

    /// With an alias that is chosen here, where the server takes some.
    fn send_short(&mut self, pending: &Pending) -> Result<(), Rejected> {
        let agreed = self.agreed.as_ref().expect("the connection is up");
        let message = &pending.message;
        check_server(agreed, message)?;
        let topic = message.topic.as_topic();
        // Once it is given out, an alias must reach the server: nothing is given out to what may not fit.
        let longest = pending.publish(false, Address::Define(topic, NonZeroU16::MIN));
        let fits = self
            .wire
            .fits(longest.encoded_len(self.wire.version, Extras::NONE));
        let address = match fits {
            Ok(()) => self.aliases_chosen.address(topic),
            Err(_) => Address::Name(topic),
        };
        let publish = pending.publish(false, address);
        self.wire.publish(&publish, &message.payload, pending.number)
    }

    fn resend(&mut self) {
        let agreed = self.agreed.expect("the connection is up");
        loop {
            let (id, rejected) = match self.inflight.next_resend() {
                None => return,
                Some(Resend::Release(id)) => {
                    if self.keep_release(id) {
                        continue;
                    }
                    self.wire
                        .packet(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
                    continue;
                }
                Some(Resend::Publish(id, pending)) => {
                    // An alias of the old connection means nothing here: the name is sent.
                    let message = &pending.message;
                    let name = Address::Name(message.topic.as_topic());
                    let publish = pending.publish(true, name);
                    let sent = check_server(&agreed, message)
                        .and_then(|()| self.wire.publish(&publish, &message.payload, pending.number));
                    match sent {
                        Ok(()) => {
                            self.stats.resent += 1;
                            continue;
                        }
                        Err(rejected) => (id, rejected),
                    }
                }
            };
            self.cannot_resend(id, rejected);
        }
    }

    /// A message that was sent cannot be sent again. The server may hold the identifier of one of QoS 2, and would take
    /// the next message under it for a repetition: so it is released first, which the server answers in any case.
    fn cannot_resend(&mut self, id: PacketId, rejected: Rejected) {
        if !matches!(self.inflight.pubrec(id, ReasonCode::Success), Flowed::Release(_)) {
            self.inflight.forget(id);
            return self.finish(id, Err(DeliveryError::Rejected(rejected)));
        }
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.rejected = Some(Box::new(rejected));
        }
        if !self.keep_release(id) {
            self.wire
                .packet(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        }
    }

    /// A message that is not sent any more.
    pub(super) fn unsent(&mut self, pending: &Pending, error: DeliveryError) {
        match pending.packet_id {
            Some(id) => self.finish(id, Err(error)),
            None => self.qos0_ended(pending, Err(error)),
        }
    }

    fn qos0_ended(&mut self, pending: &Pending, end: Result<Acked, DeliveryError>) {
        self.outbox.ended(size(&pending.message));
        self.published(pending.token, end);
    }

    /// A message of QoS 1 or 2 has its end.
    fn finish(&mut self, id: PacketId, end: Result<Acked, DeliveryError>) {
        let Some(flow) = self.flows.remove(&id) else {
            return;
        };
        self.ids.free(id);
        self.outbox.ended(flow.bytes);
        self.keep(StoreOp::Ended(flow.token));
        self.published(flow.token, end);
    }

    /// A message has its end: the one place that says so.
    fn published(&mut self, token: Token, end: Result<Acked, DeliveryError>) {
        if end.is_ok() {
            self.stats.delivered += 1;
        }
        let request = self.request_of(token);
        let of_request = request.map(|request| (request, end.clone()));
        self.events.push_back(Event::Published { token, end });
        if let Some((request, end)) = of_request {
            self.request_published(request, end);
        }
    }

    /// The output was written up to `end`: so far messages of QoS 0 have left.
    pub(super) fn left(&mut self, end: u64) {
        while let Some((_, pending)) = self.leaving.pop_front_if(|(at, _)| *at <= end) {
            let acked = Acked {
                packet_id: None,
                reason: ReasonCode::Success,
                properties: PropertiesBuf::new(),
            };
            self.qos0_ended(&pending, Ok(acked));
        }
    }

    /// What lay in the output of the last connection has not left: it goes first on the next.
    pub(super) fn not_left(&mut self) {
        while let Some((_, pending)) = self.leaving.pop_back() {
            self.outbox.push_front(pending);
        }
    }

    /// The connection was lost and the policy keeps nothing: everything ends, in the order of acceptance.
    pub(super) fn fail_messages(&mut self, cause: &Lost) {
        let ends = self.all_unfinished();
        for (token, _) in ends {
            self.keep(StoreOp::Ended(token));
            self.published(token, Err(DeliveryError::ConnectionLost(cause.clone())));
        }
    }

    /// The server has lost the session and the policy publishes nothing again: what was under way ends.
    pub(super) fn fail_inflight(&mut self) {
        let unfinished: Vec<_> = self.inflight.restart().collect();
        for (id, kept) in unfinished {
            match kept {
                Some(_) => self.finish(id, Err(DeliveryError::SessionLost)),
                None => self.finish_qos2(id),
            }
        }
    }

    /// Takes all messages that have no end, in the order of acceptance, with those that were never sent
    /// whole.
    fn all_unfinished(&mut self) -> Vec<(Token, Option<Message>)> {
        self.not_left();
        let mut all: Vec<(Token, Option<Message>)> = Vec::with_capacity(self.outbox.messages());
        while let Some(pending) = self.outbox.pop_oldest() {
            if let Some(id) = pending.packet_id {
                self.flows.remove(&id);
                self.ids.free(id);
            }
            all.push((pending.token, Some(pending.message)));
        }
        let ids = &mut self.ids;
        all.extend(self.flows.drain().map(|(id, flow)| {
            ids.free(id);
            (flow.token, None)
        }));
        all.sort_unstable_by_key(|(token, _)| *token);
        self.inflight.restart().for_each(drop);
        self.outbox.clear();
        all
    }

    /// The server has lost the session: what it may not have is published again as new. Where PUBREC
    /// has come, the message was the server's already.
    pub(super) fn publish_again(&mut self) {
        let unfinished: Vec<_> = self.inflight.restart().collect();
        let mut again = VecDeque::with_capacity(unfinished.len());
        for (id, kept) in unfinished {
            match kept {
                Some(pending) => again.push_back(pending),
                None => self.finish_qos2(id),
            }
        }
        while let Some(pending) = again.pop_back() {
            self.outbox.push_front(pending);
        }
    }

    pub(super) fn puback_came(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        match self.inflight.puback(ack.packet_id) {
            Flowed::Finished(_) => self.finish(ack.packet_id, outcome(ack)),
            Flowed::Wrong => return Err(Violation::WrongAck),
            Flowed::Unknown | Flowed::Release(_) => {}
        }
        Ok(())
    }

    pub(super) fn pubrec_came(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        let reason = match self.inflight.pubrec(ack.packet_id, ack.reason) {
            Flowed::Wrong => return Err(Violation::WrongAck),
            Flowed::Finished(_) => {
                self.finish(ack.packet_id, outcome(ack));
                return Ok(());
            }
            Flowed::Release(_) => {
                if let Some(flow) = self.flows.get_mut(&ack.packet_id)
                    && (ack.reason != ReasonCode::Success || !ack.properties.is_empty())
                {
                    flow.pubrec = Some((ack.reason, ack.properties.to_buf()));
                }
                ReasonCode::Success
            }
            // One of 0x80 and above ends the exchange, whether we know of it or not.
            Flowed::Unknown if ack.reason.is_error() => return Ok(()),
            Flowed::Unknown => ReasonCode::PacketIdentifierNotFound,
        };
        if reason == ReasonCode::Success && self.keep_release(ack.packet_id) {
            return Ok(());
        }
        self.wire.packet(&Packet::PubRel(Ack::new(ack.packet_id, reason)));
        Ok(())
    }

    pub(super) fn pubcomp_came(&mut self, ack: &Ack<'_>) -> Result<(), Violation> {
        match self.inflight.pubcomp(ack.packet_id) {
            // Whatever PUBCOMP says, the message was the server's since PUBREC.
            Flowed::Finished(_) => self.finish_qos2(ack.packet_id),
            Flowed::Wrong => return Err(Violation::WrongAck),
            Flowed::Unknown | Flowed::Release(_) => {}
        }
        Ok(())
    }

    fn finish_qos2(&mut self, id: PacketId) {
        let flow = self.flows.get_mut(&id);
        if let Some(rejected) = flow.and_then(|flow| flow.rejected.take()) {
            return self.finish(id, Err(DeliveryError::Rejected(*rejected)));
        }
        let said = self.flows.get_mut(&id).and_then(|flow| flow.pubrec.take());
        let (reason, properties) = said.unwrap_or((ReasonCode::Success, PropertiesBuf::new()));
        let acked = Acked {
            packet_id: Some(id),
            reason,
            properties,
        };
        self.finish(id, Ok(acked));
    }

    /// Nothing is sent any more: all that has no end ends with `cause`, in the order of acceptance, and
    /// is kept for [`leftover`](Self::leftover).
    pub(super) fn close_messages(&mut self, cause: &Lost) {
        let has_store = self.keeping.is_some();
        for (token, unsent) in self.all_unfinished() {
            match unsent {
                Some(message) if !has_store || message.qos == Qos::AtMostOnce => {
                    self.leftover.unsent.push(message);
                }
                None if !has_store => self.leftover.unacknowledged += 1,
                _ => self.leftover.stored += 1,
            }
            self.published(token, Err(DeliveryError::Closed(cause.clone())));
        }
    }

    /// How the message is addressed on this connection: by the alias that it names, once that is defined.
    fn manual_address<'a>(&self, message: &'a Message) -> Address<'a> {
        let topic = message.topic.as_topic();
        if self.options.aliases_out_max > 0 {
            return Address::Name(topic);
        }
        let alias = message.properties.as_properties().topic_alias();
        match alias.and_then(NonZeroU16::new) {
            None => Address::Name(topic),
            Some(alias) if self.aliases_out.get(&alias.get()) == Some(&message.topic) => {
                Address::Alias(alias)
            }
            Some(alias) => Address::Define(topic, alias),
        }
    }
}

fn outcome(ack: &Ack<'_>) -> Result<Acked, DeliveryError> {
    let acked = Acked {
        packet_id: Some(ack.packet_id),
        reason: ack.reason,
        properties: ack.properties.to_buf(),
    };
    if ack.reason.is_error() {
        Err(DeliveryError::Refused(acked))
    } else {
        Ok(acked)
    }
}
