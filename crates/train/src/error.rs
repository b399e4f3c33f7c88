//! Why a training stage could not run or finish.

use std::path::PathBuf;

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot be trained with.
    #[error("`{field}` is {got}: expected {expected}")]
    Config {
        /// The field, as the recipe spells it.
        field: String,
        /// Its value.
        got: String,
        /// What it must be.
        expected: String,
    },
    /// There is nothing to learn from.
    #[error("{what} has no usable rows; {hint}")]
    NoData {
        /// The input.
        what: &'static str,
        /// What to do.
        hint: String,
    },
    /// The loss is no number any more.
    #[error(
        "the loss became {loss} at step {step}; lower `learning_rate` or `gradient_clip` (the last checkpoint was finite and is kept)"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The user stopped the run; it goes on from its checkpoint.
    #[error("interrupted at step {step}; the work is saved, run the same command again to go on")]
    Interrupted {
        /// The step of the checkpoint.
        step: u64,
    },
    /// A checkpoint of this very run that does not fit it.
    #[error("{}: {reason}; delete the file to start this stage afresh", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// From the artifact store.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// From the data room.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// From the hub.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// From the engine.
    #[error(transparent)]
    Infer(#[from] infer::Error),
    /// From the tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// The model's numbers do not fit each other.
    #[error(transparent)]
    Model(#[from] models::decoder::ConfigError),
}

impl Error {
    pub(crate) fn config(
        field: impl Into<String>,
        got: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config {
            field: field.into(),
            got: got.to_string(),
            expected: expected.into(),
        }
    }
}
