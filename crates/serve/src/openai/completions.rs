//! `POST /v1/completions`: continues texts, or token ids, as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use infer::Engine;
use serde_json::{Value, json};
use tokenizer::Tokenizer;

use super::chat::fingerprint;
use super::generation::{self, Event, Events, Record, Token, Usage};
use super::logprobs::{Row, columns};
use super::sampling::{MOST_CHOICES, Options};
use super::stream::{Gone, Writer};
use super::{ApiError, Body, Fields};
use crate::feedback::Prompt;
use crate::identifier;
use crate::loaded::Model;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

const DEFAULT_MAX_TOKENS: usize = 16;
const MOST_LOGPROBS: usize = 5;

/// Continues each prompt, whole or as a stream of events.
pub(crate) async fn create(Shared(state): Shared<State>, Body(body): Body) -> Result<Response> {
    let fields = Fields::parse(&body)?;
    let name = fields.required_string("model")?;
    let model = state
        .models
        .get(name)
        .ok_or_else(|| ApiError::model_not_found(name))?;
    let options = Options::read(&fields, &["max_tokens"], 0)?;
    let logprobs = fields.count("logprobs", 0, MOST_LOGPROBS)?;
    let echo = fields.boolean("echo")?;
    refuse_unsupported(&fields, options.choices)?;
    let prompts = prompts(&fields, model.engine.tokenizer())?;
    if prompts.len() * options.choices > MOST_CHOICES {
        let message =
            format!("Invalid 'prompt': prompts times 'n' must be at most {MOST_CHOICES}.");
        return Err(ApiError::field("prompt", "array_above_max_length", message));
    }

    let mut requests = Vec::new();
    let mut most = 0;
    for prompt in &prompts {
        let max_tokens = options.room(
            &model.engine,
            "prompt",
            prompt.ids.len(),
            Some(DEFAULT_MAX_TOKENS),
        )?;
        most = most.max(max_tokens);
        requests.extend(options.requests(&prompt.ids, max_tokens, logprobs));
    }
    let head = Head {
        created_unix: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        id: identifier::random("cmpl-"),
        prompt_tokens: prompts.iter().map(|prompt| prompt.ids.len()).sum(),
        echoes: if echo {
            echoes(&model, &prompts, logprobs.is_some()).await?
        } else {
            Vec::new()
        },
        choices_per_prompt: options.choices,
        with_logprobs: logprobs.is_some(),
        model,
    };
    let record = state.feedback.clone().map(|store| Record {
        store,
        prompts: if state.store_prompts && options.store {
            prompts
                .into_iter()
                .map(|prompt| Prompt::Text(prompt.text))
                .collect()
        } else {
            Vec::new()
        },
        choices_per_prompt: options.choices,
        id: head.id.clone(),
        model: head.model.engine.model_id().to_owned(),
        created_unix: head.created_unix,
        sampling: options.describe(most),
    });
    let choices = requests.len();
    let events = generation::start(&head.model.engine, requests, record)?;
    if options.stream {
        let (writer, response) = Writer::new();
        tokio::spawn(async move {
            // The client going away ends the task, and with it the generation.
            let _ = stream(&head, events, &writer, choices, options.include_usage).await;
        });
        return Ok(response);
    }
    whole(&head, events, choices).await
}

struct PromptIds {
    ids: Vec<u32>,
    text: String,
}

/// A prompt as it is given back before its continuation.
struct Echo {
    text: String,
    rows: Vec<Row>,
}

struct Head {
    model: Model,
    id: String,
    created_unix: u64,
    prompt_tokens: usize,
    echoes: Vec<Echo>,
    choices_per_prompt: usize,
    with_logprobs: bool,
}

impl Head {
    fn object(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created_unix,
            "model": self.model.name,
            "choices": choices,
            "system_fingerprint": fingerprint(&self.model),
        })
    }

    fn echo(&self, choice: usize) -> Option<&Echo> {
        self.echoes.get(choice / self.choices_per_prompt)
    }

    fn logprobs(&self, rows: &[Row]) -> Value {
        if self.with_logprobs {
            columns(self.model.engine.tokenizer(), rows)
        } else {
            Value::Null
        }
    }
}

/// Rows for `tokens`, the first of which begins at character `offset`.
fn rows_of(tokens: &[Token], mut offset: usize) -> Vec<Row> {
    let row = |token: &Token| {
        let row = Row {
            id: token.id,
            logprob: Some(token.logprob),
            top: Some(token.top.clone()),
            offset,
        };
        offset += token.text.chars().count();
        row
    };
    tokens.iter().map(row).collect()
}

async fn whole(head: &Head, events: Events, choices: usize) -> Result<Response> {
    let wholes = generation::collect(events, choices).await?;
    let mut completion = 0;
    let mut objects = Vec::with_capacity(choices);
    for (index, choice) in wholes.iter().enumerate() {
        completion += choice.completion_tokens;
        let (mut text, mut rows) = (String::new(), Vec::new());
        if let Some(echo) = head.echo(index) {
            text.push_str(&echo.text);
            rows.extend(echo.rows.iter().cloned());
        }
        rows.extend(rows_of(&choice.tokens, text.chars().count()));
        text.push_str(&choice.text);
        objects.push(json!({
            "index": index,
            "text": text,
            "logprobs": head.logprobs(&rows),
            "finish_reason": choice.finish_reason,
        }));
    }
    let mut object = head.object(objects);
    object["usage"] = Usage {
        prompt: head.prompt_tokens,
        completion,
    }
    .json();
    Ok(Json(object).into_response())
}

async fn stream(
    head: &Head,
    mut events: Events,
    writer: &Writer,
    choices: usize,
    include_usage: bool,
) -> std::result::Result<(), Gone> {
    let chunk = |index: usize, text: &str, logprobs: Value, finish_reason: Value| {
        let choice = json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason});
        let mut object = head.object(vec![choice]);
        if include_usage {
            object["usage"] = Value::Null;
        }
        object
    };
    let mut offsets = vec![0; choices];
    for (index, offset) in offsets.iter_mut().enumerate() {
        if let Some(echo) = head.echo(index) {
            *offset = echo.text.chars().count();
            writer
                .send(&chunk(
                    index,
                    &echo.text,
                    head.logprobs(&echo.rows),
                    Value::Null,
                ))
                .await?;
        }
    }
    let mut completion = 0;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = writer.gone() => return Err(Gone),
        };
        match event {
            None => break,
            Some((_, Event::Token(token))) if token.text.is_empty() && !head.with_logprobs => {}
            Some((index, Event::Token(token))) => {
                let logprobs =
                    head.logprobs(&rows_of(std::slice::from_ref(&token), offsets[index]));
                offsets[index] += token.text.chars().count();
                writer
                    .send(&chunk(index, &token.text, logprobs, Value::Null))
                    .await?;
            }
            Some((
                index,
                Event::Finished {
                    reason,
                    rest,
                    completion_tokens,
                    ..
                },
            )) => {
                completion += completion_tokens;
                writer
                    .send(&chunk(index, &rest, Value::Null, json!(reason)))
                    .await?;
            }
            Some((_, Event::Failed(error))) => return writer.send(&error.body()).await,
        }
    }
    if include_usage {
        let mut object = head.object(Vec::new());
        object["usage"] = Usage {
            prompt: head.prompt_tokens,
            completion,
        }
        .json();
        writer.send(&object).await?;
    }
    writer.done().await
}

/// The prompts as they are echoed; with log-probabilities, each token's given those before it.
async fn echoes(model: &Model, prompts: &[PromptIds], with_logprobs: bool) -> Result<Vec<Echo>> {
    let mut scores = vec![Vec::new(); prompts.len()];
    if with_logprobs {
        let pairs: Vec<_> = prompts
            .iter()
            .map(|prompt| (prompt.ids[..1].to_vec(), prompt.ids[1..].to_vec()))
            .collect();
        let engine: Engine = model.engine.clone();
        let scored = tokio::task::spawn_blocking(move || engine.score(&pairs)).await;
        scores = scored.map_err(failed)?.map_err(failed)?;
    }
    prompts
        .iter()
        .zip(scores)
        .map(|(prompt, scores)| echo(model.engine.tokenizer(), prompt, &scores))
        .collect()
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "scoring a prompt failed");
    ApiError::internal()
}

fn echo(tokenizer: &Tokenizer, prompt: &PromptIds, scores: &[f32]) -> Result<Echo> {
    let mut rows = Vec::with_capacity(prompt.ids.len());
    let (mut decoder, mut offset) = (tokenizer.decode_stream(), 0);
    for (position, &id) in prompt.ids.iter().enumerate() {
        let logprob = position
            .checked_sub(1)
            .and_then(|before| scores.get(before))
            .copied();
        rows.push(Row {
            id,
            logprob,
            top: None,
            offset,
        });
        offset += decoder
            .push(id)
            .map_err(failed)?
            .map_or(0, |text| text.chars().count());
    }
    Ok(Echo {
        text: prompt.text.clone(),
        rows,
    })
}

/// `prompt`: a text, texts, token ids, or lists of token ids.
fn prompts(fields: &Fields, tokenizer: &Tokenizer) -> Result<Vec<PromptIds>> {
    let value = fields
        .get("prompt")
        .ok_or_else(|| ApiError::missing("prompt"))?;
    let prompts: Vec<PromptIds> = match value {
        Value::String(text) => vec![text_prompt(tokenizer, text)?],
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            vec![id_prompt(tokenizer, value)?]
        }
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| match item {
                Value::String(text) => text_prompt(tokenizer, text),
                other => id_prompt(tokenizer, other),
            })
            .collect::<Result<_>>()?,
        Value::Array(_) => {
            return Err(ApiError::field(
                "prompt",
                "empty_array",
                "Invalid 'prompt': empty array.",
            ));
        }
        other => {
            return Err(ApiError::wrong_type(
                "prompt",
                "a string, or an array of strings or token ids",
                other,
            ));
        }
    };
    if prompts.iter().any(|prompt| prompt.ids.is_empty()) {
        let message = "Invalid 'prompt': a prompt must hold at least one token.";
        return Err(ApiError::field("prompt", "invalid_value", message));
    }
    Ok(prompts)
}

fn text_prompt(tokenizer: &Tokenizer, text: &str) -> Result<PromptIds> {
    let refused = |error| {
        ApiError::field(
            "prompt",
            "invalid_value",
            format!("Invalid 'prompt': {error}."),
        )
    };
    let mut ids = tokenizer.encode(text).map_err(refused)?;
    if ids.is_empty() {
        // Nothing to continue means the beginning of a new document.
        ids.push(tokenizer.end_of_text());
    }
    Ok(PromptIds {
        ids,
        text: text.to_owned(),
    })
}

fn id_prompt(tokenizer: &Tokenizer, value: &Value) -> Result<PromptIds> {
    let refuse = |message: String| {
        ApiError::field(
            "prompt",
            "invalid_value",
            format!("Invalid 'prompt': {message}."),
        )
    };
    let items = value
        .as_array()
        .ok_or_else(|| ApiError::wrong_type("prompt", "an array of token ids", value))?;
    let vocabulary = tokenizer.vocab_size();
    let id = |item: &Value| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        let known = id.filter(|&id| usize::try_from(id).is_ok_and(|id| id < vocabulary));
        known.ok_or_else(|| {
            refuse(format!(
                "{item} is not a token id of this model (0 to {})",
                vocabulary - 1
            ))
        })
    };
    let ids: Vec<u32> = items.iter().map(id).collect::<Result<_>>()?;
    let text = tokenizer
        .decode(&ids)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(PromptIds { ids, text })
}

fn refuse_unsupported(fields: &Fields, choices: usize) -> Result<()> {
    if fields
        .string("suffix")?
        .is_some_and(|suffix| !suffix.is_empty())
    {
        return Err(ApiError::unsupported(
            "suffix",
            "'suffix' is not supported with this model",
        ));
    }
    if fields
        .count("best_of", 1, MOST_CHOICES)?
        .is_some_and(|best_of| best_of != choices)
    {
        return Err(ApiError::unsupported(
            "best_of",
            "'best_of' other than 'n' is not supported by this server",
        ));
    }
    Ok(())
}
