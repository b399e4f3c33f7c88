//! The fields that chat and text completions share, and the engine requests they ask for.

use std::collections::BTreeSet;

use artifact::Seed;
use infer::{Engine, Request, Sampling};
use serde_json::Value;

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
    /// Reads the shared fields; `max_tokens` is looked for under each of `max_tokens_names`.
    pub(crate) fn read(
        fields: &Fields,
        max_tokens_names: &[&str],
        least_tokens: usize,
    ) -> Result<Options> {
        refuse_unsupported(fields)?;
        let mut max_tokens = None;
        for name in max_tokens_names {
            max_tokens = max_tokens.or(fields.count(name, least_tokens, usize::MAX)?);
        }
        let seed = fields.integer("seed", i64::MIN, i64::MAX)?;
        let sampling = Sampling {
            temperature: fields.decimal("temperature", 0.0, 2.0)?.unwrap_or(1.0) as f32,
            // 0 asks for the likeliest token alone, as the smallest positive share does.
            top_p: (fields.decimal("top_p", 0.0, 1.0)?.unwrap_or(1.0) as f32)
                .max(f32::MIN_POSITIVE),
            top_k: fields
                .integer("top_k", -1, i64::MAX)?
                .map_or(0, |top_k| usize::try_from(top_k).unwrap_or(0)),
            min_p: fields.decimal("min_p", 0.0, 1.0)?.unwrap_or(0.0) as f32,
            // A seed's bits are the engine's; negative ones are as good as others.
            seed: seed.map_or_else(identifier::random_bits, i64::cast_unsigned),
            ..Sampling::default()
        };
        let stream = fields.boolean("stream")?;
        Ok(Options {
            sampling,
            stop: stop_strings(fields)?,
            stop_ids: if fields.boolean("ignore_eos")? {
                vec![NO_TOKEN]
            } else {
                Vec::new()
            },
            max_tokens,
            choices: fields.count("n", 1, MOST_CHOICES)?.unwrap_or(1),
            stream,
            include_usage: include_usage(fields, stream)?,
            store: fields.get("store").and_then(Value::as_bool) != Some(false),
        })
    }

    /// One engine request for each choice. Choice 0 has the request's seed, the others seeds derived from it.
    pub(crate) fn requests(
        &self,
        prompt: &[u32],
        max_tokens: usize,
        logprobs: Option<usize>,
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

/// Fields that would change the answer and are not done here are refused, at values other than their default.
fn refuse_unsupported(fields: &Fields) -> Result<()> {
    for name in ["presence_penalty", "frequency_penalty"] {
        if fields
            .decimal(name, -2.0, 2.0)?
            .is_some_and(|penalty| penalty != 0.0)
        {
            return Err(ApiError::unsupported(
                name,
                &format!("'{name}' other than 0 is not supported by this server"),
            ));
        }
    }
    if fields
        .get("logit_bias")
        .is_some_and(|bias| bias.as_object().is_none_or(|bias| !bias.is_empty()))
    {
        return Err(ApiError::unsupported(
            "logit_bias",
            "'logit_bias' is not supported by this server",
        ));
    }
    Ok(())
}
