//! Streams of messages, and the ways to take a message: acknowledged when it is taken, when the
//! application has dealt with it, or by hand.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use martlet_codec::{FilterBuf, ReasonCode};

use crate::error::{Rejected, RequestError};
use crate::event::{SubAck, Unsubscribe};
use crate::filters::Slot;
use crate::message::Incoming;
use crate::shared::{Handle, Shared};
use crate::streams::{Queued, Share};

/// The messages of some filters, in the order in which the server sent them, in a buffer of their own.
///
/// A message that several streams of a client want comes to each of them, and is acknowledged when the
/// last of them has it. A stream ends when its filters are unsubscribed or the client is closed, and
/// everything was taken.
///
/// Dropped, the server is told nothing: messages that only this stream wanted are acknowledged and dropped.
/// [`unsubscribe`](Self::unsubscribe) tells the server.
pub struct Subscription {
    handle: Arc<Handle>,
    slot: Slot,
    filters: Vec<FilterBuf>,
    granted: Option<SubAck>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("filters", &self.filters)
            .finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared().abandon(self.slot);
    }
}

impl Subscription {
    pub(crate) const fn new(handle: Arc<Handle>, slot: Slot, filters: Vec<FilterBuf>) -> Self {
        Self {
            handle,
            slot,
            filters,
            granted: None,
        }
    }

    /// The server has answered; what it refused belongs to the stream no longer.
    pub(crate) fn answered(mut self, suback: SubAck) -> Result<Self, RequestError> {
        let is_refused = |index: usize| suback.reasons.get(index).is_none_or(|reason| reason.is_error());
        let filters = std::mem::take(&mut self.filters);
        let (refused, granted): (Vec<_>, Vec<_>) = filters
            .into_iter()
            .enumerate()
            .partition(|(index, _)| is_refused(*index));
        let bare = |list: Vec<(usize, FilterBuf)>| list.into_iter().map(|(_, filter)| filter).collect();
        let (refused, granted): (Vec<FilterBuf>, Vec<FilterBuf>) = (bare(refused), bare(granted));
        self.shared().not_granted(self.slot, &refused);
        if granted.is_empty() {
            return Err(RequestError::Refused(suback));
        }
        self.filters = granted;
        self.granted = Some(suback);
        Ok(self)
    }

    fn shared(&self) -> &Shared {
        &self.handle.0
    }

    /// The server's answer: one code a filter that was asked for, refusals among them. `None` for a stream
    /// that asked for nothing.
    pub const fn granted(&self) -> Option<&SubAck> {
        self.granted.as_ref()
    }

    /// The filters of the stream: those that the server granted.
    pub fn filters(&self) -> &[FilterBuf] {
        &self.filters
    }

    /// The next message, which counts as dealt with: it is acknowledged. `None` once the stream has ended;
    /// see [`Client::closed`](crate::Client::closed) for why.
    ///
    /// Cancel-safe: dropped before it is ready, no message is lost.
    pub async fn recv(&mut self) -> Option<Incoming> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// A message that is there already, acknowledged as with [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Option<Incoming> {
        self.shared().try_recv(self.slot)
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.shared().poll_recv(self.slot, context)
    }

    /// Offers the next message: it is acknowledged when it is [accepted](Offer::accept), and offered again
    /// otherwise, also when the offer is dropped: a task that fails or is cancelled loses no message.
    /// `None` once the stream has ended.
    ///
    /// Cancel-safe: dropped before it is ready, no message is lost.
    pub async fn offer(&mut self) -> Option<Offer<'_>> {
        let queued = std::future::poll_fn(|context| self.shared().poll_take(self.slot, context)).await?;
        Some(Offer {
            subscription: self,
            queued: Some(queued),
        })
    }

    /// The next message and a receipt to acknowledge it with, for those who work on many at once.
    /// Acknowledgements leave in the order in which the messages came, whatever the order of the
    /// receipts. `None` once the stream has ended.
    ///
    /// Cancel-safe: dropped before it is ready, no message is lost.
    pub async fn recv_with_receipt(&mut self) -> Option<(Incoming, Receipt)> {
        let queued = std::future::poll_fn(|context| self.shared().poll_take(self.slot, context)).await?;
        let receipt = Receipt {
            shared: Arc::clone(&self.handle.0),
            share: queued.share,
        };
        Some((queued.message, receipt))
    }

    /// Tells the server to send no more of it, and waits for its answer. What came before can still be taken from the
    /// stream that is given back, which ends behind it.
    ///
    /// Cancel-safe: dropped after it was polled once, the UNSUBSCRIBE goes out all the same.
    pub async fn unsubscribe(self) -> Result<Self, RequestError> {
        let filters = self.filters.clone();
        if !filters.is_empty() {
            let request = Unsubscribe {
                filters,
                ..Unsubscribe::default()
            };
            self.shared().unsubscribe(request).await?;
        }
        Ok(self)
    }
}

impl futures_core::Stream for Subscription {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.poll_recv(context)
    }
}

/// A message that the application may accept. Dropped, it is offered again.
#[derive(Debug)]
pub struct Offer<'a> {
    subscription: &'a mut Subscription,
    queued: Option<Queued>,
}

impl Offer<'_> {
    /// The application has dealt with it: it is acknowledged.
    pub fn accept(mut self) -> Incoming {
        let queued = self.queued.take().expect("an offer has its message");
        self.subscription.shared().acknowledge(queued.share);
        queued.message
    }

    /// The application will not deal with it, for a reason of 0x80 and above, which the server is told in
    /// version 5; in version 3 it is acknowledged. Another reason is an error, and the message is offered
    /// again.
    pub fn refuse(mut self, reason: ReasonCode) -> Result<(), Rejected> {
        check_refusal(reason)?;
        let queued = self.queued.take().expect("an offer has its message");
        self.subscription.shared().refuse(queued.share, reason)
    }

    /// The same message is the next again.
    pub fn retry(self) {
        drop(self);
    }
}

impl Deref for Offer<'_> {
    type Target = Incoming;

    fn deref(&self) -> &Incoming {
        let queued = self.queued.as_ref();
        &queued.expect("an offer has its message").message
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if let Some(queued) = self.queued.take() {
            self.subscription
                .shared()
                .put_back(self.subscription.slot, queued);
        }
    }
}

/// What acknowledges a message that was taken. Dropped, it is acknowledged, but not while its thread
/// panics: then the server sends it again on the next connection.
#[derive(Debug)]
pub struct Receipt {
    shared: Arc<Shared>,
    share: Share,
}

impl Receipt {
    /// The application has dealt with the message.
    pub fn acknowledge(self) {
        drop(self);
    }

    /// The application will not deal with it, see [`Offer::refuse`]. With another reason than those of
    /// 0x80 and above it is acknowledged, and the error says so.
    pub fn refuse(mut self, reason: ReasonCode) -> Result<(), Rejected> {
        check_refusal(reason)?;
        self.shared.refuse(std::mem::take(&mut self.share), reason)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.shared.acknowledge(std::mem::take(&mut self.share));
        }
    }
}

fn check_refusal(reason: ReasonCode) -> Result<(), Rejected> {
    if crate::engine::may_refuse(reason) {
        Ok(())
    } else {
        Err(Rejected::Reason { reason })
    }
}
