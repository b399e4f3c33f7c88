//! Token shards: a corpus as tokens on disk, each document followed by the end-of-text token, memory-mapped when read.
//!
//! A folder holds `shards.json`, `train-00000.bin` … and `validation-00000.bin` … (little-endian `u16`, or `u32` for
//! vocabularies of 65,536 tokens or more), and `train.ends` and `validation.ends` (little-endian `u64`: where each
//! document ends, in tokens, the end-of-text token included).

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use artifact::{Artifact, Key, Progress, Store, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokenizer::Tokenizer;

use crate::corpus::{self, Split};
use crate::document::Document;
use crate::error::{Error, Result};

pub use crate::token_split::{Shards, TokenSplit};

pub(crate) const INDEX: &str = "shards.json";

/// How shards are cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Tokens in one file.
    pub tokens_per_file: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tokens_per_file: 1 << 27,
        }
    }
}

/// What `shards.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Bytes per token: 2 or 4.
    pub(crate) token_bytes: u64,
    pub(crate) vocab_size: u64,
    pub(crate) train: SplitIndex,
    pub(crate) validation: SplitIndex,
}

/// One split of `shards.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitIndex {
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
    /// UTF-8 bytes of the documents' text.
    pub(crate) bytes: u64,
    /// Tokens in each file.
    pub(crate) files: Vec<u64>,
}

/// Text encoded at once.
const BATCH_BYTES: usize = 4 << 20;

/// Encodes a corpus with a tokenizer into an artifact of kind `shards`. Metrics: `vocab_size`, `train_tokens`,
/// `train_documents`, `train_bytes`, the same for `validation`, `bytes_per_token`; measured: `seconds`,
/// `tokens_per_second`. Documents are encoded in parallel and written in order.
///
/// # Errors
/// [`Error::Kind`] for other artifacts, [`artifact::Error::Io`] naming the file.
pub fn run(
    config: &Config,
    corpus: &Artifact,
    tokenizer: &Artifact,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let start = Instant::now();
    if tokenizer.manifest.kind != "tokenizer" && !tokenizer.file("tokenizer.json").exists() {
        return Err(Error::Kind {
            expected: "tokenizer",
            got: tokenizer.manifest.kind.clone(),
        });
    }
    if config.tokens_per_file == 0 {
        return Err(Error::Config {
            field: "tokens_per_file",
            got: "0".to_owned(),
            expected: "1 or more",
        });
    }
    let key = Key::new("shards", config)
        .input("corpus", corpus)
        .input("tokenizer", tokenizer);
    if let Some(found) = store.find(&key)? {
        return Ok(found);
    }
    let documents = corpus::documents(corpus)?;
    let mut draft = store.begin(key)?;
    draft.restart()?;
    let tokenizer = Tokenizer::load(&tokenizer.path)?;
    let token_bytes = if tokenizer.vocab_size() <= usize::from(u16::MAX) {
        2
    } else {
        4
    };
    let new =
        |split: Split| SplitWriter::new(draft.path(), split, token_bytes, config.tokens_per_file);
    let mut writers = [new(Split::Train)?, new(Split::Validation)?];
    let total = corpus
        .manifest
        .metric("bytes_out")
        .and_then(serde_json::Value::as_u64);
    let (mut batch, mut bytes, mut done) = (Vec::new(), 0, 0u64);
    for row in documents {
        let row = row?;
        bytes += row.0.text.len();
        batch.push(row);
        if bytes >= BATCH_BYTES {
            encode(&tokenizer, &mut batch, &mut writers)?;
            done += std::mem::take(&mut bytes) as u64;
            progress.tick(done, total, "bytes");
            progress.check()?;
        }
    }
    encode(&tokenizer, &mut batch, &mut writers)?;
    let [train, validation] = writers;
    let (train, validation) = (train.finish()?, validation.finish()?);
    let vocab_size = tokenizer.vocab_size() as u64;
    let text = train.bytes + validation.bytes;
    let tokens = train.tokens + validation.tokens;
    let metrics = json!({
        "vocab_size": vocab_size,
        "train_tokens": train.tokens, "train_documents": train.documents, "train_bytes": train.bytes,
        "validation_tokens": validation.tokens, "validation_documents": validation.documents,
        "validation_bytes": validation.bytes,
        "bytes_per_token": text as f64 / tokens.max(1) as f64,
    });
    let index = json!(Index {
        token_bytes,
        vocab_size,
        train,
        validation
    });
    write_atomic(
        &draft.path().join(INDEX),
        artifact::canonical_json(&index).as_bytes(),
    )?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(draft.commit(
        metrics,
        json!({"seconds": seconds, "tokens_per_second": tokens as f64 / seconds}),
    )?)
}

/// Encodes a batch and appends each document to its split.
fn encode(
    tokenizer: &Tokenizer,
    batch: &mut Vec<(Document, Split)>,
    writers: &mut [SplitWriter; 2],
) -> Result<()> {
    let texts: Vec<&str> = batch
        .iter()
        .map(|(document, _)| document.text.as_str())
        .collect();
    let encoded = tokenizer.encode_batch(&texts)?;
    for ((document, split), mut tokens) in batch.iter().zip(encoded) {
        tokens.push(tokenizer.end_of_text());
        writers[*split as usize].push(&tokens, document.text.len() as u64)?;
    }
    batch.clear();
    Ok(())
}

struct SplitWriter {
    folder: PathBuf,
    name: &'static str,
    token_bytes: u64,
    tokens_per_file: u64,
    index: SplitIndex,
    out: Option<(PathBuf, BufWriter<File>)>,
    ends: BufWriter<File>,
}

impl SplitWriter {
    fn new(folder: &Path, split: Split, token_bytes: u64, tokens_per_file: u64) -> Result<Self> {
        let path = folder.join(format!("{}.ends", split.name()));
        let ends = BufWriter::new(File::create(&path).map_err(Error::io("create", &path))?);
        let (folder, index) = (folder.to_owned(), SplitIndex::default());
        Ok(Self {
            folder,
            name: split.name(),
            token_bytes,
            tokens_per_file,
            index,
            out: None,
            ends,
        })
    }

    fn push(&mut self, tokens: &[u32], bytes: u64) -> Result<()> {
        let mut rest = tokens;
        while !rest.is_empty() {
            let room = match self.index.files.last() {
                Some(&used) if self.out.is_some() => self.tokens_per_file - used,
                _ => self.next_file()?,
            };
            let count = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at(count);
            if let Some((path, out)) = &mut self.out {
                let mut write =
                    |bytes: &[u8]| out.write_all(bytes).map_err(Error::io("write", path));
                for &token in now {
                    match u16::try_from(token) {
                        Ok(short) if self.token_bytes == 2 => write(&short.to_le_bytes())?,
                        _ => write(&token.to_le_bytes())?,
                    }
                }
            }
            if let Some(used) = self.index.files.last_mut() {
                *used += count as u64;
            }
            if count as u64 == room {
                self.close()?;
            }
            rest = later;
        }
        self.index.tokens += tokens.len() as u64;
        self.index.documents += 1;
        self.index.bytes += bytes;
        let ends = self.folder.join(format!("{}.ends", self.name));
        self.ends
            .write_all(&self.index.tokens.to_le_bytes())
            .map_err(Error::io("write", &ends))
    }

    /// Opens the next file and returns its room in tokens.
    fn next_file(&mut self) -> Result<u64> {
        let path = self
            .folder
            .join(file_name(self.name, self.index.files.len()));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        self.out = Some((path, BufWriter::with_capacity(1 << 18, file)));
        self.index.files.push(0);
        Ok(self.tokens_per_file)
    }

    fn close(&mut self) -> Result<()> {
        match self.out.take() {
            Some((path, mut out)) => out.flush().map_err(Error::io("write", &path)),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<SplitIndex> {
        self.close()?;
        let ends = self.folder.join(format!("{}.ends", self.name));
        self.ends.flush().map_err(Error::io("write", &ends))?;
        if self.index.documents == 0 {
            fs::remove_file(&ends).map_err(Error::io("remove", &ends))?;
        }
        Ok(self.index)
    }
}

pub(crate) fn file_name(split: &str, number: usize) -> String {
    format!("{split}-{number:05}.bin")
}
