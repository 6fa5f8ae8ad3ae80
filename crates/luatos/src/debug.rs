//! `debug`, as far as it can do no harm: tracebacks and places. Where there is a whole one it stays.

use std::rc::Rc;

use mlua::{Lua, Value};

use crate::api::Library;
use crate::machine::Machine;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    if lua.globals().contains_key("debug")? {
        return Ok(());
    }
    let debug = Library::open(lua, machine, "debug")?;
    let traceback = lua.create_function(|lua, (said, level): (Value, Option<usize>)| {
        let said = match said {
            // Of another coroutine nothing is known here.
            Value::Nil | Value::Thread(_) => None,
            said => match lua.coerce_string(said.clone())? {
                Some(text) => Some(text.to_string_lossy()),
                None => return Ok(said),
            },
        };
        lua.traceback(said.as_deref(), level.unwrap_or(1))
            .map(Value::String)
    })?;
    debug.value("traceback", traceback)?;
    let info = lua.create_function(|lua, level: Value| {
        let Value::Integer(level) = level else {
            return Ok(Value::Nil);
        };
        let Ok(level) = usize::try_from(level) else {
            return Ok(Value::Nil);
        };
        let table = lua.create_table()?;
        let found = lua.inspect_stack(level, |info| {
            let source = info.source();
            table.set("source", source.source.map(std::borrow::Cow::into_owned))?;
            table.set("short_src", source.short_src.map(std::borrow::Cow::into_owned))?;
            table.set("linedefined", source.line_defined)?;
            table.set("what", source.what)?;
            table.set("currentline", info.current_line())?;
            table.set("name", info.names().name.map(std::borrow::Cow::into_owned))
        });
        match found {
            None => Ok(Value::Nil),
            Some(set) => set.map(|()| Value::Table(table)),
        }
    })?;
    debug.value("getinfo", info)
}
