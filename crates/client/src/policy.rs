//! What differs between the interfaces that stand on the engine, as data: when to connect again, what an
//! outbox does when it is full, what may be sent and kept without a connection.

use std::time::Duration;

/// What happens when an attempt to connect has failed or a connection is lost.
///
/// An attempt goes through all servers of the list, each in the versions that the protocol allows; a wait
/// follows only when none of them has agreed. What no new connection can mend closes the client, see
/// [`Lost::may_pass`](crate::Lost::may_pass).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reconnect {
    /// The client is closed.
    #[default]
    Never,
    /// Try again after a wait.
    After(Wait),
}

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How it grows from failure to failure.
    pub growth: Growth,
    /// How chance changes it, so that the clients of a server that comes back do not come all at once.
    pub jitter: Jitter,
    /// How long a connection must last for the wait to begin at `first` again. One that was lost before
    /// counts as a failure too.
    pub reset_after: Duration,
    /// Attempts in a row before the client is closed; `None`: it never gives up.
    pub attempts_max: Option<u32>,
}

/// How a wait grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// It does not.
    Fixed,
    /// It doubles with each failure.
    Doubled,
}

/// How chance changes a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// It does not.
    None,
    /// Anything from nothing to the wait.
    Full,
    /// That many hundredths more or less, at most 100.
    Percent(u8),
}

/// How long a connection must last to count as a good one.
const RESET_AFTER: Duration = Duration::from_secs(20);

impl Reconnect {
    /// Waits that double from `first` to `max`, of which chance takes any part: what suits many clients
    /// of one server best.
    pub const fn full_jitter(first: Duration, max: Duration) -> Self {
        Self::wait(first, max, Growth::Doubled, Jitter::Full)
    }

    /// Waits that double from `first` to `max`.
    pub const fn doubled(first: Duration, max: Duration) -> Self {
        Self::wait(first, max, Growth::Doubled, Jitter::None)
    }

    /// Always the same wait.
    pub const fn fixed(period: Duration) -> Self {
        Self::wait(period, period, Growth::Fixed, Jitter::None)
    }

    const fn wait(first: Duration, max: Duration, growth: Growth, jitter: Jitter) -> Self {
        Self::After(Wait {
            first,
            max,
            growth,
            jitter,
            reset_after: RESET_AFTER,
            attempts_max: None,
        })
    }

    /// The same, with another time that a connection must last. Default 20 s.
    #[must_use]
    pub const fn reset_after(self, reset_after: Duration) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::After(wait) => Self::After(Wait { reset_after, ..wait }),
        }
    }

    /// The same, but closes the client after that many attempts in a row that failed.
    #[must_use]
    pub const fn attempts_max(self, attempts: u32) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::After(wait) => Self::After(Wait {
                attempts_max: Some(attempts),
                ..wait
            }),
        }
    }
}

/// What happens to a message that the outbox has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// [`publish`](crate::Client::publish) waits for room; it comes back in
    /// [`PublishError::Full`](crate::PublishError::Full) where nobody can wait.
    #[default]
    Wait,
    /// It comes back in [`PublishError::Full`](crate::PublishError::Full).
    Reject,
    /// The oldest messages that were not sent yet are dropped for it, each told by
    /// [`DeliveryError::Dropped`](crate::DeliveryError::Dropped). Where all were sent, as `Wait`.
    DropOldest,
    /// It is dropped, told by [`DeliveryError::Dropped`](crate::DeliveryError::Dropped).
    DropNewest,
}

/// The messages that a client keeps until they are acknowledged (QoS 1 and 2) or handed to the socket
/// (QoS 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Messages, at most 60,000.
    pub messages_max: usize,
    /// Bytes of topics, properties and payloads; one message always fits when there is no other.
    pub bytes_max: usize,
    /// What happens at either limit.
    pub overflow: Overflow,
    /// How long a message may wait to be sent for the first time. After it: the message ends with
    /// [`DeliveryError::Expired`](crate::DeliveryError::Expired).
    /// [`Message::time_to_live`](crate::Message::time_to_live) wins over it.
    pub time_to_live: Option<Duration>,
}

/// What a client does where interfaces differ. The default is what suits a program that wants its
/// messages to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What happens to messages and requests while there is no connection.
    pub offline: Offline,
    /// What happens to messages without an acknowledgement when the connection is lost.
    pub unfinished: Unfinished,
    /// What happens to subscriptions when the server has lost the session.
    pub subscriptions: Subscriptions,
    /// When a received message of QoS 1 or 2 is acknowledged.
    pub acknowledge: Acknowledge,
    /// After how many hundredths of the keep alive without traffic to ping, 1 to 100.
    pub ping_percent: u8,
    /// Whether traffic puts a ping off.
    pub pings: Pings,
    /// Who names a client without a client identifier in version 3, which does not tell the name.
    pub nameless: Nameless,
}

/// Whether traffic puts a ping off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pings {
    /// It does.
    WhenIdle,
    /// It does not: one leaves after each interval.
    Regularly,
}

/// Who names a client that has no client identifier, in version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nameless {
    /// The client, at random: the name stays for its life.
    NamesItself,
    /// The server: a new one each time, which only a clean session may have [MQTT3-3.1.3-7].
    NamedByServer,
}

/// What happens to messages and requests while there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// They wait for the next.
    Keep,
    /// They are refused before the first connection, and wait between connections.
    KeepOnceConnected,
    /// They are refused: [`Rejected::Offline`](crate::Rejected::Offline).
    Refuse,
}

/// What happens to messages without an acknowledgement when a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// They are sent again: as the standard says where the server has the session, as new ones where it
    /// has lost it.
    Keep,
    /// They are sent again where the server has the session, else they end with
    /// [`DeliveryError::SessionLost`](crate::DeliveryError::SessionLost).
    KeepWithSession,
    /// All that is under way or waits, QoS 0 too, ends with
    /// [`DeliveryError::ConnectionLost`](crate::DeliveryError::ConnectionLost).
    Fail,
}

/// What happens to subscriptions when the server has lost the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriptions {
    /// They are asked for again.
    Renew,
    /// They are gone; the application subscribes again.
    Forget,
}

/// When a received message of QoS 1 or 2 is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// When the application has taken it.
    Taken,
    /// When it arrives.
    Arrived,
}

impl Policy {
    /// Everything is kept and nothing is acknowledged before it was taken.
    pub const KEEP_ALL: Self = Self {
        offline: Offline::Keep,
        unfinished: Unfinished::Keep,
        subscriptions: Subscriptions::Renew,
        acknowledge: Acknowledge::Taken,
        ping_percent: 100,
        pings: Pings::WhenIdle,
        nameless: Nameless::NamesItself,
    };

    /// As paho-mqtt for Python: messages are kept and published again whatever became of the session,
    /// subscriptions are the application's.
    pub const PAHO_PYTHON: Self = Self {
        subscriptions: Subscriptions::Forget,
        ..Self::KEEP_ALL
    };

    /// As Eclipse Paho C without buffering: nothing is taken without a connection, messages live as long
    /// as the session, arrival is acknowledged before the callback.
    pub const PAHO_C: Self = Self {
        offline: Offline::Refuse,
        unfinished: Unfinished::KeepWithSession,
        subscriptions: Subscriptions::Forget,
        acknowledge: Acknowledge::Arrived,
        ..Self::KEEP_ALL
    };

    /// As Eclipse Paho C with `sendWhileDisconnected`.
    pub const PAHO_C_BUFFERED: Self = Self {
        offline: Offline::KeepOnceConnected,
        ..Self::PAHO_C
    };

    /// As LuatOS: no queue, nothing is sent again, a ping every three quarters of the keep alive.
    pub const LUATOS: Self = Self {
        offline: Offline::Refuse,
        unfinished: Unfinished::Fail,
        subscriptions: Subscriptions::Forget,
        acknowledge: Acknowledge::Arrived,
        ping_percent: 75,
        pings: Pings::Regularly,
        nameless: Nameless::NamedByServer,
    };

    /// As LuatOS with a store: what was accepted is sent until it is acknowledged.
    pub const LUATOS_STORED: Self = Self {
        offline: Offline::Keep,
        unfinished: Unfinished::Keep,
        ..Self::LUATOS
    };
}

impl Default for Policy {
    fn default() -> Self {
        Self::KEEP_ALL
    }
}
