//! Who listens on a port, as Linux tells it in `/proc`. Elsewhere nobody is found.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::limits::PROCESSES_SEARCHED_MAX;

/// The program behind a listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// Its name and process identifier, if this user may look.
    pub(super) program: Option<(String, u32)>,
    /// Whose program it is: `mosquitto (uid 104)`.
    pub(super) user: String,
    /// The system service that runs it, without `.service`.
    pub(super) unit: Option<String>,
}

/// A line of `/proc/net/tcp` whose socket listens.
#[derive(Debug, PartialEq, Eq)]
struct Listening {
    address: IpAddr,
    port: u16,
    uid: u32,
    inode: u64,
}

/// The first program whose listening socket is in the way of that address.
pub(super) fn holder_of(wanted: SocketAddr) -> Option<Holder> {
    let lines =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let mut sockets = lines.iter().flat_map(|table| table.lines()).filter_map(listening);
    let socket =
        sockets.find(|socket| socket.port == wanted.port() && in_the_way(socket.address, wanted.ip()))?;
    let pid = process_with(socket.inode);
    let program = pid.and_then(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some((super::shown::quoted(name.trim()), pid))
    });
    let unit = pid.and_then(|pid| unit_of(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?));
    Some(Holder {
        program,
        user: user_name(socket.uid),
        unit,
    })
}

fn in_the_way(held: IpAddr, wanted: IpAddr) -> bool {
    let both = held == IpAddr::V6(Ipv6Addr::UNSPECIFIED); // takes IPv4 as well, unless it says otherwise
    held == wanted
        || both
        || (held.is_ipv4() == wanted.is_ipv4() && (held.is_unspecified() || wanted.is_unspecified()))
}

/// `sl local remote st tx:rx tr:tm retrnsmt uid timeout inode ...`; state 0A listens.
fn listening(line: &str) -> Option<Listening> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let (address, port) = (address_of(address)?, u16::from_str_radix(port, 16).ok()?);
    (state == "0A").then_some(Listening {
        address,
        port,
        uid,
        inode,
    })
}

/// Words of 32 bits in the byte order of the machine, in hexadecimal.
fn address_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    let words = hex.as_bytes().chunks(8).zip(bytes.chunks_mut(4));
    for (word, bytes) in words {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    match hex.len() {
        8 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        32 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

fn process_with(inode: u64) -> Option<u32> {
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.take(PROCESSES_SEARCHED_MAX).flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target == Path::new(&socket))
    })
}

/// The service of the system that a process belongs to: `0::/system.slice/mosquitto.service`.
fn unit_of(cgroup: &str) -> Option<String> {
    let unit = cgroup
        .lines()
        .find_map(|line| line.split_once(":/system.slice/"))?
        .1
        .strip_suffix(".service")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    unit.chars().all(plain).then(|| unit.to_owned())
}

pub(super) fn user_name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    name.map_or_else(|| format!("with uid {uid}"), |name| format!("{name} (uid {uid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let line = "   1: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 4711 1 0 100 0";
        let found = listening(line);
        if cfg!(target_endian = "little") {
            let address = Ipv4Addr::LOCALHOST.into();
            assert_eq!(
                found,
                Some(Listening {
                    address,
                    port: 1883,
                    uid: 104,
                    inode: 4711
                })
            );
        }
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        for cut in 0..line.len() {
            let _ = listening(&line[..cut]);
        }
    }

    #[test]
    fn units() {
        assert_eq!(
            unit_of("0::/system.slice/mosquitto.service\n"),
            Some("mosquitto".into())
        );
        assert_eq!(unit_of("0::/user.slice/user-0.slice/session-1.scope"), None);
        assert_eq!(unit_of("0::/system.slice/a;reboot.service"), None);
        assert_eq!(unit_of(""), None);
    }
}
