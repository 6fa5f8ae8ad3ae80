//! What the handles of a client and its connection share: the engine and the streams behind a lock, and
//! those who wait for them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use martlet_codec::{FilterBuf, PropertiesBuf, ReasonCode};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, broadcast, oneshot, watch};

use crate::delivery::Delivery;
use crate::engine::{Engine, Leftover, Stats, Task, Token};
use crate::error::{ConnectError, Lost, PublishError, Rejected, RequestError, ResponseError, StoreError};
use crate::event::{Connected, Event, Pending, State, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::filters::Slot;
use crate::hub::{Answer, Hub, Listeners, Unsubscribing, connect_error};
use crate::keeper::{self, Keeper, Stored};
use crate::kill_points::{self, Point};
use crate::message::{Incoming, Message};
use crate::options::{Options, OptionsError, PacketLog};
use crate::policy::Overflow;
use crate::store::Store;
use crate::streams::{Buffer, BufferOverflow, Queued, Share};

/// The client's state behind its handles.
pub(crate) struct Shared {
    hub: Mutex<Hub>,
    /// Wakes the connection: there is something to write, or a reason to look again.
    pub(crate) wake: Notify,
    /// A message has its end, or the connection has.
    ended: Notify,
    /// Held by the publisher that waits for room, so that others queue up behind it in their order.
    turn: tokio::sync::Mutex<()>,
    state: watch::Sender<State>,
    start: Instant,
    pub(crate) options: Options,
    packet_log: Option<PacketLog>,
    pub(crate) keeper: Keeper,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// `retries_first`: see [`Engine::start`]. With the store that is to be kept, if the options have one.
    pub(crate) fn new(
        options: Options,
        retries_first: bool,
    ) -> Result<(Self, Option<Box<dyn Store>>), OptionsError> {
        let seed = RandomState::new().hash_one(0_u8);
        let mut engine = Engine::new(options.clone(), seed);
        let store = keeper::open(&options, &mut engine)?;
        engine.start(0, retries_first);
        let mut hub = Hub::new(engine, &options);
        hub.await_restored();
        let keeper = Keeper::new(store.is_some());
        let shared = Self {
            keeper,
            hub: Mutex::new(hub),
            wake: Notify::new(),
            ended: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            state: watch::Sender::new(State::Connecting),
            start: Instant::now(),
            packet_log: options.packet_log.clone(),
            options,
        };
        Ok((shared, store))
    }

    /// The same, whose store has a thread of its own.
    pub(crate) fn with_keeper(options: Options, retries_first: bool) -> Result<Arc<Self>, OptionsError> {
        let (shared, store) = Self::new(options, retries_first)?;
        let shared = Arc::new(shared);
        keeper::spawn(&shared, store)?;
        Ok(shared)
    }

    /// Milliseconds on the client's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn instant(&self, at_ms: u64) -> Instant {
        self.start + Duration::from_millis(at_ms)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock()
    }

    /// Calls the engine and hands out what comes of it.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut Hub, u64) -> T) -> T {
        let now_ms = self.now_ms();
        let mut hub = self.lock();
        let result = call(&mut hub, now_ms);
        hub.dispatch(now_ms, &self.options);
        self.publish_state(&mut hub);
        if hub.engine.has_store_ops() {
            self.keeper.ring();
        }
        if std::mem::take(&mut hub.has_ended) {
            self.ended.notify_waiters();
        }
        if let Some(traces) = hub.traces.take() {
            let client_id = hub.engine.client_id().to_owned();
            drop(hub);
            traces.tell(&client_id);
        }
        result
    }

    /// Tells the watchers where the client stands, if that has changed.
    fn publish_state(&self, hub: &mut Hub) {
        if let Some(cause) = hub.engine.closed() {
            // Who is told that it is closed may open the store again.
            if self.keeper.holds_store() {
                return self.keeper.ring();
            }
            if matches!(*self.state.borrow(), State::Closed(_)) {
                return;
            }
            hub.traces.closed(cause);
            self.state.send_replace(State::Closed(cause.clone()));
            hub.listeners = Listeners::Over;
            hub.streams.wake_all();
            self.ended.notify_waiters();
            return;
        }
        if let Some(news) = hub.news.take() {
            self.state.send_if_modified(|state| {
                let has_changed = *state != news;
                *state = news;
                has_changed
            });
        }
    }

    /// What is to be done about the connection.
    pub(crate) fn task(&self) -> Task {
        self.with(|hub, now_ms| {
            let task = hub.engine.task(now_ms);
            if let Task::Dial { server } = task {
                hub.server = server;
                hub.traces.connecting(|| self.options.address_of(server));
                hub.news = Some(State::Connecting);
            }
            task
        })
    }

    /// As [`with`](Self::with), from outside the connection's task, which may have something to do then.
    fn command<T>(&self, call: impl FnOnce(&mut Hub, u64) -> T) -> T {
        let result = self.with(call);
        self.wake.notify_one();
        result
    }

    /// Tells the packet log what it has not heard. Only the connection's task does so, without the lock.
    pub(crate) fn tell_packet_log(&self) {
        let Some(log) = &self.packet_log else { return };
        loop {
            let mut hub = self.lock();
            let Some(line) = hub.engine.poll_packet_log() else {
                return;
            };
            let client_id = hub.engine.client_id().to_owned();
            drop(hub);
            log(&client_id, &line);
        }
    }

    /// Hands the server's questions to the application's authenticator, without the lock.
    pub(crate) fn answer_challenges(&self) {
        let Some(step) = &self.options.authenticator else {
            return;
        };
        loop {
            let Some(data) = self.lock().challenges.pop_front() else {
                return;
            };
            let next = step(data.as_deref());
            self.with(|hub, now_ms| {
                let said = next.and_then(|data| {
                    let put = hub.engine.authenticate(now_ms, &data);
                    put.map_err(|error| error.to_string())
                });
                if let Err(text) = said {
                    hub.engine.cannot_authenticate(now_ms, text);
                }
            });
        }
    }

    /// Waits until there is a connection that a server has agreed to, or the client is closed.
    pub(crate) async fn connected(&self) -> Result<Connected, ConnectError> {
        let mut state = self.state.subscribe();
        let is_decided = |state: &State| matches!(state, State::Online(_) | State::Closed(_));
        let state = state.wait_for(is_decided).await.map(|state| state.clone());
        match state {
            Ok(State::Online(connected)) => Ok(connected),
            Ok(State::Closed(cause)) => Err(self.why_not(&cause)),
            _ => Err(self.why_not(&Lost::ByUs)),
        }
    }

    /// Waits until a server has agreed for the first time, though it may have ended the connection since.
    pub(crate) async fn agreed(&self) -> Result<Connected, ConnectError> {
        let mut state = self.state.subscribe();
        loop {
            if let Some(connected) = &self.lock().agreed {
                return Ok(connected.clone());
            }
            // Not looked at under the lock of the state: others take that one behind the hub's.
            let now = state.borrow_and_update().clone();
            if let State::Closed(cause) = now {
                return Err(self.why_not(&cause));
            }
            if state.changed().await.is_err() {
                return Err(self.why_not(&Lost::ByUs));
            }
        }
    }

    fn why_not(&self, cause: &Lost) -> ConnectError {
        let mut hub = self.lock();
        let error = hub.failed.take();
        error.unwrap_or_else(|| connect_error(&self.options, hub.server, cause))
    }

    fn accept(&self, message: Message) -> Result<(Delivery, Option<Stored>), PublishError> {
        self.command(|hub, now_ms| {
            let accepted = hub.engine.publish(now_ms, message)?;
            let (sender, end) = oneshot::channel();
            hub.deliveries.insert(accepted.token, sender);
            let stored = hub.await_kept(&accepted);
            Ok((Delivery::new(accepted, end), stored))
        })
    }

    pub(crate) async fn publish(&self, mut message: Message) -> Result<Delivery, PublishError> {
        if self.options.outbox.overflow == Overflow::Reject {
            return kept(self.accept(message)?).await;
        }
        let turn = self.turn.lock().await;
        let accepted = loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            match self.accept(message) {
                Err(PublishError::Full(back)) => message = *back,
                end => break end?,
            }
            let _waiting = Waiting::new(self);
            ended.await;
        };
        drop(turn);
        kept(accepted).await
    }

    pub(crate) fn try_publish(&self, message: Message) -> Result<Delivery, PublishError> {
        match self.turn.try_lock() {
            Ok(_turn) => self.accept(message).map(|(delivery, _)| delivery),
            Err(_) => Err(PublishError::Full(Box::new(message))),
        }
    }

    /// The buffer of a stream for which nobody asks another.
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer {
            messages_max: self.options.inbox_messages_max,
            overflow: BufferOverflow::Wait,
        }
    }

    /// Opens the stream, then asks for its messages.
    pub(crate) fn begin_subscribe(
        &self,
        subscribe: Subscribe,
    ) -> Result<(Slot, Answer<SubAck>), RequestError> {
        let buffer = subscribe.buffer.unwrap_or(self.buffer());
        let filters: Vec<FilterBuf> = subscribe
            .filters
            .iter()
            .map(|(filter, _)| filter.clone())
            .collect();
        self.command(|hub, now_ms| {
            let answer = hub.ask(now_ms, subscribe)?;
            Ok((hub.streams.open(filters, buffer, true), answer))
        })
    }

    /// Subscribes without a stream.
    pub(crate) async fn subscribe_bare(&self, subscribe: Subscribe) -> Result<SubAck, RequestError> {
        let answer = self.command(|hub, now_ms| hub.ask(now_ms, subscribe))?;
        answer.await.unwrap_or(Err(RequestError::Closed(Lost::ByUs)))
    }

    pub(crate) async fn unsubscribe(&self, unsubscribe: Unsubscribe) -> Result<UnsubAck, RequestError> {
        let waiting = self.command(|hub, now_ms| {
            let filters = unsubscribe.filters.clone();
            let token = hub.engine.unsubscribe(now_ms, unsubscribe)?;
            let (answer, waiting) = oneshot::channel();
            hub.unsubscribes.insert(token, Unsubscribing { filters, answer });
            Ok::<_, RequestError>(waiting)
        })?;
        waiting.await.unwrap_or(Err(RequestError::Closed(Lost::ByUs)))
    }

    pub(crate) async fn request(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<Incoming, ResponseError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let (token, answer) = self.command(|hub, now_ms| hub.request(now_ms, message, timeout_ms))?;
        let _waits = Requesting { shared: self, token };
        answer.await.unwrap_or(Err(ResponseError::Closed(Lost::ByUs)))
    }

    pub(crate) fn reauthenticate(&self) -> Result<(), RequestError> {
        let step = self
            .options
            .authenticator
            .as_ref()
            .ok_or(Rejected::Authentication)?;
        let data = step(None).map_err(|text| RequestError::Closed(Lost::Login { text }))?;
        self.command(|hub, now_ms| hub.engine.reauthenticate(now_ms, &data))
    }

    pub(crate) async fn flush(&self) -> Result<(), RequestError> {
        self.wait_for_ends(|_| false).await
    }

    /// Waits until every message accepted so far has its end, or until `enough`.
    async fn wait_for_ends(&self, enough: impl Fn(&Hub) -> bool) -> Result<(), RequestError> {
        let Some(newest) = self.lock().deliveries.last_key_value().map(|(token, _)| *token) else {
            return Ok(());
        };
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let hub = self.lock();
                if let Some(cause) = hub.engine.closed() {
                    return Err(RequestError::Closed(cause.clone()));
                }
                let oldest = hub.deliveries.first_key_value().map(|(token, _)| *token);
                if oldest.is_none_or(|oldest| oldest > newest) || enough(&hub) {
                    return Ok(());
                }
            }
            ended.await;
        }
    }

    pub(crate) async fn disconnect(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<Leftover, RequestError> {
        self.wait_for_ends(|hub| !hub.engine.is_online()).await?;
        self.disconnect_now(reason, properties).await
    }

    pub(crate) async fn disconnect_now(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<Leftover, RequestError> {
        self.command(|hub, now_ms| hub.engine.disconnect(now_ms, reason, &properties))?;
        self.closed().await;
        Ok(self.leftover())
    }

    pub(crate) fn leftover(&self) -> Leftover {
        self.lock().engine.leftover()
    }

    /// Nobody holds the client any more.
    pub(crate) fn abandoned(&self) {
        self.command(|hub, now_ms| {
            // An error says that it is closed already.
            let _ = hub
                .engine
                .disconnect(now_ms, ReasonCode::Success, &PropertiesBuf::new());
        });
    }

    /// Opens a stream for messages of an earlier subscription.
    pub(crate) fn open(&self, filters: Vec<FilterBuf>, buffer: Buffer) -> Slot {
        self.command(|hub, _| hub.streams.open(filters, buffer, false))
    }

    /// Opens the stream of what no other wants.
    pub(crate) fn open_rest(&self, buffer: Buffer) -> Slot {
        self.command(|hub, _| hub.streams.open_rest(buffer))
    }

    /// The server does not serve some filters of a stream.
    pub(crate) fn not_granted(&self, slot: Slot, filters: &[FilterBuf]) {
        self.command(|hub, _| {
            for filter in filters {
                hub.streams.remove_filter(slot, filter);
            }
        });
    }

    /// The handle of a stream was dropped.
    pub(crate) fn abandon(&self, slot: Slot) {
        self.command(|hub, _| {
            for unacked in hub.streams.abandon(slot) {
                hub.engine.acknowledge(unacked);
            }
        });
    }

    /// The next message of a stream, which the caller settles; `None`: nothing comes any more.
    pub(crate) fn poll_take(&self, slot: Slot, context: &mut Context<'_>) -> Poll<Option<Queued>> {
        let mut hub = self.lock();
        if let Some(queued) = self.take_from(&mut hub, slot) {
            return Poll::Ready(Some(queued));
        }
        hub.poll_end(slot, context).map(|()| None)
    }

    /// As [`poll_take`](Self::poll_take), and the message counts as dealt with.
    pub(crate) fn poll_recv(&self, slot: Slot, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let mut hub = self.lock();
        if let Some(message) = self.recv_from(&mut hub, slot) {
            return Poll::Ready(Some(message));
        }
        hub.poll_end(slot, context).map(|()| None)
    }

    pub(crate) fn try_recv(&self, slot: Slot) -> Option<Incoming> {
        self.recv_from(&mut self.lock(), slot)
    }

    fn recv_from(&self, hub: &mut Hub, slot: Slot) -> Option<Incoming> {
        let Queued { message, share } = self.take_from(hub, slot)?;
        if let Some(unacked) = share.settle() {
            self.writes(hub, |engine| engine.acknowledge(unacked));
        }
        Some(message)
    }

    /// Calls the engine, and wakes the connection's task if there is something to write or to store now and was not
    /// before.
    fn writes<T>(&self, hub: &mut Hub, call: impl FnOnce(&mut Engine) -> T) -> T {
        kill_points::pass(Point::BeforeTaken);
        let has_work = |engine: &Engine| !engine.output().is_empty() || engine.has_store_ops();
        let had_work = has_work(&hub.engine);
        let result = call(&mut hub.engine);
        if !had_work && has_work(&hub.engine) {
            self.wake.notify_one();
        }
        if hub.engine.has_store_ops() {
            self.keeper.ring();
        }
        kill_points::pass(Point::AfterTaken);
        result
    }

    fn take_from(&self, hub: &mut Hub, slot: Slot) -> Option<Queued> {
        let was_full = hub.streams.is_full();
        let queued = hub.take(slot)?;
        if was_full && !hub.streams.is_full() {
            self.wake.notify_one();
        }
        Some(queued)
    }

    pub(crate) fn put_back(&self, slot: Slot, queued: Queued) {
        self.lock().streams.put_back(slot, queued);
    }

    /// The application has a message.
    pub(crate) fn acknowledge(&self, share: Share) {
        if let Some(unacked) = share.settle() {
            self.writes(&mut self.lock(), |engine| engine.acknowledge(unacked));
        }
    }

    /// The application refuses a message; what another stream has too is not refused.
    pub(crate) fn refuse(&self, share: Share, reason: ReasonCode) -> Result<(), Rejected> {
        let Some(unacked) = share.settle() else {
            return Ok(());
        };
        self.writes(&mut self.lock(), |engine| engine.refuse(unacked, reason))
    }

    /// The message of that name, if it has no end yet.
    pub(crate) fn delivery(&self, token: Token) -> Option<Delivery> {
        let mut hub = self.lock();
        let accepted = hub.engine.accepted(token)?;
        Some(Delivery::new(accepted, hub.await_end(token)))
    }

    pub(crate) fn pending(&self) -> Vec<Pending> {
        self.lock().engine.pending()
    }

    /// Waits until all is kept that was handed to the store so far.
    pub(crate) async fn stored(&self) -> Result<(), StoreError> {
        let Some(stored) = self.lock().await_stored() else {
            return Ok(());
        };
        if stored.await.is_err()
            && let Some(Lost::Store(error)) = self.lock().engine.closed()
        {
            return Err(error.clone());
        }
        Ok(())
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.lock().listeners.add()
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn stats(&self) -> (Stats, usize) {
        let hub = self.lock();
        (hub.engine.stats(), hub.streams.messages())
    }

    pub(crate) async fn closed(&self) -> Lost {
        let mut state = self.state.subscribe();
        let closed = state.wait_for(|state| matches!(state, State::Closed(_))).await;
        match closed.as_deref() {
            Ok(State::Closed(cause)) => cause.clone(),
            _ => Lost::ByUs,
        }
    }
}

/// Waits until the store has the message, if there is one.
async fn kept((delivery, stored): (Delivery, Option<Stored>)) -> Result<Delivery, PublishError> {
    if let Some(stored) = stored {
        let gone = |_| PublishError::Closed(Lost::ByUs);
        stored.await.map_err(gone)??;
    }
    Ok(delivery)
}

/// Counts a publisher that waits for room.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.command(|hub, _| hub.publishers += 1);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().publishers -= 1;
    }
}

/// A request whose response is waited for.
struct Requesting<'a> {
    shared: &'a Shared,
    token: Token,
}

impl Drop for Requesting<'_> {
    fn drop(&mut self) {
        let had_end = self.shared.lock().responses.remove(&self.token).is_none();
        if !had_end {
            self.shared
                .command(|hub, _| hub.engine.forget_request(self.token));
        }
    }
}

/// Held by all handles of a client: with the last one the client goes.
pub(crate) struct Handle(pub(crate) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abandoned();
    }
}
