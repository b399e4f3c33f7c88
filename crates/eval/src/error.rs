//! What can go wrong while evaluating.

use std::path::PathBuf;

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An evaluation that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of questions, pairs or outcomes cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a JSON Lines file is not what it should be.
    #[error("{path}, line {line}: {reason}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file inside an artifact does not hold what its kind promises.
    #[error("{path} does not hold {expected}: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A candidate is not a model.
    #[error("candidate `{label}` is an artifact of kind `{got}`, expected `model`")]
    NotAModel {
        /// Label of the candidate.
        label: String,
        /// Kind of the artifact given.
        got: String,
    },
    /// Nothing to compare.
    #[error("an evaluation needs at least one candidate, got none")]
    NoCandidates,
    /// A label is not among the candidates.
    #[error("no candidate is called `{label}`; there are: {known}")]
    UnknownCandidate {
        /// The label asked for.
        label: String,
        /// The labels there are, comma-separated.
        known: String,
    },
    /// Token shards do not say which tokenizer made them.
    #[error(
        "shards {shards} name no tokenizer among their inputs; make them again with `ontogeny run`"
    )]
    NoTokenizer {
        /// Id of the shards.
        shards: String,
    },
    /// A setting is out of its range.
    #[error("{field}: expected {expected}, got {got}")]
    Setting {
        /// Name of the setting.
        field: &'static str,
        /// The range allowed.
        expected: &'static str,
        /// The value given.
        got: String,
    },
    /// From the artifact store.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// From the data room.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// From the tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// From loading a model.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// From running a model.
    #[error(transparent)]
    Infer(#[from] infer::Error),
}
