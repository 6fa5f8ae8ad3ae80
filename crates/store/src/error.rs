//! Why a store cannot be opened.

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] martlet_journal::Error),
    /// A later version has written it.
    #[error(
        "it has format {found}, this version knows formats up to {known}: use the version that wrote it, or export it there and import it here"
    )]
    Format {
        /// The format that it has.
        found: u64,
        /// The latest that this version knows.
        known: u64,
    },
    /// An import into it was not finished.
    #[error("an import into it was not finished: remove its files and import again")]
    Unfinished,
}

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
