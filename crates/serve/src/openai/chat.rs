//! `POST /v1/chat/completions`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::generation::{self, Event, Events, Record, Token, Usage};
use super::logprobs::chat_entry;
use super::sampling::Options;
use super::stream::{Gone, Writer};
use super::tools::{Piece, Reader, Tools};
use super::turn::{Turn, finish_reason};
use super::{ApiError, Body, Fields, document, writer_of};
use crate::feedback::Prompt;
use crate::identifier;
use crate::loaded::Model;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

const MOST_TOP_LOGPROBS: usize = 20;

/// Answers a conversation, whole or as a stream of events.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "create_chat_completion",
    request_body = document::ChatRequest,
    responses(
        (status = 200, description = "The answer; events with `stream`", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn create(Shared(state): Shared<State>, Body(body): Body) -> Result<Response> {
    let fields = Fields::parse(&body)?;
    let name = fields.required_string("model")?;
    let messages = fields
        .get("messages")
        .ok_or_else(|| ApiError::missing("messages"))?;
    let conversation = Conversation::read(messages, "messages")?;
    let model = writer_of(&state, name)?;
    let options = Options::read(
        &fields,
        &model.engine,
        &["max_completion_tokens", "max_tokens"],
        1,
    )?;
    let logprobs = logprobs(&fields)?;
    let tools = Tools::read(&fields)?;
    let form = options.form.as_ref();
    let turn = Turn::prepare(&model.engine, &conversation, tools, form, "messages")?;
    let max_tokens = options.room(&model.engine, "messages", turn.prompt.len(), None)?;

    let head = Head::new(&model, logprobs.is_some());
    let record = state.feedback.clone().map(|store| Record {
        store,
        prompts: if state.store_prompts && options.store {
            vec![Prompt::Messages(conversation.spoken())]
        } else {
            Vec::new()
        },
        choices_per_prompt: options.choices,
        id: head.id.clone(),
        model: model.engine.model_id().to_owned(),
        created_unix: head.created_unix,
        sampling: options.describe(max_tokens),
    });
    let events = generation::start(
        &model.engine,
        options.requests(
            &turn.prompt,
            max_tokens,
            logprobs,
            None,
            turn.grammar.as_ref(),
        ),
        turn.param.as_deref(),
        record,
    )
    .await?;
    if options.stream {
        let (writer, response) = Writer::new();
        tokio::spawn(async move {
            // The client going away ends the task, and with it the generation.
            let _ = stream(&head, events, &writer, &options, &turn).await;
        });
        return Ok(response);
    }
    whole(&head, events, options.choices, &turn).await
}

/// What all objects of one answer have in common.
struct Head {
    model: Model,
    id: String,
    created_unix: u64,
    with_logprobs: bool,
}

impl Head {
    fn new(model: &Model, with_logprobs: bool) -> Head {
        let created_unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Head {
            model: model.clone(),
            id: identifier::random("chatcmpl-"),
            created_unix,
            with_logprobs,
        }
    }

    fn object(&self, kind: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created_unix,
            "model": self.model.name,
            "choices": choices,
            "system_fingerprint": fingerprint(&self.model),
        })
    }

    fn logprobs(&self, tokens: &[Token]) -> Value {
        if !self.with_logprobs {
            return Value::Null;
        }
        let tokenizer = self.model.engine.tokenizer();
        let content: Vec<Value> = tokens
            .iter()
            .map(|token| chat_entry(tokenizer, token))
            .collect();
        json!({"content": content, "refusal": null})
    }
}

/// Names the weights: equal seeds reproduce only under equal fingerprints.
pub(crate) fn fingerprint(model: &Model) -> String {
    let hash = blake3::hash(model.engine.model_id().as_bytes()).to_hex();
    format!("fp_{}", &hash.as_str()[..10])
}

async fn whole(head: &Head, events: Events, choices: usize, turn: &Turn) -> Result<Response> {
    let wholes = generation::collect(events, choices).await?;
    let mut usage = Usage::default();
    let mut objects = Vec::with_capacity(choices);
    for (index, choice) in wholes.iter().enumerate() {
        usage.prompt = choice.prompt_tokens;
        usage.completion += choice.completion_tokens;
        let spoken = turn.spoken(choice, head.model.engine.tokenizer());
        objects.push(json!({
            "index": index,
            "message": spoken.message(),
            "logprobs": head.logprobs(&choice.tokens),
            "finish_reason": finish_reason(choice.finish_reason, spoken.calls.len()),
        }));
    }
    let mut object = head.object("chat.completion", objects);
    object["usage"] = usage.json();
    Ok(Json(object).into_response())
}

async fn stream(
    head: &Head,
    mut events: Events,
    writer: &Writer,
    options: &Options,
    turn: &Turn,
) -> std::result::Result<(), Gone> {
    let chunk = |index: usize, delta: Value, logprobs: Value, finish_reason: Value| {
        let choice = json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason});
        let mut object = head.object("chat.completion.chunk", vec![choice]);
        if options.include_usage {
            object["usage"] = Value::Null;
        }
        object
    };
    for index in 0..options.choices {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        writer
            .send(&chunk(index, delta, Value::Null, Value::Null))
            .await?;
    }
    let mut usage = Usage::default();
    let mut readers: Vec<Reader> = (0..options.choices).map(|_| turn.reader()).collect();
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = writer.gone() => return Err(Gone),
        };
        match event {
            None => break,
            Some((_, Event::Prompt(_))) => {}
            // A token whose text is held back (half a character, perhaps the start of a stop string or of a call) has
            // nothing to show yet, unless its log-probability was asked for.
            Some((index, Event::Token(token))) => {
                let tokenizer = head.model.engine.tokenizer();
                let pieces = readers[index].token(tokenizer, token.id, &token.text);
                let mut deltas: Vec<Value> =
                    pieces.into_iter().map(|piece| delta(piece, turn)).collect();
                if deltas.is_empty() && head.with_logprobs {
                    deltas.push(json!({"content": ""}));
                }
                for (place, delta) in deltas.into_iter().enumerate() {
                    let logprobs = if place == 0 {
                        head.logprobs(std::slice::from_ref(&token))
                    } else {
                        Value::Null
                    };
                    writer
                        .send(&chunk(index, delta, logprobs, Value::Null))
                        .await?;
                }
            }
            Some((
                index,
                Event::Finished {
                    reason,
                    rest,
                    prompt_tokens,
                    completion_tokens,
                },
            )) => {
                let mut pieces = readers[index].push(&rest);
                pieces.extend(readers[index].finish());
                for piece in pieces {
                    let delta = delta(piece, turn);
                    writer
                        .send(&chunk(index, delta, Value::Null, Value::Null))
                        .await?;
                }
                usage.prompt = prompt_tokens;
                usage.completion += completion_tokens;
                let reason = finish_reason(reason, readers[index].calls());
                writer
                    .send(&chunk(index, json!({}), Value::Null, json!(reason)))
                    .await?;
            }
            Some((_, Event::Failed(error))) => return writer.send(&error.body()).await,
        }
    }
    if options.include_usage {
        let mut object = head.object("chat.completion.chunk", Vec::new());
        object["usage"] = usage.json();
        writer.send(&object).await?;
    }
    writer.done().await
}

/// A part of an answer as a chunk carries it.
fn delta(piece: Piece, turn: &Turn) -> Value {
    match piece {
        Piece::Text(text) => json!({"content": text}),
        Piece::Call { index, name } => json!({"tool_calls": [{
            "index": index,
            "id": turn.call_id(),
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }]}),
        Piece::Arguments { index, fragment } => {
            json!({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})
        }
    }
}

fn logprobs(fields: &Fields) -> Result<Option<usize>> {
    let wanted = fields.boolean("logprobs")?;
    let top = fields.count("top_logprobs", 0, MOST_TOP_LOGPROBS)?;
    if top.is_some_and(|top| top > 0) && !wanted {
        let message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.";
        return Err(ApiError::field("top_logprobs", "invalid_value", message));
    }
    Ok(wanted.then(|| top.unwrap_or(0)))
}
