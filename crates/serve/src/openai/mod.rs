//! The OpenAI-compatible surface: what official clients send and expect, unmodified.
//!
//! A request is read by [`fields`], turned into engine requests by [`sampling`] and the endpoint, run by
//! [`generation`], and answered whole or as a stream of events by [`stream`].

mod body;
mod chat;
mod completions;
mod conversation;
mod error;
mod fields;
mod generation;
mod logprobs;
mod models;
mod prompts;
mod sampling;
mod stream;
mod structured;
mod tools;
mod turn;

pub(crate) use body::Body;
pub(crate) use error::ApiError;
pub(crate) use fields::Fields;

use axum::Router;
use axum::routing::{get, post};

use crate::server::State;

/// The routes of this surface.
pub(crate) fn routes() -> Router<State> {
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::retrieve))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
}
