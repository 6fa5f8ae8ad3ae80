//! Bugs that are planted on purpose: each must be found.

pub(crate) mod store;
pub(crate) mod wire;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Two messages change places on their way out.
    SwappedOrder,
}
