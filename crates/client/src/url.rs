//! `mqtt://[user[:password]@]host[:port]`: the address of a server in one string, and how to get there.

use std::path::PathBuf;

use martlet_net::client::{ClientTls, WebSocketRequest};

use crate::options::Options;

/// The port of plain MQTT.
pub const PORT: u16 = 1883;

/// The port of MQTT in TLS.
pub const PORT_TLS: u16 = 8883;

/// The port (of UDP) of MQTT over QUIC, where brokers that speak it have it.
pub const PORT_QUIC: u16 = 14_567;

/// Why a string is not the URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No `scheme://` in front.
    #[error("'{0}' is not a URL: it must start with mqtt://")]
    NoScheme(String),
    /// A scheme that this build does not serve.
    #[error(
        "there is no scheme '{0}' here; there are mqtt, mqtts, ws, wss, quic, unix, and tcp and ssl for the first two"
    )]
    Scheme(String),
    /// `quic`, where this build has none.
    #[error("this build has no QUIC for '{0}': it needs the cargo feature 'quic'")]
    NoQuic(String),
    /// There is no host name.
    #[error("'{0}' names no host")]
    NoHost(String),
    /// The URL of a Unix socket without its path.
    #[error("'{0}' is not the path of a Unix socket: unix:///path has three slashes")]
    NoPath(String),
    /// Not a number from 1 to 65535.
    #[error("'{0}' is not a port number (1 to 65535)")]
    Port(String),
    /// A bracket that is open, or an IPv6 address without brackets.
    #[error("'{0}' names no host: an IPv6 address stands between [ and ], such as mqtt://[::1]:1883")]
    Brackets(String),
    /// A word behind `?` that nobody knows here.
    #[error("the URL says '{0}' behind its ?, and only client_id is known there")]
    Query(String),
    /// `%` without two hexadecimal digits behind it, or bytes that are not UTF-8.
    #[error("'{0}' has a bad percent escape")]
    Escape(String),
}

impl Options {
    /// Options from `mqtt://[user[:password]@]host[:port]`, or another scheme. User, password and what stands behind `?` may
    /// have percent escapes.
    ///
    /// | scheme | the way | port | behind the port |
    /// |---|---|---|---|
    /// | `mqtt`, `tcp` | plain | 1883 | `?client_id=NAME`; a path is not read (a topic in mosquitto's `-L`) |
    /// | `mqtts`, `ssl` | TLS | 8883 | the same |
    /// | `ws` | WebSocket | 80 | the path, query and all, `/mqtt` if there is none |
    /// | `wss` | WebSocket in TLS | 443 | the path, query and all, `/mqtt` if there is none |
    /// | `quic` | QUIC, with the feature `quic` | 14567 (UDP) | as of `mqtt` |
    /// | `unix` | a Unix socket | none | `unix:///run/mqtt.sock`: the path is the whole |
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| UrlError::NoScheme(url.to_owned()))?;
        let way = Way::of(scheme).ok_or_else(|| UrlError::Scheme(scheme.to_owned()))?;
        if way == Way::Quic && cfg!(not(all(feature = "quic", unix))) {
            return Err(UrlError::NoQuic(url.to_owned()));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let options = if way == Way::Unix {
            unix(url, place, path)?
        } else {
            let (host, port) = split_port(place, way.port())?;
            if host.is_empty() {
                return Err(UrlError::NoHost(url.to_owned()));
            }
            let options = way.over(Self::new(host, port), path);
            if way.is_websocket() {
                options
            } else {
                options.query(path)?
            }
        };
        match login {
            Some(login) => options.login(login),
            None => Ok(options),
        }
    }

    /// What stands behind `?`.
    fn query(mut self, path: &str) -> Result<Self, UrlError> {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        for word in query.split('&').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some(("client_id", id)) => self = self.client_id(unescape(id)?),
                other => {
                    let name = other.map_or(word, |(name, _)| name);
                    return Err(UrlError::Query(name.to_owned()));
                }
            }
        }
        Ok(self)
    }

    fn login(mut self, login: &str) -> Result<Self, UrlError> {
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        self = self.user_name(unescape(user)?);
        if let Some(password) = password {
            self = self.password(unescape(password)?);
        }
        Ok(self)
    }
}

/// What a scheme stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Tcp,
    Tls,
    WebSocket,
    SecureWebSocket,
    Quic,
    Unix,
}

impl Way {
    fn of(scheme: &str) -> Option<Self> {
        Some(match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => Self::Tcp,
            "mqtts" | "ssl" => Self::Tls,
            "ws" => Self::WebSocket,
            "wss" => Self::SecureWebSocket,
            "quic" => Self::Quic,
            "unix" => Self::Unix,
            _ => return None,
        })
    }

    const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::SecureWebSocket)
    }

    const fn port(self) -> u16 {
        match self {
            Self::Tcp | Self::Unix => PORT,
            Self::Tls => PORT_TLS,
            Self::WebSocket => 80,
            Self::SecureWebSocket => 443,
            Self::Quic => PORT_QUIC,
        }
    }

    fn over(self, options: Options, path: &str) -> Options {
        let options = match self {
            Self::Tls | Self::SecureWebSocket => options.tls(ClientTls::default()),
            #[cfg(all(feature = "quic", unix))]
            Self::Quic => options.quic(),
            _ => options,
        };
        if !self.is_websocket() {
            return options;
        }
        let path = path.split('#').next().unwrap_or_default();
        let mut websocket = WebSocketRequest::default();
        if !matches!(path, "" | "/") {
            path.clone_into(&mut websocket.path);
        }
        options.websocket(websocket)
    }
}

/// `unix:///path`.
fn unix(url: &str, place: &str, path: &str) -> Result<Options, UrlError> {
    if !place.is_empty() || path.len() < 2 {
        return Err(UrlError::NoPath(url.to_owned()));
    }
    Ok(Options::new("localhost", PORT).unix(PathBuf::from(unescape(path)?)))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(place: &str, usual: u16) -> Result<(&str, u16), UrlError> {
    let (host, port) = match place.strip_prefix('[').and_then(|p| p.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return Err(UrlError::Port(rest.to_owned())),
        },
        None if place.starts_with('[') => return Err(UrlError::Brackets(place.to_owned())),
        None => match place.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(UrlError::Brackets(place.to_owned())),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    match port {
        None => Ok((host, usual)),
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => Err(UrlError::Port(text.to_owned())),
            Ok(port) => Ok((host, port)),
        },
    }
}

fn unescape(text: &str) -> Result<String, UrlError> {
    let bad = || UrlError::Escape(text.to_owned());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
        out.push(high << 4 | low);
    }
    String::from_utf8(out).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        type Case = (
            &'static str,
            &'static str,
            Option<&'static str>,
            Option<&'static [u8]>,
        );
        let cases: &[Case] = &[
            ("mqtt://localhost", "localhost:1883", None, None),
            ("tcp://10.0.0.1:1884", "10.0.0.1:1884", None, None),
            ("mqtt://u@h", "h:1883", Some("u"), None),
            ("mqtt://u:p@ss@h:1/some/topic", "h:1", Some("u"), Some(b"p@ss")),
            (
                "mqtt://a%40b:%E8%8C%B6@h",
                "h:1883",
                Some("a@b"),
                Some("茶".as_bytes()),
            ),
            ("mqtt://[::1]", "[::1]:1883", None, None),
            ("mqtt://[::1]:99/x", "[::1]:99", None, None),
            ("mqtts://h", "h:8883", None, None),
            ("SSL://h:1", "h:1", None, None),
            ("ws://u@h", "h:80", Some("u"), None),
            ("wss://h/path?query", "h:443", None, None),
            #[cfg(feature = "quic")]
            ("quic://h", "h:14567", None, None),
            ("unix:///run/a%20b.sock", "/run/a b.sock", None, None),
        ];
        for (url, address, user, password) in cases {
            let options = Options::from_url(url).unwrap();
            assert_eq!(options.address(), *address, "{url}");
            assert_eq!(options.user_name.as_deref(), *user, "{url}");
            assert_eq!(options.password.as_deref(), *password, "{url}");
        }
    }

    #[test]
    fn a_client_identifier_behind_the_question_mark() {
        for (url, id) in [
            ("mqtt://h?client_id=abc", "abc"),
            ("mqtts://u:p@h:1/?client_id=a%20b", "a b"),
            ("tcp://h/topic?client_id=a&#x", "a"),
            ("mqtt://h?", ""),
            // That is the path of the WebSocket.
            ("ws://h/mqtt?client_id=a", ""),
        ] {
            assert_eq!(Options::from_url(url).unwrap().client_id, id, "{url}");
        }
    }

    #[test]
    fn ways() {
        let route = |url| Options::from_url(url).unwrap().route("h", 1);
        let path = |url| route(url).websocket.map(|websocket| websocket.path);
        assert_eq!(path("ws://h").as_deref(), Some("/mqtt"));
        assert_eq!(path("wss://h/").as_deref(), Some("/mqtt"));
        assert_eq!(path("ws://h/a/b?c=d#e").as_deref(), Some("/a/b?c=d"));
        assert_eq!(path("mqtts://h/a"), None);
        let is_secured = |url| route(url).tls.is_some();
        assert!(is_secured("mqtts://h") && is_secured("ssl://h") && is_secured("wss://h"));
        assert!(!is_secured("mqtt://h") && !is_secured("ws://h") && !is_secured("unix:///p"));
    }

    #[test]
    fn what_is_not_a_url() {
        let cases = [
            ("localhost", UrlError::NoScheme("localhost".into())),
            ("http://h", UrlError::Scheme("http".into())),
            #[cfg(not(feature = "quic"))]
            ("quic://h", UrlError::NoQuic("quic://h".into())),
            ("unix://h/p", UrlError::NoPath("unix://h/p".into())),
            ("unix:///", UrlError::NoPath("unix:///".into())),
            ("mqtt://", UrlError::NoHost("mqtt://".into())),
            ("mqtt://h:0", UrlError::Port("0".into())),
            ("mqtt://h:x", UrlError::Port("x".into())),
            ("mqtt://[::1]x", UrlError::Port("x".into())),
            ("mqtt://[::1", UrlError::Brackets("[::1".into())),
            ("mqtt://::1", UrlError::Brackets("::1".into())),
            (
                "mqtts://fe80::1:8883/x",
                UrlError::Brackets("fe80::1:8883".into()),
            ),
            ("mqtt://h?keep_alive=5", UrlError::Query("keep_alive".into())),
            (
                "mqtt://h/?client_id=a&clientid",
                UrlError::Query("clientid".into()),
            ),
            ("mqtt://h?client_id=%zz", UrlError::Escape("%zz".into())),
            ("mqtt://%zz@h", UrlError::Escape("%zz".into())),
            ("mqtt://%4@h", UrlError::Escape("%4".into())),
            ("mqtt://%ff@h", UrlError::Escape("%ff".into())),
        ];
        for (url, expected) in cases {
            assert_eq!(Options::from_url(url).unwrap_err(), expected, "{url}");
        }
    }
}
