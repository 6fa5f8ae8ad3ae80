//! What happens to a client, told to `tracing`. Never payloads, passwords or properties.
//!
//! It is gathered under the lock and told without it: who listens may use the client.

#[cfg(feature = "tracing")]
use std::time::Duration;

use crate::engine::Token;
use crate::error::{DeliveryError, Lost};
use crate::event::Event;
#[cfg(feature = "tracing")]
use crate::limits;

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    #[cfg(feature = "tracing")]
    list: Vec<Trace>,
}

#[cfg(feature = "tracing")]
#[derive(Debug)]
enum Trace {
    Connecting { server: String },
    Happened(Event),
    Undelivered { token: Token, error: DeliveryError },
    Closed(Lost),
}

#[cfg(feature = "tracing")]
impl Traces {
    fn push(&mut self, trace: Trace) {
        if self.list.len() < limits::EVENTS_MAX {
            self.list.push(trace);
        }
    }

    /// An attempt to connect begins.
    pub(crate) fn connecting(&mut self, server: impl FnOnce() -> String) {
        let server = server();
        self.push(Trace::Connecting { server });
    }

    pub(crate) fn happened(&mut self, event: &Event) {
        self.push(Trace::Happened(event.clone()));
    }

    /// An accepted message ends without having been delivered.
    pub(crate) fn undelivered(&mut self, token: Token, error: &DeliveryError) {
        let error = error.clone();
        self.push(Trace::Undelivered { token, error });
    }

    /// The client is closed for good.
    pub(crate) fn closed(&mut self, cause: &Lost) {
        self.push(Trace::Closed(cause.clone()));
    }

    /// Takes what is to be told, if there is something.
    pub(crate) fn take(&mut self) -> Option<Self> {
        (!self.list.is_empty()).then(|| std::mem::take(self))
    }

    pub(crate) fn tell(self, client_id: &str) {
        for trace in self.list {
            trace.tell(client_id);
        }
    }
}

#[cfg(not(feature = "tracing"))]
#[allow(clippy::unused_self)] // the same names as with it
impl Traces {
    pub(crate) fn connecting(&mut self, _: impl FnOnce() -> String) {}

    pub(crate) fn happened(&mut self, _: &Event) {}

    pub(crate) fn undelivered(&mut self, _: Token, _: &DeliveryError) {}

    pub(crate) fn closed(&mut self, _: &Lost) {}

    pub(crate) fn take(&mut self) -> Option<Self> {
        None
    }

    pub(crate) fn tell(self, _: &str) {}
}

#[cfg(feature = "tracing")]
impl Trace {
    fn tell(self, client_id: &str) {
        match self {
            Self::Connecting { server } => tracing::debug!(client_id, server, "connecting"),
            Self::Undelivered { token, error } => {
                tracing::warn!(client_id, token = token.0, %error, "message not delivered");
            }
            Self::Happened(event) => happened(client_id, &event),
            Self::Closed(Lost::ByUs) => tracing::info!(client_id, "closed"),
            Self::Closed(cause) => tracing::error!(client_id, %cause, "closed"),
        }
    }
}

#[cfg(feature = "tracing")]
fn happened(client_id: &str, event: &Event) {
    match event {
        Event::Connected(connected) => tracing::info!(
            client_id,
            version = %connected.version,
            session_present = connected.session_present,
            keep_alive_s = connected.keep_alive_s,
            "connected"
        ),
        Event::RetryFailed { error, retry_in, .. } => {
            let retry_in_ms = ms(*retry_in);
            tracing::warn!(client_id, error, retry_in_ms, "not connected");
        }
        Event::Lost {
            cause,
            retry_in: Some(retry_in),
        } => {
            let retry_in_ms = ms(*retry_in);
            tracing::warn!(client_id, %cause, retry_in_ms, "connection lost");
        }
        Event::Lost {
            cause,
            retry_in: None,
        } => tracing::warn!(client_id, %cause, "connection lost"),
        Event::ResubscribeRefused { filter, reason } => {
            let filter = filter.as_str();
            tracing::warn!(client_id, filter, %reason, "subscription not renewed");
        }
        Event::Reauthenticated => tracing::info!(client_id, "authenticated again"),
        Event::Unclaimed { topic } => {
            let topic = topic.as_str();
            tracing::warn!(client_id, topic, "no stream wants the message");
        }
        Event::Dropped { messages } => tracing::warn!(client_id, messages, "messages of QoS 0 dropped"),
        Event::Missed(_) => {}
    }
}

#[cfg(feature = "tracing")]
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
