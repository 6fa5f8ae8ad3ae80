//! The promises, each with a checker that reads a history and knows nothing else.

mod accused;
mod acks;
mod dup;
mod latency;
mod lost;
mod once;
mod order;
mod quiet;
mod retained;
mod sessions;
mod single;
mod stray;
mod view;
mod wills;
mod window;

use crate::history::{ClientNo, History, MessageNo};
use view::View;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which checker found it.
    pub checker: &'static str,
    /// What is wrong.
    pub what: String,
    /// The message that it is about.
    pub message: Option<MessageNo>,
    /// The client that it is about.
    pub client: Option<ClientNo>,
}

type Check = fn(&View<'_>, &mut Found);

const CHECKERS: &[(&str, Check)] = &[
    ("lost", lost::check),
    ("once", once::check),
    ("dup", dup::check),
    ("order", order::check),
    ("acks", acks::check),
    ("window", window::check),
    ("single", single::check),
    ("sessions", sessions::check),
    ("stray", stray::check),
    ("wills", wills::check),
    ("retained", retained::check),
    ("latency", latency::check),
    ("accused", accused::check),
    ("quiet", quiet::check),
];

/// What the checkers found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    checker: &'static str,
    broken: Vec<Broken>,
}

impl Found {
    pub(crate) fn of_message(&mut self, message: MessageNo, client: ClientNo, what: String) {
        self.add(Some(message), Some(client), what);
    }

    pub(crate) fn of_client(&mut self, client: ClientNo, what: String) {
        self.add(None, Some(client), what);
    }

    pub(crate) fn add(&mut self, message: Option<MessageNo>, client: Option<ClientNo>, what: String) {
        self.broken.push(Broken {
            checker: self.checker,
            what,
            message,
            client,
        });
    }
}

/// All promises that a history breaks.
pub fn check(history: &History) -> Vec<Broken> {
    let view = View::of(history);
    let mut found = Found::default();
    for (name, check) in CHECKERS {
        found.checker = name;
        check(&view, &mut found);
    }
    found.broken
}

/// For the tests of the checkers: histories by hand.
#[cfg(test)]
pub(crate) mod by_hand;
