//! What a module has and a desk lacks: stand-ins that answer sensibly, and that can be told what to say.

mod gpio;
mod mobile;
mod network;
mod power;
mod pty;
mod uart;

use std::net::Ipv4Addr;
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

/// Whether a stand-in can say that. The error: what it takes.
///
/// # Errors
/// There is no such name, or the value is none of those that it takes.
pub fn check_value(name: &str, value: &str) -> Result<(), String> {
    if !VALUES.iter().any(|(known, _)| *known == name) {
        let known: Vec<&str> = VALUES.iter().map(|(known, _)| *known).collect();
        return Err(format!("there is no '{name}'; there are {}", known.join(", ")));
    }
    let is_hex = || value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (is_taken, wanted) = match name {
        "network.ready" => (matches!(value, "true" | "false"), "true or false"),
        "network.ip" => (
            value.parse::<Ipv4Addr>().is_ok(),
            "an address such as 192.168.1.2",
        ),
        "uart.1" | "uart.2" => (matches!(value, "none" | "stdio" | "pty"), "none, stdio or pty"),
        "wlan.mac" => (value.len() == 12 && is_hex(), "12 hexadecimal digits"),
        "mcu.unique_id" => (
            !value.is_empty() && value.len().is_multiple_of(2) && is_hex(),
            "pairs of hexadecimal digits",
        ),
        "mobile.csq" | "mobile.rsrp" | "mobile.rsrq" | "mobile.rssi" | "mobile.simid" | "mobile.snr"
        | "mobile.status" | "pm.reason" | "wlan.rssi" => (value.parse::<i32>().is_ok(), "a whole number"),
        _ => (true, "text"),
    };
    if is_taken {
        Ok(())
    } else {
        Err(format!("{name} takes {wanted}, not '{value}'"))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_stand_ins_take() {
        for (name, value) in VALUES {
            assert_eq!(check_value(name, value), Ok(()), "what is said without");
        }
        let said = |name, value| check_value(name, value).unwrap_err();
        assert_eq!(
            said("mobile.csq", "good"),
            "mobile.csq takes a whole number, not 'good'"
        );
        assert_eq!(
            said("network.ready", "yes"),
            "network.ready takes true or false, not 'yes'"
        );
        assert_eq!(
            said("wlan.mac", "02:00"),
            "wlan.mac takes 12 hexadecimal digits, not '02:00'"
        );
        assert_eq!(
            said("mcu.unique_id", "123"),
            "mcu.unique_id takes pairs of hexadecimal digits, not '123'"
        );
    }
}
