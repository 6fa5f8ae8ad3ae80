//! What a client makes of the bytes that come.

use martlet_codec::{
    Ack, Address, ConnAck, Decoded, Delivery, Limits, Packet, Publish, Qos, ReasonCode, SubAck, UnsubAck,
};
use martlet_session::ClientAgreed;

use super::dialogue::{AckOut, message_in};
use super::{Client, Wish};
use crate::history::{Fact, History, Step};

impl Client {
    /// Bytes came.
    pub(crate) fn bytes(&mut self, now_ms: u64, bytes: &[u8], history: &mut History) -> Wish {
        let Some(dialogue) = &mut self.dialogue else {
            return Wish::None;
        };
        dialogue.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut dialogue.unread);
        let version = dialogue.version;
        let mut used = 0;
        while used < unread.len() {
            match Packet::decode(&unread[used..], Some(version), &Limits::NONE) {
                Ok(Decoded::Packet(packet, n)) => {
                    used += n;
                    if self.packet(now_ms, &packet, history) == Wish::Close {
                        return Wish::Close;
                    }
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(fault) => {
                    self.nonsense(
                        format!(
                            "cannot decode {:02x?}: {fault}",
                            &unread[used..][..4.min(unread.len() - used)]
                        ),
                        history,
                    );
                    self.over(history);
                    return Wish::Close;
                }
            }
        }
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.unread.extend_from_slice(&unread[used..]);
            dialogue.send_due(now_ms, self.no, history, &mut self.out);
            dialogue.resend(self.no, &self.session.inflight, history, &mut self.out);
        }
        Wish::None
    }

    fn packet(&mut self, now_ms: u64, packet: &Packet<'_>, history: &mut History) -> Wish {
        match packet {
            Packet::ConnAck(connack) => return self.connack(now_ms, connack, history),
            Packet::Publish(publish) => self.received(now_ms, publish, history),
            Packet::PubAck(ack) => self.acknowledged(Step::PubAck, *ack, history),
            Packet::PubRec(ack) => self.acknowledged(Step::PubRec, *ack, history),
            Packet::PubComp(ack) => self.acknowledged(Step::PubComp, *ack, history),
            Packet::PubRel(ack) => self.released(now_ms, *ack),
            Packet::SubAck(suback) => self.suback(suback, history),
            Packet::UnsubAck(unsuback) => self.unsuback(unsuback, history),
            Packet::PingResp => self.pong(history),
            Packet::Disconnect(disconnect) => {
                let (client, conn) = (self.no, self.conn().unwrap_or_default());
                history.note(Fact::Dismissed {
                    client,
                    conn,
                    reason: disconnect.reason,
                });
                self.over(history);
                return Wish::Close;
            }
            other => self.nonsense(format!("unexpected {:?}", other.packet_type()), history),
        }
        Wish::None
    }

    fn connack(&mut self, now_ms: u64, connack: &ConnAck<'_>, history: &mut History) -> Wish {
        let client = self.no;
        let Some(dialogue) = &mut self.dialogue else {
            return Wish::None;
        };
        let conn = dialogue.conn;
        if connack.reason != ReasonCode::Success {
            history.note(Fact::Refused {
                client,
                conn,
                reason: connack.reason,
            });
            self.over(history);
            self.next_ms = now_ms + self.draws.between(100, 2_000);
            return Wish::Close;
        }
        let agreed = ClientAgreed::read(dialogue.version, connack, self.persona.keep_alive_s);
        dialogue.is_connected = true;
        dialogue.window = agreed.receive_maximum;
        let session_present = agreed.speech.session_present.then_some(connack.session_present);
        history.note(Fact::Connected {
            client,
            conn,
            session_present,
        });
        self.session.must_clean = false;
        if session_present == Some(false) {
            self.give_up(history);
        }
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.to_resend = self.session.inflight.len();
        }
        self.next_ms = self.next_ms.min(now_ms + 20);
        Wish::None
    }

    fn received(&mut self, now_ms: u64, publish: &Publish<'_>, history: &mut History) {
        let ack_ms = now_ms + self.draws.below(self.ack_ms_max() + 1);
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        let topic = match publish.address {
            Address::Name(topic) => topic.as_str().to_owned(),
            Address::Define(topic, alias) => {
                dialogue.aliases.insert(alias.get(), topic.as_str().to_owned());
                topic.as_str().to_owned()
            }
            Address::Alias(alias) => dialogue.aliases.get(&alias.get()).cloned().unwrap_or_default(),
        };
        let (qos, id) = (publish.delivery.qos(), publish.delivery.packet_id());
        let is_new = match publish.delivery {
            Delivery::ExactlyOnce(id) => self.session.unreleased.insert(id.get(), dialogue.conn).is_none(),
            _ => true,
        };
        if let Some(message) = message_in(publish.payload) {
            history.note(Fact::Received {
                client: self.no,
                conn: dialogue.conn,
                message,
                topic,
                qos,
                retain: publish.retain,
                dup: publish.dup,
                id: id.map_or(0, std::num::NonZero::get),
                is_new,
            });
        }
        match (qos, id) {
            (Qos::AtLeastOnce, Some(id)) => dialogue.owe(ack_ms, AckOut::PubAck(id)),
            (Qos::ExactlyOnce, Some(id)) => dialogue.owe(ack_ms, AckOut::PubRec(id)),
            _ => {}
        }
    }

    fn ack_ms_max(&self) -> u64 {
        if self.act == super::Act::Play {
            self.persona.ack_ms_max
        } else {
            0
        }
    }

    fn released(&mut self, now_ms: u64, ack: Ack<'_>) {
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        let reason = if self.session.unreleased.remove(&ack.packet_id.get()).is_some() {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        dialogue.owe(now_ms, AckOut::PubComp(ack.packet_id, reason));
    }

    fn acknowledged(&mut self, step: Step, ack: Ack<'_>, history: &mut History) {
        let (client, conn) = (self.no, self.conn().unwrap_or_default());
        let id = ack.packet_id;
        let Some(outgoing) = self.session.find(id) else {
            return self.nonsense(format!("{step:?} of {id}, which is not under way"), history);
        };
        let is_right = match step {
            Step::PubAck => outgoing.qos == Qos::AtLeastOnce,
            Step::PubRec => outgoing.qos == Qos::ExactlyOnce,
            Step::PubComp => outgoing.qos == Qos::ExactlyOnce && outgoing.is_released,
        };
        let message = outgoing.message;
        if !is_right {
            return self.nonsense(format!("{step:?} of {id}, which is at another step"), history);
        }
        history.note(Fact::Acknowledged {
            client,
            conn,
            message,
            step,
            reason: ack.reason,
        });
        if step == Step::PubRec && !ack.reason.is_error() {
            outgoing.is_released = true;
            if let Some(dialogue) = &self.dialogue {
                let release = Packet::PubRel(Ack::new(id, ReasonCode::Success));
                release.encode(dialogue.version, &mut self.out);
            }
            return;
        }
        self.session.finish(id);
    }

    fn suback(&mut self, suback: &SubAck<'_>, history: &mut History) {
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        let Some(filter) = dialogue.answered(suback.packet_id) else {
            return self.nonsense("SUBACK that nobody waits for".to_owned(), history);
        };
        let reason = suback.reasons.iter().next().unwrap_or(ReasonCode::Unspecified);
        history.note(Fact::Subscribed {
            client: self.no,
            conn: dialogue.conn,
            filter: filter.clone(),
            reason,
        });
        if !reason.is_error() {
            self.session.subscribed.insert(filter);
        }
        // What is retained stands behind SUBACK; the answer to this stands behind both.
        if self.persona.reads {
            Packet::PingReq.encode(dialogue.version, &mut self.out);
        }
    }

    fn unsuback(&mut self, unsuback: &UnsubAck<'_>, history: &mut History) {
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        let Some(filter) = dialogue.answered(unsuback.packet_id) else {
            return self.nonsense("UNSUBACK that nobody waits for".to_owned(), history);
        };
        let is_gone = unsuback.reasons.iter().all(|reason| !reason.is_error());
        if is_gone {
            self.session.subscribed.remove(&filter);
        }
        history.note(Fact::Unsubscribed {
            client: self.no,
            conn: dialogue.conn,
            filter,
            is_gone,
        });
    }

    fn pong(&mut self, history: &mut History) {
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        if self.persona.reads && !self.session.subscribed.is_empty() && !dialogue.has_read {
            dialogue.has_read = true;
            history.note(Fact::Read {
                client: self.no,
                conn: dialogue.conn,
            });
        }
    }

    fn nonsense(&mut self, what: String, history: &mut History) {
        let (client, conn) = (self.no, self.conn().unwrap_or_default());
        history.note(Fact::Nonsense { client, conn, what });
    }
}
