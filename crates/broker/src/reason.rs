//! Why a message was not delivered, a client refused or a connection closed: one closed list, read by
//! logs, counters, reason strings and tools. Silence is the worst answer.

use martlet_codec::{ReasonCode, Violation};
use martlet_session::Undelivered;

/// What a reason costs, and where `$SYS/broker` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loses {
    /// A message on its way to one session: `publish/messages/dropped`.
    Copy,
    /// A message of a client, that is not taken from it: `publish/messages/refused`.
    Message,
    /// No message, or none that anybody was to get.
    Nothing,
}

macro_rules! reasons {
    ($( $loses:ident { $( $(#[$doc:meta])* $name:ident = $key:literal, $text:literal; )* } )*) => {
        /// A reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $( $( $(#[$doc])* $name, )* )* }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[ $( $( Self::$name, )* )* ];

            /// Its name in logs and counters.
            pub const fn key(self) -> &'static str {
                match self { $( $( Self::$name => $key, )* )* }
            }

            /// Its words.
            pub const fn text(self) -> &'static str {
                match self { $( $( Self::$name => $text, )* )* }
            }

            /// What is lost by it.
            pub const fn loses(self) -> Loses {
                match self { $( $( Self::$name => Loses::$loses, )* )* }
            }
        }
    };
}

reasons! {
    // Why a message did not reach a session.
    Copy {
        /// The session's queue was full; the newest is dropped.
        QueueFull = "queue_full", "the queue of the session is full";
        /// QoS 0 to a client that does not read.
        OutputFull = "output_full", "the client does not read what is written to it";
        /// Its expiry interval was over.
        Expired = "expired", "the message expired";
        /// Larger than the client's maximum packet size.
        PacketTooLargeForClient = "too_large_for_client", "the message is larger than the client's maximum packet size";
        /// QoS 0 to a shard that cannot keep up.
        ShardFull = "shard_full", "the queue between two threads is full and the message has QoS 0";
        /// No member of a shared subscription could take it.
        NoMember = "no_member", "no member of the shared subscription can take the message";
        /// Its record is damaged.
        Unreadable = "unreadable", "the message cannot be read from the store";
        /// The session ended with messages in its queue.
        SessionEnded = "session_ended", "the session ended before the message was delivered";
    }

    // Why a message of a client was not taken.
    Message {
        /// `$SYS`, `$share`.
        ServerTopic = "server_topic", "only the server writes to this topic";
        /// `message_size_limit`.
        PayloadTooLarge = "payload_too_large", "the payload is larger than message_size_limit";
        /// `payload_format_check`.
        PayloadFormat = "payload_format", "the payload is not the UTF-8 that it is said to be";
        /// Retained messages are at their limit.
        RetainedFull = "retained_full", "retained messages are at their limit";
        /// All queues together are at their limit.
        QueuesFull = "queues_full", "all queues together are full";
        /// The store could not keep it.
        StoreFailed = "store_failed", "the store cannot take the message";
    }

    // QoS 0 is for those who are there.
    Nothing {
        /// QoS 0 to a client that is away.
        ClientAway = "client_away", "the client is away and the message has QoS 0";
    }

    // Why a client was refused or closed.
    Nothing {
        /// What it was to be promised could not be stored.
        NotStored = "not_stored", "what the client was to be told cannot be stored";
        /// A message of it was refused, and version 3 has no word for that.
        CannotTell = "cannot_tell", "a message of the client was refused, which its version cannot be told";
        /// It broke a rule of the standard.
        Violation = "protocol_violation", "the client broke a rule of MQTT";
        /// More unacknowledged messages than the receive maximum; it may be let off with a warning.
        ReceiveMaximum = "receive_maximum", "more unacknowledged messages than the receive maximum";
        /// It named no user, or gave no password with it, and anonymous clients are not allowed.
        NoCredentials = "no_credentials", "clients without a user and a password are not allowed here";
        /// There is no such user here.
        UnknownUser = "unknown_user", "there is no user of that name";
        /// There is, and the password is another.
        WrongPassword = "wrong_password", "the password is wrong";
        /// More logins wait to be checked than may wait.
        LoginsFull = "logins_full", "as many logins wait to be checked as may wait";
        /// The users were read again, and it came in as one who is gone or has another password.
        UserChanged = "user_changed", "the user is gone, or has another password";
        /// Its user name is to be that of its certificate, and there is none.
        NoIdentity = "no_identity", "the certificate names nobody, or none was shown";
        /// Nothing came for 1.5 times the keep alive.
        KeepAlive = "keep_alive", "nothing came for one and a half times the keep alive";
        /// No complete CONNECT in time.
        ConnectTimeout = "connect_timeout", "no complete CONNECT in time";
        /// Another connection uses the client identifier.
        TakenOver = "taken_over", "another connection uses this client identifier now";
        /// Too many connections.
        TooManyConnections = "too_many_connections", "there are as many connections as there may be";
        /// Too many sessions.
        TooManySessions = "too_many_sessions", "there are as many sessions as there may be";
        /// Too many subscriptions in one session.
        TooManySubscriptions = "too_many_subscriptions", "the session has as many subscriptions as it may have";
        /// The broker stops.
        ShuttingDown = "shutting_down", "the broker stops";
        /// The CONNACK does not fit.
        ConnAckTooLarge = "connack_too_large", "CONNACK does not fit the client's maximum packet size";
    }
}

impl From<Undelivered> for Reason {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::QueueFull => Self::QueueFull,
            Undelivered::OutputFull => Self::OutputFull,
            Undelivered::Expired => Self::Expired,
            Undelivered::TooLarge => Self::PacketTooLargeForClient,
            Undelivered::Away => Self::ClientAway,
        }
    }
}

impl From<Violation> for Reason {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::KeepAlive => Self::KeepAlive,
            Violation::ReceiveMaximum => Self::ReceiveMaximum,
            _ => Self::Violation,
        }
    }
}

impl Reason {
    /// The reason code that a publisher or a client is told.
    pub const fn code(self) -> ReasonCode {
        match self {
            Self::ServerTopic
            | Self::NoCredentials
            | Self::UnknownUser
            | Self::WrongPassword
            | Self::UserChanged
            | Self::NoIdentity => ReasonCode::NotAuthorized,
            Self::LoginsFull => ReasonCode::ServerBusy,
            Self::PayloadTooLarge => ReasonCode::ImplementationSpecific,
            Self::PayloadFormat => ReasonCode::PayloadFormatInvalid,
            Self::KeepAlive => ReasonCode::KeepAliveTimeout,
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::ShuttingDown => ReasonCode::ServerShuttingDown,
            Self::Violation => ReasonCode::ProtocolError,
            Self::ReceiveMaximum => ReasonCode::ReceiveMaximumExceeded,
            Self::RetainedFull
            | Self::QueuesFull
            | Self::StoreFailed
            | Self::NotStored
            | Self::CannotTell
            | Self::TooManyConnections
            | Self::TooManySessions
            | Self::TooManySubscriptions => ReasonCode::QuotaExceeded,
            _ => ReasonCode::Unspecified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_distinct() {
        let keys: HashSet<_> = Reason::ALL.iter().map(|reason| reason.key()).collect();
        assert_eq!(keys.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|reason| !reason.text().ends_with('.')));
    }
}
