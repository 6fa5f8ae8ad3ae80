//! The built `martlet` binary, killed by SIGKILL again and again, and a ledger of what it acknowledged.
//!
//! A [`World`] is one thread with publishers, subscribers and sessions with wills, each on a socket of its own. It
//! starts a broker on a data folder that lives through all rounds, lets traffic flow, kills the broker at a random
//! moment or at a named point, and starts it again. The ledger has what each client saw; what the broker acknowledged
//! and does not have after the restart, or has twice, is a [`Fault`].
//!
//! `cargo xtask kill --rounds N` builds what is needed and runs the test `nothing_acknowledged_is_lost`.
//!
//! | variable | what it changes |
//! |---|---|
//! | `MARTLET_KILL_ROUNDS` | rounds, else 20 |
//! | `MARTLET_KILL_SEED` | the seed, else 1 |
//! | `MARTLET_KILL_POINTS_BIN` | a binary built with the feature `kill-points`, else `kill-points/martlet` in cargo's target folder, if it is there |
//! | `MARTLET_BIN`, `MARTLET_INTEROP_BROKER` | as for the interop tests |
//!
//! [`Victims`] does the same to a process that uses the client: `cargo xtask kill --client`, `MARTLET_KILL_VICTIM_BIN`.
//!
//! The same seed makes the same choices, but the broker and the system have their own pace: a fault comes again after
//! some tries, not at the first.

mod auditor;
mod broker;
mod cast;
mod deliveries;
mod fault;
mod ledger;
mod limits;
mod link;
mod message;
mod publisher;
mod report;
mod retained;
mod scene;
mod session;
mod subscriber;
mod testator;
mod victims;
mod wills;
mod world;

pub use broker::{Durability, Point};
pub use fault::Fault;
pub use report::Report;
pub use victims::{ClientReport, Forgets, POINTS, Victims, has_victim};
pub use world::{Blow, Settings, World};
