//! The broker's end of a connection, where packets can be changed as a bug would change them.

use super::Bug;

/// What the bytes of one connection go through.
#[derive(Debug)]
pub(crate) struct Wire {
    bug: Option<Bug>,
}

impl Wire {
    pub(crate) fn new(bug: Option<Bug>, _seed: u64) -> Self {
        Self { bug }
    }

    pub(crate) fn up(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    pub(crate) fn down(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    pub(crate) fn take_injected(&mut self) -> Vec<u8> {
        Vec::new()
    }

    pub(crate) fn take_answers(&mut self) -> Vec<u8> {
        Vec::new()
    }
}
