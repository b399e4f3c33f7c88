//! Error objects as OpenAI writes them: `{"error": {"message", "type", "param", "code"}}`.

use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that says what is wrong with a request, or that the server failed.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
    /// When it is worth asking again, in seconds.
    retry_after: Option<u64>,
}

const INVALID_REQUEST: &str = "invalid_request_error";

impl ApiError {
    fn invalid(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> ApiError {
        ApiError {
            status,
            kind: INVALID_REQUEST,
            message: message.into(),
            param: None,
            code,
            retry_after: None,
        }
    }

    /// More requests than the engine takes on.
    pub(crate) fn overloaded(reason: impl std::fmt::Display, retry_after: Duration) -> ApiError {
        let message = format!("The engine is currently overloaded: {reason}.");
        let code = Some("engine_overloaded");
        ApiError {
            kind: "rate_limit_error",
            retry_after: Some(retry_after.as_secs().max(1)),
            ..ApiError::invalid(StatusCode::TOO_MANY_REQUESTS, code, message)
        }
    }

    /// What the server's operation, and not the request, stands in the way of.
    pub(crate) fn operation(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
        retry_after: Option<Duration>,
    ) -> ApiError {
        ApiError {
            kind,
            retry_after: retry_after.map(|after| after.as_secs().max(1)),
            ..ApiError::invalid(status, Some(code), message)
        }
    }

    /// A field whose value cannot be used.
    pub(crate) fn field(param: &str, code: &'static str, message: impl Into<String>) -> ApiError {
        let error = ApiError::invalid(StatusCode::BAD_REQUEST, Some(code), message);
        ApiError {
            param: Some(param.to_owned()),
            ..error
        }
    }

    /// A field that must be there.
    pub(crate) fn missing(param: &str) -> ApiError {
        ApiError::field(
            param,
            "missing_required_parameter",
            format!("Missing required parameter: '{param}'."),
        )
    }

    /// A field of another type than `expected`.
    pub(crate) fn wrong_type(param: &str, expected: &str, got: &Value) -> ApiError {
        let got = match got {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a decimal number",
            Value::Number(_) => "an integer",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let message =
            format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
        ApiError::field(param, "invalid_type", message)
    }

    /// A field that OpenAI knows and this server does not do yet; ignoring it would change the answer silently.
    pub(crate) fn unsupported(param: &str, what: &str) -> ApiError {
        ApiError::field(
            param,
            "unsupported_parameter",
            format!("Unsupported parameter: {what}."),
        )
    }

    /// A prompt and an answer that do not fit into the model's context together.
    pub(crate) fn context_length(
        param: &str,
        context: usize,
        prompt: usize,
        completion: usize,
    ) -> ApiError {
        let message = format!(
            "This model's maximum context length is {context} tokens. However, you requested {} tokens ({prompt} in \
             the {param}, {completion} in the completion). Please reduce the length of the {param} or completion.",
            prompt + completion
        );
        ApiError::field(param, "context_length_exceeded", message)
    }

    /// A body that is not JSON.
    pub(crate) fn malformed(reason: impl std::fmt::Display) -> ApiError {
        let message = format!(
            "We could not parse the JSON body of your request. The API expects a JSON object, sent with the header \
             Content-Type: application/json. ({reason})"
        );
        ApiError::invalid(StatusCode::BAD_REQUEST, None, message)
    }

    /// A body over the limit.
    pub(crate) fn too_large(limit: usize) -> ApiError {
        let message = format!("The request body is larger than the limit of {limit} bytes.");
        ApiError::invalid(
            StatusCode::PAYLOAD_TOO_LARGE,
            Some("request_too_large"),
            message,
        )
    }

    /// A model that is not served.
    pub(crate) fn model_not_found(model: &str) -> ApiError {
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        let error = ApiError::invalid(StatusCode::NOT_FOUND, Some("model_not_found"), message);
        ApiError {
            param: Some("model".to_owned()),
            ..error
        }
    }

    /// A thing, such as an answer, that is not there.
    pub(crate) fn not_found(
        param: &str,
        code: &'static str,
        message: impl Into<String>,
    ) -> ApiError {
        let error = ApiError::invalid(StatusCode::NOT_FOUND, Some(code), message);
        ApiError {
            param: Some(param.to_owned()),
            ..error
        }
    }

    /// A path without a route.
    pub(crate) fn unknown_path(method: &str, path: &str) -> ApiError {
        ApiError::invalid(
            StatusCode::NOT_FOUND,
            Some("unknown_url"),
            format!("Unknown request URL: {method} {path}."),
        )
    }

    /// A path that has another method.
    pub(crate) fn wrong_method(method: &str, path: &str) -> ApiError {
        let message = format!(
            "Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
        );
        ApiError::invalid(
            StatusCode::METHOD_NOT_ALLOWED,
            Some("method_not_supported"),
            message,
        )
    }

    /// No key where one is needed.
    pub(crate) fn missing_key() -> ApiError {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                       using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
        ApiError::invalid(StatusCode::UNAUTHORIZED, None, message)
    }

    /// A key that is not in the file.
    pub(crate) fn wrong_key() -> ApiError {
        let message = "Incorrect API key provided. The server's operator holds the list of keys.";
        ApiError::invalid(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
    }

    /// A `Host` header that names neither this machine nor an allowed host.
    pub(crate) fn foreign_host(host: &str) -> ApiError {
        let message = format!(
            "This server does not answer to the host name `{host}`. Use localhost or the server's address, or start \
             the server with that origin allowed."
        );
        ApiError::invalid(StatusCode::FORBIDDEN, Some("host_not_allowed"), message)
    }

    /// An `Origin` header of a page that may not call this server.
    pub(crate) fn foreign_origin(origin: &str) -> ApiError {
        let message = format!(
            "Pages of `{origin}` may not call this server. Start the server with that origin allowed."
        );
        ApiError::invalid(StatusCode::FORBIDDEN, Some("origin_not_allowed"), message)
    }

    /// A failure that is the server's own; the details go to the log.
    pub(crate) fn internal() -> ApiError {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "server_error",
            message: "The server had an error while processing your request. Its log has the details under this \
                      response's x-request-id."
                .to_owned(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// A request that the engine did not take.
    pub(crate) fn refused(reason: impl std::fmt::Display) -> ApiError {
        ApiError::invalid(
            StatusCode::BAD_REQUEST,
            Some("invalid_value"),
            format!("Invalid request: {reason}."),
        )
    }

    /// The object alone, as it is written into a stream that has begun.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overloaded_engine_says_when_to_come_back() {
        let error = ApiError::overloaded("9 requests are waiting", Duration::from_millis(2500));
        assert_eq!(error.body()["error"]["code"], "engine_overloaded");
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
