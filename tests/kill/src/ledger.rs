//! What was sent, acknowledged and delivered, as the clients saw it.

use std::collections::BTreeSet;
use std::time::Instant;

use martlet_codec::{Qos, Topic};

use crate::deliveries::Recipient;
use crate::message::{Copies, Duty, Event, Message, Number, What, payload};
use crate::retained::Retained;
use crate::wills::Wills;

/// Lines of a client's connections that a fault shows.
const CONNECTIONS_SHOWN: usize = 8;

/// What the report counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    /// First copies of messages.
    pub(crate) delivered: u64,
    /// Further copies of QoS 1, as the standard allows them.
    pub(crate) again: u64,
    pub(crate) resent: u64,
    pub(crate) subscribed: u64,
    pub(crate) unsubscribed: u64,
    /// CONNACKs that said that the session is there.
    pub(crate) present: u64,
    pub(crate) retained_read: u64,
    pub(crate) duplicated: u64,
}

/// The ledger of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) messages: Vec<Message>,
    pub(crate) recipients: Vec<Recipient>,
    /// Sent, and the flow is not finished.
    pub(crate) flying: BTreeSet<Number>,
    pub(crate) retained: Retained,
    pub(crate) wills: Wills,
    pub(crate) counts: Counts,
    pub(crate) round: u32,
    /// How each round ended.
    pub(crate) kills: Vec<String>,
    /// When connections began and ended, and whose they were.
    connections: Vec<(String, String)>,
    start: Instant,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            messages: Vec::new(),
            recipients: Vec::new(),
            flying: BTreeSet::new(),
            retained: Retained::default(),
            wills: Wills::default(),
            counts: Counts::default(),
            round: 0,
            kills: Vec::new(),
            connections: Vec::new(),
            start: Instant::now(),
        }
    }

    /// A publisher is about to send a message for the first time.
    pub(crate) fn send(&mut self, publisher: u8, qos: Qos, topic: &str, retain: bool, bytes: u16) -> Number {
        let number = self.messages.len();
        let name = Topic::new(topic).expect("a topic");
        let duties = self.recipients.iter().map(|recipient| recipient.duty(name));
        let copies = duties.map(|duty| Copies {
            duty,
            all: 0,
            plain: 0,
            here: 0,
            connection: 0,
        });
        self.messages.push(Message {
            publisher,
            qos,
            topic: topic.to_owned(),
            retain,
            bytes,
            resent: 0,
            is_accepted: false,
            copies: copies.collect(),
            events: Vec::new(),
        });
        self.flying.insert(number);
        if retain {
            self.retained.sent(topic, number);
        }
        self.note(number, What::Sent);
        number
    }

    /// It sends it again.
    pub(crate) fn resend(&mut self, number: Number) {
        self.messages[number].resent += 1;
        self.counts.resent += 1;
        self.note(number, What::Resent);
    }

    /// PUBACK or PUBREC came: from now on the message must not be lost.
    pub(crate) fn accept(&mut self, number: Number) {
        self.note(number, What::Accepted);
        self.counts.accepted += 1;
        let message = &mut self.messages[number];
        message.is_accepted = true;
        for (copies, recipient) in message.copies.iter().zip(&mut self.recipients) {
            if copies.duty == Duty::Must && copies.all == 0 {
                recipient.owed.insert(number);
            }
        }
        if message.retain {
            self.retained.accepted(&message.topic, number);
        }
    }

    /// PUBACK or PUBCOMP came.
    pub(crate) fn complete(&mut self, number: Number) {
        self.note(number, What::Completed);
        self.flying.remove(&number);
    }

    /// The payload of a message.
    pub(crate) fn payload(&self, number: Number) -> Vec<u8> {
        payload(number, self.messages[number].bytes)
    }

    pub(crate) fn note(&mut self, number: Number, what: What) {
        let (round, at_ms) = (self.round, self.start.elapsed().as_millis() as u32);
        self.messages[number].events.push(Event { round, at_ms, what });
    }

    /// Something became of a client's connection.
    pub(crate) fn connection(&mut self, id: &str, what: &str) {
        let at_ms = self.start.elapsed().as_millis();
        let line = format!("  round {} at {at_ms} ms: {id} {what}", self.round);
        self.connections.push((id.to_owned(), line));
    }

    /// The last that became of a client's connections.
    pub(crate) fn lately(&self, id: &str) -> String {
        let of = self.connections.iter().rev().filter(|(whose, _)| whose == id);
        let mut lines: Vec<&str> = of
            .take(CONNECTIONS_SHOWN)
            .map(|(_, line)| line.as_str())
            .collect();
        lines.reverse();
        lines.join("\n")
    }

    /// All that the ledger has of a message.
    pub(crate) fn story(&self, number: Number) -> String {
        let message = &self.messages[number];
        let retain = if message.retain { ", retained" } else { "" };
        let mut lines = vec![format!(
            "message {number}: publisher {}, topic {}, QoS {}{retain}",
            message.publisher,
            message.topic,
            message.qos.as_u8()
        )];
        let name = |recipient: u8| self.recipients[usize::from(recipient)].name.as_str();
        let mut round = None;
        for event in &message.events {
            if let Some(before) = round.filter(|before| *before != event.round) {
                let kills = self
                    .kills
                    .iter()
                    .skip(before as usize)
                    .take((event.round - before) as usize);
                lines.extend(kills.map(|kill| format!("  -- {kill}")));
            }
            round = Some(event.round);
            let what = match event.what {
                What::Sent => "sent".to_owned(),
                What::Resent => "sent again with DUP".to_owned(),
                What::Accepted if message.qos == Qos::AtLeastOnce => "PUBACK came".to_owned(),
                What::Accepted => "PUBREC came".to_owned(),
                What::Completed => "finished".to_owned(),
                What::Came {
                    recipient,
                    dup,
                    connection,
                } => {
                    let dup = if dup { " with DUP" } else { "" };
                    format!("came to {}{dup} on connection {connection}", name(recipient))
                }
                What::Unsure { recipient } => format!("{} is between subscriptions", name(recipient)),
            };
            lines.push(format!("  round {} at {} ms: {what}", event.round, event.at_ms));
        }
        for (copies, recipient) in message.copies.iter().zip(&self.recipients) {
            if copies.duty == Duty::Never && copies.all == 0 {
                continue;
            }
            let duty = format!("{:?}", copies.duty).to_lowercase();
            lines.push(format!("  {} {duty} get it, got {}", recipient.name, copies.all));
        }
        lines.join("\n")
    }
}
