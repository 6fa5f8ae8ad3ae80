//! Received messages between the engine and those who take them: each stream has filters and a bounded
//! buffer of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use martlet_codec::{FilterBuf, TopicBuf};
use slab::Slab;

use crate::engine::{Inbox, Unacked};
use crate::filters::{FilterTree, Slot};
use crate::limits;
use crate::message::Incoming;
use crate::routes::{Routes, Slots};

/// The buffer of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Messages that wait to be taken. At it `overflow` says what happens to messages of QoS 0. Those of
    /// QoS 1 and 2 are never dropped: they are not acknowledged, so the server stops sending when it has
    /// as many under way as it may.
    pub messages_max: usize,
    /// What happens to messages of QoS 0 beyond it.
    pub overflow: BufferOverflow,
}

/// What happens to messages of QoS 0 for which a stream has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BufferOverflow {
    /// The client reads no more from the server until there is room: the messages wait in the network, and the other
    /// streams of the client wait too. Keep alive goes on.
    ///
    /// That holds as long as the application waits for nothing. While it waits for an answer of the server (the
    /// acknowledgement of a message, of a SUBSCRIBE, a response, room in the outbox) the client has to read on, and then
    /// messages of QoS 0 beyond four times [`Options::inbox`](crate::Options::inbox) **are dropped**: of 20,000 that nobody takes
    /// 16,000, with the default of 1,000. [`Event::Dropped`](crate::Event::Dropped) counts them. A server drops messages
    /// of QoS 0 too when nobody reads.
    #[default]
    Wait,
    /// The oldest in the buffer is dropped.
    DropOldest,
    /// The one that comes is dropped.
    DropNewest,
}

/// A stream's part in the acknowledgement of a message, which leaves when all have settled theirs.
#[derive(Debug, Default)]
pub(crate) enum Share {
    /// Nothing is to be acknowledged.
    #[default]
    None,
    /// No other stream has it.
    Whole(Unacked),
    Part(Arc<Unacked>),
}

impl Share {
    fn new(unacked: Option<Unacked>) -> Self {
        unacked.map_or(Self::None, Self::Whole)
    }

    /// One more part.
    fn split(&mut self) -> Self {
        if let Self::Whole(unacked) = *self {
            *self = Self::Part(Arc::new(unacked));
        }
        match self {
            Self::Part(unacked) => Self::Part(Arc::clone(unacked)),
            _ => Self::None,
        }
    }

    /// What to acknowledge: none as long as another stream has a part.
    pub(crate) fn settle(self) -> Option<Unacked> {
        match self {
            Self::None => None,
            Self::Whole(unacked) => Some(unacked),
            Self::Part(unacked) => Arc::into_inner(unacked),
        }
    }
}

/// A message that waits to be taken.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Incoming,
    pub(crate) share: Share,
}

impl Queued {
    fn bytes(&self) -> usize {
        let message = &self.message;
        message.topic.as_str().len()
            + message.payload.len()
            + message.properties.as_properties().as_bytes().len()
    }
}

#[derive(Debug)]
struct Stream {
    queue: VecDeque<Queued>,
    buffer: Buffer,
    filters: Vec<FilterBuf>,
    /// Whether the server was asked for its filters: then messages go on coming when it is dropped.
    is_subscribed: bool,
    state: StreamState,
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Open,
    /// Nothing comes any more.
    Over,
    /// Nobody takes messages any more: they are acknowledged and dropped.
    Abandoned,
}

impl Stream {
    fn is_full(&self) -> bool {
        self.queue.len() >= self.buffer.messages_max.max(1)
    }

    /// Whether it keeps the socket from being read.
    fn blocks(&self) -> bool {
        self.buffer.overflow == BufferOverflow::Wait && self.is_full()
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Inbox for Streams {
    fn message(&mut self, now_ms: u64, message: Incoming, unacked: Option<Unacked>) -> Option<Unacked> {
        self.deliver(now_ms, message, unacked)
    }
}

/// All streams of a client.
#[derive(Debug)]
pub(crate) struct Streams {
    streams: Slab<Stream>,
    filters: FilterTree,
    /// The stream of what no other wants.
    rest: Option<Slot>,
    /// Messages that no stream wants yet, and when they came.
    unclaimed: VecDeque<(u64, Queued)>,
    unclaimed_qos0: usize,
    unclaimed_for_ms: u64,
    /// All messages that were not taken, and their bytes.
    messages: usize,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    /// Streams that keep the socket from being read.
    blocking: usize,
    /// Messages of QoS 0 that were dropped since that was told last.
    dropped: u64,
    routes: Routes,
}

impl Streams {
    pub(crate) fn new(messages_max: usize, bytes_max: usize, unclaimed_for_ms: u64) -> Self {
        Self {
            streams: Slab::new(),
            filters: FilterTree::default(),
            rest: None,
            unclaimed: VecDeque::new(),
            unclaimed_qos0: 0,
            unclaimed_for_ms,
            messages: 0,
            bytes: 0,
            messages_max: messages_max.max(1),
            bytes_max: bytes_max.max(1),
            blocking: 0,
            dropped: 0,
            routes: Routes::default(),
        }
    }

    /// Whether there is so much that the socket should not be read.
    pub(crate) fn is_full(&self) -> bool {
        self.blocking > 0 || self.is_above(1)
    }

    /// Whether there is far too much.
    pub(crate) fn is_overfull(&self) -> bool {
        self.is_above(limits::INBOX_STRETCH)
    }

    fn is_above(&self, factor: usize) -> bool {
        self.messages >= self.messages_max.saturating_mul(factor)
            || self.bytes >= self.bytes_max.saturating_mul(factor)
    }

    /// Messages that wait to be taken.
    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    /// Whether messages of QoS 0 were dropped since that was told last.
    pub(crate) const fn has_dropped(&self) -> bool {
        self.dropped > 0
    }

    /// How many messages of QoS 0 were dropped since the last call.
    pub(crate) fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// A new stream. What waits for one that wants it goes there first.
    pub(crate) fn open(&mut self, filters: Vec<FilterBuf>, buffer: Buffer, is_subscribed: bool) -> Slot {
        for filter in &filters {
            self.end_abandoned(filter);
        }
        let slot = self.insert(filters, buffer, is_subscribed);
        let filters = &self.streams[slot].filters;
        for filter in filters {
            self.filters.insert(filter.as_filter(), slot);
        }
        let wants = |topic: &TopicBuf| {
            let mut filters = self.streams[slot].filters.iter();
            filters.any(|filter| filter.as_filter().matches(topic.as_topic()))
        };
        let (claimed, others) = self
            .unclaimed
            .drain(..)
            .partition(|(_, queued)| wants(&queued.message.topic));
        self.unclaimed = others;
        self.claim(slot, claimed);
        slot
    }

    /// The stream of all that no other wants; one that there was before is over.
    pub(crate) fn open_rest(&mut self, buffer: Buffer) -> Slot {
        if let Some(slot) = self.rest.take() {
            self.end(slot);
        }
        let slot = self.insert(Vec::new(), buffer, true);
        self.rest = Some(slot);
        let claimed = std::mem::take(&mut self.unclaimed);
        self.claim(slot, claimed);
        slot
    }

    fn insert(&mut self, filters: Vec<FilterBuf>, buffer: Buffer, is_subscribed: bool) -> Slot {
        self.routes.forget();
        self.streams.insert(Stream {
            queue: VecDeque::new(),
            buffer,
            filters,
            is_subscribed,
            state: StreamState::Open,
            reader: None,
        })
    }

    fn claim(&mut self, slot: Slot, claimed: VecDeque<(u64, Queued)>) {
        for (_, queued) in claimed {
            self.unclaimed_qos0 -= usize::from(queued.message.packet_id.is_none());
            self.count_out(&queued);
            self.push(slot, queued);
        }
    }

    /// A message came. Returns what to acknowledge at once, because nobody will take it.
    pub(crate) fn deliver(
        &mut self,
        now_ms: u64,
        message: Incoming,
        unacked: Option<Unacked>,
    ) -> Option<Unacked> {
        if message.packet_id.is_none() && self.is_overfull() {
            self.dropped += 1;
            return None;
        }
        let share = Share::new(unacked);
        // Most have one stream, and are moved as little as may be.
        if let Some(&[slot]) = self.routes.get(&message.topic) {
            return self.push(slot, Queued { message, share });
        }
        self.hand_out(now_ms, Queued { message, share })
    }

    /// The streams that get a topic.
    fn route(&mut self, topic: &TopicBuf) -> Slots {
        if let Some(slots) = self.routes.get(topic) {
            return Slots::from_slice(slots);
        }
        let mut found = Vec::new();
        self.filters.matches(topic.as_topic(), &mut found);
        if found.is_empty() {
            found.extend(self.rest);
        }
        self.routes.put(topic, &found);
        found.into()
    }

    #[inline(never)]
    fn hand_out(&mut self, now_ms: u64, mut queued: Queued) -> Option<Unacked> {
        let slots = self.route(&queued.message.topic);
        let Some((last, others)) = slots.split_last() else {
            self.hold(now_ms, queued);
            return None;
        };
        for slot in others {
            let copy = Queued {
                message: queued.message.clone(),
                share: queued.share.split(),
            };
            // Where nobody will take it, the one that is left settles it.
            let settled = self.push(*slot, copy);
            debug_assert!(settled.is_none());
        }
        self.push(*last, queued)
    }

    /// Keeps a message that no stream wants yet.
    fn hold(&mut self, now_ms: u64, queued: Queued) {
        if queued.message.packet_id.is_none() {
            if self.unclaimed_qos0 >= limits::UNCLAIMED_QOS0_MAX {
                self.drop_unclaimed_qos0();
            }
            self.unclaimed_qos0 += 1;
        }
        self.count_in(&queued);
        self.unclaimed.push_back((now_ms, queued));
    }

    fn drop_unclaimed_qos0(&mut self) {
        let is_qos0 = |(_, queued): &(u64, Queued)| queued.message.packet_id.is_none();
        if let Some(index) = self.unclaimed.iter().position(is_qos0)
            && let Some((_, queued)) = self.unclaimed.remove(index)
        {
            self.count_out(&queued);
            self.unclaimed_qos0 -= 1;
            self.dropped += 1;
        }
    }

    /// Takes back the next message that nobody claimed in time.
    pub(crate) fn pop_unclaimed(&mut self, now_ms: u64) -> Option<Queued> {
        let (since_ms, _) = self.unclaimed.front()?;
        if since_ms + self.unclaimed_for_ms > now_ms {
            return None;
        }
        let (_, queued) = self.unclaimed.pop_front()?;
        self.count_out(&queued);
        self.unclaimed_qos0 -= usize::from(queued.message.packet_id.is_none());
        Some(queued)
    }

    /// When the next message has waited too long for a stream.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let (since_ms, _) = self.unclaimed.front()?;
        Some(since_ms + self.unclaimed_for_ms)
    }

    /// Puts a message into a buffer. Returns what to acknowledge if nobody will take it there.
    fn push(&mut self, slot: Slot, queued: Queued) -> Option<Unacked> {
        let stream = &mut self.streams[slot];
        match stream.state {
            StreamState::Open => {}
            StreamState::Over | StreamState::Abandoned => return queued.share.settle(),
        }
        let is_qos0 = queued.message.packet_id.is_none();
        if is_qos0 && stream.is_full() {
            match stream.buffer.overflow {
                BufferOverflow::Wait => {}
                BufferOverflow::DropNewest => {
                    self.dropped += 1;
                    return None;
                }
                BufferOverflow::DropOldest => self.drop_oldest(slot),
            }
        }
        self.count_in(&queued);
        let stream = &mut self.streams[slot];
        let blocked = stream.blocks();
        stream.queue.push_back(queued);
        self.blocking += usize::from(!blocked && stream.blocks());
        stream.wake();
        None
    }

    fn drop_oldest(&mut self, slot: Slot) {
        let queue = &mut self.streams[slot].queue;
        let oldest = queue.iter().position(|queued| queued.message.packet_id.is_none());
        if let Some(queued) = oldest.and_then(|index| queue.remove(index)) {
            self.count_out(&queued);
            self.dropped += 1;
        }
    }

    /// The next message of a stream.
    pub(crate) fn pop(&mut self, slot: Slot) -> Option<Queued> {
        let stream = &mut self.streams[slot];
        let blocked = stream.blocks();
        let queued = stream.queue.pop_front()?;
        self.blocking -= usize::from(blocked && !stream.blocks());
        self.count_out(&queued);
        Some(queued)
    }

    /// A message was not accepted: it is the next again.
    pub(crate) fn put_back(&mut self, slot: Slot, queued: Queued) {
        self.count_in(&queued);
        let stream = &mut self.streams[slot];
        let blocked = stream.blocks();
        stream.queue.push_front(queued);
        self.blocking += usize::from(!blocked && stream.blocks());
        stream.wake();
    }

    /// Whether nothing more comes once the buffer is empty.
    pub(crate) fn is_over(&self, slot: Slot) -> bool {
        self.streams[slot].state != StreamState::Open
    }

    /// Wakes that one when there is something to take.
    pub(crate) fn wait(&mut self, slot: Slot, reader: &Waker) {
        self.streams[slot]
            .reader
            .get_or_insert_with(|| reader.clone())
            .clone_from(reader);
    }

    /// Wakes all readers: the client is closed.
    pub(crate) fn wake_all(&mut self) {
        for (_, stream) in &mut self.streams {
            stream.wake();
        }
    }

    /// The server does not serve these filters, or not any more.
    pub(crate) fn unsubscribed<'a>(&mut self, filters: impl IntoIterator<Item = &'a FilterBuf>) {
        for filter in filters {
            for slot in self.filters.of(filter.as_filter()).to_vec() {
                if self.streams[slot].is_subscribed {
                    self.remove_filter(slot, filter);
                }
            }
        }
    }

    /// That stream has nothing of that filter any more.
    pub(crate) fn remove_filter(&mut self, slot: Slot, filter: &FilterBuf) {
        self.routes.forget();
        self.filters.remove(filter.as_filter(), slot);
        let stream = &mut self.streams[slot];
        stream.filters.retain(|other| other != filter);
        if stream.filters.is_empty() {
            self.end(slot);
        }
    }

    /// A stream that takes such messages again makes those over that only dropped them.
    fn end_abandoned(&mut self, filter: &FilterBuf) {
        for slot in self.filters.of(filter.as_filter()).to_vec() {
            if self.streams[slot].state == StreamState::Abandoned {
                self.remove_filter(slot, filter);
            }
        }
    }

    /// Nothing comes any more: the reader takes what there is, an abandoned one goes at once.
    fn end(&mut self, slot: Slot) {
        self.routes.forget();
        match self.streams[slot].state {
            StreamState::Abandoned => drop(self.streams.remove(slot)),
            StreamState::Open | StreamState::Over => {
                self.streams[slot].state = StreamState::Over;
                self.streams[slot].wake();
            }
        }
    }

    /// Its handle was dropped. Returns what to acknowledge: what it had not given out.
    ///
    /// As long as the server has its subscription, messages that only this one wanted are acknowledged
    /// and dropped.
    pub(crate) fn abandon(&mut self, slot: Slot) -> Vec<Unacked> {
        let mut unacked = Vec::new();
        while let Some(queued) = self.pop(slot) {
            unacked.extend(queued.share.settle());
        }
        let stream = &mut self.streams[slot];
        if stream.is_subscribed && stream.state == StreamState::Open {
            stream.state = StreamState::Abandoned;
            stream.reader = None;
            return unacked;
        }
        self.routes.forget();
        let stream = self.streams.remove(slot);
        for filter in &stream.filters {
            self.filters.remove(filter.as_filter(), slot);
        }
        unacked
    }

    fn count_in(&mut self, queued: &Queued) {
        self.messages += 1;
        self.bytes += queued.bytes();
    }

    fn count_out(&mut self, queued: &Queued) {
        self.messages -= 1;
        self.bytes -= queued.bytes();
    }
}
