//! What the engine tells its driver.

use martlet_codec::{FilterBuf, PacketId, ReasonCode, Version};
use martlet_session::Ticket;

use crate::error::{DeliveryError, Lost, Refusal, RequestError};
use crate::event::{Acked, Connected, SubAck, UnsubAck};
use crate::message::Incoming;

/// Names a message or a request that the engine accepted; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a received message whose acknowledgement waits until the application has taken it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unacked {
    pub(super) ticket: Ticket,
    pub(super) packet_id: PacketId,
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
    },
    /// The connection has ended. Write what is left of the output if that goes quickly, and close.
    Lost {
        /// How it ended.
        cause: Lost,
        /// The version in which the next CONNECT asks, where the server left without a word as one that
        /// does not speak this one may do.
        retry_with: Option<Version>,
    },
    /// A message came. It is acknowledged when [`acknowledge`](super::Engine::acknowledge) says that it
    /// was taken.
    Message {
        /// The message.
        message: Incoming,
        /// What to acknowledge; none at QoS 0.
        unacked: Option<Unacked>,
    },
    /// What became of a published message.
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
    /// The session was gone, and the server refused to renew this subscription.
    ResubscribeRefused {
        /// The filter.
        filter: FilterBuf,
        /// Why.
        reason: ReasonCode,
    },
}
