//! An MQTT client for 3.1, 3.1.1 and 5.0 with one API.
//!
//! [`Client::connect`] makes a connection that runs by itself: nobody has to poll it. The [`Client`]
//! publishes and subscribes, is cheap to clone and may be used from any task. What arrives comes out of
//! [`Messages`].
//!
//! Below it stands [`engine::Engine`], which knows all the rules and no socket, clock, thread or
//! randomness; the driver between the two only moves bytes.
//!
//! ```no_run
//! use martlet_client::{Client, Message, Options, Subscribe, FilterBuf, Qos, TopicBuf};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut messages, _) = Client::connect(Options::new("localhost", 1883)).await?;
//! client.subscribe(Subscribe::to(FilterBuf::new("S013/#")?, Qos::AtLeastOnce)).await?;
//! let message = Message::new(TopicBuf::new("S013/MOT01/RECM")?, "DRVZ+1000").qos(Qos::AtLeastOnce);
//! client.publish(message).await?.await?;
//! if let Some(message) = messages.recv().await {
//!     println!("{} {:?}", message.topic, message.payload);
//! }
//! # Ok(())
//! # }
//! ```

pub mod api;
pub mod engine;
pub mod error;
pub mod event;
pub mod limits;
pub mod message;
pub mod options;
mod transport;
pub mod url;

mod driver;
mod shared;

pub use api::{Client, Delivery, Events, Messages};
pub use error::{ConnectError, DeliveryError, Lost, PublishError, Refusal, Rejected, RequestError};
pub use event::{Acked, Connected, Event, SubAck, Subscribe, UnsubAck, Unsubscribe};
pub use message::{Incoming, Message};
pub use options::{Options, OptionsError, Protocol, Reconnect};
pub use url::UrlError;

pub use martlet_net::client::{ClientTls as Tls, DialError, Proxy, WebSocketRequest as WebSocket};

/// What [`Tls`] is made of.
pub mod tls {
    pub use martlet_net::Fault;
    pub use martlet_net::client::{Checks, TlsError};
    pub use martlet_net::tls::files::{FileFault, FileFaultKind, Source};
    pub use martlet_net::tls::names;
}

pub use bytes::Bytes;
pub use martlet_codec::{
    BadTopic, FilterBuf, PacketId, Place, Properties, PropertiesBuf, PropertyId, Qos, ReasonCode,
    RetainHandling, SubscribeOptions, TopicBuf, Value, Version, Violation,
};
