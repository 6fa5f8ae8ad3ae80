//! `require "mqtt"` for plain Lua 5.3: the `mqtt` library of LuatOS modules, with `sys`, `log` and `rtos`.
//!
//! All there is to say stands in the crate `martlet-luatos`; this one is the door that Lua opens.

use mlua::{Lua, Table};

/// What `require "mqtt"` returns.
#[mlua::lua_module]
fn mqtt(lua: &Lua) -> mlua::Result<Table> {
    martlet_luatos::install_module(lua)?;
    lua.globals().get("mqtt")
}
