//! Reading token shards: the files are mapped into memory, so opening costs nothing and the system keeps in memory
//! what is used.

use std::fs;
use std::ops::Range;
use std::path::Path;

use mmap_io::MemoryMappedFile;

use crate::corpus::Split;
use crate::error::{Error, Result};
use crate::shards::{INDEX, Index, SplitIndex, file_name};

/// The token shards of one artifact.
#[derive(Debug)]
pub struct Shards {
    vocab_size: usize,
    train: TokenSplit,
    validation: TokenSplit,
}

impl Shards {
    /// Opens the folder of a `shards` artifact.
    ///
    /// # Errors
    /// [`Error::Shards`] naming the file that does not fit the index, [`artifact::Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(INDEX);
        let json = fs::read(&path).map_err(Error::io("read", &path))?;
        let index: Index =
            serde_json::from_slice(&json).map_err(|error| damaged(&path, error.to_string()))?;
        if index.token_bytes != 2 && index.token_bytes != 4 {
            return Err(damaged(
                &path,
                format!("expected tokens of 2 or 4 bytes, got {}", index.token_bytes),
            ));
        }
        Ok(Self {
            vocab_size: usize::try_from(index.vocab_size)
                .map_err(|error| damaged(&path, error.to_string()))?,
            train: TokenSplit::open(folder, Split::Train, index.token_bytes, &index.train)?,
            validation: TokenSplit::open(
                folder,
                Split::Validation,
                index.token_bytes,
                &index.validation,
            )?,
        })
    }

    /// One split.
    #[must_use]
    pub fn split(&self, split: Split) -> &TokenSplit {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }

    /// The size of the vocabulary the tokens come from; every token is below it.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }
}

fn damaged(path: &Path, problem: String) -> Error {
    Error::Shards {
        path: path.to_owned(),
        problem,
    }
}

/// The tokens of one split: documents one after the other, each ended by the end-of-text token.
pub struct TokenSplit {
    files: Vec<MemoryMappedFile>,
    /// The first token of each file, and at last the number of tokens.
    starts: Vec<u64>,
    ends: Vec<u64>,
    token_bytes: u64,
    bytes: u64,
}

impl TokenSplit {
    fn open(folder: &Path, split: Split, token_bytes: u64, index: &SplitIndex) -> Result<Self> {
        let ends_path = folder.join(format!("{}.ends", split.name()));
        let raw = match index.documents {
            0 => Vec::new(),
            _ => fs::read(&ends_path).map_err(Error::io("read", &ends_path))?,
        };
        let eight = raw.chunks_exact(8).map(|end| {
            end.iter()
                .rev()
                .fold(0, |value, &byte| value << 8 | u64::from(byte))
        });
        let ends: Vec<u64> = eight.collect();
        let ordered = ends.windows(2).all(|pair| pair[0] < pair[1]);
        if ends.len() as u64 != index.documents
            || ends.last().copied().unwrap_or(0) != index.tokens
            || !ordered
        {
            let problem = format!(
                "it does not list the ends of {} documents over {} tokens",
                index.documents, index.tokens
            );
            return Err(damaged(&ends_path, problem));
        }
        let (mut files, mut starts) = (Vec::new(), vec![0]);
        for (number, &tokens) in index.files.iter().enumerate() {
            let path = folder.join(file_name(split.name(), number));
            let file = MemoryMappedFile::open_ro(&path).map_err(|error| {
                Error::io("map", &path)(std::io::Error::other(error.to_string()))
            })?;
            if file.len() != tokens * token_bytes {
                let problem = format!(
                    "expected {} bytes, got {}",
                    tokens * token_bytes,
                    file.len()
                );
                return Err(damaged(&path, problem));
            }
            files.push(file);
            starts.push(starts[number] + tokens);
        }
        if starts.last() != Some(&index.tokens) {
            return Err(damaged(
                folder,
                format!(
                    "its files hold {starts:?} tokens, expected {}",
                    index.tokens
                ),
            ));
        }
        Ok(Self {
            files,
            starts,
            ends,
            token_bytes,
            bytes: index.bytes,
        })
    }

    /// How many tokens there are, end-of-text tokens included.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// How many documents there are.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.ends.len() as u64
    }

    /// UTF-8 bytes of all documents' text, the denominator of bits per byte.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where each document ends, in tokens: document `i` is `ends[i-1]..ends[i]`.
    #[must_use]
    pub fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// The document that holds a token; [`TokenSplit::documents`] past the last.
    #[must_use]
    pub fn document_of(&self, token: u64) -> usize {
        self.ends.partition_point(|&end| end <= token)
    }

    /// The tokens of a document, the end-of-text token at the end.
    ///
    /// # Panics
    /// When `index` is not below [`TokenSplit::documents`].
    #[must_use]
    pub fn document(&self, index: usize) -> Vec<u32> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let mut out = Vec::new();
        self.read(start..self.ends[index], &mut out);
        out
    }

    /// Replaces `out` by the tokens of a range, which may span documents and files; what lies past the end is left out.
    pub fn read(&self, range: Range<u64>, out: &mut Vec<u32>) {
        out.clear();
        let end = range.end.min(self.tokens());
        let mut at = range.start;
        while at < end {
            let number = self.starts.partition_point(|&start| start <= at) - 1;
            let until = end.min(self.starts[number + 1]);
            let place = (at - self.starts[number]) * self.token_bytes;
            let slice = self.files[number].as_slice(place, (until - at) * self.token_bytes);
            let slice = slice.expect("the lengths of the files were checked when they were opened");
            if self.token_bytes == 2 {
                out.extend(
                    slice
                        .chunks_exact(2)
                        .map(|two| u32::from(u16::from_le_bytes([two[0], two[1]]))),
                );
            } else {
                out.extend(
                    slice
                        .chunks_exact(4)
                        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])),
                );
            }
            at = until;
        }
    }
}

impl std::fmt::Debug for TokenSplit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSplit")
            .field("documents", &self.documents())
            .field("tokens", &self.tokens())
            .finish()
    }
}
