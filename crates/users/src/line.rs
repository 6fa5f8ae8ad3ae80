//! One line of a password file.

use crate::hash::{HashError, PasswordHash};
use crate::limits::{LINE_BYTES_MAX, NAME_BYTES_MAX};

/// What is wrong with a line, and which line it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub error: LineError,
}

/// Why a line makes no sense. None of the texts repeats a password or a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The bytes are no text.
    #[error("the line is not UTF-8")]
    NotText,
    /// It is longer than any line that makes sense.
    #[error("the line has {bytes} bytes; at most {LINE_BYTES_MAX} are read")]
    TooLong {
        /// What it has.
        bytes: usize,
    },
    /// It has no colon.
    #[error("a line is NAME:HASH, and this one has no colon")]
    NoColon,
    /// The name cannot be that of a user.
    #[error("{0}")]
    Name(#[from] NameError),
    /// There is nothing behind the colon.
    #[error("user '{name}' has no password behind the colon")]
    NoHash {
        /// The user.
        name: String,
    },
    /// A password that is not hashed.
    #[error("the password of user '{name}' is plain text")]
    PlainText {
        /// The user.
        name: String,
    },
    /// A hash that cannot be read.
    #[error("the hash of user '{name}' cannot be read: {source}")]
    Hash {
        /// The user.
        name: String,
        /// Why.
        source: HashError,
    },
    /// There is a line for that user already.
    #[error("user '{name}' has a line already, line {first}")]
    Twice {
        /// The user.
        name: String,
        /// The line above.
        first: usize,
    },
}

/// Why a text cannot be the name of a user in a password file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty, or nothing but blanks.
    #[error("the name of the user is empty")]
    Empty,
    /// More than a CONNECT can carry.
    #[error("the name of the user has more than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// It would end the name in the file.
    #[error("the name of a user cannot have a colon in it")]
    Colon,
    /// It would end the line, or cannot be in a CONNECT.
    #[error("the name of a user cannot have control characters in it")]
    ControlCharacter,
    /// The file would read it as a comment.
    #[error("the name of a user cannot begin with '#': such a line is a comment")]
    Comment,
    /// The file would read it without them.
    #[error("the name of a user cannot begin or end with a blank")]
    Blank,
}

/// Whether a name can stand in a password file and be read as the same name.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.contains(':') {
        return Err(NameError::Colon);
    }
    if name.starts_with('#') {
        return Err(NameError::Comment);
    }
    check_read(name)?;
    if trimmed(name).len() < name.len() {
        return Err(NameError::Blank);
    }
    Ok(())
}

/// The same for a name that was read, without the blanks around it.
fn check_read(name: &str) -> Result<(), NameError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter);
    }
    if trimmed(name).is_empty() {
        return Err(NameError::Empty);
    }
    Ok(())
}

/// mosquitto takes blanks from both ends of names and hashes.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A line apart: a user and what stands behind the colon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) name: &'a str,
    /// A hash, or a password in plain text.
    pub(crate) value: &'a str,
}

/// Takes a line apart; none: it is empty or a comment.
pub(crate) fn parts(line: &[u8]) -> Result<Option<Parts<'_>>, LineError> {
    if line.starts_with(b"#") {
        return Ok(None);
    }
    let bytes = line.len();
    if bytes > LINE_BYTES_MAX {
        return Err(LineError::TooLong { bytes });
    }
    let line = std::str::from_utf8(line).map_err(|_| LineError::NotText)?;
    if trimmed(line).is_empty() {
        return Ok(None);
    }
    let (name, value) = line.split_once(':').ok_or(LineError::NoColon)?;
    let (name, value) = (trimmed(name), trimmed(value));
    check_read(name)?;
    Ok(Some(Parts { name, value }))
}

impl Parts<'_> {
    pub(crate) fn hash(&self) -> Result<PasswordHash, LineError> {
        let name = self.name.to_owned();
        if self.value.is_empty() {
            return Err(LineError::NoHash { name });
        }
        PasswordHash::parse(self.value).map_err(|source| match source {
            HashError::NotHashed => LineError::PlainText { name },
            source => LineError::Hash { name, source },
        })
    }
}

/// The lines of a file without their ends.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    without_mark(bytes)
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Some editors put a mark before UTF-8.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
