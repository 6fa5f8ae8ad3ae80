//! Whole brokers and clients in one thread from one seed: what happens, when and in which order is all drawn from a
//! number, so what went wrong once goes wrong again.
//!
//! [`run`] plays one seed and gives its [`history::History`]; the checkers in [`check`] read nothing else.
//! [`ours::run`] plays the other side: the engine of our own client, which is killed and started again, against the broker.
//!
//! [`plant::Bug`] puts a bug into the broker, to show that it is found.

mod agenda;
pub mod check;
mod client;
mod draws;
mod engine;
pub mod history;
pub mod ours;
mod pipe;
mod plan;
pub mod plant;
mod process;
mod slow;
mod world;

use history::History;
use plan::Plan;
use plant::Bug;
use world::World;

/// What is to be played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Play {
    /// The seed.
    pub seed: u64,
    /// A bug that is put in.
    pub bug: Option<Bug>,
    /// Whether the disk fails too.
    pub is_harsh: bool,
    /// Whether each fact is printed as it happens.
    pub prints: bool,
}

/// Plays it.
pub fn run(play: Play) -> History {
    let plan = Plan::new(play.seed, play.bug, play.is_harsh);
    let mut world = World::new(play.seed, plan, play.prints);
    world.run();
    world.history
}

/// Where the power is cut, what was broken, and the lines of the history about it.
pub type CutFound = (usize, check::Broken, Vec<String>);

/// Plays a short run on a disk once to count what is done to the disk, and again for each point of that, with the power
/// cut there: what was not synced is lost, kept or torn. What breaks a promise.
pub fn cuts(play: Play) -> Vec<CutFound> {
    let points = short(play, usize::MAX).recorded();
    let mut found = Vec::new();
    for at in 0..=points {
        let history = cut(play, at);
        for broken in check::check(&history) {
            let lines = history.lines_about(broken.message, broken.client);
            found.push((at, broken, lines));
        }
    }
    found
}

/// The same short run with one cut at that point.
pub fn cut(play: Play, at: usize) -> History {
    short(play, at).history
}

fn short(play: Play, cut: usize) -> World {
    let mut world = World::new(play.seed, Plan::short(play.seed, play.bug), play.prints);
    world.cut_at(cut);
    world.run();
    world
}
