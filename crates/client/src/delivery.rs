//! An accepted message on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use martlet_codec::PacketId;
use tokio::sync::oneshot;

use crate::engine::{Accepted, Token};
use crate::error::{DeliveryError, Lost};
use crate::event::Acked;

/// An accepted message on its way: ready when the server has acknowledged it (QoS 1 and 2) or when it
/// was handed to the socket (QoS 0). An acknowledgement that refuses is [`DeliveryError::Refused`].
///
/// Cancel-safe, and dropping it does not recall the message.
#[derive(Debug)]
#[must_use = "dropping it loses the acknowledgement, not the message: say `drop(..)` where that is meant"]
pub struct Delivery {
    accepted: Accepted,
    end: oneshot::Receiver<Result<Acked, DeliveryError>>,
}

impl Delivery {
    pub(crate) const fn new(
        accepted: Accepted,
        end: oneshot::Receiver<Result<Acked, DeliveryError>>,
    ) -> Self {
        Self { accepted, end }
    }

    /// The packet identifier of the message; `None` at QoS 0, and for one that was dropped at once.
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.accepted.packet_id
    }

    /// Names the message among all that this client has accepted; with a [store](crate::Options::store) among those of all
    /// its runs, see [`Client::delivery`](crate::Client::delivery).
    pub const fn token(&self) -> Token {
        self.accepted.token
    }
}

impl Future for Delivery {
    type Output = Result<Acked, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.end)
            .poll(context)
            .map(|end| end.unwrap_or(Err(DeliveryError::Closed(Lost::ByUs))))
    }
}
