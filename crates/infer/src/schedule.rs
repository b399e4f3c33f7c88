//! What the next pass through the model reads. Answers under way come first, a token each; what is left of the pass goes to
//! prompts, in the order in which they were taken in, whole or in parts. None of these decisions can be seen in an answer.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use tensor::BLOCK;

use crate::answer::Listener;
use crate::blocks::Blocks;
use crate::lookup;
use crate::postprocess::Voice;
use crate::queue::Queue;
use crate::run::Reading;
use crate::sequence::Sequence;
use crate::{Error, Request, Settings, Stats};

/// Guesses are worth their while up to so many tokens of a pass.
const GUESSING: usize = 16;

/// A request that waits.
struct Waiting {
    since: Instant,
    deadline: Option<Instant>,
    sequence: Sequence,
}

/// One sequence's part of a pass: `tokens` of its own, then guesses.
pub(crate) struct Part {
    /// Index of the sequence.
    pub(crate) sequence: usize,
    pub(crate) tokens: usize,
    pub(crate) guesses: Vec<u32>,
    /// Where it has no guesses, how many a draft model may add.
    pub(crate) most: usize,
}

impl Part {
    /// How many rows it has in the pass.
    pub(crate) fn rows(&self) -> usize {
        self.tokens + self.guesses.len()
    }

    /// What is to be read.
    pub(crate) fn reading(&self, running: &[Sequence]) -> Reading {
        let sequence = &running[self.sequence];
        let own = &sequence.tokens[sequence.held..sequence.held + self.tokens];
        Reading {
            tokens: own.iter().chain(&self.guesses).copied().collect(),
            start: sequence.held,
            blocks: sequence.table.clone(),
            adapter: sequence.adapter,
        }
    }
}

/// The requests, and the blocks that they share out among them.
pub(crate) struct Schedule {
    settings: Settings,
    pub(crate) blocks: Blocks,
    queue: Queue<Waiting>,
    /// Made room for earlier ones; they go before all that wait.
    set_back: VecDeque<Sequence>,
    /// Under way, in the order in which they were taken in.
    pub(crate) running: Vec<Sequence>,
    pub(crate) stats: Stats,
}

impl Schedule {
    pub(crate) fn new(settings: Settings, blocks: usize) -> Self {
        let settings = Settings {
            pass_tokens: settings.pass_tokens.max(1),
            sequences: settings.sequences.max(1),
            ..settings
        };
        Self {
            settings,
            blocks: Blocks::new(blocks),
            queue: Queue::new(),
            set_back: VecDeque::new(),
            running: Vec::new(),
            stats: Stats::default(),
        }
    }

    pub(crate) fn push(&mut self, number: u64, since: Instant, request: Request, voice: Voice) {
        let deadline = request.deadline;
        let sequence = Sequence::new(number, request, voice);
        let key = sequence.key.clone();
        let waiting = Waiting {
            since,
            deadline,
            sequence,
        };
        self.queue.push(&key, waiting);
    }

    /// Requests that have not begun.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.len() + self.set_back.len() + self.running.len() == 0
    }

    /// What the next pass reads; nothing only when there is nothing to do.
    pub(crate) fn next(&mut self) -> Vec<Part> {
        self.drop_cancelled();
        self.drop_expired();
        self.take_in();
        let mut parts = self.writing();
        let read: usize = parts
            .iter()
            .map(|part| part.rows().max(part.tokens + part.most))
            .sum();
        // However many write, prompts get on.
        let left = self
            .settings
            .pass_tokens
            .saturating_sub(read)
            .max(BLOCK.min(self.settings.pass_tokens));
        parts.extend(self.reading(left));
        parts.sort_by_key(|part| part.sequence);
        parts
    }

    /// A token of each answer under way, with guesses behind it.
    fn writing(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut index = 0;
        while index < self.running.len() {
            if !self.running[index].writes() {
                index += 1;
                continue;
            }
            let needed = self.running[index].tokens.len();
            while index < self.running.len() && !self.running[index].reach(&mut self.blocks, needed)
            {
                self.set_last_back();
            }
            if index < self.running.len() {
                parts.push(Part {
                    sequence: index,
                    tokens: 1,
                    guesses: Vec::new(),
                    most: 0,
                });
            }
            index += 1;
        }
        let room = GUESSING.saturating_sub(parts.len()) / parts.len().max(1);
        for part in &mut parts {
            self.make_room_for_guesses(part, room);
        }
        parts
    }

    /// Guesses by look-up, at most `room`, or else makes room for a draft model's.
    fn make_room_for_guesses(&mut self, part: &mut Part, room: usize) {
        let sequence = &mut self.running[part.sequence];
        let room = room.min(sequence.voice.left().saturating_sub(1));
        let most = self.settings.lookup.min(room);
        let guesses = lookup::guess(&sequence.tokens, most).to_vec();
        let most = match guesses.len() {
            0 => self.settings.draft.min(room),
            found => found,
        };
        // Guesses take no block from what others may find.
        let needed = sequence.tokens.len() + most;
        let missing = needed.div_ceil(BLOCK).saturating_sub(sequence.table.len());
        if missing <= self.blocks.free() && sequence.reach(&mut self.blocks, needed) {
            (part.guesses, part.most) = (guesses, most);
        }
    }

    /// Parts of prompts, `left` tokens together.
    fn reading(&mut self, mut left: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        // Blocks that others read in this pass; who needs the same waits for them.
        let mut under_way = HashSet::new();
        for index in 0..self.running.len() {
            let sequence = &mut self.running[index];
            if left == 0 || sequence.writes() {
                continue;
            }
            if self.settings.share_prefixes {
                let before = sequence.held;
                let next = sequence.skip_known(&mut self.blocks);
                self.stats.prompt_tokens_shared += (sequence.held - before) as u64;
                if next.is_some_and(|key| under_way.contains(&key)) {
                    continue;
                }
            }
            let tokens = sequence.pending().min(left);
            let full = sequence.held / BLOCK..(sequence.held + tokens) / BLOCK;
            under_way.extend(full.map(|block| sequence.key_of(block)));
            left -= tokens;
            parts.push(Part {
                sequence: index,
                tokens,
                guesses: Vec::new(),
                most: 0,
            });
        }
        parts
    }

    /// Takes in what there is room for.
    fn take_in(&mut self) {
        while self.running.len() < self.settings.sequences {
            // A block for each that is under way, lest it has to be set back at its next border.
            let spare = self.running.len();
            let share = self.settings.share_prefixes;
            if let Some(sequence) = self.set_back.front_mut() {
                if !sequence.take_blocks(&mut self.blocks, share, spare) {
                    return;
                }
                self.running.extend(self.set_back.pop_front());
                continue;
            }
            let blocks = &mut self.blocks;
            let fits = |waiting: &mut Waiting| waiting.sequence.take_blocks(blocks, share, spare);
            let Some(Waiting { sequence, .. }) = self.queue.pop_if(fits) else {
                return;
            };
            self.stats.prompt_tokens += sequence.prompt as u64;
            self.stats.prompt_tokens_shared += sequence.held as u64;
            self.queue.charge(&sequence.key, sequence.prompt);
            self.running.push(sequence);
        }
    }

    /// The one taken in last makes room, and begins again later. The first is never set back, so there is always one that
    /// gets on.
    fn set_last_back(&mut self) {
        if let Some(mut sequence) = self.running.pop() {
            sequence.let_go(&mut self.blocks);
            self.stats.set_back += 1;
            self.set_back.push_front(sequence);
        }
    }

    /// A part was read: `held` tokens of the sequence lie in its blocks, of which `written` are new ones of the answer.
    pub(crate) fn read(&mut self, index: usize, held: usize, written: usize) {
        let sequence = &mut self.running[index];
        sequence.held = held;
        self.queue.charge(&sequence.key, written);
        self.stats.tokens_written += written as u64;
        if self.settings.share_prefixes {
            sequence.remember(&mut self.blocks);
        }
    }

    /// Ends the sequences for which `over` says so. Their blocks stay known until their place is needed.
    pub(crate) fn end(&mut self, mut over: impl FnMut(&Sequence) -> bool) {
        let running = std::mem::take(&mut self.running);
        for mut sequence in running {
            if over(&sequence) {
                sequence.let_go(&mut self.blocks);
                self.queue.end(&sequence.key);
            } else {
                self.running.push(sequence);
            }
        }
    }

    fn drop_cancelled(&mut self) {
        let gone = |listener: &Listener| listener.is_gone();
        let (mut cancelled, before) = (0, self.queue.len());
        self.queue
            .retain(|waiting| !gone(waiting.sequence.voice.listener()));
        cancelled += before - self.queue.len();
        for sequence in std::mem::take(&mut self.set_back) {
            if gone(sequence.voice.listener()) {
                self.queue.end(&sequence.key);
                cancelled += 1;
            } else {
                self.set_back.push_back(sequence);
            }
        }
        self.end(|sequence| {
            let gone = gone(sequence.voice.listener());
            cancelled += usize::from(gone);
            gone
        });
        self.stats.cancelled += cancelled as u64;
    }

    /// Refuses what waited beyond its deadline.
    fn drop_expired(&mut self) {
        let now = Instant::now();
        self.queue.retain(|waiting| {
            let expired = waiting.deadline.is_some_and(|deadline| deadline <= now);
            if expired {
                let waited_seconds = (now - waiting.since).as_secs_f64();
                waiting
                    .sequence
                    .voice
                    .fail(Error::Expired { waited_seconds });
            }
            !expired
        });
    }

    /// What it is doing.
    pub(crate) fn tell(&mut self) -> Stats {
        let blocks = &self.blocks;
        self.stats.blocks = blocks.count();
        self.stats.blocks_free = blocks.free();
        self.stats.blocks_cached = blocks.cached();
        self.stats.blocks_in_use = blocks.count() - blocks.available();
        self.stats.blocks_evicted = blocks.evicted();
        self.stats.waiting = self.queue.len() + self.set_back.len();
        self.stats.running = self.running.len();
        self.stats.clone()
    }
}
