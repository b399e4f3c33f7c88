//! `POST /v1/responses`, `GET` and `DELETE /v1/responses/{id}`: turns of a conversation that the server remembers.

mod input;
mod kept;
mod output;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use self::kept::Kept;
use self::output::Output;
use super::generation::{self, Event, Events, Record, Usage};
use super::sampling::Options;
use super::stream::{Gone, Writer};
use super::structured::{self, Form};
use super::tools::Tools;
use super::turn::Turn;
use super::{ApiError, Body, Fields, document, writer_of};
use crate::feedback::Prompt;
use crate::identifier;
use crate::loaded::Model;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

/// The routes, with the memory that they share.
pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/v1/responses", post(create))
        .route("/v1/responses/{id}", get(retrieve).delete(forget))
        .layer(Extension(Arc::new(Kept::default())))
}

#[utoipa::path(
    get,
    path = "/v1/responses/{id}",
    operation_id = "retrieve_response",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The response", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(super) async fn retrieve(
    Extension(kept): Extension<Arc<Kept>>,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let found = kept.get(&id).ok_or_else(|| unknown("response_id", &id))?;
    Ok(Json(found.object))
}

#[utoipa::path(
    delete,
    path = "/v1/responses/{id}",
    operation_id = "delete_response",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "That it is forgotten", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(super) async fn forget(
    Extension(kept): Extension<Arc<Kept>>,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    if kept.remove(&id) {
        Ok(Json(
            json!({"id": id, "object": "response", "deleted": true}),
        ))
    } else {
        Err(unknown("response_id", &id))
    }
}

fn unknown(param: &str, id: &str) -> ApiError {
    let message = format!("Response with id '{id}' not found.");
    ApiError::not_found(param, "response_not_found", message)
}

#[utoipa::path(
    post,
    path = "/v1/responses",
    operation_id = "create_response",
    request_body = document::ResponseRequest,
    responses(
        (status = 200, description = "The response; events with `stream`", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(super) async fn create(
    Shared(state): Shared<State>,
    Extension(kept): Extension<Arc<Kept>>,
    Body(body): Body,
) -> Result<Response> {
    let mut fields = Fields::parse(&body)?;
    let model = writer_of(&state, fields.required_string("model")?)?;
    refuse_unsupported(&fields)?;
    // A response has one answer.
    fields.set("n", Value::Null);
    fields.set("stream_options", Value::Null);
    let mut messages = match fields.string("previous_response_id")? {
        None => Vec::new(),
        Some(id) => {
            let before = kept.get(id);
            before
                .ok_or_else(|| unknown("previous_response_id", id))?
                .messages
        }
    };
    let given = fields
        .get("input")
        .ok_or_else(|| ApiError::missing("input"))?;
    messages.extend(input::read(given)?);
    let options = Options::read(&fields, &model.engine, &["max_output_tokens"], 1)?;
    let form = text_form(&fields)?;
    let tools = Tools::read(&fields)?;
    let instructions = fields.string("instructions")?;
    let may_drop = match fields.string("truncation")? {
        None | Some("disabled") => false,
        Some("auto") => true,
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'auto' and 'disabled'.");
            return Err(ApiError::field("truncation", "invalid_value", message));
        }
    };
    let (turn, max_tokens) = loop {
        let conversation = input::instructed(instructions, &messages);
        let tools = tools.clone();
        let turn = Turn::prepare(&model.engine, &conversation, tools, form.as_ref(), "input")?;
        match options.room(&model.engine, "input", turn.prompt.len(), None) {
            Ok(room) => break (turn, room),
            Err(error) => match oldest(&messages).filter(|_| may_drop) {
                Some(oldest) => drop(messages.remove(oldest)),
                None => return Err(error),
            },
        }
    };
    let head = Head::new(&fields, model, &options, tools.as_ref());
    let record = state.feedback.clone().map(|store| Record {
        store,
        prompts: if state.store_prompts && options.store {
            let conversation = input::instructed(instructions, &messages);
            vec![Prompt::Messages(conversation.spoken())]
        } else {
            Vec::new()
        },
        choices_per_prompt: 1,
        id: head.id.clone(),
        model: head.model.engine.model_id().to_owned(),
        created_unix: head.created_unix,
        sampling: options.describe(max_tokens),
    });
    let requests = options.requests(&turn.prompt, max_tokens, None, None, turn.grammar.as_ref());
    let events =
        generation::start(&head.model.engine, requests, turn.param.as_deref(), record).await?;
    let memory = options.store.then_some((kept, messages));
    let telling = Telling { head, turn, memory };
    if options.stream {
        let (writer, response) = Writer::new();
        tokio::spawn(async move {
            // The client going away ends the task, and with it the generation.
            let _ = telling.stream(events, &writer).await;
        });
        return Ok(response);
    }
    telling.whole(events).await
}

/// The oldest message that may be dropped when the context is too short: not the system's, and not the last.
fn oldest(messages: &[Value]) -> Option<usize> {
    let before_last = messages.len().saturating_sub(1);
    messages[..before_last]
        .iter()
        .position(|message| message["role"] != "system")
}

/// `text.format`, which names a schema without the level that `response_format` puts around it.
fn text_form(fields: &Fields) -> Result<Option<Form>> {
    let asked = structured::read(fields)?;
    let Some(format) = fields
        .get("text")
        .and_then(|text| text.get("format"))
        .filter(|format| !format.is_null())
    else {
        return Ok(asked);
    };
    let grammar = if format.get("type") == Some(&json!("json_schema")) {
        Some(structured::named_schema("text.format", format)?)
    } else {
        structured::response_format(format)?
    };
    match (grammar, asked) {
        (Some(_), Some(form)) => Err(structured::contradiction(&form.param, "text.format")),
        (None, asked) => Ok(asked),
        (Some(grammar), None) => Ok(Some(Form {
            grammar,
            param: "text.format".to_owned(),
        })),
    }
}

fn refuse_unsupported(fields: &Fields) -> Result<()> {
    for name in ["conversation", "prompt"] {
        if fields.get(name).is_some() {
            let what = format!("'{name}' is not supported by this server");
            return Err(ApiError::unsupported(name, &what));
        }
    }
    if fields.boolean("background")? {
        let what = "'background' is not supported by this server";
        return Err(ApiError::unsupported("background", what));
    }
    if fields
        .count("top_logprobs", 0, 20)?
        .is_some_and(|top| top > 0)
    {
        let what = "'top_logprobs' is not supported here; /v1/chat/completions has them";
        return Err(ApiError::unsupported("top_logprobs", what));
    }
    Ok(())
}

/// What all objects of one response have in common.
struct Head {
    model: Model,
    id: String,
    created_unix: u64,
    /// The response before its answer.
    object: Value,
}

impl Head {
    fn new(fields: &Fields, model: Model, options: &Options, tools: Option<&Tools>) -> Head {
        let id = identifier::random("resp_");
        let created_unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let given = |name: &str, otherwise: Value| fields.get(name).cloned().unwrap_or(otherwise);
        let format = fields.get("text").and_then(|text| text.get("format"));
        let format = format.cloned().unwrap_or_else(|| json!({"type": "text"}));
        let object = json!({
            "id": id,
            "object": "response",
            "created_at": created_unix,
            "status": "in_progress",
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": given("instructions", Value::Null),
            "max_output_tokens": options.max_tokens,
            "metadata": given("metadata", json!({})),
            "model": model.name,
            "output": [],
            "parallel_tool_calls": tools.is_none_or(|tools| tools.parallel),
            "previous_response_id": given("previous_response_id", Value::Null),
            "reasoning": {"effort": null, "summary": null},
            "store": options.store,
            "temperature": given("temperature", json!(1.0)),
            "text": {"format": format},
            "tool_choice": given("tool_choice", json!("auto")),
            "tools": given("tools", json!([])),
            "top_p": given("top_p", json!(1.0)),
            "truncation": given("truncation", json!("disabled")),
            "usage": null,
            "user": given("user", Value::Null),
        });
        Head {
            model,
            id,
            created_unix,
            object,
        }
    }

    /// The response with its answer.
    fn ended(&self, output: &Output, reason: &str, usage: Usage) -> Value {
        let mut object = self.object.clone();
        let cut = reason == "length";
        object["status"] = json!(if cut { "incomplete" } else { "completed" });
        if cut {
            object["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        object["output"] = Value::Array(output.items.clone());
        object["usage"] = json!({
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt + usage.completion,
        });
        object
    }
}

/// A response under way.
struct Telling {
    head: Head,
    turn: Turn,
    /// Where it is kept, and the messages before its answer.
    memory: Option<(Arc<Kept>, Vec<Value>)>,
}

impl Telling {
    /// Keeps the response, so that the client that has it can go on from it.
    fn keep(&self, object: &Value, output: &Output) {
        if let Some((kept, messages)) = &self.memory {
            let mut messages = messages.clone();
            messages.push(output.message());
            let response = kept::Response {
                object: object.clone(),
                messages,
            };
            kept.insert(&self.head.id, response);
        }
    }

    async fn whole(&self, events: Events) -> Result<Response> {
        let wholes = generation::collect(events, 1).await?;
        let mut output = Output::default();
        let whole = wholes.first().ok_or_else(ApiError::internal)?;
        let tokenizer = self.head.model.engine.tokenizer();
        for piece in self.turn.pieces(whole, tokenizer) {
            drop(output.take(piece, &self.turn));
        }
        output.close(status(whole.finish_reason), &mut Vec::new());
        let usage = Usage {
            prompt: whole.prompt_tokens,
            completion: whole.completion_tokens,
        };
        let object = self.head.ended(&output, whole.finish_reason, usage);
        self.keep(&object, &output);
        Ok(Json(object).into_response())
    }

    async fn stream(&self, mut events: Events, writer: &Writer) -> std::result::Result<(), Gone> {
        let mut teller = Teller { writer, number: 0 };
        for kind in ["response.created", "response.in_progress"] {
            let event = json!({"type": kind, "response": self.head.object});
            teller.tell(event).await?;
        }
        let mut output = Output::default();
        let mut reader = self.turn.reader();
        let tokenizer = self.head.model.engine.tokenizer();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = writer.gone() => return Err(Gone),
            };
            match event {
                None => return Ok(()),
                Some((_, Event::Prompt(_))) => {}
                Some((_, Event::Token(token))) => {
                    for piece in reader.token(tokenizer, token.id, &token.text) {
                        teller.tell_all(output.take(piece, &self.turn)).await?;
                    }
                }
                Some((
                    _,
                    Event::Finished {
                        reason,
                        rest,
                        prompt_tokens,
                        completion_tokens,
                    },
                )) => {
                    let mut pieces = reader.push(&rest);
                    pieces.extend(reader.finish());
                    for piece in pieces {
                        teller.tell_all(output.take(piece, &self.turn)).await?;
                    }
                    let mut closing = Vec::new();
                    output.close(status(reason), &mut closing);
                    teller.tell_all(closing).await?;
                    let usage = Usage {
                        prompt: prompt_tokens,
                        completion: completion_tokens,
                    };
                    let object = self.head.ended(&output, reason, usage);
                    self.keep(&object, &output);
                    let kind = format!("response.{}", status(reason));
                    teller
                        .tell(json!({"type": kind, "response": object}))
                        .await?;
                }
                Some((_, Event::Failed(error))) => {
                    let mut object = self.head.object.clone();
                    let body = error.body();
                    object["status"] = json!("failed");
                    object["error"] =
                        json!({"code": "server_error", "message": body["error"]["message"]});
                    let event = json!({"type": "response.failed", "response": object});
                    return teller.tell(event).await;
                }
            }
        }
    }
}

fn status(reason: &str) -> &'static str {
    if reason == "length" {
        "incomplete"
    } else {
        "completed"
    }
}

/// Numbers the events of a stream.
struct Teller<'writer> {
    writer: &'writer Writer,
    number: u64,
}

impl Teller<'_> {
    async fn tell(&mut self, mut event: Value) -> std::result::Result<(), Gone> {
        event["sequence_number"] = json!(self.number);
        self.number += 1;
        self.writer.send_typed(&event).await
    }

    async fn tell_all(&mut self, events: Vec<Value>) -> std::result::Result<(), Gone> {
        for event in events {
            self.tell(event).await?;
        }
        Ok(())
    }
}
