//! An MQTT client for 3.1, 3.1.1 and 5.0 with one API.
//!
//! [`Client::start`] and [`Client::connect`] make a connection that runs by itself: nobody has to poll it.
//! The [`Client`] publishes and subscribes, is cheap to clone and may be used from any task. Each
//! [`Subscription`] is a stream of its own with a bounded buffer of its own. [`blocking`] has the same for
//! programs without a runtime, and [`poll`] for programs that move the bytes themselves.
//!
//! What happens to connections, and messages that could not be delivered, is told to `tracing`, with the client identifier and
//! without payloads and passwords; the feature `tracing`, which is on by default, has that.
//!
//! Below them stands [`engine::Engine`], which knows all the rules and no socket, clock, thread or
//! randomness; the drivers only move bytes.
//!
//! ```no_run
//! use martlet_client::{Client, Message, Options, Subscribe, Qos, filter, topic};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, _) = Client::connect(Options::new("localhost", 1883)).await?;
//! let mut messages = client.subscribe(Subscribe::to(filter!("S013/#"), Qos::AtLeastOnce)).await?;
//! let message = Message::new(topic!("S013/MOT01/RECM"), "DRVZ+1000").qos(Qos::AtLeastOnce);
//! client.publish(message).await?.await?;
//! if let Some(message) = messages.recv().await {
//!     println!("{} {:?}", message.topic, message.payload);
//! }
//! # Ok(())
//! # }
//! ```

pub mod api;
pub mod auth;
pub mod blocking;
pub mod delivery;
pub mod engine;
pub mod error;
pub mod event;
pub mod limits;
pub mod message;
pub mod options;
pub mod policy;
#[cfg(unix)]
pub mod poll;
pub mod store;
pub mod streams;
pub mod subscription;
mod transport;
pub mod url;

mod carry;
mod check;
mod dial;
mod driver;
mod filters;
mod hub;
mod keeper;
mod kill_points;
#[cfg(unix)]
mod pipe;
mod recent;
mod routes;
mod shared;
mod trace;

pub use api::{Client, Events, States};
pub use auth::Login;
pub use delivery::Delivery;
pub use dial::dial;
pub use engine::{Leftover, Stage, Stats, Token};
pub use error::{
    ConnectError, DeliveryError, Lost, PublishError, Refusal, Rejected, RequestError, RespondError,
    ResponseError, StoreError,
};
pub use event::{Acked, Connected, Event, Pending, State, SubAck, Subscribe, UnsubAck, Unsubscribe};
pub use message::{Incoming, Message};
pub use options::{Options, OptionsError, Protocol};
pub use policy::{Overflow, Policy, Reconnect};
#[cfg(unix)]
pub use store::{Durability, FileStore};
pub use store::{MemoryStore, Store};
pub use streams::{Buffer, BufferOverflow};
pub use subscription::{Offer, Receipt, Subscription};
pub use url::UrlError;

#[cfg(feature = "srv")]
pub use martlet_net::client::SrvError;
pub use martlet_net::client::{ClientTls as Tls, DialError, Kept, Proxy, WebSocketRequest as WebSocket};

/// What [`Tls`] is made of.
pub mod tls {
    pub use martlet_net::Fault;
    pub use martlet_net::client::{Checks, TlsError};
    pub use martlet_net::tls::files::{FileFault, FileFaultKind, Source};
    pub use martlet_net::tls::names;
}

pub use bytes::Bytes;
pub use martlet_codec::{
    BadTopic, Filter, FilterBuf, PacketId, Place, Properties, PropertiesBuf, PropertyId, Qos, ReasonCode,
    RetainHandling, SubscribeOptions, Topic, TopicBuf, Value, Version, Violation,
};

/// A topic name that the compiler has checked.
///
/// ```
/// use martlet_client::{Topic, topic};
///
/// const RECM: Topic<'static> = topic!("S013/MOT01/RECM");
/// assert_eq!(RECM.as_str(), "S013/MOT01/RECM");
/// ```
///
/// ```compile_fail
/// martlet_client::topic!("S013/+/RECM");
/// ```
#[macro_export]
macro_rules! topic {
    ($name:expr) => {
        const { $crate::Topic::literal($name) }
    };
}

/// A topic filter that the compiler has checked.
///
/// ```
/// use martlet_client::{Filter, Topic, filter, topic};
///
/// const RECM: Filter<'static> = filter!("S013/+/RECM");
/// assert!(RECM.matches(topic!("S013/MOT01/RECM")));
/// ```
///
/// ```compile_fail
/// martlet_client::filter!("S013/#/RECM");
/// ```
#[macro_export]
macro_rules! filter {
    ($filter:expr) => {
        const { $crate::Filter::literal($filter) }
    };
}

/// The code of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/client.md")]
mod guide {}
