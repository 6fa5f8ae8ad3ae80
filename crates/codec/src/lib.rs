//! MQTT on the wire: bytes to packets and back, for 3.1, 3.1.1 and 5.0 with one packet type.
//!
//! [`Packet::decode`] looks at a buffer and borrows from it: it allocates nothing, so there is
//! nothing to reserve before a size was checked. [`Packet::encode`] appends to a buffer. The version
//! is an argument of both; a packet of version 3 is one of version 5 with less on the wire.
//!
//! What a peer can do wrong is a [`Violation`]: a row with the statements that it breaks, the reason
//! code that version 5 sends and what version 3 does instead.
//!
//! This crate knows no socket, no session and no clock.

pub mod filter;
pub mod limits;
pub mod packet;
pub mod property;
pub mod reason_code;
pub mod text;
pub mod topic;
pub mod version;
pub mod violation;
mod wire;

pub use filter::{Filter, FilterBuf};
pub use limits::Limits;
pub use packet::{
    Ack, Address, Auth, ConnAck, Connect, Decoded, Delivery, Disconnect, Extras, Fault, Filters, Packet,
    PacketId, PacketType, Publish, Qos, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeOptions,
    SubscribeRequests, UnsubAck, Unsubscribe, Will,
};
pub use property::{Place, Properties, PropertiesBuf, PropertyId, Value};
pub use reason_code::ReasonCode;
pub use topic::{BadTopic, Topic, TopicBuf};
pub use version::Version;
pub use violation::Violation;
