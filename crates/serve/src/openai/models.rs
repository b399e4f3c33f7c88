//! `GET /v1/models` and `GET /v1/models/{model}`.

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Value, json};

use super::{ApiError, document};
use crate::loaded::{Encoder, Model};
use crate::server::State;

/// All models: those that write, then those that make vectors, each in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    responses(
        (status = 200, description = "The models", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn list(Shared(state): Shared<State>) -> Json<Value> {
    let mut models: Vec<Value> = state.models.list().iter().map(object).collect();
    models.extend(state.models.encoders().iter().map(encoder));
    Json(json!({"object": "list", "data": models}))
}

/// One model.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    operation_id = "retrieve_model",
    params(("model" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The model", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn retrieve(
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let model = state.models.get(&name).as_ref().map(object);
    model
        .or_else(|| state.models.encoder(&name).as_ref().map(encoder))
        .map(Json)
        .ok_or_else(|| ApiError::model_not_found(&name))
}

fn object(model: &Model) -> Value {
    json!({
        "id": model.name,
        "object": "model",
        "created": model.loaded_unix,
        "owned_by": "ontogeny",
        "artifact": model.engine.model_id(),
        "max_model_len": model.engine.context(),
    })
}

fn encoder(encoder: &Encoder) -> Value {
    json!({
        "id": encoder.name,
        "object": "model",
        "created": encoder.loaded_unix,
        "owned_by": "ontogeny",
        "artifact": encoder.embedder.model_id(),
        "max_model_len": encoder.embedder.longest(),
        "dimensions": encoder.embedder.dimensions(),
    })
}
