//! Continuous batching: new requests are prefilled as soon as a slot is free, and all that are
//! under way move on by one token in each pass.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender};

use artifact::Seed;
use hub::LoadedModel;
use models::kv_cache::SlotCache;
use models::{Adapters, KvCache, Rows};
use rand_chacha::ChaCha8Rng;
use tensor::{Int, SlotRow, Tensor, TensorData};
use tokenizer::DecodeStream;

use crate::sampler::{self, Chosen};
use crate::stop::StopTexts;
use crate::{Adapter, Delta, Error, FinishReason, Request};

/// Rows of one scoring pass.
const SCORE_ROWS: usize = 4096;

/// What the engine's thread is asked to do.
pub(crate) enum Job {
    Generate(Request, Sender<Delta>),
    Score(Vec<(Vec<u32>, Vec<u32>)>, Adapter, Sender<Vec<Vec<f32>>>),
}

/// A request that has a slot.
struct Active {
    slot: usize,
    /// Tokens in the cache.
    held: usize,
    /// The token chosen last, which the next pass reads.
    next: u32,
    made: usize,
    limit: usize,
    request: Request,
    rng: ChaCha8Rng,
    decode: DecodeStream,
    stop: StopTexts,
    deltas: Sender<Delta>,
}

/// The engine's thread: the model, the cache, and the requests under way.
pub(crate) struct Scheduler {
    model: LoadedModel,
    cache: SlotCache,
    slots: usize,
    free: Vec<usize>,
    waiting: VecDeque<(Request, Sender<Delta>)>,
    active: Vec<Active>,
}

impl Scheduler {
    pub(crate) fn new(model: LoadedModel, slots: usize) -> Self {
        let config = model.decoder.config();
        let cache = SlotCache::new(config.num_hidden_layers, slots, config.context());
        Self {
            model,
            cache,
            slots,
            free: (0..slots).rev().collect(),
            waiting: VecDeque::new(),
            active: Vec::new(),
        }
    }

    /// Works until the last handle is gone and every request is answered.
    pub(crate) fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            if self.active.is_empty() && self.waiting.is_empty() {
                match inbox.recv() {
                    Ok(job) => self.accept(job),
                    Err(_) => return,
                }
            }
            while let Ok(job) = inbox.try_recv() {
                self.accept(job);
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.step())) {
                self.fail(&*panic);
            }
        }
    }

    fn accept(&mut self, job: Job) {
        match job {
            Job::Generate(request, deltas) => self.waiting.push_back((request, deltas)),
            Job::Score(sequences, adapter, scores) => {
                if let Ok(found) =
                    catch_unwind(AssertUnwindSafe(|| self.score(&sequences, adapter)))
                {
                    drop(scores.send(found));
                }
            }
        }
    }

    /// One pass: admit what fits, then move every active sequence on by a token.
    fn step(&mut self) {
        while let Some(slot) = self.free.pop() {
            match self.waiting.pop_front() {
                Some((request, deltas)) => self.prefill(slot, request, deltas),
                None => {
                    self.free.push(slot);
                    break;
                }
            }
        }
        if !self.active.is_empty() {
            self.decode();
        }
    }

    fn prefill(&mut self, slot: usize, request: Request, deltas: Sender<Delta>) {
        let prompt = request.prompt.clone();
        let adapters = Adapter::of_batch(std::iter::once(request.adapter));
        let at = [SlotRow { slot, start: 0 }];
        let hidden = self.forward(&prompt, &at, prompt.len(), adapters); // [1, prompt, hidden]
        let last = hidden.narrow(1, prompt.len() - 1, 1); // [1, 1, hidden]
        let mut logits = tensor::to_vec(self.model.decoder.logits(last)); // [vocab]
        let limit = request
            .max_tokens
            .min(self.model.decoder.config().context() - prompt.len());
        let mut active = Active {
            slot,
            held: prompt.len(),
            next: 0,
            made: 0,
            limit,
            rng: Seed(request.sampling.seed).derive("sampling").rng(),
            decode: self.model.tokenizer.decode_stream(),
            stop: StopTexts::new(request.stop.clone()),
            request,
            deltas,
        };
        if self.advance(&mut active, &mut logits) {
            self.active.push(active);
        } else {
            self.free.push(slot);
        }
    }

    fn decode(&mut self) {
        let tokens: Vec<u32> = self.active.iter().map(|active| active.next).collect();
        let rows: Vec<SlotRow> = self
            .active
            .iter()
            .map(|active| SlotRow {
                slot: active.slot,
                start: active.held,
            })
            .collect();
        let each = self.active.iter().map(|active| active.request.adapter);
        let adapters = Adapter::of_batch(each);
        let hidden = self.forward(&tokens, &rows, 1, adapters); // [active, 1, hidden]
        let logits = tensor::to_vec(self.model.decoder.logits(hidden)); // [active, 1, vocab]
        let vocab = self.model.decoder.config().vocab_size;
        let active = std::mem::take(&mut self.active);
        for (mut active, logits) in active.into_iter().zip(logits.chunks_exact(vocab)) {
            active.held += 1;
            if self.advance(&mut active, &mut logits.to_vec()) {
                self.active.push(active);
            } else {
                self.free.push(active.slot);
            }
        }
    }

    /// The hidden states of `seq` new tokens for each of `rows`, `[rows, seq, hidden]`.
    fn forward(
        &mut self,
        tokens: &[u32],
        rows: &[SlotRow],
        seq: usize,
        adapters: Adapters,
    ) -> Tensor<3> {
        let starts: Vec<usize> = rows.iter().map(|row| row.start).collect();
        let mut at = Rows::continued(&starts, seq);
        at.adapters = adapters;
        let tokens = self.tokens(tokens, [rows.len(), seq]);
        let cache: &mut dyn KvCache = self.cache.at(rows.to_vec());
        self.model.decoder.forward(tokens, &at, Some(cache))
    }

    fn tokens(&self, ids: &[u32], shape: [usize; 2]) -> Tensor<2, Int> {
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        Tensor::from_data(TensorData::new(ids, shape), &self.model.decoder.device())
    }

    /// Chooses the next token of a sequence and reports it; false when the sequence has ended.
    fn advance(&self, active: &mut Active, logits: &mut [f32]) -> bool {
        if active.limit == 0 {
            return finish(active, FinishReason::Length);
        }
        let report = active.request.logprobs.unwrap_or(0);
        let Chosen { id, logprob, top } =
            sampler::choose(logits, &active.request.sampling, &mut active.rng, report);
        let tokenizer = &self.model.tokenizer;
        let ends = match &active.request.stop_ids[..] {
            [] => id == tokenizer.end_of_text() || id == tokenizer.end_of_turn(),
            ids => ids.contains(&id),
        };
        if ends {
            return finish(active, FinishReason::Stop);
        }
        active.made += 1;
        active.next = id;
        let piece = match active.decode.push(id) {
            Ok(piece) => piece.unwrap_or_default(),
            Err(error) => {
                drop(
                    active
                        .deltas
                        .send(Delta::Error(Error::Stopped(error.to_string()))),
                );
                return false;
            }
        };
        let (text, stopped) = active.stop.push(&piece);
        if active
            .deltas
            .send(Delta::Token {
                id,
                text,
                logprob,
                top,
            })
            .is_err()
        {
            return false;
        }
        if stopped {
            // What the decoder still holds lies behind the stop text.
            return done(active, FinishReason::Stop, String::new());
        }
        if active.made == active.limit {
            return finish(active, FinishReason::Length);
        }
        true
    }

    /// Log-probabilities of continuations, many sequences packed into one row of tokens at a time.
    fn score(&self, sequences: &[(Vec<u32>, Vec<u32>)], adapter: Adapter) -> Vec<Vec<f32>> {
        let mut found = Vec::with_capacity(sequences.len());
        let mut start = 0;
        while start < sequences.len() {
            let mut rows = 0;
            let fits = |(prompt, continuation): &&(Vec<u32>, Vec<u32>)| {
                rows += prompt.len() + continuation.len();
                rows <= SCORE_ROWS
            };
            let count = sequences[start..].iter().take_while(fits).count().max(1);
            found.extend(self.score_packed(&sequences[start..start + count], adapter));
            start += count;
        }
        found
    }

    fn score_packed(&self, sequences: &[(Vec<u32>, Vec<u32>)], adapter: Adapter) -> Vec<Vec<f32>> {
        let (mut inputs, mut targets, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for (prompt, continuation) in sequences {
            let whole = [&prompt[..], continuation].concat();
            inputs.extend_from_slice(&whole[..whole.len() - 1]);
            targets.extend_from_slice(&whole[1..]);
            lengths.push(whole.len() - 1);
        }
        if inputs.is_empty() {
            return vec![Vec::new(); sequences.len()];
        }
        let mut rows = Rows::packed(std::slice::from_ref(&lengths));
        rows.adapters = Adapter::of_batch(std::iter::once(adapter));
        let hidden =
            self.model
                .decoder
                .forward(self.tokens(&inputs, [1, inputs.len()]), &rows, None);
        let logprobs = self.model.decoder.token_logprobs(hidden, &targets);
        let mut end = 0;
        let tails = sequences
            .iter()
            .zip(&lengths)
            .map(|((_, continuation), length)| {
                end += length;
                logprobs[end - continuation.len().min(*length)..end].to_vec()
            });
        tails.collect()
    }

    /// Every request under way is told, and the engine goes on with a clean slate.
    fn fail(&mut self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let reason = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown")
            .to_owned();
        for active in self.active.drain(..) {
            drop(
                active
                    .deltas
                    .send(Delta::Error(Error::Stopped(reason.clone()))),
            );
        }
        self.free = (0..self.slots).rev().collect();
    }
}

/// Ends an answer with the text that is still held back.
fn finish(active: &mut Active, finish_reason: FinishReason) -> bool {
    let rest = active
        .decode
        .clone()
        .finish()
        .ok()
        .flatten()
        .unwrap_or_default();
    let (text, stopped) = active.stop.push(&rest);
    let text = if stopped {
        text
    } else {
        text + &active.stop.finish()
    };
    done(active, finish_reason, text)
}

fn done(active: &Active, finish_reason: FinishReason, text: String) -> bool {
    let prompt_tokens = active.request.prompt.len();
    drop(active.deltas.send(Delta::Done {
        finish_reason,
        text,
        prompt_tokens,
        completion_tokens: active.made,
    }));
    false
}
