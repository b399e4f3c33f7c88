//! Bits per byte: −log₂ of the probability a model gives to held-out text, over the text's UTF-8 bytes.
//!
//! Unlike a loss per token it can be compared between models with different tokenizers: the text is encoded anew by
//! the tokenizer of the model that is scored, each document on its own, opened by the end-of-text token and closed by
//! it, as in training: the bits count all tokens and the document's end, the bytes only the text.

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
pub fn validation_texts(
    shards: &Shards,
    tokenizer: &Tokenizer,
    limit: usize,
    seed: Seed,
) -> Result<Vec<Text>> {
    let split = shards.split(Split::Validation);
    let chosen = choose(split.documents() as usize, limit, seed);
    let mut texts = Vec::with_capacity(chosen.len());
    for i in chosen {
        let mut tokens = split.document(i);
        if tokens.last() == Some(&tokenizer.end_of_text()) {
            tokens.pop();
        }
        texts.push(Text {
            id: format!("validation document {i}"),
            text: tokenizer.decode(&tokens)?,
        });
    }
    Ok(texts)
}

/// Bits and bytes of every text under the engine's model.
///
/// # Errors
/// The text cannot be encoded, the model fails, or the user interrupts.
pub fn measure(engine: &Engine, texts: &[Text], progress: &Progress) -> Result<Series> {
    let tokenizer = engine.tokenizer();
    let border = tokenizer.end_of_text();
    let mut owners = Vec::new();
    let mut pending = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let mut tokens = vec![border];
        tokens.extend(tokenizer.encode(&text.text)?);
        tokens.push(border);
        for window in windows(&tokens, engine.context()) {
            owners.push(i);
            pending.push(window);
        }
    }
    let mut bits = vec![0.0_f64; texts.len()];
    let mut done = 0;
    for batch in pending.chunks(BATCH) {
        progress.check()?;
        for (scores, owner) in engine.score(batch)?.iter().zip(&owners[done..]) {
            bits[*owner] -=
                scores.iter().map(|&log_p| f64::from(log_p)).sum::<f64>() / std::f64::consts::LN_2;
        }
        done += batch.len();
        progress.tick(done as u64, Some(pending.len() as u64), "windows");
    }
    let items: BTreeMap<_, _> = texts
        .iter()
        .zip(bits)
        .map(|(text, bits)| (text.id.clone(), (bits, text.text.len() as f64)))
        .collect();
    Ok(Series(items))
}

/// Cuts a document into `(history, continuation)` windows that share their border token, so that every token but the
/// first is predicted once; a continuation has at most `context` tokens.
fn windows(tokens: &[u32], context: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let borders = (0..tokens.len().saturating_sub(1)).step_by(context.max(1));
    borders
        .map(|start| {
            let end = tokens.len().min(start + context + 1);
            (vec![tokens[start]], tokens[start + 1..end].to_vec())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_document_is_one_window() {
        assert_eq!(windows(&[0, 5, 6, 0], 8), vec![(vec![0], vec![5, 6, 0])]);
    }

    #[test]
    fn an_empty_document_still_has_its_end() {
        assert_eq!(windows(&[0, 0], 8), vec![(vec![0], vec![0])]);
        assert!(windows(&[], 8).is_empty());
    }

    #[test]
    fn windows_share_their_border_token() {
        assert_eq!(
            windows(&[0, 1, 2, 3, 4, 5], 2),
            vec![
                (vec![0], vec![1, 2]),
                (vec![2], vec![3, 4]),
                (vec![4], vec![5])
            ]
        );
    }

    proptest! {
        #[test]
        fn every_token_is_predicted_once(length in 1_u32..200, context in 1_usize..40) {
            let tokens: Vec<u32> = (0..length).collect();
            let windows = windows(&tokens, context);
            let scored: Vec<u32> = windows.iter().flat_map(|(_, continuation)| continuation.clone()).collect();
            prop_assert_eq!(&scored, &tokens[1..]);
            for (history, continuation) in windows {
                prop_assert!(history.len() == 1 && (1..=context).contains(&continuation.len()));
            }
        }
    }
}
