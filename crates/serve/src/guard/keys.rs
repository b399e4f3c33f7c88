//! API keys: read from a file, held as hashes, compared in constant time.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{Error, Result};
use crate::openai::ApiError;

/// The keys that are let in.
pub(crate) struct Keys {
    hashes: Vec<blake3::Hash>,
}

impl Keys {
    /// Reads one key a line; blank lines and lines that start with `#` do not count.
    pub(crate) fn read(path: &Path) -> Result<Keys> {
        let failed = |reason: String| Error::Keys {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let keys = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let hashes: Vec<_> = keys.map(|key| blake3::hash(key.as_bytes())).collect();
        if hashes.is_empty() {
            return Err(failed(
                "it holds no key; write one key a line, or leave out --api-keys".to_owned(),
            ));
        }
        Ok(Keys { hashes })
    }

    /// Whether `key` is one of them. The time taken does not depend on which, nor on how much of it is right.
    fn admits(&self, key: &str) -> bool {
        let presented = blake3::hash(key.as_bytes());
        // `blake3::Hash` compares in constant time; `|` does not stop at the first match.
        self.hashes
            .iter()
            .fold(false, |found, hash| found | (*hash == presented))
    }
}

/// Lets a request pass when no keys are set or it carries one as `Authorization: Bearer KEY`.
pub(crate) async fn require_key(
    State(keys): State<Option<Arc<Keys>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(keys) = keys else {
        return next.run(request).await;
    };
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.split_once(' '));
    match bearer {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => {
            if keys.admits(key.trim()) {
                next.run(request).await
            } else {
                ApiError::wrong_key().into_response()
            }
        }
        _ => ApiError::missing_key().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Keys> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, text).expect("a written file");
        Keys::read(&path)
    }

    #[test]
    fn a_listed_key_is_admitted_and_its_neighbours_are_not() {
        let keys = keys("# team\nalpha-1\n\n  beta-2  \n").expect("two keys");
        for (key, admitted) in [
            ("alpha-1", true),
            ("beta-2", true),
            ("alpha-", false),
            ("# team", false),
            ("", false),
        ] {
            assert_eq!(keys.admits(key), admitted, "{key:?}");
        }
    }

    #[test]
    fn a_file_without_keys_is_refused() {
        for text in ["", "\n \n", "# only a comment\n"] {
            assert!(matches!(keys(text), Err(Error::Keys { .. })), "{text:?}");
        }
    }
}
