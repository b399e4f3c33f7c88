//! Why a request could not be answered.

use std::time::Duration;

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What was wrong with a request, or with the engine.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {prompt_tokens} tokens and the model's context {context}: shorten the prompt"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens of the context.
        context: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Tokens of the model.
        vocab_size: usize,
    },
    /// A request without a prompt.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// A sampling setting that is no setting.
    #[error("{field} is {got}: expected {expected}")]
    Sampling {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A grammar that cannot be read or followed.
    #[error("the grammar cannot be used: {problem}")]
    Grammar {
        /// What is wrong with it.
        problem: String,
    },
    /// A draft model that does not go with its model.
    #[error("the draft model does not fit the model: {problem}")]
    Draft {
        /// What differs.
        problem: String,
    },
    /// More requests wait than the engine takes.
    #[error("{waiting} requests are waiting already: try again in about {} s", retry_after.as_secs())]
    Overloaded {
        /// Requests that wait.
        waiting: usize,
        /// About how long it takes until they are through, in whole seconds.
        retry_after: Duration,
    },
    /// The request waited beyond its deadline.
    #[error("the request waited {waited_seconds:.1} s and its deadline is over")]
    Expired {
        /// How long it waited.
        waited_seconds: f64,
    },
    /// The request was cancelled before it was done.
    #[error("interrupted")]
    Interrupted,
    /// The engine's thread is gone.
    #[error("the engine stopped: {0}")]
    Stopped(String),
}
