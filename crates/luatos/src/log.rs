//! `log`: lines with a level, a tag and values, printed by `print`.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, Lua, LuaString, Value};

use crate::api::{Args, Library, Returned, nothing};
use crate::machine::Machine;

/// Numbers and names of the levels, and the letter of a line.
const LEVELS: [(&str, i64, &str, char); 5] = [
    ("debug", 1, "DEBUG", 'D'),
    ("info", 2, "INFO", 'I'),
    ("warn", 3, "WARN", 'W'),
    ("error", 4, "ERROR", 'E'),
    ("fatal", 5, "FATAL", 'F'),
];

/// The level at which nothing is printed.
const SILENT: i64 = 0;

/// Styles: the tag, the place in the script instead of `user.`, or both.
const PLAIN: i64 = 0;
const WITH_PLACE_FOR_TAG: i64 = 1;
const WITH_BOTH: i64 = 2;

/// What is printed and how.
#[derive(Debug)]
pub(crate) struct Style {
    level: Cell<i64>,
    style: Cell<i64>,
}

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let log = Library::open(lua, machine, "log")?;
    lua.set_app_data(Style {
        level: Cell::new(1),
        style: Cell::new(PLAIN),
    });
    for (name, level, word, letter) in LEVELS {
        log.function(name, move |_, args| line(args, level, letter))?;
        log.value(&format!("LOG_{word}"), level)?;
    }
    log.value("LOG_SILENT", SILENT)?;
    log.function("setLevel", |_, args| {
        let level = match args.value(1) {
            Value::String(name) => {
                let name = name.to_string_lossy().to_ascii_uppercase();
                let known = LEVELS.iter().find(|(_, _, word, _)| *word == name);
                known.map_or(SILENT, |(_, level, ..)| *level)
            }
            _ => args.opt_integer(1, 1)?,
        };
        with(args.lua, |style| style.level.set(level));
        nothing()
    })?;
    log.function("getLevel", |_, args| {
        let level = with(args.lua, |style| style.level.get());
        args.returns(level)
    })?;
    log.function("style", |_, args| {
        if args.is_nil(1) {
            return args.returns(with(args.lua, |style| style.style.get()));
        }
        let style = args.integer(1)?.clamp(PLAIN, WITH_BOTH);
        with(args.lua, |styles| styles.style.set(style));
        args.returns(style)
    })
}

fn with<T>(lua: &Lua, look: impl FnOnce(&Style) -> T) -> T {
    let style = lua.app_data_ref::<Style>().expect("installed before it is used");
    look(&style)
}

fn line(args: &Args<'_>, level: i64, letter: char) -> Returned {
    let lua = args.lua;
    let (least, style) = with(lua, |style| (style.level.get(), style.style.get()));
    if least == SILENT || level < least {
        return nothing();
    }
    let mut text = format!("{letter}/").into_bytes();
    let place = (style != PLAIN).then(|| caller(lua));
    let place = place.map(|(file, line)| format!("{file}:{line}"));
    if style == WITH_PLACE_FOR_TAG {
        text.extend_from_slice(place.as_deref().unwrap_or_default().as_bytes());
        text.push(b' ');
    } else {
        text.extend_from_slice(b"user.");
    }
    let to_string: Function = lua.globals().get("tostring")?;
    for n in 1..=args.count() {
        if n > 1 {
            text.push(b' ');
        }
        match args.value(n) {
            Value::String(string) => text.extend_from_slice(&string.as_bytes()),
            value => text.extend_from_slice(&to_string.call::<LuaString>(value)?.as_bytes()),
        }
        if n == 1 && style == WITH_BOTH {
            text.push(b' ');
            text.extend_from_slice(place.as_deref().unwrap_or_default().as_bytes());
        }
    }
    print(lua, &text)?;
    nothing()
}

/// File and line of the code that called `log`.
fn caller(lua: &Lua) -> (String, usize) {
    // 0 is this function, 1 the guard around it.
    let found = lua.inspect_stack(2, |debug| {
        let source = debug.source();
        let name = source
            .short_src
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default();
        let file = name.rsplit('/').next().unwrap_or_default().to_owned();
        (file, debug.current_line().unwrap_or(0))
    });
    found.unwrap_or_default()
}

/// Prints a line as the script would.
pub(crate) fn print(lua: &Lua, text: &[u8]) -> mlua::Result<()> {
    let print: Function = lua.globals().get("print")?;
    print.call(lua.create_string(text)?)
}

/// A line of the runtime itself, under the tag of one of its libraries.
pub(crate) fn say(lua: &Lua, letter: char, tag: &str, text: &str) -> mlua::Result<()> {
    let level = LEVELS.iter().find(|(.., known)| *known == letter);
    let level = level.map_or(SILENT, |(_, level, ..)| *level);
    let least = with(lua, |style| style.level.get());
    if least == SILENT || level < least {
        return Ok(());
    }
    print(lua, format!("{letter}/{tag} {text}").as_bytes())
}
