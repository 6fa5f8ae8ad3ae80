//! `rtos`: the bus, timers, and what the module is.

use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Value};

use crate::api::{Args, Fault, Library, Returned, nothing};
use crate::log;
use crate::machine::{Machine, Note};

/// A timer is due.
const MSG_TIMER: i64 = 1;

/// Calls what came on the bus from Lua itself: no frame of another language lies between a callback and its error.
const RECEIVE: &str = "
local take = ...
local function handle(kind, f, ...)
    if kind ~= 'call' then return kind, f, ... end
    f(...)
    return 0
end
return function(ms)
    return handle(take(ms))
end";

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let rtos = Library::open(lua, machine, "rtos")?;
    rtos.value("INF_TIMEOUT", -1)?;
    rtos.value("MSG_TIMER", MSG_TIMER)?;
    rtos.function("receive", receive)?;
    let take: Function = rtos.table.get("receive")?;
    let receive: Function = lua.load(RECEIVE).set_name("=[rtos]").call(take)?;
    rtos.value("receive", receive)?;
    rtos.function("timer_start", |machine, args| {
        let (id, ms, repeats) = (args.integer(1)?, args.integer(2)?, args.opt_integer(3, 0)?);
        let Ok(ms) = u64::try_from(ms) else {
            return nothing();
        };
        let now_ms = machine.now_ms();
        let is_started = machine.timers.borrow_mut().start(now_ms, id, ms, repeats);
        if is_started { args.returns(1) } else { nothing() }
    })?;
    rtos.function("timer_stop", |machine, args| {
        machine.timers.borrow_mut().stop(args.integer(1)?);
        nothing()
    })?;
    rtos.function("tick", |machine, args| args.returns(machine.now_ms() as i64))?;
    rtos.function("bsp", |machine, args| args.returns(machine.said("rtos.bsp")))?;
    rtos.function("firmware", |_, args| {
        args.returns(concat!("LuatOS@PC martlet ", env!("CARGO_PKG_VERSION")))
    })?;
    rtos.function("version", |_, args| {
        args.returns(concat!("V", env!("CARGO_PKG_VERSION")))
    })?;
    rtos.function("buildDate", |_, args| {
        args.returns(concat!("martlet ", env!("CARGO_PKG_VERSION")))
    })?;
    rtos.function("meminfo", |_, args| {
        let used = args.lua.used_memory() as i64;
        args.returns((used, used, used))
    })?;
    rtos.function("nop", |_, _| nothing())?;
    rtos.function("reboot", |machine, args| {
        if machine.settings.is_program {
            log::say(args.lua, 'I', "rtos", "reboot: the program ends, with status 3")?;
            machine.exit(3);
        }
        Err(Fault::Said(
            "reboot: a script inside of a program cannot restart it".to_owned(),
        ))
    })
}

fn receive(machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let wait_ms = u64::try_from(args.opt_integer(1, -1)?).ok();
    match machine.receive(wait_ms) {
        None => args.returns(0),
        Some(Note::Timer(id, repeats)) => args.returns((MSG_TIMER, id, repeats)),
        Some(Note::Call(call)) => match call(args.lua)? {
            None => args.returns(0),
            Some((function, values)) => {
                let mut returned: MultiValue =
                    ("call", Value::Function(function)).into_lua_multi(args.lua)?;
                returned.extend(values);
                Ok(returned)
            }
        },
    }
}
