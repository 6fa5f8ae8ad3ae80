//! `gpio`: pins that keep what they are set to, and say so in the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, MultiValue, Value};

use crate::api::{Args, Fault, Library, Returned, nothing};
use crate::log;
use crate::machine::Machine;

const NUMBERS: [(&str, i64); 9] = [
    ("LOW", 0),
    ("HIGH", 1),
    ("PULLUP", 1),
    ("PULLDOWN", 2),
    ("RISING", 0),
    ("FALLING", 1),
    ("BOTH", 2),
    ("HIGH_IRQ", 3),
    ("LOW_IRQ", 4),
];

/// What each pin was set to last.
type Pins = Rc<RefCell<HashMap<i64, i64>>>;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let gpio = Library::open(lua, machine, "gpio")?;
    for (name, number) in NUMBERS {
        gpio.value(name, number)?;
    }
    let pins = Pins::default();
    let set_up = Rc::clone(&pins);
    gpio.function("setup", move |_, args| setup(&set_up, args))?;
    let to_set = Rc::clone(&pins);
    gpio.function("set", move |_, args| {
        put(&to_set, args, args.integer(1)?, args.integer(2)?)?;
        nothing()
    })?;
    let to_get = Rc::clone(&pins);
    gpio.function("get", move |_, args| {
        args.returns(level(&to_get, args.integer(1)?))
    })?;
    let to_toggle = Rc::clone(&pins);
    gpio.function("toggle", move |_, args| {
        let pin = args.integer(1)?;
        put(&to_toggle, args, pin, 1 - level(&to_toggle, pin))?;
        nothing()
    })?;
    gpio.function("close", move |_, args| {
        pins.borrow_mut().remove(&args.integer(1)?);
        nothing()
    })?;
    gpio.function("setDefaultPull", |_, args| args.returns(true))?;
    gpio.function("debounce", |_, args| args.returns(true))
}

fn level(pins: &Pins, pin: i64) -> i64 {
    pins.borrow().get(&pin).copied().unwrap_or(0)
}

fn put(pins: &Pins, args: &Args<'_>, pin: i64, level: i64) -> Result<(), Fault> {
    let level = i64::from(level != 0);
    pins.borrow_mut().insert(pin, level);
    log::say(args.lua, 'D', "gpio", &format!("pin {pin} is {level}"))?;
    Ok(())
}

/// `gpio.setup(pin, level or nil or callback[, ...])`: a function that sets the pin, or reads it.
fn setup(pins: &Pins, args: &Args<'_>) -> Returned {
    let pin = args.integer(1)?;
    let is_output = matches!(args.value(2), Value::Integer(_) | Value::Number(_));
    if is_output {
        put(pins, args, pin, args.integer(2)?)?;
    }
    let pins = Rc::clone(pins);
    let function = args
        .lua
        .create_function(move |lua, values: MultiValue| match values.front() {
            Some(Value::Integer(to)) => {
                let to = i64::from(*to != 0);
                pins.borrow_mut().insert(pin, to);
                log::say(lua, 'D', "gpio", &format!("pin {pin} is {to}"))?;
                ().into_lua_multi(lua)
            }
            _ => level(&pins, pin).into_lua_multi(lua),
        })?;
    args.returns(function)
}
