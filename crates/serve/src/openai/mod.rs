//! The OpenAI-compatible surface: what official clients send and expect, unmodified.
//!
//! A request is read by [`fields`], turned into engine requests by [`sampling`] and the endpoint, run by
//! [`generation`], and answered whole or as a stream of events by [`stream`]. Chats and responses read messages by
//! [`conversation`], offer tools by [`tools`], and take what the model says apart by [`turn`].

mod body;
mod chat;
mod completions;
mod conversation;
mod document;
mod embeddings;
mod error;
mod fields;
mod generation;
mod logprobs;
mod models;
mod prompts;
mod responses;
mod sampling;
mod stream;
mod structured;
mod tokens;
mod tools;
mod turn;

pub(crate) use body::Body;
pub(crate) use error::ApiError;
pub(crate) use fields::Fields;

use axum::Router;
use axum::routing::{get, post};

use crate::loaded::Model;
use crate::server::State;

/// The routes of this surface.
pub(crate) fn routes() -> Router<State> {
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::retrieve))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/tokenizer_info", get(tokens::info))
        .merge(responses::routes())
}

/// The document of this surface and its page, which ask for no key.
pub(crate) fn described() -> Router<State> {
    Router::new()
        .route("/openapi.json", get(document::document))
        .route("/docs", get(document::page))
}

/// The model of this name, which must be one that writes.
fn writer_of(state: &State, name: &str) -> Result<Model, ApiError> {
    state.models.get(name).ok_or_else(|| {
        if state.models.encoder(name).is_none() {
            return ApiError::model_not_found(name);
        }
        let message = format!(
            "The model `{name}` makes vectors of texts and writes none. Use it with /v1/embeddings."
        );
        ApiError::field("model", "invalid_value", message)
    })
}
