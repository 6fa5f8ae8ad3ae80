//! The rules of one end of one MQTT session.
//!
//! Both ends share the QoS flows: [`Inflight`] is the half that sends, [`Received`] the half that
//! receives. A broker's end is [`Session`] with a [`Link`] while its client is connected; the
//! client's end is built from the same parts.
//!
//! This crate knows no socket, no clock, no other session and no topic tree. Time is an argument
//! ([`Now`]); what a peer does wrong is a value ([`martlet_codec::Violation`]).

pub mod alias;
pub mod handshake;
pub mod inflight;
pub mod keepalive;
pub mod limits;
pub mod message;
pub mod output;
pub mod queue;
pub mod received;
pub mod server;

pub use alias::{AliasesIn, AliasesOut, Resolved};
pub use handshake::client::{ClientAgreed, Speech};
pub use handshake::{Agreed, Beyond, Policy};
pub use inflight::{Acked, Inflight, Resend};
pub use keepalive::{KeepAlive, PingTimer};
pub use message::{Key, Message, MessageView, Number, Offer};
pub use output::Output;
pub use queue::{Found, Loaded, Queue, Queued};
pub use received::{AckKind, Arrival, Owed, Received, Ticket};
pub use server::{Delivered, Effect, Link, Remains, Session, Tally, Target, Turn, Undelivered};

/// The time that a rule is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never jumps; deadlines are of this one.
    pub mono_ms: u64,
    /// Milliseconds since 1970; only for what is stored or shown. It goes on across restarts, never backwards.
    pub wall_ms: u64,
}

/// A session expiry of this many seconds is "never" [MQTT5-3.1.2-23].
pub const NEVER: u32 = u32::MAX;
