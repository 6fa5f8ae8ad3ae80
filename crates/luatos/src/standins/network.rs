//! `socket` and `wlan`, as far as scripts ask whether there is a network: there is.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, IntoLua, Lua, Value};

use crate::api::{Args, Library, Returned, nothing};
use crate::machine::Machine;
use crate::strings::{from_hex, hex};

/// Numbers of the adapters.
const ADAPTERS: [(&str, i64); 6] = [
    ("LWIP_GP", 1),
    ("LWIP_STA", 2),
    ("LWIP_AP", 3),
    ("LWIP_ETH", 4),
    ("ETH0", 5),
    ("USB", 6),
];

/// The adapter that is there before another is chosen: a wired one.
const FIRST: i64 = 4;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let socket = Library::open(lua, machine, "socket")?;
    for (name, number) in ADAPTERS {
        socket.value(name, number)?;
    }
    let default = Rc::new(Cell::new(FIRST));
    let chosen = Rc::clone(&default);
    socket.function("adapter", move |machine, args| {
        let adapter = args.opt_integer(1, chosen.get())?;
        args.returns((machine.said("network.ready") == "true", adapter))
    })?;
    socket.function("dft", move |_, args| {
        default.set(args.opt_integer(1, default.get())?);
        args.returns(default.get())
    })?;
    socket.function("setDNS", |_, args| args.returns(true))?;
    socket.function("sslLog", |_, _| nothing())?;
    socket.function("localIP", |machine, args| {
        args.returns((machine.said("network.ip"), "255.255.255.0", Value::Nil))
    })?;
    socket.function("sntp", |machine, _| {
        // The clock of the system is what a time server would be asked for.
        publish(machine, vec!["NTP_UPDATE".to_owned()], None);
        nothing()
    })?;
    socket.function("close_all", |machine, _| {
        for device in machine.devices() {
            device.cut();
        }
        nothing()
    })?;
    wlan(lua, machine)?;
    if machine.said("network.ready") == "true" {
        publish(
            machine,
            vec!["IP_READY".to_owned(), machine.said("network.ip")],
            Some(FIRST),
        );
    }
    Ok(())
}

/// A message for everybody who waits for it.
fn publish(machine: &Rc<Machine>, texts: Vec<String>, number: Option<i64>) {
    machine.call(move |lua| {
        let Some(publish) = lua.globals().get::<Option<Function>>("sys_pub")? else {
            return Ok(None);
        };
        let texts = texts.into_iter().map(|text| text.into_lua(lua));
        let number = number.map(|number| Ok(Value::Integer(number)));
        let values = texts.chain(number).collect::<mlua::Result<_>>()?;
        Ok(Some((publish, values)))
    });
}

fn wlan(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let wlan = Library::open(lua, machine, "wlan")?;
    for (n, name) in ["NONE", "STATION", "AP", "STATIONAP"].into_iter().enumerate() {
        wlan.value(name, n)?;
    }
    wlan.function("init", |_, args| args.returns(true))?;
    wlan.function("setMode", |_, args| args.returns(true))?;
    wlan.function("ready", |machine, args| {
        args.returns(machine.said("network.ready") == "true")
    })?;
    wlan.function("connect", |machine, args| {
        publish(
            machine,
            vec!["IP_READY".to_owned(), machine.said("network.ip")],
            Some(2),
        );
        args.returns(true)
    })?;
    wlan.function("disconnect", |_, args| args.returns(true))?;
    wlan.function("getMac", mac)?;
    wlan.function("getIP", |machine, args| {
        args.returns((machine.said("network.ip"), "255.255.255.0", "0.0.0.0"))
    })?;
    wlan.function("getInfo", |machine, args| {
        let info = args.lua.create_table()?;
        info.set("bssid", machine.said("wlan.mac"))?;
        info.set("rssi", machine.said_number("wlan.rssi"))?;
        info.set("gw", "0.0.0.0")?;
        args.returns(info)
    })
}

/// `wlan.getMac([which[, as text]])`: hexadecimal, unless the second argument is `false`.
fn mac(machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let mac = from_hex(machine.said("wlan.mac").as_bytes());
    match args.value(2) {
        Value::Boolean(false) => args.returns(args.lua.create_string(mac)?),
        _ => args.returns(hex(&mac)),
    }
}
