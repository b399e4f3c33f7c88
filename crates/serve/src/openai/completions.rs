//! `POST /v1/completions`: continues texts, or token ids, as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use infer::TokenLogprob;
use serde_json::{Value, json};
use tokenizer::Tokenizer;

use super::chat::fingerprint;
use super::generation::{self, Event, Events, Record, Token, Usage, Whole};
use super::logprobs::{Row, columns};
use super::prompts::{self, PromptIds};
use super::sampling::{MOST_CHOICES, Options};
use super::stream::{Gone, Writer};
use super::structured;
use super::{ApiError, Body, Fields, document, writer_of};
use crate::feedback::Prompt;
use crate::identifier;
use crate::loaded::Model;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

const DEFAULT_MAX_TOKENS: usize = 16;
const MOST_LOGPROBS: usize = 5;

/// Continues each prompt, whole or as a stream of events.
#[utoipa::path(
    post,
    path = "/v1/completions",
    operation_id = "create_completion",
    request_body = document::CompletionRequest,
    responses(
        (status = 200, description = "The continuations; events with `stream`", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn create(Shared(state): Shared<State>, Body(body): Body) -> Result<Response> {
    let fields = Fields::parse(&body)?;
    let name = fields.required_string("model")?;
    let model = writer_of(&state, name)?;
    let mut options = Options::read(&fields, &model.engine, &["max_tokens"], 0)?;
    let logprobs = fields.count("logprobs", 0, MOST_LOGPROBS)?;
    let echo = fields.boolean("echo")?;
    let candidates = candidates(&fields, &options)?;
    let mut prompts = prompts::prompts(&fields, model.engine.tokenizer())?;
    if prompts.len() * candidates > MOST_CHOICES {
        let message = format!(
            "Invalid 'prompt': prompts times 'n' (or 'best_of') must be at most {MOST_CHOICES}."
        );
        return Err(ApiError::field("prompt", "array_above_max_length", message));
    }
    let wanted = options.choices;
    options.choices = candidates;
    if let Some(suffix) = fields.string("suffix")?.filter(|suffix| !suffix.is_empty()) {
        if echo {
            return Err(structured::contradiction("echo", "suffix"));
        }
        prompts::before_suffix(model.engine.tokenizer(), &mut prompts, suffix)?;
    }
    if echo && logprobs.is_some() && options.max_tokens == Some(1) {
        // Whoever scores a prompt so takes the last row to be the answer's (lm-evaluation-harness does), even where
        // the model would have ended the text.
        options.run_on();
    }

    // The best candidates are told by their log-probabilities.
    let asked = logprobs.or((candidates > wanted).then_some(0));
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
        requests.extend(options.requests(
            &prompt.ids,
            max_tokens,
            asked,
            echo.then_some(logprobs).flatten(),
            options.form.as_ref().map(|form| &form.grammar),
        ));
    }
    let head = Head {
        created_unix: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        id: identifier::random("cmpl-"),
        prompt_tokens: prompts.iter().map(|prompt| prompt.ids.len()).sum(),
        echoes: echo,
        prompts,
        candidates,
        choices: wanted,
        with_logprobs: logprobs.is_some(),
        model,
    };
    // Of candidates that are not told, an id and a number would name the wrong one.
    let store = state.feedback.clone().filter(|_| candidates == wanted);
    let record = store.map(|store| Record {
        store,
        prompts: if state.store_prompts && options.store {
            let texts = head.prompts.iter().map(|prompt| prompt.text.clone());
            texts.map(Prompt::Text).collect()
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
    let form = options.form.as_ref().map(|form| form.param.as_str());
    let events = generation::start(&head.model.engine, requests, form, record).await?;
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

struct Head {
    model: Model,
    id: String,
    created_unix: u64,
    prompt_tokens: usize,
    prompts: Vec<PromptIds>,
    /// Whether each prompt comes back before its continuation.
    echoes: bool,
    /// How many answers are made to each prompt.
    candidates: usize,
    /// How many of them are told.
    choices: usize,
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

    /// What is given back of the prompt of a candidate before its continuation: the text, and a row for each token.
    fn echo(&self, candidate: usize, told: &[TokenLogprob]) -> Result<(String, Vec<Row>)> {
        match self.prompts.get(candidate / self.candidates) {
            Some(prompt) if self.echoes => {
                let tokenizer = self.model.engine.tokenizer();
                Ok((prompt.text.clone(), prompt_rows(tokenizer, prompt, told)?))
            }
            _ => Ok((String::new(), Vec::new())),
        }
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

async fn whole(head: &Head, events: Events, candidates: usize) -> Result<Response> {
    let wholes = generation::collect(events, candidates).await?;
    let completion = wholes.iter().map(|whole| whole.completion_tokens).sum();
    let mut objects = Vec::with_capacity(candidates);
    for (number, group) in wholes.chunks(head.candidates).enumerate() {
        let mut best: Vec<usize> = (0..group.len()).collect();
        if head.choices < head.candidates {
            best.sort_by(|&a, &b| likelihood(&group[b]).total_cmp(&likelihood(&group[a])));
            best.truncate(head.choices);
        }
        for place in best {
            let whole = &group[place];
            let (mut text, mut rows) =
                head.echo(number * head.candidates + place, &whole.prompt)?;
            rows.extend(rows_of(&whole.tokens, text.chars().count()));
            text.push_str(&whole.text);
            objects.push(json!({
                "index": objects.len(),
                "text": text,
                "logprobs": head.logprobs(&rows),
                "finish_reason": whole.finish_reason,
            }));
        }
    }
    let mut object = head.object(objects);
    object["usage"] = Usage {
        prompt: head.prompt_tokens,
        completion,
    }
    .json();
    Ok(Json(object).into_response())
}

/// The mean log-probability of an answer's tokens.
fn likelihood(whole: &Whole) -> f32 {
    let sum: f32 = whole.tokens.iter().map(|token| token.logprob).sum();
    sum / whole.tokens.len().max(1) as f32
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
    if head.echoes && !head.with_logprobs {
        for (index, offset) in offsets.iter_mut().enumerate() {
            let text = head
                .prompts
                .get(index / head.candidates)
                .map_or("", |prompt| &prompt.text);
            *offset = text.chars().count();
            writer
                .send(&chunk(index, text, Value::Null, Value::Null))
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
            Some((index, Event::Prompt(told))) => match head.echo(index, &told) {
                Ok((text, rows)) => {
                    offsets[index] = text.chars().count();
                    writer
                        .send(&chunk(index, &text, head.logprobs(&rows), Value::Null))
                        .await?;
                }
                Err(error) => return writer.send(&error.body()).await,
            },
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

/// A row for each token of a prompt. Nothing comes before the first, so nothing is told of it.
fn prompt_rows(
    tokenizer: &Tokenizer,
    prompt: &PromptIds,
    told: &[TokenLogprob],
) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(prompt.ids.len());
    let (mut decoder, mut offset) = (tokenizer.decode_stream(), 0);
    for (position, &id) in prompt.ids.iter().enumerate() {
        let told = position.checked_sub(1).and_then(|before| told.get(before));
        rows.push(Row {
            id,
            logprob: told.map(|told| told.logprob),
            top: told.map(|told| told.top.clone()),
            offset,
        });
        let piece = decoder.push(id).map_err(|error| {
            tracing::error!(%error, "a prompt's token could not be decoded");
            ApiError::internal()
        })?;
        offset += piece.map_or(0, |text| text.chars().count());
    }
    Ok(rows)
}

/// How many answers are made to each prompt: `best_of`, of which the likeliest `n` are told.
fn candidates(fields: &Fields, options: &Options) -> Result<usize> {
    let Some(best_of) = fields.count("best_of", 1, MOST_CHOICES)? else {
        return Ok(options.choices);
    };
    if best_of < options.choices {
        let message = format!(
            "Invalid 'best_of': expected at least 'n' ({}), but got {best_of} instead.",
            options.choices
        );
        return Err(ApiError::field("best_of", "invalid_value", message));
    }
    if best_of > options.choices && options.stream {
        let message = "Invalid 'best_of': the best answer is known at the end only, so 'best_of' above 'n' cannot be \
                       used with 'stream'.";
        return Err(ApiError::field(
            "best_of",
            "invalid_parameter_combination",
            message,
        ));
    }
    Ok(best_of)
}
