//! What the broker did and must not.

use std::fmt;

/// A promise that was broken, with the ledger of what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(String);

/// What a check gives.
pub(crate) type Checked<T = ()> = Result<T, Fault>;

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same with more lines below it.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.0.push('\n');
        self.0.push_str(more);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
