//! What a client keeps between connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use martlet_codec::{PacketId, Qos};

use crate::history::{ConnNo, MessageNo};

/// The client's half of a session.
#[derive(Debug, Default)]
pub(super) struct ClientSession {
    /// Messages that are not finished, oldest first.
    pub(super) inflight: VecDeque<Outgoing>,
    /// QoS 2 identifiers that came and were not released, and the connections over which they came last.
    pub(super) unreleased: BTreeMap<u16, ConnNo>,
    /// What it has subscribed to, as far as it was told.
    pub(super) subscribed: BTreeSet<String>,
    /// It said Clean Start, and does not know yet whether the broker heard it.
    pub(super) must_clean: bool,
    /// The session is gone with the connection: nobody has to tell.
    pub(super) ends_with_connection: bool,
    next_id: u16,
}

/// A message that is not finished.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: PacketId,
    pub(super) message: MessageNo,
    pub(super) qos: Qos,
    /// PUBREC came: it is never published again.
    pub(super) is_released: bool,
}

impl ClientSession {
    /// An identifier that no message and none of `awaited` uses.
    pub(super) fn free_id(&mut self, awaited: &[u16]) -> PacketId {
        loop {
            self.next_id = self.next_id % 1_000 + 1;
            let id = self.next_id;
            let is_used = self.inflight.iter().any(|out| out.id.get() == id) || awaited.contains(&id);
            if let (false, Some(id)) = (is_used, PacketId::new(id)) {
                return id;
            }
        }
    }

    pub(super) fn sent(&mut self, id: PacketId, message: MessageNo, qos: Qos) {
        self.inflight.push_back(Outgoing {
            id,
            message,
            qos,
            is_released: false,
        });
    }

    pub(super) fn find(&mut self, id: PacketId) -> Option<&mut Outgoing> {
        self.inflight.iter_mut().find(|out| out.id == id)
    }

    pub(super) fn finish(&mut self, id: PacketId) {
        self.inflight.retain(|out| out.id != id);
    }

    /// Forgets all, and tells what was not finished.
    pub(super) fn reset(&mut self) -> Vec<MessageNo> {
        self.unreleased.clear();
        self.subscribed.clear();
        self.inflight.drain(..).map(|out| out.message).collect()
    }
}
