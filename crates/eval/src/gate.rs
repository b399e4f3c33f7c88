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
            let guards = config
                .guards
                .iter()
                .filter(|&&guard| guard != config.metric);
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
    Verdict {
        accepted,
        explanation: format!("{outcome}: {}.", reasons.join("; ")),
        checks,
    }
}

/// Without an incumbent: the recipe's floor, if it sets one.
fn first(config: &GateConfig, candidate: &Scores) -> Check {
    let metric = config.metric;
    let value = measure(config, metric, candidate);
    let (passed, explanation) = match (config.floor, value) {
        (None, _) => (
            true,
            "there is no incumbent and the recipe sets no floor".to_owned(),
        ),
        (Some(floor), None) => (
            false,
            format!(
                "{metric} was not measured, so the floor of {} cannot be met",
                show(metric, floor)
            ),
        ),
        (Some(floor), Some(value)) => {
            let met = if metric.higher_is_better() {
                value.value >= floor
            } else {
                value.value <= floor
            };
            let verb = if met { "meets" } else { "misses" };
            (
                met,
                format!(
                    "there is no incumbent, and {metric} of {} {verb} the floor of {}",
                    show(metric, value.value),
                    show(metric, floor)
                ),
            )
        }
    };
    Check {
        metric,
        guard: false,
        candidate: value,
        incumbent: None,
        difference: None,
        passed,
        explanation,
    }
}

fn compare(
    config: &GateConfig,
    metric: Metric,
    guard: bool,
    candidate: &Scores,
    incumbent: &Scores,
) -> Check {
    let ours = measure(config, metric, candidate);
    let theirs = measure(config, metric, incumbent);
    let difference = candidate
        .metrics
        .get(&metric)
        .zip(incumbent.metrics.get(&metric))
        .and_then(|(ours, theirs)| {
            ours.difference(
                theirs,
                metric,
                Resampling {
                    seed: Seed(config.seed),
                    resamples: config.resamples,
                },
            )
        });
    let (passed, explanation) = match (ours, theirs, difference) {
        (Some(ours), Some(theirs), Some(difference)) => {
            judge(metric, guard, ours, theirs, difference)
        }
        (None, None, _) => (guard, format!("{metric} was measured for neither")),
        (None, Some(_), _) => (
            false,
            format!("{metric} was not measured for the candidate"),
        ),
        (Some(_), None, _) => (
            guard,
            format!("{metric} was not measured for the incumbent"),
        ),
        (Some(_), Some(_), None) => (
            guard,
            format!("{metric} was measured on different items, so nothing can be compared"),
        ),
    };
    Check {
        metric,
        guard,
        candidate: ours,
        incumbent: theirs,
        difference,
        passed,
        explanation,
    }
}

fn judge(
    metric: Metric,
    guard: bool,
    ours: Interval,
    theirs: Interval,
    difference: Interval,
) -> (bool, String) {
    let gain = if metric.higher_is_better() {
        difference.value
    } else {
        -difference.value
    };
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
    let resampling = Resampling {
        seed: Seed(config.seed),
        resamples: config.resamples,
    };
    scores
        .metrics
        .get(&metric)
        .filter(|series| !series.0.is_empty())
        .map(|series| series.interval(metric, resampling))
}

fn show(metric: Metric, value: f64) -> String {
    if metric.is_proportion() {
        format!("{:.1} %", value * 100.0)
    } else {
        format!("{value:.4}")
    }
}

fn show_signed(metric: Metric, value: f64) -> String {
    if metric.is_proportion() {
        format!("{:+.1} %", value * 100.0)
    } else {
        format!("{value:+.4}")
    }
}
