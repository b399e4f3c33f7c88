//! What can go wrong with the feedback store.

use std::path::PathBuf;

/// The result of a feedback operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A feedback operation that failed; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database file cannot be opened.
    #[error("cannot open the feedback store {}: {source}; check that the folder can be written and the file is a feedback store", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file was written by a newer version.
    #[error("the feedback store {} has schema version {found}, this program knows up to {known}; use the newer program that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// A statement failed.
    #[error("the feedback store failed to {operation}: {source}")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A rating of an answer that is not stored.
    #[error("no answer `{id}` (choice {choice}) is stored, so it cannot be rated")]
    UnknownAnswer {
        /// The answer's id.
        id: String,
        /// Which of the choices.
        choice: usize,
    },
    /// A file cannot be read or written.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An import file holds more broken lines than is allowed.
    #[error(
        "{} of {rows} lines of {} cannot be used, more than the allowed share of {allowed}; nothing was imported. \
         Line {line}: {reason}",
        broken, path.display()
    )]
    TooManyBroken {
        /// The file.
        path: PathBuf,
        /// Its lines.
        rows: usize,
        /// The unusable ones.
        broken: usize,
        /// The allowed share.
        allowed: f64,
        /// The first unusable line.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Names the operation a database error happened in.
pub(crate) fn during(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Database { operation, source }
}
