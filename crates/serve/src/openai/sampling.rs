//! The fields that chat and text completions share, and the engine requests they ask for.

use std::collections::{BTreeMap, BTreeSet};

use artifact::Seed;
use infer::{Dry, Engine, Grammar, Request, Sampling};
use serde_json::Value;

use super::structured::{self, Form};
use super::{ApiError, Fields};
use crate::identifier;

type Result<T> = std::result::Result<T, ApiError>;

/// The most answers to one prompt.
pub(crate) const MOST_CHOICES: usize = 128;
/// The most stop strings.
const MOST_STOPS: usize = 16;
/// An id that no vocabulary has. As the only stop token it lets an answer run on (`ignore_eos`, for measurements).
const NO_TOKEN: u32 = u32::MAX;

/// How to generate.
pub(crate) struct Options {
    sampling: Sampling,
    stop: Vec<String>,
    stop_ids: Vec<u32>,
    /// The form that answers must have, and the field that says so.
    pub(crate) form: Option<Form>,
    /// The most tokens of an answer, where the request says.
    pub(crate) max_tokens: Option<usize>,
    /// How many answers to each prompt.
    pub(crate) choices: usize,
    /// Whether the answer comes as a stream of events.
    pub(crate) stream: bool,
    /// Whether the stream ends with token counts.
    pub(crate) include_usage: bool,
    /// Whether the text may be kept: false only where the request says `"store": false`.
    pub(crate) store: bool,
}

impl Options {
    /// Reads the shared fields for a model; `max_tokens` is looked for under each of `max_tokens_names`.
    pub(crate) fn read(
        fields: &Fields,
        engine: &Engine,
        max_tokens_names: &[&str],
        least_tokens: usize,
    ) -> Result<Options> {
        refuse_unsupported(fields)?;
        let mut max_tokens = None;
        for name in max_tokens_names {
            let given = fields.count(name, least_tokens, usize::MAX)?;
            if max_tokens.is_some() && given.is_some() && max_tokens != given {
                return Err(structured::contradiction(max_tokens_names[0], name));
            }
            max_tokens = max_tokens.or(given);
        }
        let seed = fields.integer("seed", i64::MIN, i64::MAX)?;
        let sampling = Sampling {
            temperature: fields.decimal("temperature", 0.0, 2.0)?.unwrap_or(1.0) as f32,
            top_p: share(fields, "top_p")?,
            top_k: fields
                .integer("top_k", -1, i64::MAX)?
                .map_or(0, |top_k| usize::try_from(top_k).unwrap_or(0)),
            min_p: fields.decimal("min_p", 0.0, 1.0)?.unwrap_or(0.0) as f32,
            typical_p: share(fields, "typical_p")?,
            repetition_penalty: repetition_penalty(fields)?,
            presence_penalty: fields
                .decimal("presence_penalty", -2.0, 2.0)?
                .unwrap_or(0.0) as f32,
            frequency_penalty: fields
                .decimal("frequency_penalty", -2.0, 2.0)?
                .unwrap_or(0.0) as f32,
            logit_bias: logit_bias(fields, engine.tokenizer().vocab_size())?,
            dry: dry(fields)?,
            // A seed's bits are the engine's; negative ones are as good as others.
            seed: seed.map_or_else(identifier::random_bits, i64::cast_unsigned),
        };
        let stream = fields.boolean("stream")?;
        Ok(Options {
            sampling,
            stop: stop_strings(fields)?,
            stop_ids: stop_ids(fields, engine)?,
            form: structured::read(fields)?,
            max_tokens,
            choices: fields.count("n", 1, MOST_CHOICES)?.unwrap_or(1),
            stream,
            include_usage: include_usage(fields, stream)?,
            store: fields.get("store").and_then(Value::as_bool) != Some(false),
        })
    }

    /// Lets answers run on where the model would end them.
    pub(crate) fn run_on(&mut self) {
        self.stop_ids = vec![NO_TOKEN];
    }

    /// One engine request for each choice. Choice 0 has the request's seed, the others seeds derived from it.
    pub(crate) fn requests(
        &self,
        prompt: &[u32],
        max_tokens: usize,
        logprobs: Option<usize>,
        prompt_logprobs: Option<usize>,
        grammar: Option<&Grammar>,
    ) -> Vec<Request> {
        let seed = Seed(self.sampling.seed);
        let choice_seed = |choice| {
            if choice == 0 {
                seed
            } else {
                seed.derive(&format!("choice {choice}"))
            }
        };
        (0..self.choices)
            .map(|choice| Request {
                prompt: prompt.to_vec(),
                max_tokens,
                sampling: Sampling {
                    seed: choice_seed(choice).0,
                    ..self.sampling.clone()
                },
                stop: self.stop.clone(),
                stop_ids: self.stop_ids.clone(),
                logprobs,
                prompt_logprobs,
                grammar: grammar.cloned(),
                ..Request::default()
            })
            .collect()
    }

    /// How many tokens an answer to `prompt` may have: what was asked for, else `fallback`, else what is left of the
    /// context.
    pub(crate) fn room(
        &self,
        engine: &Engine,
        param: &str,
        prompt: usize,
        fallback: Option<usize>,
    ) -> Result<usize> {
        let context = engine.context();
        let least = self.max_tokens.unwrap_or(1).max(1);
        if prompt + least > context {
            return Err(ApiError::context_length(param, context, prompt, least));
        }
        let left = context - prompt;
        Ok(self.max_tokens.or(fallback).unwrap_or(left).min(left))
    }

    /// The sampling as it is stored beside the answer.
    pub(crate) fn describe(&self, max_tokens: usize) -> Value {
        serde_json::json!({
            "temperature": self.sampling.temperature, "top_p": self.sampling.top_p, "top_k": self.sampling.top_k,
            "min_p": self.sampling.min_p, "seed": self.sampling.seed, "max_tokens": max_tokens, "stop": self.stop,
            "n": self.choices,
        })
    }
}

fn include_usage(fields: &Fields, stream: bool) -> Result<bool> {
    let Some(options) = fields.get("stream_options") else {
        return Ok(false);
    };
    let Some(options) = options.as_object() else {
        return Err(ApiError::wrong_type("stream_options", "an object", options));
    };
    if !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(ApiError::field("stream_options", "invalid_value", message));
    }
    match options.get("include_usage") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(include)) => Ok(*include),
        Some(other) => Err(ApiError::wrong_type(
            "stream_options.include_usage",
            "a boolean",
            other,
        )),
    }
}

fn stop_strings(fields: &Fields) -> Result<Vec<String>> {
    let stops = match fields.get("stop") {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops
            .iter()
            .map(|stop| stop.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                ApiError::field(
                    "stop",
                    "invalid_type",
                    "Invalid type for 'stop': expected an array of strings.",
                )
            })?,
        Some(other) => {
            return Err(ApiError::wrong_type(
                "stop",
                "a string or an array of strings",
                other,
            ));
        }
    };
    let distinct: BTreeSet<&str> = stops
        .iter()
        .map(String::as_str)
        .filter(|stop| !stop.is_empty())
        .collect();
    if distinct.len() > MOST_STOPS {
        let message = format!(
            "Invalid 'stop': array too long. Expected an array with maximum length {MOST_STOPS}, but got an array \
             with length {} instead.",
            stops.len()
        );
        return Err(ApiError::field("stop", "array_above_max_length", message));
    }
    Ok(distinct.into_iter().map(str::to_owned).collect())
}

/// A share of probability. 0 asks for the likeliest token alone, as the smallest positive share does.
fn share(fields: &Fields, name: &str) -> Result<f32> {
    let share = fields.decimal(name, 0.0, 1.0)?.unwrap_or(1.0) as f32;
    Ok(share.max(f32::MIN_POSITIVE))
}

/// vLLM's name for it, or llama.cpp's.
fn repetition_penalty(fields: &Fields) -> Result<f32> {
    for name in ["repetition_penalty", "repeat_penalty"] {
        if let Some(penalty) = fields.decimal(name, 0.0, 100.0)? {
            if penalty as f32 <= 0.0 {
                let message = format!("Invalid '{name}': expected a value above 0.");
                return Err(ApiError::field(name, "decimal_below_min_value", message));
            }
            return Ok(penalty as f32);
        }
    }
    Ok(1.0)
}

/// `logit_bias`: from token ids, written as texts, to what is added to their logits.
fn logit_bias(fields: &Fields, vocabulary: usize) -> Result<BTreeMap<u32, f32>> {
    let Some(value) = fields.get("logit_bias") else {
        return Ok(BTreeMap::new());
    };
    let biases = value
        .as_object()
        .ok_or_else(|| ApiError::wrong_type("logit_bias", "an object", value))?;
    let one = |(id, bias): (&String, &Value)| {
        let known = id
            .parse::<u32>()
            .ok()
            .filter(|&id| usize::try_from(id).is_ok_and(|id| id < vocabulary));
        let id = known.ok_or_else(|| {
            let message = format!(
                "Invalid key in 'logit_bias': '{id}' is not a token id of this model (0 to {}).",
                vocabulary.saturating_sub(1)
            );
            ApiError::field("logit_bias", "invalid_value", message)
        })?;
        let at = format!("logit_bias.{id}");
        let bias = bias
            .as_f64()
            .ok_or_else(|| ApiError::wrong_type(&at, "a number", bias))?;
        if !(-100.0..=100.0).contains(&bias) {
            let message = format!("Invalid '{at}': expected a value between -100 and 100.");
            return Err(ApiError::field(&at, "invalid_value", message));
        }
        Ok((id, bias as f32))
    };
    biases.iter().map(one).collect()
}

/// "Don't repeat yourself", under the names that llama.cpp's server gives it.
fn dry(fields: &Fields) -> Result<Option<Dry>> {
    let multiplier = fields.decimal("dry_multiplier", 0.0, 100.0)?;
    let Some(multiplier) = multiplier.filter(|&multiplier| multiplier > 0.0) else {
        return Ok(None);
    };
    let usual = Dry::default();
    let range = fields.integer("dry_penalty_last_n", -1, i64::from(i32::MAX))?;
    let breakers = match fields.get("dry_sequence_breakers") {
        None => usual.breakers,
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| {
            ApiError::wrong_type("dry_sequence_breakers", "an array of strings", value)
        })?,
    };
    Ok(Some(Dry {
        multiplier: multiplier as f32,
        base: fields
            .decimal("dry_base", 1.0, 100.0)?
            .map_or(usual.base, |base| base as f32),
        allowed_length: fields
            .count("dry_allowed_length", 0, usize::MAX)?
            .unwrap_or(usual.allowed_length),
        range: range.map_or(0, |range| usize::try_from(range).unwrap_or(0)),
        breakers,
    }))
}

/// Tokens that end the answer: with `stop_token_ids`, those beside the usual ones.
fn stop_ids(fields: &Fields, engine: &Engine) -> Result<Vec<u32>> {
    let tokenizer = engine.tokenizer();
    let mut ids: Vec<u32> = match fields.get("stop_token_ids") {
        None => Vec::new(),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|_| ApiError::wrong_type("stop_token_ids", "an array of token ids", value))?,
    };
    if fields.boolean("ignore_eos")? {
        ids.push(NO_TOKEN);
    } else if !ids.is_empty() {
        ids.extend([tokenizer.end_of_text(), tokenizer.end_of_turn()]);
    }
    Ok(ids)
}

/// Fields that would change the answer and are not done here are refused, at values other than their default.
fn refuse_unsupported(fields: &Fields) -> Result<()> {
    if fields.boolean("use_beam_search")? {
        let what = "'use_beam_search' is not supported by this server";
        return Err(ApiError::unsupported("use_beam_search", what));
    }
    if fields
        .count("min_tokens", 0, usize::MAX)?
        .is_some_and(|least| least > 0)
    {
        let what = "'min_tokens' above 0 is not supported by this server; 'ignore_eos' lets answers run on";
        return Err(ApiError::unsupported("min_tokens", what));
    }
    Ok(())
}
