//! What the options of `pub`, `sub` and `rr` add up to.

use std::path::PathBuf;
use std::time::Duration;

use martlet_codec::{FilterBuf, PropertiesBuf, Qos, RetainHandling, TopicBuf, Version};

use crate::flags::way::Way;
use crate::format::Format;
use crate::program::{Manner, Program, Role};

/// Where the payload comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// `-m`
    Text(Vec<u8>),
    /// `-f`
    File(PathBuf),
    /// `-s`
    Stdin,
    /// `-l`
    Lines,
    /// `-n`
    Null,
}

/// The will, while it is being put together.
#[derive(Debug, Default)]
pub(crate) struct Will {
    pub(crate) topic: Option<TopicBuf>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) properties: PropertiesBuf,
}

/// Properties of packets, from `-D`.
#[derive(Debug, Default)]
pub(crate) struct PacketProperties {
    pub(crate) connect: PropertiesBuf,
    pub(crate) publish: PropertiesBuf,
    pub(crate) subscribe: PropertiesBuf,
    pub(crate) unsubscribe: PropertiesBuf,
    pub(crate) disconnect: PropertiesBuf,
}

/// How often the message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) count: u32,
    pub(crate) delay: Duration,
}

/// All options. Defaults are mosquitto's.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) role: Role,

    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) no_tls: bool,
    pub(crate) way: Way,
    pub(crate) bind: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) client_id: Option<String>,
    pub(crate) id_prefix: Option<String>,
    pub(crate) keep_alive_s: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry_s: Option<u32>,
    /// As `-V` said, or an option that only 5.0 has.
    pub(crate) version: Option<Version>,
    /// The options that need 5.0, each once.
    pub(crate) needs_v5: Vec<&'static str>,
    pub(crate) inflight_max: u16,
    pub(crate) will: Will,
    pub(crate) properties: PacketProperties,

    /// What is published to: `-t` of pub and rr.
    pub(crate) topic: Option<TopicBuf>,
    pub(crate) response_topic: Option<TopicBuf>,
    pub(crate) input: Option<Input>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) repeat: Repeat,

    /// What is subscribed to: `-t` of sub.
    pub(crate) filters: Vec<FilterBuf>,
    pub(crate) filters_out: Vec<FilterBuf>,
    pub(crate) unsubscribe: Vec<FilterBuf>,
    pub(crate) count: Option<u32>,
    pub(crate) timeout_s: Option<u32>,
    pub(crate) exit_after_suback: bool,
    pub(crate) no_retained: bool,
    pub(crate) retained_only: bool,
    pub(crate) remove_retained: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,

    /// In tenths of a percent: 1,000 is all.
    pub(crate) random_filter: u32,
    pub(crate) verbose: bool,
    pub(crate) format: Option<Format>,
    pub(crate) eol: bool,
    pub(crate) pretty: bool,
    pub(crate) watch: bool,
    pub(crate) message_rate: bool,
    pub(crate) latency: bool,

    pub(crate) debug: bool,
    pub(crate) quiet: bool,
}

impl Settings {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            host: "localhost".to_owned(),
            port: None,
            no_tls: false,
            way: Way::default(),
            bind: None,
            username: None,
            password: None,
            client_id: None,
            id_prefix: None,
            keep_alive_s: 60,
            clean_start: true,
            session_expiry_s: None,
            version: None,
            needs_v5: Vec::new(),
            inflight_max: 20,
            will: Will::default(),
            properties: PacketProperties::default(),
            topic: None,
            response_topic: None,
            input: None,
            qos: Qos::AtMostOnce,
            retain: false,
            repeat: Repeat {
                count: 1,
                delay: Duration::ZERO,
            },
            filters: Vec::new(),
            filters_out: Vec::new(),
            unsubscribe: Vec::new(),
            count: None,
            timeout_s: None,
            exit_after_suback: false,
            no_retained: false,
            retained_only: false,
            remove_retained: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
            random_filter: RANDOM_FILTER_ALL,
            verbose: false,
            format: None,
            eol: true,
            pretty: false,
            watch: false,
            message_rate: false,
            latency: false,
            debug: false,
            quiet: false,
        }
    }

    /// The version of the first CONNECT.
    pub(crate) fn first_version(&self) -> Version {
        let default = match (self.role.manner, self.role.program) {
            (Manner::Mosquitto, Program::Pub | Program::Sub) => Version::V3_1_1,
            _ => Version::V5,
        };
        self.version.unwrap_or(default)
    }

    /// An option that only 5.0 has.
    pub(crate) fn need_v5(&mut self, option: &'static str) {
        if !self.needs_v5.contains(&option) {
            self.needs_v5.push(option);
        }
    }

    /// Whether 3.1.1 is tried when the server does not know 5.0.
    pub(crate) fn may_fall_back(&self) -> bool {
        self.role.manner == Manner::Martlet && self.version.is_none()
    }

    /// `host:port`, with `[]` around an IPv6 address; or the path of a Unix socket, or the domain of `-S`.
    pub(crate) fn address(&self) -> String {
        if let Some(path) = &self.way.unix {
            return path.display().to_string();
        }
        if self.way.is_srv {
            return self.host.clone();
        }
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port())
        } else {
            format!("{}:{}", self.host, self.port())
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.way.port())
    }
}

/// The port of MQTT without TLS.
pub(crate) const PORT: u16 = 1883;
/// The port of MQTT with TLS.
pub(crate) const PORT_TLS: u16 = 8883;
/// `--random-filter 100`.
pub(crate) const RANDOM_FILTER_ALL: u32 = 1000;
