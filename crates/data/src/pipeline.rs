//! The filters in their order, over batches of documents: what looks at one document runs on all cores, what
//! remembers runs in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use crate::curate::Config;
use crate::document::{Document, estimated_tokens};
use crate::filter::{
    Filter, History, Outcome, boilerplate, exact_duplicates, gibberish, insults, language, length,
    near_duplicates, normalise, redact, repeated_lines, repetition,
};

/// What one step did. `kept` counts the edited documents too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepCount {
    /// The filter's name.
    pub step: &'static str,
    /// Documents that went on.
    pub kept: u64,
    /// Documents that went out.
    pub dropped: u64,
    /// Documents that went on with a changed text.
    pub edited: u64,
    /// Bytes of text that went on.
    pub bytes_kept: u64,
    /// Tokens that went on, estimated at four bytes each.
    pub tokens_kept: u64,
}

/// A document that went out, with the step and the reason.
pub(crate) struct Dropped {
    pub(crate) document: Document,
    pub(crate) step: &'static str,
    pub(crate) reason: String,
}

enum Step {
    Alone(Vec<Box<dyn Filter>>),
    History(Box<dyn History>),
}

/// The filters that a config switches on, and what they did so far.
pub(crate) struct Pipeline {
    steps: Vec<Step>,
    counts: Vec<StepCount>,
    /// Wall-clock time of each group of filters, under the name of its first.
    spent: Vec<(&'static str, Duration)>,
}

impl Pipeline {
    /// Cleaning first, so that the other filters see the text as it will be kept; then what one document says about
    /// itself; then comparisons with other documents, the cheap one first.
    pub(crate) fn new(config: &Config) -> Self {
        let mut clean: Vec<Box<dyn Filter>> = Vec::new();
        let Config {
            normalise,
            redact,
            boilerplate,
            ..
        } = config;
        if normalise.enabled {
            clean.push(Box::new(normalise::Normalise::new(normalise)));
        }
        if redact.emails || redact.phones || redact.cards {
            clean.push(Box::new(redact::Redact::new(redact)));
        }
        if boilerplate.enabled {
            clean.push(Box::new(boilerplate::Boilerplate::new(boilerplate)));
        }
        let mut quality: Vec<Box<dyn Filter>> = Vec::new();
        if config.length.enabled {
            quality.push(Box::new(length::Length::new(&config.length)));
        }
        if config.repetition.enabled {
            quality.push(Box::new(repetition::Repetition::new(&config.repetition)));
        }
        if config.gibberish.enabled {
            quality.push(Box::new(gibberish::Gibberish::new(&config.gibberish)));
        }
        if !config.language.expected.is_empty() {
            quality.push(Box::new(language::Language::new(&config.language)));
        }
        if config.insults.enabled {
            quality.push(Box::new(insults::Insults::new(&config.insults)));
        }
        let mut steps = Vec::new();
        let alone =
            |filters: Vec<Box<dyn Filter>>| (!filters.is_empty()).then_some(Step::Alone(filters));
        let lines = &config.repeated_lines;
        let lines: Option<Box<dyn History>> = if lines.enabled {
            Some(Box::new(repeated_lines::RepeatedLines::new(lines)))
        } else {
            None
        };
        steps.extend(alone(clean));
        steps.extend(lines.map(Step::History));
        steps.extend(alone(quality));
        if config.exact_duplicates.enabled {
            steps.push(Step::History(Box::new(
                exact_duplicates::ExactDuplicates::default(),
            )));
        }
        if config.near_duplicates.enabled {
            steps.push(Step::History(Box::new(
                near_duplicates::NearDuplicates::new(&config.near_duplicates),
            )));
        }
        let names = |step: &Step| match step {
            Step::Alone(filters) => filters.iter().map(|filter| filter.step()).collect(),
            Step::History(history) => vec![history.step()],
        };
        let count = |step| StepCount {
            step,
            kept: 0,
            dropped: 0,
            edited: 0,
            bytes_kept: 0,
            tokens_kept: 0,
        };
        let counts: Vec<_> = steps.iter().flat_map(names).map(count).collect();
        let spent = counts
            .iter()
            .map(|count| (count.step, Duration::ZERO))
            .collect();
        Self {
            steps,
            counts,
            spent,
        }
    }

    /// What each step did so far.
    pub(crate) fn counts(&self) -> &[StepCount] {
        &self.counts
    }

    /// Seconds each group of filters took, under the name of its first.
    pub(crate) fn seconds(&self) -> BTreeMap<&'static str, f64> {
        let spent = self.spent.iter().filter(|(_, time)| !time.is_zero());
        spent
            .map(|(step, time)| (*step, time.as_secs_f64()))
            .collect()
    }

    /// Passes a batch through all steps: the documents kept and those dropped, each in order.
    pub(crate) fn pass(&mut self, mut batch: Vec<Document>) -> (Vec<Document>, Vec<Dropped>) {
        let mut dropped = Vec::new();
        let mut at = 0;
        for step in &mut self.steps {
            let start = Instant::now();
            let (first, outcomes): (usize, Vec<Vec<Outcome>>) = match step {
                Step::Alone(filters) => {
                    let first = at;
                    at += filters.len();
                    (
                        first,
                        batch
                            .par_iter_mut()
                            .map(|document| apply_all(filters, document))
                            .collect(),
                    )
                }
                Step::History(history) => {
                    let first = at;
                    at += 1;
                    let fingerprints: Vec<_> = batch
                        .par_iter()
                        .map(|document| history.fingerprint(document))
                        .collect();
                    let pairs = batch.iter_mut().zip(&fingerprints);
                    (
                        first,
                        pairs
                            .map(|(document, print)| vec![history.apply(document, print)])
                            .collect(),
                    )
                }
            };
            let mut kept = Vec::with_capacity(batch.len());
            for (document, outcomes) in batch.into_iter().zip(outcomes) {
                match tally(&mut self.counts[first..at], &document, outcomes) {
                    None => kept.push(document),
                    Some((step, reason)) => dropped.push(Dropped {
                        document,
                        step,
                        reason,
                    }),
                }
            }
            batch = kept;
            self.spent[first].1 += start.elapsed();
        }
        (batch, dropped)
    }
}

/// Applies filters until one drops the document.
fn apply_all(filters: &[Box<dyn Filter>], document: &mut Document) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(filters.len());
    for filter in filters {
        let outcome = filter.apply(document);
        let ends = matches!(outcome, Outcome::Drop(_));
        outcomes.push(outcome);
        if ends {
            break;
        }
    }
    outcomes
}

/// Counts one document's outcomes; the step and the reason when it was dropped.
fn tally(
    counts: &mut [StepCount],
    document: &Document,
    outcomes: Vec<Outcome>,
) -> Option<(&'static str, String)> {
    for (count, outcome) in counts.iter_mut().zip(outcomes) {
        match outcome {
            Outcome::Drop(reason) => {
                count.dropped += 1;
                return Some((count.step, reason));
            }
            Outcome::Keep => {}
            Outcome::Edited => count.edited += 1,
        }
        count.kept += 1;
        count.bytes_kept += document.text.len() as u64;
        count.tokens_kept += estimated_tokens(document.text.len() as u64);
    }
    None
}
