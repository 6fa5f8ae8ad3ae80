//! Packet identifiers of everything that this client sends and that is not answered yet.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use martlet_codec::PacketId;

/// Identifiers in use. One space for PUBLISH, SUBSCRIBE and UNSUBSCRIBE [MQTT5-2.2.1-2].
///
/// An identifier belongs to what it was taken for until that ends, whatever becomes of the connection or
/// the server's session, so a lost session cannot make two things share one.
#[derive(Debug, Default)]
pub(super) struct PacketIds {
    last: u16,
    used: HashSet<PacketId, FixedState>,
}

impl PacketIds {
    /// Takes the next free identifier; `None` when all are in use.
    pub(super) fn take(&mut self) -> Option<PacketId> {
        if self.used.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            let id = self.step();
            if self.used.insert(id) {
                return Some(id);
            }
        }
    }

    /// Takes that one, if it is free.
    pub(super) fn reserve(&mut self, id: PacketId) -> bool {
        self.used.insert(id)
    }

    /// A number for a message of QoS 0, which has none on the wire: only for the packet log.
    pub(super) fn step(&mut self) -> PacketId {
        self.last = self.last.wrapping_add(1).max(1);
        PacketId::new(self.last).expect("at least 1")
    }

    /// What it was taken for has ended.
    pub(super) fn free(&mut self, id: PacketId) {
        let was_used = self.used.remove(&id);
        debug_assert!(was_used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_wrap_and_skip_what_is_used() {
        let mut ids = PacketIds::default();
        let stuck = ids.take().unwrap();
        assert_eq!(stuck.get(), 1);
        for n in 2..=u16::MAX {
            let id = ids.take().unwrap();
            assert_eq!(id.get(), n);
            ids.free(id);
        }
        assert_eq!(ids.take().unwrap().get(), 2);
        while ids.take().is_some() {}
        ids.free(stuck);
        assert_eq!(ids.take(), Some(stuck));
        assert_eq!(ids.take(), None);
    }
}
