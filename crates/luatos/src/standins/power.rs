//! `pm`, `rtc` and `wdt`: power that is there, the time of the system, a dog that does not bite.

use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mlua::{Lua, Value};

use crate::api::{Fault, Library, nothing};
use crate::log;
use crate::machine::Machine;

/// Depths of sleep, and what can be switched.
const NUMBERS: [(&str, i64); 12] = [
    ("NONE", 0),
    ("IDLE", 1),
    ("LIGHT", 2),
    ("DEEP", 3),
    ("HIB", 4),
    ("USB", 0),
    ("GPS", 1),
    ("GPS_ANT", 2),
    ("CAMERA", 3),
    ("DAC_EN", 4),
    ("LDO_CTL", 5),
    ("WORK_MODE", 10),
];

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let pm = Library::open(lua, machine, "pm")?;
    for (name, number) in NUMBERS {
        pm.value(name, number)?;
    }
    for name in ["request", "release", "power", "force"] {
        pm.function(name, |_, args| args.returns(true))?;
    }
    pm.function("lastReson", |machine, args| {
        args.returns((machine.said_number("pm.reason"), 0, 0))
    })?;
    for name in ["reboot", "shutdown"] {
        pm.function(name, move |machine, args| {
            if machine.settings.is_program {
                log::say(args.lua, 'I', "pm", &format!("{name}: the program ends"))?;
                machine.exit(if name == "reboot" { 3 } else { 0 });
            }
            Err(Fault::Said(format!(
                "{name}: a script inside of a program cannot end it"
            )))
        })?;
    }
    let rtc = Library::open(lua, machine, "rtc")?;
    rtc.function("get", |machine, args| {
        let now = Timestamp::from_millisecond(machine.clock.wall_ms() as i64);
        let now = now.unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
        let table = args.lua.create_table()?;
        table.set("year", now.year())?;
        table.set("mon", now.month())?;
        table.set("day", now.day())?;
        table.set("hour", now.hour())?;
        table.set("min", now.minute())?;
        table.set("sec", now.second())?;
        args.returns(table)
    })?;
    rtc.function("set", |_, args| {
        log::say(
            args.lua,
            'W',
            "rtc",
            "set: the clock of this system is not a script's to set",
        )?;
        args.returns(false)
    })?;
    rtc.function("timezone", |_, args| match args.value(1) {
        Value::Nil => args.returns(0),
        _ => args.returns(args.integer(1)?),
    })?;
    let wdt = Library::open(lua, machine, "wdt")?;
    for name in ["init", "feed"] {
        wdt.function(name, |_, args| args.returns(true))?;
    }
    wdt.function("close", |_, _| nothing())
}
