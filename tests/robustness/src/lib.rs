//! Hostile, slow and many clients against the built `martlet` binary.
//!
//! Each test starts a broker of its own, talks to it over raw sockets with [`Client`], and lets a
//! [`Bystanders`] pair watch meanwhile that others lose, repeat and reorder nothing.

mod broker;
mod bystanders;
mod client;
mod disk;
mod random;
mod users;

pub use broker::{Live, rss_kib, wait};
pub use bystanders::Bystanders;
pub use client::{Client, Got, Options, encode};
pub use disk::TroubledDisk;
pub use random::Random;
pub use users::UsersFile;
