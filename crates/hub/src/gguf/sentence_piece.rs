//! SentencePiece's BPE (Kudo and Richardson 2018): pieces with scores, of which the best that two neighbours make is
//! joined first; what no piece covers is spelled in bytes.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::file::{Entry, File};
use super::tokenizer::Described;
use crate::Result;

/// What stands for a space.
const SPACE: &str = "\u{2581}";

/// The parts of a `tokenizer.json`.
pub(super) fn described(
    file: &File,
    tokens: &[&str],
    vocab: Map<String, Value>,
) -> Result<Described> {
    let scores: Vec<f64> = file
        .list("tokenizer.ggml.scores")?
        .iter()
        .map(|score| match score {
            Entry::Float(score) => *score,
            _ => 0.0,
        })
        .collect();
    if scores.len() != tokens.len() {
        return Err(file.wrong(format!(
            "`tokenizer.ggml.scores` has {} scores, there are {} tokens",
            scores.len(),
            tokens.len()
        )));
    }
    let prefix = file.entries.get("tokenizer.ggml.add_space_prefix") != Some(&Entry::Bool(false));
    let unknown = file.count("tokenizer.ggml.unknown_token_id").ok();
    let unknown = unknown.and_then(|id| tokens.get(id)).copied();
    let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
    let mut normalizers = vec![spaces];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "merges": merges(tokens, &scores), "vocab": vocab,
    });
    Ok([
        (
            "normalizer",
            json!({ "type": "Sequence", "normalizers": normalizers }),
        ),
        ("pre_tokenizer", Value::Null),
        (
            "decoder",
            json!({ "type": "Sequence", "decoders": decoders }),
        ),
        ("model", model),
    ])
}

/// Every way in which two pieces make a third, the best third first.
fn merges<'a>(tokens: &[&'a str], scores: &[f64]) -> Vec<[&'a str; 2]> {
    let ids: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, &piece)| (piece, id))
        .collect();
    let mut found = Vec::new();
    for (id, &piece) in tokens.iter().enumerate() {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                found.push((scores[id], id, l, r));
            }
        }
    }
    found.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| (a.1, a.2, a.3).cmp(&(b.1, b.2, b.3)))
    });
    found
        .into_iter()
        .map(|(_, _, l, r)| [tokens[l], tokens[r]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SentencePiece's own way: of all neighbours the pair with the best score is joined, the leftmost of equals.
    fn joined<'a>(text: &'a str, scores: &HashMap<&str, f64>) -> Vec<&'a str> {
        let mut ends: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).collect();
        ends.push(text.len());
        loop {
            let starts = || std::iter::once(0).chain(ends.iter().copied());
            let best = starts()
                .zip(ends.iter().skip(1).enumerate())
                .filter_map(|(start, (index, &end))| Some((*scores.get(&text[start..end])?, index)))
                .reduce(|best, next| if next.0 > best.0 { next } else { best });
            match best {
                Some((_, index)) => ends.remove(index),
                None => {
                    let starts: Vec<usize> = starts().take(ends.len()).collect();
                    return starts
                        .iter()
                        .zip(&ends)
                        .map(|(&start, &end)| &text[start..end])
                        .collect();
                }
            };
        }
    }

    #[test]
    fn ranks_join_as_scores_do() {
        let pieces = [
            "a",
            "b",
            "c",
            "\u{2581}",
            "ab",
            "bc",
            "abc",
            "\u{2581}a",
            "\u{2581}ab",
            "cc",
            "ca",
            "aa",
            "bcab",
        ];
        let scores: Vec<f64> = (0..pieces.len())
            .map(|id| -(((id * 7) % 13) as f64))
            .collect();
        let by_piece: HashMap<&str, f64> = pieces
            .iter()
            .copied()
            .zip(scores.iter().copied())
            .skip(4)
            .collect();
        let vocab: Map<String, Value> = pieces
            .iter()
            .enumerate()
            .map(|(id, piece)| ((*piece).to_owned(), id.into()))
            .collect();
        let description = json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
            "decoder": null,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "merges": merges(&pieces, &scores), "vocab": vocab,
            },
        });
        let config = json!({ "eos_token": "c" });
        let tokenizer = tokenizer::Tokenizer::from_json(description.to_string().as_bytes(), config)
            .expect("whole");
        let letters = ["a", "b", "c", "\u{2581}"];
        for seed in 0..500_usize {
            let mut state = seed * 2_654_435_761 + 12_345;
            let text: String = (0..1 + seed % 12)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    letters[(state >> 33) % 4]
                })
                .collect();
            let ids = tokenizer.encode(&text).expect("letters of the vocabulary");
            let got: Vec<&str> = ids.iter().map(|&id| pieces[id as usize]).collect();
            assert_eq!(got, joined(&text, &by_piece), "{text}");
        }
    }
}
