//! Why the broker did not start.

use crate::config::{Code, Errors, Finding, ListenError, StoreConfig};

/// What kept the broker from starting. Its `Display` is what the user reads: codes, places, ways out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Errors),
    /// The store could not be opened.
    #[error("{0}")]
    Store(Box<Finding>),
    /// Listeners could not be opened; at least one.
    #[error("{}", paragraphs(.0))]
    Listen(Vec<ListenError>),
}

pub use crate::config::explain;

impl Error {
    pub(crate) fn store(config: &StoreConfig, error: &martlet_store::Error) -> Self {
        use martlet_journal::Error as Journal;
        use martlet_store::Error as Store;
        let folder = config.folder.display();
        let (code, message) = match error {
            Store::Journal(Journal::Locked { holder, .. }) => (
                Code::StoreHeld,
                format!("the store in '{folder}' is in use by {holder}."),
            ),
            Store::Format { .. } => (
                Code::StoreFormat,
                format!("the store in '{folder}' cannot be read: {error}."),
            ),
            _ => {
                let why = martlet_store::with_causes(error);
                (
                    Code::StoreNotOpened,
                    format!("the store in '{folder}' cannot be opened: {why}."),
                )
            }
        };
        Self::Store(Box::new(Finding::new(code, config.origin.place(), message)))
    }

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
            Self::Store(finding) => vec![(finding.code, finding.line())],
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
