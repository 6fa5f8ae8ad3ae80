//! From files to a draft: lines, names, places. One pass that notes every error and goes on.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directive::{Directive, Kind, Scope, Status, before_equals, looks_secret};
use super::directives::{DIRECTIVES, find};
use super::draft::{Block, Draft, Setting, Settings, put, twice};
use super::error::{Code, Finding, Place};
use super::nearest::nearest;
use super::origin::Origin;
use super::shown::quoted;
use super::users::PER_LISTENER;
use super::value::{self, Value, words};
use crate::limits::{CONFIG_FILE_BYTES_MAX, CONFIG_FILES_MAX, CONFIG_LINE_BYTES_MAX, LISTENERS_MAX};

/// Reads the main file and what it includes.
pub(super) struct Reader<'a> {
    draft: &'a mut Draft,
    /// The broker runs as root, so `user` would mean something.
    root: bool,
    files: usize,
}

/// One file being read.
struct File {
    name: Arc<str>,
    included: bool,
    /// What the next listener or bridge directive belongs to, as in mosquitto for each file anew.
    current: Current,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    DefaultListener,
    Listener(usize),
    /// A listener that was refused: its lines are checked and dropped.
    Refused,
}

/// One line of a file.
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(draft: &'a mut Draft, root: bool) -> Self {
        Self {
            draft,
            root,
            files: 0,
        }
    }

    /// Reads the main file from disk.
    pub(super) fn main_file(&mut self, path: &Path) {
        match read_file(path) {
            Ok(bytes) => self.main_bytes(path, &bytes),
            Err((code, why)) => self.draft.findings.error(Finding::new(code, Place::Whole, why)),
        }
    }

    /// Reads the main file from memory.
    pub(super) fn main_bytes(&mut self, path: &Path, bytes: &[u8]) {
        self.file(path, bytes, false);
    }

    fn file(&mut self, path: &Path, bytes: &[u8], included: bool) {
        let name: Arc<str> = path.to_string_lossy().into();
        let mut file = File {
            name,
            included,
            current: Current::DefaultListener,
        };
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            let message = format!("{} is written in UTF-16; save it as UTF-8.", file.name);
            self.draft
                .findings
                .error(Finding::new(Code::NotText, Place::Whole, message));
            return;
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let (mut in_bridge, mut number) = (false, 0);
        for raw in bytes.split(|byte| *byte == b'\n') {
            number += 1;
            let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
            if let Some(text) = self.text_of(&file, number, raw) {
                self.line(&mut file, &Line { number, text }, &mut in_bridge);
            }
        }
    }

    /// The line as text, or `None` with a finding.
    fn text_of<'t>(&mut self, file: &File, number: usize, raw: &'t [u8]) -> Option<&'t str> {
        if raw.len() > CONFIG_LINE_BYTES_MAX {
            let message = format!(
                "the line has {} bytes; at most {CONFIG_LINE_BYTES_MAX} are read.",
                raw.len()
            );
            let start = String::from_utf8_lossy(&raw[..200]).into_owned();
            self.line_error(file, number, &start, 0..0, Code::LineTooLong, message);
            return None;
        }
        let trimmed = raw.trim_ascii_start();
        if trimmed.is_empty() || (trimmed.starts_with(b"#") && !trimmed.contains(&0)) {
            return None;
        }
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text,
            Err(error) => {
                let shown = String::from_utf8_lossy(raw).into_owned();
                let at = error.valid_up_to();
                let message = format!("byte {} of the line (0x{:02x}) is not UTF-8.", at + 1, raw[at]);
                self.line_error(file, number, &shown, at..at + 3, Code::NotText, message);
                return None;
            }
        };
        if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            let what = if c == '\0' {
                "a NUL byte".into()
            } else {
                format!("a control character ({})", c.escape_unicode())
            };
            let message = format!("the line holds {what}.");
            self.line_error(file, number, text, at..at + c.len_utf8(), Code::NotText, message);
            return None;
        }
        Some(text)
    }

    fn line(&mut self, file: &mut File, line: &Line<'_>, in_bridge: &mut bool) {
        let Some((name_span, name)) = words(line.text).next() else {
            return;
        };
        let Some(directive) = find(name) else {
            self.unknown(file, line, name_span, name);
            return;
        };
        if directive.scope == Scope::Bridge && *in_bridge {
            return; // one error for the whole bridge is enough, its `connection` has it
        }
        *in_bridge |= directive.name == "connection";
        let behind = &line.text[name_span.end..];
        match directive.status {
            Status::Works => {}
            Status::Gone(why) => {
                let place = place_of(file, line, name_span);
                let message = format!("'{name}' has no effect, nor has it in mosquitto 2.1: {why}.");
                self.draft
                    .findings
                    .warning(Finding::new(Code::NoEffect, place, message));
                return;
            }
            Status::Later { feature, same } => {
                if !is_same(directive, behind, same, self.root) {
                    let message = later(name, feature, same);
                    let finding = Finding::new(Code::NotYet, place_of(file, line, name_span), message);
                    self.draft.findings.error(finding);
                }
                return;
            }
        }
        match value::parse(directive, name, behind) {
            Ok(value) => self.put(file, line, directive, name_span, value),
            Err(fault) => {
                if directive.kind == Kind::Listener {
                    file.current = Current::Refused;
                }
                let span = name_span.end + fault.span.start..name_span.end + fault.span.end;
                self.line_error(file, line.number, line.text, span, fault.code, fault.message);
            }
        }
    }

    fn put(
        &mut self,
        file: &mut File,
        line: &Line<'_>,
        directive: &'static Directive,
        span: Range<usize>,
        value: Value,
    ) {
        let origin = origin_of(file, line);
        let place = place_of(file, line, span.clone());
        if directive.kind == Kind::Listener {
            let mut settings = Settings::new();
            settings.insert(
                directive.name,
                vec![Setting {
                    value,
                    origin: origin.clone(),
                }],
            );
            file.current = Current::Listener(self.draft.blocks.len());
            if self.draft.blocks.len() >= LISTENERS_MAX {
                file.current = Current::Refused;
                let message = format!("there are more than {LISTENERS_MAX} listeners.");
                self.draft
                    .findings
                    .error(Finding::new(Code::TooManyListeners, place, message));
                return;
            }
            self.draft.blocks.push(Block {
                origin,
                place,
                settings,
            });
            return;
        }
        if let ("include_dir", Value::Path(folder)) = (directive.name, &value) {
            self.include(file, folder, place);
            return;
        }
        if (directive.name, &value) == ("per_listener_settings", &Value::Bool(true)) {
            self.per_listener(&place);
        }
        let of_default = matches!(directive.name, "port" | "bind_address");
        if of_default {
            file.current = Current::DefaultListener;
        }
        let of_listener = self.draft.per_listener && PER_LISTENER.contains(&directive.name);
        let scope = if of_listener {
            Scope::Listener
        } else {
            directive.scope
        };
        let settings = match (scope, file.current) {
            _ if of_default => &mut self.draft.default_listener,
            (Scope::Listener, Current::Listener(at)) => &mut self.draft.blocks[at].settings,
            (Scope::Listener, Current::Refused) => return,
            (Scope::Listener, Current::DefaultListener) => {
                self.draft.above.push((directive.name, place.clone()));
                &mut self.draft.default_listener
            }
            _ => &mut self.draft.global,
        };
        if let Err(first) = put(settings, directive, Setting { value, origin }) {
            self.draft.findings.error(twice(directive.name, &first, place));
        }
    }

    /// From here on some directives belong to the listener above them. What stands before would mean something else.
    fn per_listener(&mut self, place: &Place) {
        self.draft.per_listener = true;
        let global = &self.draft.global;
        let before = PER_LISTENER
            .iter()
            .find_map(|name| Some((name, global.get(name)?.first()?)));
        if let Some((name, setting)) = before {
            let message = format!(
                "'per_listener_settings true' stands above what it changes, and '{name}' stands before it, in {}.",
                setting.origin.short()
            );
            self.draft
                .findings
                .error(Finding::new(Code::WrongPlace, place.clone(), message));
        }
    }

    fn include(&mut self, file: &File, folder: &Path, place: Place) {
        if file.included {
            let message = "'include_dir' works in the main file only.";
            self.draft
                .findings
                .error(Finding::new(Code::Include, place, message));
            return;
        }
        let paths = match conf_files(folder) {
            Ok(paths) => paths,
            Err(error) => {
                let (code, why) = cannot_read(folder, &error);
                self.draft.findings.error(Finding::new(code, place, why));
                return;
            }
        };
        for path in paths {
            self.files += 1;
            if self.files > CONFIG_FILES_MAX {
                let message = format!("more than {CONFIG_FILES_MAX} files are included.");
                self.draft
                    .findings
                    .error(Finding::new(Code::Include, place, message));
                return;
            }
            match read_file(&path) {
                Ok(bytes) => self.file(&path, &bytes, true),
                Err((code, why)) => self.draft.findings.error(Finding::new(code, place.clone(), why)),
            }
        }
    }

    fn unknown(&mut self, file: &File, line: &Line<'_>, span: Range<usize>, name: &str) {
        let bare = before_equals(name);
        let message = if self.draft.findings.full() {
            String::new()
        } else if bare.len() < name.len() && find(bare).is_some() {
            let sign = &name[bare.len()..=bare.len()];
            format!("a space stands between '{bare}' and its value, not '{sign}'.")
        } else {
            unknown(name)
        };
        self.line_error(file, line.number, line.text, span, Code::UnknownName, message);
    }

    fn line_error(
        &mut self,
        file: &File,
        number: usize,
        text: &str,
        span: Range<usize>,
        code: Code,
        message: String,
    ) {
        let place = place_of(file, &Line { number, text }, span);
        self.draft.findings.error(Finding::new(code, place, message));
    }
}

/// The message of F001. A word behind `=` is not repeated: it may be a password.
pub(super) fn unknown(name: &str) -> String {
    let bare = before_equals(name);
    let known = DIRECTIVES
        .iter()
        .map(|d| d.name)
        .filter(|known| !known.ends_with('*'));
    let hint = nearest(bare, known).map_or(String::new(), |near| format!(" Did you mean '{near}'?"));
    format!("there is no option '{}'.{hint}", quoted(bare))
}

/// A directive that is not carried out, with a value that changes nothing.
pub(super) fn is_same(directive: &Directive, behind: &str, same: &[&str], root: bool) -> bool {
    let mut words = words(behind)
        .map(|(_, word)| word)
        .take_while(|word| !word.starts_with('#'));
    let written = match (directive.kind, words.next()) {
        (_, None) => return false,
        (Kind::Bool, Some("1")) => "true",
        (Kind::Bool, Some("0")) => "false",
        (_, Some(word)) => word,
    };
    if directive.name == "user" && !root {
        return true; // started as somebody else, mosquitto ignores it too
    }
    same.contains(&"*") || (words.next().is_none() && same.contains(&written))
}

/// The message of F006, with the values that are accepted.
pub(super) fn later(name: &str, feature: &str, same: &[&str]) -> String {
    // A name of a family is the user's word.
    let name = &quoted(name);
    let mut message = value::not_yet(&format!("'{name}'"), feature);
    if let [value] = same
        && *value != "*"
        && name != "user"
    {
        message = format!("{message} Only '{name} {value}' is accepted.");
    }
    message
}

fn place_of(file: &File, line: &Line<'_>, span: Range<usize>) -> Place {
    let (text, span) = masked(line.text, span);
    Place::Line {
        file: file.name.to_string(),
        line: line.number,
        text,
        span,
    }
}

fn origin_of(file: &File, line: &Line<'_>) -> Origin {
    let text = masked(line.text, 0..0).0.trim().into();
    Origin::File {
        file: file.name.clone(),
        line: line.number,
        text,
    }
}

/// The line without the value of what looks like a password.
fn masked(text: &str, span: Range<usize>) -> (String, Range<usize>) {
    match words(text).next() {
        Some((at, word))
            if looks_secret(word) && !text[at.start + before_equals(word).len()..].trim().is_empty() =>
        {
            let end = at.start + before_equals(word).len();
            let gap = if end < at.end { &text[end..=end] } else { " " };
            let span = if span.start < end {
                span.start..span.end.min(end)
            } else {
                end + 1..end + 4
            };
            (format!("{}{gap}***", &text[..end]), span)
        }
        _ => (text.to_owned(), span),
    }
}

/// The files of a folder whose names end in `.conf`, as mosquitto sorts them: without regard to case first.
fn conf_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.len() > ".conf".len() && path.extension().is_some_and(|e| e == "conf") {
            names.push((name, path));
        }
    }
    names.sort_by(|(a, _), (b, _)| (a.to_ascii_lowercase(), a).cmp(&(b.to_ascii_lowercase(), b)));
    Ok(names.into_iter().map(|(_, path)| path).collect())
}

fn read_file(path: &Path) -> Result<Vec<u8>, (Code, String)> {
    let read = || {
        if fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?
            .take(CONFIG_FILE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > CONFIG_FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    };
    read().map_err(|error| cannot_read(path, &error))
}

fn cannot_read(path: &Path, error: &io::Error) -> (Code, String) {
    let path = path.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => (Code::NoFile, format!("there is no '{path}'.")),
        io::ErrorKind::IsADirectory => (Code::IsFolder, format!("'{path}' is a folder, not a file.")),
        io::ErrorKind::NotADirectory => (
            Code::NoFile,
            format!("'{path}' is not in a folder, or not a folder."),
        ),
        io::ErrorKind::PermissionDenied => (
            Code::Unreadable,
            format!("cannot read '{path}': permission denied."),
        ),
        io::ErrorKind::FileTooLarge => {
            let limit = CONFIG_FILE_BYTES_MAX / 1024;
            (
                Code::Unreadable,
                format!("'{path}' is larger than {limit} KiB: not a configuration."),
            )
        }
        _ => (Code::Unreadable, format!("cannot read '{path}': {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_why() {
        let table = [
            (
                io::ErrorKind::PermissionDenied,
                Code::Unreadable,
                "cannot read 'a.conf': permission denied.",
            ),
            (io::ErrorKind::NotFound, Code::NoFile, "there is no 'a.conf'."),
            (
                io::ErrorKind::IsADirectory,
                Code::IsFolder,
                "'a.conf' is a folder, not a file.",
            ),
            (
                io::ErrorKind::InvalidData,
                Code::Unreadable,
                "cannot read 'a.conf': invalid data.",
            ),
        ];
        for (kind, code, message) in table {
            assert_eq!(
                cannot_read(Path::new("a.conf"), &kind.into()),
                (code, message.to_owned())
            );
        }
    }
}
