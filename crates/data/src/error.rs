//! What can go wrong with data, each with its remedy.

use std::path::{Path, PathBuf};

/// The result of a data operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A data operation that failed. The text names the file and the place, and ends with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written, or the user asked to stop.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// The tokenizer refused.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// Nothing to read.
    #[error(
        "no documents in {}{skipped}; give files or folders of .txt, .md, .jsonl, .csv or .parquet (.gz and .zst too)",
        list(paths)
    )]
    NoFiles {
        /// The paths searched.
        paths: Vec<PathBuf>,
        /// What lay there instead, for a person.
        skipped: String,
    },
    /// Files were there, and no text in them.
    #[error(
        "no text in {}{skipped}; check that the files are not empty and hold a `text` field",
        list(paths)
    )]
    NoText {
        /// The paths read.
        paths: Vec<PathBuf>,
        /// What was skipped, for a person.
        skipped: String,
    },
    /// A compressed file ends too early or is broken.
    #[error("{} is damaged at byte {offset}: {problem}; copy or download it again, or set on_truncated = \"keep_read\" to use what comes before", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How many compressed bytes were read.
        offset: u64,
        /// What the decoder said.
        problem: String,
    },
    /// Too many rows of a file cannot be used.
    #[error("{}:{line}: {reason}; {bad} of {rows} rows cannot be used, more than the {allowed} allowed; mend the file or raise max_error_fraction", path.display())]
    BadRows {
        /// The file.
        path: PathBuf,
        /// The first bad line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// Rows that cannot be used.
        bad: u64,
        /// Rows read.
        rows: u64,
        /// How many bad rows the config allows.
        allowed: u64,
    },
    /// A table without the text column.
    #[error("{} has no column {}; it has: {}; name the column in text_fields", path.display(), wanted.join(" or "), found.join(", "))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The columns looked for.
        wanted: Vec<String>,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A file is not of the format its name says.
    #[error("{} cannot be read as {format}: {problem}; check the file, or leave it out", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format expected.
        format: &'static str,
        /// What the reader said.
        problem: String,
    },
    /// The filters dropped every document.
    #[error(
        "none of {documents} documents was kept; most were dropped by `{step}`: {}",
        remedy(step)
    )]
    NothingKept {
        /// Documents read.
        documents: u64,
        /// The step that dropped most.
        step: String,
    },
    /// A config value that cannot be.
    #[error("{field} = {got} cannot be; expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// The value given.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A shards folder that does not fit together.
    #[error("the token shards in {} are damaged: {problem}; remove the artifact and run the stage again", path.display())]
    Shards {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The artifact is of another kind.
    #[error("expected an artifact of kind {expected}, got {got}; give the id of a {expected}")]
    Kind {
        /// The kind needed.
        expected: &'static str,
        /// The kind given.
        got: String,
    },
}

impl Error {
    /// A system error with the operation and the path.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let wrap = artifact::Error::io(operation, path);
        move |source| Self::Artifact(wrap(source))
    }

    /// Whether the user asked to stop; the work is saved or is quickly done again.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        use artifact::Error::Interrupted;
        matches!(
            self,
            Self::Artifact(Interrupted) | Self::Tokenizer(tokenizer::Error::Artifact(Interrupted))
        )
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// What to set where a filter drops everything.
fn remedy(step: &str) -> String {
    match step {
        "language" => {
            "name their languages with --set 'data.language.expected=[\"es\"]', or [] for any"
                .to_owned()
        }
        _ => format!(
            "loosen it in the recipe's [data.{step}], or switch it off with --set data.{step}.enabled=false"
        ),
    }
}
