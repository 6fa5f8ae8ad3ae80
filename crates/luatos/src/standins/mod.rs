//! What a module has and a desk lacks: stand-ins that answer sensibly, and that can be told what to say.

mod gpio;
mod mobile;
mod network;
mod power;
mod pty;
mod uart;

use std::rc::Rc;

use mlua::Lua;

use crate::machine::Machine;

/// The names of [`Settings::values`](crate::Settings::values), with what they say when they are not set.
pub const VALUES: [(&str, &str); 23] = [
    ("mcu.unique_id", "4d6172746c65742d6465736b"),
    ("mobile.apn", "internet"),
    ("mobile.csq", "25"),
    ("mobile.iccid", "89860000000000000000"),
    ("mobile.imei", "860000000000000"),
    ("mobile.imsi", "460000000000000"),
    ("mobile.muid", "20000000000000000000000000000000"),
    ("mobile.number", "13800000000"),
    ("mobile.rsrp", "-90"),
    ("mobile.rsrq", "-10"),
    ("mobile.rssi", "-65"),
    ("mobile.simid", "0"),
    ("mobile.sn", "MARTLET0000000000000"),
    ("mobile.snr", "15"),
    ("mobile.status", "1"),
    ("network.ip", "127.0.0.1"),
    ("network.ready", "true"),
    ("pm.reason", "0"),
    ("rtos.bsp", "PC"),
    ("uart.1", "none"),
    ("uart.2", "none"),
    ("wlan.mac", "02004D415254"),
    ("wlan.rssi", "-50"),
];

impl Machine {
    /// What a stand-in says.
    pub(crate) fn said(&self, name: &str) -> String {
        if let Some(value) = self.settings.values.get(name) {
            return value.clone();
        }
        let known = VALUES.iter().find(|(known, _)| *known == name);
        known.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
    }

    /// The same as a number; 0 where it is none.
    pub(crate) fn said_number(&self, name: &str) -> i64 {
        self.said(name).parse().unwrap_or(0)
    }
}

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    mobile::install(lua, machine)?;
    network::install(lua, machine)?;
    power::install(lua, machine)?;
    gpio::install(lua, machine)?;
    uart::install(lua, machine)
}
