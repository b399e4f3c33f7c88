//! How far a measured number may be from the truth: 95 % intervals, and paired comparisons of two candidates
//! on the same questions.
//!
//! Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927);
//! B. Efron, "Bootstrap methods: another look at the jackknife" (1979), percentile form;
//! Q. McNemar, "Note on the sampling error of the difference between correlated proportions" (1947), exact form.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use artifact::Seed;

/// 97.5 % quantile of the standard normal distribution: two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Share of the distribution left out on each side of a 95 % interval.
const TAIL: f64 = 0.025;

/// A measured value with its 95 % interval and the number of observations behind it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Observations: questions, pairs or documents.
    pub n: u64,
}

impl Interval {
    /// True when zero lies strictly outside the interval: for a difference, "more than the noise".
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Wilson's score interval of a proportion. With no observations the interval is the whole of [0, 1].
#[must_use]
pub fn wilson(successes: u64, n: u64) -> Interval {
    if n == 0 {
        return Interval {
            value: 0.0,
            low: 0.0,
            high: 1.0,
            n,
        };
    }
    let count = n as f64;
    let value = successes as f64 / count;
    let z2 = Z * Z;
    let centre = (value + z2 / (2.0 * count)) / (1.0 + z2 / count);
    let half = Z / (1.0 + z2 / count)
        * (value * (1.0 - value) / count + z2 / (4.0 * count * count)).sqrt();
    // The ends are exact where rounding would leave 1e-17 beside them.
    let low = if successes == 0 {
        0.0
    } else {
        (centre - half).max(0.0)
    };
    let high = if successes == n {
        1.0
    } else {
        (centre + half).min(1.0)
    };
    Interval {
        value,
        low,
        high,
        n,
    }
}

/// Percentile bootstrap of a mean; `resamples` draws with replacement, the same for the same seed.
#[must_use]
pub fn bootstrap_mean(values: &[f64], seed: Seed, resamples: usize) -> Interval {
    let pairs: Vec<(f64, f64)> = values.iter().map(|&value| (value, 1.0)).collect();
    bootstrap_ratio(&pairs, seed, resamples)
}

/// Percentile bootstrap of a ratio of sums, Σ numerator / Σ denominator: bits over bytes, drawn by document.
#[must_use]
pub fn bootstrap_ratio(pairs: &[(f64, f64)], seed: Seed, resamples: usize) -> Interval {
    resample(pairs.len(), seed, resamples, |drawn| {
        ratio(drawn.map(|i| pairs[i]))
    })
}

/// Paired percentile bootstrap of the difference `candidate − incumbent` of two ratios of sums over the same items.
///
/// Both slices are in the same order of items; the shorter one bounds the pairs taken.
#[must_use]
pub fn paired_bootstrap(
    candidate: &[(f64, f64)],
    incumbent: &[(f64, f64)],
    seed: Seed,
    resamples: usize,
) -> Interval {
    let n = candidate.len().min(incumbent.len());
    resample(n, seed, resamples, |drawn| {
        let drawn: Vec<usize> = drawn.collect();
        ratio(drawn.iter().map(|&i| candidate[i])) - ratio(drawn.iter().map(|&i| incumbent[i]))
    })
}

/// Exact conditional interval of the difference of two paired proportions, `candidate − incumbent`.
///
/// Only the questions on which the two disagree carry information: of `gained + lost` such questions the candidate
/// won `gained`. The Clopper–Pearson interval of that share, scaled to the difference over all `n` questions,
/// excludes zero exactly when the two-sided exact McNemar test rejects at 5 %.
#[must_use]
pub fn paired_proportions(gained: u64, lost: u64, n: u64) -> Interval {
    let discordant = gained + lost;
    if n == 0 || discordant == 0 {
        return Interval {
            value: 0.0,
            low: 0.0,
            high: 0.0,
            n,
        };
    }
    let scale = discordant as f64 / n as f64;
    let difference = |share: f64| (2.0 * share - 1.0) * scale;
    Interval {
        value: (gained as f64 - lost as f64) / n as f64,
        low: difference(clopper_pearson_low(gained, discordant)),
        high: difference(1.0 - clopper_pearson_low(lost, discordant)),
        n,
    }
}

/// Two-sided exact McNemar test: the probability of a split of the disagreements at least this uneven by chance.
#[must_use]
pub fn mcnemar(gained: u64, lost: u64) -> f64 {
    let n = gained + lost;
    if n == 0 {
        return 1.0;
    }
    (2.0 * upper_tail(gained.max(lost), n, 0.5)).min(1.0)
}

/// The share p at which k or more successes of n have probability 2.5 %; 0 when k is 0.
fn clopper_pearson_low(k: u64, n: u64) -> f64 {
    if k == 0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // 60 halvings leave less than 1e-18 of the unit interval.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if upper_tail(k, n, middle) < TAIL {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// P(X ≥ k) for X binomial with n trials of probability p.
fn upper_tail(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 || p >= 1.0 {
        return 1.0;
    }
    if p <= 0.0 {
        return 0.0;
    }
    let (log_p, log_q) = (p.ln(), (-p).ln_1p());
    let mut log_choose = 0.0;
    let mut sum = 0.0;
    for i in 0..=n {
        if i > 0 {
            log_choose += ((n - i + 1) as f64).ln() - (i as f64).ln();
        }
        if i >= k {
            sum += (log_choose + i as f64 * log_p + (n - i) as f64 * log_q).exp();
        }
    }
    sum.min(1.0)
}

fn ratio(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (numerator, denominator) = pairs.fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    if denominator == 0.0 {
        0.0
    } else {
        numerator / denominator
    }
}

/// One statistic over all items and over `resamples` draws of them with replacement.
fn resample(
    n: usize,
    seed: Seed,
    resamples: usize,
    statistic: impl Fn(&mut dyn Iterator<Item = usize>) -> f64,
) -> Interval {
    if n == 0 {
        return Interval {
            value: 0.0,
            low: 0.0,
            high: 0.0,
            n: 0,
        };
    }
    let value = statistic(&mut (0..n));
    let mut rng: ChaCha8Rng = seed.rng();
    let mut drawn: Vec<f64> = (0..resamples.max(1))
        .map(|_| statistic(&mut (0..n).map(|_| rng.random_range(0..n))))
        .collect();
    drawn.sort_by(f64::total_cmp);
    Interval {
        value,
        low: quantile(&drawn, TAIL),
        high: quantile(&drawn, 1.0 - TAIL),
        n: n as u64,
    }
}

/// Linear interpolation between order statistics of a sorted, non-empty slice.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-4, "{a} against {b}");
    }

    #[test]
    fn wilson_matches_published_values() {
        // Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
        for (k, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let interval = wilson(k, n);
            close(interval.low, low);
            close(interval.high, high);
        }
    }

    #[test]
    fn wilson_of_nothing_is_the_whole_unit() {
        let interval = wilson(0, 0);
        assert_eq!((interval.low, interval.high, interval.n), (0.0, 1.0, 0));
    }

    #[test]
    fn mcnemar_matches_the_binomial() {
        close(mcnemar(6, 0), 2.0 / 64.0);
        close(mcnemar(0, 6), 2.0 / 64.0);
        close(mcnemar(5, 0), 2.0 / 32.0);
        close(mcnemar(7, 1), 2.0 * 9.0 / 256.0);
        close(mcnemar(3, 3), 1.0);
        close(mcnemar(0, 0), 1.0);
    }

    #[test]
    fn clopper_pearson_matches_published_values() {
        // Binomial 8 of 10: 95 % interval 0.4439 to 0.9748.
        close(clopper_pearson_low(8, 10), 0.4439);
        close(1.0 - clopper_pearson_low(2, 10), 0.9748);
        assert_eq!(clopper_pearson_low(0, 10), 0.0);
    }

    #[test]
    fn no_disagreement_is_no_difference() {
        let interval = paired_proportions(0, 0, 100);
        assert_eq!(
            (interval.value, interval.low, interval.high),
            (0.0, 0.0, 0.0)
        );
        assert!(!interval.excludes_zero());
    }

    #[test]
    fn large_samples_do_not_underflow() {
        let interval = paired_proportions(3_000, 1_000, 10_000);
        assert!(interval.low > 0.0 && interval.high < 0.4, "{interval:?}");
    }

    #[test]
    fn bootstrap_covers_the_mean_and_repeats() {
        let values: Vec<f64> = (0..200).map(|i| f64::from(i % 10)).collect();
        let interval = bootstrap_mean(&values, Seed(7), 1_000);
        assert_eq!(interval.value, 4.5);
        assert!(interval.low < 4.5 && interval.high > 4.5 && interval.high - interval.low < 1.0);
        assert_eq!(interval, bootstrap_mean(&values, Seed(7), 1_000));
    }

    #[test]
    fn ratio_of_sums_weighs_long_documents_more() {
        let interval = bootstrap_ratio(&[(100.0, 100.0), (0.0, 300.0)], Seed(1), 50);
        assert_eq!(interval.value, 0.25);
    }

    #[test]
    fn pairing_sees_a_small_constant_gain() {
        // The documents differ far more than the candidates do: only the pairing shows the gain.
        let incumbent: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), 10.0)).collect();
        let candidate: Vec<(f64, f64)> = incumbent
            .iter()
            .map(|&(bits, bytes)| (bits - 0.1, bytes))
            .collect();
        let difference = paired_bootstrap(&candidate, &incumbent, Seed(3), 500);
        assert!(difference.high < 0.0, "{difference:?}");
    }

    proptest! {
        #[test]
        fn wilson_holds_its_estimate((k, n) in (1_u64..5_000).prop_flat_map(|n| (0..=n, Just(n)))) {
            let interval = wilson(k, n);
            prop_assert!(0.0 <= interval.low && interval.low <= interval.value);
            prop_assert!(interval.value <= interval.high && interval.high <= 1.0);
        }

        #[test]
        fn paired_interval_excludes_zero_iff_mcnemar_rejects(gained in 0_u64..60, lost in 0_u64..60) {
            let interval = paired_proportions(gained, lost, 200);
            prop_assert_eq!(interval.excludes_zero(), mcnemar(gained, lost) < 0.05);
            prop_assert!(interval.low <= interval.value && interval.value <= interval.high);
        }
    }
}
