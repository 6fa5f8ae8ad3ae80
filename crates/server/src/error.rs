//! Why the broker did not start.

use crate::config::{Code, Errors, Finding, ListenError, Origin, STORE_FOLDER, StoreConfig, plain};

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
        let folder = std::path::absolute(&config.folder).unwrap_or_else(|_| config.folder.clone());
        let folder = folder.display();
        let another = "choose another folder: --data-dir DIR";
        let (code, message, fix) = match error {
            Store::Journal(Journal::Locked { holder, .. }) => (
                Code::StoreHeld,
                format!("the store in '{folder}' is in use by {holder}."),
                format!("stop that one, or {another}"),
            ),
            Store::Format { found, known } => (
                Code::StoreFormat,
                format!(
                    "a later version has written the store in '{folder}': it has format {found}, this version knows formats up to {known}."
                ),
                format!("use that version, or export the store with it and import it here; or {another}"),
            ),
            Store::Unfinished => (
                Code::StoreUnfinished,
                format!("the store in '{folder}' is not complete: an import into it was not finished."),
                format!("remove the files in it and import again, or {another}"),
            ),
            _ => (
                Code::StoreNotOpened,
                format!("the store in '{folder}' cannot be opened: {}.", words(error)),
                another.to_owned(),
            ),
        };
        let mut finding = Finding::new(code, config.origin.place(), message);
        if config.origin == Origin::Default {
            finding = finding.note(format!("from: {}", default_folder(config)));
        }
        Self::Store(Box::new(finding.note(format!("fix: {fix}"))))
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

/// Which of the folders that nobody has to name it is.
fn default_folder(config: &StoreConfig) -> &'static str {
    if config.folder.as_os_str() == STORE_FOLDER {
        "the default, martlet-data in the current folder"
    } else {
        "the default, $STATE_DIRECTORY"
    }
}

/// An error with its causes, without the numbers of the system.
fn words(error: &martlet_store::Error) -> String {
    let first: &dyn std::error::Error = error;
    let all = std::iter::successors(Some(first), |error| error.source());
    all.map(plain).collect::<Vec<_>>().join(": ")
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

#[cfg(test)]
mod tests {
    use martlet_broker::Durability;

    use super::*;

    /// The folder in which a service manager starts us is seldom ours to write.
    #[test]
    fn a_default_folder_that_cannot_be_made() {
        for (folder, from) in [
            (STORE_FOLDER, "martlet-data in the current folder"),
            ("/var/lib/martlet", "$STATE_DIRECTORY"),
        ] {
            let config = StoreConfig {
                folder: folder.into(),
                origin: Origin::Default,
                durability: Durability::Fsync,
            };
            let absolute = std::path::absolute(folder).unwrap().display().to_string();
            let denied = martlet_journal::Error::Disk {
                action: "make the folder",
                name: absolute.clone(),
                source: std::io::Error::from_raw_os_error(13),
            };
            assert_eq!(
                Error::store(&config, &denied.into()).to_string(),
                format!(
                    "error[S102]: the store in '{absolute}' cannot be opened: cannot make the folder {absolute}: \
                     permission denied.\n  from: the default, {from}\n  fix: choose another folder: --data-dir DIR"
                )
            );
        }
    }
}
