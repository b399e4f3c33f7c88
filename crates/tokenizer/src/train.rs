//! Training a byte-level BPE (Sennrich et al. 2016, arXiv 1508.07909; bytes and split pattern after GPT-2).

use std::sync::atomic::{AtomicU64, Ordering};

use artifact::Progress;
use serde::{Deserialize, Serialize};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::error::{Error, Result};
use crate::folder;
use crate::tokenizer::Tokenizer;

/// The special tokens, by id from 0: end of a document, start and end of a turn.
pub const SPECIAL_TOKENS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Where words end: English contractions, a word with the space before it (marks stay with their letters), each
/// digit alone (so that numbers of one length have one shape), punctuation, and whitespace.
pub const PATTERN: &str =
    r"'(?:[sdmt]|ll|ve|re)| ?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+";

/// How a tokenizer is trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// How many tokens, the 256 bytes and the special tokens included.
    pub vocab_size: usize,
    /// A pair seen less often than this is not merged.
    pub min_frequency: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            vocab_size: 4096,
            min_frequency: 2,
        }
    }
}

impl Tokenizer {
    /// Learns a vocabulary from `texts`. The same texts give the same tokenizer, whatever the thread count.
    /// Progress counts bytes read.
    ///
    /// # Errors
    /// [`Error::VocabularyTooSmall`] and [`Error::VocabularyTooLarge`], which name a size that works,
    /// [`Error::NoText`], and [`artifact::Error::Interrupted`].
    pub fn train(
        texts: impl Iterator<Item = String> + Send,
        config: &TrainConfig,
        progress: &Progress,
    ) -> Result<Self> {
        let markers = SPECIAL_TOKENS.len();
        if config.vocab_size < 256 + markers {
            return Err(Error::VocabularyTooSmall {
                asked: config.vocab_size,
                markers,
            });
        }
        let trainer = BpeTrainer::builder()
            .vocab_size(config.vocab_size)
            .min_frequency(config.min_frequency)
            .show_progress(false)
            .special_tokens(
                SPECIAL_TOKENS
                    .map(|token| AddedToken::from(token, true))
                    .to_vec(),
            )
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut raw = tokenizers::Tokenizer::new(BPE::default());
        raw.with_pre_tokenizer(Some(splitter()?))
            .with_decoder(Some(bytes()));

        let read = AtomicU64::new(0);
        let texts = texts
            .take_while(|_| !progress.interrupted())
            .inspect(|text| {
                let before = read.fetch_add(text.len() as u64, Ordering::Relaxed);
                let after = before + text.len() as u64;
                if before >> 20 != after >> 20 {
                    progress.tick(after, None, "bytes");
                }
            });
        raw.train(&mut TrainerWrapper::from(trainer), texts)
            .map_err(Error::library("train the tokenizer"))?;
        progress.check()?;
        if read.load(Ordering::Relaxed) == 0 {
            return Err(Error::NoText);
        }
        let largest = raw.get_vocab_size(true);
        if largest < config.vocab_size {
            let min_frequency = config.min_frequency;
            return Err(Error::VocabularyTooLarge {
                asked: config.vocab_size,
                largest,
                min_frequency,
            });
        }
        Self::assemble(raw, folder::own_config())
    }
}

fn splitter() -> Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(PATTERN.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
        .map_err(Error::library("compile the split pattern"))?;
    Ok(Sequence::new(vec![split.into(), bytes().into()]).into())
}

fn bytes() -> ByteLevel {
    ByteLevel::default()
        .add_prefix_space(false)
        .trim_offsets(false)
        .use_regex(false)
}
