//! Requests: a message with a response topic, and the response that carries its correlation data
//! (MQTT 5.0, section 4.10).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{FilterBuf, PropertyId, Qos, ReasonCode, TopicBuf, Value};

use super::{Engine, Event, Token};
use crate::error::{DeliveryError, Lost, PublishError, Rejected, RequestError, ResponseError};
use crate::event::{Acked, SubAck, Subscribe};
use crate::limits;
use crate::message::{Incoming, Message, without};

/// Requests that have no response yet.
#[derive(Debug, Default)]
pub(super) struct Responses {
    /// Where responses come; chosen once, for the life of the client.
    topic: Option<TopicBuf>,
    /// The SUBSCRIBE for it that has no answer yet.
    asked: Option<Token>,
    is_subscribed: bool,
    /// The Response Information of the server.
    pub(super) information: Option<String>,
    /// The message of each request that somebody waits for the response of.
    waiting: HashMap<Token, Token, FixedState>,
    /// The request of each message that has no end yet, even if nobody waits for the response any more.
    published: HashMap<Token, Token, FixedState>,
    timeouts: BinaryHeap<Reverse<(u64, Token)>>,
}

impl Responses {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the next request has waited too long; a time that may be too early, never too late.
    pub(super) fn next_timeout_ms(&self) -> Option<u64> {
        self.timeouts.peek().map(|Reverse((at_ms, _))| *at_ms)
    }
}

/// Timeouts of requests that have their response, beyond the number of those that have none. At it: they
/// are cleaned up.
const TIMEOUTS_SPARE: usize = 64;

impl Engine {
    /// Publishes a message that asks for a response; the response, or why there is none, is told by
    /// [`Event::Responded`], and the end of the message as that of any other. Response topic and correlation data are set
    /// here. Version 5.
    ///
    /// A request whose time is over before it was sent is not sent any more. One that was sent may have reached the server,
    /// and a session that is resumed sends it again.
    pub fn request_response(
        &mut self,
        now_ms: u64,
        mut message: Message,
        timeout_ms: u64,
    ) -> Result<Token, ResponseError> {
        self.now_ms = now_ms;
        self.check_open().map_err(ResponseError::Closed)?;
        if self.responses.waiting.len() >= limits::RESPONSES_MAX {
            let maximum = limits::RESPONSES_MAX;
            return Err(publish_error(Rejected::TooManyRequests { maximum }));
        }
        self.needs_version_5(true, "requests with a response")
            .map_err(publish_error)?;
        let topic = self.response_topic();
        self.subscribe_to_responses(&topic)?;
        let token = self.token();
        let ours = [PropertyId::ResponseTopic, PropertyId::CorrelationData];
        message.properties = without(&message.properties, &ours);
        message
            .properties
            .text(PropertyId::ResponseTopic, topic.as_str())
            .push(PropertyId::CorrelationData, Value::Binary(&token.0.to_be_bytes()));
        if self.has_store() {
            // The next run knows the message, not the request: it must not send it later than this one would.
            let timeout = Duration::from_millis(timeout_ms);
            let asked = message.time_to_live.or(self.options.outbox.time_to_live);
            message.time_to_live = Some(asked.map_or(timeout, |asked| asked.min(timeout)));
        }
        // The message may end while it is accepted, so the request must be known before.
        let message_token = Token(self.last_token + 1);
        self.responses.published.insert(message_token, token);
        self.responses.waiting.insert(token, message_token);
        if let Err(error) = self.publish(now_ms, message) {
            self.responses.published.remove(&message_token);
            self.responses.waiting.remove(&token);
            return Err(error.into());
        }
        self.remember_timeout(now_ms.saturating_add(timeout_ms), token);
        Ok(token)
    }

    /// Nobody waits for the response any more: a request that was not sent is not sent any more.
    pub fn forget_request(&mut self, token: Token) {
        if let Some(message) = self.responses.waiting.remove(&token) {
            self.withdraw(message);
        }
    }

    /// The message of a request that has no response yet.
    pub fn message_of(&self, request: Token) -> Option<Token> {
        self.responses.waiting.get(&request).copied()
    }

    fn withdraw(&mut self, message: Token) {
        if let Some(pending) = self.outbox.remove(message) {
            self.unsent(&pending, DeliveryError::Withdrawn);
        }
    }

    /// Whether a message that waits to be sent, perhaps again as new, is a request that nobody waits for any more.
    pub(super) fn is_given_up(&self, message: Token) -> bool {
        let request = self.responses.published.get(&message);
        request.is_some_and(|request| !self.responses.waiting.contains_key(request))
    }

    fn remember_timeout(&mut self, at_ms: u64, token: Token) {
        let Responses {
            timeouts, waiting, ..
        } = &mut self.responses;
        if timeouts.len() > waiting.len() + TIMEOUTS_SPARE {
            timeouts.retain(|Reverse((_, token))| waiting.contains_key(token));
        }
        timeouts.push(Reverse((at_ms, token)));
    }

    /// Where responses come.
    fn response_topic(&mut self) -> TopicBuf {
        if let Some(topic) = &self.responses.topic {
            return topic.clone();
        }
        let told = self.responses.information.as_deref();
        let base = match (&self.options.response_topic, told) {
            (Some(topic), _) => topic.as_str(),
            (None, Some(told)) => told.trim_end_matches('/'),
            (None, None) => "martlet/response",
        };
        let name = |base: &str| TopicBuf::new(format!("{base}/{:016x}", self.seed));
        // What the server says may be no topic name.
        let topic = name(base).or_else(|_| name("martlet/response"));
        let topic = topic.expect("the fixed base is a topic name");
        self.responses.topic = Some(topic.clone());
        topic
    }

    fn subscribe_to_responses(&mut self, topic: &TopicBuf) -> Result<(), ResponseError> {
        if self.responses.is_subscribed || self.responses.asked.is_some() {
            return Ok(());
        }
        let filter = FilterBuf::new(topic.as_str()).expect("a topic name is a filter");
        let subscribe = Subscribe::to(filter, Qos::AtLeastOnce);
        let asked = self.subscribe(self.now_ms, subscribe);
        self.responses.asked = Some(asked.map_err(ResponseError::Subscribe)?);
        Ok(())
    }

    /// Takes the answer to our own SUBSCRIBE, and gives back any other.
    pub(super) fn own_suback(
        &mut self,
        token: Token,
        end: Result<SubAck, RequestError>,
    ) -> Option<Result<SubAck, RequestError>> {
        if self.responses.asked != Some(token) {
            return Some(end);
        }
        self.responses.asked = None;
        let refused = match end {
            Ok(suback) if suback.reasons.iter().any(|reason| reason.is_error()) => {
                RequestError::Refused(suback)
            }
            Ok(_) => {
                self.responses.is_subscribed = true;
                return None;
            }
            Err(error) => error,
        };
        // No response can come: what was not sent yet asks for nothing.
        for message in self.fail_responses(|| ResponseError::Subscribe(refused.clone())) {
            self.withdraw(message);
        }
        None
    }

    /// The subscription to the response topic is gone with the session.
    pub(super) fn responses_unsubscribed(&mut self) {
        self.responses.is_subscribed = false;
    }

    /// Whether that filter is our own.
    pub(super) fn is_response_filter(&self, filter: &str) -> bool {
        let topic = self.responses.topic.as_ref();
        topic.is_some_and(|topic| topic.as_str() == filter)
    }

    /// A message has its end; if that is a request to which no response will come, it has its own.
    pub(super) fn request_published(&mut self, request: Token, end: Result<Acked, DeliveryError>) {
        let error = match end {
            Ok(acked) if acked.reason == ReasonCode::NoMatchingSubscribers => ResponseError::NobodyListens,
            Ok(_) => return,
            Err(error) => error.into(),
        };
        self.responded(request, Err(error));
    }

    /// The request of a message that has its end.
    pub(super) fn request_of(&mut self, message: Token) -> Option<Token> {
        self.responses.published.remove(&message)
    }

    /// Whether a message on that topic answers a request.
    pub(super) fn is_response(&self, topic: &TopicBuf) -> bool {
        self.responses.topic.as_ref() == Some(topic)
    }

    /// Takes a message on the response topic.
    pub(super) fn response_came(&mut self, message: Incoming) {
        let data = message.properties().binary(PropertyId::CorrelationData);
        let token = data.and_then(|data| data.try_into().ok()).map(u64::from_be_bytes);
        if let Some(token) = token {
            self.responded(Token(token), Ok(message));
        }
    }

    /// A request has its end; its message, if somebody has waited for it.
    fn responded(&mut self, token: Token, end: Result<Incoming, ResponseError>) -> Option<Token> {
        // A response that comes late, or twice, is nobody's.
        let message = self.responses.waiting.remove(&token)?;
        self.events.push_back(Event::Responded { token, end });
        Some(message)
    }

    /// Ends the requests that have waited too long.
    pub(super) fn expire_requests(&mut self) {
        while self
            .responses
            .next_timeout_ms()
            .is_some_and(|at_ms| at_ms <= self.now_ms)
        {
            if let Some(Reverse((_, token))) = self.responses.timeouts.pop()
                && let Some(message) = self.responded(token, Err(ResponseError::Timeout))
            {
                self.withdraw(message);
            }
        }
    }

    /// Ends all requests, and gives back their messages.
    fn fail_responses(&mut self, error: impl Fn() -> ResponseError) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.responses.waiting.keys().copied().collect();
        tokens.sort_unstable();
        let ended = tokens.into_iter();
        ended
            .filter_map(|token| self.responded(token, Err(error())))
            .collect()
    }

    /// No response is waited for any more.
    pub(super) fn close_responses(&mut self, cause: &Lost) {
        self.fail_responses(|| ResponseError::Closed(cause.clone()));
    }
}

fn publish_error(rejected: Rejected) -> ResponseError {
    PublishError::Rejected(rejected).into()
}
