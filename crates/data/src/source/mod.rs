//! Sources: files and folders of documents, read as one stream in a fixed order and with bounded memory.

mod bytes;

mod csv;
pub(crate) mod jsonl;
mod listing;
mod parquet;
mod reader;
mod text;

use serde::{Deserialize, Serialize};

pub(crate) use bytes::Bytes;
pub(crate) use listing::told;
pub use listing::{Compression, Format, Listing, Skipped, SourceFile, list};
pub(crate) use parquet::strings;
pub use reader::{Counts, Reader};

use crate::error::{Error, Result};

/// How sources are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names of the text field or column, the first that is present.
    pub text_fields: Vec<String>,
    /// Longer texts are cut at a blank line, a line end, a space or a character, in this order of preference.
    pub max_document_bytes: usize,
    /// A file fails when a larger share of its rows cannot be used…
    pub max_error_fraction: f64,
    /// …and there are at least as many such rows.
    pub min_errors: u64,
    /// A text with a larger share of bytes that are not UTF-8 is dropped; with a smaller one it is repaired.
    pub max_invalid_fraction: f64,
    /// What to do with a compressed file that ends too early.
    pub on_truncated: OnTruncated,
}

/// What to do with a compressed file that ends too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTruncated {
    /// Stop with an error.
    Fail,
    /// Keep what could be read and say so.
    KeepRead,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            text_fields: vec!["text".to_owned(), "content".to_owned()],
            max_document_bytes: 16 << 10,
            max_error_fraction: 0.01,
            min_errors: 3,
            max_invalid_fraction: 0.05,
            on_truncated: OnTruncated::Fail,
        }
    }
}

impl Config {
    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn check(&self) -> Result<()> {
        if self.text_fields.is_empty() {
            return Err(Error::Config {
                field: "text_fields",
                got: "[]".to_owned(),
                expected: "at least one name",
            });
        }
        if !(1 << 10..=64 << 20).contains(&self.max_document_bytes) {
            let got = self.max_document_bytes.to_string();
            return Err(Error::Config {
                field: "max_document_bytes",
                got,
                expected: "1024 to 67108864",
            });
        }
        fraction("max_error_fraction", self.max_error_fraction)?;
        fraction("max_invalid_fraction", self.max_invalid_fraction)
    }
}

/// Checks that a config value is a share.
pub(crate) fn fraction(field: &'static str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(Error::Config {
            field,
            got: value.to_string(),
            expected: "a number from 0 to 1",
        })
    }
}

/// What a format's reader yields.
pub(crate) enum Row {
    /// A text.
    Text {
        /// The text.
        text: String,
        /// Its line, row or piece, from 1.
        place: u64,
        /// The row's own id.
        id: Option<String>,
        /// The row's own source.
        source: Option<String>,
        /// Whether bytes that are not UTF-8 were replaced.
        repaired: bool,
    },
    /// A row that cannot be used.
    Bad {
        /// Its line or row, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The file is not what its name says; nothing of it is used.
    Unreadable {
        /// Why.
        reason: &'static str,
    },
}

/// The rows of one file.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// The text of `bytes`, and whether it was repaired; `None` when a larger share than `limit` is not UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>, limit: f64) -> Option<(String, bool)> {
    match String::from_utf8(bytes) {
        Ok(text) => Some((text, false)),
        Err(error) => {
            let bytes = error.as_bytes();
            let invalid: usize = bytes.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
            let few = invalid as f64 <= limit * bytes.len() as f64;
            few.then(|| (String::from_utf8_lossy(bytes).into_owned(), true))
        }
    }
}
