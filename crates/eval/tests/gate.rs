//! The gate's decisions, one rule at a time.

use std::collections::BTreeMap;

use eval::{GateConfig, Metric, Scores, Series, gate};

/// `right` of `n` questions answered right, the first ones.
fn proportion(right: usize, n: usize) -> Series {
    let mut series = Series::default();
    for i in 0..n {
        series.push(format!("q{i:04}"), i < right);
    }
    series
}

fn bits(per_byte: f64) -> Series {
    Series(
        (0..50)
            .map(|i| {
                (
                    format!("d{i}"),
                    (per_byte * f64::from(100 + i), f64::from(100 + i)),
                )
            })
            .collect(),
    )
}

fn scores<const N: usize>(metrics: [(Metric, Series); N]) -> Scores {
    Scores {
        label: "aligned".into(),
        model: "m".into(),
        metrics: BTreeMap::from(metrics),
    }
}

fn accuracy(right: usize) -> Scores {
    scores([(Metric::HeldOutAccuracy, proportion(right, 100))])
}

fn floor(floor: f64) -> GateConfig {
    GateConfig {
        floor: Some(floor),
        ..GateConfig::default()
    }
}

#[test]
fn the_first_model_needs_no_floor() {
    let verdict = gate(&GateConfig::default(), &accuracy(1), None);
    assert!(verdict.accepted);
    assert!(
        verdict.explanation.contains("first incumbent"),
        "{}",
        verdict.explanation
    );
}

#[test]
fn the_first_model_meets_the_floor() {
    assert!(gate(&floor(0.95), &accuracy(95), None).accepted);
}

#[test]
fn the_first_model_misses_the_floor() {
    let verdict = gate(&floor(0.95), &accuracy(94), None);
    assert!(!verdict.accepted);
    assert!(
        verdict
            .explanation
            .contains("94.0 % misses the floor of 95.0 %"),
        "{}",
        verdict.explanation
    );
}

#[test]
fn a_floor_that_is_a_ceiling() {
    let config = GateConfig {
        metric: Metric::BitsPerByte,
        floor: Some(2.0),
        ..GateConfig::default()
    };
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
    assert!(
        verdict.explanation.contains("95.0 % against 80.0 %"),
        "{}",
        verdict.explanation
    );
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
    assert!(
        verdict
            .explanation
            .contains("unanswerable_refused is worse"),
        "{}",
        verdict.explanation
    );
    assert!(
        !verdict.explanation.contains("held_out_accuracy"),
        "{}",
        verdict.explanation
    );
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
    let config = GateConfig {
        metric: Metric::BitsPerByte,
        ..GateConfig::default()
    };
    let with = |value| scores([(Metric::BitsPerByte, bits(value))]);
    assert!(gate(&config, &with(1.8), Some(&with(2.0))).accepted);
    assert!(!gate(&config, &with(2.0), Some(&with(1.8))).accepted);
}

#[test]
fn a_metric_measured_on_other_items_cannot_be_compared() {
    let mut other = Series::default();
    other.push("another question", false);
    let verdict = gate(
        &GateConfig::default(),
        &accuracy(99),
        Some(&scores([(Metric::HeldOutAccuracy, other)])),
    );
    assert!(!verdict.accepted && verdict.explanation.contains("different items"));
}

#[test]
fn a_guard_nobody_measured_does_not_bind() {
    let config = GateConfig {
        guards: vec![Metric::BitsPerByte],
        ..GateConfig::default()
    };
    assert!(gate(&config, &accuracy(99), Some(&accuracy(50))).accepted);
}

#[test]
fn a_guard_only_the_incumbent_has_binds() {
    let config = GateConfig {
        guards: vec![Metric::BitsPerByte],
        ..GateConfig::default()
    };
    let mut incumbent = accuracy(50);
    incumbent.metrics.insert(Metric::BitsPerByte, bits(2.0));
    assert!(!gate(&config, &accuracy(99), Some(&incumbent)).accepted);
}

#[test]
fn the_metric_is_not_its_own_guard() {
    let config = GateConfig {
        guards: vec![Metric::HeldOutAccuracy],
        ..GateConfig::default()
    };
    assert_eq!(
        gate(&config, &accuracy(99), Some(&accuracy(50)))
            .checks
            .len(),
        1
    );
}

#[test]
fn the_same_arguments_give_the_same_verdict() {
    let with = |value| scores([(Metric::BitsPerByte, bits(value))]);
    let config = GateConfig {
        metric: Metric::BitsPerByte,
        ..GateConfig::default()
    };
    assert_eq!(
        gate(&config, &with(1.9), Some(&with(2.0))),
        gate(&config, &with(1.9), Some(&with(2.0)))
    );
}

#[test]
fn what_the_incumbent_was_not_measured_on_decides_nothing_for_the_candidate() {
    let incumbent = scores([(Metric::BitsPerByte, bits(1.0))]);
    let verdict = gate(&GateConfig::default(), &accuracy(100), Some(&incumbent));
    assert!(
        !verdict.accepted
            && verdict
                .explanation
                .contains("not measured for the incumbent")
    );
}
