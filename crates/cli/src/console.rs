//! Standard error: errors, warnings and what `-d` shows. Colour only on a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::program::Manner;
use crate::settings::Settings;

/// Says why the program ends, and returns its exit status.
pub(crate) fn report(failure: &Failure, settings: &Settings) -> u8 {
    if !settings.quiet {
        say(failure, settings.role.manner);
    }
    match settings.role.manner {
        Manner::Martlet => failure.status,
        Manner::Mosquitto => failure.status_mosquitto,
    }
}

/// Says it whatever `--quiet` says: wrong arguments.
pub(crate) fn say(failure: &Failure, manner: Manner) {
    match manner {
        Manner::Martlet => error(failure.code, &failure.ours()),
        Manner::Mosquitto => put(&failure.mosquitto),
    }
}

/// `error[C001]: ...`
pub(crate) fn error(code: &str, text: &str) {
    put(&headed("error", Some(code), AnsiColor::Red, text));
}

/// `warning: ...`; the drop-in programs know none.
pub(crate) fn warning(settings: &Settings, text: &str) {
    if !settings.quiet && settings.role.manner == Manner::Martlet {
        put(&headed("warning", None, AnsiColor::Yellow, text));
    }
}

/// The same, whoever runs.
pub(crate) fn warn(text: &str) {
    put(&headed("warning", None, AnsiColor::Yellow, text));
}

/// A line in the words of mosquitto's programs, unless `--quiet` or our manner is in force.
pub(crate) fn mosquitto(settings: &Settings, line: &str) {
    if !settings.quiet && settings.role.manner == Manner::Mosquitto {
        put(line);
    }
}

/// Standard error, for what is not of its own kind. That it is closed is nobody's concern.
pub(crate) fn put(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn headed(kind: &str, code: Option<&str>, color: AnsiColor, text: &str) -> String {
    let code = code.map(|code| format!("[{code}]")).unwrap_or_default();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut out = String::new();
    if colored() {
        let style = Style::new().bold().fg_color(Some(color.into()));
        let _ = writeln!(out, "{style}{kind}{code}{style:#}: {first}");
    } else {
        let _ = writeln!(out, "{kind}{code}: {first}");
    }
    if !rest.is_empty() {
        let _ = writeln!(out, "{rest}");
    }
    out
}

fn colored() -> bool {
    static COLORED: OnceLock<bool> = OnceLock::new();
    *COLORED.get_or_init(|| {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        !plain && !dumb && std::io::stderr().is_terminal()
    })
}
