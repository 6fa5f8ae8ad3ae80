//! The same client for programs without a runtime: each call waits on its own thread. The connection runs
//! on a thread of the client.
//!
//! ```no_run
//! use martlet_client::{Message, Options, Qos, Subscribe, blocking::Client, filter, topic};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, _) = Client::connect(Options::new("localhost", 1883))?;
//! let messages = client.subscribe(Subscribe::to(filter!("S013/#"), Qos::AtLeastOnce))?;
//! let message = Message::new(topic!("S013/MOT01/RECM"), "DRVZ+1000").qos(Qos::AtLeastOnce);
//! client.publish(message)?.wait()?;
//! for message in messages {
//!     println!("{} {:?}", message.topic, message.payload);
//! }
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use martlet_codec::{FilterBuf, PropertiesBuf, ReasonCode};

use crate::engine::{Leftover, Stats, Token};
use crate::error::{
    ConnectError, DeliveryError, Lost, PublishError, RequestError, RespondError, ResponseError, StoreError,
};
use crate::event::{Acked, Connected, Event, Pending, State, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::message::{Incoming, Message};
use crate::options::Options;
use crate::shared::Shared;
use crate::streams::Buffer;
use crate::subscription::{Offer, Receipt};

/// A client whose calls wait; see [`crate::Client`] for what each does. Clones share one connection; dropping the last handle
/// loses what was not sent.
#[derive(Debug, Clone)]
pub struct Client {
    inner: crate::Client,
}

impl Client {
    /// Starts a client and returns at once, see [`crate::Client::start`].
    pub fn start(options: Options) -> Result<Self, ConnectError> {
        Self::spawn(options, true)
    }

    /// Connects, see [`crate::Client::connect`].
    pub fn connect(options: Options) -> Result<(Self, Connected), ConnectError> {
        let client = Self::spawn(options, false)?;
        let connected = block_on(client.inner.shared().agreed())?;
        Ok((client, connected))
    }

    fn spawn(options: Options, retries_first: bool) -> Result<Self, ConnectError> {
        options.check()?;
        let shared = Shared::with_keeper(options, retries_first)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(no_thread)?;
        let run = crate::driver::run(Arc::clone(&shared));
        thread::Builder::new()
            .name("martlet-client".to_owned())
            .spawn(move || runtime.block_on(run))
            .map_err(no_thread)?;
        Ok(Self {
            inner: crate::Client::of(shared),
        })
    }

    /// The same client for a runtime; its futures can be waited for anywhere.
    pub const fn as_async(&self) -> &crate::Client {
        &self.inner
    }

    /// Waits until a server has agreed, see [`crate::Client::connected`].
    pub fn connected(&self) -> Result<Connected, ConnectError> {
        block_on(self.inner.connected())
    }

    /// Publishes; waits for room, not for the acknowledgement, see [`crate::Client::publish`].
    pub fn publish(&self, message: Message) -> Result<Delivery, PublishError> {
        block_on(self.inner.publish(message)).map(Delivery::new)
    }

    /// Publishes without waiting, see [`crate::Client::try_publish`].
    pub fn try_publish(&self, message: Message) -> Result<Delivery, PublishError> {
        self.inner.try_publish(message).map(Delivery::new)
    }

    /// Subscribes, see [`crate::Client::subscribe`].
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, RequestError> {
        block_on(self.inner.subscribe(subscribe)).map(Subscription)
    }

    /// Subscribes without a stream, see [`crate::Client::subscribe_bare`].
    pub fn subscribe_bare(&self, subscribe: Subscribe) -> Result<SubAck, RequestError> {
        block_on(self.inner.subscribe_bare(subscribe))
    }

    /// Unsubscribes, see [`crate::Client::unsubscribe`].
    pub fn unsubscribe(&self, unsubscribe: Unsubscribe) -> Result<UnsubAck, RequestError> {
        block_on(self.inner.unsubscribe(unsubscribe))
    }

    /// A stream of what the session has already, see [`crate::Client::expect`].
    pub fn expect(&self, filter: impl Into<FilterBuf>) -> Subscription {
        Subscription(self.inner.expect(filter))
    }

    /// The same with another buffer, see [`crate::Client::expect_in`].
    pub fn expect_in(&self, filter: impl Into<FilterBuf>, buffer: Buffer) -> Subscription {
        Subscription(self.inner.expect_in(filter, buffer))
    }

    /// The stream of all messages that no other wants, see [`crate::Client::rest`].
    pub fn rest(&self) -> Subscription {
        Subscription(self.inner.rest())
    }

    /// Publishes a request and waits for its response, see [`crate::Client::request`].
    pub fn request(&self, message: Message, timeout: Duration) -> Result<Incoming, ResponseError> {
        block_on(self.inner.request(message, timeout))
    }

    /// Answers a request, see [`crate::Client::respond`].
    pub fn respond(&self, request: &Incoming, payload: impl Into<Bytes>) -> Result<Delivery, RespondError> {
        block_on(self.inner.respond(request, payload)).map(Delivery::new)
    }

    /// Begins to authenticate again, see [`crate::Client::reauthenticate`].
    pub fn reauthenticate(&self) -> Result<(), RequestError> {
        self.inner.reauthenticate()
    }

    /// The acknowledgement of a message by its token, see [`crate::Client::delivery`].
    pub fn delivery(&self, token: Token) -> Option<Delivery> {
        self.inner.delivery(token).map(Delivery::new)
    }

    /// All accepted messages that have no end yet, see [`crate::Client::pending`].
    pub fn pending(&self) -> Vec<Pending> {
        self.inner.pending()
    }

    /// Waits until the store has all that was given to it so far, see [`crate::Client::stored`].
    pub fn stored(&self) -> Result<(), StoreError> {
        block_on(self.inner.stored())
    }

    /// Waits until all that was accepted has its end, see [`crate::Client::flush`].
    pub fn flush(&self) -> Result<(), RequestError> {
        block_on(self.inner.flush())
    }

    /// The same for at most that time; `false`: there is something left.
    pub fn flush_within(&self, time: Duration) -> Result<bool, RequestError> {
        block_on_within(self.inner.flush(), time).map_or(Ok(false), |end| end.map(|()| true))
    }

    /// The usual end, see [`crate::Client::goodbye`].
    pub fn goodbye(&self) -> Result<Leftover, RequestError> {
        block_on(self.inner.goodbye())
    }

    /// Flushes and disconnects, see [`crate::Client::disconnect`].
    pub fn disconnect(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<Leftover, RequestError> {
        block_on(self.inner.disconnect(reason, properties))
    }

    /// Disconnects without flushing, see [`crate::Client::disconnect_now`].
    pub fn disconnect_now(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<Leftover, RequestError> {
        block_on(self.inner.disconnect_now(reason, properties))
    }

    /// What was left unsent, see [`crate::Client::leftover`].
    pub fn leftover(&self) -> Leftover {
        self.inner.leftover()
    }

    /// What happens to the connection from now on.
    pub fn events(&self) -> Events {
        Events(self.inner.events())
    }

    /// Where the client stands now.
    pub fn state(&self) -> State {
        self.inner.state()
    }

    /// What the client has counted.
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Waits until the client is closed, and says by what.
    pub fn closed(&self) -> Lost {
        block_on(self.inner.closed())
    }
}

fn no_thread(source: io::Error) -> ConnectError {
    ConnectError::Thread { source }
}

/// An accepted message on its way, see [`crate::Delivery`].
#[derive(Debug)]
#[must_use = "dropping it loses the acknowledgement, not the message: say `drop(..)` where that is meant"]
pub struct Delivery {
    delivery: crate::Delivery,
    /// Once it has come.
    end: Option<Result<Acked, DeliveryError>>,
}

impl Delivery {
    const fn new(delivery: crate::Delivery) -> Self {
        Self { delivery, end: None }
    }

    /// Names the message among all that this client has accepted, see [`crate::Delivery::token`].
    pub const fn token(&self) -> Token {
        self.delivery.token()
    }

    /// Waits for the acknowledgement.
    pub fn wait(self) -> Result<Acked, DeliveryError> {
        self.end.unwrap_or_else(|| block_on(self.delivery))
    }

    /// Waits at most that long; `None`: it has not come yet. Once it has come, each call returns it.
    pub fn wait_within(&mut self, time: Duration) -> Option<Result<Acked, DeliveryError>> {
        if self.end.is_none() {
            self.end = block_on_within(&mut self.delivery, time);
        }
        self.end.clone()
    }
}

/// A stream of messages, see [`crate::Subscription`]. As an iterator it ends when the stream does.
#[derive(Debug)]
pub struct Subscription(crate::Subscription);

impl Subscription {
    /// The server's answer.
    pub const fn granted(&self) -> Option<&SubAck> {
        self.0.granted()
    }

    /// The filters that the server granted.
    pub fn filters(&self) -> &[FilterBuf] {
        self.0.filters()
    }

    /// Waits for the next message; `None` once the stream has ended.
    pub fn recv(&mut self) -> Option<Incoming> {
        block_on(self.0.recv())
    }

    /// A message that is there already.
    pub fn try_recv(&mut self) -> Option<Incoming> {
        self.0.try_recv()
    }

    /// Waits at most that long for the next message; `None`: none came, or the stream has ended.
    pub fn recv_within(&mut self, time: Duration) -> Option<Incoming> {
        block_on_within(self.0.recv(), time).flatten()
    }

    /// Waits for the next message, which is acknowledged when it is accepted, see
    /// [`crate::Subscription::offer`].
    pub fn offer(&mut self) -> Option<Offer<'_>> {
        block_on(self.0.offer())
    }

    /// Waits for the next message and its receipt, see [`crate::Subscription::recv_with_receipt`].
    pub fn recv_with_receipt(&mut self) -> Option<(Incoming, Receipt)> {
        block_on(self.0.recv_with_receipt())
    }

    /// Tells the server to send no more of it, see [`crate::Subscription::unsubscribe`].
    pub fn unsubscribe(self) -> Result<Self, RequestError> {
        block_on(self.0.unsubscribe()).map(Self)
    }
}

impl Iterator for Subscription {
    type Item = Incoming;

    fn next(&mut self) -> Option<Incoming> {
        self.recv()
    }
}

/// What happens to the connection, see [`crate::Events`].
#[derive(Debug)]
pub struct Events(crate::Events);

impl Events {
    /// Waits for the next event; `None` once the client is closed.
    pub fn recv(&mut self) -> Option<Event> {
        block_on(self.0.recv())
    }

    /// The same for at most that time.
    pub fn recv_within(&mut self, time: Duration) -> Option<Event> {
        block_on_within(self.0.recv(), time).flatten()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.recv()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// The same for at most that time.
fn block_on_within<F: Future>(future: F, time: Duration) -> Option<F::Output> {
    let Some(end) = Instant::now().checked_add(time) else {
        return Some(block_on(future));
    };
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}
