//! The gate before the API: is the server ready, is there room, whose request is it, what may they use?

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Keys;
use super::limits::{Account, Exhausted, Turn};
use crate::loaded::Models;
use crate::monitor::Metrics;
use crate::openai::ApiError;

/// Under which key's name those are counted who need none.
const NOBODY: &str = "none";

/// Where a request came from, set by the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What lets requests in.
pub(crate) struct Gate {
    pub(crate) keys: Option<Arc<Keys>>,
    pub(crate) models: Models,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) longest_wait: Duration,
    pub(crate) log_prompts: bool,
}

/// What an admitted request has with it, all the way to the engine. The last copy to be dropped makes room.
#[derive(Clone)]
pub(crate) struct Ticket(Arc<Admitted>);

struct Admitted {
    gate: Arc<Gate>,
    /// Whom the engine is to be fair to.
    party: String,
    account: Option<Arc<Account>>,
    _turn: Option<Turn>,
    _room: OwnedSemaphorePermit,
}

tokio::task_local! {
    static TICKET: Ticket;
}

impl Ticket {
    /// The ticket of the request that this task answers.
    pub(crate) fn current() -> Option<Ticket> {
        TICKET.try_with(Clone::clone).ok()
    }

    /// Whom the engine is to be fair to.
    pub(crate) fn party(&self) -> &str {
        &self.0.party
    }

    /// The key's name, as metrics and the log have it.
    pub(crate) fn key(&self) -> &str {
        self.0
            .account
            .as_ref()
            .map_or(NOBODY, |account| &account.name)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.0.gate.longest_wait)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.gate.metrics
    }

    pub(crate) fn models(&self) -> &Models {
        &self.0.gate.models
    }

    pub(crate) fn logs_prompts(&self) -> bool {
        self.0.gate.log_prompts
    }

    /// Tokens were read or written.
    pub(crate) fn charge(&self, tokens: usize) {
        if let Some(account) = &self.0.account {
            account.charge(tokens);
        }
    }
}

impl Gate {
    fn admit(self: &Arc<Self>, request: &Request) -> Result<Ticket, ApiError> {
        let refused = |reason: &'static str, error: ApiError| {
            self.metrics.refused(reason);
            error
        };
        let account = self.account(request.headers())?;
        if !self.ready.load(Ordering::Acquire) {
            return Err(refused("loading", loading()));
        }
        let turn = match &account {
            Some(account) => Some(
                account
                    .begin(Instant::now())
                    .map_err(|exhausted| refused(exhausted.what, too_fast(&exhausted)))?,
            ),
            None => None,
        };
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            let error = ApiError::overloaded(
                "as many requests are under way as the server takes",
                Duration::from_secs(1),
            );
            refused("under_way", error)
        })?;
        let party = match (&account, request.extensions().get::<Peer>()) {
            (Some(account), _) => format!("key {}", account.name),
            (None, Some(Peer(address))) => format!("address {}", neighbourhood(address.ip())),
            (None, None) => String::new(),
        };
        Ok(Ticket(Arc::new(Admitted {
            gate: Arc::clone(self),
            party,
            account,
            _turn: turn,
            _room: room,
        })))
    }

    /// Whose request it is: `None` where no keys are set, else that of `Authorization: Bearer KEY`.
    fn account(&self, headers: &HeaderMap) -> Result<Option<Arc<Account>>, ApiError> {
        let Some(keys) = &self.keys else {
            return Ok(None);
        };
        let header = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        match header.and_then(|value| value.split_once(' ')) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
                let account = keys.find(key.trim()).ok_or_else(ApiError::wrong_key)?;
                Ok(Some(account))
            }
            _ => Err(ApiError::missing_key()),
        }
    }
}

/// Lets a request pass that may; the others learn why not, and when to come back.
pub(crate) async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.admit(&request) {
        Ok(ticket) => TICKET.scope(ticket, next.run(request)).await,
        Err(error) => error.into_response(),
    }
}

/// Lets a request pass that has a key, where keys are set. It counts towards no limit.
pub(crate) async fn know(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.account(request.headers()) {
        Ok(_) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// The part of an address that one customer has: all of an IPv4 address, half of an IPv6 one.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(bits.into())
        }
        address => address,
    }
}

fn loading() -> ApiError {
    ApiError::operation(
        StatusCode::SERVICE_UNAVAILABLE,
        "server_error",
        "loading",
        "The server is still loading its models.",
        Some(Duration::from_secs(1)),
    )
}

fn too_fast(exhausted: &Exhausted) -> ApiError {
    let Exhausted {
        what,
        limit,
        retry_after,
    } = exhausted;
    let each = match *what {
        "concurrent" => format!("{limit} requests at the same time"),
        what => format!("{limit} {what} per minute"),
    };
    ApiError::operation(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limit_error",
        "rate_limit_exceeded",
        format!(
            "Rate limit reached: this key may use {each}. Try again in {} s.",
            retry_after.as_secs()
        ),
        Some(*retry_after),
    )
}
