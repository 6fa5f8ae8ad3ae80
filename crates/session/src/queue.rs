//! Messages that wait for a session: its client is away, or its window is full.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_codec::Qos;

use crate::limits::QueueLimits;
use crate::message::{Key, Message};

/// A message on its way to one session, with what the subscriptions made of it.
#[derive(Debug, Clone)]
pub struct Queued {
    /// The message.
    pub message: Arc<Message>,
    /// The QoS to send it at.
    pub qos: Qos,
    /// The RETAIN to send it with.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: Box<[u32]>,
    /// The filter of the shared subscription that it came by.
    pub shared: Option<Arc<str>>,
    /// Sent because of a SUBSCRIBE, not because of a PUBLISH.
    pub replay: bool,
    /// It may have been sent before the broker was started.
    pub resent: bool,
    /// Its place among the recipients of the message.
    pub at: u32,
}

impl Queued {
    /// What it is stored as; none: it is not.
    pub fn key(&self) -> Option<Key> {
        (self.message.number.get() != 0 && !self.replay && self.qos != Qos::AtMostOnce)
            .then(|| Key::new(self.message.number.get(), self.at))
    }
}

/// A stored message that was to be loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it was stored as.
    pub key: Key,
    /// What was found.
    pub found: Found,
}

/// What was found of a stored message.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // nearly all are messages
pub enum Found {
    /// The message, with what its record says beside it.
    Message(Queued),
    /// Its record, which cannot be read.
    Unreadable,
    /// Nothing: the store has refused it, and whom that concerns was told.
    Nothing,
}

#[derive(Debug)]
enum Item {
    /// In memory.
    Here(Queued),
    /// Only in the store; some in a row.
    Away(VecDeque<Key>),
}

/// A bounded queue. At its limit the newest is dropped (`drop_new`), and the caller says so.
///
/// Of stored messages only a window is in memory; the others wait in the store, and are loaded a page at a time when
/// their turn comes.
#[derive(Debug, Default)]
pub struct Queue {
    items: VecDeque<Item>,
    /// Messages, wherever they are.
    len: usize,
    /// Their bytes.
    bytes: usize,
    /// Bytes of stored messages that are in memory.
    window_bytes: usize,
    /// How many of `items` are replays of retained messages.
    replays: usize,
    /// A page is on its way.
    is_loading: bool,
    /// Whether some that are away may have come by a shared subscription.
    has_shared_away: bool,
}

impl Queue {
    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that wait, also in the store. Replays are not counted: their messages are the retained ones.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of stored messages that are in memory.
    pub fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// Whether replays of retained messages wait: then a live message must queue up behind them,
    /// whatever its QoS, so that an older message never follows a newer one.
    pub fn has_replays(&self) -> bool {
        self.replays > 0
    }

    /// Whether it would take another message.
    pub fn has_room(&self, limits: QueueLimits) -> bool {
        self.len - self.replays < limits.messages_max && self.bytes < limits.bytes_max
    }

    /// Appends a message; `false`: there was no room, and it is dropped. A replay always finds room:
    /// it holds a retained message that is there anyway. `window_bytes_max`: what of those with a `key` may be in
    /// memory; the others wait in the store.
    #[must_use]
    pub fn push(
        &mut self,
        queued: Queued,
        key: Option<Key>,
        limits: QueueLimits,
        window_bytes_max: usize,
    ) -> bool {
        let bytes = queued.message.size();
        if queued.replay {
            self.replays += 1;
        } else if self.has_room(limits) {
            self.bytes += bytes;
        } else {
            return false;
        }
        self.len += 1;
        match (key, self.items.back_mut()) {
            (Some(key), Some(Item::Away(run))) => {
                self.has_shared_away |= queued.shared.is_some();
                run.push_back(key);
            }
            (Some(key), _) if self.window_bytes + bytes > window_bytes_max => {
                self.has_shared_away |= queued.shared.is_some();
                self.items.push_back(Item::Away(VecDeque::from([key])));
            }
            _ => {
                self.window_bytes += if key.is_some() { bytes } else { 0 };
                self.items.push_back(Item::Here(queued));
            }
        }
        true
    }

    /// Appends messages that only the store has, with their bytes in all: what was queued when a broker ended.
    pub fn restore(&mut self, keys: impl IntoIterator<Item = Key>, bytes: usize, has_shared: bool) {
        let run: VecDeque<_> = keys.into_iter().collect();
        if run.is_empty() {
            return;
        }
        self.len += run.len();
        self.bytes += bytes;
        self.has_shared_away |= has_shared;
        self.items.push_back(Item::Away(run));
    }

    /// The next message; none also while it must be loaded.
    pub fn front(&self) -> Option<&Queued> {
        match self.items.front()? {
            Item::Here(queued) => Some(queued),
            Item::Away(_) => None,
        }
    }

    /// Takes the next message, if it is in memory.
    pub fn pop(&mut self) -> Option<Queued> {
        self.front()?;
        let Some(Item::Here(queued)) = self.items.pop_front() else {
            return None;
        };
        self.uncount(&queued);
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(queued)
    }

    fn uncount(&mut self, queued: &Queued) {
        self.len -= 1;
        let bytes = queued.message.size();
        if queued.replay {
            self.replays -= 1;
        } else {
            self.bytes = self.bytes.saturating_sub(bytes);
            if queued.key().is_some() {
                self.window_bytes = self.window_bytes.saturating_sub(bytes);
            }
            if self.len == self.replays {
                // What could not be loaded was counted by guess.
                self.bytes = 0;
            }
        }
    }

    /// What is to be loaded next, at most `most`: nothing as long as enough is in memory or on its way.
    pub fn next_load(&mut self, most: usize) -> Vec<Key> {
        if self.is_loading {
            return Vec::new();
        }
        let ahead = self.items.iter().take(most / 2);
        let at = ahead.take_while(|item| matches!(item, Item::Here(_))).count();
        match self.items.get(at) {
            Some(Item::Away(run)) => {
                self.is_loading = true;
                run.iter().take(most).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// A page came: the first of those that were asked for. Returns how many of them cannot be read.
    pub fn loaded(&mut self, page: Vec<Loaded>) -> usize {
        self.is_loading = false;
        let mut gone = 0;
        let Some(at) = self.items.iter().position(|item| matches!(item, Item::Away(_))) else {
            return gone;
        };
        let mut rest = self.items.split_off(at);
        let Some(Item::Away(mut run)) = rest.pop_front() else {
            unreachable!("it is a run that was found")
        };
        for Loaded { key, found } in page {
            if run.front() != Some(&key) {
                continue;
            }
            run.pop_front();
            gone += usize::from(matches!(found, Found::Unreadable));
            if let Found::Message(queued) = found {
                self.window_bytes += queued.message.size();
                self.items.push_back(Item::Here(queued));
            } else {
                // Nobody knows its size any more.
                self.bytes -= self.bytes / self.len;
                self.len -= 1;
            }
        }
        if !run.is_empty() {
            self.items.push_back(Item::Away(run));
        }
        self.items.append(&mut rest);
        if self.len == 0 {
            self.bytes = 0;
        }
        gone
    }

    /// Drops what has expired [MQTT5-3.3.2-5]; calls `each` with what goes. What is not in memory is looked at when
    /// it has been loaded.
    pub fn drop_expired(&mut self, now: crate::Now, each: impl FnMut(&Queued)) -> usize {
        let before = self.len;
        self.retain(|queued| !queued.message.view().has_expired(now), each);
        before - self.len
    }

    /// Drops messages of QoS 0 and replays: they do not outlive the connection.
    pub fn drop_transient(&mut self, keep_qos0: bool) {
        let stays = |queued: &Queued| !queued.replay && (keep_qos0 || queued.qos != Qos::AtMostOnce);
        self.retain(stays, |_| {});
    }

    fn retain(&mut self, stays: impl Fn(&Queued) -> bool, mut each: impl FnMut(&Queued)) {
        let mut items = std::mem::take(&mut self.items);
        items.retain(|item| {
            let Item::Here(queued) = item else { return true };
            let stays = stays(queued);
            if !stays {
                each(queued);
                self.uncount(queued);
            }
            stays
        });
        self.items = items;
    }

    /// Whether some that are not in memory may have come by a shared subscription.
    pub fn has_shared_away(&self) -> bool {
        self.has_shared_away && self.items.iter().any(|item| matches!(item, Item::Away(_)))
    }

    /// The session ends: all messages in memory, oldest first, and the keys of the others.
    pub fn into_parts(self) -> (Vec<Queued>, Vec<Key>) {
        let (mut here, mut away) = (Vec::new(), Vec::new());
        for item in self.items {
            match item {
                Item::Here(queued) => here.push(queued),
                Item::Away(run) => away.extend(run),
            }
        }
        (here, away)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use martlet_codec::{PropertiesBuf, TopicBuf};

    pub(crate) fn queued(topic: &str) -> Queued {
        Queued {
            message: Arc::new(Message {
                topic: TopicBuf::new(topic).unwrap(),
                properties: PropertiesBuf::new(),
                payload: bytes::Bytes::from_static(b"x"),
                qos: Qos::AtLeastOnce,
                retain: false,
                expires_at_ms: None,
                publisher: None,
                number: crate::Number::default(),
            }),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: Box::default(),
            shared: None,
            replay: false,
            resent: false,
            at: 0,
        }
    }

    fn push(queue: &mut Queue, queued: Queued, limits: QueueLimits) -> bool {
        queue.push(queued, None, limits, usize::MAX)
    }

    #[test]
    fn the_newest_is_dropped_at_the_limit() {
        let limits = QueueLimits {
            messages_max: 2,
            bytes_max: usize::MAX,
        };
        let mut queue = Queue::default();
        assert!(push(&mut queue, queued("a"), limits) && push(&mut queue, queued("b"), limits));
        assert!(!push(&mut queue, queued("c"), limits));
        assert!(push(
            &mut queue,
            Queued {
                replay: true,
                ..queued("retained")
            },
            limits
        ));
        let topics: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|q| q.message.topic.to_string())
            .collect();
        assert_eq!(topics, ["a", "b", "retained"]);
        assert_eq!((queue.bytes(), queue.has_replays()), (0, false));
    }

    #[test]
    fn bytes_are_a_limit_too() {
        let limits = QueueLimits {
            messages_max: usize::MAX,
            bytes_max: 300,
        };
        let mut queue = Queue::default();
        assert!(push(&mut queue, queued("a"), limits) && push(&mut queue, queued("b"), limits));
        assert!(!push(&mut queue, queued("c"), limits));
    }

    fn stored(number: u64) -> Queued {
        let mut queued = queued("t");
        Arc::get_mut(&mut queued.message).unwrap().number = number.into();
        queued
    }

    #[test]
    fn what_does_not_fit_into_the_window_waits_in_the_store_in_its_order() {
        let limits = QueueLimits {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let window = 2 * stored(1).message.size();
        let mut queue = Queue::default();
        for number in 1..=7 {
            let queued = stored(number);
            let key = queued.key();
            assert!(queue.push(queued, key, limits, window));
        }
        // A message that is not stored waits behind those that are.
        assert!(push(&mut queue, queued("later"), limits));
        assert_eq!((queue.len(), queue.window_bytes()), (8, window));
        assert_eq!(queue.next_load(2), [], "enough is in memory");
        assert_eq!(queue.pop().map(|q| q.message.number.get()), Some(1));
        let wanted = queue.next_load(4);
        assert_eq!(
            wanted.iter().map(|key| key.number()).collect::<Vec<_>>(),
            [3, 4, 5, 6]
        );
        assert_eq!(queue.next_load(4), [], "one page at a time");
        // The store gave less than it was asked for, and one of them has gone.
        let page = |number: u64, found| Loaded {
            key: Key::new(number, 0),
            found,
        };
        let there = |number| page(number, Found::Message(stored(number)));
        assert_eq!(queue.loaded(vec![there(3), page(4, Found::Unreadable)]), 1);
        let numbers: Vec<_> = std::iter::from_fn(|| queue.pop().map(|q| q.message.number.get())).collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!(queue.next_load(4).len(), 3);
        assert_eq!(queue.loaded(vec![there(5), page(6, Found::Nothing), there(7)]), 0);
        let numbers: Vec<_> = std::iter::from_fn(|| queue.pop().map(|q| q.message.number.get())).collect();
        assert_eq!(numbers, [5, 7, 0]);
        assert_eq!((queue.len(), queue.bytes(), queue.window_bytes()), (0, 0, 0));
    }
}
