//! The rules of a broker as text: what clients send, what they get, and nothing else.
//!
//! A [`scenario::File`] is parsed from `*.txt` beside this crate; [`run::run`] plays one scenario against a
//! [`Harness`] (a broker without sockets, in virtual time) and compares line by line. [`notation`] turns
//! a line into the bytes of a packet and a packet into a line. The expectations are written by hand
//! from the rules; `UPDATE=1` rewrites those that differ, for a reader to judge.
//!
//! This crate knows no broker: the test binary brings one.

pub mod bytes;
pub mod lex;
pub mod notation;
pub mod run;
pub mod scenario;
mod write;

/// A broker under test, without sockets and with a clock that stands still.
pub trait Harness {
    /// Opens a connection.
    fn open(&mut self) -> usize;
    /// Bytes of the client arrive, all at once; what they cause happens before this returns.
    fn bytes(&mut self, conn: usize, bytes: &[u8]);
    /// The connection breaks.
    fn cut(&mut self, conn: usize);
    /// Time passes; each deadline on the way is met at its time.
    fn advance(&mut self, ms: u64);
    /// The broker is told to stop gracefully.
    fn stop(&mut self);
    /// From now on the store keeps nothing that it is given, or does again.
    fn store_fails(&mut self, fails: bool);
    /// What the broker wrote to the connection since the last call.
    fn output(&mut self, conn: usize) -> Vec<u8>;
    /// Whether the broker closed the connection.
    fn closed(&self, conn: usize) -> bool;
}
