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
    let mut required = BTreeSet::new();
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
        required.extend(uses.modules.keys().cloned());
        for (name, line) in uses.members {
            if !has(&lua, &name, &required) {
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

/// A library that is no global is there for those who require it.
fn has(lua: &Lua, name: &str, required: &BTreeSet<String>) -> bool {
    let Some((library, member)) = name.split_once('.') else {
        return false;
    };
    let mut table = lua.globals().get::<Option<Table>>(library).unwrap_or(None);
    if table.is_none() && required.contains(library) && is_loaded(lua, library) {
        let require = lua.globals().get::<mlua::Function>("require");
        table = require.and_then(|require| require.call(library)).ok();
    }
    table.is_some_and(|table| !table.get::<Value>(member).unwrap_or(Value::Nil).is_nil())
}

fn is_loaded(lua: &Lua, name: &str) -> bool {
    let preload = lua.globals().get::<Table>("package");
    let preload = preload.and_then(|package| package.get::<Table>("preload"));
    [crate::api::loaded(lua), preload]
        .into_iter()
        .flatten()
        .any(|table| table.contains_key(name).unwrap_or(false))
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
    let mut first = Scan::new(&tokens, BTreeSet::new());
    first.run();
    // A global of the script's own is one in all of it, also above the line that makes it.
    let mut second = Scan::new(&tokens, first.assigned);
    second.run();
    second.uses
}

/// A walk through a text that knows which names are local where.
struct Scan<'a> {
    tokens: &'a [(usize, Token<'a>)],
    at: usize,
    /// Globals that the script makes itself.
    own: BTreeSet<&'a str>,
    /// Those that it was seen to make.
    assigned: BTreeSet<&'a str>,
    /// The innermost last; the first is that of the text.
    scopes: Vec<Scope<'a>>,
    /// Variables of a loop whose block has not begun.
    of_loop: Vec<&'a str>,
    uses: Uses,
}

#[derive(Default)]
struct Scope<'a> {
    names: BTreeSet<&'a str>,
    /// A table, in which `name =` is a field.
    is_table: bool,
}

impl<'a> Scan<'a> {
    fn new(tokens: &'a [(usize, Token<'a>)], own: BTreeSet<&'a str>) -> Self {
        Self {
            tokens,
            at: 0,
            own,
            assigned: BTreeSet::new(),
            scopes: vec![Scope::default()],
            of_loop: Vec::new(),
            uses: Uses::default(),
        }
    }

    fn token(&self, n: usize) -> Option<Token<'a>> {
        self.tokens.get(n).map(|(_, token)| *token)
    }

    /// The token so many places before this one.
    fn before(&self, n: usize) -> Option<Token<'a>> {
        self.at.checked_sub(n).and_then(|n| self.token(n))
    }

    fn run(&mut self) {
        while let Some(token) = self.token(self.at) {
            match token {
                Token::Mark('{') => self.open(BTreeSet::new(), true),
                Token::Mark('}') => self.close(),
                Token::Name(name) => self.name(name),
                _ => {}
            }
            self.at += 1;
        }
    }

    fn open(&mut self, names: BTreeSet<&'a str>, is_table: bool) {
        self.scopes.push(Scope { names, is_table });
    }

    fn close(&mut self) {
        if self.scopes.len() > 1 {
            self.scopes.pop();
        }
    }

    fn declare(&mut self, name: &'a str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.insert(name);
        }
    }

    /// Names with commas between, from there on; `at` is then at the last of them.
    fn list(&mut self, mut n: usize) -> Vec<&'a str> {
        let mut names = Vec::new();
        while let Some(Token::Name(name)) = self.token(n) {
            names.push(name);
            self.at = n;
            if self.token(n + 1) != Some(Token::Mark(',')) {
                break;
            }
            n += 2;
        }
        names
    }

    fn name(&mut self, name: &'a str) {
        match name {
            "local" => self.local(),
            "function" => self.function(),
            "for" => self.of_loop = self.list(self.at + 1),
            "do" => {
                let names = std::mem::take(&mut self.of_loop);
                self.open(names.into_iter().collect(), false);
            }
            "then" | "repeat" => self.open(BTreeSet::new(), false),
            "else" => {
                self.close();
                self.open(BTreeSet::new(), false);
            }
            "elseif" | "until" | "end" => self.close(),
            _ => self.variable(name),
        }
    }

    fn local(&mut self) {
        if self.token(self.at + 1) == Some(Token::Name("function")) {
            if let Some(Token::Name(name)) = self.token(self.at + 2) {
                self.declare(name);
            }
            return;
        }
        let names = self.list(self.at + 1);
        if names.len() == 1 && self.is_library(self.at) {
            return;
        }
        for name in names {
            self.declare(name);
        }
    }

    /// `function`, its name if it has one, and what it takes.
    fn function(&mut self) {
        let behind = self.at + 1;
        if let (Some(Token::Name(name)), Some(Token::Mark('('))) =
            (self.token(behind), self.token(behind + 1))
            && !self.is_local(name)
        {
            self.assigned.insert(name);
        }
        while let Some(Token::Name(_) | Token::Mark('.' | ':')) = self.token(self.at + 1) {
            self.at += 1;
        }
        let mut names = BTreeSet::new();
        if self.token(self.at + 1) == Some(Token::Mark('(')) {
            self.at += 1;
            names.extend(self.list(self.at + 1));
        }
        self.open(names, false);
    }

    fn variable(&mut self, name: &'a str) {
        let (line, n) = (self.tokens[self.at].0, self.at);
        let is_set = is_assigned(self.tokens, n + 1);
        if let Some(Token::Mark('.' | ':')) = self.before(1) {
            let is_global =
                self.before(1) == Some(Token::Mark('.')) && self.before(2) == Some(Token::Name("_G"));
            if is_global && is_set && !self.is_library(n) {
                self.assigned.insert(name);
            }
            return;
        }
        if name == "require" {
            let is_in_parentheses = self.token(n + 1) == Some(Token::Mark('('));
            if let Some(Token::Text(module)) = self.token(n + 1 + usize::from(is_in_parentheses)) {
                self.uses.modules.entry(module.to_owned()).or_insert(line);
            }
        }
        if self.is_local(name) {
            return;
        }
        let is_field = self.scopes.last().is_some_and(|scope| scope.is_table);
        if is_set && !is_field && !self.is_library(n) {
            self.assigned.insert(name);
        }
        if !LIBRARIES.contains(&name) || self.own.contains(name) {
            return;
        }
        if let (Some(Token::Mark('.')), Some(Token::Name(member))) = (self.token(n + 1), self.token(n + 2))
            && !is_assigned(self.tokens, n + 3)
        {
            self.uses
                .members
                .entry(format!("{name}.{member}"))
                .or_insert(line);
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.names.contains(name))
    }

    /// Whether what is assigned to that name is the library of that name.
    fn is_library(&self, n: usize) -> bool {
        let Some(Token::Name(name)) = self.token(n) else {
            return false;
        };
        if !is_assigned(self.tokens, n + 1) {
            return false;
        }
        match self.token(n + 2) {
            Some(Token::Name("require")) => (n + 3..n + 5).any(|n| self.token(n) == Some(Token::Text(name))),
            Some(Token::Name(other)) => other == name,
            _ => false,
        }
    }
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

    fn members(text: &str) -> Vec<String> {
        uses(text).members.into_keys().collect()
    }

    #[test]
    fn a_name_is_local_where_it_is() {
        for (text, wanted) in [
            (
                "local function f() local http = {} http.a() end http.b()",
                "http.b",
            ),
            ("local function f(http) http.a() end http.b()", "http.b"),
            ("do local http http.a() end http.b()", "http.b"),
            (
                "if x then local http = {} http.a() elseif y then http.b() else http.c() end http.d()",
                "http.b http.c http.d",
            ),
            ("for _, http in pairs(x) do http.a() end http.b()", "http.b"),
            ("for http = 1, 2 do http.a() end while http.b do end", "http.b"),
            ("repeat local http http.a() until x http.b()", "http.b"),
            ("local x, http = 1, 2 http.a()", ""),
            ("local function http() end http.a()", ""),
            ("function http() end http.a()", ""),
            ("http.a() http = {}", ""),
            ("_G.http = {} http.a()", ""),
            ("local http = http http.a()", "http.a"),
            ("local http = require 'http' http.a()", "http.a"),
            ("_G.http = require('http') http.a()", "http.a"),
            (
                "x = { http = 1, f = function() local http http.a() end } http.b()",
                "http.b",
            ),
            ("function http.a() end http.b()", "http.b"),
            ("local http = make() local function f() http.a() end", ""),
        ] {
            assert_eq!(members(text).join(" "), wanted, "{text}");
        }
    }

    #[test]
    fn no_text_makes_it_stumble() {
        for text in [
            "'",
            "\"\\",
            "[[",
            "[==[ ]=]",
            "--[[",
            "é.x",
            "a.",
            "require",
            "require(",
            "'é",
            "0x",
            "[=",
            "--",
            "end end",
            "}}",
            "local",
            "function",
            "for",
            "for a,",
            "local a,",
            "function a.",
            "do do",
            "_G.",
            "elseif",
        ] {
            uses(text);
        }
    }
}
