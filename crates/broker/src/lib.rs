//! The rules of all sessions together: who gets a message, and what is kept for those who come later.
//!
//! A [`Shard`] owns connections and sessions; what happens goes in as [`Input`], what is to be done
//! comes out through a [`Sink`]. The shards of a process have [`Shared`] in common: the
//! [`Router`](router::Router), the [`Retained`](retained::Retained) messages and the registry of client
//! identifiers.
//!
//! This crate knows no socket, no thread, no clock and no disk: a whole broker of several shards runs in
//! one thread of a test.

mod connection;
pub mod counters;
pub mod event;
pub mod limits;
mod login;
mod parcels;
pub mod reason;
pub mod registry;
pub mod retained;
pub mod router;
mod routes;
mod seed;
mod sessions;
pub mod shard;
pub mod shared;
pub mod store;
mod stored;
pub mod sys;
mod takeovers;
mod timers;
mod will;

pub use connection::{Address, ConnId, Peer};
pub use event::{Ending, Event};
pub use limits::{ListenerRules, Settings};
pub use login::{Login, Revoked, Verdict};
pub use parcels::Parcels;
pub use reason::{Loses, Reason};
pub use seed::Seed;
pub use shard::{Input, Relocated, Shard, Sink};
pub use shared::Shared;
pub use store::{
    Batch, Change, DelayedStore, Durability, Load, MemoryStore, Page, Purpose, Recipient, RestoredSession,
    Store, StoreEvent, StoreState, StoredSession, StoredSubscription,
};
pub use takeovers::FlappingLimits;
pub use will::StoredWill;
