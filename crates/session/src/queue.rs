//! Messages that wait for a session: its client is away, or its window is full.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_codec::Qos;

use crate::limits::QueueLimits;
use crate::message::Message;

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
}

/// A bounded queue. At its limit the newest is dropped (`drop_new`), and the caller says so.
#[derive(Debug, Default)]
pub struct Queue {
    items: VecDeque<Queued>,
    bytes: usize,
    /// How many of `items` are replays of retained messages.
    replays: usize,
}

impl Queue {
    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that wait. Replays are not counted: their messages are the retained ones.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether replays of retained messages wait: then a live message must queue up behind them,
    /// whatever its QoS, so that an older message never follows a newer one.
    pub fn has_replays(&self) -> bool {
        self.replays > 0
    }

    /// Whether it would take another message.
    pub fn has_room(&self, limits: QueueLimits) -> bool {
        self.items.len() - self.replays < limits.messages_max && self.bytes < limits.bytes_max
    }

    /// Appends a message; `false`: there was no room, and it is dropped. A replay always finds room:
    /// it holds a retained message that is there anyway.
    #[must_use]
    pub fn push(&mut self, queued: Queued, limits: QueueLimits) -> bool {
        if queued.replay {
            self.replays += 1;
        } else if self.has_room(limits) {
            self.bytes += queued.message.size();
        } else {
            return false;
        }
        self.items.push_back(queued);
        true
    }

    /// The next message.
    pub fn front(&self) -> Option<&Queued> {
        self.items.front()
    }

    /// Takes the next message.
    pub fn pop(&mut self) -> Option<Queued> {
        let queued = self.items.pop_front()?;
        self.uncount(&queued);
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(queued)
    }

    fn uncount(&mut self, queued: &Queued) {
        if queued.replay {
            self.replays -= 1;
        } else {
            self.bytes -= queued.message.size();
        }
    }

    /// Drops what has expired [MQTT5-3.3.2-5] and tells how many.
    pub fn drop_expired(&mut self, now: crate::Now) -> usize {
        let before = self.items.len();
        let mut items = std::mem::take(&mut self.items);
        items.retain(|queued| {
            let keep = !queued.message.view().has_expired(now);
            if !keep {
                self.uncount(queued);
            }
            keep
        });
        self.items = items;
        before - self.items.len()
    }

    /// Drops messages of QoS 0 and replays: they do not outlive the connection.
    pub fn drop_transient(&mut self, keep_qos0: bool) {
        let mut items = std::mem::take(&mut self.items);
        items.retain(|queued| {
            let keep = !queued.replay && (keep_qos0 || queued.qos != Qos::AtMostOnce);
            if !keep {
                self.uncount(queued);
            }
            keep
        });
        self.items = items;
    }

    /// The session ends: what came by a shared subscription goes to another member.
    pub fn into_shared(self) -> impl Iterator<Item = Queued> {
        self.items.into_iter().filter(|queued| queued.shared.is_some())
    }

    /// The messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.items.iter()
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
            }),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: Box::default(),
            shared: None,
            replay: false,
        }
    }

    #[test]
    fn the_newest_is_dropped_at_the_limit() {
        let limits = QueueLimits {
            messages_max: 2,
            bytes_max: usize::MAX,
        };
        let mut queue = Queue::default();
        assert!(queue.push(queued("a"), limits) && queue.push(queued("b"), limits));
        assert!(!queue.push(queued("c"), limits));
        assert!(queue.push(
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
        assert!(queue.push(queued("a"), limits) && queue.push(queued("b"), limits));
        assert!(!queue.push(queued("c"), limits));
    }
}
