//! The engine's side of a store: what is handed to it, and what waits until it is kept.
//!
//! Operations have numbers. Bytes that promise something leave when the store has kept the operation that they rest on:
//! PUBLISH behind "accepted" and "sent", PUBREL behind "released", PUBREC behind "received", PUBCOMP behind "forgotten".

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{Ack, Packet, PacketId, Qos, ReasonCode};
use martlet_session::{Resend, Ticket};

use super::outbox::{Pending, size};
use super::publish::{Accepted, Flow, Release};
use super::store::{Contents, Stage, StoreBatch, StoreOp, StoredMessage, received_with};
use super::{Engine, Event, Phase, Token, Unacked};
use crate::error::{DeliveryError, Lost, StoreError};
use crate::message::{Incoming, Message};

/// What a client with a store has beyond one without.
#[derive(Debug)]
pub(super) struct Keeping {
    ops: Vec<StoreOp>,
    /// The number of the next operation.
    next: u64,
    /// All operations below it were answered.
    answered: u64,
    /// What each operation without an answer is for.
    waiting: VecDeque<(u64, Then)>,
    /// Messages up to this one were said to be sent.
    marked: Token,
    /// Identifiers of QoS 2 that the application has, on their way to the store.
    received: HashMap<PacketId, Ticket, FixedState>,
    /// The number of the last message that was kept before the application had it.
    arrived: u64,
    /// The wall clock minus the client's clock, in milliseconds.
    wall_ms: u64,
}

/// What follows once an operation is kept.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// Nothing waits for it.
    Nothing,
    /// `publish` says that it is accepted. `may_be_sent`: it may leave as well.
    Accepted { token: Token, may_be_sent: bool },
    /// The message may leave.
    Send(Token),
    /// PUBREL may leave.
    Release(Token, PacketId),
    /// PUBACK or PUBREC may leave; `id`: of QoS 2.
    Acknowledge(Ticket, Option<PacketId>),
    /// PUBCOMP may leave, if this connection is still there.
    Complete(PacketId, ReasonCode, u64),
}

impl Keeping {
    fn push(&mut self, op: StoreOp, then: Then) {
        self.ops.push(op);
        self.waiting.push_back((self.next, then));
        self.next += 1;
    }
}

impl Engine {
    /// Goes on with what a store has of earlier runs, before anything else is done. `wall_ms`: the time of the system's
    /// clock at 0 of the client's, in milliseconds since 1970.
    pub fn restore(&mut self, contents: Contents, wall_ms: u64) {
        let sent = contents
            .messages
            .values()
            .filter(|kept| kept.stage > Stage::Queued);
        let marked = sent.map(|kept| kept.token).max().unwrap_or(Token(0));
        self.last_token = contents.token_base();
        self.outbox.sendable(marked);
        self.keeping = Some(Box::new(Keeping {
            ops: Vec::new(),
            next: 0,
            answered: 0,
            waiting: VecDeque::new(),
            marked,
            received: HashMap::default(),
            arrived: contents.arrived.last_key_value().map_or(0, |(number, _)| *number),
            wall_ms,
        }));
        for kept in contents.messages.into_values().rev().collect::<Vec<_>>() {
            // Damage may bring one back that had its end; its identifier is another's by now.
            if !self.ids.reserve(kept.packet_id) {
                self.keep(StoreOp::Ended(kept.token));
                continue;
            }
            self.restore_message(kept, marked);
        }
        for id in contents.received {
            self.received.restore(id);
        }
        for (number, message) in contents.arrived {
            let unacked = Some(Unacked::kept(number));
            self.events.push_back(Event::Message { message, unacked });
        }
    }

    /// From the newest to the oldest.
    fn restore_message(&mut self, kept: StoredMessage, marked: Token) {
        let (token, id) = (kept.token, kept.packet_id);
        let bytes = kept.message.as_ref().map_or(0, size);
        let is_released = kept.message.is_none();
        self.flows.insert(id, Flow::restored(token, bytes, is_released));
        self.outbox.count(bytes);
        let Some(message) = kept.message else {
            return self.inflight.restore_front(id, Qos::ExactlyOnce, 0, None);
        };
        let (qos, payload_bytes) = (message.qos, message.payload.len());
        let pending = Pending {
            token,
            packet_id: Some(id),
            number: id,
            message,
        };
        if token <= marked {
            return self.inflight.restore_front(id, qos, payload_bytes, Some(pending));
        }
        self.outbox.push_front(pending);
        if let (Some(at_ms), Some(keeping)) = (kept.expires_wall_ms, &self.keeping) {
            self.outbox.expires(at_ms.saturating_sub(keeping.wall_ms), token);
        }
    }

    /// Whether there is a store.
    pub const fn has_store(&self) -> bool {
        self.keeping.is_some()
    }

    /// Whether the store has something to do.
    pub fn has_store_ops(&self) -> bool {
        self.keeping
            .as_ref()
            .is_some_and(|keeping| !keeping.ops.is_empty())
    }

    /// What the store is to keep next. Batches are answered in their order, by [`store_done`](Self::store_done) or
    /// [`store_failed`](Self::store_failed).
    pub fn store_batch(&mut self) -> Option<StoreBatch> {
        let keeping = self.keeping.as_mut()?;
        if keeping.ops.is_empty() {
            return None;
        }
        let ops = std::mem::take(&mut keeping.ops);
        let first = keeping.next - ops.len() as u64;
        Some(StoreBatch { ops, first })
    }

    /// The store has kept a batch, but for the messages, by their places in it, that it has refused.
    pub fn store_done(&mut self, now_ms: u64, batch: &StoreBatch, refused: Vec<(usize, StoreError)>) {
        self.now_ms = now_ms;
        let end = batch.first + batch.ops.len() as u64;
        let mut refused = refused.into_iter().peekable();
        while let Some(keeping) = &mut self.keeping
            && let Some((number, then)) = keeping.waiting.pop_front_if(|(number, _)| *number < end)
        {
            let at = (number - batch.first) as usize;
            let error = refused.next_if(|(place, _)| *place == at).map(|(_, error)| error);
            self.kept(then, error);
        }
        if let Some(keeping) = &mut self.keeping {
            keeping.answered = end;
        }
        self.pump();
    }

    /// The store keeps nothing any more: the client is closed, and nothing that rests on it is acknowledged.
    pub fn store_failed(&mut self, now_ms: u64, error: StoreError) {
        self.now_ms = now_ms;
        let Some(keeping) = &mut self.keeping else {
            return;
        };
        keeping.ops.clear();
        for (_, then) in std::mem::take(&mut keeping.waiting) {
            if let Then::Accepted { token, .. } = then {
                let end = Err(error.clone());
                self.events.push_back(Event::Stored { token, end });
            }
        }
        self.close(&Lost::Store(error));
    }

    /// How many operations were handed over, and how many of them were answered.
    pub fn store_progress(&self) -> (u64, u64) {
        let keeping = self.keeping.as_deref();
        keeping.map_or((0, 0), |keeping| (keeping.next, keeping.answered))
    }

    fn kept(&mut self, then: Then, refused: Option<StoreError>) {
        match then {
            Then::Nothing => {}
            Then::Accepted { token, may_be_sent } => self.kept_message(token, may_be_sent, refused),
            Then::Send(token) => self.outbox.sendable(token),
            Then::Release(token, id) => self.kept_release(token, id),
            Then::Acknowledge(ticket, id) => {
                if let (Some(id), Some(keeping)) = (id, &mut self.keeping)
                    && keeping.received.get(&id) == Some(&ticket)
                {
                    keeping.received.remove(&id);
                }
                self.received.settle(ticket, None);
                self.acknowledge_ready();
            }
            Then::Complete(id, reason, connection) => {
                if self.phase == Phase::Online && connection == self.stats.connections {
                    self.wire.packet(&Packet::PubComp(Ack::new(id, reason)));
                }
            }
        }
    }

    fn kept_message(&mut self, token: Token, may_be_sent: bool, refused: Option<StoreError>) {
        let end = refused.clone().map_or(Ok(()), Err);
        self.events.push_back(Event::Stored { token, end });
        if may_be_sent {
            self.outbox.sendable(token);
        }
        if let Some(error) = refused
            && let Some(pending) = self.outbox.remove(token)
        {
            self.unsent(&pending, DeliveryError::Store(error));
        }
    }

    fn kept_release(&mut self, token: Token, id: PacketId) {
        // The identifier may be another message's by now.
        let Some(flow) = self.flows.get_mut(&id).filter(|flow| flow.token == token) else {
            return;
        };
        flow.release = Release::Kept;
        let goes = matches!(self.inflight.let_go(id), Some(Resend::Release(_)));
        if goes && self.phase == Phase::Online {
            self.wire
                .packet(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        }
    }

    /// Hands an operation to the store that nothing waits for.
    pub(super) fn keep(&mut self, op: StoreOp) {
        if let Some(keeping) = &mut self.keeping {
            keeping.push(op, Then::Nothing);
        }
    }

    /// A message of QoS 1 or 2 was accepted; it is not in the outbox yet.
    pub(super) fn keep_accepted(
        &mut self,
        token: Token,
        packet_id: PacketId,
        message: &Message,
        expires_ms: Option<u64>,
    ) {
        let Some(keeping) = &mut self.keeping else { return };
        // One operation is enough for what leaves at once.
        let may_be_sent = self.phase == Phase::Online
            && self.outbox.are_marked(keeping.marked)
            && self.outbox.unsent_acknowledged() < self.inflight.room();
        let stage = if may_be_sent {
            keeping.marked = token;
            Stage::Sent
        } else {
            Stage::Queued
        };
        let op = StoreOp::Accepted(StoredMessage {
            token,
            packet_id,
            message: Some(message.clone()),
            expires_wall_ms: expires_ms.map(|at_ms| at_ms.saturating_add(keeping.wall_ms)),
            stage,
        });
        keeping.push(op, Then::Accepted { token, may_be_sent });
    }

    /// Says of the messages that are next that they may be sent.
    pub(super) fn mark_next(&mut self) {
        let Some(keeping) = &mut self.keeping else { return };
        if self.outbox.are_marked(keeping.marked) {
            return;
        }
        for token in self.outbox.next_acknowledged(self.inflight.room()) {
            if token > keeping.marked {
                keeping.marked = token;
                keeping.push(StoreOp::Sent(token), Then::Send(token));
            }
        }
    }

    /// Whether PUBREL waits until the store has kept that PUBREC came.
    pub(super) fn keep_release(&mut self, id: PacketId) -> bool {
        let Some(keeping) = &mut self.keeping else {
            return false;
        };
        let Some(flow) = self.flows.get_mut(&id) else {
            return false;
        };
        match flow.release {
            Release::Kept => return false,
            Release::Asked => {}
            Release::None => {
                flow.release = Release::Asked;
                keeping.push(StoreOp::Released(flow.token), Then::Release(flow.token, id));
            }
        }
        self.inflight.hold(id);
        true
    }

    /// Whether PUBREC waits until the store has kept that the application has the message.
    pub(super) fn keep_received(&mut self, id: PacketId, ticket: Ticket) -> bool {
        let Some(keeping) = &mut self.keeping else {
            return false;
        };
        keeping.received.insert(id, ticket);
        keeping.push(StoreOp::Received(id), Then::Acknowledge(ticket, Some(id)));
        true
    }

    /// What the PUBREC of a message that the application has waits for.
    pub(super) fn is_keeping_received(&self, id: PacketId) -> Option<Ticket> {
        self.keeping.as_ref()?.received.get(&id).copied()
    }

    /// PUBREL has come: PUBCOMP, after which the server may use the identifier again, leaves when the store has forgotten
    /// it.
    pub(super) fn complete(&mut self, id: PacketId, reason: ReasonCode) {
        let connection = self.stats.connections;
        let then = Then::Complete(id, reason, connection);
        let Some(keeping) = &mut self.keeping else {
            return self.kept(then, None);
        };
        if reason == ReasonCode::Success {
            keeping.push(StoreOp::Forgotten(id), then);
        } else if let Some(last) = keeping
            .next
            .checked_sub(1)
            .filter(|last| *last >= keeping.answered)
        {
            // It may have been forgotten on the connection before, and not be kept yet.
            keeping.waiting.push_back((last, then));
        } else {
            self.kept(then, None);
        }
    }

    /// The server has a new session.
    pub(super) fn keep_session_lost(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.received.clear();
            keeping.push(StoreOp::SessionLost, Then::Nothing);
        }
    }

    /// Keeps a message that is acknowledged before the application has it. `None`: there is no store.
    pub(super) fn keep_arrived(&mut self, message: &Incoming, unacked: Unacked) -> Option<Unacked> {
        let keeping = self.keeping.as_mut()?;
        keeping.arrived += 1;
        let number = keeping.arrived;
        let received = received_with(message);
        if let Some(id) = received {
            self.untaken.remove(&id);
            keeping.received.insert(id, unacked.ticket);
        }
        let then = Then::Acknowledge(unacked.ticket, received);
        keeping.push(StoreOp::Arrived(number, message.clone()), then);
        Some(Unacked::kept(number))
    }

    /// Accepted messages that have no end yet, in the order in which they were accepted, those of QoS 0 too.
    pub fn pending(&self) -> Vec<crate::event::Pending> {
        let mut all: Vec<crate::event::Pending> = self
            .outbox
            .iter()
            .map(|pending| pending.told(Stage::Queued))
            .chain(
                self.leaving
                    .iter()
                    .map(|(_, pending)| pending.told(Stage::Queued)),
            )
            .collect();
        for (id, kept) in self.inflight.iter() {
            match (kept, self.flows.get(&id)) {
                (Some(pending), _) => all.push(pending.told(Stage::Sent)),
                (None, Some(flow)) => all.push(crate::event::Pending {
                    token: flow.token,
                    packet_id: Some(id),
                    message: None,
                    stage: Stage::Released,
                }),
                (None, None) => {}
            }
        }
        all.sort_unstable_by_key(|pending| pending.token);
        all
    }

    /// The message of that name, if it was accepted and has no end yet.
    pub fn accepted(&self, token: Token) -> Option<Accepted> {
        let found = |packet_id| Accepted { token, packet_id };
        if let Some((id, _)) = self.flows.iter().find(|(_, flow)| flow.token == token) {
            return Some(found(Some(*id)));
        }
        let leaving = self.leaving.iter().map(|(_, pending)| pending);
        let mut qos0 = self.outbox.iter().chain(leaving);
        qos0.any(|pending| pending.token == token).then(|| found(None))
    }
}
