//! Nodes in chunks, named by 32 bits.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// Names a node of an [`Arena`]. An `Option` of it takes no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    /// The first node that goes into an empty arena.
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    fn new(chunk: usize, slot: usize) -> Self {
        let index = u32::try_from(chunk * CHUNK + slot).ok();
        let number = index.and_then(|i| NonZeroU32::new(i.wrapping_add(1)));
        Self(number.expect("an arena holds fewer than 2^32 nodes"))
    }

    fn split(self) -> (usize, usize) {
        let index = self.0.get() as usize - 1;
        (index / CHUNK, index % CHUNK)
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get()
    }
}

/// Slots per chunk.
const CHUNK: usize = 256;
/// Ends the list of free slots.
const NO_SLOT: u16 = u16::MAX;

/// A growing store of nodes. It grows by a chunk at a time, so that no insertion copies a million nodes,
/// and a chunk whose nodes are all gone goes back to the allocator. New nodes go to the first chunk with
/// room, so that the chunks at the end can empty.
pub(crate) struct Arena<N> {
    chunks: Vec<Chunk<N>>,
    /// The chunks that have room.
    open: BTreeSet<usize>,
    len: usize,
}

struct Chunk<N> {
    slots: Vec<Slot<N>>,
    /// The head of the list of free slots.
    free: u16,
    live: u16,
}

enum Slot<N> {
    Used(N),
    /// With the next free slot.
    Free(u16),
}

impl<N> Chunk<N> {
    const EMPTY: Self = Self {
        slots: Vec::new(),
        free: NO_SLOT,
        live: 0,
    };

    fn insert(&mut self, node: N) -> usize {
        self.live += 1;
        let slot = usize::from(self.free);
        let Some(place) = self.slots.get_mut(slot) else {
            self.slots.push(Slot::Used(node));
            return self.slots.len() - 1;
        };
        let Slot::Free(next) = *place else {
            panic!("a slot in the free list is free")
        };
        self.free = next;
        *place = Slot::Used(node);
        slot
    }

    fn remove(&mut self, slot: usize) -> N {
        let freed = std::mem::replace(&mut self.slots[slot], Slot::Free(self.free));
        let Slot::Used(node) = freed else {
            panic!("a node is removed once")
        };
        self.free = slot as u16;
        self.live -= 1;
        if self.live == 0 {
            *self = Self::EMPTY;
        }
        node
    }

    fn is_full(&self) -> bool {
        usize::from(self.live) == CHUNK
    }
}

impl<N> Arena<N> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            open: BTreeSet::new(),
            len: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, node: N) -> NodeId {
        let at = self.open.first().copied().unwrap_or_else(|| {
            self.chunks.push(Chunk::EMPTY);
            self.open.insert(self.chunks.len() - 1);
            self.chunks.len() - 1
        });
        let slot = self.chunks[at].insert(node);
        if self.chunks[at].is_full() {
            self.open.remove(&at);
        }
        self.len += 1;
        NodeId::new(at, slot)
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> N {
        let (at, slot) = id.split();
        if self.chunks[at].is_full() {
            self.open.insert(at);
        }
        let node = self.chunks[at].remove(slot);
        self.len -= 1;
        while self.chunks.last().is_some_and(|chunk| chunk.live == 0) {
            self.chunks.pop();
            self.open.remove(&self.chunks.len());
        }
        if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        node
    }
}

impl<N> std::ops::Index<NodeId> for Arena<N> {
    type Output = N;

    fn index(&self, id: NodeId) -> &N {
        let (at, slot) = id.split();
        match &self.chunks[at].slots[slot] {
            Slot::Used(node) => node,
            Slot::Free(_) => panic!("a link names a node that lives"),
        }
    }
}

impl<N> std::ops::IndexMut<NodeId> for Arena<N> {
    fn index_mut(&mut self, id: NodeId) -> &mut N {
        let (at, slot) = id.split();
        match &mut self.chunks[at].slots[slot] {
            Slot::Used(node) => node,
            Slot::Free(_) => panic!("a link names a node that lives"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_chunks_are_given_back() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..10_000).map(|i| arena.insert(i)).collect();
        assert_eq!(ids[0], NodeId::FIRST);
        assert_eq!((arena.len(), arena.chunks.len()), (10_000, 40));
        assert!(ids.iter().enumerate().all(|(i, id)| arena[*id] == i));
        // All but the first and the last: the chunks between are empty, but keep their numbers.
        for (i, id) in ids.iter().enumerate().skip(1).take(9_998) {
            assert_eq!(arena.remove(*id), i);
        }
        assert_eq!(arena.chunks.iter().filter(|c| c.slots.capacity() > 0).count(), 2);
        // What comes next goes to the front.
        assert_eq!(arena.insert(7).split().0, 0);
        arena.remove(ids[9_999]);
        assert_eq!(arena.chunks.len(), 1);
        assert!(arena.chunks.capacity() <= 64);
    }

    #[test]
    fn freed_slots_are_used_again() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..300).map(|i| arena.insert(i)).collect();
        arena.remove(ids[5]);
        arena.remove(ids[9]);
        let again = [arena.insert(0), arena.insert(0)];
        assert_eq!(again, [ids[9], ids[5]]);
        assert_eq!(arena.insert(0).split(), (1, 44));
    }
}
