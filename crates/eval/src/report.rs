//! What an evaluation found, as it lies in its artifact: `evaluation.json` for people and reports, `scores.json` with
//! the outcome of every item for the gate.

use std::collections::BTreeMap;
use std::path::Path;

use artifact::Artifact;
use serde::{Deserialize, Serialize};

use crate::answers::Judged;
use crate::error::{Error, Result};
use crate::interval::Interval;
use crate::scores::{Metric, Scores};

/// The content of `evaluation.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// One row for each candidate, and for each way of prompting one.
    pub candidates: Vec<Row>,
    /// Every candidate against the one before it, on the same items.
    pub comparisons: Vec<Comparison>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The candidate's label; for prompting `LABEL, N-shot`.
    pub label: String,
    /// Artifact id of the model.
    pub model: String,
    /// Solved examples in the prompt; none for a candidate asked through the chat template.
    pub shots: Option<usize>,
    /// Solved examples that fitted the context, on average.
    pub mean_shots: Option<f64>,
    /// Every metric with its 95 % interval.
    pub metrics: BTreeMap<Metric, Interval>,
    /// Share answered right by kind of question.
    pub kinds: BTreeMap<String, Interval>,
    /// Mean implicit reward margin against the reference, in nats.
    pub reward_margin: Option<f64>,
    /// Answers, wrong ones first.
    pub examples: Vec<Judged>,
}

/// The difference of two candidates on one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The later candidate.
    pub candidate: String,
    /// The earlier one.
    pub against: String,
    /// The metric.
    pub metric: Metric,
    /// Candidate minus the other, with its paired 95 % interval.
    pub difference: Interval,
    /// True when the interval excludes zero.
    pub beyond_noise: bool,
}

impl Evaluation {
    /// Reads `evaluation.json` of an artifact of kind "evaluation".
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn read(artifact: &Artifact) -> Result<Self> {
        read_json(&artifact.file("evaluation.json"), "an evaluation")
    }

    /// The row of that label.
    #[must_use]
    pub fn row(&self, label: &str) -> Option<&Row> {
        self.candidates.iter().find(|row| row.label == label)
    }
}

/// The item-by-item scores of every row of an evaluation artifact, as the gate compares them.
///
/// # Errors
/// The file cannot be read or holds something else.
pub fn read_scores(artifact: &Artifact) -> Result<Vec<Scores>> {
    read_json(&artifact.file("scores.json"), "scores")
}

/// The scores of one candidate.
///
/// # Errors
/// The file cannot be read, or no candidate has that label.
pub fn scores_of(artifact: &Artifact, label: &str) -> Result<Scores> {
    let all = read_scores(artifact)?;
    let known = all
        .iter()
        .map(|scores| scores.label.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    all.into_iter()
        .find(|scores| scores.label == label)
        .ok_or_else(|| Error::UnknownCandidate {
            label: label.to_owned(),
            known,
        })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Content {
        path: path.to_owned(),
        expected,
        source,
    })
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).expect("reports are plain data with string keys");
    Ok(artifact::write_atomic(path, text.as_bytes())?)
}
