//! What is asked of the engine and what comes back.

use models::Adapters;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Keeps the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of likeliest tokens with this much probability (Holtzman et al. 2020).
    pub top_p: f32,
    /// Keeps tokens with at least this share of the likeliest token's probability.
    pub min_p: f32,
    /// Seed of this request's own random stream.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |field, got: f32, expected| {
            Err(Error::Sampling {
                field,
                got: got.to_string(),
                expected,
            })
        };
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return wrong("temperature", self.temperature, "0 or more");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", self.top_p, "more than 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return wrong("min_p", self.min_p, "between 0 and 1");
        }
        Ok(())
    }
}

/// Which of the model's adapters apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adapter {
    /// All that are attached: a model with its own.
    #[default]
    Own,
    /// None: the base beside which adapters are served.
    None,
    /// The one of this number.
    Number(usize),
}

impl Adapter {
    /// Of a batch, whose entries share a model.
    pub(crate) fn of_batch(each: impl ExactSizeIterator<Item = Self> + Clone) -> Adapters {
        if each.clone().all(|one| one == Self::Own) {
            return Adapters::All;
        }
        let numbers = each.map(|one| match one {
            Self::Number(number) => Some(number),
            Self::Own | Self::None => None,
        });
        Adapters::Each(numbers.collect())
    }
}

/// One prompt to be continued.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Longest answer; what the context leaves is the limit anyway.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer; empty means end of text and end of turn.
    pub stop_ids: Vec<u32>,
    /// How many of the likeliest tokens to report beside each chosen one.
    pub logprobs: Option<usize>,
    /// Which adapters apply; the engine's handle says it.
    pub adapter: Adapter,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// A stop token or stop text.
    Stop,
    /// `max_tokens` or the context's end.
    Length,
}

/// A piece of an answer, as it comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// A token, with the text that it completes; text that may yet become a stop text is held back.
    Token {
        /// The token.
        id: u32,
        /// The text.
        text: String,
        /// Its natural log-probability under the model, before temperature and filters.
        logprob: f32,
        /// The likeliest tokens, as many as the request asked for.
        top: Vec<(u32, f32)>,
    },
    /// The end.
    Done {
        /// Why.
        finish_reason: FinishReason,
        /// Text that was held back and belongs to the answer.
        text: String,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens of the answer, the one that stopped it not counted.
        completion_tokens: usize,
    },
    /// The request failed.
    Error(Error),
}

/// A token of an answer with its log-probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Its natural log-probability.
    pub logprob: f32,
    /// The likeliest tokens at this place.
    pub top: Vec<(u32, f32)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// One for each token.
    pub logprobs: Vec<TokenLogprob>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// From the request to the first token.
    pub first_token_seconds: f64,
    /// From the first token to the end.
    pub decode_seconds: f64,
}
