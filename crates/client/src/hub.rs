//! The engine, and where what it says goes: to streams, to those who wait for an end or an answer, to
//! those who watch the connection. Knows no lock and no clock.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use martlet_codec::FilterBuf;
use tokio::sync::{broadcast, oneshot};

use crate::engine::{self, Engine, Token, Unacked};
use crate::error::{ConnectError, DeliveryError, Lost, RequestError, ResponseError};
use crate::event::{Acked, Connected, Event, State, SubAck, Subscribe, UnsubAck};
use crate::filters::Slot;
use crate::keeper::Kept;
use crate::limits;
use crate::message::{Incoming, Message};
use crate::options::Options;
use crate::policy::Acknowledge;
use crate::streams::{Queued, Streams};
use crate::trace::Traces;

/// The engine, and what its events are handed to.
pub(crate) struct Hub {
    pub(crate) engine: Engine,
    pub(crate) streams: Streams,
    /// Questions of the server that the connection's task has not handed to the application.
    pub(crate) challenges: VecDeque<Option<Bytes>>,
    /// Why the last attempt to connect failed.
    pub(crate) failed: Option<ConnectError>,
    /// The server that is tried or in use.
    pub(crate) server: usize,
    pub(crate) deliveries: BTreeMap<Token, oneshot::Sender<Result<Acked, DeliveryError>>>,
    pub(crate) kept: Kept,
    pub(crate) subscribes: BTreeMap<Token, oneshot::Sender<Result<SubAck, RequestError>>>,
    pub(crate) unsubscribes: BTreeMap<Token, Unsubscribing>,
    pub(crate) responses: BTreeMap<Token, oneshot::Sender<Result<Incoming, ResponseError>>>,
    /// Publishers that wait for room.
    pub(crate) publishers: usize,
    /// What a server has agreed to last.
    pub(crate) agreed: Option<Connected>,
    /// Whether that connection is still there.
    is_online: bool,
    /// Whether a message or a connection has ended since those who wait for that were told.
    pub(crate) has_ended: bool,
    /// What became of the connection, for the watchers, since they were told last.
    pub(crate) news: Option<State>,
    pub(crate) listeners: Listeners,
    /// Until then no dropped messages are told.
    no_drops_before_ms: u64,
    pub(crate) traces: Traces,
}

/// Who listens to what happens. The room for [`limits::EVENTS_MAX`] events is several times what a client takes otherwise, so
/// only one that is listened to has it.
pub(crate) enum Listeners {
    Nobody,
    Some(broadcast::Sender<Event>),
    /// The client is closed.
    Over,
}

impl Listeners {
    pub(crate) fn add(&mut self) -> broadcast::Receiver<Event> {
        if matches!(self, Self::Nobody) {
            *self = Self::Some(broadcast::Sender::new(limits::EVENTS_MAX));
        }
        match self {
            Self::Some(events) => events.subscribe(),
            Self::Nobody | Self::Over => broadcast::channel(1).1,
        }
    }
}

/// An UNSUBSCRIBE without an answer.
pub(crate) struct Unsubscribing {
    pub(crate) filters: Vec<FilterBuf>,
    pub(crate) answer: oneshot::Sender<Result<UnsubAck, RequestError>>,
}

impl Hub {
    pub(crate) fn new(engine: Engine, options: &Options) -> Self {
        let unclaimed_for_ms = u64::try_from(options.unclaimed_for.as_millis()).unwrap_or(u64::MAX / 2);
        let (messages_max, bytes_max) = (options.inbox_messages_max, options.inbox_bytes_max);
        Self {
            engine,
            streams: Streams::new(messages_max, bytes_max, unclaimed_for_ms),
            challenges: VecDeque::new(),
            failed: None,
            server: 0,
            deliveries: BTreeMap::new(),
            kept: Kept::default(),
            subscribes: BTreeMap::new(),
            unsubscribes: BTreeMap::new(),
            responses: BTreeMap::new(),
            publishers: 0,
            agreed: None,
            is_online: false,
            has_ended: false,
            news: None,
            listeners: Listeners::Nobody,
            no_drops_before_ms: 0,
            traces: Traces::default(),
        }
    }

    /// Bytes came from the server.
    pub(crate) fn input(&mut self, now_ms: u64, bytes: &[u8]) {
        self.engine.input_to(now_ms, bytes, Some(&mut self.streams));
    }

    /// Hands the engine's events to those who wait for them.
    pub(crate) fn dispatch(&mut self, now_ms: u64, options: &Options) {
        self.drop_unclaimed(now_ms);
        while let Some(event) = self.engine.poll_event() {
            match event {
                engine::Event::Message { message, unacked } => self.message(now_ms, message, unacked),
                engine::Event::Published { token, end } => {
                    self.has_ended = true;
                    if let Err(error) = &end {
                        self.traces.undelivered(token, error);
                    }
                    self.kept.ended(token, &end);
                    answer(self.deliveries.remove(&token), end);
                }
                engine::Event::Stored { token, end } => self.kept.stored(token, end),
                engine::Event::Subscribed { token, end } => answer(self.subscribes.remove(&token), end),
                engine::Event::Unsubscribed { token, end } => self.unsubscribed(token, end),
                engine::Event::Responded { token, end } => answer(self.responses.remove(&token), end),
                engine::Event::ResubscribeRefused { filter, reason } => {
                    self.streams.unsubscribed([&filter]);
                    self.tell(Event::ResubscribeRefused { filter, reason });
                }
                engine::Event::Challenge { data } => self.challenges.push_back(data),
                engine::Event::Reauthenticated => self.tell(Event::Reauthenticated),
                engine::Event::Pong => {}
                engine::Event::Connected(connected) => {
                    self.failed = None;
                    self.is_online = true;
                    self.agreed = Some(connected.clone());
                    self.news = Some(State::Online(connected.clone()));
                    self.tell(Event::Connected(connected));
                }
                engine::Event::Refused {
                    refusal,
                    retry_with,
                    retry_at_ms,
                } => {
                    self.has_ended = true;
                    let cause = Lost::Refused(refusal);
                    self.lost(now_ms, cause, retry_with.is_some(), retry_at_ms, options);
                }
                engine::Event::Lost {
                    cause,
                    retry_with,
                    retry_at_ms,
                } => {
                    self.has_ended = true;
                    self.lost(now_ms, cause, retry_with.is_some(), retry_at_ms, options);
                }
            }
        }
        if self.kept.has_waiters() {
            self.kept.progress(&self.engine);
        }
        if self.drops_told_at().is_some_and(|at_ms| at_ms <= now_ms) || self.engine.closed().is_some() {
            self.tell_drops(now_ms);
        }
    }

    /// When messages that were dropped are told, if there are any: at once, but not too often.
    fn drops_told_at(&self) -> Option<u64> {
        self.streams.has_dropped().then_some(self.no_drops_before_ms)
    }

    fn tell_drops(&mut self, now_ms: u64) {
        let messages = self.streams.dropped();
        if messages > 0 {
            self.no_drops_before_ms = now_ms + limits::DROPS_TOLD_EVERY_MS;
            self.tell(Event::Dropped { messages });
        }
    }

    fn message(&mut self, now_ms: u64, message: Incoming, unacked: Option<Unacked>) {
        if let Some(unacked) = self.streams.deliver(now_ms, message, unacked) {
            self.engine.acknowledge(unacked);
        }
    }

    fn drop_unclaimed(&mut self, now_ms: u64) {
        while let Some(queued) = self.streams.pop_unclaimed(now_ms) {
            let topic = queued.message.topic.clone();
            if let Some(unacked) = queued.share.settle() {
                self.engine.acknowledge(unacked);
            }
            self.tell(Event::Unclaimed { topic });
        }
    }

    fn unsubscribed(&mut self, token: Token, end: Result<UnsubAck, RequestError>) {
        let Some(Unsubscribing {
            filters,
            answer: waiting,
        }) = self.unsubscribes.remove(&token)
        else {
            return;
        };
        if let Ok(unsuback) = &end {
            let is_gone = |index: usize| {
                unsuback
                    .reasons
                    .get(index)
                    .is_none_or(|reason| !reason.is_error())
            };
            let gone = filters.iter().enumerate().filter(|(index, _)| is_gone(*index));
            self.streams.unsubscribed(gone.map(|(_, filter)| filter));
        }
        answer(Some(waiting), end);
    }

    /// A connection was lost, or an attempt has failed.
    fn lost(
        &mut self,
        now_ms: u64,
        cause: Lost,
        again_at_once: bool,
        retry_at_ms: Option<u64>,
        options: &Options,
    ) {
        self.challenges.clear();
        let was_online = std::mem::take(&mut self.is_online);
        let retry_in = retry_at_ms.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
        if !was_online {
            let error = self.failed.take();
            self.failed = Some(error.unwrap_or_else(|| connect_error(options, self.server, &cause)));
        }
        if again_at_once {
            return;
        }
        match (retry_in, &self.failed) {
            (Some(retry_in), Some(error)) if !was_online => {
                let refusal = match &cause {
                    Lost::Refused(refusal) => Some(refusal.clone()),
                    _ => None,
                };
                self.tell(Event::RetryFailed {
                    error: error.to_string(),
                    refusal,
                    retry_in,
                });
            }
            _ => self.tell(Event::Lost {
                cause: cause.clone(),
                retry_in,
            }),
        }
        self.news = Some(match retry_in {
            Some(retry_in) => State::Offline { cause, retry_in },
            None => State::Closed(cause),
        });
    }

    fn tell(&mut self, event: Event) {
        self.traces.happened(&event);
        if let Listeners::Some(events) = &self.listeners {
            // An error says that nobody listens any more.
            let _ = events.send(event);
        }
    }

    /// Whether the connection is to be read: not while the buffers are full, but for an application that
    /// waits for the server, which would wait for ever.
    pub(crate) fn wants_reading(&self, options: &Options) -> bool {
        if !self.streams.is_full() {
            return true;
        }
        // Nothing but the buffers bounds messages that are acknowledged when they arrive.
        let is_bounded = options.policy.acknowledge == Acknowledge::Taken || !self.streams.is_overfull();
        is_bounded && (self.publishers > 0 || self.engine.awaits_answer())
    }

    pub(crate) fn take(&mut self, slot: Slot) -> Option<Queued> {
        self.streams.pop(slot)
    }

    /// Whether nothing comes any more to a stream that is empty; else its reader is woken when something does.
    pub(crate) fn poll_end(&mut self, slot: Slot, context: &mut Context<'_>) -> Poll<()> {
        if self.engine.closed().is_some() || self.streams.is_over(slot) {
            return Poll::Ready(());
        }
        self.streams.wait(slot, context.waker());
        Poll::Pending
    }

    /// Asks for subscriptions.
    pub(crate) fn ask(&mut self, now_ms: u64, subscribe: Subscribe) -> Result<Answer<SubAck>, RequestError> {
        let token = self.engine.subscribe(now_ms, subscribe)?;
        let (sender, answer) = oneshot::channel();
        self.subscribes.insert(token, sender);
        Ok(answer)
    }

    /// Asks for a response.
    pub(crate) fn request(
        &mut self,
        now_ms: u64,
        message: Message,
        timeout_ms: u64,
    ) -> Result<(Token, oneshot::Receiver<Result<Incoming, ResponseError>>), ResponseError> {
        let token = self.engine.request_response(now_ms, message, timeout_ms)?;
        let (sender, answer) = oneshot::channel();
        self.responses.insert(token, sender);
        if let Some(message) = self.engine.message_of(token) {
            // Nobody waits for its acknowledgement but who flushes.
            self.deliveries.insert(message, oneshot::channel().0);
        }
        Ok((token, answer))
    }

    /// When [`Engine::timeout`] or the streams have something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let all = [
            self.engine.deadline(),
            self.streams.deadline(),
            self.drops_told_at(),
        ];
        all.into_iter().flatten().min()
    }
}

/// An answer of the server that somebody waits for.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, RequestError>>;

/// What a caller of [`Client::connect`](crate::Client::connect) is told.
pub(crate) fn connect_error(options: &Options, server: usize, cause: &Lost) -> ConnectError {
    let address = options.address_of(server);
    match cause {
        Lost::Refused(refusal) => ConnectError::Refused {
            address,
            refusal: refusal.clone(),
        },
        Lost::NoAnswer { after_ms } => ConnectError::Timeout {
            address,
            after: Duration::from_millis(*after_ms),
        },
        Lost::Login { text } => ConnectError::Login {
            address,
            text: text.clone(),
        },
        cause => ConnectError::Lost {
            address,
            cause: cause.clone(),
        },
    }
}

fn answer<T>(waiting: Option<oneshot::Sender<T>>, answer: T) {
    if let Some(waiting) = waiting {
        // An error says that nobody waits any more.
        let _ = waiting.send(answer);
    }
}
