//! A shard's end of the store: batches become records here.

use std::collections::VecDeque;
use std::sync::Arc;

use martlet_broker::{Batch, Change, Load, Recipient, Store, StoreEvent};
use martlet_session::{Message, Now};

use crate::exchange::{End, Exchange, Pack, Step};
use crate::record::{self, IdentifierRecord, Name, Times, kind};

/// A shard's end of the store.
#[derive(Debug)]
pub struct Handle {
    shard: u16,
    exchange: Arc<Exchange>,
    pack: Pack,
    heard: VecDeque<StoreEvent>,
    buffer: Vec<StoreEvent>,
}

impl Handle {
    pub(crate) fn new(shard: u16, exchange: Arc<Exchange>) -> Self {
        Self {
            shard,
            exchange,
            pack: Pack::default(),
            heard: VecDeque::new(),
            buffer: Vec::new(),
        }
    }
}

impl Store for Handle {
    fn keeps(&self) -> bool {
        true
    }

    fn submit(&mut self, now: Now, batch: Batch) {
        let times = Times::at(now);
        // A message that several records name has a body of its own.
        let retained = batch.changes.iter().find_map(|change| match change {
            Change::Retained { message, .. } => Some(message.number.get()),
            _ => None,
        });
        for change in batch.changes {
            self.pack.change(change, retained, times);
        }
        self.pack.steps.push(Step::End(End {
            ticket: batch.ticket,
            durability: batch.durability,
            is_loose: batch.is_loose,
        }));
    }

    fn flush(&mut self) {
        if !self.pack.steps.is_empty() {
            let pack = std::mem::take(&mut self.pack);
            self.pack = self.exchange.hand_over(self.shard, pack);
        }
    }

    fn has_room(&self) -> bool {
        self.exchange.has_room()
    }

    fn refuses(&self) -> bool {
        self.exchange.refuses()
    }

    fn load(&mut self, load: Load) {
        // What is asked for may have been submitted in this turn.
        self.flush();
        self.exchange.ask(self.shard, load);
    }

    fn poll(&mut self) -> Option<StoreEvent> {
        if self.heard.is_empty() {
            self.exchange.hear(self.shard, &mut self.buffer);
            self.heard.extend(self.buffer.drain(..));
        }
        self.heard.pop_front()
    }
}

impl Pack {
    fn put(&mut self, name: Name, kind: u8, about: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.steps.push(Step::Put {
            name,
            kind,
            len: (self.bytes.len() - start) as u32,
            about,
        });
    }

    fn clear(&mut self, versions: Vec<u64>) {
        let steps = versions.into_iter().map(|old| Step::Delete(Name::Retained(old)));
        self.steps.extend(steps);
    }

    fn put_identifier(&mut self, name: Name, kind: u8, identifier: &IdentifierRecord) {
        self.put(name, kind, 0, |out| record::write_identifier(out, identifier));
    }

    /// `retained`: the number of the message of this batch that is retained too.
    fn change(&mut self, change: Change, retained: Option<u64>, times: Times) {
        match change {
            Change::Queued { message, recipients } => self.queued(&message, &recipients, retained, times),
            Change::Done { key } => self.steps.push(Step::Delete(Name::Message(key))),
            Change::Retained {
                message,
                version,
                expires_at_ms,
                replaces,
            } => {
                self.clear(replaces);
                let number = message.number.get();
                // Its body is there already if it is queued too.
                let has_body = number != 0
                    && self.steps.iter().rev().take_while(|step| !matches!(step, Step::End(..))).any(
                        |step| matches!(step, Step::Put { name: Name::Body(body), .. } if *body == number),
                    );
                if has_body {
                    self.put(Name::RetainedLink(version), kind::RETAINED_LINK, number, |out| {
                        record::write_retained(out, version, expires_at_ms, times);
                        crate::bytes::Writer(out).number(number);
                    });
                } else {
                    self.put(Name::Retained(version), kind::RETAINED, 0, |out| {
                        record::write_retained(out, version, expires_at_ms, times);
                        record::write_message(out, &message, times);
                    });
                }
            }
            Change::Cleared { versions } => self.clear(versions),
            Change::Received { session, id } => {
                let (order, key) = (0, None);
                let identifier = IdentifierRecord {
                    session,
                    id,
                    order,
                    key,
                };
                self.put_identifier(Name::Received(session, id), kind::RECEIVED, &identifier);
            }
            Change::Released { session, id } => self.steps.push(Step::Delete(Name::Received(session, id))),
            Change::Sending {
                session,
                id,
                key,
                order,
            } => {
                let identifier = IdentifierRecord {
                    session,
                    id,
                    order,
                    key,
                };
                self.put_identifier(Name::Sent(session, id), kind::SENDING, &identifier);
            }
            Change::Releasing {
                session,
                id,
                key,
                order,
            } => {
                // Its message is done with.
                self.steps.extend(key.map(|key| Step::Delete(Name::Message(key))));
                let key = None;
                let identifier = IdentifierRecord {
                    session,
                    id,
                    order,
                    key,
                };
                self.put_identifier(Name::Sent(session, id), kind::RELEASING, &identifier);
            }
            Change::Completed { session, id } => self.steps.push(Step::Delete(Name::Sent(session, id))),
            Change::Session(session) => {
                self.put(Name::Session(session.number), kind::SESSION, 0, |out| {
                    record::write_session(out, &session, times);
                });
            }
            Change::Ended {
                number,
                subscriptions,
                keys,
                received,
                sent,
            } => {
                self.steps.push(Step::Delete(Name::Session(number)));
                let names = subscriptions.into_iter().map(Name::Subscription);
                let names = names.chain(keys.into_iter().map(Name::Message));
                let names = names.chain(received.into_iter().map(|id| Name::Received(number, id)));
                let names = names.chain(sent.into_iter().map(|id| Name::Sent(number, id)));
                self.steps.extend(names.map(Step::Delete));
            }
            Change::Subscribed(subscription) => {
                let name = Name::Subscription(subscription.number);
                self.put(name, kind::SUBSCRIPTION, 0, |out| {
                    record::write_subscription(out, &subscription);
                });
            }
            Change::Unsubscribed { number } => self.steps.push(Step::Delete(Name::Subscription(number))),
        }
    }

    fn queued(&mut self, message: &Message, recipients: &[Recipient], retained: Option<u64>, times: Times) {
        let is_retained = retained == Some(message.number.get());
        if let ([only], false) = (recipients, is_retained) {
            return self.put(Name::Message(only.key), kind::MESSAGE, 0, |out| {
                record::write_recipient(out, only);
                record::write_message(out, message, times);
            });
        }
        // The recipients of each number are behind each other.
        for of_number in recipients.chunk_by(|a, b| a.key.number() == b.key.number()) {
            let number = of_number[0].key.number();
            let links = of_number.len() as u64 + u64::from(is_retained && number == message.number.get());
            self.put(Name::Body(number), kind::BODY, links, |out| {
                crate::bytes::Writer(out).number(number);
                record::write_message(out, message, times);
            });
            for recipient in of_number {
                self.put(Name::Message(recipient.key), kind::LINK, 0, |out| {
                    record::write_recipient(out, recipient);
                });
            }
        }
    }
}
