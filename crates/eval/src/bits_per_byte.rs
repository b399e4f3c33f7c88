//! Bits per byte: −log₂ of the probability a model gives to held-out text, over the text's UTF-8 bytes.
//!
//! Unlike a loss per token it can be compared between models with different tokenizers: the text is encoded anew by
//! the tokenizer of the model that is scored, and only tokens of the text are counted, each document on its own,
//! opened by the end-of-text token as in training.

use std::collections::BTreeMap;

use artifact::{Progress, Seed};
use data::{Shards, Split};
use infer::Engine;
use tokenizer::Tokenizer;

use crate::choice::choose;
use crate::error::Result;
use crate::scores::Series;

/// Windows scored before progress is told and an interruption is seen.
const BATCH: usize = 32;

/// One held-out document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Stable name: documents of two candidates are paired by it.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// At most `limit` validation documents (0 takes all), chosen by `seed`, decoded with the tokenizer the shards were
/// made with.
///
/// # Errors
/// A document cannot be read or decoded.
pub fn validation_texts(shards: &Shards, tokenizer: &Tokenizer, limit: usize, seed: Seed) -> Result<Vec<Text>> {
    let split = shards.split(Split::Validation);
    let chosen = choose(split.documents() as usize, limit, seed);
    let mut texts = Vec::with_capacity(chosen.len());
    for i in chosen {
        let mut tokens = split.document(i as u64)?;
        if tokens.last() == Some(&tokenizer.end_of_text()) {
            tokens.pop();
        }
        texts.push(Text { id: format!("validation document {i}"), text: tokenizer.decode(&tokens)? });
    }
    Ok(texts)
}

/// Bits and bytes of every text under the engine's model.
///
/// # Errors
/// The text cannot be encoded, the model fails, or the user interrupts.
pub fn measure(engine: &Engine, texts: &[Text], progress: &Progress) -> Result<Series> {
    let tokenizer = engine.tokenizer();
    let opening = tokenizer.end_of_text();
    let mut owners = Vec::new();
    let mut pending = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        for window in windows(&tokenizer.encode(&text.text)?, opening, engine.context()) {
            owners.push(i);
            pending.push(window);
        }
    }
    let mut bits = vec![0.0_f64; texts.len()];
    let mut done = 0;
    for batch in pending.chunks(BATCH) {
        progress.check()?;
        for (scores, owner) in engine.score(batch)?.iter().zip(&owners[done..]) {
            bits[*owner] -= scores.iter().map(|&log_p| f64::from(log_p)).sum::<f64>() / std::f64::consts::LN_2;
        }
        done += batch.len();
        progress.tick(done as u64, Some(pending.len() as u64), "windows");
    }
    let items: BTreeMap<_, _> =
        texts.iter().zip(bits).map(|(text, bits)| (text.id.clone(), (bits, text.text.len() as f64))).collect();
    Ok(Series(items))
}

/// Cuts a document into `(history, continuation)` windows of at most `context` tokens together, every token of the
/// document in exactly one continuation. After the first window, half the context is history.
fn windows(tokens: &[u32], opening: u32, context: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let context = context.max(2);
    let mut windows = Vec::new();
    let mut start = 0;
    while start < tokens.len() {
        let history = if start == 0 { vec![opening] } else { tokens[start.saturating_sub(context / 2)..start].to_vec() };
        let end = tokens.len().min(start + context - history.len());
        windows.push((history, tokens[start..end].to_vec()));
        start = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_document_is_one_window() {
        assert_eq!(windows(&[5, 6, 7], 0, 8), vec![(vec![0], vec![5, 6, 7])]);
    }

    #[test]
    fn an_empty_document_has_none() {
        assert!(windows(&[], 0, 8).is_empty());
    }

    #[test]
    fn a_long_document_keeps_half_the_context_as_history() {
        let tokens: Vec<u32> = (1..=9).collect();
        assert_eq!(
            windows(&tokens, 0, 4),
            vec![
                (vec![0], vec![1, 2, 3]),
                (vec![2, 3], vec![4, 5]),
                (vec![4, 5], vec![6, 7]),
                (vec![6, 7], vec![8, 9]),
            ]
        );
    }

    proptest! {
        #[test]
        fn every_token_is_scored_once(length in 0_u32..200, context in 2_usize..40) {
            let tokens: Vec<u32> = (1..=length).collect();
            let windows = windows(&tokens, 0, context);
            let scored: Vec<u32> = windows.iter().flat_map(|(_, continuation)| continuation.clone()).collect();
            prop_assert_eq!(scored, tokens);
            for (history, continuation) in windows {
                prop_assert!(!history.is_empty() && history.len() + continuation.len() <= context);
            }
        }
    }
}
