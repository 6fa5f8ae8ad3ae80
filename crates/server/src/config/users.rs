//! Password files: which there are, and what is wrong with one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use martlet_users::limits::FILE_BYTES_MAX;
use martlet_users::{Fault, Faults, LineError, Users};

use super::error::{Code, Finding, Place};
use super::origin::Origin;

/// Directives that belong to the listener above them once `per_listener_settings true` stands in the file.
pub(super) const PER_LISTENER: [&str; 4] = [
    "allow_anonymous",
    "allow_zero_length_clientid",
    "auto_id_prefix",
    "password_file",
];

/// A file of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordFile {
    /// Its path.
    pub path: PathBuf,
    /// What asked for it, for messages.
    pub origin: Origin,
}

impl PasswordFile {
    /// Reads it; whoever is in it may log in. With anything wrong with it nobody may.
    pub(crate) fn read(&self) -> Result<Users, Vec<Finding>> {
        let found = match read_file(&self.path) {
            Ok(bytes) => Users::read(&bytes).map_err(|faults| wrong_lines(&self.path, &faults)),
            Err(error) => Err(vec![unreadable(&self.path, &error)]),
        };
        found.map_err(|findings| findings.into_iter().map(|finding| self.named(finding)).collect())
    }

    /// The finding with what asked for the file, above what to do.
    fn named(&self, mut finding: Finding) -> Finding {
        if self.origin != Origin::Default {
            finding.notes.insert(0, format!("from: {}", self.origin));
        }
        finding
    }
}

/// The bytes of a password file, as many as one may have.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// A password file that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let file = path.display();
    let (message, fix) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("there is no password file '{file}'."),
            Some(format!("martlet passwd -c {file} USER")),
        ),
        io::ErrorKind::IsADirectory => (format!("the password file '{file}' is a folder."), None),
        io::ErrorKind::FileTooLarge => {
            let limit = FILE_BYTES_MAX >> 20;
            (
                format!("'{file}' is larger than {limit} MiB: not a password file."),
                None,
            )
        }
        _ => (
            format!(
                "cannot read the password file '{file}': {}.",
                super::listen::plain(error)
            ),
            None,
        ),
    };
    let finding = Finding::new(Code::UsersUnreadable, Place::Whole, message);
    match fix {
        Some(fix) => finding.note(format!("fix: {fix}")),
        None => finding,
    }
}

/// What is wrong with the lines of a password file, one finding a line, and one for those that were not kept.
pub fn wrong_lines(path: &Path, faults: &Faults) -> Vec<Finding> {
    let mut findings: Vec<Finding> = faults.list.iter().map(|fault| wrong_line(path, fault)).collect();
    if faults.more > 0 {
        let message = format!("{}: {} more lines are wrong.", path.display(), faults.more);
        findings.push(Finding::new(Code::UsersLine, Place::Whole, message));
    }
    findings
}

/// What is wrong with a line of a password file.
pub fn wrong_line(path: &Path, fault: &Fault) -> Finding {
    let file = path.display();
    let Fault { line, error } = fault;
    let message = format!("{file}:{line}: {error}.");
    let (code, fix) = match error {
        LineError::PlainText { .. } => (
            Code::UsersPlainText,
            Some(format!(
                "martlet passwd -U {file}     hashes every such password of the file"
            )),
        ),
        LineError::Hash { name, .. } | LineError::NoHash { name } if is_plain_word(name) => (
            Code::UsersLine,
            Some(format!(
                "martlet passwd {file} {name}     gives that user a new password"
            )),
        ),
        _ => (Code::UsersLine, None),
    };
    let finding = Finding::new(code, Place::Whole, message);
    match fix {
        Some(fix) => finding.note(format!("fix: {fix}")),
        None => finding,
    }
}

/// Whether a shell takes it as it is.
fn is_plain_word(word: &str) -> bool {
    word.chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@'))
        && !word.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_why() {
        let table = [
            (
                io::ErrorKind::NotFound,
                "there is no password file 'u'. fix: martlet passwd -c u USER",
            ),
            (io::ErrorKind::IsADirectory, "the password file 'u' is a folder."),
            (
                io::ErrorKind::PermissionDenied,
                "cannot read the password file 'u': permission denied.",
            ),
            (
                io::ErrorKind::FileTooLarge,
                "'u' is larger than 64 MiB: not a password file.",
            ),
        ];
        for (kind, line) in table {
            assert_eq!(unreadable(Path::new("u"), &kind.into()).line(), line);
        }
    }

    #[test]
    fn a_fix_is_shown_only_where_it_is_certain() {
        let faults = Users::read(b"bob:$1$x\n-x:$1$x\nb b:\nalice:secret\nx\n").unwrap_err();
        let lines: Vec<_> = wrong_lines(Path::new("u"), &faults)
            .iter()
            .map(|finding| finding.notes.concat())
            .collect();
        let expected = [
            "fix: martlet passwd u bob     gives that user a new password",
            "",
            "",
            "fix: martlet passwd -U u     hashes every such password of the file",
            "",
        ];
        assert_eq!(lines, expected);
    }
}
