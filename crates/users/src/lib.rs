//! Users and their passwords, in the files that mosquitto reads: a line `name:hash` each.
//!
//! [`Users::read`] takes the bytes of a file, whole or not at all: a line that makes no sense is a [`Fault`] with its
//! number, and lets nobody in. [`Users::check`] says whether a password is that of a user; an unknown user takes as long
//! as a wrong password. [`PasswordHash`] is one hash, made or read; [`edit`] changes a file and leaves its other lines
//! alone.
//!
//! This crate opens no file, starts no thread and draws no salt: all are handed in. Checking takes tens of milliseconds
//! and as many megabytes, on purpose, so the caller chooses where that may be.

pub mod edit;
mod hash;
pub mod limits;
mod line;
mod users;

pub use hash::{HashError, PasswordHash, Scheme};
pub use line::{Fault, LineError, NameError, check_name};
pub use users::{Faults, Users, Verdict};
