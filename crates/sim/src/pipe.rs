//! A connection between a client and the broker, with what is under way in both directions.

use std::collections::VecDeque;

use martlet_broker::{ConnId, Relocated};

use crate::history::ClientNo;
use crate::plant::wire::Wire;

/// A connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) client: ClientNo,
    /// Where it is at the broker.
    pub(crate) end: BrokerEnd,
    /// From the client to the broker.
    pub(crate) up: Stream,
    /// From the broker to the client.
    pub(crate) down: Stream,
    /// The client left it behind: what comes is read by nobody.
    pub(crate) is_abandoned: bool,
    /// A client that reads slowly reads then.
    pub(crate) next_read_ms: u64,
    /// What the bytes go through at the broker's end.
    pub(crate) wire: Wire,
}

impl Pipe {
    /// Whether client and broker have it, and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let is_open = matches!(
            self.end,
            BrokerEnd::Open {
                closes_by_ms: None,
                ..
            }
        );
        is_open && !self.is_abandoned && self.up.is_empty() && self.down.is_empty()
    }
}

/// The broker's end of a connection.
#[derive(Debug)]
pub(crate) enum BrokerEnd {
    /// On its way, or between two shards.
    Moving {
        shard: u16,
        relocated: Option<Relocated>,
    },
    /// A shard has it.
    Open {
        shard: u16,
        id: ConnId,
        /// Closed when its output is written, at the latest then.
        closes_by_ms: Option<u64>,
    },
    /// It is gone.
    Closed,
}

/// Bytes in one direction.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Pieces and when they arrive, in order.
    pieces: VecDeque<(u64, Piece)>,
    last_ms: u64,
    /// Bytes that are under way or have arrived and were not read.
    pub(crate) bytes: usize,
    /// Nothing goes in any more.
    pub(crate) is_shut: bool,
}

/// Something that travels.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    /// The other end closed.
    End,
}

impl Stream {
    pub(crate) fn push(&mut self, arrives_ms: u64, piece: Piece) -> u64 {
        // Nothing overtakes within a direction.
        self.last_ms = self.last_ms.max(arrives_ms);
        if let Piece::Bytes(bytes) = &piece {
            self.bytes += bytes.len();
        }
        self.pieces.push_back((self.last_ms, piece));
        self.last_ms
    }

    /// The next piece that has arrived.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<Piece> {
        self.pieces.front().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        let (_, piece) = self.pieces.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            self.bytes -= bytes.len();
        }
        Some(piece)
    }

    /// The same, of bytes at most so many.
    pub(crate) fn pop_some(&mut self, now_ms: u64, most: usize) -> Option<Piece> {
        let (_, Piece::Bytes(bytes)) = self.pieces.front_mut().filter(|(at_ms, _)| *at_ms <= now_ms)? else {
            return self.pop(now_ms);
        };
        if bytes.len() <= most {
            return self.pop(now_ms);
        }
        let rest = bytes.split_off(most);
        self.bytes -= most;
        Some(Piece::Bytes(std::mem::replace(bytes, rest)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All is lost; nothing goes in any more.
    pub(crate) fn lose(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
        self.is_shut = true;
    }
}
