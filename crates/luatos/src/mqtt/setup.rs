//! What a client is told before it connects, and the options of the engine that follow from it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use martlet_client::policy::Policy;
use martlet_client::tls::{Checks, Source};
use martlet_client::{Bytes, FilterBuf, Message, Options, Protocol, Qos, Reconnect, Tls, TopicBuf};
use mlua::{Table, Value};

use crate::api::{Args, Fault};
use crate::limits;

/// What the server publishes when the connection is lost.
#[derive(Debug, Clone)]
pub(super) struct Will(Message);

impl Will {
    pub(super) fn new(topic: &[u8], payload: &[u8], qos: Qos, retain: bool) -> Result<Self, String> {
        if payload.len() > usize::from(u16::MAX) {
            return Err(format!(
                "the payload has {} bytes, the limit is 65535",
                payload.len()
            ));
        }
        let message = Message::new(self::topic(topic)?, Bytes::copy_from_slice(payload));
        Ok(Self(message.qos(qos).retain(retain)))
    }
}

/// A topic name.
pub(super) fn topic(bytes: &[u8]) -> Result<TopicBuf, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| format!("the topic '{}' is not UTF-8", shown(bytes)))?;
    TopicBuf::new(text).map_err(|error| format!("'{}' is no topic: {error}", shown(bytes)))
}

/// A topic filter.
pub(super) fn filter(bytes: &[u8]) -> Result<FilterBuf, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| format!("the filter '{}' is not UTF-8", shown(bytes)))?;
    FilterBuf::new(text).map_err(|error| format!("'{}' is no topic filter: {error}", shown(bytes)))
}

/// What fits in a line of a log: no more than 64 characters, and none that would do something to a terminal.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for c in text.chars().take(64) {
        // A line has room for quotes as they are.
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(64).is_some() {
        shown.push_str("...");
    }
    shown
}

/// How much of a server's certificate is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Nothing is looked at.
    None,
    /// What is wrong is told, and nothing follows from it.
    Optional,
    /// What is wrong ends the attempt.
    Required,
}

/// All that a client is told.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Host and port, or the URL of a WebSocket.
    server: Server,
    pub(super) tls: Option<(Tls, Verify)>,
    pub(super) is_ipv6: bool,
    rx_bytes: u32,
    connect_timeout: Duration,
    protocol: Protocol,
    pub(super) store: Option<PathBuf>,
    pub(super) client_id: String,
    pub(super) user_name: String,
    pub(super) password: Vec<u8>,
    pub(super) clean_session: bool,
    pub(super) keep_alive_s: u16,
    pub(super) will: Option<Will>,
    pub(super) reconnects: bool,
    pub(super) reconnect_ms: u64,
    pub(super) logs_packets: bool,
}

#[derive(Debug, Clone)]
enum Server {
    Host(String, u16),
    Url(String),
}

/// Reads the arguments of `create`. The inner error: what makes it return nil.
pub(super) fn read(args: &Args<'_>) -> Result<Result<Setup, String>, Fault> {
    let adapter = args.opt_integer(1, 0)?;
    let host = match args.value(2) {
        // As the module's network stack holds it: the first byte is the lowest.
        Value::Integer(address) => {
            let [a, b, c, d] = (address as u32).to_le_bytes();
            format!("{a}.{b}.{c}.{d}")
        }
        _ => args.string(2)?.to_string_lossy(),
    };
    let is_url = ["ws://", "wss://"].iter().any(|scheme| host.starts_with(scheme));
    let port = if is_url {
        args.opt_integer(3, 0)?
    } else {
        args.integer(3)?
    };
    let mut setup = Setup {
        server: if is_url {
            Server::Url(host.clone())
        } else {
            Server::Host(host.clone(), port as u16)
        },
        tls: None,
        is_ipv6: false,
        rx_bytes: limits::RX_BYTES_DEFAULT,
        connect_timeout: Duration::from_secs(limits::CONNECT_TIMEOUT_S.0),
        protocol: Protocol::V3_1_1,
        store: None,
        client_id: String::new(),
        user_name: String::new(),
        password: Vec::new(),
        clean_session: true,
        keep_alive_s: limits::KEEP_ALIVE_S.0 as u16,
        will: None,
        reconnects: false,
        reconnect_ms: limits::RECONNECT_MS.0 as u64,
        logs_packets: false,
    };
    match args.value(4) {
        Value::Boolean(true) => setup.tls = Some((unchecked(), Verify::None)),
        Value::Table(table) => match tls(&table)? {
            Ok(tls) => setup.tls = Some(tls),
            Err(why) => return Ok(Err(why)),
        },
        _ => {}
    }
    match args.value(5) {
        // The form of before there were more options.
        Value::Boolean(is_ipv6) => setup.is_ipv6 = is_ipv6,
        Value::Table(table) => {
            if let Err(why) = setup.options_of(&table)? {
                return Ok(Err(why));
            }
        }
        _ => {}
    }
    let longest = if is_url {
        limits::URL_BYTES
    } else {
        limits::HOST_BYTES
    };
    if host.len() >= longest {
        return Ok(Err(format!(
            "the host has {} bytes, fewer than {longest} are taken",
            host.len()
        )));
    }
    if !(0..=limits::ADAPTER_MAX).contains(&adapter) {
        return Ok(Err(format!("there is no adapter {adapter}")));
    }
    if !is_url && !(1..=65_535).contains(&port) {
        return Ok(Err(format!("{port} is no port")));
    }
    // What cannot be reached is told here and not at each attempt.
    Ok(setup.engine_options().map(|_| setup))
}

fn unchecked() -> Tls {
    Tls {
        checks: Checks::Nothing,
        ..Tls::default()
    }
}

/// The inner error: what is missing.
fn tls(table: &Table) -> mlua::Result<Result<(Tls, Verify), String>> {
    let pem = |name: &str| -> mlua::Result<Option<Arc<[u8]>>> {
        Ok(match table.get(name)? {
            Value::String(text) => Some(Arc::from(&*text.as_bytes())),
            _ => None,
        })
    };
    let verify = match table.get::<Option<i64>>("verify").unwrap_or(None) {
        Some(0) => Verify::None,
        Some(1) => Verify::Optional,
        _ => Verify::Required,
    };
    let identity = match (pem("client_cert")?, pem("client_key")?) {
        (Some(certificate), Some(key)) => Some((Source::Pem(certificate), Source::Pem(key))),
        (None, None) => None,
        (Some(_), None) => return Ok(Err("client_cert without its client_key".to_owned())),
        (None, Some(_)) => return Ok(Err("client_key without its client_cert".to_owned())),
    };
    let tls = Tls {
        authorities: pem("server_cert")?.map(Source::Pem),
        identity,
        pass_phrase: pem("client_password")?,
        checks: if verify == Verify::None {
            Checks::Nothing
        } else {
            Checks::Everything
        },
        ..Tls::default()
    };
    Ok(Ok((tls, verify)))
}

/// 0 and what makes no sense is the default.
fn connect_timeout(seconds: f64) -> Duration {
    let (default, least, most) = limits::CONNECT_TIMEOUT_S;
    Duration::from_secs(if seconds > 0.0 {
        (seconds as u64).clamp(least, most)
    } else {
        default
    })
}

impl Setup {
    fn options_of(&mut self, table: &Table) -> mlua::Result<Result<(), String>> {
        self.is_ipv6 = matches!(table.get("ipv6")?, Value::Boolean(true));
        if let Some(bytes) = table.get::<Option<f64>>("rxSize").unwrap_or(None)
            && bytes >= 1.0
        {
            self.rx_bytes = bytes as u32;
        }
        let seconds = table.get::<Option<f64>>("conn_timeout").unwrap_or(None);
        self.connect_timeout = connect_timeout(seconds.unwrap_or(0.0));
        match table.get::<Value>("version")? {
            Value::Nil | Value::Integer(4) => {}
            Value::Integer(5) => self.protocol = Protocol::V5,
            other => {
                let got = match other {
                    Value::Integer(n) => n.to_string(),
                    Value::Number(n) => n.to_string(),
                    Value::String(text) => format!("'{}'", shown(&text.as_bytes())),
                    other => format!("a {}", other.type_name()),
                };
                return Ok(Err(format!("version is 4 (MQTT 3.1.1) or 5, not {got}")));
            }
        }
        if let Value::String(path) = table.get("store")? {
            self.store = Some(path.to_string_lossy().into());
        }
        Ok(Ok(()))
    }

    /// What is connected to: host and port, and their address where one of IPv6 is wanted first.
    pub(super) fn host(&self) -> Option<(&str, u16)> {
        match &self.server {
            Server::Host(host, port) => Some((host, *port)),
            Server::Url(_) => None,
        }
    }

    /// The way to the server: at that address if one is given, with these checks of its certificate.
    pub(super) fn route(&self, address: Option<IpAddr>, checks: Option<Checks>) -> Result<Options, String> {
        let mut options = self.place()?;
        let mut tls = self.tls.clone().map(|(tls, _)| tls);
        if let (Some(address), Some((host, port))) = (address, self.host()) {
            options = Options::new(address.to_string(), port);
            if let Some(tls) = &mut tls {
                tls.server_name = Some(host.to_owned());
            }
        }
        if let Some(mut tls) = tls {
            tls.checks = checks.unwrap_or(tls.checks);
            options = options.tls(tls);
        }
        Ok(options)
    }

    fn place(&self) -> Result<Options, String> {
        match &self.server {
            Server::Host(host, port) => Ok(Options::new(host.clone(), *port)),
            Server::Url(url) => Options::from_url(url).map_err(|error| error.to_string()),
        }
    }

    /// What the engine is made with.
    pub(super) fn engine_options(&self) -> Result<Options, String> {
        let mut options = self
            .place()?
            .protocol(self.protocol)
            .client_id(self.client_id.clone())
            .clean_start(self.clean_session)
            .keep_alive(Duration::from_secs(self.keep_alive_s.into()))
            .connect_timeout(self.connect_timeout)
            .max_inflight(std::num::NonZeroU16::MAX)
            .outbox(limits::OUTBOX_MESSAGES_MAX, limits::OUTBOX_BYTES_MAX)
            .policy(if self.store.is_some() {
                Policy::LUATOS_STORED
            } else {
                Policy::LUATOS
            });
        if self.store.is_some() && self.reconnects {
            options = options.reconnect(Reconnect::fixed(Duration::from_millis(self.reconnect_ms)));
        }
        if let Some(bytes) = NonZeroU32::new(self.rx_bytes) {
            options = options.max_packet_size(bytes);
        }
        if !self.user_name.is_empty() {
            options = options.user_name(self.user_name.clone());
        }
        if !self.password.is_empty() {
            options = options.password(self.password.clone());
        }
        if let Some(will) = &self.will {
            options = options.will(will.0.clone());
        }
        if self.logs_packets {
            // The lines are taken from the engine; that there is a log is all that this says.
            options = options.packet_log(|_, _| ());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connect_timeout_has_bounds() {
        let table = [
            (0.0, 30),
            (-1.0, 30),
            (f64::NAN, 30),
            (0.5, 5),
            (15.0, 15),
            (120.0, 120),
            (1e300, 120),
        ];
        for (asked, seconds) in table {
            assert_eq!(connect_timeout(asked), Duration::from_secs(seconds), "{asked}");
        }
    }

    #[test]
    fn wills_and_topics_that_no_server_takes() {
        assert!(Will::new(b"a/b", b"", Qos::ExactlyOnce, true).is_ok());
        assert!(Will::new(b"a/#", b"", Qos::AtMostOnce, false).is_err());
        assert!(Will::new(b"a", &vec![0; 65_536], Qos::AtMostOnce, false).is_err());
        for bad in [&b""[..], b"+", b"a\xff", b"a\0"] {
            assert!(topic(bad).is_err(), "{bad:?}");
        }
        let long = topic("+\n\u{1b}é".repeat(50_000).as_bytes()).unwrap_err();
        assert!(long.starts_with("'+\\n\\u{1b}é+"), "{long}");
        assert!(long.len() < 300, "{long}");
    }
}
