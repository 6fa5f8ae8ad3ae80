//! The client's rules in virtual time, and its driver against a server of a few lines.
//!
//! Tests that answer to a known pain of other clients name it: `pain_NN_...` is entry NN of the list of
//! pains of clients.

mod api;
mod bench;
mod chaos;
mod chunks;
mod connect;
mod driver;
mod fake;
mod keep_alive;
mod losses;
mod policies;
mod publish;
mod receive;
mod requests;
mod store;
mod tls;
