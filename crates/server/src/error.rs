//! Why the broker did not start.

use crate::config::{Code, Errors, Finding, ListenError};

/// What kept the broker from starting. Its `Display` is what the user reads: codes, places, ways out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Errors),
    /// Listeners could not be opened; at least one.
    #[error("{}", paragraphs(.0))]
    Listen(Vec<ListenError>),
}

pub use crate::config::explain;

impl Error {
    /// Each thing that is wrong, in one line with its code, for the log.
    pub fn lines(&self) -> Vec<(Code, String)> {
        match self {
            Self::Config(errors) => {
                let lines = errors
                    .findings
                    .iter()
                    .map(|finding| (finding.code, finding.line()));
                lines.collect()
            }
            Self::Listen(errors) => errors.iter().map(|error| (error.code, error.line())).collect(),
        }
    }
}

fn paragraphs(errors: &[ListenError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

impl From<Vec<Finding>> for Error {
    fn from(findings: Vec<Finding>) -> Self {
        Self::Config(Errors { findings, more: 0 })
    }
}
