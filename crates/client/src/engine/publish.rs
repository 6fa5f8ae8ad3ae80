//! Messages on their way to the server: accepted, sent in order within the window, acknowledged.

use std::collections::VecDeque;

use martlet_codec::packet::PacketType;
use martlet_codec::{
    Ack, Address, Delivery, Packet, PacketId, Place, PropertiesBuf, PropertyId, Publish, Qos, ReasonCode,
    TopicBuf, Violation,
};
use martlet_session::{Acked as Flowed, ClientAgreed, Resend};
use std::num::NonZeroU16;

use super::{Engine, Event, Phase, Token};
use crate::error::{DeliveryError, Lost, PublishError, Rejected};
use crate::event::Acked;
use crate::limits;
use crate::message::Message;

/// A message that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its name in [`Event::Published`].
    pub token: Token,
    /// Its packet identifier; none at QoS 0.
    pub packet_id: Option<PacketId>,
}

/// An accepted message that may have to be sent, or sent again.
#[derive(Debug)]
pub(super) struct Pending {
    token: Token,
    packet_id: Option<PacketId>,
    /// What stands for the packet identifier in the log.
    number: PacketId,
    message: Message,
}

impl Pending {
    fn delivery(&self) -> Delivery {
        match (self.message.qos, self.packet_id) {
            (Qos::AtLeastOnce, Some(id)) => Delivery::AtLeastOnce(id),
            (Qos::ExactlyOnce, Some(id)) => Delivery::ExactlyOnce(id),
            _ => Delivery::AtMostOnce,
        }
    }

    fn publish<'a>(&'a self, dup: bool, address: Address<'a>) -> Publish<'a> {
        Publish {
            dup,
            retain: self.message.retain,
            delivery: self.delivery(),
            address,
            properties: self.message.properties.as_properties(),
            payload: &self.message.payload,
        }
    }
}

/// A message of QoS 1 or 2 without an end.
#[derive(Debug)]
pub(super) struct Flow {
    token: Token,
    bytes: usize,
    /// What its PUBREC said beyond success.
    pubrec: Option<(ReasonCode, PropertiesBuf)>,
}

/// Accepted messages that were not sent yet, and the count of all that have no end.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    qos0: VecDeque<Pending>,
    acknowledged: VecDeque<Pending>,
    messages: usize,
    bytes: usize,
}

impl Outbox {
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    /// The next message: the oldest, but QoS 0 does not wait for a window that is full.
    fn pop(&mut self, window_has_room: bool) -> Option<Pending> {
        let token = |queue: &VecDeque<Pending>| queue.front().map(|pending| pending.token);
        match (token(&self.qos0), token(&self.acknowledged)) {
            (Some(zero), Some(other)) if window_has_room && other < zero => self.acknowledged.pop_front(),
            (None, Some(_)) if window_has_room => self.acknowledged.pop_front(),
            _ => self.qos0.pop_front(),
        }
    }

    fn ended(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

fn size(message: &Message) -> usize {
    let properties = message.properties.as_properties().as_bytes();
    message.topic.as_str().len() + properties.len() + message.payload.len()
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
    let place = Place::Packet(PacketType::Publish);
    message.properties.check(place).map_err(Rejected::Violation)?;
    let properties = message.properties.as_properties();
    // [MQTT5-3.3.4-6]
    if properties.get(PropertyId::SubscriptionIdentifier).is_some() {
        return Err(Rejected::Violation(Violation::SubscriptionIdInPublish));
    }
    Ok(())
}

impl Engine {
    /// Accepts a message. It leaves as soon as there is a connection and the window allows; its end is
    /// told by [`Event::Published`]. Where there is no room it comes back in [`PublishError::Full`].
    pub fn publish(&mut self, now_ms: u64, message: Message) -> Result<Accepted, PublishError> {
        self.now_ms = now_ms;
        match &self.phase {
            Phase::Closed(cause) => return Err(PublishError::Closed(cause.clone())),
            Phase::Leaving { .. } => return Err(PublishError::Closed(Lost::ByUs)),
            Phase::Offline | Phase::Connecting | Phase::Online => {}
        }
        check(&message)?;
        if let (Phase::Online, Some(agreed)) = (&self.phase, &self.agreed) {
            check_server(agreed, &message)?;
            check_alias(agreed, &message)?;
            let delivery = match message.qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                _ => Delivery::AtLeastOnce(PacketId::MIN),
            };
            let publish = Publish {
                dup: false,
                retain: false,
                delivery,
                address: address(&self.aliases_out, &message),
                properties: message.properties.as_properties(),
                payload: &message.payload,
            };
            let bytes = publish.encoded_len(self.wire.version, martlet_codec::Extras::NONE);
            self.wire.fits(bytes)?;
        }
        if !self.has_room(size(&message)) {
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
        let bytes = size(&message);
        self.outbox.messages += 1;
        self.outbox.bytes += bytes;
        let pending = Pending {
            token,
            packet_id,
            number: packet_id.unwrap_or_else(|| self.ids.step()),
            message,
        };
        if let Some(id) = packet_id {
            self.outbox.acknowledged.push_back(pending);
            let flow = Flow {
                token,
                bytes,
                pubrec: None,
            };
            self.flows.insert(id, flow);
        } else {
            self.outbox.qos0.push_back(pending);
        }
        self.pump();
        Ok(Accepted { token, packet_id })
    }

    /// Whether a message of that size would be accepted; one always fits an empty outbox.
    fn has_room(&self, bytes: usize) -> bool {
        let messages_max = self
            .options
            .outbox_messages_max
            .clamp(1, limits::OUTBOX_MESSAGES_CEILING);
        self.outbox.messages == 0
            || (self.outbox.messages < messages_max
                && self.outbox.bytes + bytes <= self.options.outbox_bytes_max)
    }

    /// Sends what may be sent: first again what a resumed session left unfinished, then new messages.
    pub(super) fn pump(&mut self) {
        if self.phase != Phase::Online {
            return;
        }
        self.resend();
        while let Some(pending) = self.outbox.pop(self.inflight.has_room(usize::MAX)) {
            self.send(pending);
        }
    }

    fn send(&mut self, pending: Pending) {
        let agreed = self.agreed.as_ref().expect("the connection is up");
        let message = &pending.message;
        let address = address(&self.aliases_out, message);
        let publish = pending.publish(false, address);
        let sent = check_server(agreed, message)
            .and_then(|()| check_alias(agreed, message))
            .and_then(|()| self.wire.publish(&publish, &message.payload, pending.number));
        if let Err(rejected) = sent {
            return self.unsendable(&pending, rejected);
        }
        if let Address::Define(_, alias) = address {
            self.aliases_out.insert(alias.get(), message.topic.clone());
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

    fn resend(&mut self) {
        let agreed = self.agreed.expect("the connection is up");
        loop {
            let (id, rejected) = match self.inflight.next_resend() {
                None => return,
                Some(Resend::Release(id)) => {
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
                        Ok(()) => continue,
                        Err(rejected) => (id, rejected),
                    }
                }
            };
            self.inflight.forget(id);
            self.finish(id, Err(DeliveryError::Rejected(rejected)));
        }
    }

    /// A message that was accepted without a connection, and that this server cannot take.
    fn unsendable(&mut self, pending: &Pending, rejected: Rejected) {
        let end = Err(DeliveryError::Rejected(rejected));
        match pending.packet_id {
            Some(id) => self.finish(id, end),
            None => self.qos0_ended(pending, end),
        }
    }

    fn qos0_ended(&mut self, pending: &Pending, end: Result<Acked, DeliveryError>) {
        self.outbox.ended(size(&pending.message));
        self.events.push_back(Event::Published {
            token: pending.token,
            end,
        });
    }

    /// A message of QoS 1 or 2 has its end.
    fn finish(&mut self, id: PacketId, end: Result<Acked, DeliveryError>) {
        let Some(flow) = self.flows.remove(&id) else {
            return;
        };
        self.ids.free(id);
        self.outbox.ended(flow.bytes);
        self.events.push_back(Event::Published {
            token: flow.token,
            end,
        });
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
            self.outbox.qos0.push_front(pending);
        }
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
            self.outbox.acknowledged.push_front(pending);
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
        let said = self.flows.get_mut(&id).and_then(|flow| flow.pubrec.take());
        let (reason, properties) = said.unwrap_or((ReasonCode::Success, PropertiesBuf::new()));
        let acked = Acked {
            packet_id: Some(id),
            reason,
            properties,
        };
        self.finish(id, Ok(acked));
    }

    /// Nothing is sent any more: all that has no end ends with `cause`, in the order of acceptance.
    pub(super) fn close_messages(&mut self, cause: &Lost) {
        let flows = self.flows.drain().map(|(id, flow)| {
            self.ids.free(id);
            flow.token
        });
        let mut tokens: Vec<Token> = flows.collect();
        tokens.extend(self.leaving.drain(..).map(|(_, pending)| pending.token));
        tokens.extend(self.outbox.qos0.drain(..).map(|pending| pending.token));
        tokens.sort_unstable();
        self.outbox = Outbox::default();
        self.inflight.restart().for_each(drop);
        self.events
            .extend(tokens.into_iter().map(|token| Event::Published {
                token,
                end: Err(DeliveryError::Closed(cause.clone())),
            }));
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

type Aliases = hashbrown::HashMap<u16, TopicBuf, foldhash::fast::FixedState>;

/// How the message is addressed on this connection: by the alias that it names, once that is defined.
fn address<'a>(aliases: &Aliases, message: &'a Message) -> Address<'a> {
    let topic = message.topic.as_topic();
    let alias = message.properties.as_properties().topic_alias();
    match alias.and_then(NonZeroU16::new) {
        None => Address::Name(topic),
        Some(alias) if aliases.get(&alias.get()) == Some(&message.topic) => Address::Alias(alias),
        Some(alias) => Address::Define(topic, alias),
    }
}
