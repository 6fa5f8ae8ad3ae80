//! `mqtt://[user[:password]@]host[:port]`: the address of a server in one string.

use crate::options::Options;

/// The port of plain MQTT.
pub const PORT: u16 = 1883;

/// Why a string is not the URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No `scheme://` in front.
    #[error("'{0}' is not a URL: it must start with mqtt://")]
    NoScheme(String),
    /// A scheme that this build does not serve.
    #[error("scheme '{0}' is not supported here; mqtt:// and tcp:// are")]
    Scheme(String),
    /// There is no host name.
    #[error("'{0}' names no host")]
    NoHost(String),
    /// Not a number from 1 to 65535.
    #[error("'{0}' is not a port number (1 to 65535)")]
    Port(String),
    /// `%` without two hexadecimal digits behind it, or bytes that are not UTF-8.
    #[error("'{0}' has a bad percent escape")]
    Escape(String),
}

impl Options {
    /// Options from `mqtt://[user[:password]@]host[:port]`; `tcp://` is the same. User and password may
    /// have percent escapes. What stands behind the port (`/topic` in mosquitto's `-L`) is not read.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| UrlError::NoScheme(url.to_owned()))?;
        if !matches!(scheme, "mqtt" | "tcp") {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place)?;
        if host.is_empty() {
            return Err(UrlError::NoHost(url.to_owned()));
        }
        let mut options = Self::new(host, port);
        if let Some(login) = login {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            options = options.user_name(unescape(user)?);
            if let Some(password) = password {
                options = options.password(unescape(password)?);
            }
        }
        Ok(options)
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(place: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = match place.strip_prefix('[').and_then(|p| p.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return Err(UrlError::Port(rest.to_owned())),
        },
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    match port {
        None => Ok((host, PORT)),
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
        ];
        for (url, address, user, password) in cases {
            let options = Options::from_url(url).unwrap();
            assert_eq!(options.address(), *address, "{url}");
            assert_eq!(options.user_name.as_deref(), *user, "{url}");
            assert_eq!(options.password.as_deref(), *password, "{url}");
        }
    }

    #[test]
    fn what_is_not_a_url() {
        let cases = [
            ("localhost", UrlError::NoScheme("localhost".into())),
            ("wss://h", UrlError::Scheme("wss".into())),
            ("mqtt://", UrlError::NoHost("mqtt://".into())),
            ("mqtt://h:0", UrlError::Port("0".into())),
            ("mqtt://h:x", UrlError::Port("x".into())),
            ("mqtt://[::1]x", UrlError::Port("x".into())),
            ("mqtt://%zz@h", UrlError::Escape("%zz".into())),
            ("mqtt://%4@h", UrlError::Escape("%4".into())),
            ("mqtt://%ff@h", UrlError::Escape("%ff".into())),
        ];
        for (url, expected) in cases {
            assert_eq!(Options::from_url(url).unwrap_err(), expected, "{url}");
        }
    }
}
