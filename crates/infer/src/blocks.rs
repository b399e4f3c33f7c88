//! The pool of blocks that keys and values lie in (after Kwon et al., "Efficient Memory Management for Large Language Model
//! Serving with PagedAttention", 2023): who holds which, and which are known by what they contain.
//!
//! A block's key is a hash of its tokens, of its parent's key and of the adapters, so that it stands for everything that its
//! keys and values follow from: two sequences that agree up to the end of a block may hold the same one. A block that
//! nobody holds stays known until its place is needed; those let go longest ago are the first to be forgotten.

use std::collections::{BTreeMap, HashMap};

use crate::Adapter;

/// What a block contains, and behind what.
pub(crate) type Key = blake3::Hash;

/// The key of a full block of `tokens`.
pub(crate) fn key(parent: Option<&Key>, adapter: Adapter, tokens: &[u32]) -> Key {
    let mut hash = blake3::Hasher::new();
    match parent {
        Some(parent) => hash.update(parent.as_bytes()),
        None => hash.update(&match adapter {
            Adapter::Own => [0; 9],
            Adapter::None => [1; 9],
            Adapter::Number(number) => {
                let mut name = [2; 9];
                name[1..].copy_from_slice(&(number as u64).to_le_bytes());
                name
            }
        }),
    };
    for token in tokens {
        hash.update(&token.to_le_bytes());
    }
    hash.finalize()
}

#[derive(Clone, Debug, Default)]
struct Block {
    holders: u32,
    key: Option<Key>,
    /// When the last holder let go of it.
    let_go: u64,
}

/// A fixed number of blocks.
#[derive(Debug)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    /// Blocks from here on were never used.
    fresh: usize,
    /// Used before, held by nobody, not known.
    free: Vec<u32>,
    known: HashMap<Key, u32>,
    /// Known and held by nobody, by when they were let go.
    idle: BTreeMap<u64, u32>,
    clock: u64,
    evicted: u64,
}

impl Blocks {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            blocks: vec![Block::default(); count],
            fresh: 0,
            free: Vec::new(),
            known: HashMap::new(),
            idle: BTreeMap::new(),
            clock: 0,
            evicted: 0,
        }
    }

    /// All of them.
    pub(crate) fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Those that nobody holds and nothing is known of.
    pub(crate) fn free(&self) -> usize {
        self.free.len() + self.blocks.len() - self.fresh
    }

    /// Those that nobody holds and that may yet be found.
    pub(crate) fn cached(&self) -> usize {
        self.idle.len()
    }

    /// Those that could be taken now.
    pub(crate) fn available(&self) -> usize {
        self.free() + self.cached()
    }

    /// Those that were forgotten for their place so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A block for a new holder: a free one, or the place of the one let go longest ago.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let block = if let Some(block) = self.free.pop() {
            block
        } else if self.fresh < self.blocks.len() {
            self.fresh += 1;
            (self.fresh - 1) as u32
        } else {
            let (_, block) = self.idle.pop_first()?;
            if let Some(key) = self.blocks[block as usize].key.take() {
                self.known.remove(&key);
            }
            self.evicted += 1;
            block
        };
        self.blocks[block as usize].holders = 1;
        Some(block)
    }

    /// The known block with these contents, for one more holder.
    pub(crate) fn find(&mut self, key: &Key) -> Option<u32> {
        let block = *self.known.get(key)?;
        let found = &mut self.blocks[block as usize];
        if found.holders == 0 {
            self.idle.remove(&found.let_go);
        }
        found.holders += 1;
        Some(block)
    }

    /// Makes a full block known. Returns the block to hold from now on: where another was known by this key, that one, and
    /// `block` is let go of.
    pub(crate) fn remember(&mut self, block: u32, key: Key) -> u32 {
        match self.find(&key) {
            Some(known) if known != block => {
                self.let_go(block);
                known
            }
            Some(known) => {
                self.let_go(known);
                known
            }
            None => {
                self.known.insert(key, block);
                self.blocks[block as usize].key = Some(key);
                block
            }
        }
    }

    /// One holder less.
    pub(crate) fn let_go(&mut self, block: u32) {
        let left = &mut self.blocks[block as usize];
        left.holders -= 1;
        if left.holders > 0 {
            return;
        }
        if left.key.is_some() {
            self.clock += 1;
            left.let_go = self.clock;
            self.idle.insert(self.clock, block);
        } else {
            self.free.push(block);
        }
    }

    /// One holder less for each block of a sequence; its end is forgotten before its beginning.
    pub(crate) fn let_go_all(&mut self, table: &mut Vec<u32>) {
        for block in table.drain(..).rev() {
            self.let_go(block);
        }
    }

    /// Forgets all that is known, when what the blocks contain is in doubt.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.free.extend(self.idle.values());
        self.idle.clear();
        for block in &mut self.blocks {
            block.key = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(tokens: &[u32]) -> Key {
        key(None, Adapter::Own, tokens)
    }

    #[test]
    fn keys_tell_tokens_parents_and_adapters_apart() {
        let parent = key_of(&[1]);
        let keys = [
            key_of(&[1, 2]),
            key_of(&[2, 1]),
            key(None, Adapter::None, &[1, 2]),
            key(None, Adapter::Number(0), &[1, 2]),
            key(None, Adapter::Number(1), &[1, 2]),
            key(Some(&parent), Adapter::Own, &[1, 2]),
        ];
        for (i, one) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn what_was_let_go_longest_ago_is_forgotten_first() {
        let mut blocks = Blocks::new(2);
        let (a, b) = (blocks.take().unwrap(), blocks.take().unwrap());
        assert_eq!(blocks.take(), None);
        assert_eq!(
            (
                blocks.remember(a, key_of(&[1])),
                blocks.remember(b, key_of(&[2]))
            ),
            (a, b)
        );
        blocks.let_go_all(&mut vec![a, b]); // b first
        assert_eq!((blocks.free(), blocks.cached()), (0, 2));
        assert_eq!(blocks.take(), Some(b));
        assert_eq!(blocks.find(&key_of(&[2])), None);
        assert_eq!(blocks.find(&key_of(&[1])), Some(a));
        assert_eq!((blocks.take(), blocks.evicted()), (None, 1));
    }

    #[test]
    fn equal_contents_become_one_block() {
        let mut blocks = Blocks::new(3);
        let (a, b) = (blocks.take().unwrap(), blocks.take().unwrap());
        assert_eq!(blocks.remember(a, key_of(&[1])), a);
        assert_eq!(blocks.remember(a, key_of(&[1])), a);
        assert_eq!(blocks.remember(b, key_of(&[1])), a);
        assert_eq!((blocks.available(), blocks.cached()), (2, 0));
        blocks.let_go(a);
        assert_eq!((blocks.available(), blocks.cached()), (2, 0));
        blocks.let_go(a);
        assert_eq!((blocks.available(), blocks.cached()), (3, 1));
        blocks.forget();
        assert_eq!((blocks.free(), blocks.find(&key_of(&[1]))), (3, None));
    }
}
