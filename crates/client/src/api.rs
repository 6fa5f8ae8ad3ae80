//! The interface for applications: a client, its messages, its deliveries and its events.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use martlet_codec::{PacketId, PropertiesBuf, ReasonCode};
use tokio::sync::oneshot;

use crate::error::{ConnectError, DeliveryError, Lost, PublishError, RequestError};
use crate::event::{Acked, Connected, Event, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::message::{Incoming, Message};
use crate::options::Options;
use crate::shared::{Handle, Shared};

/// A client. Clones share one connection; when the last clone and the [`Messages`] are dropped, the
/// client disconnects.
///
/// Every future here is cancel-safe: dropped before it is ready, it has either not begun or its effect
/// goes on without it (a SUBSCRIBE that was sent stays sent); it never loses a message or an answer that
/// belongs to somebody else, and the client works on.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    fn shared(&self) -> &Shared {
        &self.handle.0
    }

    /// Connects, and returns when the server has agreed: the client, the messages that come (a resumed
    /// session's included: nothing arrives before there is a place for it), and what was agreed.
    ///
    /// With [`Protocol::Auto`](crate::Protocol) a server that does not speak 5.0 is asked again with
    /// 3.1.1. The first attempt is not repeated otherwise, whatever [`Reconnect`](crate::Reconnect) says.
    ///
    /// Must be called on a tokio runtime with I/O and time; the connection runs there as a task.
    ///
    /// Cancel-safe: dropped before it is ready, there is no connection.
    pub async fn connect(options: Options) -> Result<(Self, Messages, Connected), ConnectError> {
        let (shared, connected) = crate::driver::connect(options).await?;
        let handle = Arc::new(Handle(shared));
        let client = Self {
            handle: Arc::clone(&handle),
        };
        Ok((client, Messages { handle }, connected))
    }

    /// Publishes a message: waits until the client has room for it, and returns a [`Delivery`] to wait
    /// for its acknowledgement with, or to drop.
    ///
    /// Messages leave in the order in which they were accepted. Without a connection they wait for the
    /// next one, if there is to be one.
    ///
    /// Cancel-safe: dropped before it is ready, the message was not accepted.
    pub async fn publish(&self, message: Message) -> Result<Delivery, PublishError> {
        self.shared().publish(message).await
    }

    /// As [`publish`](Self::publish), but where that would wait this gives the message back in
    /// [`PublishError::Full`].
    pub fn try_publish(&self, message: Message) -> Result<Delivery, PublishError> {
        self.shared().try_publish(message)
    }

    /// Subscribes, and returns the server's answer: one code a filter, refusals among them.
    ///
    /// What is granted is renewed after a reconnect to a server that has lost the session.
    ///
    /// Cancel-safe: dropped after it was polled once, the SUBSCRIBE goes out all the same.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<SubAck, RequestError> {
        self.shared().subscribe(subscribe).await
    }

    /// Unsubscribes, and returns the server's answer.
    ///
    /// Cancel-safe: dropped after it was polled once, the UNSUBSCRIBE goes out all the same.
    pub async fn unsubscribe(&self, unsubscribe: Unsubscribe) -> Result<UnsubAck, RequestError> {
        self.shared().unsubscribe(unsubscribe).await
    }

    /// Waits until every message that was accepted so far has left (QoS 0) or is acknowledged.
    ///
    /// Cancel-safe.
    pub async fn flush(&self) -> Result<(), RequestError> {
        self.shared().flush().await
    }

    /// Flushes, then sends DISCONNECT and closes the connection for good. Without a connection the
    /// client is closed at once. Reason and properties are version 5's; a reason other than success
    /// makes the server publish the will.
    ///
    /// Cancel-safe: dropped while it flushes, the client stays connected.
    pub async fn disconnect(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<(), RequestError> {
        self.shared().disconnect(reason, properties).await
    }

    /// As [`disconnect`](Self::disconnect), but waits for no acknowledgement: sends what lies ready,
    /// then DISCONNECT. Returns how many messages are left unacknowledged.
    ///
    /// Cancel-safe: dropped after it was polled once, the client disconnects all the same.
    pub async fn disconnect_now(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<usize, RequestError> {
        self.shared().disconnect_now(reason, properties).await
    }

    /// What happens to the connection from now on.
    pub fn events(&self) -> Events {
        Events {
            receiver: self.shared().events(),
        }
    }

    /// What was agreed with the server last.
    pub fn connected(&self) -> Connected {
        self.shared().connected()
    }

    /// Waits until the client is closed, and says by what: by us, or by the loss of a connection that is
    /// not made again.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Lost {
        self.shared().closed().await
    }
}

/// An accepted message on its way: ready when the server has acknowledged it (QoS 1 and 2) or when it
/// was handed to the socket (QoS 0). An acknowledgement that refuses is [`DeliveryError::Refused`].
///
/// Cancel-safe, and dropping it does not recall the message.
#[derive(Debug)]
#[must_use = "dropping it loses the acknowledgement, not the message: say `let _ =` where that is meant"]
pub struct Delivery {
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) end: oneshot::Receiver<Result<Acked, DeliveryError>>,
}

impl Delivery {
    /// The packet identifier of the message; `None` at QoS 0.
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.packet_id
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

/// The messages that the server sends, in their order. A message of QoS 1 or 2 is acknowledged when it is
/// taken from here.
///
/// It ends when the client is closed and everything was taken. Dropped before, the client goes on:
/// messages are acknowledged and dropped.
pub struct Messages {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.handle.0.abandon_inbox();
    }
}

impl Messages {
    /// The next message; `None` once the client is closed, see [`Client::closed`] for why.
    ///
    /// Cancel-safe: dropped before it is ready, no message is lost.
    pub async fn recv(&mut self) -> Option<Incoming> {
        std::future::poll_fn(|context| self.handle.0.poll_incoming(context)).await
    }

    /// A message that is there already.
    pub fn try_recv(&mut self) -> Option<Incoming> {
        self.handle.0.take_incoming()
    }
}

impl futures_core::Stream for Messages {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.handle.0.poll_incoming(context)
    }
}

/// What happens to the connection. A reader that is too slow gets [`Event::Missed`].
#[derive(Debug)]
pub struct Events {
    receiver: tokio::sync::broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once the client is closed.
    ///
    /// Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        use tokio::sync::broadcast::error::RecvError;
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}
