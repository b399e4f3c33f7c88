//! Request ids, metrics and the structured log: a line for each request and each answer, without their text unless asked.

mod metered;
mod metrics;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

pub(crate) use metered::{Metered, submit};
pub(crate) use metrics::Metrics;

/// The header that names a request in the log, as OpenAI's clients read it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives each request an id, counts it, and logs method, route, status and time until the response's headers.
pub(crate) async fn observe(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let id = crate::identifier::random("req_");
    let began = Instant::now();
    let method = request.method().clone();
    // The route as written in the router; the path itself may hold what a user typed.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", |path| path.as_str())
        .to_owned();
    let span = tracing::info_span!("request", id, %method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    metrics.answered(known(&method), &route, response.status().as_u16());
    span.in_scope(|| {
        tracing::info!(
            status = response.status().as_u16(),
            milliseconds,
            "answered"
        );
    });
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A method as a label; there is no end to what clients may call theirs.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
