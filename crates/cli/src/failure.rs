//! What went wrong, said in our words or in mosquitto's, and the exit status that goes with it.

mod transport;

use std::fmt::Write;
use std::io;

use martlet_client::{Acked, ConnectError, DialError, Lost, PublishError, Refusal, Rejected, RequestError};
use martlet_codec::{ReasonCode, Version};

use crate::neighbours::Neighbours;
use crate::program::Program;
use crate::settings::Settings;
use crate::words::{connack_v3, reason_v5};
use crate::wrong::{Wrong, cause, without_number};

/// An end that is not success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Ours: `C001`, explained by `martlet help`.
    pub(crate) code: &'static str,
    /// Ours: one line, and what else is known, a line each.
    pub(crate) first: String,
    pub(crate) more: Vec<String>,
    /// mosquitto's, with its line ends.
    pub(crate) mosquitto: String,
    /// The exit status in our manner and in mosquitto's.
    pub(crate) status: u8,
    pub(crate) status_mosquitto: u8,
}

/// Exit statuses, which are the error numbers of mosquitto's library.
pub(crate) mod status {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const PROTOCOL: u8 = 2;
    pub(crate) const NO_CONNECTION: u8 = 4;
    pub(crate) const LOST: u8 = 7;
    pub(crate) const TLS: u8 = 8;
    pub(crate) const TIMEOUT: u8 = 27;
}

impl Failure {
    pub(crate) fn new(
        code: &'static str,
        first: impl Into<String>,
        mosquitto: impl Into<String>,
        status: u8,
    ) -> Self {
        Self {
            code,
            first: first.into(),
            more: Vec::new(),
            mosquitto: mosquitto.into(),
            status,
            status_mosquitto: status,
        }
    }

    pub(crate) fn with(mut self, line: impl Into<String>) -> Self {
        self.more.push(line.into());
        self
    }

    const fn mosquitto_status(mut self, status: u8) -> Self {
        self.status_mosquitto = status;
        self
    }

    pub(crate) fn wrong(wrong: &Wrong, settings_role: crate::program::Role) -> Self {
        let first = wrong.sentence(settings_role.program);
        let failure = Self::new(
            wrong.code(),
            first,
            wrong.mosquitto(settings_role),
            status::FAILED,
        );
        let failure = match wrong.origin() {
            Some(origin) => failure.with(format!("from: {origin}")),
            None => failure,
        };
        if wrong.code() == "C010" {
            failure.with(format!("all options: {} --help", settings_role.typed()))
        } else {
            failure
        }
    }

    /// Standard output takes no more, for another reason than that nobody reads. mosquitto's programs
    /// do not notice.
    pub(crate) fn output(error: &io::Error) -> Self {
        let first = format!("cannot write to standard output: {}.", cause(error));
        let mosquitto = format!("Error: {}\n", capital(&first));
        Self::new("C014", first, mosquitto, status::FAILED).mosquitto_status(0)
    }

    /// No connection.
    pub(crate) fn connect(error: &ConnectError, settings: &Settings) -> Self {
        let failed = status::FAILED;
        match error {
            ConnectError::HostNotFound { host, source } => Self::new(
                "C002",
                format!("cannot find a host named '{host}' (DNS: {}).", lookup(source)),
                "Unable to connect (Lookup error.).\n",
                failed,
            ),
            ConnectError::ConnectionRefused { address, .. } => Self::nothing_listens(address, settings),
            ConnectError::Bind { bind, source } => Self::new(
                "C003",
                format!("cannot connect from the local address {bind}: {}.", cause(source)),
                format!("Error: {}\n", capital(&cause(source))),
                failed,
            ),
            ConnectError::Io { address, source } => Self::new(
                "C003",
                format!("cannot connect to {address}: {}.", cause(source)),
                format!("Error: {}\n", capital(&cause(source))),
                failed,
            ),
            ConnectError::Timeout { address, after } => Self::new(
                "C003",
                format!("{address} did not answer within {} s.", after.as_secs_f64()),
                "Error: Connection timed out\n",
                failed,
            ),
            ConnectError::Refused { address, refusal } => Self::refused(address, refusal, settings),
            ConnectError::Transport(error) => Self::transport(error),
            ConnectError::Lost {
                address,
                cause: Lost::NotMqtt { began },
            } if is_tls(began) => Self::port_expects_tls(address),
            // An alert of TLS 1.3 may come once this side holds its handshake for done.
            ConnectError::Lost {
                address,
                cause:
                    Lost::Io {
                        kind: io::ErrorKind::InvalidData,
                        text,
                    },
            } => Self::tls_refused(address, text),
            ConnectError::Lost { address, cause } => {
                let mut failure = Self::lost(cause, settings);
                failure.first = match cause {
                    Lost::Violation(violation) => {
                        format!("{address} answered, but not in MQTT as the standard has it: {violation}.")
                    }
                    Lost::NotMqtt { began } => {
                        format!("{address} does not speak MQTT: its answer begins with '{began}'.")
                    }
                    cause => format!("{address} ended the connection before it answered: {cause}."),
                };
                failure
            }
            ConnectError::Options(error) => Self::new(
                "C010",
                format!("{error}."),
                match error {
                    martlet_client::OptionsError::PasswordWithoutUserName => {
                        "Error: Problem setting username and/or password.\n".to_owned()
                    }
                    error => format!("Error: {error}.\n"),
                },
                failed,
            ),
            error => Self::new("C003", format!("{error}."), format!("Error: {error}\n"), failed),
        }
    }

    fn nothing_listens(address: &str, settings: &Settings) -> Self {
        if settings.role.is_mosquitto() || settings.quiet {
            return Self::refused_by_the_system(address);
        }
        Self::refused_by_the_system(address).with_neighbours(&settings.host, &settings.role.typed())
    }

    fn refused_by_the_system(address: &str) -> Self {
        let place = if address.contains('/') {
            "at that socket"
        } else {
            "on that port"
        };
        let first = format!("{address} refused the connection: nothing listens {place}.");
        Self::new("C001", first, "Error: Connection refused\n", status::FAILED)
    }

    /// Names the brokers of this machine, if `host` is this machine.
    fn with_neighbours(mut self, host: &str, typed: &str) -> Self {
        let neighbours = Neighbours::at(host);
        if let Some(list) = neighbours.list() {
            self = self.with(format!("listening here: {list}"));
        }
        match neighbours.only_port() {
            Some(port) => self.with(format!("fix: {typed} -p {port} ...")),
            None => self,
        }
    }

    /// A benchmark that could not be run, in the words that the clients have for the same.
    pub(crate) fn bench(error: &martlet_bench::Error) -> Self {
        let failed = |code, first: String| Self::new(code, first, "", status::FAILED);
        match error {
            martlet_bench::Error::HostNotFound { host, source }
            | martlet_bench::Error::Proxy(DialError::HostNotFound { host, source }) => failed(
                "C002",
                format!("cannot find a host named '{host}' (DNS: {}).", lookup(source)),
            ),
            martlet_bench::Error::Connect { address, source } => {
                let host = address
                    .rsplit_once(':')
                    .map_or(address.as_str(), |(host, _)| host);
                let host = host.trim_matches(['[', ']']);
                match source.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        Self::refused_by_the_system(address).with_neighbours(host, "martlet bench ...")
                    }
                    _ => failed("C003", format!("cannot connect to {address}: {}.", cause(source))),
                }
            }
            martlet_bench::Error::Proxy(DialError::ConnectionRefused { address, .. }) => {
                Self::refused_by_the_system(address)
            }
            martlet_bench::Error::Proxy(DialError::Io { address, source }) => {
                failed("C003", format!("cannot connect to {address}: {}.", cause(source)))
            }
            martlet_bench::Error::Proxy(error) => Self::transport(error),
            martlet_bench::Error::Tls { address, source } => Self::tls(address, source),
            error => failed("C015", format!("{}.", without_number(&error.to_string()))),
        }
    }

    /// A CONNACK that says no.
    pub(crate) fn refused(address: &str, refusal: &Refusal, settings: &Settings) -> Self {
        let v5 = refusal.version == Version::V5;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let login = matches!(
            refusal.reason,
            ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized
        );
        let mut failure = if login {
            let user = match &settings.username {
                Some(name) => format!("user '{name}'"),
                None => "no user name".to_owned(),
            };
            Self::new(
                "A001",
                format!("{host} refused this login ({user})."),
                "",
                refusal.code,
            )
        } else if refusal.reason == ReasonCode::UnsupportedProtocolVersion {
            let first = format!("{host} does not speak MQTT {}.", refusal.version);
            let failure = Self::new("C005", first, "", refusal.code);
            match all_of(&settings.needs_v5) {
                None if v5 => failure.with("fix: -V 311"),
                Some(options) if v5 => {
                    failure.with(format!("3.1.1 was not tried: {options} can be said in 5.0 only."))
                }
                _ => failure,
            }
        } else {
            let first = format!("{host} refused this client: {}.", refusal.reason);
            Self::new("A002", first, "", refusal.code)
        };
        if let Some(text) = refusal.reason_string() {
            failure = failure.with(format!("the server says: {}", one_line(text)));
        }
        // What a return code of version 3 says to a CONNECT of version 5.
        let code = match (v5, refusal.reason) {
            (true, ReasonCode::UnsupportedProtocolVersion) => refusal.reason.as_u8(),
            _ => refusal.code,
        };
        failure.status = code;
        failure.status_mosquitto = code;
        failure.mosquitto = Self::mosquitto_refused(code, v5, settings.role.program);
        failure
    }

    fn mosquitto_refused(code: u8, v5: bool, program: Program) -> String {
        let text = if v5 || program == Program::Rr {
            reason_v5(code)
        } else {
            connack_v3(code)
        };
        let mut all = format!("Connection error: {text}");
        if v5 && code == ReasonCode::UnsupportedProtocolVersion.as_u8() && program != Program::Rr {
            all.push_str(". Try connecting to an MQTT v5 broker, or use MQTT v3.x mode.");
        }
        all.push('\n');
        if program == Program::Pub {
            all.push_str(if (1..=5).contains(&code) {
                "Error: The connection was refused.\n"
            } else {
                "Error: A network protocol error occurred when communicating with the broker.\n"
            });
        }
        all
    }

    /// The connection was there and is not any more.
    pub(crate) fn lost(lost: &Lost, settings: &Settings) -> Self {
        match lost {
            Lost::Disconnected { reason, properties } => {
                // mosquitto_sub and mosquitto_rr take a DISCONNECT for the end that they waited for.
                let (mosquitto, status_mosquitto) = match settings.role.program {
                    Program::Sub | Program::Rr => ("", 0),
                    Program::Pub => (
                        "Error: The client is not currently connected.\n",
                        status::NO_CONNECTION,
                    ),
                };
                let first = format!("the server ended the connection: {reason}.");
                let failure = Self::new("C007", first, mosquitto, status::NO_CONNECTION)
                    .mosquitto_status(status_mosquitto);
                match properties.as_properties().reason_string() {
                    Some(text) => failure.with(format!("the server says: {}", one_line(text))),
                    None => failure,
                }
            }
            Lost::Violation(violation) => Self::new(
                "C006",
                format!("the server broke the protocol: {violation}."),
                "Error: A network protocol error occurred when communicating with the broker.\n",
                status::PROTOCOL,
            ),
            Lost::NotMqtt { .. } => Self::new(
                "C006",
                format!("{lost}."),
                "Error: A network protocol error occurred when communicating with the broker.\n",
                status::PROTOCOL,
            ),
            Lost::Refused(refusal) => Self::refused(&settings.address(), refusal, settings),
            lost => Self::new(
                "C004",
                format!("the connection was lost: {lost}."),
                "Error: The connection was lost.\n",
                status::LOST,
            ),
        }
    }

    /// A message that cannot be sent, or a request.
    pub(crate) fn rejected(rejected: &Rejected) -> Self {
        let mosquitto = match rejected {
            Rejected::Qos { .. } => {
                "Error: Message QoS not supported on broker, try a lower QoS.\n".to_owned()
            }
            Rejected::PacketTooLarge { .. } => "Error: Message payload is too large.\n".to_owned(),
            rejected => format!("Error: {}.\n", capital(&rejected.to_string())),
        };
        Self::new("A013", format!("{rejected}."), mosquitto, status::FAILED).mosquitto_status(0)
    }

    pub(crate) fn publish(error: &PublishError, settings: &Settings) -> Self {
        match error {
            PublishError::Rejected(rejected) => Self::rejected(rejected),
            PublishError::Closed(lost) => Self::lost(lost, settings),
            error => Self::new(
                "C004",
                format!("{error}."),
                format!("Error: {error}.\n"),
                status::LOST,
            ),
        }
    }

    pub(crate) fn request(error: &RequestError, settings: &Settings) -> Self {
        match error {
            RequestError::Rejected(rejected) => Self::rejected(rejected),
            RequestError::Closed(lost) => Self::lost(lost, settings),
            error => Self::new(
                "C004",
                format!("{error}."),
                format!("Error: {error}.\n"),
                status::LOST,
            ),
        }
    }

    /// An acknowledgement that refuses the message.
    pub(crate) fn publish_refused(topic: &str, acked: &Acked, settings: &Settings) -> Self {
        let as_user = as_user(settings);
        let first = match acked.reason {
            ReasonCode::NotAuthorized => format!("not allowed to publish to '{topic}'{as_user}."),
            reason => format!("the server did not accept the message to '{topic}': {reason}."),
        };
        let id = acked.packet_id.map_or(0, std::num::NonZeroU16::get);
        let mut mosquitto = format!(
            "Warning: Publish {id} failed: {}.\n",
            reason_v5(acked.reason.as_u8())
        );
        let text = acked.properties.as_properties().reason_string();
        if let Some(text) = text {
            let _ = writeln!(mosquitto, "{text}");
        }
        let failure = Self::new("A010", first, mosquitto, status::FAILED).mosquitto_status(0);
        match text {
            Some(text) => failure.with(format!("the server says: {}", one_line(text))),
            None => failure,
        }
    }

    /// A subscription that was refused; `all`: none was granted.
    pub(crate) fn subscribe_refused(
        filter: &str,
        reason: ReasonCode,
        text: Option<&str>,
        all: bool,
        settings: &Settings,
    ) -> Self {
        let first = match reason {
            ReasonCode::NotAuthorized => {
                format!("not allowed to subscribe to '{filter}'{}.", as_user(settings))
            }
            ReasonCode::Unspecified => format!("the server refused the subscription to '{filter}'."),
            reason => format!("the server refused the subscription to '{filter}': {reason}."),
        };
        let mosquitto = match settings.role.program {
            Program::Rr => format!("{}\n", reason_v5(reason.as_u8())),
            _ if all => "All subscription requests were denied.\n".to_owned(),
            _ => String::new(),
        };
        let failure = Self::new("A011", first, mosquitto, status::FAILED).mosquitto_status(0);
        match text {
            Some(text) => failure.with(format!("the server says: {}", one_line(text))),
            None => failure,
        }
    }

    pub(crate) fn timed_out(settings: &Settings) -> Self {
        let seconds = settings.timeout_s.unwrap_or_default();
        let first = match settings.role.program {
            Program::Rr => format!("no response came within {seconds} s."),
            _ => format!("stopped after {seconds} s, as -W says."),
        };
        Self::new("C020", first, "Timed out\n", status::TIMEOUT)
    }

    /// The lines for standard error, in our manner.
    pub(crate) fn ours(&self) -> String {
        let mut text = self.first.clone();
        for line in &self.more {
            let _ = write!(text, "\n  {line}");
        }
        text
    }
}

/// `-x and -D`
fn all_of(options: &[&str]) -> Option<String> {
    let (last, rest) = options.split_last()?;
    if rest.is_empty() {
        return Some((*last).to_owned());
    }
    Some(format!("{} and {last}", rest.join(", ")))
}

fn as_user(settings: &Settings) -> String {
    match &settings.username {
        Some(name) => format!(" as '{name}'"),
        None => String::new(),
    }
}

/// Text of a peer must not write over the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// An alert of TLS, as it is shown: content type 21, version 3.
fn is_tls(began: &str) -> bool {
    began.starts_with("\\x15\\x03")
}

/// What the resolver said, without the wrapping that Rust gives it.
fn lookup(source: &io::Error) -> String {
    let text = cause(source);
    let text = text.rsplit(": ").next().unwrap_or_default();
    match text {
        "Name or service not known" | "name or service not known" | "No address associated with hostname" => {
            "name does not exist".to_owned()
        }
        text => {
            let mut letters = text.chars();
            let first = letters.next().map(|c| c.to_lowercase().to_string());
            first.unwrap_or_default() + letters.as_str()
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
