//! What a server agreed to, and what happens to a connection.

use std::time::Duration;

use martlet_codec::{
    FilterBuf, PacketId, PropertiesBuf, Qos, ReasonCode, SubscribeOptions, TopicBuf, Version,
};

use crate::engine::{Stage, Token};
use crate::error::{Lost, Refusal};
use crate::message::Message;
use crate::streams::Buffer;

/// What was agreed when a connection came up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connected {
    /// The version in use.
    pub version: Version,
    /// Whether the server went on with a session that it had.
    pub session_present: bool,
    /// The client identifier, also one that the server assigned.
    pub client_id: String,
    /// The keep alive in use, in seconds; the server's where it named one [MQTT5-3.2.2-21].
    pub keep_alive_s: u16,
    /// How many messages of QoS 1 and 2 the server takes at once.
    pub receive_maximum: u16,
    /// The highest QoS that the server takes.
    pub qos_max: Qos,
    /// Whether the server serves retained messages.
    pub retain_available: bool,
    /// The largest packet that the server takes, in bytes.
    pub packet_bytes_max: u32,
    /// How many topic aliases the server takes.
    pub topic_alias_maximum: u16,
    /// All properties of CONNACK as they came.
    pub properties: PropertiesBuf,
}

/// The acknowledgement of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// The packet identifier; `None` at QoS 0, which nobody acknowledges.
    pub packet_id: Option<PacketId>,
    /// Success, or "no matching subscribers"; always success at QoS 0 and in version 3.
    pub reason: ReasonCode,
    /// The properties of the PUBACK, PUBREC or PUBCOMP that says so.
    pub properties: PropertiesBuf,
}

/// The answer to a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// The packet identifier.
    pub packet_id: PacketId,
    /// One code a filter, in their order. In version 3 a refusal reads 0x80.
    pub reasons: Vec<ReasonCode>,
    /// The properties.
    pub properties: PropertiesBuf,
}

/// The answer to an UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsubAck {
    /// The packet identifier.
    pub packet_id: PacketId,
    /// One code a filter, in their order; none in version 3.
    pub reasons: Vec<ReasonCode>,
    /// The properties.
    pub properties: PropertiesBuf,
}

/// An accepted message that has no end yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub token: Token,
    /// Its packet identifier; `None` at QoS 0.
    pub packet_id: Option<PacketId>,
    /// The message; `None` once the server has it for good and only its last acknowledgement is missing.
    pub message: Option<Message>,
    /// How far it is.
    pub stage: Stage,
}

/// Filters to subscribe to, in one SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscribe {
    /// The filters and their options.
    pub filters: Vec<(FilterBuf, SubscribeOptions)>,
    /// Properties: a subscription identifier, user properties.
    pub properties: PropertiesBuf,
    /// The buffer of the stream of its messages; none: as many as the
    /// [`inbox`](crate::Options::inbox) takes, and the client reads no more at it.
    pub buffer: Option<Buffer>,
}

impl Subscribe {
    /// One filter at a QoS.
    pub fn to(filter: impl Into<FilterBuf>, qos: Qos) -> Self {
        Self::default().and(filter, SubscribeOptions::qos(qos))
    }

    /// One filter more.
    #[must_use]
    pub fn and(mut self, filter: impl Into<FilterBuf>, options: SubscribeOptions) -> Self {
        self.filters.push((filter.into(), options));
        self
    }

    /// The same with another buffer for the stream of its messages.
    #[must_use]
    pub const fn buffer(mut self, buffer: Buffer) -> Self {
        self.buffer = Some(buffer);
        self
    }

    /// The same with these properties.
    #[must_use]
    pub fn properties(mut self, properties: PropertiesBuf) -> Self {
        self.properties = properties;
        self
    }
}

/// Filters to unsubscribe from, in one UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsubscribe {
    /// The filters, as they were subscribed.
    pub filters: Vec<FilterBuf>,
    /// User properties.
    pub properties: PropertiesBuf,
}

impl Unsubscribe {
    /// One filter.
    pub fn from(filter: impl Into<FilterBuf>) -> Self {
        Self {
            filters: vec![filter.into()],
            ..Self::default()
        }
    }
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It makes a connection.
    Connecting,
    /// There is a connection that the server has agreed to.
    Online(Connected),
    /// It waits before the next attempt.
    Offline {
        /// Why there is no connection.
        cause: Lost,
        /// The wait, from when it was lost.
        retry_in: Duration,
    },
    /// For good.
    Closed(Lost),
}

/// What happens to a connection, for those who want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection came up.
    Connected(Connected),
    /// The connection was lost. `retry_in`: when the next attempt starts; `None`: the client is closed.
    Lost {
        /// How it ended.
        cause: Lost,
        /// The wait.
        retry_in: Option<Duration>,
    },
    /// An attempt to connect failed.
    RetryFailed {
        /// Why, in words.
        error: String,
        /// The server's refusal, if it was one.
        refusal: Option<Refusal>,
        /// The wait before the next attempt.
        retry_in: Duration,
    },
    /// The session was gone after a reconnect, and the server refused to renew this subscription.
    ResubscribeRefused {
        /// The filter.
        filter: FilterBuf,
        /// Why.
        reason: ReasonCode,
    },
    /// A message came that no stream wanted in time, see
    /// [`Options::unclaimed_for`](crate::Options::unclaimed_for): it was acknowledged and dropped.
    Unclaimed {
        /// Its topic name.
        topic: TopicBuf,
    },
    /// The server took a re-authentication.
    Reauthenticated,
    /// Messages of QoS 0 were dropped because the application did not take them: told when that happens, and then once a
    /// second at most as long as it goes on.
    Dropped {
        /// How many since the last such event.
        messages: u64,
    },
    /// The reader was slow and missed that many events.
    Missed(u64),
}
