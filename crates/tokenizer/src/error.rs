//! What can go wrong with tokenizers, each with its remedy.

use std::path::PathBuf;

/// The result of a tokenizer operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A tokenizer operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written, or the user asked to stop.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// A tokenizer file holds something else.
    #[error("cannot load the tokenizer {}: {problem}; expected a tokenizer.json as Hugging Face tokenizers writes it, or a folder with one", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The vocabulary has no room for every byte and the markers.
    #[error("a vocabulary of {asked} is too small: 256 bytes and {markers} markers need at least {}; set vocab_size to {} or more", 256 + markers, 256 + markers)]
    VocabularyTooSmall {
        /// The size asked for.
        asked: usize,
        /// How many special tokens there are.
        markers: usize,
    },
    /// The text does not have as many different pieces.
    #[error(
        "a vocabulary of {asked} is larger than this text supports: with min_frequency {min_frequency} it yields {largest} tokens; ask for {largest} or less (--set tokenizer.vocab_size={largest} in a run, --vocab-size {largest} alone), or give more text"
    )]
    VocabularyTooLarge {
        /// The size asked for.
        asked: usize,
        /// The largest size the text yields.
        largest: usize,
        /// The frequency a piece needs.
        min_frequency: u64,
    },
    /// Nothing to learn from.
    #[error("cannot train a tokenizer on no text; check that the corpus kept any documents")]
    NoText,
    /// The library refused.
    #[error("cannot {operation}: {problem}")]
    Library {
        /// What was tried.
        operation: &'static str,
        /// What the library said.
        problem: String,
    },
    /// The chat template does not parse or does not render.
    #[error(
        "the chat template does not {operation}: {problem}; mend `chat_template` in tokenizer_config.json"
    )]
    Template {
        /// `parse` or `render`.
        operation: &'static str,
        /// What the template engine said, with the line.
        problem: String,
    },
    /// The template changes the assistant's words, so there is no telling which tokens are its own.
    #[error(
        "this chat template rewrites the assistant's messages, so the loss cannot be laid on them alone; use a template that prints message['content'] unchanged"
    )]
    Mask,
}

impl Error {
    pub(crate) fn library<E: std::fmt::Display>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Library {
            operation,
            problem: error.to_string(),
        }
    }

    pub(crate) fn template(operation: &'static str, error: &minijinja::Error) -> Self {
        Self::Template {
            operation,
            problem: format!("{error:#}"),
        }
    }
}
