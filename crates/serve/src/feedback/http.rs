//! `POST /v1/feedback` and `GET /v1/feedback/{answer_id}`.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Shared};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Error, Rating, Store, Verdict};
use crate::openai::{ApiError, Body, Fields};
use crate::server::State;

/// The routes of this surface.
pub(crate) fn routes() -> Router<State> {
    Router::new()
        .route("/v1/feedback", post(create))
        .route("/v1/feedback/{answer_id}", get(retrieve))
}

/// Rates an answer.
async fn create(Shared(state): Shared<State>, Body(body): Body) -> Result<Json<Value>, ApiError> {
    let store = store(&state)?;
    let fields = Fields::parse(&body)?;
    let verdict = fields.required_string("rating")?;
    let verdict = Verdict::from_name(verdict).ok_or_else(|| {
        let message = format!("Invalid value: '{verdict}'. Supported values are: 'up' and 'down'.");
        ApiError::field("rating", "invalid_value", message)
    })?;
    let text = |name| {
        Ok(fields
            .string(name)?
            .filter(|text| !text.trim().is_empty())
            .map(str::to_owned))
    };
    let rating = Rating {
        answer_id: fields.required_string("answer_id")?.to_owned(),
        choice: fields.count("choice", 0, usize::MAX)?.unwrap_or(0),
        rating: verdict,
        correction: text("correction")?,
        comment: text("comment")?,
        created_unix: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    };
    let stored = rating.clone();
    blocking(move || store.rate(&stored)).await?;
    Ok(Json(object(&rating)))
}

/// Which of a response's choices is meant.
#[derive(serde::Deserialize)]
struct Which {
    #[serde(default)]
    choice: usize,
}

/// An answer as it was given, and its rating where it has one.
async fn retrieve(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let store = store(&state)?;
    let Query(Which { choice }) =
        which.map_err(|error| ApiError::field("choice", "invalid_type", error.body_text()))?;
    let (answer, rating) = blocking(move || {
        let rating = store.rating(&id, choice)?;
        let answer = store
            .answer(&id, choice)?
            .ok_or(Error::UnknownAnswer { id, choice })?;
        Ok((answer, rating))
    })
    .await?;
    let rating = rating.as_ref();
    Ok(Json(json!({
        "object": "feedback",
        "answer_id": answer.id,
        "choice": answer.choice,
        "rating": rating.map(|rating| rating.rating),
        "correction": rating.map(|rating| &rating.correction),
        "comment": rating.map(|rating| &rating.comment),
        "created": rating.map(|rating| rating.created_unix),
        "answered": {
            "model": answer.model,
            "created": answer.created_unix,
            "prompt": answer.prompt,
            "text": answer.text,
            "sampling": answer.sampling,
            "finish_reason": answer.finish_reason,
        },
    })))
}

fn object(rating: &Rating) -> Value {
    json!({
        "object": "feedback",
        "answer_id": rating.answer_id,
        "choice": rating.choice,
        "rating": rating.rating,
        "correction": rating.correction,
        "comment": rating.comment,
        "created": rating.created_unix,
    })
}

fn store(state: &State) -> Result<Store, ApiError> {
    state.feedback.clone().ok_or_else(|| {
        ApiError::not_found(
            "answer_id",
            "feedback_disabled",
            "This server was started without a feedback store.",
        )
    })
}

/// Runs a database call off the asynchronous threads.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> super::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let result = tokio::task::spawn_blocking(call).await.map_err(|error| {
        tracing::error!(%error, "a feedback call panicked");
        ApiError::internal()
    })?;
    result.map_err(|error| match error {
        Error::UnknownAnswer { id, choice } => {
            let message = format!("No answer `{id}` (choice {choice}) is stored.");
            ApiError::not_found("answer_id", "answer_not_found", message)
        }
        error => {
            tracing::error!(%error, "the feedback store failed");
            ApiError::internal()
        }
    })
}
