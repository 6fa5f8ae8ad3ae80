//! What the client's handles and its connection share.

use std::task::{Context, Poll};

use martlet_codec::{PropertiesBuf, ReasonCode};
use tokio::sync::broadcast;

use crate::api::Delivery;
use crate::error::{Lost, PublishError, RequestError};
use crate::event::{Connected, Event, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::message::{Incoming, Message};

/// The client's state behind its handles.
pub(crate) struct Shared {
    events: broadcast::Sender<Event>,
    connected: Connected,
}

#[allow(clippy::unused_async, clippy::unused_self)]
impl Shared {
    pub(crate) async fn publish(&self, _: Message) -> Result<Delivery, PublishError> {
        Err(PublishError::Closed(Lost::ByUs))
    }

    pub(crate) fn try_publish(&self, _: Message) -> Result<Delivery, PublishError> {
        Err(PublishError::Closed(Lost::ByUs))
    }

    pub(crate) async fn subscribe(&self, _: Subscribe) -> Result<SubAck, RequestError> {
        Err(RequestError::Closed(Lost::ByUs))
    }

    pub(crate) async fn unsubscribe(&self, _: Unsubscribe) -> Result<UnsubAck, RequestError> {
        Err(RequestError::Closed(Lost::ByUs))
    }

    pub(crate) async fn flush(&self) -> Result<(), RequestError> {
        Err(RequestError::Closed(Lost::ByUs))
    }

    pub(crate) async fn disconnect(&self, _: ReasonCode, _: PropertiesBuf) -> Result<(), RequestError> {
        Err(RequestError::Closed(Lost::ByUs))
    }

    pub(crate) async fn disconnect_now(
        &self,
        _: ReasonCode,
        _: PropertiesBuf,
    ) -> Result<usize, RequestError> {
        Err(RequestError::Closed(Lost::ByUs))
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn connected(&self) -> Connected {
        self.connected.clone()
    }

    pub(crate) async fn closed(&self) -> Lost {
        Lost::ByUs
    }

    pub(crate) fn poll_incoming(&self, _: &mut Context<'_>) -> Poll<Option<Incoming>> {
        Poll::Ready(None)
    }

    pub(crate) fn take_incoming(&self) -> Option<Incoming> {
        None
    }
}
