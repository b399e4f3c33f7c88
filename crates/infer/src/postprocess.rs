//! What becomes of a pass's logits: a token, its text, and whether the answer goes on.

use std::sync::mpsc::Sender;

use tokenizer::{DecodeStream, Tokenizer};

use crate::answer::Listener;
use crate::grammar::Constraint;
use crate::sampler::{self, Chosen, Sampler};
use crate::stop::StopTexts;
use crate::worker::Order;
use crate::{Delta, Error, FinishReason, Request, TokenLogprob};

/// What became of a row of logits.
pub(crate) struct Said {
    /// The token that was said, if one was.
    pub(crate) id: Option<u32>,
    /// Whether the answer has ended.
    pub(crate) over: bool,
}

/// Says one answer, token by token.
pub(crate) struct Voice {
    deltas: Sender<Delta>,
    listener: Listener,
    sampler: Sampler,
    constraint: Option<Constraint>,
    decode: DecodeStream,
    stop: StopTexts,
    /// Tokens that end the answer.
    ends: Vec<u32>,
    logprobs: usize,
    prompt_logprobs: Option<usize>,
    prompt_told: Vec<TokenLogprob>,
    prompt: usize,
    made: usize,
    limit: usize,
}

impl Voice {
    /// For an answer of at most `room` tokens.
    pub(crate) fn new(order: Order, room: usize, tokenizer: &Tokenizer) -> (Request, Self) {
        let Order {
            mut request,
            constraint,
            deltas,
            listener,
        } = order;
        let ends = match &request.stop_ids[..] {
            [] => vec![tokenizer.end_of_text(), tokenizer.end_of_turn()],
            ids => ids.to_vec(),
        };
        let voice = Self {
            deltas,
            listener,
            sampler: Sampler::new(std::mem::take(&mut request.sampling)),
            constraint,
            decode: tokenizer.decode_stream(),
            stop: StopTexts::new(std::mem::take(&mut request.stop)),
            ends,
            logprobs: request.logprobs.unwrap_or(0),
            prompt_logprobs: request.prompt_logprobs,
            prompt_told: Vec::new(),
            prompt: request.prompt.len(),
            made: 0,
            limit: request.max_tokens.min(room),
        };
        (request, voice)
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Whether the log-probabilities of the prompt are wanted and not told yet.
    pub(crate) fn wants_prompt(&self) -> bool {
        self.prompt_logprobs.is_some() && self.prompt_told.len() + 1 < self.prompt
    }

    /// Of how many tokens of the prompt the log-probabilities are known.
    pub(crate) fn told(&self) -> usize {
        self.prompt_told.len()
    }

    /// How many tokens it may still say.
    pub(crate) fn left(&self) -> usize {
        self.limit - self.made
    }

    /// Hears the logits behind one of the prompt's tokens, in order; `id` is the token that follows it.
    pub(crate) fn hear(&mut self, logits: &mut [f32], id: u32) {
        let report = self.prompt_logprobs.unwrap_or(0);
        let Chosen { id, logprob, top } = sampler::told(logits, id, report);
        self.prompt_told.push(TokenLogprob { id, logprob, top });
    }

    /// Chooses the token behind `tokens` and says it.
    pub(crate) fn say(
        &mut self,
        logits: &mut [f32],
        tokens: &[u32],
        tokenizer: &Tokenizer,
    ) -> Said {
        if self.made == 0 && self.prompt_logprobs.is_some() {
            let logprobs = std::mem::take(&mut self.prompt_told);
            drop(self.deltas.send(Delta::Prompt { logprobs }));
        }
        if self.limit == 0 {
            return self.finish(FinishReason::Length, None);
        }
        let so_far = (tokens, self.prompt);
        let allowed = self.constraint.as_ref().map(Constraint::allowed);
        let Chosen { id, logprob, top } =
            self.sampler
                .choose(logits, so_far, allowed, self.logprobs, tokenizer);
        if self.ends.contains(&id) {
            return self.finish(FinishReason::Stop, None);
        }
        let complete = match self.constraint.as_mut().map(|one| one.take(id)) {
            None | Some(Ok(true)) => false,
            Some(Ok(false)) => true,
            Some(Err(error)) => {
                return self.broken(error);
            }
        };
        self.made += 1;
        let piece = match self.decode.push(id) {
            Ok(piece) => piece.unwrap_or_default(),
            Err(error) => {
                return self.broken(Error::Stopped(error.to_string()));
            }
        };
        let (text, stopped) = self.stop.push(&piece);
        let delta = Delta::Token {
            id,
            text,
            logprob,
            top,
        };
        // Who went away is seen before the next pass.
        drop(self.deltas.send(delta));
        if stopped {
            // What the decoder still holds lies behind the stop text.
            return self.done(FinishReason::Stop, String::new(), Some(id));
        }
        if complete {
            return self.finish(FinishReason::Stop, Some(id));
        }
        if self.made == self.limit {
            return self.finish(FinishReason::Length, Some(id));
        }
        Said {
            id: Some(id),
            over: false,
        }
    }

    /// Ends the answer with an error.
    pub(crate) fn fail(&self, error: Error) {
        drop(self.deltas.send(Delta::Error(error)));
    }

    fn broken(&self, error: Error) -> Said {
        self.fail(error);
        Said {
            id: None,
            over: true,
        }
    }

    /// Ends the answer with the text that is still held back.
    fn finish(&mut self, finish_reason: FinishReason, id: Option<u32>) -> Said {
        let rest = self.decode.clone().finish().ok().flatten();
        let (text, stopped) = self.stop.push(&rest.unwrap_or_default());
        let text = if stopped {
            text
        } else {
            text + &self.stop.finish()
        };
        self.done(finish_reason, text, id)
    }

    fn done(&self, finish_reason: FinishReason, text: String, id: Option<u32>) -> Said {
        drop(self.deltas.send(Delta::Done {
            finish_reason,
            text,
            prompt_tokens: self.prompt,
            completion_tokens: self.made,
        }));
        Said { id, over: true }
    }
}
