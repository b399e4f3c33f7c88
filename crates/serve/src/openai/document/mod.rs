//! `GET /openapi.json`: this surface as an OpenAPI document, made from the handlers' own descriptions and the types in
//! [`requests`]; and `GET /docs`, a page to try it.

mod requests;

pub(crate) use requests::*;

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ontogeny",
        description = "Models that were raised or imported here, over the OpenAI-compatible surface. Fields that are \
                       not listed are ignored."
    ),
    paths(
        super::models::list,
        super::models::retrieve,
        super::chat::create,
        super::completions::create,
        super::responses::create,
        super::responses::retrieve,
        super::responses::forget,
        super::embeddings::create,
        super::tokens::tokenize,
        super::tokens::detokenize,
        super::tokens::info,
    )
)]
struct Document;

/// The document.
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// The page.
pub(crate) async fn page() -> Response {
    let html = include_str!("page.html");
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}
