//! What is asked of the engine and what comes back.

use std::collections::BTreeMap;
use std::time::Instant;

use models::Adapters;
use serde::{Deserialize, Serialize};

use crate::{Error, Grammar, Result};

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
    /// Of what the others keep, keeps the tokens whose information is closest to the entropy, until they have this much
    /// probability (Meister et al., "Locally Typical Sampling", 2023).
    pub typical_p: f32,
    /// Divides positive logits of tokens that stand in the prompt or the answer, and multiplies negative ones (Keskar et
    /// al., "CTRL", 2019).
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that stand in the answer.
    pub presence_penalty: f32,
    /// Taken from a token's logit for each time that it stands in the answer.
    pub frequency_penalty: f32,
    /// Added to the logits of tokens.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Keeps the answer from repeating what stands in it or in the prompt.
    pub dry: Option<Dry>,
    /// Seed of this request's own random stream.
    pub seed: u64,
}

/// "Don't repeat yourself" (p-e-w 2024): a token that would lengthen a run which stood before already loses
/// `multiplier · base^(length − allowed_length)` of its logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dry {
    /// How strong; 0 is off.
    pub multiplier: f32,
    /// How fast the penalty grows with the run.
    pub base: f32,
    /// Runs up to this many tokens may repeat.
    pub allowed_length: usize,
    /// How many of the latest tokens are looked at; 0 looks at all.
    pub range: usize,
    /// No run goes across a token with one of these texts in it.
    pub breakers: Vec<String>,
}

impl Default for Dry {
    fn default() -> Self {
        Self {
            multiplier: 0.8,
            base: 1.75,
            allowed_length: 2,
            range: 0,
            breakers: ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            dry: None,
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
        if !(self.typical_p > 0.0 && self.typical_p <= 1.0) {
            return wrong("typical_p", self.typical_p, "more than 0 and at most 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return wrong("repetition_penalty", self.repetition_penalty, "more than 0");
        }
        let finite = [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ];
        if let Some((field, penalty)) = finite.into_iter().find(|(_, one)| !one.is_finite()) {
            return wrong(field, penalty, "a number");
        }
        if let Some(bias) = self.logit_bias.values().find(|bias| bias.is_nan()) {
            return wrong("logit_bias", *bias, "numbers");
        }
        if let Some(dry) = &self.dry {
            if !(dry.multiplier >= 0.0 && dry.multiplier.is_finite()) {
                return wrong("dry.multiplier", dry.multiplier, "0 or more");
            }
            if !(dry.base >= 1.0 && dry.base.is_finite()) {
                return wrong("dry.base", dry.base, "1 or more");
            }
        }
        Ok(())
    }
}

/// Which of the model's adapters apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adapter {
    /// All that are attached: a model with its own. Not for an engine that serves several of its adapters one by one.
    #[default]
    Own,
    /// None: the base beside which adapters are served.
    None,
    /// The one of this number.
    Number(usize),
}

impl Adapter {
    /// Of a batch, whose entries share a model with so many adapters `attached`.
    pub(crate) fn of_batch(
        each: impl ExactSizeIterator<Item = Self> + Clone,
        attached: usize,
    ) -> Adapters {
        if each.clone().all(|one| one == Self::Own) {
            return Adapters::All;
        }
        let numbers = each.map(|one| match one {
            Self::Number(number) => Some(number),
            Self::Own if attached == 1 => Some(0),
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
    /// Asks for the log-probabilities of the prompt's tokens, with so many of the likeliest beside each.
    pub prompt_logprobs: Option<usize>,
    /// The form that the answer must have.
    pub grammar: Option<Grammar>,
    /// Whom the engine is to be fair to when requests wait: those of one key are one party.
    pub key: Option<String>,
    /// Refused with [`Error::Expired`] when it has not begun by then.
    pub deadline: Option<Instant>,
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
    /// What the model says of the prompt, where the request asks for it: one for each token but the first. Comes before the
    /// answer.
    Prompt {
        /// One for each token from the second on.
        logprobs: Vec<TokenLogprob>,
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
    /// One for each token of the prompt but the first, where the request asked for them.
    pub prompt_logprobs: Vec<TokenLogprob>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// From the request to the first token.
    pub first_token_seconds: f64,
    /// From the first token to the end.
    pub decode_seconds: f64,
}
