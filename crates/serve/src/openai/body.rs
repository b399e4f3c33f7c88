//! The body of a request, read whole within the limit.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;

use super::ApiError;
use crate::server::State;

/// A request's bytes, or the error object that says why they were not taken.
pub(crate) struct Body(pub(crate) Bytes);

impl FromRequest<State> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Body, ApiError> {
        let read = tokio::time::timeout(state.patience, Bytes::from_request(request, state));
        let Ok(read) = read.await else {
            return Err(ApiError::operation(
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request_error",
                "request_timeout",
                "The request's body did not come in time.",
                None,
            ));
        };
        match read {
            Ok(bytes) => Ok(Body(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::too_large(state.body_limit))
            }
            Err(rejection) => Err(ApiError::malformed(rejection.body_text())),
        }
    }
}
