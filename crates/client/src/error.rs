//! What can go wrong, told apart.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use martlet_codec::{BadTopic, PropertiesBuf, PropertyId, Qos, ReasonCode, Version, Violation};

use crate::options::OptionsError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The options cannot be said on the wire.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The host name has no address.
    #[error("cannot find a host named '{host}'")]
    HostNotFound {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{address} refused the connection: nothing listens on that port")]
    ConnectionRefused {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The local address cannot be used.
    #[error("cannot connect from the local address {bind}")]
    Bind {
        /// The local address.
        bind: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The network failed in another way.
    #[error("cannot connect to {address}")]
    Io {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS, WebSocket or a proxy failed.
    #[error(transparent)]
    Transport(Box<martlet_net::client::DialError>),
    /// The time of [`Options::connect_timeout`](crate::Options::connect_timeout) is over.
    #[error("{address} did not answer within {} s", after.as_secs_f64())]
    Timeout {
        /// Host and port.
        address: String,
        /// The time.
        after: Duration,
    },
    /// The server said no in its CONNACK.
    #[error("{address} refused the connection: {refusal}")]
    Refused {
        /// Host and port.
        address: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The system gives no thread for the connection (blocking clients only).
    #[error("cannot start the thread of the connection")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// The application's credentials or authenticator failed.
    #[error("cannot log in at {address}: {text}")]
    Login {
        /// Host and port.
        address: String,
        /// What the application said.
        text: String,
    },
    /// The connection was made and ended before a CONNACK.
    #[error("{address} ended the connection before it answered: {cause}")]
    Lost {
        /// Host and port.
        address: String,
        /// How it ended.
        cause: Lost,
    },
}

/// A CONNACK that says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", reason, reason_string(properties))]
pub struct Refusal {
    /// Why; of a version 3 return code, the reason code with the same meaning.
    pub reason: ReasonCode,
    /// The version in which was asked.
    pub version: Version,
    /// The number as the server wrote it: the return code (1 to 5) in version 3, the reason code in version 5.
    pub code: u8,
    /// The properties: a reason string, a server reference, user properties.
    pub properties: PropertiesBuf,
}

impl Refusal {
    /// Whether the server may think better of it: the same CONNECT is worth another try, later.
    pub const fn may_pass(&self) -> bool {
        may_pass(self.reason)
    }

    /// The reason string, if there is one.
    pub fn reason_string(&self) -> Option<&str> {
        self.properties.as_properties().reason_string()
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server closed the connection without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The server sent DISCONNECT.
    #[error("the server disconnected: {}{}", reason, reason_string(properties))]
    Disconnected {
        /// Why.
        reason: ReasonCode,
        /// The properties: a reason string, a server reference, user properties.
        properties: PropertiesBuf,
    },
    /// Reading or writing failed.
    #[error("the connection failed: {text}")]
    Io {
        /// The kind of failure.
        kind: io::ErrorKind,
        /// What the system said.
        text: String,
    },
    /// The server did not answer a PINGREQ.
    #[error("the server answered nothing for {after_ms} ms after a ping")]
    PingTimeout {
        /// How long was waited.
        after_ms: u64,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(Violation),
    /// What came instead of an answer to CONNECT is not MQTT.
    #[error("{}", not_mqtt(began))]
    NotMqtt {
        /// Its first line or the start of it, what cannot be printed escaped.
        began: String,
    },
    /// The server refused the connection.
    #[error("the server refused the connection: {0}")]
    Refused(Refusal),
    /// No connection to the server could be made.
    #[error("{text}")]
    Unreachable {
        /// Why, as [`ConnectError`] says it.
        text: String,
    },
    /// There was no CONNACK within [`Options::connect_timeout`](crate::Options::connect_timeout).
    #[error("the server did not answer within {} s", Duration::from_millis(*after_ms).as_secs_f64())]
    NoAnswer {
        /// How long was waited.
        after_ms: u64,
    },
    /// The application's credentials or authenticator failed.
    #[error("no login: {text}")]
    Login {
        /// What the application said.
        text: String,
    },
    /// The store cannot keep anything any more.
    #[error(transparent)]
    Store(StoreError),
    /// This side disconnected.
    #[error("this client disconnected")]
    ByUs,
}

impl Lost {
    /// Whether a new connection may fare better. Not after a reason that the same client meets again,
    /// such as "session taken over" by another client or "packet too large", nor when the server breaks
    /// the protocol, but for one message too many under way, which mosquitto sends now and then.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Closed
            | Self::Io { .. }
            | Self::PingTimeout { .. }
            | Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Login { .. }
            | Self::Violation(Violation::ReceiveMaximum) => true,
            Self::Disconnected { reason, .. } => may_pass(*reason),
            Self::Refused(refusal) => refusal.may_pass(),
            Self::Violation(_) | Self::NotMqtt { .. } | Self::Store(_) | Self::ByUs => false,
        }
    }
}

/// Whether a server that said so may say otherwise later, to the same client.
const fn may_pass(reason: ReasonCode) -> bool {
    !reason.is_error()
        || matches!(
            reason,
            ReasonCode::Unspecified
                | ReasonCode::ServerUnavailable
                | ReasonCode::ServerBusy
                | ReasonCode::ServerShuttingDown
                | ReasonCode::KeepAliveTimeout
                | ReasonCode::MessageRateTooHigh
                | ReasonCode::QuotaExceeded
                | ReasonCode::AdministrativeAction
                | ReasonCode::UseAnotherServer
                | ReasonCode::ConnectionRateExceeded
                | ReasonCode::MaximumConnectTime
        )
}

/// The usual mistake, where the answer tells it: a port of another kind.
fn not_mqtt(began: &str) -> String {
    const ALERT_OF_TLS: &str = r"\x15\x03";
    const CLOSE_OF_WEBSOCKET: &str = r"\x88\x02";
    if began.starts_with(ALERT_OF_TLS) {
        return "the server speaks TLS on this port, and this client does not (mqtts://, Options::tls)"
            .to_owned();
    }
    if began.starts_with(CLOSE_OF_WEBSOCKET) {
        return "the server speaks WebSocket on this port, and this client does not (ws://, Options::websocket)".to_owned();
    }
    let hint = if began.starts_with("HTTP/") {
        " (a port for WebSocket? ws://, Options::websocket)"
    } else {
        ""
    };
    format!("the server does not speak MQTT: its answer begins with '{began}'{hint}")
}

/// What the system said, without its number.
pub(crate) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Why a store cannot be had, or keeps something not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room now: the next message may fit.
    #[error("the store {place} has no room: {text}")]
    Full {
        /// Its folder, or what else says which store it is.
        place: String,
        /// What is full.
        text: String,
    },
    /// Somebody else uses it.
    #[error("the store {place} is in use by {holder}")]
    InUse {
        /// Its folder.
        place: String,
        /// Who, as far as that is known.
        holder: String,
    },
    /// It belongs to a client with another identifier.
    #[error(
        "the store {place} belongs to the client '{theirs}', not to '{ours}': each client identifier needs a folder of its own"
    )]
    OtherClient {
        /// Its folder.
        place: String,
        /// To whom it belongs.
        theirs: String,
        /// Who has asked for it.
        ours: String,
    },
    /// It cannot be used, or not any more.
    #[error("the store {place} cannot be used: {text}")]
    Failed {
        /// Its folder.
        place: String,
        /// Why.
        text: String,
    },
}

/// A command that the engine does not take, because it cannot or must not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The server serves lower QoS only [MQTT5-3.2.2-11].
    #[error("the server serves QoS {maximum} at most, the message has QoS {qos}", qos = qos.as_u8(), maximum = maximum.as_u8())]
    Qos {
        /// That of the message.
        qos: Qos,
        /// That of the server.
        maximum: Qos,
    },
    /// The server has no retained messages [MQTT5-3.2.2-14].
    #[error("the server does not serve retained messages")]
    Retain,
    /// The packet is larger than the server takes [MQTT5-3.2.2-15], or than the format can say.
    #[error("the packet has {bytes} bytes, the server takes {maximum} at most")]
    PacketTooLarge {
        /// Of the packet.
        bytes: usize,
        /// Of the server.
        maximum: u32,
    },
    /// The server takes fewer topic aliases, or the alias is 0 [MQTT5-3.3.2-8] [MQTT5-3.3.2-9].
    #[error("topic alias {alias} is not in the server's range of 1 to {maximum}")]
    TopicAlias {
        /// That of the message.
        alias: u16,
        /// That of the server; 0 is none at all.
        maximum: u16,
    },
    /// The connection has version 3, which cannot say this.
    #[error("{what} need MQTT 5, the connection has MQTT {version}")]
    NeedsVersion5 {
        /// What cannot be said.
        what: &'static str,
        /// The version of the connection.
        version: Version,
    },
    /// The server does not serve this kind of subscription.
    #[error("the server does not serve {what}")]
    NotServed {
        /// `shared subscriptions`, `wildcard subscriptions` or `subscription identifiers`.
        what: &'static str,
    },
    /// A property that the server would close the connection for.
    #[error("not allowed: {}: {violation}", property.name())]
    Property {
        /// Which.
        property: PropertyId,
        /// What is wrong with it.
        violation: Violation,
    },
    /// A request that the server would close the connection for.
    #[error("not allowed: {0}")]
    Violation(Violation),
    /// There is no connection, and the policy keeps nothing for the next.
    #[error("there is no connection")]
    Offline,
    /// A reason code that cannot stand in the acknowledgement of a message, or that does not refuse it.
    #[error("{reason} does not refuse a message")]
    Reason {
        /// The reason code.
        reason: ReasonCode,
    },
    /// Re-authentication without an authentication method, or while another is under way.
    #[error("there is nothing to authenticate now")]
    Authentication,
    /// Too many requests wait for their answer.
    #[error("{maximum} requests wait for their answer already")]
    TooManyRequests {
        /// The limit.
        maximum: usize,
    },
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It cannot be sent.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The outbox is full (`try_publish` only); the message comes back.
    #[error("the outbox is full")]
    Full(Box<crate::Message>),
    /// The store cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client is closed and does not reconnect.
    #[error("the client is closed: {0}")]
    Closed(Lost),
}

/// Why an accepted message was not delivered, as far as the client knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The server refused it.
    #[error("the server refused the message: {}{}", .0.reason, reason_string(&.0.properties))]
    Refused(crate::Acked),
    /// It was accepted while there was no connection, and the server cannot take it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Its time to live was over before it could be sent.
    #[error("the message waited too long to be sent")]
    Expired,
    /// It was a [request](crate::Client::request) that ended, or that nobody waited for any more, before it was sent.
    #[error("the request was given up before it was sent")]
    Withdrawn,
    /// The outbox was full: see [`Overflow`](crate::Overflow).
    #[error("the message was dropped: the outbox is full")]
    Dropped,
    /// The store could not keep it ([`try_publish`](crate::Client::try_publish) only; `publish` says so itself).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The connection was lost, and the policy keeps nothing. The server may have the message or not.
    #[error("the connection was lost before the message was acknowledged: {0}")]
    ConnectionLost(Lost),
    /// The server lost the session, and the policy publishes nothing again. The server may have the
    /// message or not.
    #[error("the server lost the session before it acknowledged the message")]
    SessionLost,
    /// The client was closed first. At QoS 1 and 2 the server may have it or not.
    #[error("the client was closed before the message was acknowledged: {0}")]
    Closed(Lost),
}

/// Why a SUBSCRIBE, an UNSUBSCRIBE or a flush got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It cannot be sent.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The server refused every filter of a SUBSCRIBE.
    #[error("the server refused the subscription: {}", .0.reasons.first().copied().unwrap_or(ReasonCode::Unspecified))]
    Refused(crate::SubAck),
    /// The connection was lost before the answer, and the policy asks for nothing again.
    #[error("the connection was lost before the answer: {0}")]
    ConnectionLost(Lost),
    /// The client is closed.
    #[error("the client is closed: {0}")]
    Closed(Lost),
}

/// Why a request got no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// It cannot be sent.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// It was not delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The response topic could not be subscribed to.
    #[error("cannot subscribe to the response topic: {0}")]
    Subscribe(RequestError),
    /// Nobody subscribes to the topic of the request.
    #[error("nobody subscribes to the topic of the request")]
    NobodyListens,
    /// There was no response in time. A request that was not sent by then is not sent any more; one that was may have
    /// reached who answers, and may still.
    #[error("there was no response in time")]
    Timeout,
    /// The client is closed.
    #[error("the client is closed: {0}")]
    Closed(Lost),
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// The message names no response topic: who sent it waits for no response, or speaks version 3.
    #[error("the message asks for no response: it has no response topic")]
    NoResponseTopic,
    /// What it names is no topic name.
    #[error("the response topic is no topic name: {0}")]
    BadResponseTopic(BadTopic),
    /// The response was not accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

fn reason_string(properties: &PropertiesBuf) -> String {
    match properties.as_properties().reason_string() {
        Some(text) => format!(" ({text})"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_another_kind_is_named() {
        for (began, expected) in [
            (r"\x15\x03\x03\x00\x02\x02F", "the server speaks TLS on this port"),
            (r"\x88\x02\x03\xea", "the server speaks WebSocket on this port"),
            ("HTTP/1.1 400 Bad Request", "Bad Request' (a port for WebSocket?"),
            (
                "SSH-2.0-x",
                "the server does not speak MQTT: its answer begins with 'SSH-2.0-x'",
            ),
        ] {
            let text = Lost::NotMqtt { began: began.into() }.to_string();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_a_retry_can_mend() {
        let passing: Vec<u8> = martlet_codec::reason_code::ALL
            .iter()
            .filter(|reason| reason.is_error() && may_pass(**reason))
            .map(|reason| reason.as_u8())
            .collect();
        assert_eq!(
            passing,
            [0x80, 0x88, 0x89, 0x8b, 0x8d, 0x96, 0x97, 0x98, 0x9c, 0x9f, 0xa0]
        );
        assert!(Lost::Closed.may_pass() && Lost::PingTimeout { after_ms: 1 }.may_pass());
        assert!(!Lost::ByUs.may_pass() && !Lost::Violation(Violation::PacketType).may_pass());
    }

    #[test]
    fn no_numbers_of_the_system() {
        let text = said(&io::Error::from_raw_os_error(111));
        assert!(!text.is_empty() && !text.contains("os error"), "{text}");
        assert_eq!(said(&io::Error::other("odd")), "odd");
    }
}
