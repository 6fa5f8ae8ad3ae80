//! Messages that come: new or repeated, and acknowledged in their order once they were taken.

use bytes::Bytes;
use martlet_codec::packet::PacketType;
use martlet_codec::{Ack, Delivery, Packet, PacketId, Publish, ReasonCode, Violation};
use martlet_session::{AckKind, Arrival, Owed, Resolved, Speech, Ticket};

use super::store::StoreOp;
use super::{Engine, Event, Phase, Unacked};
use crate::error::Rejected;
use crate::message::Incoming;
use crate::policy::Acknowledge;

/// Where messages go.
pub trait Inbox {
    /// A message came. Returns what to acknowledge at once, because nobody will take it.
    fn message(&mut self, now_ms: u64, message: Incoming, unacked: Option<Unacked>) -> Option<Unacked>;
}

impl Engine {
    pub(super) fn publish_came(
        &mut self,
        publish: &Publish<'_>,
        inbox: &mut Option<&mut dyn Inbox>,
    ) -> Result<(), Violation> {
        let topic = match self.aliases_in.resolve(publish.address)? {
            Resolved::Named(topic) => self.names.own(topic),
            Resolved::Known(topic) => topic,
        };
        let unacked = match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(id) => {
                self.received.publish_qos1(self.receive_maximum)?;
                Some(self.owe(AckKind::PubAck, id))
            }
            Delivery::ExactlyOnce(id) => match self.received.publish_qos2(id, self.receive_maximum)? {
                Arrival::New => {
                    let unacked = self.owe(AckKind::PubRec, id);
                    self.untaken.insert(id, unacked.ticket);
                    Some(unacked)
                }
                // The application has it, or it waits for the application: the same ticket counts.
                Arrival::Repeat => {
                    let ticket = self.untaken.get(&id).copied();
                    let ticket = ticket.or_else(|| self.is_keeping_received(id));
                    self.received.owe(owed(AckKind::PubRec, id), ticket);
                    self.acknowledge_ready();
                    return Ok(());
                }
            },
        };
        let message = Incoming {
            topic,
            payload: Bytes::copy_from_slice(publish.payload),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.delivery.packet_id(),
            topic_alias: publish.properties.topic_alias(),
            properties: publish.properties.to_buf(),
        };
        self.stats.received += 1;
        let unacked = match (self.options.policy.acknowledge, unacked) {
            (Acknowledge::Arrived, Some(unacked)) => {
                let kept = self.keep_arrived(&message, unacked);
                if kept.is_none() {
                    self.acknowledge(unacked);
                }
                kept
            }
            (_, unacked) => unacked,
        };
        let settled = if self.is_response(&message.topic) {
            self.response_came(message);
            unacked
        } else if let Some(inbox) = inbox {
            inbox.message(self.now_ms, message, unacked)
        } else {
            self.events.push_back(Event::Message { message, unacked });
            None
        };
        if let Some(unacked) = settled {
            self.acknowledge(unacked);
        }
        Ok(())
    }

    fn owe(&mut self, kind: AckKind, id: PacketId) -> Unacked {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.received.owe(owed(kind, id), Some(ticket));
        Unacked {
            ticket,
            packet_id: id,
            kept: 0,
        }
    }

    /// The application has taken the message: its acknowledgement leaves as soon as those before it
    /// have. Of a message that came on an earlier connection nothing is sent: the server sends it again.
    pub fn acknowledge(&mut self, unacked: Unacked) {
        self.settle(unacked, None);
    }

    /// The application refuses the message, for a reason of 0x80 and above that an acknowledgement may
    /// say. Version 3 cannot say it: there the message is acknowledged.
    pub fn refuse(&mut self, unacked: Unacked, reason: ReasonCode) -> Result<(), Rejected> {
        if !may_refuse(reason) {
            return Err(Rejected::Reason { reason });
        }
        let can_say = Speech::of(self.wire.version).properties;
        self.settle(unacked, can_say.then_some(reason));
        Ok(())
    }

    fn settle(&mut self, unacked: Unacked, refusal: Option<ReasonCode>) {
        if unacked.kept != 0 {
            return self.keep(StoreOp::Taken(unacked.kept));
        }
        if self.untaken.get(&unacked.packet_id) == Some(&unacked.ticket) {
            self.untaken.remove(&unacked.packet_id);
            if refusal.is_none() && self.keep_received(unacked.packet_id, unacked.ticket) {
                return;
            }
        }
        self.received.settle(unacked.ticket, refusal);
        self.acknowledge_ready();
    }

    pub(super) fn acknowledge_ready(&mut self) {
        if self.phase != Phase::Online {
            return;
        }
        while let Some(owed) = self.received.next_ready() {
            let ack = Ack::new(owed.id, owed.reason);
            self.wire.packet(&match owed.kind {
                AckKind::PubAck => Packet::PubAck(ack),
                AckKind::PubRec => Packet::PubRec(ack),
                AckKind::PubComp => Packet::PubComp(ack),
            });
        }
    }

    /// PUBCOMP follows at once: its order is not that of the others.
    pub(super) fn pubrel_came(&mut self, ack: &Ack<'_>) {
        let reason = self.received.pubrel(ack.packet_id);
        self.untaken.remove(&ack.packet_id);
        self.complete(ack.packet_id, reason);
    }
}

/// Whether an acknowledgement can say that reason to refuse a message.
pub fn may_refuse(reason: ReasonCode) -> bool {
    reason.is_error() && reason.allowed_in(PacketType::PubAck)
}

fn owed(kind: AckKind, id: PacketId) -> Owed {
    Owed {
        kind,
        id,
        reason: ReasonCode::Success,
    }
}
