//! What happened, for logs: one line a connection that comes and goes, nothing a message.

use martlet_codec::{ReasonCode, Version, Violation};

use crate::connection::Peer;
use crate::reason::Reason;

/// What an operator may want to know.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A client is connected.
    Connected {
        /// Its client identifier.
        client_id: &'a str,
        /// Where it comes from.
        peer: Peer,
        /// The version that it speaks.
        version: Version,
        /// Clean Start.
        clean_start: bool,
        /// Keep alive in seconds.
        keep_alive_s: u16,
        /// Session expiry in seconds.
        expiry_s: u32,
        /// Whether its session went on.
        session_present: bool,
        /// The user name, if it gave one.
        user_name: Option<&'a str>,
    },
    /// A connection ended.
    Disconnected {
        /// The client identifier, if it got as far.
        client_id: Option<&'a str>,
        /// Where it came from.
        peer: Peer,
        /// Why.
        ending: Ending,
        /// Whether it had a will.
        has_will: bool,
        /// More about the violation: a size, a limit.
        detail: Option<&'a str>,
    },
    /// A CONNECT was refused.
    Refused {
        /// The client identifier that it gave.
        client_id: &'a str,
        /// Where it came from.
        peer: Peer,
        /// What it was told.
        code: ReasonCode,
        /// Why.
        reason: &'a str,
    },
    /// A CONNECT was refused because of who the client is.
    LoginDenied {
        /// The client identifier that it gave.
        client_id: &'a str,
        /// Where it came from.
        peer: Peer,
        /// The user that it named.
        user_name: Option<&'a str>,
        /// Why; clients are not told.
        reason: Reason,
    },
    /// Clients take a session from each other again and again: two devices with one client identifier.
    Flapping {
        /// The client identifier.
        client_id: &'a str,
        /// How often it changed hands.
        takeovers: u32,
        /// In how many seconds.
        window_s: u64,
        /// Who lost it just now.
        old: Peer,
        /// Who has it now.
        new: Peer,
    },
    /// A client has more unacknowledged messages than it may have, and is let. Told once a connection.
    ReceiveMaximumExceeded {
        /// Its client identifier.
        client_id: &'a str,
        /// Where it comes from.
        peer: Peer,
        /// As many as it may have.
        receive_maximum: u16,
    },
    /// Something else than MQTT came first.
    NotMqtt {
        /// Where it came from.
        peer: Peer,
        /// What it looks like.
        got: &'static str,
    },
    /// Messages were dropped for a session, or not taken from one. The receiver limits the rate.
    Dropped {
        /// The session; none: a message for nobody in particular.
        client_id: Option<&'a str>,
        /// The topic; none: nobody looked.
        topic: Option<&'a str>,
        /// Why.
        reason: Reason,
        /// How many.
        count: u64,
    },
    /// A subscription was refused.
    SubscribeRefused {
        /// The session.
        client_id: &'a str,
        /// The filter.
        filter: &'a str,
        /// Why.
        reason: Reason,
    },
    /// A session ended because nobody came back in time.
    Expired {
        /// Its client identifier.
        client_id: &'a str,
    },
    /// A client subscribed. Told at a detailed level.
    Subscribed {
        /// The session.
        client_id: &'a str,
        /// The filter.
        filter: &'a str,
        /// What was granted.
        granted: ReasonCode,
    },
    /// A client unsubscribed. Told at a detailed level.
    Unsubscribed {
        /// The session.
        client_id: &'a str,
        /// The filter.
        filter: &'a str,
    },
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client said DISCONNECT with this code.
    Client(ReasonCode),
    /// The connection was closed or lost.
    Lost,
    /// The client broke a rule.
    Violation(Violation),
    /// The broker ended it.
    Broker(Reason),
}

impl Ending {
    /// The words of the log; those of mosquitto where it has them, because people parse them.
    pub fn text(self) -> &'static str {
        match self {
            Self::Client(ReasonCode::Success) => "disconnected by client",
            Self::Client(ReasonCode::DisconnectWithWill) => "disconnected by client, with will",
            Self::Client(_) => "disconnected by client with an error",
            Self::Lost => "connection closed by client",
            Self::Violation(Violation::KeepAlive) => "exceeded timeout",
            Self::Violation(violation) => violation.text(),
            Self::Broker(Reason::TakenOver) => "session taken over",
            Self::Broker(reason) => reason.text(),
        }
    }
}
