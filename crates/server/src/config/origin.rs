//! Where a setting comes from.

use std::fmt::{self, Display};
use std::sync::Arc;

use super::error::Place;
use super::value::words;

/// Where a setting comes from, to be named when it cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody asked: the default.
    Default,
    /// A line of a file.
    File {
        /// The path as it was given.
        file: Arc<str>,
        /// Counted from 1.
        line: usize,
        /// The line, passwords masked.
        text: Arc<str>,
    },
    /// A flag as it was typed: `--port 1884`.
    Flag(Arc<str>),
}

impl Origin {
    /// The place to mark in a finding: the name of the directive.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Default => Place::Whole,
            Self::File { file, line, text } => Place::Line {
                file: file.to_string(),
                line: *line,
                text: text.to_string(),
                span: words(text).next().map_or(0..0, |(span, _)| span),
            },
            Self::Flag(flag) => Place::Flag(flag.to_string()),
        }
    }

    /// `martlet.conf:3`, `--port 1884`.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Default => "the defaults".into(),
            Self::File { file, line, .. } => format!("{file}:{line}"),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

impl Display for Origin {
    /// What stands behind `from:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults, as no configuration names a listener"),
            Self::File { file, line, text } => write!(f, "{file}:{line}   {}", super::shown::quoted(text)),
            Self::Flag(flag) => f.write_str(&super::shown::quoted(flag)),
        }
    }
}
