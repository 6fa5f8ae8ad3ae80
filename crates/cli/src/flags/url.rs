//! `-L mqtt://[user[:password]@]host[:port]/topic`, also with `mqtts`, `ws` and `wss`.

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
        _ => return Err(Wrong::UrlScheme),
    };
    let rest = &url[scheme.len()..];
    let (authority, topic) = rest.split_once('/').ok_or(Wrong::UrlTopic)?;
    add_topic(settings, topic)?;
    // A password may hold a '@': the last one divides.
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if let Some(login) = login {
        let (name, password) = match login.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (login, None),
        };
        settings.username = Some(name.to_owned());
        if let Some(password) = password {
            settings.password = Some(password.as_bytes().to_vec());
        }
    }
    let (host, port) = split_port(host);
    host.clone_into(&mut settings.host);
    settings.way.is_websocket = is_websocket;
    settings.way.trusts_system |= is_secured;
    settings.port = port.map(parse::port).transpose()?;
    Ok(())
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
    fn refusals() {
        assert!(matches!(settings("mqtt://h"), Err(Wrong::UrlTopic)));
        assert!(matches!(settings("http://h/t"), Err(Wrong::UrlScheme)));
        assert!(matches!(settings("h/t"), Err(Wrong::UrlScheme)));
        assert!(matches!(settings("mqtt://h:x/t"), Err(Wrong::Port(_))));
        assert!(matches!(settings("mqtt://h:0/t"), Err(Wrong::Port(_))));
        assert!(matches!(settings("mqtt://h/a+"), Err(Wrong::Topic(..))));
    }
}
