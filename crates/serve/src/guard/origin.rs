//! Keeps foreign web pages from driving the server through a visitor's browser.
//!
//! Two attacks are met. *DNS rebinding*: a page's own host name is made to resolve to 127.0.0.1, so that the browser
//! takes this server for that page's; the `Host` header then carries the foreign name and is refused. *Cross-site
//! requests*: a page posts to 127.0.0.1 directly; the browser then sends its `Origin`, which is refused. Numeric
//! addresses are always accepted as hosts, since rebinding needs a name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Result};
use crate::openai::ApiError;

/// Which hosts and origins are accepted.
pub(crate) struct Origins {
    allowed: Vec<String>,
    allowed_hosts: Vec<String>,
    /// Bound where others can reach it and protected by keys: host names are the operator's business then, and a
    /// foreign page cannot know a key.
    any_host: bool,
    loopback: bool,
}

impl Origins {
    /// The rules for a server on `address`.
    pub(crate) fn new(allowed: &[String], address: SocketAddr, has_keys: bool) -> Result<Origins> {
        let mut origins = Origins {
            allowed: Vec::new(),
            allowed_hosts: Vec::new(),
            any_host: has_keys && !address.ip().is_loopback(),
            loopback: address.ip().is_loopback(),
        };
        for origin in allowed {
            let normal = origin.trim_end_matches('/').to_ascii_lowercase();
            let authority = authority_of_origin(&normal).ok_or_else(|| Error::Origin {
                origin: origin.clone(),
            })?;
            origins.allowed_hosts.push(host_of(authority).to_owned());
            origins.allowed.push(normal);
        }
        Ok(origins)
    }

    fn host_allowed(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let host = host_of(&authority);
        self.any_host
            || is_local_name(host)
            || is_address(host)
            || self.allowed_hosts.iter().any(|name| name == host)
    }

    /// Whether a page of `origin` may call a server that it reached as `authority`.
    pub(crate) fn origin_allowed(&self, origin: &str, authority: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.allowed.contains(&origin) {
            return true;
        }
        let Some(from) = authority_of_origin(&origin) else {
            return false;
        };
        let own_page = from == authority.to_ascii_lowercase();
        own_page || (self.loopback && is_loopback(host_of(from)))
    }
}

/// The authority a request was sent to.
pub(crate) fn authority<'request>(
    uri: &'request Uri,
    headers: &'request HeaderMap,
) -> Option<&'request str> {
    let header = headers.get(HOST).and_then(|value| value.to_str().ok());
    header.or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// Answers 403 to requests that a foreign web page made.
pub(crate) async fn refuse_foreign_pages(
    State(origins): State<Arc<Origins>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(authority) = authority(request.uri(), request.headers()) else {
        return ApiError::foreign_host("").into_response();
    };
    if !origins.host_allowed(authority) {
        return ApiError::foreign_host(authority).into_response();
    }
    if let Some(origin) = request.headers().get(ORIGIN) {
        let origin = origin.to_str().unwrap_or("null");
        if !origins.origin_allowed(origin, authority) {
            return ApiError::foreign_origin(origin).into_response();
        }
    }
    next.run(request).await
}

fn authority_of_origin(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    let bare = !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']);
    (bare && !scheme.is_empty()).then_some(authority)
}

/// The host of `host`, `host:port`, `[address]` or `[address]:port`.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

fn is_loopback(host: &str) -> bool {
    is_local_name(host)
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(bind: &str, keys: bool) -> Origins {
        let allowed = ["https://chat.example.org".to_owned()];
        Origins::new(&allowed, bind.parse().expect("an address"), keys).expect("valid origins")
    }

    #[test]
    fn only_local_names_addresses_and_allowed_names_are_hosts() {
        let origins = origins("127.0.0.1:8080", true);
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "LOCALHOST",
            "chat.example.org",
            "a.localhost:1",
        ] {
            assert!(origins.host_allowed(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!origins.host_allowed(host), "{host}");
        }
    }

    #[test]
    fn a_public_server_with_keys_may_be_called_by_any_name() {
        assert!(origins("0.0.0.0:8080", true).host_allowed("ontogeny.svc:8080"));
        assert!(!origins("0.0.0.0:8080", false).host_allowed("ontogeny.svc:8080"));
    }

    #[test]
    fn pages_of_other_origins_are_foreign() {
        let origins = origins("127.0.0.1:8080", false);
        let cases = [
            ("http://127.0.0.1:8080", true),
            ("http://localhost:3000", true),
            ("https://chat.example.org", true),
            ("https://CHAT.example.org", true),
            ("https://evil.example", false),
            ("http://localhost.evil.example", false),
            ("http://user@localhost", false),
            ("null", false),
        ];
        for (origin, allowed) in cases {
            assert_eq!(
                origins.origin_allowed(origin, "127.0.0.1:8080"),
                allowed,
                "{origin}"
            );
        }
    }

    #[test]
    fn a_public_server_trusts_its_own_page_and_not_the_visitors_other_local_servers() {
        let origins = origins("192.0.2.7:8080", false);
        assert!(origins.origin_allowed("http://192.0.2.7:8080", "192.0.2.7:8080"));
        assert!(!origins.origin_allowed("http://localhost:3000", "192.0.2.7:8080"));
    }

    #[test]
    fn what_is_not_an_origin_is_refused_at_the_start() {
        let address = "127.0.0.1:1".parse().expect("an address");
        for text in ["chat.example.org", "https://", "https://a/b", ""] {
            assert!(
                Origins::new(&[text.to_owned()], address, false).is_err(),
                "{text:?}"
            );
        }
    }
}
