//! What a script uses of LuatOS and would not find here, without running it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mlua::{Lua, Table, Value};

use crate::program::{ScriptError, new_lua};
use crate::settings::Settings;

/// What is missing, and where it is used first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The function, such as `http.request`, or the module.
    pub name: String,
}

/// The libraries of LuatOS. One that is not among our globals is missing as a whole.
const LIBRARIES: &[&str] = &[
    "adc",
    "airlink",
    "airui",
    "audio",
    "bit64",
    "ble",
    "bluetooth",
    "camera",
    "can",
    "cc",
    "codec",
    "crypto",
    "dac",
    "debug",
    "disp",
    "eink",
    "ercoap",
    "errDump",
    "espnow",
    "fatfs",
    "fdb",
    "fft",
    "fonts",
    "fota",
    "fs",
    "fskv",
    "ftp",
    "gmssl",
    "gnss",
    "gpio",
    "gtfont",
    "hmeta",
    "ht1621",
    "http",
    "httpsrv",
    "hzfont",
    "i2c",
    "i2s",
    "iconv",
    "icmp",
    "io",
    "ioqueue",
    "iotauth",
    "iperf",
    "ir",
    "json",
    "keyboard",
    "lcd",
    "lcdseg",
    "libcoap",
    "libgnss",
    "little_flash",
    "log",
    "lora",
    "lora2",
    "lvgl",
    "max30102",
    "mcu",
    "miniz",
    "mlx90640",
    "mobile",
    "modbus",
    "mqtt",
    "natp",
    "nes",
    "netdrv",
    "nimble",
    "onewire",
    "os",
    "otp",
    "pack",
    "pin",
    "pins",
    "pm",
    "protobuf",
    "pwm",
    "repl",
    "rsa",
    "rtc",
    "rtos",
    "sdio",
    "sensor",
    "sfd",
    "sfud",
    "sms",
    "socket",
    "softkb",
    "spi",
    "spislave",
    "sqlite3",
    "statem",
    "string",
    "sys",
    "sysplus",
    "table",
    "touchkey",
    "tp",
    "u8g2",
    "uart",
    "ufont",
    "usbapp",
    "videoplayer",
    "vtool",
    "wdt",
    "websocket",
    "wlan",
    "xxtea",
    "ymodem",
    "zbuff",
    "zlib",
];

/// Compiles a script and the modules beside it that it requires, and lists what they use and would not find.
///
/// # Errors
/// One of them cannot be read, or is not Lua.
pub fn check(script: &Path, mut settings: Settings) -> Result<Vec<Missing>, ScriptError> {
    settings.folder = script.parent().map(Path::to_owned).unwrap_or_default();
    settings.is_program = true;
    settings.virtual_time = true;
    let folders: Vec<PathBuf> = std::iter::once(settings.folder.clone())
        .chain(settings.path.iter().cloned())
        .collect();
    let lua = new_lua().and_then(|lua| crate::install(&lua, settings).map(|()| lua));
    let lua = lua.map_err(|error| ScriptError::Start(error.to_string()))?;
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![script.to_owned()]);
    let mut missing = BTreeSet::new();
    while let Some(file) = waiting.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        let text = std::fs::read(&file).map_err(|source| ScriptError::Read {
            path: file.clone(),
            source,
        })?;
        let compiled = lua
            .load(&text[..])
            .set_name(format!("@{}", file.display()))
            .into_function();
        compiled.map_err(|error| ScriptError::Syntax(crate::api::root_cause(&error)))?;
        let uses = uses(&String::from_utf8_lossy(&text));
        for (name, line) in uses.members {
            if !has(&lua, &name) {
                missing.insert(Missing {
                    file: file.clone(),
                    line,
                    name,
                });
            }
        }
        for (name, line) in uses.modules {
            if is_loaded(&lua, &name) {
                continue;
            }
            match find(&folders, &name) {
                Some(module) => waiting.push(module),
                None => drop(missing.insert(Missing {
                    file: file.clone(),
                    line,
                    name,
                })),
            }
        }
    }
    Ok(missing.into_iter().collect())
}

fn has(lua: &Lua, name: &str) -> bool {
    let Some((library, member)) = name.split_once('.') else {
        return false;
    };
    let table = lua.globals().get::<Option<Table>>(library).unwrap_or(None);
    table.is_some_and(|table| !table.get::<Value>(member).unwrap_or(Value::Nil).is_nil())
}

fn is_loaded(lua: &Lua, name: &str) -> bool {
    crate::api::loaded(lua).is_ok_and(|loaded| loaded.contains_key(name).unwrap_or(false))
}

fn find(folders: &[PathBuf], module: &str) -> Option<PathBuf> {
    let path = module.replace('.', "/");
    let candidates = folders.iter().flat_map(|folder| {
        [
            folder.join(format!("{path}.lua")),
            folder.join(&path).join("init.lua"),
        ]
    });
    candidates.into_iter().find(|file| file.is_file())
}

/// What a text names, each with the line where it does so first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Uses {
    /// `library.member`
    members: BTreeMap<String, usize>,
    /// Behind `require`.
    modules: BTreeMap<String, usize>,
}

fn uses(text: &str) -> Uses {
    let tokens = tokens(text);
    let own = own_names(&tokens);
    let mut uses = Uses::default();
    for (n, (line, token)) in tokens.iter().enumerate() {
        let Token::Name(name) = token else { continue };
        let next = |ahead: usize| tokens.get(n + ahead).map(|(_, token)| token);
        let is_member = n > 0 && matches!(tokens[n - 1].1, Token::Mark('.' | ':'));
        if is_member {
            continue;
        }
        if *name == "require" {
            let behind = if next(1) == Some(&Token::Mark('(')) {
                next(2)
            } else {
                next(1)
            };
            if let Some(Token::Text(module)) = behind {
                uses.modules.entry((*module).to_owned()).or_insert(*line);
            }
        }
        if !LIBRARIES.contains(name) || own.contains(name) {
            continue;
        }
        if let (Some(Token::Mark('.')), Some(Token::Name(member))) = (next(1), next(2))
            && !is_assigned(&tokens, n + 3)
        {
            uses.members.entry(format!("{name}.{member}")).or_insert(*line);
        }
    }
    uses
}

/// Names that the script makes itself, other than by `require` of the same name.
fn own_names<'a>(tokens: &[(usize, Token<'a>)]) -> BTreeSet<&'a str> {
    let mut own = BTreeSet::new();
    for (n, (_, token)) in tokens.iter().enumerate() {
        let Token::Name(name) = token else { continue };
        let is_member = n > 0 && matches!(tokens[n - 1].1, Token::Mark('.' | ':'));
        if !is_member && is_assigned(tokens, n + 1) {
            let required = tokens.get(n + 2..n + 5).unwrap_or_default();
            let is_library = required.iter().any(|(_, token)| *token == Token::Text(name))
                || matches!(required.first(), Some((_, Token::Name(other))) if other == name);
            if !is_library {
                own.insert(*name);
            }
        }
    }
    own
}

/// Whether a single `=` stands there.
fn is_assigned(tokens: &[(usize, Token<'_>)], n: usize) -> bool {
    let at = |n: usize| tokens.get(n).map(|(_, token)| token);
    at(n) == Some(&Token::Mark('=')) && at(n + 1) != Some(&Token::Mark('='))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    Text(&'a str),
    Mark(char),
}

/// Names, strings and single marks of a text that compiles, with their lines.
fn tokens(text: &str) -> Vec<(usize, Token<'_>)> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '-' if rest.starts_with("--") => (None, 2 + comment(&rest[2..])),
            '[' if long(rest).is_some() => {
                let (inner, whole) = long(rest).unwrap_or_default();
                (Some(Token::Text(inner)), whole)
            }
            '"' | '\'' => {
                let length = quoted(rest);
                (rest.get(1..length - 1).map(Token::Text), length)
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                (Some(Token::Name(&rest[..end])), end)
            }
            c if c.is_ascii_digit() => {
                // With what belongs to it: `1.5`, `0x1F`, `1e5`.
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '.')
                    .unwrap_or(rest.len());
                (None, end)
            }
            c if c.is_whitespace() => (None, c.len_utf8()),
            // `..` is no access to a member.
            '.' if rest.starts_with("..") => (None, 2),
            c => (Some(Token::Mark(c)), c.len_utf8()),
        };
        if let Some(token) = token {
            found.push((line, token));
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of a comment behind its dashes.
fn comment(rest: &str) -> usize {
    match long(rest) {
        Some((_, whole)) => whole,
        None => rest.find('\n').unwrap_or(rest.len()),
    }
}

/// What stands in long brackets, and the length with them.
fn long(rest: &str) -> Option<(&str, usize)> {
    let behind = rest.strip_prefix('[')?;
    let level = behind.find(|c| c != '=')?;
    let inner = behind[level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let length = inner.find(&close).unwrap_or(inner.len());
    let whole = (level + 2 + length + close.len()).min(rest.len());
    Some((&inner[..length], whole))
}

/// The length of a string with its quotes.
fn quoted(rest: &str) -> usize {
    let mut characters = rest.char_indices();
    let Some((_, quote)) = characters.next() else {
        return 0;
    };
    let mut is_escaped = false;
    for (at, c) in characters {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_names() {
        let found = uses(
            "local sys = require 'sys' require(\"own\")\n\
             local http = {} http.get() -- http2.get() lcd.init()\n\
             --[==[ lcd.init() ]==] local s = [[lcd.init()]] .. 'lcd.init()'\n\
             fskv.init() a.fskv.set() x = 1 ..fskv.get()\n\
             sys.publish('a') mqtt.extra = 1\n",
        );
        let members: Vec<(&str, usize)> = found
            .members
            .iter()
            .map(|(name, line)| (name.as_str(), *line))
            .collect();
        assert_eq!(members, [("fskv.get", 4), ("fskv.init", 4), ("sys.publish", 5)]);
        let modules: Vec<&str> = found.modules.keys().map(String::as_str).collect();
        assert_eq!(modules, ["own", "sys"]);
    }

    #[test]
    fn no_text_makes_it_stumble() {
        for text in [
            "'", "\"\\", "[[", "[==[ ]=]", "--[[", "é.x", "a.", "require", "require(", "'é", "0x", "[=", "--",
        ] {
            uses(text);
        }
    }
}
