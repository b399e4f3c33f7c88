//! What an engine is doing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ends that the pace is taken over.
const ENDS: usize = 64;
/// Nobody is told to come back later than this.
const LATEST: Duration = Duration::from_secs(600);

/// What an engine is doing, as of its latest pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks of keys and values in all.
    pub blocks: usize,
    /// Those that sequences under way hold.
    pub blocks_in_use: usize,
    /// Those that hold nothing.
    pub blocks_free: usize,
    /// Those that nobody holds and whose contents may yet be used again.
    pub blocks_cached: usize,
    /// Those that were forgotten for their place, since the start.
    pub blocks_evicted: u64,
    /// Requests that wait.
    pub waiting: usize,
    /// Sequences under way.
    pub running: usize,
    /// Passes through the model, since the start.
    pub passes: u64,
    /// Tokens that passes read, since the start.
    pub tokens_read: u64,
    /// Tokens of answers, since the start.
    pub tokens_written: u64,
    /// Tokens of prompts that came, since the start.
    pub prompt_tokens: u64,
    /// Those of them whose keys and values were there already.
    pub prompt_tokens_shared: u64,
    /// Tokens guessed ahead, since the start.
    pub tokens_guessed: u64,
    /// Those of them that were right.
    pub tokens_guessed_right: u64,
    /// Sequences that made room for earlier ones and began again, since the start.
    pub set_back: u64,
    /// Requests that were cancelled, since the start.
    pub cancelled: u64,
}

/// What the engine's thread tells its handles.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<(Stats, Pace)>);

#[derive(Debug, Default)]
struct Pace(VecDeque<Instant>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, (Stats, Pace)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> Stats {
        self.lock().0.clone()
    }

    pub(crate) fn write(&self, stats: Stats) {
        self.lock().0 = stats;
    }

    /// An answer has ended.
    pub(crate) fn ended(&self) {
        let pace = &mut self.lock().1.0;
        pace.push_back(Instant::now());
        if pace.len() > ENDS {
            pace.pop_front();
        }
    }

    /// About how long it takes until `waiting` requests are through, in whole seconds, at least one.
    pub(crate) fn retry_after(&self, waiting: usize) -> Duration {
        let pace = &self.lock().1.0;
        let each = match (pace.front(), pace.back()) {
            (Some(first), Some(last)) if pace.len() > 1 => {
                (*last - *first) / (pace.len() as u32 - 1)
            }
            _ => Duration::ZERO,
        };
        let whole = each
            .saturating_mul(waiting as u32)
            .min(LATEST)
            .as_secs_f64()
            .ceil();
        Duration::from_secs((whole as u64).max(1))
    }
}
