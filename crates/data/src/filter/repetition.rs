//! Texts that say the same thing over and over: the repetition rules of Gopher (Rae et al. 2021, arXiv 2112.11446,
//! table A1).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::words::{HashedMap, hash, run};
use super::{Filter, Outcome};
use crate::document::Document;

/// The bounds. Gopher's are stricter; these spare short texts of few words, lists and tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// Texts of fewer words are not judged by their n-grams.
    pub min_words: usize,
    /// Largest share of characters in lines that occurred before in the text.
    pub max_duplicate_lines: f64,
    /// Largest share of characters in the most frequent run of 2, 3 and 4 words.
    pub max_top_ngram: [f64; 3],
    /// Largest share of characters in runs of 5 and of 10 words that occur more than once.
    pub max_duplicate_ngrams: [f64; 2],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            min_words: 50,
            max_duplicate_lines: 0.5,
            max_top_ngram: [0.4, 0.38, 0.36],
            max_duplicate_ngrams: [0.9, 0.8],
        }
    }
}

/// Texts with a larger share of different words do not come near any sensible bound on runs of words.
const VARIED: f64 = 0.75;

/// The filter.
pub struct Repetition {
    config: Config,
}

impl Repetition {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
        }
    }

    fn judge(&self, text: &str) -> Option<String> {
        let share = duplicate_lines(text);
        if share > self.config.max_duplicate_lines {
            return Some(format!("{:.0}% in repeated lines", 100.0 * share));
        }
        let words = Words::of(text);
        if words.hashes.len() < self.config.min_words || words.distinct() > VARIED {
            return None;
        }
        for (length, limit) in (2..).zip(self.config.max_top_ngram) {
            let share = words.top(length);
            if share > limit {
                return Some(format!(
                    "{:.0}% in one run of {length} words",
                    100.0 * share
                ));
            }
        }
        for (length, limit) in [5, 10].into_iter().zip(self.config.max_duplicate_ngrams) {
            let share = words.duplicate(length);
            if share > limit {
                return Some(format!(
                    "{:.0}% in repeated runs of {length} words",
                    100.0 * share
                ));
            }
        }
        None
    }
}

/// The share of characters (as bytes) in lines that stand earlier in the text.
fn duplicate_lines(text: &str) -> f64 {
    let mut seen = HashSet::new();
    let (mut all, mut repeated) = (0, 0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        all += line.len();
        if !seen.insert(line) {
            repeated += line.len();
        }
    }
    f64::from(u32::try_from(repeated).unwrap_or(u32::MAX)) / all.max(1) as f64
}

/// The words of a text as hashes and lengths; they stand between white space.
struct Words {
    hashes: Vec<u64>,
    lengths: Vec<usize>,
    total: usize,
}

impl Words {
    fn of(text: &str) -> Self {
        let (hashes, lengths): (Vec<_>, Vec<_>) = text
            .split_whitespace()
            .map(|word| (hash(word.as_bytes()), word.len()))
            .unzip();
        let total = lengths.iter().sum();
        Self {
            hashes,
            lengths,
            total,
        }
    }

    /// The number of different words over the number of words.
    fn distinct(&self) -> f64 {
        let mut sorted = self.hashes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() as f64 / self.hashes.len().max(1) as f64
    }

    /// The share of the most frequent run of `length` words; of runs that overlap, as in `la la la`, each word
    /// counts once.
    fn top(&self, length: usize) -> f64 {
        let mut counts: HashedMap<(usize, usize, usize)> = HashedMap::default();
        counts.reserve(self.hashes.len());
        for (at, window) in self.hashes.windows(length).enumerate() {
            let bytes: usize = self.lengths[at..at + length].iter().sum();
            let (count, covered, free) = counts.entry(run(window)).or_default();
            if at >= *free {
                *count += 1;
                *covered += bytes;
                *free = at + length;
            }
        }
        let most = counts
            .values()
            .filter(|(count, ..)| *count > 1)
            .map(|(_, covered, _)| *covered)
            .max();
        most.unwrap_or(0) as f64 / self.total.max(1) as f64
    }

    /// The share of words in runs of `length` words that occur more than once.
    fn duplicate(&self, length: usize) -> f64 {
        let mut counts: HashedMap<u32> = HashedMap::default();
        counts.reserve(self.hashes.len());
        let runs: Vec<_> = self.hashes.windows(length).map(run).collect();
        for run in &runs {
            *counts.entry(*run).or_default() += 1;
        }
        let (mut covered, mut free) = (0, 0);
        for (at, _) in runs.iter().enumerate().filter(|(_, run)| counts[run] > 1) {
            covered += self.lengths[at.max(free)..at + length]
                .iter()
                .sum::<usize>();
            free = at + length;
        }
        covered as f64 / self.total.max(1) as f64
    }
}

impl Filter for Repetition {
    fn step(&self) -> &'static str {
        "repetition"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        Outcome::drop_if(self.judge(&document.text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::drops;
    use super::*;

    fn prose(words: usize) -> String {
        (0..words).map(|n| format!("w{} ", n * n % 997)).collect()
    }

    #[test]
    fn what_is_dropped() {
        let filter = Repetition::new(&Config::default());
        assert!(drops(&filter, &"Buy now!\n".repeat(10)));
        assert!(drops(&filter, &"la ".repeat(100)));
        assert!(drops(
            &filter,
            &"one two three four five six seven ".repeat(12)
        ));
        assert!(drops(&filter, &format!("{}{}", prose(60), prose(60))));
    }

    #[test]
    fn what_is_kept() {
        let filter = Repetition::new(&Config::default());
        assert!(!drops(&filter, &prose(300)));
        assert!(!drops(&filter, "la la la, sang the crew"));
        assert!(!drops(
            &filter,
            "- fins: 20 euros\n- mask: 30 euros\n- hood: 30 euros\n\nTotal: 80 euros\n"
        ));
        assert!(!drops(&filter, ""));
    }

    #[test]
    fn shares_are_shares() {
        let words = Words::of("a b a b a b a b");
        assert!((words.top(2) - 1.0).abs() < 1e-9);
        assert!((words.duplicate(5) - 1.0).abs() < 1e-9);
        assert!((duplicate_lines("x\ny\nx\ny") - 0.5).abs() < 1e-9);
    }
}
