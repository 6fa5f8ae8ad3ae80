//! The Lua runtime of LuatOS modules on a PC: scripts that run on a module run here, unchanged, against any broker.
//!
//! [`run`] runs a script in a Lua of its own, [`install`] puts the libraries into a Lua that is there already. The
//! `mqtt` library stands on the engine of `martlet-client`; this crate moves its bytes and turns its events into
//! calls. One thread does it all: `machine::Machine` waits for timers and sockets while the script waits in
//! `rtos.receive`, so nothing is ever called inside of a call. It is no MQTT implementation, and no emulator of a chip.

// Numbers of Lua become those of a module's C as C converts them.
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap)]

mod api;
mod check;
mod clock;
mod crypto;
mod debug;
mod files;
mod inner_broker;
mod json;
mod log;
mod machine;
mod mqtt;
mod program;
mod rtos;
mod settings;
mod standins;
mod strings;
mod timers;
mod zbuff;

pub mod limits;

pub use check::{Missing, check};
pub use program::{End, ScriptError, run};
pub use settings::Settings;
pub use standins::{VALUES, check_value};

use std::rc::Rc;

use mlua::Lua;

use crate::machine::Machine;

/// Puts all libraries of LuatOS into a Lua of a program's own, as globals and for `require`.
///
/// # Errors
/// The system gives no socket to wait with, or Lua no memory.
pub fn install(lua: &Lua, settings: Settings) -> mlua::Result<()> {
    let machine = begin(lua, settings)?;
    strings::install(lua, &machine)?;
    files::install(lua, &machine)?;
    crypto::install(lua, &machine)?;
    json::install(lua, &machine)?;
    standins::install(lua, &machine)?;
    api::preload(lua, "sys", include_str!("lua/sys.lua"))
}

/// Puts `mqtt` and what it needs into a Lua that is somebody else's: `rtos`, `log`, `sys` and `zbuff`. Nothing that
/// is there already is changed.
///
/// # Errors
/// As of [`install`].
pub fn install_module(lua: &Lua) -> mlua::Result<()> {
    begin(lua, Settings::default())?;
    api::preload(lua, "sys", include_str!("lua/sys.lua"))
}

fn begin(lua: &Lua, settings: Settings) -> mlua::Result<Rc<Machine>> {
    let machine = Rc::new(Machine::new(settings)?);
    lua.set_app_data(Rc::clone(&machine));
    debug::install(lua, &machine)?;
    log::install(lua, &machine)?;
    rtos::install(lua, &machine)?;
    zbuff::install(lua, &machine)?;
    mqtt::install(lua, &machine)?;
    Ok(machine)
}
