//! Which MQTT brokers listen on this machine, as Linux tells it in `/proc`: for those who tried the
//! wrong port. Elsewhere, and of programs of other users, nothing is known and nothing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

/// Programs that are MQTT brokers, as the system names their processes.
const BROKERS: &[&str] = &[
    "martlet",
    "mosquitto",
    "flashmq",
    "nanomq",
    "rmqttd",
    "nats-server",
    "vernemq",
];

/// Processes and open files that are looked at, at most: it must take no time that anybody feels.
const PROCESSES_MAX: usize = 4_096;
const FILES_MAX: usize = 1_024;

/// Brokers and the TCP ports on which they listen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbours(BTreeMap<&'static str, BTreeSet<u16>>);

impl Neighbours {
    /// Those of this machine, if `host` is this machine.
    pub(crate) fn at(host: &str) -> Self {
        if is_here(host) {
            Self::here()
        } else {
            Self::default()
        }
    }

    fn here() -> Self {
        let mut ports = BTreeMap::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = fs::read_to_string(table).unwrap_or_default();
            ports.extend(text.lines().filter_map(listening));
        }
        let mut found = Self::default();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes.take(PROCESSES_MAX) {
            let Some(name) = broker_name(&process.path()) else {
                continue;
            };
            let files = fs::read_dir(process.path().join("fd")).into_iter().flatten();
            for file in files.flatten().take(FILES_MAX) {
                let target = fs::read_link(file.path()).unwrap_or_default();
                if let Some(port) = inode(&target.to_string_lossy()).and_then(|inode| ports.get(&inode)) {
                    found.0.entry(name).or_default().insert(*port);
                }
            }
        }
        found
    }

    /// `martlet on 1883, 1884; mosquitto on 1885`
    pub(crate) fn list(&self) -> Option<String> {
        let programs = self.0.iter().map(|(name, ports)| {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            format!("{name} on {}", ports.join(", "))
        });
        let programs: Vec<String> = programs.collect();
        (!programs.is_empty()).then(|| programs.join("; "))
    }

    /// The port that was surely meant: the only one of the only broker, which is ours.
    pub(crate) fn only_port(&self) -> Option<u16> {
        let ports = self.0.get("martlet").filter(|_| self.0.len() == 1)?;
        ports.first().copied().filter(|_| ports.len() == 1)
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn broker_name(process: &std::path::Path) -> Option<&'static str> {
    process.file_name()?.to_str()?.parse::<u32>().ok()?;
    let name = fs::read_to_string(process.join("comm")).ok()?;
    BROKERS.iter().copied().find(|broker| *broker == name.trim())
}

/// The inode and port of a line of `/proc/net/tcp` whose socket listens: state 0A.
fn listening(line: &str) -> Option<(u64, u16)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.split_once(':')?;
    (fields.nth(1)? == "0A").then_some(())?;
    Some((fields.nth(5)?.parse().ok()?, u16::from_str_radix(port, 16).ok()?))
}

/// Of `socket:[4711]`.
fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let line = "   1: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 4711 1 0 100 0";
        assert_eq!(listening(line), Some((4711, 1883)));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(inode("socket:[4711]"), Some(4711));
        assert_eq!(inode("/dev/null"), None);
    }

    #[test]
    fn what_is_said() {
        let mut neighbours = Neighbours::default();
        assert_eq!((neighbours.list(), neighbours.only_port()), (None, None));
        neighbours.0.insert("martlet", [1884].into());
        assert_eq!(neighbours.list().as_deref(), Some("martlet on 1884"));
        assert_eq!(neighbours.only_port(), Some(1884));
        neighbours.0.insert("mosquitto", [1885, 1886].into());
        assert_eq!(
            neighbours.list().as_deref(),
            Some("martlet on 1884; mosquitto on 1885, 1886")
        );
        assert_eq!(neighbours.only_port(), None);
        assert_eq!(Neighbours::at("192.0.2.1"), Neighbours::default());
    }
}
