//! `GET /v1/models` and `GET /v1/models/{model}`.

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Value, json};

use super::ApiError;
use crate::loaded::Model;
use crate::server::State;

/// All models, in the order of their names.
pub(crate) async fn list(Shared(state): Shared<State>) -> Json<Value> {
    let models: Vec<Value> = state.models.list().iter().map(object).collect();
    Json(json!({"object": "list", "data": models}))
}

/// One model.
pub(crate) async fn retrieve(
    Shared(state): Shared<State>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let model = state
        .models
        .get(&name)
        .ok_or_else(|| ApiError::model_not_found(&name))?;
    Ok(Json(object(&model)))
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
