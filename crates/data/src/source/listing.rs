//! Which files are read, in which order: folders are walked sorted, hidden files and unknown endings are left out.

use std::path::{Path, PathBuf};

use serde::Serialize;
use walkdir::WalkDir;

use crate::error::{Error, Result};

/// A file's format, by its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `.txt`, `.md`: one document, or pieces of a long one.
    Text,
    /// `.jsonl`, `.ndjson`: a document a line.
    Jsonl,
    /// `.csv`, `.tsv`: a document a row.
    Csv,
    /// `.parquet`: a document a row.
    Parquet,
}

/// How a file is compressed, by its last ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`, of one or several members.
    Gzip,
    /// `.zst`.
    Zstd,
}

/// One file to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name in documents and errors: the path below the folder that was given, `/`-separated. It does not
    /// depend on where that folder lies.
    pub name: String,
    /// Its format.
    pub format: Format,
    /// Its compression.
    pub compression: Compression,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A file that is not read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name, as [`SourceFile::name`].
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What lies under the paths given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The files to read, in order.
    pub files: Vec<SourceFile>,
    /// The files left out.
    pub skipped: Vec<Skipped>,
}

impl Listing {
    /// The size of all files to read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Lists the files under `paths`. Folders are walked in sorted order; hidden files and folders are passed over.
///
/// # Errors
/// [`artifact::Error::Io`] for a path that is not there, [`Error::NoFiles`] when nothing can be read.
pub fn list(paths: &[PathBuf]) -> Result<Listing> {
    let mut listing = Listing::default();
    for root in paths {
        let root_is_file = std::fs::metadata(root)
            .map_err(Error::io("read", root))?
            .is_file();
        let visible = |entry: &walkdir::DirEntry| {
            entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
        };
        for entry in WalkDir::new(root)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(visible)
        {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(root).to_owned();
                Error::io("walk", &path)(error.into())
            })?;
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.into_path();
            let below = if root_is_file {
                Path::new(path.file_name().unwrap_or_default())
            } else {
                path.strip_prefix(root).unwrap_or(&path)
            };
            let name = below
                .iter()
                .map(|part| part.to_string_lossy())
                .collect::<Vec<_>>()
                .join("/");
            match kind(&name) {
                Some((format, compression)) => {
                    let bytes = std::fs::metadata(&path)
                        .map_err(Error::io("read", &path))?
                        .len();
                    listing.files.push(SourceFile {
                        path,
                        name,
                        format,
                        compression,
                        bytes,
                    });
                }
                None => listing.skipped.push(Skipped {
                    name,
                    reason: "unknown ending".to_owned(),
                }),
            }
        }
    }
    if listing.files.is_empty() {
        return Err(Error::NoFiles {
            paths: paths.to_vec(),
            skipped: told(&listing.skipped),
        });
    }
    Ok(listing)
}

/// Format and compression by the endings of a name.
pub(crate) fn kind(name: &str) -> Option<(Format, Compression)> {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (lower.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "txt" | "text" | "md" | "markdown" => Format::Text,
        "jsonl" | "ndjson" => Format::Jsonl,
        "csv" | "tsv" => Format::Csv,
        "parquet" if compression == Compression::None => Format::Parquet,
        _ => return None,
    };
    Some((format, compression))
}

/// The skipped files in brackets, for an error; the first few by name.
pub(crate) fn told(skipped: &[Skipped]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    let named: Vec<_> = skipped
        .iter()
        .take(3)
        .map(|one| format!("{}: {}", one.name, one.reason))
        .collect();
    let more = skipped.len() - named.len();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(" (skipped {}{more})", named.join(", "))
}
