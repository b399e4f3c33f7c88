//! Why a checkpoint could not be found, read or written.

use std::path::{Path, PathBuf};

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the file, what was expected and what was there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `map`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A JSON file does not say what it should.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: serde_json::Error,
    },
    /// The numbers of a config describe no model.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field at fault.
        source: models::decoder::ConfigError,
    },
    /// The weights file is broken or of another model.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// The tensor at fault, what was expected and what was there.
        reason: String,
    },
    /// No model goes by this name.
    #[error(
        "no model `{wanted}`: it is no artifact id, no name, no folder with a config.json and no .gguf file{hint}"
    )]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Near misses, or where to look.
        hint: String,
    },
    /// It reads texts and writes none.
    #[error(
        "{} is an encoder ({family}), which reads texts and writes none; `ontogeny embed` makes vectors of texts with it",
        path.display()
    )]
    Encoder {
        /// The model's folder.
        path: PathBuf,
        /// Its `model_type`.
        family: String,
    },
    /// It writes texts and makes no vectors of them.
    #[error(
        "{} is no encoder ({family}); vectors of texts are made with {}, and `ontogeny generate` or `chat` lets others write",
        path.display(), models::encoder::FAMILIES.join(", ")
    )]
    NotAnEncoder {
        /// The model's folder, or its file.
        path: PathBuf,
        /// Its `model_type`, or what else it is.
        family: String,
    },
    /// The artifact is something else.
    #[error("`{wanted}` is a {kind}, not a model")]
    NotAModel {
        /// What was asked for.
        wanted: String,
        /// What it is.
        kind: String,
    },
    /// The hub does not answer.
    #[error(
        "cannot reach {endpoint}: {reason}; check the network, name a mirror with HF_ENDPOINT, or import a folder that was \
         copied here"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What stood in the way.
        reason: String,
    },
    /// The hub answers, but not with the model.
    #[error("{wanted}: {reason}")]
    Remote {
        /// What was asked for.
        wanted: String,
        /// Why it does not come, and what to do.
        reason: String,
    },
    /// The artifact is a model already, and no adapter.
    #[error("`{wanted}` is a whole model, not an adapter")]
    NotAnAdapter {
        /// What was asked for.
        wanted: String,
    },
    /// From the artifact store.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// From the tokenizer's files.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    pub(crate) fn weights(path: &Path, reason: impl Into<String>) -> Self {
        Self::Weights {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
