//! The interface for applications: a client and what happens to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use martlet_codec::{FilterBuf, PropertiesBuf, ReasonCode};
use tokio::sync::{broadcast, watch};

use crate::delivery::Delivery;
use crate::engine::{Leftover, Stats, Token};
use crate::error::{ConnectError, Lost, PublishError, RequestError, RespondError, ResponseError, StoreError};
use crate::event::{Connected, Event, Pending, State, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::message::{Incoming, Message};
use crate::options::{Options, OptionsError};
use crate::shared::{Handle, Shared};
use crate::streams::Buffer;
use crate::subscription::Subscription;

/// A client. Clones share one connection; when the last clone and the last [`Subscription`] are dropped,
/// the client disconnects at once, and **what it has accepted and not sent yet is lost** (but for what is in a
/// [store](Options::store)): [`flush`](Self::flush) or [`goodbye`](Self::goodbye) before that.
///
/// Every future here is cancel-safe: dropped before it is ready, it has either not begun or its effect
/// goes on without it (a SUBSCRIBE that was sent stays sent); it never loses a message or an answer that
/// belongs to somebody else, and the client works on.
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client of that state, which some driver runs.
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self {
            handle: Arc::new(Handle(shared)),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.0
    }

    /// Starts a client and returns at once; it connects in the background. Failures of the first attempt
    /// are followed by others as [`Options::reconnect`] says. Messages may be published and filters
    /// subscribed at once: they wait for the connection.
    ///
    /// Must be called on a tokio runtime with I/O and time; the connection runs there as a task.
    pub fn start(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        let shared = Shared::with_keeper(options, true)?;
        tokio::spawn(crate::driver::run(Arc::clone(&shared)));
        Ok(Self::of(shared))
    }

    /// Connects, and returns when a server has agreed: the client and what was agreed.
    ///
    /// All servers of the list are tried, each in the versions that the
    /// [`Protocol`](crate::Protocol) allows. The first attempt is not repeated otherwise, whatever
    /// [`Options::reconnect`] says; see [`start`](Self::start) for that.
    ///
    /// Messages of a resumed session wait for the stream that wants them, see
    /// [`expect`](Self::expect), [`rest`](Self::rest) and [`Options::unclaimed_for`].
    ///
    /// Must be called on a tokio runtime with I/O and time; the connection runs there as a task.
    ///
    /// Cancel-safe: dropped before it is ready, there is no connection.
    pub async fn connect(options: Options) -> Result<(Self, Connected), ConnectError> {
        options.check()?;
        let shared = Shared::with_keeper(options, false)?;
        tokio::spawn(crate::driver::run(Arc::clone(&shared)));
        let client = Self::of(shared);
        let connected = client.shared().agreed().await?;
        Ok((client, connected))
    }

    /// Waits until a server has agreed, and tells what was agreed last; an error says that the client is
    /// closed.
    ///
    /// Cancel-safe.
    pub async fn connected(&self) -> Result<Connected, ConnectError> {
        self.shared().connected().await
    }

    /// Publishes a message: waits until the client has room for it, and returns a [`Delivery`] to wait
    /// for its acknowledgement with, or to drop.
    ///
    /// Messages leave in the order in which they were accepted. Without a connection they wait for the
    /// next one, unless [`Options::policy`] says otherwise. What happens where there is no room is
    /// [`Options::overflow`]'s.
    ///
    /// With a [store](Options::store) a message of QoS 1 or 2 is accepted when the store has it.
    ///
    /// Cancel-safe: dropped before it is ready, the message was not accepted; but dropped while the store is at it, the
    /// message goes on.
    pub async fn publish(&self, message: Message) -> Result<Delivery, PublishError> {
        self.shared().publish(message).await
    }

    /// As [`publish`](Self::publish), but where that would wait for room this gives the message back in
    /// [`PublishError::Full`]. It does not wait for the [store](Options::store) either: if that refuses the message, the
    /// [`Delivery`] says so, and [`stored`](Self::stored) waits for it.
    pub fn try_publish(&self, message: Message) -> Result<Delivery, PublishError> {
        self.shared().try_publish(message)
    }

    /// Subscribes, and returns the stream of the messages with the server's answer. An error where the
    /// server refuses all filters.
    ///
    /// What is granted is renewed after a reconnect to a server that has lost the session.
    ///
    /// Cancel-safe: dropped after it was polled once, the SUBSCRIBE goes out all the same, and the
    /// messages are as those of a stream that was dropped.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, RequestError> {
        let filters = subscribe.filters.iter().map(|(filter, _)| filter.clone());
        let filters = filters.collect();
        let (slot, answer) = self.shared().begin_subscribe(subscribe)?;
        let stream = Subscription::new(Arc::clone(&self.handle), slot, filters);
        let suback = answer.await.unwrap_or(Err(RequestError::Closed(Lost::ByUs)))?;
        stream.answered(suback)
    }

    /// Subscribes without a stream, and returns the server's answer: one code a filter, refusals among
    /// them. The messages go to the streams that want them, else to [`rest`](Self::rest).
    ///
    /// Cancel-safe: dropped after it was polled once, the SUBSCRIBE goes out all the same.
    pub async fn subscribe_bare(&self, subscribe: Subscribe) -> Result<SubAck, RequestError> {
        self.shared().subscribe_bare(subscribe).await
    }

    /// Unsubscribes, and returns the server's answer. Streams that have no filter left end.
    ///
    /// Cancel-safe: dropped after it was polled once, the UNSUBSCRIBE goes out all the same.
    pub async fn unsubscribe(&self, unsubscribe: Unsubscribe) -> Result<UnsubAck, RequestError> {
        self.shared().unsubscribe(unsubscribe).await
    }

    /// A stream of the messages of a subscription that the session has already; the server is asked for
    /// nothing. It may be made before the connection is up, so that nothing of a resumed session is missed.
    pub fn expect(&self, filter: impl Into<FilterBuf>) -> Subscription {
        self.expect_in(filter, self.shared().buffer())
    }

    /// As [`expect`](Self::expect), with another buffer.
    pub fn expect_in(&self, filter: impl Into<FilterBuf>, buffer: Buffer) -> Subscription {
        let filters = vec![filter.into()];
        let slot = self.shared().open(filters.clone(), buffer);
        Subscription::new(Arc::clone(&self.handle), slot, filters)
    }

    /// The stream of all messages that no other stream wants. There is one: the one before it ends.
    pub fn rest(&self) -> Subscription {
        let slot = self.shared().open_rest(self.shared().buffer());
        Subscription::new(Arc::clone(&self.handle), slot, Vec::new())
    }

    /// Publishes a request and waits for its response: the client subscribes to a response topic of its
    /// own and matches responses by their correlation data. Version 5.
    ///
    /// When the time is over and the request was not sent yet, such as without a connection, it is not sent any more.
    /// Where it was sent, [`ResponseError::Timeout`] does not say whether it has reached who answers: it may have, and at
    /// QoS 1 and 2 a connection that resumes the session sends it again. What must not happen late carries a time of
    /// its own.
    ///
    /// Cancel-safe: dropped, it is as if its time were over.
    pub async fn request(&self, message: Message, timeout: Duration) -> Result<Incoming, ResponseError> {
        self.shared().request(message, timeout).await
    }

    /// Answers a request: publishes to its response topic, with its correlation data and at its QoS. An error where it names no
    /// response topic, as all that comes in version 3; [`Incoming::response`] gives the response to be changed first.
    ///
    /// Cancel-safe as [`publish`](Self::publish).
    pub async fn respond(
        &self,
        request: &Incoming,
        payload: impl Into<Bytes>,
    ) -> Result<Delivery, RespondError> {
        let response = request.response(payload)?;
        Ok(self.publish(response).await?)
    }

    /// Begins to authenticate again with the [`authenticator`](Options::authenticator);
    /// [`Event::Reauthenticated`] tells that it went well, else the server ends the connection.
    pub fn reauthenticate(&self) -> Result<(), RequestError> {
        self.shared().reauthenticate()
    }

    /// The acknowledgement of a message by its [token](Delivery::token), also of one that an earlier run has accepted and
    /// the [store](Options::store) has. `None`: it has its end, or there was none.
    pub fn delivery(&self, token: Token) -> Option<Delivery> {
        self.shared().delivery(token)
    }

    /// All accepted messages that have no end yet, in the order in which they were accepted.
    pub fn pending(&self) -> Vec<Pending> {
        self.shared().pending()
    }

    /// Waits until the [store](Options::store) has all that was given to it so far: messages that were accepted, and
    /// which ones the application has taken. A message of QoS 2 that was taken before does not come again then,
    /// whatever becomes of this process. Without a store it is ready at once.
    ///
    /// Cancel-safe.
    pub async fn stored(&self) -> Result<(), StoreError> {
        self.shared().stored().await
    }

    /// Waits until every message that was accepted so far, requests too, has left (QoS 0) or is acknowledged, or has
    /// ended otherwise. It waits for no response.
    ///
    /// Cancel-safe.
    pub async fn flush(&self) -> Result<(), RequestError> {
        self.shared().flush().await
    }

    /// The usual end: [`disconnect`](Self::disconnect) with success and without properties. What was not sent is given back.
    ///
    /// Cancel-safe: dropped while it flushes, the client stays connected.
    pub async fn goodbye(&self) -> Result<Leftover, RequestError> {
        self.disconnect(ReasonCode::Success, PropertiesBuf::new()).await
    }

    /// Flushes, then sends DISCONNECT and closes the connection for good. Without a connection the
    /// client is closed at once; what was not sent is given back. Reason and properties are version 5's, and with a
    /// connection of version 3 any but success and none are [an error](crate::Rejected::NeedsVersion5); a
    /// reason other than success makes the server publish the will.
    ///
    /// Cancel-safe: dropped while it flushes, the client stays connected.
    pub async fn disconnect(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<Leftover, RequestError> {
        self.shared().disconnect(reason, properties).await
    }

    /// As [`disconnect`](Self::disconnect), but waits for no acknowledgement: sends what lies ready,
    /// then DISCONNECT. What is left is given back.
    ///
    /// Cancel-safe: dropped after it was polled once, the client disconnects all the same.
    pub async fn disconnect_now(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<Leftover, RequestError> {
        self.shared().disconnect_now(reason, properties).await
    }

    /// What was left unsent when the client closed by itself, such as after a refusal; given once.
    pub fn leftover(&self) -> Leftover {
        self.shared().leftover()
    }

    /// What happens to the connection from now on.
    pub fn events(&self) -> Events {
        Events {
            receiver: self.shared().events(),
        }
    }

    /// Where the client stands now.
    pub fn state(&self) -> State {
        self.shared().state().borrow().clone()
    }

    /// Where the client stands, to wait for changes.
    pub fn states(&self) -> States {
        let receiver = self.shared().state();
        let is_over = matches!(*receiver.borrow(), State::Closed(_));
        States { receiver, is_over }
    }

    /// What the client has counted.
    pub fn stats(&self) -> Stats {
        self.shared().stats().0
    }

    /// How many received messages wait in the streams.
    pub fn waiting(&self) -> usize {
        self.shared().stats().1
    }

    /// Waits until the client is closed, and says by what: by us, or by the loss of a connection that is
    /// not made again.
    ///
    /// Cancel-safe.
    pub async fn closed(&self) -> Lost {
        self.shared().closed().await
    }
}

/// What happens to the connection. A reader that is too slow gets [`Event::Missed`].
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` once the client is closed.
    ///
    /// Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        use broadcast::error::RecvError;
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Where a client stands, as it changes. A reader that is slow sees the latest only.
#[derive(Debug, Clone)]
pub struct States {
    receiver: watch::Receiver<State>,
    /// Whether the end was told.
    is_over: bool,
}

impl States {
    /// Where the client stands now.
    pub fn current(&self) -> State {
        self.receiver.borrow().clone()
    }

    /// Waits until it changes; `None` once the client is closed and that was told.
    ///
    /// Cancel-safe.
    pub async fn changed(&mut self) -> Option<State> {
        if self.is_over {
            return None;
        }
        self.receiver.changed().await.ok()?;
        let state = self.receiver.borrow_and_update().clone();
        self.is_over = matches!(state, State::Closed(_));
        Some(state)
    }
}
