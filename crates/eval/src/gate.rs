//! Whether a candidate may replace the incumbent: better on the recipe's metric by more than the noise, and no worse
//! on the guard metrics beyond theirs.

use serde::{Deserialize, Serialize};

use artifact::Seed;

use crate::interval::Interval;
use crate::scores::{Metric, Resampling, Scores};

/// What the recipe asks of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// The metric on which the candidate must be better than the incumbent.
    pub metric: Metric,
    /// The metrics on which it must not be worse.
    pub guards: Vec<Metric>,
    /// What the metric must reach when there is no incumbent; no floor lets every first model in.
    pub floor: Option<f64>,
    /// Seed of the bootstraps.
    pub seed: u64,
    /// Draws of each bootstrap.
    pub resamples: usize,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            metric: Metric::HeldOutAccuracy,
            guards: vec![Metric::UnanswerableRefused, Metric::NeedlessRefusals],
            floor: None,
            seed: 0,
            resamples: 1_000,
        }
    }
}

/// One comparison the verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The metric compared.
    pub metric: Metric,
    /// True for a guard, false for the recipe's metric.
    pub guard: bool,
    /// The candidate's value.
    pub candidate: Option<Interval>,
    /// The incumbent's value.
    pub incumbent: Option<Interval>,
    /// Candidate minus incumbent on the same items.
    pub difference: Option<Interval>,
    /// True when the candidate passes it.
    pub passed: bool,
    /// Why, in words.
    pub explanation: String,
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// True when the candidate takes the place.
    pub accepted: bool,
    /// The verdict in one or a few sentences.
    pub explanation: String,
    /// What it rests on: the recipe's metric first, then the guards.
    pub checks: Vec<Check>,
}

/// Decides whether `candidate` replaces `incumbent`. Everything it says follows from its arguments alone.
#[must_use]
pub fn gate(config: &GateConfig, candidate: &Scores, incumbent: Option<&Scores>) -> Verdict {
    let checks = match incumbent {
        None => vec![first(config, candidate)],
        Some(incumbent) => {
            let mut checks = vec![compare(config, config.metric, false, candidate, incumbent)];
            let guards = config.guards.iter().filter(|&&guard| guard != config.metric);
            checks.extend(guards.map(|&guard| compare(config, guard, true, candidate, incumbent)));
            checks
        }
    };
    let accepted = checks.iter().all(|check| check.passed);
    let outcome = match (accepted, incumbent) {
        (true, None) => format!("`{}` becomes the first incumbent", candidate.label),
        (true, Some(_)) => format!("`{}` replaces the incumbent", candidate.label),
        (false, None) => format!("`{}` is not let in", candidate.label),
        (false, Some(_)) => "The incumbent stays".to_owned(),
    };
    let reasons: Vec<&str> = checks
        .iter()
        .filter(|check| check.passed == accepted)
        .map(|check| check.explanation.as_str())
        .collect();
    Verdict { accepted, explanation: format!("{outcome}: {}.", reasons.join("; ")), checks }
}

/// Without an incumbent: the recipe's floor, if it sets one.
fn first(config: &GateConfig, candidate: &Scores) -> Check {
    let metric = config.metric;
    let value = measure(config, metric, candidate);
    let (passed, explanation) = match (config.floor, value) {
        (None, _) => (true, "there is no incumbent and the recipe sets no floor".to_owned()),
        (Some(floor), None) => (false, format!("{metric} was not measured, so the floor of {} cannot be met", show(metric, floor))),
        (Some(floor), Some(value)) => {
            let met = if metric.higher_is_better() { value.value >= floor } else { value.value <= floor };
            let verb = if met { "meets" } else { "misses" };
            (met, format!("there is no incumbent, and {metric} of {} {verb} the floor of {}", show(metric, value.value), show(metric, floor)))
        }
    };
    Check { metric, guard: false, candidate: value, incumbent: None, difference: None, passed, explanation }
}

fn compare(config: &GateConfig, metric: Metric, guard: bool, candidate: &Scores, incumbent: &Scores) -> Check {
    let ours = measure(config, metric, candidate);
    let theirs = measure(config, metric, incumbent);
    let difference = candidate.metrics.get(&metric).zip(incumbent.metrics.get(&metric)).and_then(|(ours, theirs)| {
        ours.difference(theirs, metric, Resampling { seed: Seed(config.seed), resamples: config.resamples })
    });
    let (passed, explanation) = match (ours, theirs, difference) {
        (Some(ours), Some(theirs), Some(difference)) => judge(metric, guard, ours, theirs, difference),
        (None, None, _) => (guard, format!("{metric} was measured for neither")),
        (None, Some(_), _) => (false, format!("{metric} was not measured for the candidate")),
        (Some(_), None, _) => (guard, format!("{metric} was not measured for the incumbent")),
        (Some(_), Some(_), None) => (guard, format!("{metric} was measured on different items, so nothing can be compared")),
    };
    Check { metric, guard, candidate: ours, incumbent: theirs, difference, passed, explanation }
}

fn judge(metric: Metric, guard: bool, ours: Interval, theirs: Interval, difference: Interval) -> (bool, String) {
    let gain = if metric.higher_is_better() { difference.value } else { -difference.value };
    let clear = difference.excludes_zero();
    let (better, worse) = (clear && gain > 0.0, clear && gain < 0.0);
    let relation = match (better, worse) {
        (true, _) => "better by more than the noise",
        (_, true) => "worse by more than the noise",
        _ => "no different beyond the noise",
    };
    let explanation = format!(
        "{metric} is {relation}, {} against {} (difference {}, 95 % interval {} to {}, n = {})",
        show(metric, ours.value),
        show(metric, theirs.value),
        show_signed(metric, difference.value),
        show_signed(metric, difference.low),
        show_signed(metric, difference.high),
        difference.n
    );
    (if guard { !worse } else { better }, explanation)
}

fn measure(config: &GateConfig, metric: Metric, scores: &Scores) -> Option<Interval> {
    let resampling = Resampling { seed: Seed(config.seed), resamples: config.resamples };
    scores.metrics.get(&metric).filter(|series| !series.0.is_empty()).map(|series| series.interval(metric, resampling))
}

fn show(metric: Metric, value: f64) -> String {
    if metric.is_proportion() { format!("{:.1} %", value * 100.0) } else { format!("{value:.4}") }
}

fn show_signed(metric: Metric, value: f64) -> String {
    if metric.is_proportion() { format!("{:+.1} %", value * 100.0) } else { format!("{value:+.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores::Series;
    use std::collections::BTreeMap;

    /// `right` of `n` questions answered right, the first ones.
    fn proportion(right: usize, n: usize) -> Series {
        let mut series = Series::default();
        for i in 0..n {
            series.push(format!("q{i:04}"), i < right);
        }
        series
    }

    fn bits(per_byte: f64) -> Series {
        Series((0..50).map(|i| (format!("d{i}"), (per_byte * f64::from(100 + i), f64::from(100 + i)))).collect())
    }

    fn scores<const N: usize>(metrics: [(Metric, Series); N]) -> Scores {
        Scores { label: "aligned".into(), model: "m".into(), metrics: BTreeMap::from(metrics) }
    }

    fn accuracy(right: usize) -> Scores {
        scores([(Metric::HeldOutAccuracy, proportion(right, 100))])
    }

    fn floor(floor: f64) -> GateConfig {
        GateConfig { floor: Some(floor), ..GateConfig::default() }
    }

    #[test]
    fn the_first_model_needs_no_floor() {
        let verdict = gate(&GateConfig::default(), &accuracy(1), None);
        assert!(verdict.accepted);
        assert!(verdict.explanation.contains("first incumbent"), "{}", verdict.explanation);
    }

    #[test]
    fn the_first_model_meets_the_floor() {
        assert!(gate(&floor(0.95), &accuracy(95), None).accepted);
    }

    #[test]
    fn the_first_model_misses_the_floor() {
        let verdict = gate(&floor(0.95), &accuracy(94), None);
        assert!(!verdict.accepted);
        assert!(verdict.explanation.contains("94.0 % misses the floor of 95.0 %"), "{}", verdict.explanation);
    }

    #[test]
    fn a_floor_that_is_a_ceiling() {
        let config = GateConfig { metric: Metric::BitsPerByte, floor: Some(2.0), ..GateConfig::default() };
        assert!(gate(&config, &scores([(Metric::BitsPerByte, bits(1.9))]), None).accepted);
        assert!(!gate(&config, &scores([(Metric::BitsPerByte, bits(2.1))]), None).accepted);
    }

    #[test]
    fn a_floor_on_a_metric_nobody_measured() {
        let verdict = gate(&floor(0.5), &scores([]), None);
        assert!(!verdict.accepted && verdict.explanation.contains("not measured"));
    }

    #[test]
    fn clearly_better_replaces() {
        let verdict = gate(&GateConfig::default(), &accuracy(95), Some(&accuracy(80)));
        assert!(verdict.accepted);
        assert!(verdict.explanation.contains("95.0 % against 80.0 %"), "{}", verdict.explanation);
    }

    #[test]
    fn equal_stays() {
        let verdict = gate(&GateConfig::default(), &accuracy(90), Some(&accuracy(90)));
        assert!(!verdict.accepted && verdict.explanation.starts_with("The incumbent stays"));
    }

    #[test]
    fn better_within_the_noise_stays() {
        // Five gained and none lost: the exact test gives 6.3 %.
        assert!(!gate(&GateConfig::default(), &accuracy(95), Some(&accuracy(90))).accepted);
        // Six gained: 3.1 %.
        assert!(gate(&GateConfig::default(), &accuracy(96), Some(&accuracy(90))).accepted);
    }

    #[test]
    fn worse_stays() {
        let verdict = gate(&GateConfig::default(), &accuracy(70), Some(&accuracy(90)));
        assert!(!verdict.accepted && verdict.explanation.contains("worse by more than the noise"));
    }

    #[test]
    fn the_floor_does_not_bind_beside_an_incumbent() {
        assert!(gate(&floor(0.99), &accuracy(90), Some(&accuracy(50))).accepted);
    }

    #[test]
    fn a_guard_that_falls_keeps_the_incumbent() {
        let with = |right, refused| {
            scores([
                (Metric::HeldOutAccuracy, proportion(right, 100)),
                (Metric::UnanswerableRefused, proportion(refused, 100)),
            ])
        };
        let verdict = gate(&GateConfig::default(), &with(99, 50), Some(&with(70, 98)));
        assert!(!verdict.accepted);
        assert!(verdict.explanation.contains("unanswerable_refused is worse"), "{}", verdict.explanation);
        assert!(!verdict.explanation.contains("held_out_accuracy"), "{}", verdict.explanation);
    }

    #[test]
    fn a_guard_within_its_noise_lets_pass() {
        let with = |right, refused| {
            scores([
                (Metric::HeldOutAccuracy, proportion(right, 100)),
                (Metric::UnanswerableRefused, proportion(refused, 100)),
            ])
        };
        assert!(gate(&GateConfig::default(), &with(99, 96), Some(&with(70, 98))).accepted);
    }

    #[test]
    fn more_needless_refusals_are_worse() {
        let with = |right, refused| {
            scores([
                (Metric::HeldOutAccuracy, proportion(right, 100)),
                (Metric::NeedlessRefusals, proportion(refused, 100)),
            ])
        };
        assert!(!gate(&GateConfig::default(), &with(99, 40), Some(&with(70, 2))).accepted);
        assert!(gate(&GateConfig::default(), &with(99, 2), Some(&with(70, 40))).accepted);
    }

    #[test]
    fn fewer_bits_are_better() {
        let config = GateConfig { metric: Metric::BitsPerByte, ..GateConfig::default() };
        let with = |value| scores([(Metric::BitsPerByte, bits(value))]);
        assert!(gate(&config, &with(1.8), Some(&with(2.0))).accepted);
        assert!(!gate(&config, &with(2.0), Some(&with(1.8))).accepted);
    }

    #[test]
    fn a_metric_measured_on_other_items_cannot_be_compared() {
        let mut other = Series::default();
        other.push("another question", false);
        let verdict =
            gate(&GateConfig::default(), &accuracy(99), Some(&scores([(Metric::HeldOutAccuracy, other)])));
        assert!(!verdict.accepted && verdict.explanation.contains("different items"));
    }

    #[test]
    fn a_guard_nobody_measured_does_not_bind() {
        let config = GateConfig { guards: vec![Metric::BitsPerByte], ..GateConfig::default() };
        assert!(gate(&config, &accuracy(99), Some(&accuracy(50))).accepted);
    }

    #[test]
    fn a_guard_only_the_incumbent_has_binds() {
        let config = GateConfig { guards: vec![Metric::BitsPerByte], ..GateConfig::default() };
        let mut incumbent = accuracy(50);
        incumbent.metrics.insert(Metric::BitsPerByte, bits(2.0));
        assert!(!gate(&config, &accuracy(99), Some(&incumbent)).accepted);
    }

    #[test]
    fn the_metric_is_not_its_own_guard() {
        let config = GateConfig { guards: vec![Metric::HeldOutAccuracy], ..GateConfig::default() };
        assert_eq!(gate(&config, &accuracy(99), Some(&accuracy(50))).checks.len(), 1);
    }

    #[test]
    fn the_same_arguments_give_the_same_verdict() {
        let with = |value| scores([(Metric::BitsPerByte, bits(value))]);
        let config = GateConfig { metric: Metric::BitsPerByte, ..GateConfig::default() };
        assert_eq!(gate(&config, &with(1.9), Some(&with(2.0))), gate(&config, &with(1.9), Some(&with(2.0))));
    }
}
