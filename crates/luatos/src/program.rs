//! A script as a program: read, run, and what became of it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Value, VmState};

use crate::machine::Machine;
use crate::settings::Settings;

/// How a script ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has run to its end.
    Done,
}

/// Why a script ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// It cannot be read.
    #[error("cannot read the script {}: {source}", path.display())]
    Read {
        /// The script.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not Lua.
    #[error("{0}")]
    Syntax(String),
    /// It failed; with its traceback.
    #[error("{0}")]
    Failed(String),
    /// The runtime cannot be made.
    #[error("cannot start Lua: {0}")]
    Start(String),
}

/// Keeps the traceback of an error that nobody catches.
const RUN: &str = "
local main, traceback = ...
return function(...)
    return xpcall(main, function(said)
        if type(said) ~= 'string' then said = tostring(said) end
        return traceback(said, 2)
    end, ...)
end";

/// Runs a script to its end.
///
/// # Errors
/// It cannot be read, is not Lua, or has failed.
pub fn run(script: &Path, mut settings: Settings) -> Result<End, ScriptError> {
    let text = std::fs::read(script).map_err(|source| ScriptError::Read {
        path: script.to_owned(),
        source,
    })?;
    settings.folder = script.parent().map(Path::to_owned).unwrap_or_default();
    settings.is_program = true;
    let args = settings.args.clone();
    let memory_limit = settings.memory_limit;
    let has_limit = settings.time_limit.is_some() && !settings.virtual_time;
    let lua = new_lua().map_err(|error| ScriptError::Start(error.to_string()))?;
    let started = crate::install(&lua, settings).and_then(|()| set_args(&lua, script, &args));
    let started = started.and_then(|()| if has_limit { watch(&lua) } else { Ok(()) });
    let started = started.and_then(|()| match memory_limit {
        Some(bytes) => lua.set_memory_limit(bytes).map(drop),
        None => Ok(()),
    });
    started.map_err(|error| ScriptError::Start(error.to_string()))?;
    let name = format!("@{}", script.display());
    let main = lua.load(text).set_name(name).into_function();
    let main = main.map_err(|error| ScriptError::Syntax(crate::api::root_cause(&error)))?;
    let ended = call(&lua, main, &args).map_err(|error| ScriptError::Failed(crate::api::root_cause(&error)));
    if let Some(machine) = lua.app_data_ref::<Rc<Machine>>() {
        machine.finish();
    }
    match ended? {
        None => Ok(End::Done),
        Some(said) => Err(ScriptError::Failed(said)),
    }
}

/// Looks at the time in a script that waits for nothing, too.
fn watch(lua: &Lua) -> mlua::Result<()> {
    let each = HookTriggers::new().every_nth_instruction(100_000);
    lua.set_global_hook(each, |lua, _| {
        if let Some(machine) = lua.app_data_ref::<Rc<Machine>>() {
            machine.look_at_limit();
        }
        Ok(VmState::Continue)
    })
}

/// Lua with all that is safe of it; `debug` is not, what scripts use of it comes with the libraries.
pub(crate) fn new_lua() -> mlua::Result<Lua> {
    Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default())
}

fn set_args(lua: &Lua, script: &Path, args: &[String]) -> mlua::Result<()> {
    let table = lua.create_sequence_from(args.iter().map(String::as_str))?;
    table.set(0, script.display().to_string())?;
    lua.globals().set("arg", table)
}

/// What it says if it fails.
fn call(lua: &Lua, main: Function, args: &[String]) -> mlua::Result<Option<String>> {
    let debug: mlua::Table = lua.globals().get("debug")?;
    let traceback: Function = debug.get("traceback")?;
    let guarded: Function = lua.load(RUN).set_name("=[luatos]").call((main, traceback))?;
    let args: MultiValue = args
        .iter()
        .map(|arg| lua.create_string(arg).map(Value::String))
        .collect::<Result<_, _>>()?;
    let (is_done, said): (bool, Option<mlua::LuaString>) = guarded.call(args)?;
    Ok((!is_done).then(|| said.map(|said| said.to_string_lossy()).unwrap_or_default()))
}
