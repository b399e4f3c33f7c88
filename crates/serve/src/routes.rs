//! The routes with what surrounds them.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::guard::{self, Gate, Origins};
use crate::openai::ApiError;
use crate::server::State;
use crate::{console, feedback, monitor, openai};

/// The type of what `/metrics` answers.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All routes. A request passes, from the outside in: the log, panics caught, foreign pages refused, CORS, the gate.
pub(crate) fn router(state: State, gate: Arc<Gate>, origins: &Arc<Origins>) -> Router {
    let (body_limit, metrics) = (state.body_limit, Arc::clone(&state.metrics));
    let api = openai::routes()
        .merge(feedback::http::routes())
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&gate),
            guard::admit,
        ));
    let watched = Router::new()
        .route("/metrics", get(metrics_page))
        .route_layer(middleware::from_fn_with_state(gate, guard::know));
    Router::new()
        .route("/", get(console::page))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .merge(openai::described())
        .merge(api)
        .merge(watched)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(cors(origins.clone()))
        .layer(middleware::from_fn_with_state(
            origins.clone(),
            guard::refuse_foreign_pages,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(metrics, monitor::observe))
}

/// Lets pages of allowed origins read the answers.
fn cors(origins: Arc<Origins>) -> CorsLayer {
    let allowed = move |origin: &HeaderValue, parts: &request::Parts| {
        let authority = guard::authority(&parts.uri, &parts.headers);
        origin
            .to_str()
            .is_ok_and(|origin| origins.origin_allowed(origin, authority.unwrap_or_default()))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER])
}

/// That the process lives.
async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether the models are loaded.
async fn ready(Shared(state): Shared<State>) -> (StatusCode, Json<Value>) {
    match state.ready.load(Ordering::Acquire) {
        true => (StatusCode::OK, Json(json!({"status": "ready"}))),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "loading"})),
        ),
    }
}

/// What Prometheus reads.
async fn metrics_page(Shared(state): Shared<State>) -> Response {
    let ready = state.ready.load(Ordering::Acquire);
    match state.metrics.text(&state.models, ready) {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => ApiError::internal().into_response(),
    }
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::unknown_path(request.method().as_str(), request.uri().path())
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::wrong_method(request.method().as_str(), request.uri().path())
}

/// A panic costs its own request only.
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = text.unwrap_or("of an unknown kind"),
        "a request panicked"
    );
    ApiError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_panic_becomes_an_error_object_and_the_next_request_is_answered() {
        async fn panic() -> &'static str {
            panic!("on purpose")
        }
        async fn slow() -> &'static str {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            "in peace"
        }
        let router = Router::new()
            .route("/panic", get(panic))
            .route("/slow", get(slow))
            .route("/health", get(health))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(
                Arc::new(monitor::Metrics::new()),
                monitor::observe,
            ));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let fetch = move |path: &'static str| {
            tokio::task::spawn_blocking(move || {
                let agent: ureq::Agent = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .build()
                    .into();
                let mut response = agent
                    .get(format!("http://{address}{path}"))
                    .call()
                    .expect("a response");
                let text = response.body_mut().read_to_string().expect("a body");
                (
                    response.status().as_u16(),
                    response.headers().contains_key("x-request-id"),
                    text,
                )
            })
        };
        let meanwhile = fetch("/slow");
        let (status, has_id, text) = fetch("/panic").await.expect("a task");
        assert_eq!((status, has_id), (500, true));
        assert!(
            text.contains("\"type\":\"server_error\"") && !text.contains("on purpose"),
            "{text}"
        );
        let (status, _, slow) = meanwhile.await.expect("a task");
        assert_eq!((status, &*slow), (200, "in peace"));
        assert_eq!(fetch("/health").await.expect("a task").0, 200);
        server.abort();
    }
}
