//! A broker as a process: threads, sockets, configuration and logs around the rules of `martlet-broker`.
//!
//! [`Server::start`] opens the listeners of a [`config::Config`] and runs one thread a shard;
//! [`Server::stop`] ends them as the standard wants it. The rules are not here: this crate moves bytes
//! between sockets and shards, and messages between shards.

mod acceptor;
mod clock;
pub mod config;
mod entrance;
pub mod error;
mod handshakes;
mod inbox;
mod keeper;
mod kill_points;
pub mod limits;
mod log;
mod logins;
mod pid_file;
mod placement;
#[cfg(feature = "quic")]
mod quic;
mod server;
mod settings;
mod worker;

pub use error::Error;
pub use log::{flush as flush_log, init as init_log, reopen as reopen_log};
pub use martlet_broker::Durability;
pub use server::{Place, Server};
