//! Listening, the routes with what surrounds them, and stopping without cutting answers off.

use std::any::Any;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::guard::{self, Keys, Origins};
use crate::loaded::Models;
use crate::openai::ApiError;
use crate::{console, feedback, monitor, openai};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) models: Models,
    pub(crate) feedback: Option<feedback::Store>,
    pub(crate) store_prompts: bool,
    pub(crate) body_limit: usize,
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    drain: Duration,
}

impl Server {
    /// Reads the keys, opens the feedback store and listens.
    ///
    /// # Errors
    /// When there is no model, a file cannot be used, or the address cannot be listened on (a port in use is
    /// [`Error::PortInUse`]).
    pub async fn bind(config: &Config, models: Models) -> Result<Server> {
        if models.is_empty() {
            return Err(Error::NoModel);
        }
        let keys = config
            .api_keys
            .as_deref()
            .map(Keys::read)
            .transpose()?
            .map(Arc::new);
        let listener =
            TcpListener::bind(config.bind)
                .await
                .map_err(|source| match source.kind() {
                    ErrorKind::AddrInUse => Error::PortInUse {
                        address: config.bind,
                    },
                    _ => Error::Bind {
                        address: config.bind,
                        source,
                    },
                })?;
        let address = listener.local_addr()?;
        if keys.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "everyone who can reach this address can use the server; give it --api-keys FILE");
        }
        let origins = Arc::new(Origins::new(
            &config.allowed_origins,
            address,
            keys.is_some(),
        )?);
        let state = State {
            models,
            feedback: config
                .feedback
                .as_deref()
                .map(feedback::Store::open)
                .transpose()?,
            store_prompts: config.store_prompts,
            body_limit: config.body_limit,
        };
        Ok(Server {
            listener,
            address,
            router: router(state, keys, &origins),
            drain: config.drain,
        })
    }

    /// Where it listens; the port that was chosen when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves; then takes no more requests, and gives answers under way the configured
    /// time to end.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let stopping = Arc::new(Notify::new());
        let announce = stopping.clone();
        let shutdown = async move {
            shutdown.await;
            announce.notify_one();
        };
        let answering = axum::serve(self.listener, self.router).with_graceful_shutdown(shutdown);
        let drain = self.drain;
        tokio::select! {
            ended = answering => Ok(ended?),
            () = async { stopping.notified().await; tokio::time::sleep(drain).await } => {
                tracing::warn!(seconds = drain.as_secs_f64(), "answers were cut off after the time to drain");
                Ok(())
            }
        }
    }
}

/// Serves until Ctrl-C or SIGTERM; `bound` learns the address before the first request is answered.
///
/// # Errors
/// As [`Server::bind`] and [`Server::run`].
pub fn serve(config: &Config, models: Models, bound: impl FnOnce(SocketAddr)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let server = Server::bind(config, models).await?;
        let stop = stop_signal()?;
        bound(server.address());
        server.run(stop).await
    });
    // Forwarders notice within milliseconds that nobody listens any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Resolves at the first Ctrl-C or SIGTERM. The handlers are in place when this returns.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves at the first Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// All routes. A request passes, from the outside in: the log, panics caught, foreign pages refused, CORS, keys.
fn router(state: State, keys: Option<Arc<Keys>>, origins: &Arc<Origins>) -> Router {
    let body_limit = state.body_limit;
    let api = openai::routes()
        .merge(feedback::http::routes())
        .route_layer(middleware::from_fn_with_state(keys, guard::require_key));
    Router::new()
        .route("/", get(console::page))
        .route("/health", get(health))
        .merge(openai::described())
        .merge(api)
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
        .layer(middleware::from_fn(monitor::observe))
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
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER])
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "ok"}))
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

    #[tokio::test]
    async fn a_panic_becomes_an_error_object_and_the_next_request_is_answered() {
        async fn panic() -> &'static str {
            panic!("on purpose")
        }
        let router = Router::new()
            .route("/panic", get(panic))
            .route("/health", get(health))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(monitor::observe));
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
        let (status, has_id, text) = fetch("/panic").await.expect("a task");
        assert_eq!((status, has_id), (500, true));
        assert!(
            text.contains("\"type\":\"server_error\"") && !text.contains("on purpose"),
            "{text}"
        );
        assert_eq!(fetch("/health").await.expect("a task").0, 200);
        server.abort();
    }
}
