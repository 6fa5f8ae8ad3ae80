//! Pages of queues, read when they are due.

use std::sync::Arc;

use martlet_broker::{Load, Page, StoreEvent};
use martlet_journal::Disk;
use martlet_session::{Key, Loaded, Message, Queued};

use crate::engine::Engine;
use crate::record::{self, MessageRecord, Name, kind};

impl<D: Disk> Engine<D> {
    /// Reads the pages that shards wait for. What was handed over before must have been written.
    pub fn serve_loads(&mut self) {
        for (shard, load) in self.exchange.take_loads() {
            let page = self.page(load);
            self.ended[usize::from(shard)].push(StoreEvent::Page(page));
        }
        self.exchange.tell(&mut self.ended);
    }

    fn page(&mut self, load: Load) -> Page {
        let mut messages = Vec::with_capacity(load.keys.len());
        let (mut bytes, mut payload) = (0, Vec::new());
        for key in load.keys {
            let queued = self.read_queued(key, &mut payload);
            bytes += queued.as_ref().map_or(0, |queued| queued.message.size());
            messages.push(Loaded { key, queued });
            if bytes >= self.limits.page_bytes {
                break;
            }
        }
        Page {
            purpose: load.purpose,
            messages,
        }
    }

    /// A message for a session; none: it is not there, or cannot be read.
    pub(crate) fn read_queued(&mut self, key: Key, payload: &mut Vec<u8>) -> Option<Queued> {
        let found = self.read(Name::Message(key), payload)?;
        let (recipient, rest) = record::read_recipient(payload)?;
        let message = if found == kind::MESSAGE {
            MessageRecord::read(rest)?.to_message(key.number(), self.times)
        } else {
            self.read_body(key.number(), payload)?
        };
        Some(recipient.queued(&Arc::new(message)))
    }

    /// The message of a body.
    pub(crate) fn read_body(&mut self, number: u64, payload: &mut Vec<u8>) -> Option<Message> {
        self.read(Name::Body(number), payload)?;
        let rest = record::body_rest(payload)?;
        Some(MessageRecord::read(rest)?.to_message(number, self.times))
    }

    fn read(&mut self, name: Name, payload: &mut Vec<u8>) -> Option<u8> {
        let place = self.index.get(name)?;
        match self.journal.read(place, payload) {
            Ok(kind) => Some(kind),
            Err(error) => {
                self.unreadable(&error);
                None
            }
        }
    }
}
