//! Documents that hardly differ from one seen before: MinHash over runs of words (Broder 1997) with one permutation
//! and empty bins filled from their neighbours (Li, Owen and Zhang 2012; Shrivastava 2017, arXiv 1703.04664), looked
//! up by bands (Leskovec, Rajaraman and Ullman 2014, chapter 3).

use serde::{Deserialize, Serialize};

use super::words::{HashedMap, mix, run, words};
use super::{History, Outcome};
use crate::document::Document;

/// When two documents count as the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// How many words a run has.
    pub shingle_words: usize,
    /// Smallest share of runs that both documents have, of those that either has (Jaccard similarity), estimated.
    pub min_similarity: f64,
    /// Texts of fewer words are not compared.
    pub min_words: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            shingle_words: 3,
            min_similarity: 0.75,
            min_words: 12,
        }
    }
}

/// Bins of the signature.
const BINS: usize = 128;
/// Bands that a signature is looked up by, each of [`ROWS`] bins: pairs with a similarity of 0.75 meet in one of them
/// with probability 1 − (1 − 0.75⁶)²¹ = 0.98, pairs of 0.4 with 0.08, and those the whole signature tells apart.
const BANDS: usize = 21;
const ROWS: usize = 6;

/// The filter. Memory: 128 bytes of signature, its bands and its id for every document kept.
pub struct NearDuplicates {
    config: Config,
    bands: HashedMap<u32>,
    signatures: Vec<[u8; BINS]>,
    ids: Vec<Box<str>>,
}

impl NearDuplicates {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            bands: HashedMap::default(),
            signatures: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// The smallest hash in each bin; bins without one borrow from bins that have one.
    fn minima(&self, hashes: &[u64]) -> [u64; BINS] {
        let mut bins = [u64::MAX; BINS];
        for window in hashes.windows(self.config.shingle_words.clamp(1, hashes.len())) {
            let value = run(window);
            let bin = &mut bins[(value >> 57) as usize];
            *bin = (*bin).min(value << 7);
        }
        let filled = bins;
        for (index, bin) in bins
            .iter_mut()
            .enumerate()
            .filter(|(_, bin)| **bin == u64::MAX)
        {
            let mut probe = index as u64;
            while *bin == u64::MAX {
                probe = mix(probe.wrapping_add(0x9E37_79B9_7F4A_7C15));
                *bin = filled[(probe >> 57) as usize];
            }
        }
        bins
    }

    /// The most similar among the documents that share a band, if it is similar enough.
    fn like(&self, bands: &[u64], signature: &[u8; BINS]) -> Option<(u32, f64)> {
        let mut candidates: Vec<_> = bands
            .iter()
            .filter_map(|band| self.bands.get(band).copied())
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let similarity = |&other: &u32| {
            let other = &self.signatures[other as usize];
            let equal = signature.iter().zip(other).filter(|(a, b)| a == b).count();
            equal as f64 / BINS as f64
        };
        let found = candidates.iter().map(|other| (*other, similarity(other)));
        let best = found.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        best.filter(|(_, similarity)| *similarity >= self.config.min_similarity)
    }
}

impl History for NearDuplicates {
    fn step(&self) -> &'static str {
        "near_duplicates"
    }

    /// The band keys and then the signature, eight bins a number; empty for a text too short to compare.
    fn fingerprint(&self, document: &Document) -> Vec<u64> {
        let words = words(&document.text);
        if words.len() < self.config.min_words.max(1) {
            return Vec::new();
        }
        let minima = self.minima(&words);
        let band = |(index, rows): (usize, &[u64])| mix(run(rows) ^ index as u64);
        let mut fingerprint: Vec<_> = minima
            .chunks(ROWS)
            .take(BANDS)
            .enumerate()
            .map(band)
            .collect();
        let packed = minima.chunks(8).map(|eight| {
            eight
                .iter()
                .fold(0, |state, value| state << 8 | (mix(*value) & 0xFF))
        });
        fingerprint.extend(packed);
        fingerprint
    }

    fn apply(&mut self, document: &mut Document, fingerprint: &[u64]) -> Outcome {
        if fingerprint.is_empty() {
            return Outcome::Keep;
        }
        let (bands, packed) = fingerprint.split_at(BANDS);
        let mut signature = [0; BINS];
        for (eight, value) in signature.chunks_mut(8).zip(packed) {
            eight.copy_from_slice(&value.to_be_bytes());
        }
        if let Some((other, similarity)) = self.like(bands, &signature) {
            let id = &self.ids[other as usize];
            return Outcome::Drop(format!("{:.0}% like {id}", 100.0 * similarity));
        }
        // Past four thousand million documents nothing new is remembered.
        if let Ok(index) = u32::try_from(self.ids.len()) {
            self.ids.push(document.id.as_str().into());
            self.signatures.push(signature);
            for band in bands {
                self.bands.entry(*band).or_insert(index);
            }
        }
        Outcome::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{document, remember};
    use super::*;

    fn text(seed: u64, words: u64) -> Vec<String> {
        (0..words)
            .map(|n| format!("w{}", mix(seed * 1000 + n) % 5000))
            .collect()
    }

    #[test]
    fn a_copy_with_a_few_changes_is_found() {
        let mut filter = NearDuplicates::new(&Config::default());
        for seed in 0..50 {
            let mut words = text(seed, 120);
            assert_eq!(remember(&mut filter, &words.join(" ")), Outcome::Keep);
            words[40] = "changed".to_owned();
            words.push("Updated.".to_owned());
            assert!(
                matches!(remember(&mut filter, &words.join(" ")), Outcome::Drop(_)),
                "{seed}"
            );
        }
    }

    #[test]
    fn different_texts_with_common_parts_stay() {
        let mut filter = NearDuplicates::new(&Config::default());
        let common = text(1, 60).join(" ");
        for seed in 2..100 {
            assert_eq!(
                remember(
                    &mut filter,
                    &format!("{common} {}", text(seed, 60).join(" "))
                ),
                Outcome::Keep
            );
        }
    }

    #[test]
    fn the_estimate_is_near_the_truth() {
        let filter = NearDuplicates::new(&Config {
            shingle_words: 1,
            ..Config::default()
        });
        let bytes = |words: &[String]| {
            let packed = filter
                .fingerprint(&document(&words.join(" ")))
                .split_off(BANDS);
            packed
                .iter()
                .flat_map(|value| value.to_be_bytes())
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..1500).map(|n| format!("w{n}")).collect();
        // 500 words in common of 1500: a similarity of one third.
        let (one, two) = (bytes(&all[..1000]), bytes(&all[500..]));
        let equal = one.iter().zip(&two).filter(|(a, b)| a == b).count() as f64 / BINS as f64;
        assert!((equal - 1.0 / 3.0).abs() < 0.12, "{equal}");
    }

    #[test]
    fn short_texts_are_not_compared() {
        let mut filter = NearDuplicates::new(&Config::default());
        assert_eq!(remember(&mut filter, "yes"), Outcome::Keep);
        assert_eq!(remember(&mut filter, "yes"), Outcome::Keep);
    }
}
