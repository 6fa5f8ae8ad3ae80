//! Why the broker did not start.

use crate::config::{Errors, ListenError};

/// What kept the broker from starting. Its `Display` is what the user reads: codes, places, ways out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Errors),
    /// A listener could not be opened.
    #[error(transparent)]
    Listen(Box<ListenError>),
}

pub use crate::config::explain;

impl From<ListenError> for Error {
    fn from(error: ListenError) -> Self {
        Self::Listen(Box::new(error))
    }
}
