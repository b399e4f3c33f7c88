//! The tokenizer stage: a vocabulary learned from a corpus.

use std::time::Instant;

use artifact::{Artifact, Key, Progress, Seed, Store};
use serde_json::json;
use tokenizer::{Tokenizer, TrainConfig};

use crate::corpus::{self, Split};
use crate::error::Result;

/// At most about this much text is learned from; more hardly changes a vocabulary, and the trainer holds all its
/// distinct words.
const SAMPLE_BYTES: u64 = 256 << 20;

/// Trains a tokenizer on the training documents of `corpus`, on an even sample of them when they are large. Makes an
/// artifact of kind `tokenizer`: `tokenizer.json`, `tokenizer_config.json`; metrics `vocab_size`, `sample_documents`,
/// `sample_bytes`, `bytes_per_token` (on the first documents of the sample).
///
/// # Errors
/// [`tokenizer::Error::VocabularyTooLarge`] and its like, [`crate::Error::Kind`] for another artifact.
pub fn train_tokenizer(
    config: &TrainConfig,
    corpus: &Artifact,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let start = Instant::now();
    let key = Key::new(
        "tokenizer",
        &json!({"train": config, "sample_bytes": SAMPLE_BYTES}),
    )
    .input("corpus", corpus);
    if let Some(found) = store.find(&key)? {
        return Ok(found);
    }
    let mut draft = store.begin(key)?;
    draft.restart()?;
    let all = corpus
        .manifest
        .metric("bytes_out")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0);
    let (mut failed, mut documents, mut bytes, mut first) = (None, 0u64, 0u64, Vec::new());
    let texts = corpus::documents(corpus)?.map_while(|row| match row {
        Ok(row) => Some(row),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let chosen = texts
        .filter(|(document, split)| *split == Split::Train && in_sample(&document.text, all))
        .map(|(document, _)| document.text)
        .inspect(|text| {
            documents += 1;
            bytes += text.len() as u64;
            if first.len() < 64 {
                first.push(text.clone());
            }
        });
    let trained = Tokenizer::train(chosen, config, progress);
    if let Some(error) = failed {
        return Err(error);
    }
    let trained = trained?;
    trained.save(draft.path())?;
    let texts: Vec<&str> = first.iter().map(String::as_str).collect();
    let tokens: usize = trained.encode_batch(&texts)?.iter().map(Vec::len).sum();
    let yielded = texts.iter().map(|text| text.len()).sum::<usize>() as f64 / tokens.max(1) as f64;
    let metrics = json!({
        "vocab_size": trained.vocab_size(), "sample_documents": documents, "sample_bytes": bytes,
        "bytes_per_token": yielded,
    });
    Ok(draft.commit(metrics, json!({"seconds": start.elapsed().as_secs_f64()}))?)
}

/// Whether a text is learned from: all are while they fit, else each with the same probability, by its hash.
fn in_sample(text: &str, all: u64) -> bool {
    if all <= SAMPLE_BYTES {
        return true;
    }
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    let draw = Seed(u64::from_le_bytes(first)).derive("tokenizer sample").0;
    (draw as f64) < u64::MAX as f64 * (SAMPLE_BYTES as f64 / all as f64)
}
