//! A request that was taken in: its tokens, and the blocks that hold their keys and values.

use tensor::BLOCK;

use crate::blocks::{Blocks, Key, key};
use crate::postprocess::Voice;
use crate::{Adapter, Request};

/// A request that was taken in. What it still has to read is `tokens[held..]`, a prompt or its last token alike.
pub(crate) struct Sequence {
    /// In the order in which requests came.
    pub(crate) number: u64,
    pub(crate) adapter: Adapter,
    /// Whom to be fair to.
    pub(crate) key: String,
    /// The prompt and the answer so far.
    pub(crate) tokens: Vec<u32>,
    /// How many of them are the prompt's.
    pub(crate) prompt: usize,
    /// Those whose keys and values lie in `table`.
    pub(crate) held: usize,
    /// Its blocks, with room for more than is held.
    pub(crate) table: Vec<u32>,
    /// How many of its blocks are known by their contents.
    known: usize,
    /// Keys of its full blocks, as far as they were asked for.
    keys: Vec<Key>,
    pub(crate) voice: Voice,
}

impl Sequence {
    pub(crate) fn new(number: u64, request: Request, voice: Voice) -> Self {
        Self {
            number,
            adapter: request.adapter,
            key: request.key.unwrap_or_default(),
            prompt: request.prompt.len(),
            tokens: request.prompt,
            held: 0,
            table: Vec::new(),
            known: 0,
            keys: Vec::new(),
            voice,
        }
    }

    /// Tokens that it still has to read; the last of them tells the next.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.held
    }

    /// Whether it has read all but the token that it chose last.
    pub(crate) fn writes(&self) -> bool {
        self.pending() == 1 && self.tokens.len() > self.prompt
    }

    /// Key of a block that its tokens fill.
    pub(crate) fn key_of(&mut self, block: usize) -> Key {
        while self.keys.len() <= block {
            let at = self.keys.len() * BLOCK;
            let tokens = &self.tokens[at..at + BLOCK];
            self.keys.push(key(self.keys.last(), self.adapter, tokens));
        }
        self.keys[block]
    }

    /// Blocks from the beginning whose contents may come from elsewhere: full ones, without the last token, which must be
    /// read to tell the next, and none where the prompt's own log-probabilities are asked for.
    fn shareable(&self) -> usize {
        if self.voice.wants_prompt() {
            return 0;
        }
        (self.tokens.len() - 1) / BLOCK
    }

    /// Takes blocks for all its tokens, known ones as far as there are and `share` says so. False, and nothing taken, where
    /// fewer than `spare` would be left.
    pub(crate) fn take_blocks(&mut self, blocks: &mut Blocks, share: bool, spare: usize) -> bool {
        let shareable = if share { self.shareable() } else { 0 };
        while self.table.len() < shareable {
            let key = self.key_of(self.table.len());
            match blocks.find(&key) {
                Some(block) => self.table.push(block),
                None => break,
            }
        }
        let missing = self.tokens.len().div_ceil(BLOCK) - self.table.len();
        if blocks.available() < missing + spare {
            blocks.let_go_all(&mut self.table);
            return false;
        }
        self.known = self.table.len();
        self.held = self.known * BLOCK;
        self.table
            .extend((0..missing).filter_map(|_| blocks.take()));
        true
    }

    /// Takes the place of what others have read meanwhile. Returns the key of the block to be read next, if it may be shared.
    pub(crate) fn skip_known(&mut self, blocks: &mut Blocks) -> Option<Key> {
        while self.held.is_multiple_of(BLOCK) && self.held / BLOCK < self.shareable() {
            let block = self.held / BLOCK;
            let key = self.key_of(block);
            let Some(found) = blocks.find(&key) else {
                return Some(key);
            };
            blocks.let_go(std::mem::replace(&mut self.table[block], found));
            self.held += BLOCK;
            self.known = block + 1;
        }
        None
    }

    /// Room for `tokens` tokens in all. False where there are no blocks left.
    pub(crate) fn reach(&mut self, blocks: &mut Blocks, tokens: usize) -> bool {
        while self.table.len() * BLOCK < tokens {
            match blocks.take() {
                Some(block) => self.table.push(block),
                None => return false,
            }
        }
        true
    }

    /// Makes the blocks known that its `held` tokens fill.
    pub(crate) fn remember(&mut self, blocks: &mut Blocks) {
        while (self.known + 1) * BLOCK <= self.held {
            let key = self.key_of(self.known);
            self.table[self.known] = blocks.remember(self.table[self.known], key);
            self.known += 1;
        }
    }

    /// Lets go of all blocks. What it read is read again, unless the blocks are still known by then.
    pub(crate) fn let_go(&mut self, blocks: &mut Blocks) {
        blocks.let_go_all(&mut self.table);
        (self.held, self.known) = (0, 0);
    }
}
