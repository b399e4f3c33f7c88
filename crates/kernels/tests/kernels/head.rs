use kernels::gemm::{Mat, Precision, matmul};
use kernels::loss::{
    lm_loss_forward_backward, log_softmax_row, relative_weights_row, token_logprobs,
};
use kernels::reference;
use proptest::prelude::*;

use crate::{assert_close, bits, same_for_any_threads, values, wide};

struct Case {
    hidden: Vec<f32>,
    weight: Vec<f32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

fn case(rows: usize, dim: usize, vocab: usize, seed: u64) -> Case {
    let targets = (0..rows as u64)
        .map(|i| ((seed % 1000 + i * 7919) % vocab as u64) as u32)
        .collect();
    let weights = (0..rows)
        .map(|i| {
            if i % 3 == 1 {
                0.0
            } else {
                0.25 + (i % 5) as f32 / 8.0
            }
        })
        .collect();
    Case {
        hidden: values(rows * dim, seed),
        weight: values(vocab * dim, seed ^ 1),
        targets,
        weights,
    }
}

/// Losses, then gradients of the hidden states and of the weight.
fn run(case: &Case, precision: Precision, z_loss: f32) -> [Vec<f32>; 3] {
    let Case {
        hidden,
        weight,
        targets,
        weights,
    } = case;
    let (mut dh, mut dw, mut losses) = (
        vec![7.0; hidden.len()],
        vec![7.0; weight.len()],
        vec![7.0; targets.len()],
    );
    lm_loss_forward_backward(
        precision,
        hidden,
        weight,
        targets,
        weights,
        z_loss,
        &mut dh,
        Some(&mut dw),
        &mut losses,
    );
    let mut alone = vec![7.0; hidden.len()];
    lm_loss_forward_backward(
        precision,
        hidden,
        weight,
        targets,
        weights,
        z_loss,
        &mut alone,
        None,
        &mut losses,
    );
    assert_eq!(dh, alone, "with and without the weight's gradient");
    [losses, dh, dw]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn loss_and_gradients(rows in 1_usize..7, dim in 1_usize..12, vocab in 1_usize..40, z in 0_usize..2, seed: u64) {
        let case = case(rows, dim, vocab, seed);
        let z_loss = z as f32 * 0.125;
        let [losses, dh, dw] = run(&case, Precision::F32, z_loss);
        let (h, w) = (wide(&case.hidden), wide(&case.weight));
        let loss = |h: &[f64], w: &[f64]| reference::lm_loss(h, w, &case.targets, &case.weights, f64::from(z_loss));
        let total: f64 = losses.iter().zip(&case.weights).map(|(l, w)| f64::from(*l) * f64::from(*w)).sum();
        prop_assert!((total - loss(&h, &w)).abs() < 1e-4);
        assert_close(&dh, &reference::gradient(&h, |h| loss(h, &w)), 1e-4);
        assert_close(&dw, &reference::gradient(&w, |w| loss(&h, w)), 1e-4);
        for (loss, weight) in losses.iter().zip(&case.weights) {
            prop_assert!(*weight != 0.0 || *loss == 0.0);
        }
    }

    #[test]
    fn log_probabilities_agree_to_the_bit(rows in 1_usize..150, vocab in 1_usize..90, half: bool, seed: u64) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let dim = 33;
        let mut case = case(rows, dim, vocab, seed);
        let mut fused = vec![0.0; rows];
        token_logprobs(precision, &case.hidden, &case.weight, &case.targets, &mut fused);
        let weight = Mat::row_major(&case.weight, dim).transposed();
        for (i, hidden) in case.hidden.chunks_exact(dim).enumerate() {
            let mut logits = vec![0.0; vocab];
            matmul(precision, 1, vocab, dim, Mat::row_major(hidden, dim), weight, &mut logits, false, None);
            log_softmax_row(&mut logits);
            prop_assert_eq!(logits[case.targets[i] as usize].to_bits(), fused[i].to_bits());
        }
        // And the trainer's loss is their negative.
        case.weights.fill(1.0);
        let losses = run(&case, precision, 0.0)[0].iter().map(|loss| -loss).collect::<Vec<_>>();
        for (loss, fused) in losses.iter().zip(&fused) {
            prop_assert_eq!(loss, fused);
        }
    }
}

#[test]
fn many_rows_are_handled_in_parts() {
    let mut case = case(2500, 20, 50, 9);
    let part = |rows: std::ops::Range<usize>, case: &Case| Case {
        hidden: case.hidden[rows.start * 20..rows.end * 20].to_vec(),
        weight: case.weight.clone(),
        targets: case.targets[rows.clone()].to_vec(),
        weights: case.weights[rows].to_vec(),
    };
    let [losses, dh, dw] = run(&case, Precision::F32, 0.0);
    let [tail_losses, tail_dh, _] = run(&part(2000..2500, &case), Precision::F32, 0.0);
    assert_eq!(bits(&losses[2000..]), bits(&tail_losses));
    assert_eq!(bits(&dh[2000 * 20..]), bits(&tail_dh));
    let mut sum = vec![0.0_f64; dw.len()];
    for first in (0..2500).step_by(500) {
        let dw = &run(&part(first..first + 500, &case), Precision::F32, 0.0)[2];
        sum.iter_mut()
            .zip(dw)
            .for_each(|(sum, dw)| *sum += f64::from(*dw));
    }
    assert_close(&dw, &sum, 1e-4);
    case.weights.fill(0.0);
    assert!(
        run(&case, Precision::F32, 0.0)
            .iter()
            .flatten()
            .all(|&x| x == 0.0)
    );
}

#[test]
fn threads_do_not_matter() {
    let case = case(1500, 40, 300, 3);
    same_for_any_threads(|| run(&case, Precision::Bf16, 1e-4).map(|x| bits(&x)));
}

#[test]
fn weights_are_relative_to_the_largest() {
    let mut scores = values(37, 3);
    scores[5] = f32::NEG_INFINITY;
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let expected: Vec<f64> = wide(&scores)
        .iter()
        .map(|score| ((score - f64::from(largest)) / 0.7).exp())
        .collect();
    relative_weights_row(&mut scores, 1.0 / 0.7);
    assert_eq!(scores[5], 0.0);
    for (weight, expected) in scores.iter().zip(expected) {
        assert!((f64::from(*weight) - expected).abs() < 1e-6);
    }
}
