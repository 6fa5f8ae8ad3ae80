//! What the handles of a client and its connection share: the engine behind a lock, and those who wait
//! for it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use martlet_codec::{PropertiesBuf, ReasonCode};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::api::Delivery;
use crate::engine::{self, Engine, Token, Unacked};
use crate::error::{DeliveryError, Lost, PublishError, Refusal, RequestError};
use crate::event::{Acked, Connected, Event, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::limits;
use crate::message::{Incoming, Message};
use crate::options::{Options, PacketLog};

/// The client's state behind its handles.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the connection: there is something to write, or a reason to look again.
    pub(crate) wake: Notify,
    /// A message has its end, or the connection has.
    ended: Notify,
    /// Held by the publisher that waits for room, so that others queue up behind it in their order.
    turn: tokio::sync::Mutex<()>,
    closed: watch::Sender<Option<Lost>>,
    start: Instant,
    packet_log: Option<PacketLog>,
}

/// What the connection's task must know.
#[derive(Debug)]
pub(crate) enum Link {
    /// The server has agreed.
    Connected(Box<Connected>),
    /// The server said no; `again`: ask again at once, in another version.
    Refused { refusal: Refusal, again: bool },
    /// The connection has ended.
    Lost { cause: Lost, again: bool },
}

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// What the connection's task has not looked at.
    pub(crate) links: VecDeque<Link>,
    deliveries: BTreeMap<Token, oneshot::Sender<Result<Acked, DeliveryError>>>,
    subscribes: BTreeMap<Token, oneshot::Sender<Result<SubAck, RequestError>>>,
    unsubscribes: BTreeMap<Token, oneshot::Sender<Result<UnsubAck, RequestError>>>,
    inbox: Inbox,
    /// Publishers that wait for room.
    publishers: usize,
    connected: Option<Connected>,
    events: Option<broadcast::Sender<Event>>,
}

/// Received messages that the application has not taken.
struct Inbox {
    messages: VecDeque<(Incoming, Option<Unacked>)>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    /// Nobody will take messages any more.
    is_abandoned: bool,
    dropped: u64,
    reader: Option<Waker>,
}

impl Inbox {
    fn is_above(&self, factor: usize) -> bool {
        self.messages.len() >= self.messages_max.saturating_mul(factor)
            || self.bytes >= self.bytes_max.saturating_mul(factor)
    }

    fn size(message: &Incoming) -> usize {
        message.topic.as_str().len()
            + message.payload.len()
            + message.properties.as_properties().as_bytes().len()
    }

    /// Takes a message in; `false`: there was no room even for one that may be dropped.
    fn push(&mut self, message: Incoming, unacked: Option<Unacked>) {
        if unacked.is_none() && self.is_above(limits::INBOX_STRETCH) {
            self.dropped += 1;
            return;
        }
        self.bytes += Self::size(&message);
        self.messages.push_back((message, unacked));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn pop(&mut self) -> Option<(Incoming, Option<Unacked>)> {
        let (message, unacked) = self.messages.pop_front()?;
        self.bytes -= Self::size(&message);
        Some((message, unacked))
    }
}

impl State {
    /// Hands the engine's events to those who wait for them. The one place where messages are
    /// given to their readers.
    fn dispatch(&mut self, now_ms: u64) -> bool {
        let mut has_ended = false;
        while let Some(event) = self.engine.poll_event() {
            match event {
                engine::Event::Message { message, unacked } if self.inbox.is_abandoned => {
                    drop(message);
                    if let Some(unacked) = unacked {
                        self.engine.acknowledge(now_ms, unacked);
                    }
                }
                engine::Event::Message { message, unacked } => self.inbox.push(message, unacked),
                engine::Event::Published { token, end } => {
                    has_ended = true;
                    answer(self.deliveries.remove(&token), end);
                }
                engine::Event::Subscribed { token, end } => answer(self.subscribes.remove(&token), end),
                engine::Event::Unsubscribed { token, end } => answer(self.unsubscribes.remove(&token), end),
                engine::Event::ResubscribeRefused { filter, reason } => {
                    self.tell(Event::ResubscribeRefused { filter, reason });
                }
                engine::Event::Connected(connected) => {
                    self.connected = Some(connected.clone());
                    self.links.push_back(Link::Connected(Box::new(connected)));
                }
                engine::Event::Refused { refusal, retry_with } => {
                    let again = retry_with.is_some();
                    self.links.push_back(Link::Refused { refusal, again });
                }
                engine::Event::Lost { cause, retry_with } => {
                    has_ended = true;
                    let again = retry_with.is_some();
                    self.links.push_back(Link::Lost { cause, again });
                }
            }
        }
        has_ended
    }

    fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            // An error says that nobody listens.
            let _ = events.send(event);
        }
    }

    /// Whether the connection is to be read: not while the inbox is full, but for an application that
    /// waits for the server, which would wait for ever.
    pub(crate) fn wants_reading(&self) -> bool {
        !self.inbox.is_above(1) || self.publishers > 0 || self.engine.awaits_answer()
    }

    fn take(&mut self, now_ms: u64) -> Option<Incoming> {
        let (message, unacked) = self.inbox.pop()?;
        if let Some(unacked) = unacked {
            self.engine.acknowledge(now_ms, unacked);
        }
        let messages = std::mem::take(&mut self.inbox.dropped);
        if messages > 0 {
            self.tell(Event::Dropped { messages });
        }
        Some(message)
    }
}

fn answer<T>(waiting: Option<oneshot::Sender<T>>, answer: T) {
    if let Some(waiting) = waiting {
        // An error says that nobody waits any more.
        let _ = waiting.send(answer);
    }
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let start = Instant::now();
        let seed = RandomState::new().hash_one(0_u8);
        let packet_log = options.packet_log.clone();
        let inbox = Inbox {
            messages: VecDeque::new(),
            bytes: 0,
            messages_max: options.inbox_messages_max.max(1),
            bytes_max: options.inbox_bytes_max.max(1),
            is_abandoned: false,
            dropped: 0,
            reader: None,
        };
        let state = State {
            engine: Engine::new(options, seed),
            links: VecDeque::new(),
            deliveries: BTreeMap::new(),
            subscribes: BTreeMap::new(),
            unsubscribes: BTreeMap::new(),
            inbox,
            publishers: 0,
            connected: None,
            events: Some(broadcast::Sender::new(limits::EVENTS_MAX)),
        };
        Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            ended: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            closed: watch::Sender::new(None),
            start,
            packet_log,
        }
    }

    /// Milliseconds on the client's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn instant(&self, at_ms: u64) -> Instant {
        self.start + Duration::from_millis(at_ms)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Calls the engine and hands out what comes of it.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut State, u64) -> T) -> T {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let result = call(&mut state, now_ms);
        let has_ended = state.dispatch(now_ms);
        let closed = state.engine.closed().cloned();
        if let Some(cause) = closed
            && self.closed.borrow().is_none()
        {
            self.closed.send_replace(Some(cause));
            state.events = None;
            if let Some(reader) = state.inbox.reader.take() {
                reader.wake();
            }
            self.ended.notify_waiters();
        }
        if has_ended {
            self.ended.notify_waiters();
        }
        result
    }

    /// As [`with`](Self::with), from outside the connection's task, which may have something to do then.
    fn command<T>(&self, call: impl FnOnce(&mut State, u64) -> T) -> T {
        let result = self.with(call);
        self.wake.notify_one();
        result
    }

    /// Tells the packet log what it has not heard. Only the connection's task does so, without the lock.
    pub(crate) fn tell_packet_log(&self) {
        let Some(log) = &self.packet_log else { return };
        loop {
            let mut state = self.lock();
            let Some(line) = state.engine.poll_packet_log() else {
                return;
            };
            let client_id = state.engine.client_id().to_owned();
            drop(state);
            log(&client_id, &line);
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        self.lock().tell(event);
    }

    fn accept(&self, message: Message) -> Result<Delivery, PublishError> {
        self.command(|state, now_ms| {
            let accepted = state.engine.publish(now_ms, message)?;
            let (sender, end) = oneshot::channel();
            state.deliveries.insert(accepted.token, sender);
            Ok(Delivery {
                packet_id: accepted.packet_id,
                end,
            })
        })
    }

    pub(crate) async fn publish(&self, mut message: Message) -> Result<Delivery, PublishError> {
        let _turn = self.turn.lock().await;
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            match self.accept(message) {
                Err(PublishError::Full(back)) => message = *back,
                end => return end,
            }
            let _waiting = Waiting::new(self);
            ended.await;
        }
    }

    pub(crate) fn try_publish(&self, message: Message) -> Result<Delivery, PublishError> {
        match self.turn.try_lock() {
            Ok(_turn) => self.accept(message),
            Err(_) => Err(PublishError::Full(Box::new(message))),
        }
    }

    pub(crate) async fn subscribe(&self, subscribe: Subscribe) -> Result<SubAck, RequestError> {
        let answer = self.command(|state, now_ms| {
            let token = state.engine.subscribe(now_ms, subscribe)?;
            let (sender, answer) = oneshot::channel();
            state.subscribes.insert(token, sender);
            Ok::<_, RequestError>(answer)
        })?;
        answer.await.unwrap_or(Err(RequestError::Closed(Lost::ByUs)))
    }

    pub(crate) async fn unsubscribe(&self, unsubscribe: Unsubscribe) -> Result<UnsubAck, RequestError> {
        let answer = self.command(|state, now_ms| {
            let token = state.engine.unsubscribe(now_ms, unsubscribe)?;
            let (sender, answer) = oneshot::channel();
            state.unsubscribes.insert(token, sender);
            Ok::<_, RequestError>(answer)
        })?;
        answer.await.unwrap_or(Err(RequestError::Closed(Lost::ByUs)))
    }

    pub(crate) async fn flush(&self) -> Result<(), RequestError> {
        self.wait_for_ends(|_| false).await
    }

    /// Waits until every message accepted so far has its end, or until `enough`.
    async fn wait_for_ends(&self, enough: impl Fn(&State) -> bool) -> Result<(), RequestError> {
        let Some(newest) = self.lock().deliveries.last_key_value().map(|(token, _)| *token) else {
            return Ok(());
        };
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let state = self.lock();
                if let Some(cause) = state.engine.closed() {
                    return Err(RequestError::Closed(cause.clone()));
                }
                let oldest = state.deliveries.first_key_value().map(|(token, _)| *token);
                if oldest.is_none_or(|oldest| oldest > newest) || enough(&state) {
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
    ) -> Result<(), RequestError> {
        self.wait_for_ends(|state| !state.engine.is_online()).await?;
        self.disconnect_now(reason, properties).await.map(|_| ())
    }

    pub(crate) async fn disconnect_now(
        &self,
        reason: ReasonCode,
        properties: PropertiesBuf,
    ) -> Result<usize, RequestError> {
        let left = self.command(|state, now_ms| state.engine.disconnect(now_ms, reason, &properties))?;
        self.closed().await;
        Ok(left)
    }

    /// Nobody holds the client any more.
    pub(crate) fn abandoned(&self) {
        self.command(|state, now_ms| {
            // An error says that it is closed already.
            let _ = state
                .engine
                .disconnect(now_ms, ReasonCode::Success, &PropertiesBuf::new());
        });
    }

    /// Nobody will take messages any more: they are acknowledged and dropped.
    pub(crate) fn abandon_inbox(&self) {
        self.command(|state, now_ms| {
            state.inbox.is_abandoned = true;
            while state.take(now_ms).is_some() {}
        });
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        match &self.lock().events {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    pub(crate) fn connected(&self) -> Connected {
        self.lock()
            .connected
            .clone()
            .expect("a client is made when it is connected")
    }

    pub(crate) async fn closed(&self) -> Lost {
        let mut closed = self.closed.subscribe();
        match closed.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone().unwrap_or(Lost::ByUs),
            Err(_) => Lost::ByUs,
        }
    }

    pub(crate) fn poll_incoming(&self, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        {
            let mut state = self.lock();
            if state.inbox.messages.is_empty() {
                if state.engine.closed().is_some() {
                    return Poll::Ready(None);
                }
                state.inbox.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(self.take_incoming())
    }

    pub(crate) fn take_incoming(&self) -> Option<Incoming> {
        let (message, has_work) = self.with(|state, now_ms| {
            let was_full = state.inbox.is_above(1);
            let message = state.take(now_ms);
            (message, was_full || !state.engine.output().is_empty())
        });
        if has_work {
            self.wake.notify_one();
        }
        message
    }
}

/// Counts a publisher that waits for room.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.command(|state, _| state.publishers += 1);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().publishers -= 1;
    }
}

/// Held by all handles of a client: with the last one the client goes.
pub(crate) struct Handle(pub(crate) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abandoned();
    }
}
