//! Held-out preference pairs: does the model prefer what people preferred?
//!
//! The implicit reward of Rafailov et al., "Direct preference optimization" (2023), eq. 5, up to its scale β:
//! log π(answer) − log π_ref(answer). A pair is won when the chosen answer's reward is above the rejected one's.

use std::collections::BTreeMap;

use artifact::Progress;
use infer::Engine;
use tokenizer::{Message, Tokenizer};

use crate::error::Result;
use crate::question::Pair;
use crate::scores::Series;

/// Pairs scored before progress is told and an interruption is seen.
const BATCH: usize = 16;

/// Log-probabilities, in nats, of the two answers of every pair that fits the context, by the pair's name.
pub type PairScores = BTreeMap<String, (f64, f64)>;

/// Scores both answers of every pair; pairs longer than the context are left out and said to be.
///
/// # Errors
/// A pair cannot be encoded, the model fails, or the user interrupts.
pub fn score(engine: &Engine, pairs: &[Pair], progress: &Progress) -> Result<PairScores> {
    let mut names = Vec::new();
    let mut sequences = Vec::new();
    for pair in pairs {
        let chosen = sequence(engine.tokenizer(), &pair.prompt, &pair.chosen)?;
        let rejected = sequence(engine.tokenizer(), &pair.prompt, &pair.rejected)?;
        if [&chosen, &rejected]
            .iter()
            .all(|(prompt, answer)| prompt.len() + answer.len() <= engine.context())
        {
            names.push(pair.id.clone());
            sequences.extend([chosen, rejected]);
        }
    }
    if names.len() < pairs.len() {
        progress.note(format!(
            "{} pairs do not fit the context and are left out",
            pairs.len() - names.len()
        ));
    }
    let mut sums = Vec::with_capacity(sequences.len());
    for batch in sequences.chunks(2 * BATCH) {
        progress.check()?;
        sums.extend(
            engine
                .score(batch)?
                .iter()
                .map(|scores| scores.iter().map(|&s| f64::from(s)).sum::<f64>()),
        );
        progress.tick((sums.len() / 2) as u64, Some(names.len() as u64), "pairs");
    }
    Ok(names
        .into_iter()
        .zip(sums.chunks_exact(2))
        .map(|(name, sums)| (name, (sums[0], sums[1])))
        .collect())
}

/// The prompt's tokens and those of the answer with the token that ends it, exactly as in training.
fn sequence(
    tokenizer: &Tokenizer,
    prompt: &[Message],
    answer: &str,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let mut messages = prompt.to_vec();
    messages.push(Message {
        role: "assistant".to_owned(),
        content: answer.to_owned(),
    });
    let (tokens, mask) = tokenizer.encode_chat_with_mask(&messages)?;
    let (start, end) = last_run(&mask);
    Ok((tokens[..start].to_vec(), tokens[start..end].to_vec()))
}

/// Start and end of the last run of true: the last assistant turn.
fn last_run(mask: &[bool]) -> (usize, usize) {
    let end = mask.iter().rposition(|&on| on).map_or(0, |last| last + 1);
    let start = mask[..end]
        .iter()
        .rposition(|&on| !on)
        .map_or(0, |before| before + 1);
    (start, end)
}

/// Pairs won by the implicit reward margin against the reference; a tie is lost.
#[must_use]
pub fn wins(policy: &PairScores, reference: &PairScores) -> Series {
    let mut series = Series::default();
    for (id, (chosen, rejected)) in policy {
        if let Some((reference_chosen, reference_rejected)) = reference.get(id) {
            series.push(
                id,
                (chosen - reference_chosen) - (rejected - reference_rejected) > 0.0,
            );
        }
    }
    series
}

/// Pairs whose chosen answer is the likelier one.
#[must_use]
pub fn likelier(policy: &PairScores) -> Series {
    let mut series = Series::default();
    for (id, (chosen, rejected)) in policy {
        series.push(id, chosen > rejected);
    }
    series
}

/// Mean implicit reward margin in nats, without β; 0 where no pair is shared.
#[must_use]
pub fn mean_margin(policy: &PairScores, reference: &PairScores) -> f64 {
    let margins: Vec<f64> = policy
        .iter()
        .filter_map(|(id, (chosen, rejected))| {
            let (reference_chosen, reference_rejected) = reference.get(id)?;
            Some((chosen - reference_chosen) - (rejected - reference_rejected))
        })
        .collect();
    if margins.is_empty() {
        0.0
    } else {
        margins.iter().sum::<f64>() / margins.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[(&str, f64, f64)]) -> PairScores {
        values
            .iter()
            .map(|&(id, chosen, rejected)| (id.to_owned(), (chosen, rejected)))
            .collect()
    }

    #[test]
    fn a_rise_against_the_reference_wins() {
        // The rejected answer stays likelier, but less so than under the reference.
        let series = wins(
            &scores(&[("p", -9.0, -5.0)]),
            &scores(&[("p", -10.0, -4.0)]),
        );
        assert_eq!(series.0["p"].0, 1.0);
    }

    #[test]
    fn the_reference_does_not_win_against_itself() {
        let reference = scores(&[("p", -3.0, -4.0), ("q", -4.0, -3.0)]);
        assert!(
            wins(&reference, &reference)
                .0
                .values()
                .all(|(value, _)| *value == 0.0)
        );
        assert_eq!(mean_margin(&reference, &reference), 0.0);
    }

    #[test]
    fn pairs_without_a_reference_are_left_out() {
        assert!(
            wins(&scores(&[("p", 0.0, -1.0)]), &scores(&[("q", 0.0, 0.0)]))
                .0
                .is_empty()
        );
    }

    #[test]
    fn plain_likelihood() {
        let series = likelier(&scores(&[
            ("p", -1.0, -2.0),
            ("q", -2.0, -1.0),
            ("tie", -1.0, -1.0),
        ]));
        assert_eq!(
            (series.0["p"].0, series.0["q"].0, series.0["tie"].0),
            (1.0, 0.0, 0.0)
        );
    }

    #[test]
    fn margins_are_averaged() {
        let policy = scores(&[("p", -1.0, -5.0), ("q", -2.0, -2.0)]);
        let reference = scores(&[("p", -2.0, -2.0), ("q", -2.0, -2.0)]);
        assert_eq!(mean_margin(&policy, &reference), 2.0);
    }

    #[test]
    fn the_last_turn_is_the_answer() {
        let mask = [false, true, true, false, false, true, true, false];
        assert_eq!(last_run(&mask), (5, 7));
        assert_eq!(last_run(&[true, true]), (0, 2));
        assert_eq!(last_run(&[false]), (0, 0));
    }
}
