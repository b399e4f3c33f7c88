//! `POST /v1/chat/completions`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokenizer::Message;

use super::generation::{self, Event, Events, Record, Token, Usage};
use super::logprobs::chat_entry;
use super::sampling::Options;
use super::stream::{Gone, Writer};
use super::{ApiError, Body, Fields};
use crate::feedback::Prompt;
use crate::identifier;
use crate::loaded::Model;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];
const MOST_TOP_LOGPROBS: usize = 20;

/// Answers a conversation, whole or as a stream of events.
pub(crate) async fn create(Shared(state): Shared<State>, Body(body): Body) -> Result<Response> {
    let fields = Fields::parse(&body)?;
    let name = fields.required_string("model")?;
    let messages = messages(&fields)?;
    let model = state
        .models
        .get(name)
        .ok_or_else(|| ApiError::model_not_found(name))?;
    refuse_unsupported(&fields)?;
    let options = Options::read(&fields, &["max_completion_tokens", "max_tokens"], 1)?;
    let logprobs = logprobs(&fields)?;
    let prompt = model
        .engine
        .tokenizer()
        .encode_chat(&messages, true)
        .map_err(|error| {
            ApiError::field(
                "messages",
                "invalid_value",
                format!("The model's chat template refused the messages: {error}."),
            )
        })?;
    let max_tokens = options.room(&model.engine, "messages", prompt.len(), None)?;

    let head = Head::new(&model, logprobs.is_some());
    let record = state.feedback.clone().map(|store| Record {
        store,
        prompts: if state.store_prompts && options.store {
            vec![Prompt::Messages(messages)]
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
        options.requests(&prompt, max_tokens, logprobs),
        record,
    )?;
    if options.stream {
        let (writer, response) = Writer::new();
        tokio::spawn(async move {
            // The client going away ends the task, and with it the generation.
            let _ = stream(&head, events, &writer, &options).await;
        });
        return Ok(response);
    }
    whole(&head, events, options.choices).await
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

async fn whole(head: &Head, events: Events, choices: usize) -> Result<Response> {
    let wholes = generation::collect(events, choices).await?;
    let mut usage = Usage::default();
    let mut objects = Vec::with_capacity(choices);
    for (index, choice) in wholes.iter().enumerate() {
        usage.prompt = choice.prompt_tokens;
        usage.completion += choice.completion_tokens;
        objects.push(json!({
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": null},
            "logprobs": head.logprobs(&choice.tokens),
            "finish_reason": choice.finish_reason,
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
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = writer.gone() => return Err(Gone),
        };
        match event {
            None => break,
            // A token whose text is held back (half a character, perhaps the start of a stop string) has nothing to
            // show yet, unless its log-probability was asked for.
            Some((_, Event::Token(token))) if token.text.is_empty() && !head.with_logprobs => {}
            Some((index, Event::Token(token))) => {
                let delta = json!({"content": token.text});
                let logprobs = head.logprobs(std::slice::from_ref(&token));
                writer
                    .send(&chunk(index, delta, logprobs, Value::Null))
                    .await?;
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
                if !rest.is_empty() {
                    writer
                        .send(&chunk(
                            index,
                            json!({"content": rest}),
                            Value::Null,
                            Value::Null,
                        ))
                        .await?;
                }
                usage.prompt = prompt_tokens;
                usage.completion += completion_tokens;
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

fn messages(fields: &Fields) -> Result<Vec<Message>> {
    let value = fields
        .get("messages")
        .ok_or_else(|| ApiError::missing("messages"))?;
    let rows = value
        .as_array()
        .ok_or_else(|| ApiError::wrong_type("messages", "an array of objects", value))?;
    if rows.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty \
                       array instead.";
        return Err(ApiError::field("messages", "empty_array", message));
    }
    rows.iter()
        .enumerate()
        .map(|(index, row)| message(&format!("messages[{index}]"), row))
        .collect()
}

fn message(at: &str, row: &Value) -> Result<Message> {
    let row = row
        .as_object()
        .ok_or_else(|| ApiError::wrong_type(at, "an object", row))?;
    let role_at = format!("{at}.role");
    let role = match row.get("role") {
        None | Some(Value::Null) => return Err(ApiError::missing(&role_at)),
        Some(Value::String(role)) => role.as_str(),
        Some(other) => return Err(ApiError::wrong_type(&role_at, "a string", other)),
    };
    if !ROLES.contains(&role) {
        let supported = ROLES.map(|role| format!("'{role}'")).join(", ");
        let message = format!("Invalid value: '{role}'. Supported values are: {supported}.");
        return Err(ApiError::field(&role_at, "invalid_value", message));
    }
    let role = if role == "developer" { "system" } else { role };
    Ok(Message {
        role: role.to_owned(),
        content: content(&format!("{at}.content"), row, role)?,
    })
}

/// A message's text: a string, or a list of text parts, which are put together as they are.
fn content(at: &str, row: &Map<String, Value>, role: &str) -> Result<String> {
    match row.get("content") {
        // An assistant's message may hold a refusal or tool calls instead.
        None | Some(Value::Null) if role == "assistant" => Ok(String::new()),
        None | Some(Value::Null) => Err(ApiError::missing(at)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => parts
            .iter()
            .enumerate()
            .map(|(index, part)| text_part(&format!("{at}[{index}]"), part))
            .collect(),
        Some(other) => Err(ApiError::wrong_type(
            at,
            "a string or an array of text parts",
            other,
        )),
    }
}

fn text_part<'part>(at: &str, part: &'part Value) -> Result<&'part str> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "text" | "refusal") {
        let message = format!(
            "Invalid value: '{kind}'. This model reads text only; supported values are: 'text'."
        );
        return Err(ApiError::field(
            &format!("{at}.type"),
            "invalid_value",
            message,
        ));
    }
    part.get(kind)
        .and_then(Value::as_str)
        .ok_or_else(|| ApiError::missing(&format!("{at}.{kind}")))
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

fn refuse_unsupported(fields: &Fields) -> Result<()> {
    let format = fields
        .get("response_format")
        .and_then(|format| format.get("type"))
        .and_then(Value::as_str);
    if fields.get("response_format").is_some() && format != Some("text") {
        let what =
            "'response_format' other than {\"type\": \"text\"} is not supported by this server";
        return Err(ApiError::unsupported("response_format", what));
    }
    let forbidden = fields.get("tool_choice").and_then(Value::as_str) == Some("none");
    for name in ["tools", "functions"] {
        let given = fields
            .get(name)
            .is_some_and(|tools| tools.as_array().is_none_or(|tools| !tools.is_empty()));
        if given && !forbidden {
            return Err(ApiError::unsupported(
                name,
                &format!("'{name}' is not supported with this model"),
            ));
        }
    }
    Ok(())
}
