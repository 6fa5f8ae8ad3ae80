//! Whole brokers and clients in one thread from one seed: what happens, when and in which order is all drawn from a
//! number, so what went wrong once goes wrong again.
//!
//! [`run`] plays one seed and gives its [`History`](history::History); the checkers in [`check`] read nothing else.
//! [`plant::Bug`] puts a bug into the broker, to show that it is found.

mod agenda;
pub mod check;
mod client;
mod draws;
mod engine;
pub mod history;
mod pipe;
mod plan;
pub mod plant;
mod process;
mod world;

use history::History;
use plan::Plan;
use plant::Bug;
use world::World;

/// Plays a seed; `prints`: each fact as it happens.
pub fn run(seed: u64, bug: Option<Bug>, prints: bool) -> History {
    let plan = Plan::new(seed, bug);
    let mut world = World::new(seed, plan, prints);
    world.run();
    world.history
}
