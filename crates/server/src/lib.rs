//! A broker as a process: threads, sockets, configuration.

pub mod config;
pub mod error;
pub mod limits;
