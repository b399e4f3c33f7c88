//! Preference pairs from ratings, as alignment (DPO) reads them.
//!
//! Each answer rated down is a pair's *rejected* side. Its *chosen* side is, in this order: its own correction; the
//! newest correction of another answer to the same prompt; the newest answer to the same prompt that was rated up.
//! Where nothing better is known there is no pair. Where people contradict each other (A over B, and B over A) the
//! newer judgement stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::record::{Answer, Prompt, Rating, Verdict};
use super::store::Store;

/// A prompt with a better and a worse answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The first 32 hexadecimal digits of the BLAKE3 hash of the other three fields.
    pub id: String,
    /// What was asked.
    pub prompt: Prompt,
    /// The better answer.
    pub chosen: String,
    /// The worse one.
    pub rejected: String,
}

/// The pairs that the store's ratings make, without duplicates, in the order of their ids: the same ratings make the
/// same list, whatever their order in time.
///
/// # Errors
/// When the store cannot be read.
pub fn pairs(store: &Store) -> Result<Vec<Pair>> {
    Ok(pairs_of(&store.rated()?))
}

/// Writes the pairs as JSON lines to `path`, whole or not at all. Returns how many.
///
/// # Errors
/// When the store cannot be read or the file not written.
pub fn export(store: &Store, path: &Path) -> Result<usize> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::File {
        operation: "write",
        path: path.to_owned(),
        source,
    };
    let pairs = pairs(store)?;
    let mut lines = String::new();
    for pair in &pairs {
        lines.push_str(&serde_json::to_string(pair).map_err(|error| failed(error.into()))?);
        lines.push('\n');
    }
    artifact::write_atomic(path, lines.as_bytes()).map_err(|error| match error {
        // It names the file too.
        artifact::Error::Io { source, .. } => failed(source.into()),
        other => failed(other.into()),
    })?;
    Ok(pairs.len())
}

/// What is known to be good for one prompt; the newest of each kind.
#[derive(Default)]
struct Better<'rated> {
    corrections: Vec<&'rated str>,
    up: Vec<&'rated str>,
}

fn pairs_of(rated: &[(Answer, Rating)]) -> Vec<Pair> {
    // Prompts are compared as they are written.
    let with_text: Vec<(String, &Prompt, &str, &Rating)> = rated
        .iter()
        .filter_map(|(answer, rating)| {
            let prompt = answer.prompt.as_ref()?;
            Some((
                serde_json::to_string(prompt).ok()?,
                prompt,
                answer.text.as_deref()?,
                rating,
            ))
        })
        .collect();
    let mut better: BTreeMap<&str, Better<'_>> = BTreeMap::new();
    for (key, _, text, rating) in with_text.iter().rev() {
        let better = better.entry(key).or_default();
        match rating.rating {
            Verdict::Up => better.up.push(text),
            Verdict::Down => better.corrections.extend(correction(rating)),
        }
    }
    let mut pairs = BTreeMap::new();
    let mut settled = BTreeSet::new();
    for (key, prompt, rejected, rating) in with_text
        .iter()
        .rev()
        .filter(|(.., rating)| rating.rating == Verdict::Down)
    {
        let better = &better[key.as_str()];
        let candidates = correction(rating)
            .into_iter()
            .chain(better.corrections.iter().chain(&better.up).copied());
        let Some(chosen) = candidates.into_iter().find(|chosen| chosen != rejected) else {
            continue;
        };
        // Newest first: an older pair the other way round has been overruled.
        if settled.contains(&(key.as_str(), *rejected, chosen)) {
            continue;
        }
        settled.insert((key.as_str(), chosen, *rejected));
        let mut hasher = blake3::Hasher::new();
        for part in [key.as_str(), chosen, rejected] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let id = hasher.finalize().to_hex().as_str()[..32].to_owned();
        let pair = Pair {
            id: id.clone(),
            prompt: (*prompt).clone(),
            chosen: chosen.to_owned(),
            rejected: (*rejected).to_owned(),
        };
        pairs.insert(id, pair);
    }
    pairs.into_values().collect()
}

fn correction(rating: &Rating) -> Option<&str> {
    rating
        .correction
        .as_deref()
        .filter(|correction| !correction.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizer::Message;

    fn rated(
        question: &str,
        text: &str,
        verdict: Verdict,
        correction: Option<&str>,
    ) -> (Answer, Rating) {
        let prompt = Prompt::Messages(vec![Message {
            role: "user".to_owned(),
            content: question.to_owned(),
        }]);
        let id = format!("{question}/{text}");
        let answer = Answer {
            id: id.clone(),
            choice: 0,
            model: "m".to_owned(),
            created_unix: 0,
            prompt: Some(prompt),
            text: Some(text.to_owned()),
            sampling: serde_json::Value::Null,
            finish_reason: "stop".to_owned(),
            prompt_tokens: 1,
            completion_tokens: 1,
        };
        let correction = correction.map(str::to_owned);
        (
            answer,
            Rating {
                answer_id: id,
                choice: 0,
                rating: verdict,
                correction,
                comment: None,
                created_unix: 0,
            },
        )
    }

    fn sides(rated: &[(Answer, Rating)]) -> Vec<(String, String)> {
        let mut sides: Vec<_> = pairs_of(rated)
            .into_iter()
            .map(|pair| (pair.chosen, pair.rejected))
            .collect();
        sides.sort();
        sides
    }

    fn pair(chosen: &str, rejected: &str) -> (String, String) {
        (chosen.to_owned(), rejected.to_owned())
    }

    #[test]
    fn a_correction_is_preferred_to_an_answer_rated_up() {
        let rows = [
            rated("q", "good", Verdict::Up, None),
            rated("q", "bad", Verdict::Down, Some("corrected")),
            rated("q", "worse", Verdict::Down, None),
        ];
        assert_eq!(
            sides(&rows),
            [pair("corrected", "bad"), pair("corrected", "worse")]
        );
    }

    #[test]
    fn without_anything_better_there_is_no_pair() {
        let rows = [
            rated("q", "bad", Verdict::Down, None),
            rated("q", "blank", Verdict::Down, Some("  ")),
            rated("other", "good", Verdict::Up, None),
            rated("same", "same", Verdict::Down, Some("same")),
        ];
        assert_eq!(sides(&rows), []);
    }

    #[test]
    fn the_newer_of_two_contradicting_judgements_stands() {
        let rows = [
            rated("q", "a", Verdict::Down, Some("b")),
            rated("q", "b", Verdict::Down, Some("a")),
        ];
        assert_eq!(sides(&rows), [pair("a", "b")]);
    }

    #[test]
    fn order_in_time_and_repetition_do_not_matter() {
        let mut rows = vec![
            rated("q1", "bad", Verdict::Down, Some("good")),
            rated("q2", "bad", Verdict::Down, Some("fine")),
            rated("q1", "bad", Verdict::Down, Some("good")),
        ];
        let forward = pairs_of(&rows);
        rows.reverse();
        assert_eq!(forward, pairs_of(&rows));
        assert_eq!(forward.len(), 2);
    }

    #[test]
    fn answers_without_text_make_no_pair() {
        let mut row = rated("q", "bad", Verdict::Down, Some("good"));
        row.0.text = None;
        assert_eq!(sides(&[row]), []);
    }
}
