//! `POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, as vLLM has them: for clients that count tokens, or
//! send ids, without having the tokenizer.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State as Shared};
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::tools::Tools;
use super::{ApiError, Body, Fields, document, writer_of};
use crate::loaded::Model;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

/// The ids of a text, or of a conversation.
#[utoipa::path(
    post,
    path = "/tokenize",
    operation_id = "tokenize",
    request_body = document::TokenizeRequest,
    responses(
        (status = 200, description = "The ids", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn tokenize(
    Shared(state): Shared<State>,
    Body(body): Body,
) -> Result<Json<Value>> {
    let fields = Fields::parse(&body)?;
    let model = model(&state, fields.string("model")?)?;
    let tokenizer = model.engine.tokenizer();
    let ids = match (fields.get("messages"), fields.string("prompt")?) {
        (Some(_), Some(_)) => return Err(super::structured::contradiction("prompt", "messages")),
        (Some(messages), None) => {
            let conversation = Conversation::read(messages, "messages")?;
            let tools = Tools::read(&fields)?;
            conversation.encode(tokenizer, tools.as_ref(), "messages")?
        }
        (None, Some(text)) => match tokenizer.id_of(text) {
            // Text never yields special tokens, but somebody who names one and nothing else asks for its id.
            Some(id) if tokenizer.is_special(id) => vec![id],
            _ => tokenizer.encode(text).map_err(|error| {
                let message = format!("Invalid 'prompt': {error}.");
                ApiError::field("prompt", "invalid_value", message)
            })?,
        },
        (None, None) => return Err(ApiError::missing("prompt")),
    };
    let mut object = json!({
        "count": ids.len(),
        "max_model_len": model.engine.context(),
        "tokens": ids,
        "token_strs": null,
    });
    if fields.boolean("return_token_strs")? {
        object["token_strs"] = ids.iter().map(|&id| tokenizer.token(id)).collect();
    }
    Ok(Json(object))
}

/// The text of ids, special tokens written out.
#[utoipa::path(
    post,
    path = "/detokenize",
    operation_id = "detokenize",
    request_body = document::DetokenizeRequest,
    responses(
        (status = 200, description = "The text", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn detokenize(
    Shared(state): Shared<State>,
    Body(body): Body,
) -> Result<Json<Value>> {
    let fields = Fields::parse(&body)?;
    let model = model(&state, fields.string("model")?)?;
    let tokens = fields
        .get("tokens")
        .ok_or_else(|| ApiError::missing("tokens"))?;
    let ids: Vec<u32> = serde_json::from_value(tokens.clone())
        .map_err(|_| ApiError::wrong_type("tokens", "an array of token ids", tokens))?;
    let tokenizer = model.engine.tokenizer();
    let text = tokenizer.decode_with_special(&ids).map_err(|error| {
        let message = format!("Invalid 'tokens': {error}.");
        ApiError::field("tokens", "invalid_value", message)
    })?;
    Ok(Json(json!({"prompt": text})))
}

/// What `tokenizer_config.json` says, and the template.
#[utoipa::path(
    get,
    path = "/tokenizer_info",
    operation_id = "tokenizer_info",
    params(("model" = Option<String>, Query, description = "May be left out where one model is served")),
    responses(
        (status = 200, description = "What the tokenizer is", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn info(
    Shared(state): Shared<State>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>> {
    let model = model(&state, query.get("model").map(String::as_str))?;
    let tokenizer = model.engine.tokenizer();
    let mut info = tokenizer.config().as_object().cloned().unwrap_or_default();
    let mut tell = |name: &str, value: Value| {
        info.entry(name).or_insert(value);
    };
    tell("tokenizer_class", json!("PreTrainedTokenizerFast"));
    tell("eos_token", json!(tokenizer.token(tokenizer.end_of_text())));
    tell("chat_template", json!(tokenizer.chat_template().source()));
    info.insert("vocab_size".to_owned(), json!(tokenizer.vocab_size()));
    info.insert("model_max_length".to_owned(), json!(model.engine.context()));
    Ok(Json(Value::Object(info)))
}

/// The model of a name; without a name the only one there is.
fn model(state: &State, name: Option<&str>) -> Result<Model> {
    match (name, state.models.list().as_slice()) {
        (Some(name), _) => writer_of(state, name),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(ApiError::missing("model")),
    }
}
