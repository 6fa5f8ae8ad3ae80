//! What the engine tells its driver.

use bytes::Bytes;
use martlet_codec::{FilterBuf, PacketId, ReasonCode, Version};
use martlet_session::Ticket;

use crate::error::{DeliveryError, Lost, Refusal, RequestError, ResponseError, StoreError};
use crate::event::{Acked, Connected, SubAck, UnsubAck};
use crate::message::{Incoming, Message};

/// What a driver does about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Nothing before the deadline or a command.
    Wait,
    /// Make a connection to the server at that place of the list, then call
    /// [`connect`](super::Engine::connect) or [`unreachable`](super::Engine::unreachable).
    Dial {
        /// 0 is the first.
        server: usize,
    },
    /// Move bytes.
    Carry,
    /// Close the connection, if there is one: the client is closed.
    End,
}

/// Accepted messages that had no end when a client was closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Those that were never sent whole, in the order of acceptance: the server has none of them.
    pub unsent: Vec<Message>,
    /// How many of QoS 1 and 2 were sent and not acknowledged: the server may have them or not.
    pub unacknowledged: usize,
    /// How many of QoS 1 and 2 are in the [store](crate::Options::store), sent or not: the next run goes on with them, so
    /// they are not among the others.
    pub stored: usize,
}

/// Numbers of a client since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Attempts to connect.
    pub attempts: u64,
    /// Connections that the server has agreed to.
    pub connections: u64,
    /// Messages that were accepted to be sent.
    pub accepted: u64,
    /// Messages that were acknowledged, or handed to the socket at QoS 0.
    pub delivered: u64,
    /// Messages that were dropped because the outbox was full.
    pub dropped: u64,
    /// Messages that waited too long to be sent.
    pub expired: u64,
    /// Messages that were sent again.
    pub resent: u64,
    /// Messages that came, repetitions of QoS 2 not counted.
    pub received: u64,
    /// Messages without an end at present, and their bytes.
    pub outbox_messages: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
    /// How many of them were not sent yet.
    pub unsent_messages: usize,
}

/// Names a message or a request that the engine accepted; never used twice, with a store not by a later run either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a received message whose acknowledgement waits until the application has taken it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unacked {
    pub(super) ticket: Ticket,
    pub(super) packet_id: PacketId,
    /// What a store calls a message that was acknowledged already; 0: it was not.
    pub(super) kept: u64,
}

impl Unacked {
    /// Of a message that is acknowledged, and that a store has until the application has it.
    pub(super) const fn kept(number: u64) -> Self {
        Self {
            ticket: Ticket(0),
            packet_id: PacketId::MIN,
            kept: number,
        }
    }
}

/// What happened, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server has agreed.
    Connected(Connected),
    /// The server said no. Close the connection; with `retry_with` ask again at once.
    Refused {
        /// What it said.
        refusal: Refusal,
        /// The version in which the next CONNECT asks, where the server does not speak this one.
        retry_with: Option<Version>,
        /// When the next attempt begins; none: the client is closed.
        retry_at_ms: Option<u64>,
    },
    /// The connection has ended, or could not be made. Write what is left of the output if that goes quickly, and close.
    Lost {
        /// How it ended.
        cause: Lost,
        /// The version in which the next CONNECT asks, where the server left without a word as one that
        /// does not speak this one may do.
        retry_with: Option<Version>,
        /// When the next attempt begins; none: the client is closed.
        retry_at_ms: Option<u64>,
    },
    /// The server asks for the next step of the authentication: answer by
    /// [`authenticate`](super::Engine::authenticate).
    Challenge {
        /// The authentication data.
        data: Option<Bytes>,
    },
    /// A re-authentication has succeeded.
    Reauthenticated,
    /// The server has answered a ping.
    Pong,
    /// A message came. It is acknowledged when [`acknowledge`](super::Engine::acknowledge) says that it
    /// was taken.
    Message {
        /// The message.
        message: Incoming,
        /// What to acknowledge; none at QoS 0.
        unacked: Option<Unacked>,
    },
    /// A store has a message, or has refused it: then [`Published`](Self::Published) follows.
    Stored {
        /// Which.
        token: Token,
        /// Whether.
        end: Result<(), StoreError>,
    },
    /// What became of a published message, requests among them.
    Published {
        /// Which.
        token: Token,
        /// What became of it.
        end: Result<Acked, DeliveryError>,
    },
    /// The answer to a SUBSCRIBE.
    Subscribed {
        /// Which.
        token: Token,
        /// The answer.
        end: Result<SubAck, RequestError>,
    },
    /// The answer to an UNSUBSCRIBE.
    Unsubscribed {
        /// Which.
        token: Token,
        /// The answer.
        end: Result<UnsubAck, RequestError>,
    },
    /// What became of a request.
    Responded {
        /// Which.
        token: Token,
        /// The response.
        end: Result<Incoming, ResponseError>,
    },
    /// The session was gone, and the server refused to renew this subscription.
    ResubscribeRefused {
        /// The filter.
        filter: FilterBuf,
        /// Why.
        reason: ReasonCode,
    },
}
