//! What a client keeps beyond its process: the operations for a store, and what they add up to.

use std::collections::{BTreeMap, BTreeSet};

use martlet_codec::{PacketId, Qos};

use super::Token;
use crate::message::{Incoming, Message};

/// Bits of a token that count within one run of a client: the run before it gives out other tokens.
const TOKEN_BITS: u32 = 40;

/// Something that a store keeps. Operations count in the order in which they are handed over: after a crash what is
/// there is a part of them from the first on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOp {
    /// A message of QoS 1 or 2 was accepted. The one operation that a store may refuse.
    Accepted(StoredMessage),
    /// It may be sent from now on.
    Sent(Token),
    /// Its PUBREC has come: the server has it, and PUBLISH is never said again.
    Released(Token),
    /// It has its end. One that is not there, or was refused, is no error.
    Ended(Token),
    /// The application has a message of QoS 2 that came under this identifier.
    Received(PacketId),
    /// Its PUBREL has come.
    Forgotten(PacketId),
    /// The server has begun a new session: no identifier that was received means anything any more.
    SessionLost,
    /// A message that is acknowledged before the application has it; of one of QoS 2 the identifier is received as well.
    Arrived(u64, Incoming),
    /// The application has it.
    Taken(u64),
}

/// A message of QoS 1 or 2 that a store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its name.
    pub token: Token,
    /// Its packet identifier, from the time it is accepted to its end.
    pub packet_id: PacketId,
    /// The message; none once the server has released it.
    pub message: Option<Message>,
    /// Until when it may be sent for the first time, in milliseconds since 1970.
    pub expires_wall_ms: Option<u64>,
    /// How far it is.
    pub stage: Stage,
}

/// How far a message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It was not sent.
    Queued,
    /// It may have been sent.
    Sent,
    /// Its PUBREC has come.
    Released,
}

/// All that a store has of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Which run of the client this is, from 1.
    pub run: u64,
    /// Messages without an end, in the order in which they were accepted.
    pub messages: BTreeMap<Token, StoredMessage>,
    /// Identifiers of messages of QoS 2 that the application has and the server has not released.
    pub received: BTreeSet<PacketId>,
    /// Messages that were acknowledged and that the application has not taken, in the order in which they came.
    pub arrived: BTreeMap<u64, Incoming>,
}

impl Contents {
    /// The same with one operation more. What a store in memory does, and what any other amounts to.
    pub fn apply(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Accepted(message) => drop(self.messages.insert(message.token, message.clone())),
            StoreOp::Sent(token) => {
                if let Some(message) = self.messages.get_mut(token) {
                    message.stage = message.stage.max(Stage::Sent);
                }
            }
            StoreOp::Released(token) => {
                if let Some(message) = self.messages.get_mut(token) {
                    message.stage = Stage::Released;
                    message.message = None;
                    message.expires_wall_ms = None;
                }
            }
            StoreOp::Ended(token) => drop(self.messages.remove(token)),
            StoreOp::Received(id) => drop(self.received.insert(*id)),
            StoreOp::Forgotten(id) => drop(self.received.remove(id)),
            StoreOp::SessionLost => self.received.clear(),
            StoreOp::Arrived(number, message) => {
                self.received.extend(received_with(message));
                self.arrived.insert(*number, message.clone());
            }
            StoreOp::Taken(number) => drop(self.arrived.remove(number)),
        }
    }

    /// The last token of the runs before this one.
    pub(super) const fn token_base(&self) -> u64 {
        self.run << TOKEN_BITS
    }

    /// The run that follows, none of whose tokens is among those of the messages.
    pub fn next_run(&self) -> u64 {
        let newest = self.messages.last_key_value().map_or(0, |(token, _)| token.0);
        self.run.max(newest >> TOKEN_BITS) + 1
    }
}

/// The identifier that is received when this message is kept.
pub(crate) fn received_with(message: &Incoming) -> Option<PacketId> {
    message.packet_id.filter(|_| message.qos == Qos::ExactlyOnce)
}

/// Operations that a store is handed at once.
#[derive(Debug)]
pub struct StoreBatch {
    /// In their order.
    pub ops: Vec<StoreOp>,
    /// The number of the first, counted from the begin of the run.
    pub(super) first: u64,
}
