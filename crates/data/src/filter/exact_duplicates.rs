//! Documents that were seen before, letter for letter once case, spacing and punctuation are put aside.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::words::words;
use super::{History, Outcome};
use crate::document::Document;

/// Whether the filter runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The filter. Memory: the 128-bit hash and the id of every document kept.
#[derive(Default)]
pub struct ExactDuplicates {
    seen: HashMap<[u64; 2], Box<str>>,
}

impl History for ExactDuplicates {
    fn step(&self) -> &'static str {
        "exact_duplicates"
    }

    fn fingerprint(&self, document: &Document) -> Vec<u64> {
        let mut hasher = blake3::Hasher::new();
        let words = words(&document.text);
        for word in &words {
            hasher.update(&word.to_le_bytes());
        }
        if words.is_empty() {
            hasher.update(document.text.as_bytes());
        }
        let mut first = [0; 16];
        hasher.finalize_xof().fill(&mut first);
        let (low, high) = first.split_at(8);
        [low, high]
            .map(|half| {
                half.iter()
                    .fold(0, |state, &byte| state << 8 | u64::from(byte))
            })
            .to_vec()
    }

    fn apply(&mut self, document: &mut Document, fingerprint: &[u64]) -> Outcome {
        let key = [fingerprint[0], fingerprint[1]];
        match self.seen.get(&key) {
            Some(first) => Outcome::Drop(format!("the same text as {first}")),
            None => {
                self.seen.insert(key, document.id.as_str().into());
                Outcome::Keep
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::remember;
    use super::*;

    #[test]
    fn cases() {
        let mut filter = ExactDuplicates::default();
        assert_eq!(remember(&mut filter, "The reef is calm."), Outcome::Keep);
        assert_eq!(
            remember(&mut filter, "the REEF  is calm"),
            Outcome::Drop("the same text as d".to_owned())
        );
        assert_eq!(remember(&mut filter, "The reef is calmer."), Outcome::Keep);
        assert_eq!(remember(&mut filter, "???"), Outcome::Keep);
        assert_eq!(remember(&mut filter, "!!!"), Outcome::Keep);
        assert!(matches!(remember(&mut filter, "!!!"), Outcome::Drop(_)));
    }
}
