//! `mobile`: a modem that is registered, and `mcu`.

use std::rc::Rc;

use mlua::Lua;

use crate::api::Library;
use crate::machine::Machine;
use crate::strings::from_hex;

/// Functions that say one thing, a text.
const TEXTS: [(&str, &str); 7] = [
    ("imei", "mobile.imei"),
    ("imsi", "mobile.imsi"),
    ("iccid", "mobile.iccid"),
    ("muid", "mobile.muid"),
    ("number", "mobile.number"),
    ("sn", "mobile.sn"),
    ("apn", "mobile.apn"),
];

/// The same, a number.
const NUMBERS: [(&str, &str); 7] = [
    ("csq", "mobile.csq"),
    ("rssi", "mobile.rssi"),
    ("rsrp", "mobile.rsrp"),
    ("rsrq", "mobile.rsrq"),
    ("snr", "mobile.snr"),
    ("simid", "mobile.simid"),
    ("status", "mobile.status"),
];

/// States of the registration.
const STATES: [(&str, i64); 6] = [
    ("UNREGISTER", 0),
    ("REGISTERED", 1),
    ("SEARCH", 2),
    ("DENIED", 3),
    ("UNKNOW", 4),
    ("REGISTERED_ROAMING", 5),
];

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let mobile = Library::open(lua, machine, "mobile")?;
    for (name, value) in TEXTS {
        mobile.function(name, move |machine, args| args.returns(machine.said(value)))?;
    }
    for (name, value) in NUMBERS {
        mobile.function(name, move |machine, args| {
            args.returns(machine.said_number(value))
        })?;
    }
    for (name, number) in STATES {
        mobile.value(name, number)?;
    }
    mobile.function("flymode", |_, args| args.returns(false))?;
    mobile.function("simPin", |_, args| args.returns(true))?;
    let mcu = Library::open(lua, machine, "mcu")?;
    mcu.function("unique_id", |machine, args| {
        let id = from_hex(machine.said("mcu.unique_id").as_bytes());
        args.returns(args.lua.create_string(id)?)
    })?;
    mcu.function("ticks", |machine, args| args.returns(machine.now_ms() as i64))?;
    mcu.function("hz", |_, args| args.returns(1_000))?;
    mcu.function("ticks2", |machine, args| {
        let now_ms = machine.now_ms();
        args.returns(((now_ms % 1_000) as i64, (now_ms / 1_000) as i64))
    })
}
