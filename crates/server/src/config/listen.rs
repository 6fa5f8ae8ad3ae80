//! Why a listener could not be opened, in words: who holds the port, and what asked for it.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::error::Code;
use super::holder::{Holder, holder_of};
use super::listener::ListenerPlace;
use super::origin::Origin;
use super::written::why;

/// Addresses of a listener that could not be opened. Its `Display` is what the user reads, several lines.
#[derive(Debug)]
pub struct ListenError {
    /// The kind.
    pub code: Code,
    /// At least one.
    at: Vec<String>,
    why: String,
    origin: Origin,
    fix: Option<String>,
    source: io::Error,
}

impl ListenError {
    /// The system refused the address. On Linux this looks up who holds it: call it at once.
    pub fn new(address: SocketAddr, origin: &Origin, source: io::Error) -> Self {
        let holder = match source.kind() {
            io::ErrorKind::AddrInUse => holder_of(address),
            _ => None,
        };
        Self::with(address, origin, source, holder.as_ref(), lowest_free_port())
    }

    /// The name of a host could not be looked up.
    pub fn unknown_name(place: &ListenerPlace, origin: &Origin, source: io::Error) -> Self {
        let (at, why) = (
            vec![place.to_string()],
            format!("there is no host '{}'", place.bind),
        );
        Self {
            code: Code::NameUnknown,
            at,
            why,
            origin: origin.clone(),
            fix: None,
            source,
        }
    }

    /// The system refused the path of a Unix socket.
    pub fn unix(path: &Path, origin: &Origin, source: io::Error) -> Self {
        let why = match source.kind() {
            io::ErrorKind::AddrInUse => "another program listens there".into(),
            io::ErrorKind::AlreadyExists => "there is a file of that name, and it is no socket".into(),
            _ => why(path, &source),
        };
        Self {
            code: Code::ListenFailed,
            at: vec![path.display().to_string()],
            why,
            origin: origin.clone(),
            fix: None,
            source,
        }
    }

    fn with(
        address: SocketAddr,
        origin: &Origin,
        source: io::Error,
        holder: Option<&Holder>,
        low: u16,
    ) -> Self {
        let (code, why) = match source.kind() {
            io::ErrorKind::AddrInUse => (Code::PortTaken, taken(holder)),
            io::ErrorKind::PermissionDenied if address.port() < low => (
                Code::PortNotPermitted,
                format!("this user may not open ports below {low}"),
            ),
            io::ErrorKind::AddrNotAvailable => (
                Code::AddressNotHere,
                format!("this machine has no address {}", address.ip()),
            ),
            _ => (Code::ListenFailed, plain(&source)),
        };
        let another = match origin {
            Origin::Default => "choose another port with --port",
            Origin::File { .. } | Origin::Flag(_) => "choose another port",
        };
        let unit = holder.and_then(|holder| holder.unit.as_ref());
        let fix = (code == Code::PortTaken).then(|| match unit {
            Some(unit) => format!("sudo systemctl disable --now {unit}     or {another}"),
            None => another.to_owned(),
        });
        Self {
            code,
            at: vec![address.to_string()],
            why,
            origin: origin.clone(),
            fix,
            source,
        }
    }
}

impl ListenError {
    /// Those that differ in nothing but their addresses become one.
    pub fn joined(errors: Vec<Self>) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::new();
        for mut error in errors {
            let is_like = |known: &&mut Self| {
                (known.code, &known.why, &known.origin) == (error.code, &error.why, &error.origin)
            };
            match joined.iter_mut().find(is_like) {
                Some(known) => known.at.append(&mut error.at),
                None => joined.push(error),
            }
        }
        joined
    }

    /// The same in one line, for the log.
    pub fn line(&self) -> String {
        let fix = self
            .fix
            .as_ref()
            .map_or(String::new(), |fix| format!(" fix: {fix}"));
        let from = self.origin.short();
        let at = self.at.join(" and ");
        format!("cannot listen on {at}: {} (from {from}).{fix}", self.why)
    }
}

fn taken(holder: Option<&Holder>) -> String {
    match holder {
        None => "the port is taken".into(),
        Some(Holder {
            program: Some((name, pid)),
            ..
        }) if *pid == std::process::id() => {
            format!("the port is taken by another listener of this program ({name})")
        }
        Some(Holder {
            program: Some((name, pid)),
            ..
        }) => format!("the port is taken by {name} (pid {pid})"),
        Some(Holder { user, .. }) => format!("the port is taken by a program of user {user}"),
    }
}

/// Ports below need a right on Linux; elsewhere by custom the same number.
fn lowest_free_port() -> u16 {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    told.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024)
}

/// The system's own words without its number.
pub(crate) fn plain(error: &(impl Display + ?Sized)) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

impl Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code, why, origin, ..
        } = self;
        let at = self.at.join(" and ");
        write!(
            f,
            "error[{}]: cannot listen on {at}: {why}.\n  from: {origin}",
            code.as_str()
        )?;
        self.fix
            .as_ref()
            .map_or(Ok(()), |fix| write!(f, "\n  fix: {fix}"))
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        let (file, text) = (
            "/etc/martlet/martlet.conf".into(),
            "listener 1883 127.0.0.1".into(),
        );
        Origin::File { file, line: 3, text }
    }

    fn shown(address: &str, kind: io::ErrorKind, holder: Option<&Holder>) -> String {
        ListenError::with(address.parse().unwrap(), &origin(), kind.into(), holder, 1024).to_string()
    }

    #[test]
    fn the_text_of_errors_md() {
        let unit = Some("mosquitto".into());
        let holder = Holder {
            program: Some(("mosquitto".into(), 812)),
            user: "mosquitto".into(),
            unit,
        };
        assert_eq!(
            shown("127.0.0.1:1883", io::ErrorKind::AddrInUse, Some(&holder)),
            "error[B102]: cannot listen on 127.0.0.1:1883: the port is taken by mosquitto (pid 812).\n  \
             from: /etc/martlet/martlet.conf:3   listener 1883 127.0.0.1\n  \
             fix: sudo systemctl disable --now mosquitto     or choose another port"
        );
    }

    #[test]
    fn without_a_known_program() {
        let from = "\n  from: /etc/martlet/martlet.conf:3   listener 1883 127.0.0.1";
        let stranger = Holder {
            program: None,
            user: "root (uid 0)".into(),
            unit: None,
        };
        let table = [
            (
                "[::1]:1883",
                io::ErrorKind::AddrInUse,
                None,
                "B102",
                "the port is taken",
            ),
            (
                "1.2.3.4:5",
                io::ErrorKind::AddrInUse,
                Some(&stranger),
                "B102",
                "the port is taken by a program of user root (uid 0)",
            ),
            (
                "10.9.9.9:1883",
                io::ErrorKind::AddrNotAvailable,
                None,
                "B103",
                "this machine has no address 10.9.9.9",
            ),
            (
                "127.0.0.1:80",
                io::ErrorKind::PermissionDenied,
                None,
                "B101",
                "this user may not open ports below 1024",
            ),
            (
                "127.0.0.1:65535",
                io::ErrorKind::PermissionDenied,
                None,
                "B105",
                "permission denied",
            ),
        ];
        for (address, kind, holder, code, why) in table {
            let fix = match code {
                "B102" => "\n  fix: choose another port",
                _ => "",
            };
            let expected = format!("error[{code}]: cannot listen on {address}: {why}.{from}{fix}");
            assert_eq!(shown(address, kind, holder), expected);
        }
    }

    #[test]
    fn addresses_that_fail_alike_are_told_together() {
        let failed = |address: &str, kind: io::ErrorKind| {
            ListenError::with(
                address.parse().unwrap(),
                &Origin::Default,
                kind.into(),
                None,
                1024,
            )
        };
        let errors = vec![
            failed("127.0.0.1:1883", io::ErrorKind::AddrInUse),
            failed("10.9.9.9:1883", io::ErrorKind::AddrNotAvailable),
            failed("[::1]:1883", io::ErrorKind::AddrInUse),
        ];
        let shown: Vec<String> = ListenError::joined(errors)
            .iter()
            .map(ListenError::line)
            .collect();
        let from = "(from the defaults).";
        assert_eq!(
            shown,
            [
                format!(
                    "cannot listen on 127.0.0.1:1883 and [::1]:1883: the port is taken {from} \
                     fix: choose another port with --port"
                ),
                format!("cannot listen on 10.9.9.9:1883: this machine has no address 10.9.9.9 {from}"),
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_taken_port_is_traced_to_this_process() {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let source = std::net::TcpListener::bind(address).unwrap_err();
        let error = ListenError::new(address, &Origin::Flag("--port 1".into()), source);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("error[B102]: cannot listen on {address}: ")),
            "{text}"
        );
        assert!(
            text.contains("taken by another listener of this program"),
            "{text}"
        );
        assert!(
            text.ends_with("\n  from: --port 1\n  fix: choose another port"),
            "{text}"
        );
    }
}
