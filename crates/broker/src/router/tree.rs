//! A tree of topic levels, whose nodes are found by (parent, level) in one hash table.
//!
//! It knows no wildcards: `+` and `#` are levels like any other. What they mean, and what a node
//! carries, is the business of its two users, the [`Router`](super::Router) and the
//! [`Retained`](crate::retained::Retained) messages.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

use super::arena::Arena;
pub(crate) use super::arena::NodeId;

/// The root, which is always there: the empty path.
pub(crate) const ROOT: NodeId = NodeId::FIRST;

/// Nodes named by their path from the root.
pub(crate) struct Tree<T> {
    hashing: LevelHashing,
    nodes: Arena<Node<T>>,
    /// One table, cut into parts by the hash so that growing stalls nobody: a part grows at a time.
    parts: Box<[HashTable<Entry>]>,
}

/// A node: its place, and what its user keeps there.
pub(crate) struct Node<T> {
    level: Level,
    parent: Option<NodeId>,
    children: u32,
    pub(crate) value: T,
}

impl<T> Node<T> {
    /// `None` for the root.
    pub(crate) fn parent(&self) -> Option<NodeId> {
        self.parent
    }

    pub(crate) fn children(&self) -> u32 {
        self.children
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.level.as_bytes().first() == Some(&b'$')
    }
}

/// A child of some node. The tag is half of its hash, kept so that growing does not visit the nodes.
struct Entry {
    tag: u32,
    node: NodeId,
}

/// Hashes topic levels. Their text is chosen by strangers, so the seed is secret, and so is the multiplier:
/// against a known one, texts can be made that collide under every seed.
#[derive(Clone)]
pub(crate) struct LevelHashing {
    seed: u64,
    shared: SharedSeed,
}

/// A level with its hash.
#[derive(Clone, Copy)]
pub(crate) struct LevelKey<'a> {
    text: &'a str,
    hash: u64,
}

impl<'a> LevelKey<'a> {
    pub(crate) fn text(self) -> &'a str {
        self.text
    }

    pub(crate) fn hash(self) -> u64 {
        self.hash
    }
}

impl LevelHashing {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            shared: SharedSeed::from_u64(seed ^ 0x6d61_7274_6c65_7421),
        }
    }

    pub(crate) fn key<'a>(&self, text: &'a str) -> LevelKey<'a> {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(text.as_bytes());
        LevelKey {
            text,
            hash: hasher.finish(),
        }
    }

    /// The hash of a level under something that `above` names.
    pub(crate) fn join(&self, above: u64, level: u64) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u64(above);
        hasher.write_u64(level);
        hasher.finish()
    }
}

impl<T: Default> Tree<T> {
    /// An empty tree with a table of `parts`, a power of two.
    pub(crate) fn new(hashing: LevelHashing, parts: usize) -> Self {
        assert!(
            parts.is_power_of_two(),
            "the parts of the table are a power of two"
        );
        let mut nodes = Arena::new();
        let root = Node {
            level: Level::new(""),
            parent: None,
            children: 0,
            value: T::default(),
        };
        assert!(nodes.insert(root) == ROOT);
        Self {
            hashing,
            nodes,
            parts: (0..parts).map(|_| HashTable::new()).collect(),
        }
    }

    /// The nodes below the root.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    pub(crate) fn key<'a>(&self, text: &'a str) -> LevelKey<'a> {
        self.hashing.key(text)
    }

    pub(crate) fn child(&self, parent: NodeId, key: LevelKey<'_>) -> Option<NodeId> {
        let (part, tag) = self.place(parent, key.hash);
        let is_child = |entry: &Entry| {
            entry.tag == tag && {
                let node = &self.nodes[entry.node];
                node.parent == Some(parent) && node.level.as_bytes() == key.text.as_bytes()
            }
        };
        self.parts[part]
            .find(spread(tag), is_child)
            .map(|entry| entry.node)
    }

    /// Adds a child that is not there yet.
    pub(crate) fn add_child(&mut self, parent: NodeId, key: LevelKey<'_>) -> NodeId {
        let (part, tag) = self.place(parent, key.hash);
        let level = Level::new(key.text);
        let node = self.nodes.insert(Node {
            level,
            parent: Some(parent),
            children: 0,
            value: T::default(),
        });
        self.nodes[parent].children += 1;
        self.parts[part].insert_unique(spread(tag), Entry { tag, node }, |entry| spread(entry.tag));
        node
    }

    /// Removes a node without children; returns its parent.
    pub(crate) fn remove_leaf(&mut self, id: NodeId) -> NodeId {
        let node = self.nodes.remove(id);
        assert!(node.children == 0, "only a leaf is removed");
        let parent = node.parent.expect("the root stays");
        self.nodes[parent].children -= 1;
        let (part, tag) = self.place(parent, self.hashing.key(node.level.as_str()).hash);
        let table = &mut self.parts[part];
        let entry = table.find_entry(spread(tag), |entry| entry.node == id).ok();
        entry.expect("each node is in the table").remove();
        if table.capacity() > 32 && table.len() < table.capacity() / 4 {
            table.shrink_to(table.len() * 2, |entry| spread(entry.tag));
        }
        parent
    }

    /// The part of the table and the tag of a child.
    fn place(&self, parent: NodeId, level_hash: u64) -> (usize, u32) {
        let hash = self.hashing.join(u64::from(parent.get()), level_hash);
        ((hash >> 32) as usize & (self.parts.len() - 1), hash as u32)
    }
}

impl<T> std::ops::Index<NodeId> for Tree<T> {
    type Output = Node<T>;

    fn index(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id]
    }
}

impl<T> std::ops::IndexMut<NodeId> for Tree<T> {
    fn index_mut(&mut self, id: NodeId) -> &mut Node<T> {
        &mut self.nodes[id]
    }
}

/// The hash that a tag stands for: the table reads the low bits and the seven highest.
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

const SHORT: usize = 14;

/// The text of one level, in place when it is short: 16 bytes instead of 16 and an allocation.
enum Level {
    Short { len: u8, text: [u8; SHORT] },
    Long(Box<Box<str>>),
}

impl Level {
    fn new(text: &str) -> Self {
        if text.len() > SHORT {
            return Self::Long(Box::new(text.into()));
        }
        let mut short = [0; SHORT];
        short[..text.len()].copy_from_slice(text.as_bytes());
        Self::Short {
            len: text.len() as u8,
            text: short,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, text } => &text[..usize::from(*len)],
            Self::Long(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Short { .. } => std::str::from_utf8(self.as_bytes()).expect("it was a str"),
            Self::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree<u32> {
        Tree::new(LevelHashing::new(1), 4)
    }

    fn path(tree: &mut Tree<u32>, path: &str) -> NodeId {
        path.split('/').fold(ROOT, |node, level| {
            let hashing = tree.hashing.clone();
            let key = hashing.key(level);
            tree.child(node, key).unwrap_or_else(|| tree.add_child(node, key))
        })
    }

    #[test]
    fn a_node_is_its_path() {
        let mut tree = tree();
        let long = "a level of more than fourteen bytes";
        let paths = [
            "a",
            "a/b",
            "b",
            "b/a",
            "",
            "/",
            "a/",
            "fourteen bytes",
            "fourteen bytes+",
            long,
        ];
        let nodes: Vec<_> = paths.iter().map(|p| path(&mut tree, p)).collect();
        for (p, node) in paths.iter().zip(&nodes) {
            assert_eq!(path(&mut tree, p), *node, "{p:?}");
        }
        assert_eq!(tree.len(), paths.len());
    }

    #[test]
    fn leaves_are_removed_to_the_last() {
        let mut tree = tree();
        let mut leaves: Vec<_> = (0..5_000)
            .map(|i| path(&mut tree, &format!("x{}/y{i}", i % 7)))
            .collect();
        assert_eq!(tree.len(), 5_007);
        let mut parents: Vec<_> = leaves.drain(..).map(|leaf| tree.remove_leaf(leaf)).collect();
        parents.sort_unstable();
        parents.dedup();
        assert_eq!(parents.len(), 7);
        for parent in parents {
            assert_eq!(tree.remove_leaf(parent), ROOT);
        }
        assert_eq!((tree.len(), tree[ROOT].children()), (0, 0));
        assert!(tree.parts.iter().all(|part| part.capacity() <= 32));
    }

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Level>(), 16);
        // And a slot of the arena costs nothing on top.
        assert_eq!(size_of::<Node<[u32; 6]>>(), 48);
        assert_eq!(size_of::<Option<Node<[u32; 6]>>>(), 48);
    }
}
