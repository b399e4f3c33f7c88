//! The engine's thread: schedule, run, postprocess, over and over.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use hub::LoadedModel;

use crate::answer::Listener;
use crate::draft::Draft;
use crate::grammar::Constraint;
use crate::postprocess::{Said, Voice};
use crate::run::{Hidden, Runner};
use crate::schedule::{Part, Schedule};
use crate::score::{self, Pair};
use crate::stats::Board;
use crate::{Adapter, Delta, Error, Request, Settings};

/// Logits of so many rows of a prompt are in memory at a time.
const PROMPT_ROWS: usize = 64;

/// What the engine's thread is asked to do.
pub(crate) enum Job {
    Generate(Box<Order>),
    Score(Vec<Pair>, Adapter, Sender<Vec<Vec<f32>>>),
}

/// A request on its way to the thread.
pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) constraint: Option<Constraint>,
    pub(crate) deltas: Sender<Delta>,
    pub(crate) listener: Listener,
}

/// What the thread shares with its handles.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) board: Board,
    /// Requests handed in that have not begun.
    pub(crate) waiting: AtomicUsize,
}

struct Scoring {
    pairs: Vec<Pair>,
    adapter: Adapter,
    found: Vec<Vec<f32>>,
    scores: Sender<Vec<Vec<f32>>>,
}

pub(crate) struct Worker {
    runner: Runner,
    draft: Option<Draft>,
    schedule: Schedule,
    scoring: VecDeque<Scoring>,
    shared: Arc<Shared>,
    /// Requests taken from the inbox so far.
    taken: u64,
    /// Those that the queue held when it was last looked at.
    queued: usize,
}

impl Worker {
    pub(crate) fn new(
        model: LoadedModel,
        draft: Option<Draft>,
        settings: Settings,
        shared: Arc<Shared>,
    ) -> Self {
        let small = draft.as_ref().map(Draft::config);
        let blocks = settings.blocks_for(model.decoder.config(), small);
        let settings = Settings {
            draft: if draft.is_some() { settings.draft } else { 0 },
            ..settings
        };
        Self {
            runner: Runner::new(model),
            draft,
            schedule: Schedule::new(settings, blocks),
            scoring: VecDeque::new(),
            shared,
            taken: 0,
            queued: 0,
        }
    }

    /// Works until the last handle is gone and every request is answered.
    pub(crate) fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            self.tell();
            if self.schedule.is_idle() && self.scoring.is_empty() {
                match inbox.recv() {
                    Ok(job) => self.accept(job),
                    Err(_) => return,
                }
            }
            while let Ok(job) = inbox.try_recv() {
                self.accept(job);
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.pass())) {
                self.fail(&*panic);
            }
            if catch_unwind(AssertUnwindSafe(|| self.score())).is_err() {
                // Its sender goes with it, which the waiting handle sees.
                self.scoring.pop_front();
            }
        }
    }

    fn accept(&mut self, job: Job) {
        match job {
            Job::Generate(order) => {
                let model = &self.runner.model;
                let room = model.decoder.config().context() - order.request.prompt.len();
                let (request, voice) = Voice::new(*order, room, &model.tokenizer);
                self.schedule
                    .push(self.taken, Instant::now(), request, voice);
                self.taken += 1;
                self.queued += 1;
            }
            Job::Score(pairs, adapter, scores) => self.scoring.push_back(Scoring {
                pairs,
                adapter,
                found: Vec::new(),
                scores,
            }),
        }
    }

    fn pass(&mut self) {
        let mut parts = self.schedule.next();
        if parts.is_empty() {
            return;
        }
        if let Some(draft) = &mut self.draft {
            draft.guess(&self.schedule.running, &mut parts);
        }
        let readings = parts
            .iter()
            .map(|part| part.reading(&self.schedule.running));
        let hidden = self.runner.read(readings.collect());
        self.schedule.stats.passes += 1;
        self.schedule.stats.tokens_read += parts.iter().map(Part::rows).sum::<usize>() as u64;
        self.hear_prompts(&hidden, &parts);
        self.say(&hidden, &parts);
    }

    /// Tells those who want it what the model says of their prompts.
    fn hear_prompts(&mut self, hidden: &Hidden, parts: &[Part]) {
        let mut first = 0;
        for part in parts {
            let sequence = &mut self.schedule.running[part.sequence];
            let row = first;
            first += part.rows();
            if !sequence.voice.wants_prompt() {
                continue;
            }
            // What was set back reads again what it has told already.
            let end = (sequence.held + part.tokens + 1).min(sequence.prompt);
            let begin = (sequence.held + 1).max(sequence.voice.told() + 1);
            let targets: Vec<usize> = (begin..end).collect();
            for targets in targets.chunks(PROMPT_ROWS) {
                let rows = targets
                    .iter()
                    .map(|target| row + target - 1 - sequence.held);
                let mut logits = self.runner.logits(hidden, &rows.collect::<Vec<_>>());
                let each = logits.chunks_exact_mut(self.runner.vocabulary());
                for (logits, target) in each.zip(targets) {
                    sequence.voice.hear(logits, sequence.tokens[*target]);
                }
            }
        }
    }

    /// Chooses the next token of each sequence that has read all of its own, and of the guesses as long as they are right.
    fn say(&mut self, hidden: &Hidden, parts: &[Part]) {
        let mut rows = Vec::new();
        let mut first = 0;
        for part in parts {
            let end = first + part.tokens;
            if part.tokens == self.schedule.running[part.sequence].pending() {
                rows.extend(end - 1..end + part.guesses.len());
            }
            first = end + part.guesses.len();
        }
        let mut logits = match rows.is_empty() {
            true => Vec::new(),
            false => self.runner.logits(hidden, &rows),
        };
        let mut logits = logits.chunks_exact_mut(self.runner.vocabulary());
        let tokenizer = &self.runner.model.tokenizer;
        let mut over = Vec::new();
        for part in parts {
            let sequence = &mut self.schedule.running[part.sequence];
            let held = sequence.held + part.tokens;
            if part.tokens < sequence.pending() {
                self.schedule.read(part.sequence, held, 0);
                continue;
            }
            let mut own = logits.by_ref().take(1 + part.guesses.len());
            let (before, mut right) = (sequence.tokens.len(), 0);
            // What goes wrong with one answer is no matter of the others.
            let said = catch_unwind(AssertUnwindSafe(|| {
                let mut guesses = part.guesses.iter();
                for logits in own.by_ref() {
                    let Said { id, over } = sequence.voice.say(logits, &sequence.tokens, tokenizer);
                    sequence.tokens.extend(id);
                    let guessed = id.is_some() && guesses.next() == id.as_ref();
                    right += u64::from(guessed);
                    if over || !guessed {
                        return over;
                    }
                }
                false
            }));
            own.for_each(drop);
            let over_now = said.unwrap_or_else(|panic| {
                sequence.voice.fail(Error::Stopped(reason(&*panic)));
                true
            });
            if over_now {
                over.push(sequence.number);
            }
            let written = sequence.tokens.len() - before;
            // The token said last was not read yet, nor was anything behind a wrong guess.
            let held = if written > 0 {
                sequence.tokens.len() - 1
            } else {
                held
            };
            self.schedule.stats.tokens_guessed += part.guesses.len() as u64;
            self.schedule.stats.tokens_guessed_right += right;
            self.schedule.read(part.sequence, held, written);
        }
        over.iter().for_each(|_| self.shared.board.ended());
        self.schedule
            .end(|sequence| over.contains(&sequence.number));
    }

    /// One pass of scoring, between the passes of generating.
    fn score(&mut self) {
        let Some(scoring) = self.scoring.front_mut() else {
            return;
        };
        let left = &scoring.pairs[scoring.found.len()..];
        if !left.is_empty() {
            let found = score::score_some(&self.runner.model, left, scoring.adapter);
            scoring.found.extend(found);
        }
        if scoring.found.len() == scoring.pairs.len()
            && let Some(done) = self.scoring.pop_front()
        {
            drop(done.scores.send(done.found));
        }
    }

    /// Every request of the pass is told, and the engine goes on with those that wait.
    fn fail(&mut self, panic: &(dyn Any + Send)) {
        let reason = reason(panic);
        self.schedule.end(|sequence| {
            sequence.voice.fail(Error::Stopped(reason.clone()));
            true
        });
        self.schedule.blocks.forget();
    }

    /// Tells the handles what it is doing.
    fn tell(&mut self) {
        let begun = self.queued - self.schedule.waiting();
        self.shared.waiting.fetch_sub(begun, Ordering::Relaxed);
        self.queued = self.schedule.waiting();
        self.shared.board.write(self.schedule.tell());
    }
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown")
        .to_owned()
}
