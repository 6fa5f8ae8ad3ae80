//! Functions for Lua: their arguments, checked as Lua's own functions check them, and their errors.

use std::rc::Rc;

use mlua::{Function, IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use crate::machine::Machine;

/// Why a function gives up.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What Lua is told, at the place of the call.
    Said(String),
    /// Lua itself failed.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// What a function returns.
pub(crate) type Returned = Result<MultiValue, Fault>;

/// The arguments of a call.
pub(crate) struct Args<'a> {
    pub(crate) lua: &'a Lua,
    /// The name of the function, for errors.
    to: &'static str,
    values: MultiValue,
}

impl Args<'_> {
    /// The argument in that place, counted from 1; nil where there is none.
    pub(crate) fn value(&self, n: usize) -> Value {
        self.values.get(n - 1).cloned().unwrap_or(Value::Nil)
    }

    pub(crate) fn is_nil(&self, n: usize) -> bool {
        self.value(n).is_nil()
    }

    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    /// What is said of an argument that does not do.
    pub(crate) fn bad(&self, n: usize, why: &str) -> Fault {
        Fault::Said(format!("bad argument #{n} to '{}' ({why})", self.to))
    }

    fn expected(&self, n: usize, wanted: &str) -> Fault {
        let got = match self.values.get(n - 1) {
            None => "no value",
            Some(Value::Integer(_)) => "number",
            Some(value) => value.type_name(),
        };
        self.bad(n, &format!("{wanted} expected, got {got}"))
    }

    /// A string, or a number in its place.
    pub(crate) fn string(&self, n: usize) -> Result<LuaString, Fault> {
        self.maybe_string(n)?.ok_or_else(|| self.expected(n, "string"))
    }

    /// The same, if it is one.
    pub(crate) fn maybe_string(&self, n: usize) -> Result<Option<LuaString>, Fault> {
        match self.value(n) {
            value @ (Value::String(_) | Value::Integer(_) | Value::Number(_)) => {
                Ok(self.lua.coerce_string(value)?)
            }
            _ => Ok(None),
        }
    }

    /// The same, where nil and none are good too.
    pub(crate) fn opt_string(&self, n: usize) -> Result<Option<LuaString>, Fault> {
        if self.is_nil(n) {
            return Ok(None);
        }
        self.string(n).map(Some)
    }

    /// A whole number, or a string that reads as one.
    pub(crate) fn integer(&self, n: usize) -> Result<i64, Fault> {
        let value = self.value(n);
        let is_number = matches!(value, Value::Number(_));
        match self.lua.coerce_integer(value)? {
            Some(integer) => Ok(integer),
            None if is_number => Err(self.bad(n, "number has no integer representation")),
            None => Err(self.expected(n, "number")),
        }
    }

    pub(crate) fn opt_integer(&self, n: usize, default: i64) -> Result<i64, Fault> {
        if self.is_nil(n) {
            return Ok(default);
        }
        self.integer(n)
    }

    pub(crate) fn function(&self, n: usize) -> Result<Function, Fault> {
        match self.value(n) {
            Value::Function(function) => Ok(function),
            _ => Err(self.expected(n, "function")),
        }
    }

    /// A userdata of that type, which Lua calls `name`.
    pub(crate) fn object<T: Clone + 'static>(&self, n: usize, name: &str) -> Result<T, Fault> {
        if let Value::UserData(object) = self.value(n)
            && let Ok(object) = object.borrow::<T>()
        {
            return Ok(T::clone(&object));
        }
        Err(self.expected(n, name))
    }

    /// What the function returns.
    pub(crate) fn returns(&self, values: impl IntoLuaMulti) -> Returned {
        Ok(values.into_lua_multi(self.lua)?)
    }
}

/// Nothing at all, which is not nil.
#[allow(clippy::unnecessary_wraps)] // functions return it
pub(crate) fn nothing() -> Returned {
    Ok(MultiValue::new())
}

/// What a table of functions is made with.
pub(crate) struct Library<'a> {
    lua: &'a Lua,
    machine: &'a Rc<Machine>,
    pub(crate) table: Table,
    guard: Function,
}

/// Turns what a function says into an error at the place of its call, as Lua's own functions do.
const GUARD: &str = "
local error = error
local function pass(ok, ...)
    if ok then return ... end
    error((...), 2)
end
return function(raw)
    return function(...) return pass(raw(...)) end
end";

impl<'a> Library<'a> {
    /// A global table of that name, also for `require`; the one that is there already if there is one.
    pub(crate) fn open(lua: &'a Lua, machine: &'a Rc<Machine>, name: &str) -> mlua::Result<Self> {
        let globals = lua.globals();
        let table = match globals.get(name)? {
            Value::Table(table) => table,
            _ => lua.create_table()?,
        };
        globals.set(name, &table)?;
        loaded(lua)?.set(name, &table)?;
        let guard: Function = lua.load(GUARD).set_name("=[luatos]").eval()?;
        Ok(Self {
            lua,
            machine,
            table,
            guard,
        })
    }

    /// Adds a function.
    pub(crate) fn function<F>(&self, name: &'static str, function: F) -> mlua::Result<()>
    where
        F: Fn(&Rc<Machine>, &Args<'_>) -> Returned + 'static,
    {
        let machine = Rc::downgrade(self.machine);
        let raw = self.lua.create_function(move |lua, values: MultiValue| {
            let args = Args {
                lua,
                to: name,
                values,
            };
            let gone = || mlua::Error::runtime("the runtime has ended");
            let said = match function(&machine.upgrade().ok_or_else(gone)?, &args) {
                Ok(mut values) => {
                    values.push_front(Value::Boolean(true));
                    return Ok(values);
                }
                Err(Fault::Said(said)) => said,
                Err(Fault::Lua(error)) => root_cause(&error),
            };
            (Value::Nil, said).into_lua_multi(lua)
        })?;
        self.table.set(name, self.guard.call::<Function>(raw)?)
    }

    /// Adds a value.
    pub(crate) fn value(&self, name: &str, value: impl IntoLua) -> mlua::Result<()> {
        self.table.set(name, value)
    }
}

/// What was said first, without what mlua wraps around it.
pub(crate) fn root_cause(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => {
            root_cause(cause)
        }
        mlua::Error::RuntimeError(text) | mlua::Error::MemoryError(text) => text.clone(),
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// `package.loaded`.
pub(crate) fn loaded(lua: &Lua) -> mlua::Result<Table> {
    lua.globals().get::<Table>("package")?.get("loaded")
}

/// Runs a library that is written in Lua: it is global, and there for `require`.
pub(crate) fn preload(lua: &Lua, name: &str, text: &str) -> mlua::Result<()> {
    let library: Value = lua.load(text).set_name(format!("=[{name}]")).call(())?;
    lua.globals().set(name, &library)?;
    loaded(lua)?.set(name, library)
}
