//! How much an engine takes on.

use models::decoder::Config;
use tensor::{BLOCK, KvBlocks};

/// Assumed where the system does not tell what is free.
const FREE_UNLESS_TOLD: usize = 4 << 30;
/// Of the free memory, what keys and values may fill.
const SHARE_OF_FREE: usize = 4;

/// How much an engine takes on. None of it changes what any answer says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many sequences move on together.
    pub sequences: usize,
    /// About how many tokens one pass through the model reads, those of answers under way and of prompts together. More
    /// make reading faster, and answers under way wait longer for their next token.
    pub pass_tokens: usize,
    /// How many blocks of [`tensor::BLOCK`] tokens there are for keys and values; at least one sequence of the model's
    /// context always fits. Unless told, a quarter of the memory that is free at the start, and no more than all sequences
    /// together can fill.
    pub blocks: Option<usize>,
    /// How many bytes the blocks may fill, in place of that quarter; `blocks` goes before it.
    pub memory: Option<usize>,
    /// How many requests may wait; more are refused with [`Error::Overloaded`](crate::Error::Overloaded). Unless told, any
    /// number.
    pub queue: Option<usize>,
    /// Whether sequences that begin alike share blocks.
    pub share_prefixes: bool,
    /// The most tokens that are guessed ahead of an answer, from what followed the same tokens before; 0 guesses none. Few are
    /// guessed where many answers are under way.
    pub lookup: usize,
    /// The most tokens that a draft model guesses ahead of an answer, where there is one and look-up finds nothing.
    pub draft: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sequences: 32,
            pass_tokens: 512,
            blocks: None,
            memory: None,
            queue: None,
            share_prefixes: true,
            lookup: 4,
            draft: 4,
        }
    }
}

impl Settings {
    /// How many blocks there are for a model, with a draft model beside it perhaps.
    pub(crate) fn blocks_for(&self, config: &Config, draft: Option<&Config>) -> usize {
        let whole = config.context().div_ceil(BLOCK);
        let bytes = |config: &Config| {
            let of_layer = KvBlocks::bytes_of_block(config.num_key_value_heads, config.head_dim);
            of_layer * config.num_hidden_layers
        };
        let bytes = bytes(config) + draft.map_or(0, bytes);
        let count = self.blocks.unwrap_or_else(|| {
            let memory = self.memory.unwrap_or_else(|| free_memory() / SHARE_OF_FREE);
            let affordable = memory / bytes.max(1);
            affordable.min(self.sequences.max(1).saturating_mul(whole))
        });
        // Block numbers and positions are counted in 32 bits.
        count.clamp(whole, u32::MAX as usize / BLOCK)
    }
}

/// Bytes of memory that the system could give, within the limit of a container where there is one.
fn free_memory() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let available = read("/proc/meminfo").lines().find_map(|line| {
        let kilobytes = line
            .strip_prefix("MemAvailable:")?
            .trim()
            .strip_suffix(" kB")?;
        kilobytes.parse::<usize>().ok()
    });
    let number = |path: &str| read(path).trim().parse::<usize>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current");
    let within = limit
        .zip(used)
        .map_or(usize::MAX, |(limit, used)| limit.saturating_sub(used));
    available
        .map_or(FREE_UNLESS_TOLD, |kilobytes| kilobytes << 10)
        .min(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_always_fits_and_no_more_than_all() {
        let config = Config::from_depth(2, 300, 100);
        let few = Settings {
            blocks: Some(1),
            ..Settings::default()
        };
        assert_eq!(few.blocks_for(&config, None), 4);
        let bytes_of_five = Settings {
            memory: Some(
                5 * 2 * KvBlocks::bytes_of_block(config.num_key_value_heads, config.head_dim),
            ),
            ..Settings::default()
        };
        assert_eq!(bytes_of_five.blocks_for(&config, None), 5);
        let unless_told = Settings::default();
        assert_eq!(unless_told.blocks_for(&config, None), 32 * 4);
    }
}
