//! A listener: where it listens and what holds for its clients.

use std::fmt::{self, Display};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use martlet_broker::Durability;

use super::origin::Origin;
use super::tls::Tls;
use super::users::PasswordFile;

/// One listener, everything resolved: file, flags, defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What asked for it, for messages.
    pub origin: Origin,
    /// Addresses and port.
    pub place: ListenerPlace,
    /// Connections at a time; `None`: only the limit of all listeners.
    pub connections_max: Option<u64>,
    /// Versions of MQTT.
    pub versions: Versions,
    /// The highest QoS that clients may publish with.
    pub qos_max: u8,
    /// Aliases that a client may use.
    pub alias_in_max: u16,
    /// Aliases that the broker uses towards a client.
    pub alias_out_max: u16,
    /// Clients may name no user.
    pub allow_anonymous: bool,
    /// Clients may leave the client identifier to the broker.
    pub allow_zero_length_clientid: bool,
    /// Who may come in as a user; `None`: names say nothing.
    pub password_file: Option<PasswordFile>,
    /// What acknowledgements wait for.
    pub durability: Durability,
    /// How assigned client identifiers begin.
    pub auto_id_prefix: String,
    /// TLS; none: it speaks in the clear.
    pub tls: Option<Tls>,
    /// WebSocket; none: it speaks MQTT directly.
    pub websockets: Option<WebSockets>,
    /// It speaks QUIC, on a port of UDP.
    pub is_quic: bool,
}

/// What holds for the `WebSocket`s of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSockets {
    /// Bytes of the request.
    pub head_bytes_max: usize,
    /// Pages that browsers may come from; none: any.
    pub origins: Vec<String>,
}

impl Listener {
    /// The scheme of its URLs.
    pub fn scheme(&self) -> &'static str {
        if self.is_quic {
            return "quic";
        }
        match (&self.place.bind, &self.tls, &self.websockets) {
            (_, Some(_), Some(_)) => "wss",
            (_, None, Some(_)) => "ws",
            (_, Some(_), None) => "mqtts",
            (Bind::Unix(_), None, None) => "unix",
            (_, None, None) => "mqtt",
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPlace {
    /// The addresses.
    pub bind: Bind,
    /// 0 only from a flag: the system picks a free one.
    pub port: u16,
    /// Only this family; `None`: both.
    pub family: Option<Family>,
}

/// The addresses of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// Every interface.
    Any,
    /// 127.0.0.1 and `::1`.
    Loopback,
    /// One address.
    Address(IpAddr),
    /// A name, looked up at the start.
    Host(String),
    /// A Unix socket; there is no port.
    Unix(PathBuf),
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `ipv4`
    V4,
    /// `ipv6`
    V6,
}

/// Versions of MQTT that are accepted; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// MQTT 3.1.
    pub v3_1: bool,
    /// MQTT 3.1.1.
    pub v3_1_1: bool,
    /// MQTT 5.0.
    pub v5: bool,
}

impl Bind {
    /// An address, `*` for all, or a host name (not checked beyond its letters).
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        if text == "*" {
            return Some(Self::Any);
        }
        if let Ok(address) = inner.parse() {
            return Some(Self::Address(address));
        }
        let letter = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        let good = !text.is_empty() && text.len() <= 255 && text.chars().all(letter);
        good.then(|| Self::Host(text.to_owned()))
    }

    /// Only programs of this machine can reach it. A name other than `localhost` may lead anywhere.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Loopback | Self::Unix(_) => true,
            Self::Address(address) => address.to_canonical().is_loopback(),
            Self::Host(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Addresses that are known without asking anybody.
    fn addresses(&self) -> Option<Vec<IpAddr>> {
        match self {
            Self::Any => Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
            Self::Loopback => Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            Self::Address(address) => Some(vec![*address]),
            Self::Unix(_) => Some(Vec::new()),
            Self::Host(_) => None,
        }
    }
}

impl Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Loopback => f.write_str("localhost"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Host(name) => f.write_str(name),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Family {
    fn holds(self, address: &IpAddr) -> bool {
        matches!(
            (self, address),
            (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_))
        )
    }
}

impl ListenerPlace {
    /// The sockets to open; asks the name server if the listener names a host.
    ///
    /// `Any` and `Loopback` give one address of each family. A machine may lack one family, so
    /// for those two it is enough that one socket opens; see [`Self::may_lack_a_family`].
    /// The IPv6 socket must be opened for IPv6 only, else it takes the IPv4 port too.
    ///
    /// A Unix socket has none of them.
    pub fn socket_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let all: Vec<SocketAddr> = match (&self.bind, self.bind.addresses()) {
            (Bind::Host(name), _) => (name.as_str(), self.port).to_socket_addrs()?.collect(),
            (_, known) => known
                .into_iter()
                .flatten()
                .map(|address| SocketAddr::new(address, self.port))
                .collect(),
        };
        let mut wanted: Vec<SocketAddr> = Vec::new();
        for address in all {
            if self.family.is_none_or(|f| f.holds(&address.ip())) && !wanted.contains(&address) {
                wanted.push(address);
            }
        }
        if wanted.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no address of the wanted family",
            ));
        }
        Ok(wanted)
    }

    /// The system may know only one family of addresses; then one open socket is enough.
    pub fn may_lack_a_family(&self) -> bool {
        matches!(self.bind, Bind::Any | Bind::Loopback | Bind::Host(_)) && self.family.is_none()
    }

    /// Both cannot be opened at a time, as far as can be told without looking names up.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        if let (Bind::Unix(ours), Bind::Unix(theirs)) = (&self.bind, &other.bind) {
            return ours == theirs;
        }
        if self.port != other.port || self.port == 0 {
            return false;
        }
        match (self.bind.addresses(), other.bind.addresses()) {
            (Some(ours), Some(theirs)) => {
                let ours = ours.iter().filter(|a| self.family.is_none_or(|f| f.holds(a)));
                let theirs: Vec<_> = theirs
                    .iter()
                    .filter(|a| other.family.is_none_or(|f| f.holds(a)))
                    .collect();
                ours.into_iter()
                    .any(|a| theirs.iter().any(|b| same_address(a, b)))
            }
            _ => self.bind == other.bind && (self.family == other.family || self.family.is_none()),
        }
    }
}

fn same_address(a: &IpAddr, b: &IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
}

impl Display for ListenerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bind {
            Bind::Unix(_) => self.bind.fmt(f),
            bind => write!(f, "{bind}:{}", self.port),
        }
    }
}

impl Versions {
    /// `3`, `4` and `5`, apart by spaces or commas; `Err` is the word that is none of them.
    pub(super) fn parse(text: &str) -> Result<Self, &str> {
        let mut versions = Self {
            v3_1: false,
            v3_1_1: false,
            v5: false,
        };
        for word in text.split([' ', ',', '\t']).filter(|w| !w.is_empty()) {
            match word {
                "3" => versions.v3_1 = true,
                "4" => versions.v3_1_1 = true,
                "5" => versions.v5 = true,
                other => return Err(other),
            }
        }
        Ok(versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bind: &str, port: u16) -> ListenerPlace {
        ListenerPlace {
            bind: Bind::parse(bind).unwrap(),
            port,
            family: None,
        }
    }

    #[test]
    fn what_overlaps() {
        let table = [
            ("*", "*", true),
            ("*", "127.0.0.1", true),
            ("0.0.0.0", "::", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("::1", "127.0.0.1", false),
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
        ];
        for (a, b, expected) in table {
            assert_eq!(place(a, 1883).overlaps(&place(b, 1883)), expected, "{a} {b}");
            assert_eq!(place(b, 1883).overlaps(&place(a, 1883)), expected, "{b} {a}");
            assert!(!place(a, 1883).overlaps(&place(b, 1884)), "{a} {b}");
            assert!(!place(a, 0).overlaps(&place(b, 0)), "{a} {b}");
        }
        let four = ListenerPlace {
            family: Some(Family::V4),
            ..place("*", 1883)
        };
        let six = ListenerPlace {
            family: Some(Family::V6),
            ..place("*", 1883)
        };
        assert!(!four.overlaps(&six));
        assert!(four.overlaps(&four));
    }

    #[test]
    fn what_is_loopback() {
        let loopback = [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "localhost",
        ];
        assert!(loopback.iter().all(|a| Bind::parse(a).unwrap().is_loopback()));
        let open = [
            "*",
            "0.0.0.0",
            "::",
            "192.168.0.1",
            "localhost.example",
            "1.localhost",
        ];
        assert!(open.iter().all(|a| !Bind::parse(a).unwrap().is_loopback()));
        assert!(
            ["", "a b", "/run/x", "a\"b"]
                .iter()
                .all(|a| Bind::parse(a).is_none())
        );
    }

    #[test]
    fn sockets_of_both_families() {
        let addresses = place("*", 7).socket_addresses().unwrap();
        assert_eq!(
            addresses,
            ["0.0.0.0:7".parse().unwrap(), "[::]:7".parse().unwrap()]
        );
        let six = ListenerPlace {
            family: Some(Family::V6),
            ..place("127.0.0.1", 7)
        };
        assert!(six.socket_addresses().is_err());
    }
}
