//! Text to ids for models that read a text whole and write none: with the special tokens that the tokenizer's
//! post-processor sets around a text, and cut to what the model reads.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use serde_json::Value;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::error::{Error, Result};
use crate::folder;

/// The tokenizer of a model that reads texts.
///
/// Special tokens within a text count as such, unlike those given to [`Tokenizer::encode`](crate::Tokenizer::encode):
/// vectors are compared with vectors that other programs made, and those read `title[SEP]text` as two parts.
pub struct Reader {
    inner: tokenizers::Tokenizer,
    /// Longest text, in tokens.
    longest: usize,
    /// Rows of the model's embedding table.
    rows: usize,
    stated: Option<usize>,
}

/// The ids of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The ids, special tokens among them.
    pub ids: Vec<u32>,
    /// Whether the text was longer.
    pub cut: bool,
}

impl Reader {
    /// Loads `tokenizer.json` (and, where present, `tokenizer_config.json`) from a folder.
    ///
    /// # Errors
    /// [`artifact::Error::Io`] when a file cannot be read, [`Error::Load`] when it is not a tokenizer.
    pub fn load(folder: &Path) -> Result<Self> {
        let file = folder.join(folder::TOKENIZER);
        let load = |problem: String| Error::Load {
            path: file.clone(),
            problem,
        };
        let json = std::fs::read(&file).map_err(artifact::Error::io("read", &file))?;
        let mut inner = folder::parse(&json).map_err(|error| match error {
            Error::Library { problem, .. } => load(problem),
            other => other,
        })?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| load(error.to_string()))?;
        // The library indexes with what a post-processor names; a first text shows whether it is there.
        let first = std::panic::catch_unwind(AssertUnwindSafe(|| inner.encode_fast("a", true)));
        first
            .unwrap_or_else(|_| Err("its parts do not fit each other".into()))
            .map_err(|error| load(error.to_string()))?;
        let config = folder::config_of(folder)?;
        let stated = config.get("model_max_length").and_then(Value::as_f64);
        // Where no length is known, Python writes 1e30.
        let stated = stated.filter(|&tokens| (1.0..1e9).contains(&tokens));
        Ok(Self {
            inner,
            longest: usize::MAX,
            rows: usize::MAX,
            stated: stated.map(|tokens| tokens as usize),
        })
    }

    /// `model_max_length` of `tokenizer_config.json`, in tokens; `None` where it says nothing.
    #[must_use]
    pub fn stated_length(&self) -> Option<usize> {
        self.stated
    }

    /// Lowercases every text first, unless the tokenizer does so already.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn lowercasing(mut self) -> Result<Self> {
        let present = self.inner.get_normalizer().cloned();
        if !present.as_ref().is_some_and(lowercases) {
            let all = std::iter::once(Lowercase.into()).chain(present).collect();
            self.inner
                .with_normalizer(Some(NormalizerWrapper::Sequence(Sequence::new(all))))
                .map_err(Error::library("lowercase"))?;
        }
        Ok(self)
    }

    /// Fits the tokenizer to a model: texts are cut to `longest` tokens, and no id reaches `rows`.
    ///
    /// # Errors
    /// [`Error::Library`] when the special tokens alone are longer, or the vocabulary is larger.
    pub fn fitted(mut self, longest: usize, rows: usize) -> Result<Self> {
        let problem = |problem: String| Error::Library {
            operation: "use the tokenizer",
            problem,
        };
        let added = self.inner.get_post_processor();
        let added = added.map_or(0, |one| tokenizers::PostProcessor::added_tokens(one, false));
        if longest <= added {
            return Err(problem(format!(
                "it adds {added} special tokens, a text may have {longest}"
            )));
        }
        let last = self.inner.get_vocab(true).into_values().max().unwrap_or(0);
        if last as usize >= rows {
            return Err(problem(format!(
                "it has a token {last}, the embedding table {rows} rows"
            )));
        }
        self.inner
            .with_truncation(Some(TruncationParams {
                direction: TruncationDirection::Right,
                max_length: longest,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            }))
            .map_err(Error::library("use the tokenizer"))?;
        (self.longest, self.rows) = (longest, rows);
        Ok(self)
    }

    /// Longest text, in tokens.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The ids of each text, in the order given; encoded in parallel.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses, or makes ids that the model does not have.
    pub fn read(&self, texts: &[&str]) -> Result<Vec<Reading>> {
        let encodings = self
            .inner
            .encode_batch_fast(texts.to_vec(), true)
            .map_err(Error::library("encode"))?;
        let readings = encodings.iter().map(|encoding| {
            let ids = encoding.get_ids().to_vec();
            // A post-processor brings ids of its own.
            if let Some(id) = ids.iter().find(|&&id| id as usize >= self.rows) {
                return Err(Error::Library {
                    operation: "encode",
                    problem: format!(
                        "the tokenizer makes a token {id}, the embedding table has {} rows",
                        self.rows
                    ),
                });
            }
            if ids.len() > self.longest {
                return Err(Error::Library {
                    operation: "encode",
                    problem: format!(
                        "the tokenizer makes {} tokens of a text cut to {}",
                        ids.len(),
                        self.longest
                    ),
                });
            }
            let cut = !encoding.get_overflowing().is_empty();
            Ok(Reading { ids, cut })
        });
        readings.collect()
    }

    /// How many of a text's first ids belong to `prompt` when the text begins with it: the prompt's own, less the
    /// special token behind it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn prompt_length(&self, prompt: &str) -> Result<usize> {
        let readings = self.read(&[prompt])?;
        let ids = readings.first().map_or(&[][..], |reading| &reading.ids);
        let added = self.inner.get_added_tokens_decoder();
        let special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        Ok(ids.len() - usize::from(ids.last().is_some_and(special)))
    }
}

/// Whether a normalizer makes lower case of a text.
fn lowercases(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
        NormalizerWrapper::Sequence(all) => all.as_ref().iter().any(lowercases),
        _ => false,
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}
