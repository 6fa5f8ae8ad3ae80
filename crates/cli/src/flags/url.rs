//! `-L mqtt://[user[:password]@]host[:port]/topic`, also with `mqtts`, `ws`, `wss`, `quic` and `unix`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::parse::{self, add_topic};
use crate::settings::Settings;
use crate::wrong::Wrong;

pub(super) fn read(settings: &mut Settings, url: &str) -> Result<(), Wrong> {
    let scheme = scheme(url);
    let (is_secured, is_websocket) = match scheme.to_ascii_lowercase().as_str() {
        "mqtt://" | "tcp://" => (false, false),
        "mqtts://" | "ssl://" => (true, false),
        "ws://" => (false, true),
        "wss://" => (true, true),
        "quic://" => {
            if cfg!(not(feature = "quic")) {
                return Err(Wrong::Tls(
                    "this build has no QUIC: it needs the cargo feature 'quic'".to_owned(),
                ));
            }
            settings.way.is_quic = true;
            (true, false)
        }
        "unix://" => return unix(settings, &url[scheme.len()..]),
        _ => return Err(Wrong::UrlScheme),
    };
    let rest = &url[scheme.len()..];
    let (authority, topic) = rest.split_once('/').ok_or(Wrong::UrlTopic)?;
    add_topic(settings, topic)?;
    let host = login(settings, authority);
    let (host, port) = split_port(host);
    host.clone_into(&mut settings.host);
    settings.way.is_websocket = is_websocket;
    settings.way.trusts_system |= is_secured;
    settings.port = port.map(parse::port).transpose()?;
    Ok(())
}

/// `/path/to/socket`, or `%2Fpath%2Fto%2Fsocket/topic`: a path that stands for a host has its slashes escaped.
fn unix(settings: &mut Settings, rest: &str) -> Result<(), Wrong> {
    let no_path = || {
        Wrong::Tls(format!(
            "unix://{rest} names no socket: unix:///PATH, or unix://%2FPATH/TOPIC"
        ))
    };
    let (authority, behind) = rest.split_once('/').ok_or_else(no_path)?;
    let host = login(settings, authority);
    let path = if host.is_empty() {
        format!("/{behind}")
    } else {
        add_topic(settings, behind)?;
        host.to_owned()
    };
    if path == "/" {
        return Err(no_path());
    }
    let path =
        unescape(&path).ok_or_else(|| Wrong::Tls(format!("unix://{rest} has a bad percent escape")))?;
    settings.way.unix = Some(OsString::from_vec(path).into());
    Ok(())
}

/// Takes the login off the front; what is left is the host. A password may hold a '@': the last one divides.
fn login<'a>(settings: &mut Settings, authority: &'a str) -> &'a str {
    let Some((login, host)) = authority.rsplit_once('@') else {
        return authority;
    };
    let (name, password) = match login.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (login, None),
    };
    settings.username = Some(name.to_owned());
    if let Some(password) = password {
        settings.password = Some(password.as_bytes().to_vec());
    }
    host
}

/// Bytes for `%` and two hexadecimal digits.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push(match byte {
            b'%' => (digit()? << 4 | digit()?) as u8,
            byte => byte,
        });
    }
    Some(out)
}

fn scheme(url: &str) -> &str {
    url.find("://").map_or("", |at| &url[..at + 3])
}

/// `host:port`, `[::1]:port`, or a host alone.
fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Manner, Program, Role};

    fn settings(url: &str) -> Result<Settings, Wrong> {
        let mut settings = Settings::new(Role {
            program: Program::Pub,
            manner: Manner::Martlet,
        });
        read(&mut settings, url).map(|()| settings)
    }

    #[test]
    fn parts() {
        let cases = [
            ("mqtt://h/t", ("h", 1883, None, None, "t")),
            ("MQTT://h:1884/a/b", ("h", 1884, None, None, "a/b")),
            ("mqtt://u@h/t", ("h", 1883, Some("u"), None, "t")),
            ("mqtt://u:p:q@h:1/t", ("h", 1, Some("u"), Some("p:q"), "t")),
            ("mqtt://u:p@ss@h/t", ("h", 1883, Some("u"), Some("p@ss"), "t")),
            ("mqtt://[::1]:1884/t", ("::1", 1884, None, None, "t")),
            ("mqtt://[::1]/t", ("::1", 1883, None, None, "t")),
        ];
        for (url, (host, port, username, password, topic)) in cases {
            let read = settings(url).unwrap();
            assert_eq!(read.host, host, "{url}");
            assert_eq!(read.port(), port, "{url}");
            assert_eq!(read.username.as_deref(), username, "{url}");
            assert_eq!(read.password.as_deref(), password.map(str::as_bytes), "{url}");
            assert_eq!(read.topic.unwrap().as_str(), topic, "{url}");
        }
    }

    #[test]
    fn ways() {
        let cases = [
            ("mqtts://h/t", 8883, true, false),
            ("ssl://h:1/t", 1, true, false),
            ("ws://h/t", 80, false, true),
            ("WSS://h/t", 443, true, true),
            ("wss://h:8884/t", 8884, true, true),
        ];
        for (url, port, is_secured, is_websocket) in cases {
            let read = settings(url).unwrap();
            let found = (read.port(), read.way.has_tls(), read.way.is_websocket);
            assert_eq!(found, (port, is_secured, is_websocket), "{url}");
        }
    }

    #[test]
    fn sockets() {
        let cases = [
            ("unix:///run/a.sock", "/run/a.sock", None, None),
            ("unix:///run/a%20b.sock", "/run/a b.sock", None, None),
            ("unix://u:p@/run/a.sock", "/run/a.sock", Some("u"), None),
            ("unix://%2Frun%2fa.sock/t/u", "/run/a.sock", None, Some("t/u")),
            ("unix://u@%2Frun%2Fa.sock/t", "/run/a.sock", Some("u"), Some("t")),
        ];
        for (url, path, username, topic) in cases {
            let read = settings(url).unwrap();
            assert_eq!(
                read.way.unix.as_deref(),
                Some(std::path::Path::new(path)),
                "{url}"
            );
            assert_eq!(read.username.as_deref(), username, "{url}");
            let found = read.topic.map(|topic| topic.as_str().to_owned());
            assert_eq!(found.as_deref(), topic, "{url}");
        }
        for url in ["unix://", "unix:///", "unix://x", "unix:///a%2", "unix:///%zz"] {
            assert!(matches!(settings(url), Err(Wrong::Tls(_))), "{url}");
        }
        assert!(matches!(settings("unix://%2Fa/t#"), Err(Wrong::Topic(..))));
    }

    #[test]
    fn refusals() {
        assert!(matches!(settings("mqtt://h"), Err(Wrong::UrlTopic)));
        assert!(matches!(settings("http://h/t"), Err(Wrong::UrlScheme)));
        assert!(matches!(settings("h/t"), Err(Wrong::UrlScheme)));
        assert!(matches!(settings("mqtt://h:x/t"), Err(Wrong::Port(_))));
        assert!(matches!(settings("mqtt://h:0/t"), Err(Wrong::Port(_))));
        assert!(matches!(settings("mqtt://h/a+"), Err(Wrong::Topic(..))));
    }
}
