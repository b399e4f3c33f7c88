//! `POST /v1/embeddings`: texts, or token ids, as vectors.

use axum::Json;
use axum::extract::State as Shared;
use knowledge::Embeddings;
use serde_json::{Value, json};

use super::{ApiError, Body, Fields, document};
use crate::loaded::Encoder;
use crate::server::State;

type Result<T> = std::result::Result<T, ApiError>;

/// The most inputs of one request.
const MOST_INPUTS: usize = 2048;

/// What is to be made vectors of.
enum Inputs {
    Texts(Vec<String>),
    /// Ids with the special tokens around them, as `/tokenize` gives them.
    Ids(Vec<Vec<u32>>),
}

/// Makes a vector of each input.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "create_embeddings",
    request_body = document::EmbeddingRequest,
    responses(
        (status = 200, description = "The vectors", body = Object),
        (status = 400, description = "What is wrong with the request", body = document::ErrorBody),
        (status = 404, description = "Nothing of that name", body = document::ErrorBody),
        (status = 413, description = "The body is too large", body = document::ErrorBody),
        (status = 429, description = "Too many requests wait", body = document::ErrorBody),
    ),
)]
pub(crate) async fn create(Shared(state): Shared<State>, Body(body): Body) -> Result<Json<Value>> {
    let fields = Fields::parse(&body)?;
    let name = fields.required_string("model")?;
    let inputs = inputs(&fields)?;
    let encoder = state.models.encoder(name).ok_or_else(|| {
        if state.models.get(name).is_none() {
            return ApiError::model_not_found(name);
        }
        let message = format!(
            "The model `{name}` writes texts and makes no vectors. Serve an encoder beside it and name that one."
        );
        ApiError::field("model", "invalid_value", message)
    })?;
    let in_base64 = match fields.string("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'float' and 'base64'.");
            return Err(ApiError::field("encoding_format", "invalid_value", message));
        }
    };
    let dimensions = fields.count("dimensions", 1, encoder.embedder.dimensions())?;
    let prompt = fields.string("prompt_name")?.map(str::to_owned);
    // vLLM's field; -1 stands for what the model reads, and any limit beyond that is the same.
    let may_cut = fields
        .integer("truncate_prompt_tokens", -1, i64::MAX)?
        .is_some();
    let longest = encoder.embedder.longest();
    let found = embed(&encoder, inputs, prompt).await?;
    if found.truncated > 0 && !may_cut {
        let message = format!(
            "This model's maximum input length is {longest} tokens; {} of the inputs are longer. Shorten them, or send \
             'truncate_prompt_tokens': -1 to have them cut.",
            found.truncated
        );
        return Err(ApiError::field("input", "context_length_exceeded", message));
    }
    let data: Vec<Value> = found
        .rows()
        .enumerate()
        .map(|(index, row)| {
            let vector = shortened(row, dimensions);
            let embedding = if in_base64 {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                Value::String(base64(&bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    Ok(Json(json!({
        "object": "list",
        "data": data,
        "model": encoder.name,
        "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
    })))
}

async fn embed(encoder: &Encoder, inputs: Inputs, prompt: Option<String>) -> Result<Embeddings> {
    // One pass takes all cores; a second beside it would only make both slower.
    let turn = encoder.turn.clone().acquire_owned().await;
    let embedder = encoder.embedder.clone();
    let found = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match &inputs {
            Inputs::Texts(texts) => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                embedder.embed(&texts, prompt.as_deref())
            }
            Inputs::Ids(ids) => embedder.embed_ids(ids),
        }
    });
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "embedding failed");
        ApiError::internal()
    };
    found
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| match &error {
            knowledge::Error::Prompt { .. } => {
                let message = format!("Invalid 'prompt_name': {error}.");
                ApiError::field("prompt_name", "invalid_value", message)
            }
            knowledge::Error::Ids { .. } | knowledge::Error::Tokenizer(_) => ApiError::field(
                "input",
                "invalid_value",
                format!("Invalid 'input': {error}."),
            ),
            knowledge::Error::NotFinite { .. } => failed(&error),
        })
}

fn inputs(fields: &Fields) -> Result<Inputs> {
    let value = fields
        .get("input")
        .ok_or_else(|| ApiError::missing("input"))?;
    let wrong = || {
        ApiError::wrong_type(
            "input",
            "a string, or an array of strings or of token ids",
            value,
        )
    };
    let inputs = match value {
        Value::String(text) => Inputs::Texts(vec![text.clone()]),
        Value::Array(items) => match items.first() {
            None => {
                let message = "Invalid 'input': empty array.";
                return Err(ApiError::field("input", "empty_array", message));
            }
            Some(_) if items.len() > MOST_INPUTS && !items[0].is_number() => {
                let message = format!("Invalid 'input': expected at most {MOST_INPUTS} inputs.");
                return Err(ApiError::field("input", "array_above_max_length", message));
            }
            Some(Value::String(_)) => {
                Inputs::Texts(serde_json::from_value(value.clone()).map_err(|_| wrong())?)
            }
            Some(Value::Number(_)) => {
                let ids = serde_json::from_value(value.clone()).map_err(|_| wrong())?;
                Inputs::Ids(vec![ids])
            }
            Some(_) => Inputs::Ids(serde_json::from_value(value.clone()).map_err(|_| wrong())?),
        },
        _ => return Err(wrong()),
    };
    let empty = match &inputs {
        Inputs::Texts(texts) => texts.iter().any(String::is_empty),
        Inputs::Ids(ids) => ids.iter().any(Vec::is_empty),
    };
    if empty {
        let message = "Invalid 'input': an input cannot be empty.";
        return Err(ApiError::field("input", "invalid_value", message));
    }
    Ok(inputs)
}

/// The first numbers of a vector, brought to length one again (Kusupati et al., "Matryoshka Representation Learning",
/// 2022).
fn shortened(vector: &[f32], dimensions: Option<usize>) -> Vec<f32> {
    let Some(dimensions) = dimensions.filter(|&dimensions| dimensions < vector.len()) else {
        return vector.to_vec();
    };
    let part = &vector[..dimensions];
    let length = part
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>();
    let length = length.sqrt().max(f64::MIN_POSITIVE);
    part.iter()
        .map(|value| (f64::from(*value) / length) as f32)
        .collect()
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xFE]), "+//+");
    }

    #[test]
    fn a_shortened_vector_has_length_one() {
        assert_eq!(shortened(&[3.0, 4.0, 12.0], Some(2)), [0.6, 0.8]);
        assert_eq!(shortened(&[3.0, 4.0], Some(2)), [3.0, 4.0]);
        assert_eq!(shortened(&[0.0, 4.0], Some(1)), [0.0]);
    }
}
