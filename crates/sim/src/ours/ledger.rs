//! What each message has come through, and what is wrong with that.

use std::collections::{BTreeMap, BTreeSet};

use martlet_client::Qos;

/// The messages of a run, and what was found.
pub(super) struct Ledger {
    pub(super) now_ms: u64,
    /// Which broker it is: a new one has no sessions.
    pub(super) epoch: u32,
    messages: Vec<Fate>,
    /// Clients whose subscription is there.
    subscribed: BTreeSet<usize>,
    /// The last message of each publisher and QoS that has come to the broker for the first time.
    newest: BTreeMap<(usize, u8), usize>,
    pub(super) faults: Vec<String>,
    prints: bool,
}

/// What a message has come through.
#[derive(Debug)]
struct Fate {
    publisher: usize,
    to: usize,
    qos: Qos,
    /// Its publisher was told that it is accepted.
    is_accepted: bool,
    /// Its publisher was told that it ended otherwise than well.
    is_given_up: bool,
    /// Its publisher has kept that the broker has it.
    is_released: bool,
    /// In which epochs it came to the broker.
    at_server: Vec<u32>,
    /// Its recipient had subscribed by then.
    is_due: bool,
    offered: u32,
    /// Its recipient was told that it is kept that it was taken.
    is_taken: bool,
}

/// Faults that are told of one run.
const SHOWN: usize = 5;

impl Ledger {
    pub(super) fn new(prints: bool) -> Self {
        Self {
            now_ms: 0,
            epoch: 0,
            messages: Vec::new(),
            subscribed: BTreeSet::new(),
            newest: BTreeMap::new(),
            faults: Vec::new(),
            prints,
        }
    }

    pub(super) fn note(&self, what: &str) {
        if self.prints {
            println!("{:>9} {what}", self.now_ms);
        }
    }

    pub(super) fn fault(&mut self, what: &str) {
        self.note(&format!("FAULT {what}"));
        if self.faults.len() < SHOWN {
            self.faults.push(format!("at {} ms: {what}", self.now_ms));
        }
    }

    /// A message that is about to be published; its number is its payload.
    pub(super) fn said(&mut self, publisher: usize, to: usize, qos: Qos) -> usize {
        let number = self.messages.len();
        self.messages.push(Fate {
            publisher,
            to,
            qos,
            is_accepted: false,
            is_given_up: false,
            is_released: false,
            at_server: Vec::new(),
            is_due: false,
            offered: 0,
            is_taken: false,
        });
        self.note(&format!("{number}: client {publisher} publishes it at {qos:?}"));
        number
    }

    pub(super) fn subscribed(&mut self, no: usize) {
        self.subscribed.insert(no);
    }

    pub(super) fn accepted(&mut self, number: usize) {
        self.note(&format!("{number} is accepted"));
        self.messages[number].is_accepted = true;
    }

    pub(super) fn given_up(&mut self, number: usize) {
        self.note(&format!("{number} is given up"));
        self.messages[number].is_given_up = true;
    }

    pub(super) fn released(&mut self, number: usize) {
        self.note(&format!("{number} is released, which is kept"));
        self.messages[number].is_released = true;
    }

    fn number(&mut self, payload: &[u8]) -> usize {
        let text = std::str::from_utf8(payload).ok();
        let number = text.and_then(|text| text.parse().ok());
        number
            .filter(|number| *number < self.messages.len())
            .expect("messages are numbers")
    }

    /// The broker has taken it.
    pub(super) fn at_server(&mut self, payload: &[u8]) {
        let number = self.number(payload);
        self.note(&format!("{number} is at the broker"));
        let epoch = self.epoch;
        let fate = &mut self.messages[number];
        let before = fate.at_server.clone();
        fate.at_server.push(epoch);
        fate.is_due = self.subscribed.contains(&fate.to);
        let (qos, publisher, is_given_up) = (fate.qos, fate.publisher, fate.is_given_up);
        if qos == Qos::ExactlyOnce && before.contains(&epoch) {
            self.fault(&format!("{number}: QoS 2, and the broker has got it twice"));
        } else if qos == Qos::ExactlyOnce && !before.is_empty() && self.messages[number].is_released {
            self.fault(&format!("{number}: QoS 2, released, and published again"));
        }
        // One that was dropped or has expired just before a kill may come in the next run.
        if qos != Qos::AtMostOnce && before.is_empty() && !is_given_up {
            let newest = self.newest.entry((publisher, qos.as_u8())).or_insert(number);
            let came_before = *newest;
            *newest = number.max(came_before);
            if came_before > number {
                self.fault(&format!("{number}: it comes behind {came_before}"));
            }
        }
    }

    /// A client's application is offered it.
    pub(super) fn offered(&mut self, to: usize, payload: &[u8]) -> usize {
        let number = self.number(payload);
        self.note(&format!("{number} is offered to client {to}"));
        let fate = &mut self.messages[number];
        fate.offered += 1;
        let came_once = fate.at_server.len() <= 1;
        if fate.to != to {
            self.fault(&format!("{number}: it is not for client {to}"));
        } else if fate.qos == Qos::ExactlyOnce && fate.is_taken && came_once {
            self.fault(&format!("{number}: QoS 2, taken, and offered again"));
        } else if fate.qos == Qos::AtMostOnce && fate.offered > 1 && came_once {
            self.fault(&format!("{number}: QoS 0, and offered twice"));
        }
        number
    }

    pub(super) fn taken(&mut self, number: usize) {
        self.note(&format!("{number} is taken, which is kept"));
        self.messages[number].is_taken = true;
    }

    /// Messages that the broker must have and has not.
    fn lost(&self) -> impl Iterator<Item = usize> {
        let is_lost = |fate: &Fate| fate.is_accepted && !fate.is_given_up && fate.at_server.is_empty();
        let messages = self.messages.iter().enumerate();
        messages
            .filter(move |(_, fate)| is_lost(fate))
            .map(|(number, _)| number)
    }

    /// Messages that their recipient must be offered and was not.
    fn missed(&self) -> impl Iterator<Item = usize> {
        let is_missed = |fate: &Fate| fate.qos != Qos::AtMostOnce && fate.is_due && fate.offered == 0;
        let messages = self.messages.iter().enumerate();
        messages
            .filter(move |(_, fate)| is_missed(fate))
            .map(|(number, _)| number)
    }

    /// What is still to come, if anything. `sessions_stay`: so that what the broker has reaches its recipient.
    pub(super) fn unrest(&self, sessions_stay: bool) -> Option<String> {
        if let Some(number) = self.lost().next() {
            return Some(format!("{number} has not come to the broker"));
        }
        let missed = self.missed().next().filter(|_| sessions_stay);
        missed.map(|number| format!("{number} was not offered"))
    }

    /// All has come to rest, or never will.
    pub(super) fn compare(&mut self, sessions_stay: bool) {
        for number in self.lost().collect::<Vec<_>>() {
            self.fault(&format!("{number}: it was accepted, and the broker never got it"));
        }
        if sessions_stay {
            for number in self.missed().collect::<Vec<_>>() {
                self.fault(&format!(
                    "{number}: the broker has got it, and it was never offered"
                ));
            }
        }
    }
}
