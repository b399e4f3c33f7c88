//! Responses that can be continued or read again: in memory, the oldest forgotten first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The most responses that are kept.
const MOST: usize = 1024;
/// The most bytes of JSON that are kept.
const MOST_BYTES: usize = 64 << 20;

/// One kept response.
#[derive(Clone)]
pub(crate) struct Response {
    /// The object that the client got.
    pub(crate) object: Value,
    /// The conversation up to and with its answer, without the instructions.
    pub(crate) messages: Vec<Value>,
}

/// The responses of one server.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Responses>);

#[derive(Default)]
struct Responses {
    /// With their ids and sizes, the oldest first.
    all: VecDeque<(String, usize, Response)>,
    bytes: usize,
}

impl Kept {
    /// Keeps a response, unless it alone is larger than all may be.
    pub(crate) fn insert(&self, id: &str, response: Response) {
        let size = size(&response.object) + response.messages.iter().map(size).sum::<usize>();
        if size > MOST_BYTES {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.all.len() >= MOST || kept.bytes + size > MOST_BYTES {
            let Some((_, size, _)) = kept.all.pop_front() else {
                break;
            };
            kept.bytes -= size;
        }
        kept.bytes += size;
        kept.all.push_back((id.to_owned(), size, response));
    }

    /// The response of an id.
    pub(crate) fn get(&self, id: &str) -> Option<Response> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.all.iter().rev().find(|(known, ..)| known == id);
        found.map(|(.., response)| response.clone())
    }

    /// Forgets a response; whether it was there.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.all.iter().position(|(known, ..)| known == id);
        match at.and_then(|at| kept.all.remove(at)) {
            Some((_, size, _)) => {
                kept.bytes -= size;
                true
            }
            None => false,
        }
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 32,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 32,
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + size(value) + 64)
            .sum(),
        _ => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_the_books_balance() {
        let kept = Kept::default();
        let response = || Response {
            object: Value::String("a".repeat(1000)),
            messages: vec![Value::Null],
        };
        for number in 0..MOST + 10 {
            kept.insert(&number.to_string(), response());
        }
        assert!(kept.get("9").is_none() && kept.get("10").is_some());
        assert!(kept.remove("10") && !kept.remove("10"));
        let large = Response {
            object: Value::String("a".repeat(MOST_BYTES - 1000)),
            messages: Vec::new(),
        };
        kept.insert("large", large);
        assert!(kept.get("large").is_some() && kept.get("11").is_none());
        assert!(kept.remove("large"));
        let inner = kept.0.lock().expect("no panic");
        assert_eq!((inner.all.len(), inner.bytes), (0, 0));
    }
}
