//! Where things lie.

use std::fmt;

/// Where a record lies. Twelve bytes, so that an index of many millions stays small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The number of the segment.
    pub segment: u32,
    /// Where in it the record's header begins, in bytes.
    pub offset: u32,
    /// The length of what the caller put, in bytes.
    pub bytes: u32,
}

/// A point of the log: everything before it, nothing after it. Positions only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position {
    /// The number of the segment; 0 is before the first.
    pub segment: u32,
    /// In bytes, within the segment.
    pub offset: u32,
}

impl Place {
    /// What the record takes in the segment, its header with it.
    pub(crate) fn record_bytes(self) -> u64 {
        u64::from(self.bytes) + crate::frame::RECORD_HEADER_BYTES as u64
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:08x}:{}", self.bytes, self.segment, self.offset)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{}", self.segment, self.offset)
    }
}
