//! What must be retained.

use std::collections::BTreeMap;

use crate::fault::{Checked, Fault};
use crate::ledger::Ledger;
use crate::message::Number;

/// The messages that were set at each topic; each topic has one publisher and one QoS.
#[derive(Debug, Default)]
pub(crate) struct Retained(BTreeMap<String, Topic>);

#[derive(Debug, Default)]
struct Topic {
    sent: Vec<Number>,
    /// How many of them stand before the last that was accepted, and this one.
    accepted: Option<usize>,
}

impl Retained {
    pub(crate) fn sent(&mut self, topic: &str, number: Number) {
        self.0.entry(topic.to_owned()).or_default().sent.push(number);
    }

    pub(crate) fn accepted(&mut self, topic: &str, number: Number) {
        let topic = self.0.get_mut(topic).expect("it was sent");
        let place = topic.sent.iter().rposition(|sent| *sent == number);
        topic.accepted = topic.accepted.max(place);
    }
}

impl Ledger {
    /// How many topics must have a retained message.
    pub(crate) fn retained_topics_min(&self) -> usize {
        let topics = self.retained.0.values();
        let must = |topic: &&Topic| {
            let possible = topic.accepted.map(|at| &topic.sent[at..]);
            possible.is_some_and(|all| all.iter().all(|number| self.messages[*number].bytes > 0))
        };
        topics.filter(must).count()
    }

    /// Each topic has the last value that was accepted, or one that was sent later.
    pub(crate) fn check_retained(&mut self, found: &BTreeMap<String, Vec<u8>>) -> Checked {
        for (topic, value) in &self.retained.0 {
            let there = found.get(topic).map_or(&[][..], Vec::as_slice);
            let possible = &value.sent[value.accepted.unwrap_or(0)..];
            let is_unset = value.accepted.is_none() && there.is_empty();
            if is_unset || possible.iter().any(|number| self.payload(*number) == there) {
                continue;
            }
            let start = String::from_utf8_lossy(&there[..there.len().min(40)]);
            let said = if there.is_empty() {
                "nothing".to_owned()
            } else {
                format!("'{start}'")
            };
            let fault = Fault::new(format!(
                "{topic} must have a retained message and has {said}; possible are:"
            ));
            return Err(possible
                .iter()
                .fold(fault, |fault, number| fault.and(&self.story(*number))));
        }
        if let Some(topic) = found.keys().find(|topic| !self.retained.0.contains_key(*topic)) {
            return Err(Fault::new(format!(
                "{topic} has a retained message that nobody set"
            )));
        }
        self.counts.retained_read += found.len() as u64;
        Ok(())
    }
}
