//! Filters: each one small file with its config, its rule and its tests. A new filter is a new file, a field in
//! [`crate::curate::Config`] and a line in `pipeline.rs`.
//!
//! A [`Filter`] looks at one document alone and runs on all cores; a [`History`] remembers documents it has seen and
//! decides one after the other, in order, so that the outcome never depends on the thread count.

pub mod boilerplate;
pub mod exact_duplicates;
pub mod gibberish;
pub mod insults;
pub mod language;
pub mod length;
pub mod near_duplicates;
pub mod normalise;
pub mod redact;
pub mod repeated_lines;
pub mod repetition;
mod words;

use crate::document::Document;

/// What a filter decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document stays as it is.
    Keep,
    /// The document stays, with a changed text.
    Edited,
    /// The document goes, for this reason.
    Drop(String),
}

impl Outcome {
    pub(crate) fn edited(changed: bool) -> Self {
        if changed { Self::Edited } else { Self::Keep }
    }

    /// Drops with a reason when there is one.
    pub(crate) fn drop_if(reason: Option<String>) -> Self {
        reason.map_or(Self::Keep, Self::Drop)
    }
}

/// A filter that looks at one document alone.
pub trait Filter: Send + Sync {
    /// The name of the step in metrics and reports.
    fn step(&self) -> &'static str;

    /// Decides on one document, and may edit its text.
    fn apply(&self, document: &mut Document) -> Outcome;
}

/// A filter that remembers the documents before.
pub trait History: Send + Sync {
    /// The name of the step in metrics and reports.
    fn step(&self) -> &'static str;

    /// What is remembered of a document; made on all cores.
    fn fingerprint(&self, document: &Document) -> Vec<u64>;

    /// Decides on one document; called in the order of the documents.
    fn apply(&mut self, document: &mut Document, fingerprint: &[u64]) -> Outcome;
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Document, Filter, History, Outcome};

    pub(crate) fn document(text: &str) -> Document {
        Document {
            id: "d".to_owned(),
            text: text.to_owned(),
            source: "s".to_owned(),
        }
    }

    /// The outcome for a text, and the text afterwards.
    pub(crate) fn apply(filter: &impl Filter, text: &str) -> (Outcome, String) {
        let mut document = document(text);
        (filter.apply(&mut document), document.text)
    }

    pub(crate) fn drops(filter: &impl Filter, text: &str) -> bool {
        matches!(apply(filter, text).0, Outcome::Drop(_))
    }

    pub(crate) fn remember(history: &mut impl History, text: &str) -> Outcome {
        let mut document = document(text);
        let fingerprint = history.fingerprint(&document);
        history.apply(&mut document, &fingerprint)
    }
}
