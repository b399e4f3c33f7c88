//! What was measured, item by item: a metric is a ratio of sums over questions, pairs or documents, kept with the
//! name of each item so that two candidates can be compared on the same ones.

use std::collections::BTreeMap;
use std::fmt;

use artifact::Seed;
use serde::{Deserialize, Serialize};

use crate::interval::{Interval, bootstrap_ratio, paired_bootstrap, paired_proportions, wilson};

/// What is measured. The names are the ones recipes and `--json` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Bits the model needs for a byte of the validation text; lower is better.
    BitsPerByte,
    /// Share of the answerable held-out questions answered right.
    HeldOutAccuracy,
    /// Share of the unanswerable held-out questions that are refused.
    UnanswerableRefused,
    /// Share of the answerable held-out questions that are refused; lower is better.
    NeedlessRefusals,
    /// Mean token F1 against the reference answers of the answerable questions.
    TokenF1,
    /// Share of held-out pairs whose implicit reward margin against the reference model is positive.
    PreferenceWinRate,
    /// Share of held-out pairs whose chosen answer is the likelier one, without a reference.
    PreferenceLikelihood,
    /// Share of users' corrections that the model now gives as its own answer.
    CorrectionsLearned,
}

impl Metric {
    /// The name in recipes and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BitsPerByte => "bits_per_byte",
            Self::HeldOutAccuracy => "held_out_accuracy",
            Self::UnanswerableRefused => "unanswerable_refused",
            Self::NeedlessRefusals => "needless_refusals",
            Self::TokenF1 => "token_f1",
            Self::PreferenceWinRate => "preference_win_rate",
            Self::PreferenceLikelihood => "preference_likelihood",
            Self::CorrectionsLearned => "corrections_learned",
        }
    }

    /// True when a larger value is a better one.
    #[must_use]
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::BitsPerByte | Self::NeedlessRefusals)
    }

    /// True when every item counts 0 or 1.
    #[must_use]
    pub fn is_proportion(self) -> bool {
        !matches!(self, Self::BitsPerByte | Self::TokenF1)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Seed and number of draws of every bootstrap of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// Seed of the draws.
    pub seed: Seed,
    /// Number of draws.
    pub resamples: usize,
}

/// One metric of one candidate: `(numerator, denominator)` by item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(pub BTreeMap<String, (f64, f64)>);

impl Series {
    /// Adds an item that counts as 1 or 0.
    pub fn push(&mut self, id: impl Into<String>, success: bool) {
        self.0
            .insert(id.into(), (f64::from(u8::from(success)), 1.0));
    }

    /// The value over all items with its 95 % interval: Wilson for proportions, bootstrap otherwise.
    #[must_use]
    pub fn interval(&self, metric: Metric, resampling: Resampling) -> Interval {
        if metric.is_proportion() {
            return wilson(
                self.0.values().filter(|(value, _)| *value > 0.5).count() as u64,
                self.0.len() as u64,
            );
        }
        let pairs: Vec<(f64, f64)> = self.0.values().copied().collect();
        bootstrap_ratio(&pairs, resampling.seed, resampling.resamples)
    }

    /// The sum of the items' values over that of their weights; no number without items.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let sums = self
            .0
            .values()
            .fold((0.0, 0.0), |sums, item| (sums.0 + item.0, sums.1 + item.1));
        sums.0 / sums.1
    }

    /// `self − other` over the items both have, with its paired 95 % interval; nothing when they share no item.
    #[must_use]
    pub fn difference(
        &self,
        other: &Self,
        metric: Metric,
        resampling: Resampling,
    ) -> Option<Interval> {
        let (mine, theirs): (Vec<_>, Vec<_>) = self
            .0
            .iter()
            .filter_map(|(id, mine)| Some((*mine, *other.0.get(id)?)))
            .unzip();
        if mine.is_empty() {
            return None;
        }
        if metric.is_proportion() {
            let count = |test: fn(f64, f64) -> bool| {
                mine.iter()
                    .zip(&theirs)
                    .filter(|((a, _), (b, _))| test(*a, *b))
                    .count() as u64
            };
            return Some(paired_proportions(
                count(|a, b| a > b),
                count(|a, b| a < b),
                mine.len() as u64,
            ));
        }
        Some(paired_bootstrap(
            &mine,
            &theirs,
            resampling.seed,
            resampling.resamples,
        ))
    }
}

/// Everything measured of one candidate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Label in tables: `base`, `fine-tuned`, `aligned`, `incumbent`, …
    pub label: String,
    /// Artifact id of the model.
    pub model: String,
    /// Every metric measured.
    pub metrics: BTreeMap<Metric, Series>,
}

impl Scores {
    /// The table row: value and interval of every metric.
    #[must_use]
    pub fn summary(&self, resampling: Resampling) -> BTreeMap<Metric, Interval> {
        self.metrics
            .iter()
            .map(|(&metric, series)| (metric, series.interval(metric, resampling)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling = Resampling {
        seed: Seed(1),
        resamples: 200,
    };

    fn series(values: &[(&str, bool)]) -> Series {
        let mut series = Series::default();
        for (id, success) in values {
            series.push(*id, *success);
        }
        series
    }

    #[test]
    fn names_are_those_of_serde() {
        for metric in [
            Metric::BitsPerByte,
            Metric::HeldOutAccuracy,
            Metric::UnanswerableRefused,
            Metric::NeedlessRefusals,
            Metric::TokenF1,
            Metric::PreferenceWinRate,
            Metric::PreferenceLikelihood,
            Metric::CorrectionsLearned,
        ] {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }

    #[test]
    fn a_proportion_gets_wilson() {
        let interval = series(&[("a", true), ("b", true), ("c", false)])
            .interval(Metric::HeldOutAccuracy, RESAMPLING);
        assert_eq!(interval, wilson(2, 3));
    }

    #[test]
    fn only_shared_items_are_compared() {
        let candidate = series(&[("a", true), ("b", true), ("only here", true)]);
        let incumbent = series(&[("a", false), ("b", true), ("only there", false)]);
        let difference = candidate
            .difference(&incumbent, Metric::HeldOutAccuracy, RESAMPLING)
            .unwrap();
        assert_eq!((difference.value, difference.n), (0.5, 2));
    }

    #[test]
    fn nothing_shared_is_no_difference() {
        let difference =
            series(&[("a", true)]).difference(&series(&[("b", true)]), Metric::TokenF1, RESAMPLING);
        assert_eq!(difference, None);
    }

    #[test]
    fn bits_per_byte_is_a_ratio_of_sums() {
        let series = Series(BTreeMap::from([
            ("a".into(), (10.0, 10.0)),
            ("b".into(), (90.0, 30.0)),
        ]));
        assert_eq!(series.interval(Metric::BitsPerByte, RESAMPLING).value, 2.5);
    }

    #[test]
    fn scores_survive_json() {
        let scores = Scores {
            label: "base".into(),
            model: "0".repeat(64),
            metrics: BTreeMap::from([(
                Metric::TokenF1,
                Series(BTreeMap::from([("q".into(), (0.25, 1.0))])),
            )]),
        };
        let text = serde_json::to_string(&scores).unwrap();
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), scores);
    }
}
