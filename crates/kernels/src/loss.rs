//! The head of a language model and its cross-entropy in one, a few rows at a time, so that the logits of a batch are
//! never in memory together; and log-probabilities that agree with it to the bit.

use crate::gemm::{Mat, Precision, matmul};
use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for};
use crate::scratch::scratch;

/// Logits held at a time.
const LOGITS: usize = 4 << 20;

/// Rows handled together: a function of the vocabulary alone.
fn rows_by_chunk(vocab: usize) -> usize {
    (LOGITS / vocab).clamp(64, 1024)
}

/// Logits that are in memory at a time.
pub fn logits_held(vocab: usize) -> usize {
    rows_by_chunk(vocab) * vocab
}

fn check(operation: &str, hidden: &[f32], weight: &[f32], targets: &[u32]) -> (usize, usize) {
    let rows = targets.len();
    assert!(
        rows > 0 && hidden.len().is_multiple_of(rows),
        "{operation}: hidden must be [{rows}, dim]"
    );
    let dim = hidden.len() / rows;
    assert!(
        dim > 0 && weight.len().is_multiple_of(dim),
        "{operation}: weight must be [vocab, {dim}]"
    );
    let vocab = weight.len() / dim;
    if let Some(target) = targets.iter().find(|&&target| target as usize >= vocab) {
        panic!("{operation}: target {target} is outside the vocabulary of {vocab}");
    }
    (dim, vocab)
}

/// Losses and gradients of a language model's head.
///
/// `hidden` is `[rows, dim]`, `weight` `[vocab, dim]`. The loss of row i is `−ln p(target) + z_loss · (ln Z)²`, with Z
/// the sum of exponentiated logits; it is written to `per_row_loss`. The gradients of Σ weights\[i\] · loss\[i\] overwrite
/// `dhidden` and, where it is asked for, `dweight`. Rows of weight 0 are skipped: their loss and gradient are 0, and their target is not read.
///
/// # Panics
/// When the target of a row with weight is outside the vocabulary, or the lengths do not fit each other.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
pub fn lm_loss_forward_backward(
    precision: Precision,
    hidden: &[f32],
    weight: &[f32],
    targets: &[u32],
    weights: &[f32],
    z_loss: f32,
    dhidden: &mut [f32],
    mut dweight: Option<&mut [f32]>,
    per_row_loss: &mut [f32],
) {
    const NAME: &str = "lm_loss_forward_backward";
    assert_eq!(
        weights.len(),
        targets.len(),
        "{NAME}: one weight for each target"
    );
    assert_eq!(
        per_row_loss.len(),
        targets.len(),
        "{NAME}: one loss for each target"
    );
    assert_eq!(
        dhidden.len(),
        hidden.len(),
        "{NAME}: dhidden must be as long as hidden"
    );
    dhidden.fill(0.0);
    if let Some(dweight) = &mut dweight {
        assert_eq!(
            dweight.len(),
            weight.len(),
            "{NAME}: dweight must be as long as weight"
        );
        dweight.fill(0.0);
    }
    per_row_loss.fill(0.0);
    let active: Vec<usize> = (0..targets.len())
        .filter(|&row| weights[row] != 0.0)
        .collect();
    if active.is_empty() {
        return;
    }
    let active_targets: Vec<u32> = active.iter().map(|&row| targets[row]).collect();
    let dim = hidden.len() / targets.len();
    let all = active.len() == targets.len();
    let (_, vocab) = check(NAME, &hidden[..active.len() * dim], weight, &active_targets);
    let chunk = rows_by_chunk(vocab).min(active.len());
    let mut logits = scratch(chunk * vocab);
    let mut gathered = scratch(if all { 0 } else { 2 * chunk * dim });
    let (x_gathered, dx_gathered) = gathered.split_at_mut(if all { 0 } else { chunk * dim });
    for (part, rows) in active.chunks(chunk).enumerate() {
        let first = part * chunk;
        let n = rows.len();
        let logits = &mut logits[..n * vocab];
        let x = if all {
            &hidden[first * dim..(first + n) * dim]
        } else {
            for (&row, x) in rows.iter().zip(x_gathered.chunks_exact_mut(dim)) {
                x.copy_from_slice(&hidden[row * dim..][..dim]);
            }
            &x_gathered[..n * dim]
        };
        let (x_mat, w_mat) = (Mat::row_major(x, dim), Mat::row_major(weight, dim));
        matmul(
            precision,
            n,
            vocab,
            dim,
            x_mat,
            w_mat.transposed(),
            logits,
            false,
            None,
        );
        let losses = Disjoint::new(per_row_loss);
        parallel_chunks_mut(logits, vocab, |i, logits| {
            let row = rows[i];
            // SAFETY: each task has its own row.
            let loss = unsafe { losses.slice(row, 1) };
            loss[0] = loss_row(logits, targets[row] as usize, weights[row], z_loss);
        });
        let dlogits = Mat::row_major(logits, vocab);
        let dx = if all {
            &mut dhidden[first * dim..(first + n) * dim]
        } else {
            &mut dx_gathered[..n * dim]
        };
        matmul(precision, n, dim, vocab, dlogits, w_mat, dx, false, None);
        if let Some(dweight) = &mut dweight {
            matmul(
                precision,
                vocab,
                dim,
                n,
                dlogits.transposed(),
                x_mat,
                dweight,
                true,
                None,
            );
        }
        if !all {
            for (&row, dx) in rows.iter().zip(dx_gathered.chunks_exact(dim)) {
                dhidden[row * dim..][..dim].copy_from_slice(dx);
            }
        }
    }
}

/// The loss of one row; its logits become their gradient.
fn loss_row(logits: &mut [f32], target: usize, weight: f32, z_loss: f32) -> f32 {
    let log_z = log_sum_exp(logits);
    let log_p = logits[target] - log_z;
    gradient_row(logits, log_z, weight * (1.0 + 2.0 * z_loss * log_z));
    logits[target] -= weight;
    z_loss * log_z * log_z - log_p
}

dispatch!(fn gradient_row(logits: &mut [f32], log_z: f32, factor: f32) = gradient_body);

/// `factor · softmax(logits)`, in place.
#[inline(always)]
fn gradient_body<V: Lanes>(logits: &mut [f32], log_z: f32, factor: f32) {
    let (log_z, factor) = (V::splat(log_z), V::splat(factor));
    let (whole, rest) = logits.as_chunks_mut::<LANES>();
    for x in whole {
        crate::math::exp(V::load(x).sub(log_z)).mul(factor).store(x);
    }
    crate::math::exp(V::load_part(rest, 0.0).sub(log_z))
        .mul(factor)
        .store_part(rest);
}

dispatch!(fn log_sum_exp(logits: &[f32]) -> f32 = log_sum_exp_body);

/// ln Σ e^x, about the largest x. NaN when any is.
#[inline(always)]
fn log_sum_exp_body<V: Lanes>(logits: &[f32]) -> f32 {
    let (whole, rest) = logits.as_chunks::<LANES>();
    let tail = V::load_part(rest, f32::NEG_INFINITY);
    let mut largest = tail;
    for x in whole {
        largest = V::load(x).max(largest);
    }
    let largest = largest.largest();
    let shift = V::splat(largest);
    let mut sum = V::splat(0.0);
    for x in whole {
        sum = sum.add(crate::math::exp(V::load(x).sub(shift)));
    }
    sum = sum.add(crate::math::exp(tail.sub(shift)));
    // In f64: one rounding, and a result that does not hang on the quality of a platform's `logf`.
    (f64::from(largest) + f64::from(sum.sum()).ln()) as f32
}

/// Replaces logits by log-probabilities: `x − ln Σ e^x`.
pub fn log_softmax_row(logits: &mut [f32]) {
    if !logits.is_empty() {
        let log_z = log_sum_exp(logits);
        logits.iter_mut().for_each(|x| *x -= log_z);
    }
}

dispatch!(fn relative_weights(scores: &mut [f32], factor: f32) = relative_weights_body);

#[inline(always)]
fn relative_weights_body<V: Lanes>(scores: &mut [f32], factor: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (shift, factor) = (V::splat(largest), V::splat(factor));
    let (whole, rest) = scores.as_chunks_mut::<LANES>();
    for x in whole {
        crate::math::exp(V::load(x).sub(shift).mul(factor)).store(x);
    }
    let x = V::load_part(rest, f32::NEG_INFINITY);
    crate::math::exp(x.sub(shift).mul(factor)).store_part(rest);
}

/// Replaces scores by weights relative to the largest: `e^((x − largest) · factor)`. A score of −∞ weighs nothing.
pub fn relative_weights_row(scores: &mut [f32], factor: f32) {
    relative_weights(scores, factor);
}

/// The log-probability of each row's target; the same bits as `matmul`, then [`log_softmax_row`].
///
/// `hidden` is `[rows, dim]`, `weight` `[vocab, dim]`, `out` `[rows]`.
///
/// # Panics
/// When a target is outside the vocabulary, or the lengths do not fit each other.
pub fn token_logprobs(
    precision: Precision,
    hidden: &[f32],
    weight: &[f32],
    targets: &[u32],
    out: &mut [f32],
) {
    from_logits(precision, hidden, weight, targets, out, |logits, target| {
        logits[target] - log_sum_exp(logits)
    });
}

/// The losses of [`lm_loss_forward_backward`] without the gradients, for every row; shapes as in [`token_logprobs`].
///
/// # Panics
/// As [`token_logprobs`].
pub fn token_losses(
    precision: Precision,
    hidden: &[f32],
    weight: &[f32],
    targets: &[u32],
    z_loss: f32,
    out: &mut [f32],
) {
    from_logits(precision, hidden, weight, targets, out, |logits, target| {
        let log_z = log_sum_exp(logits);
        z_loss * log_z * log_z - (logits[target] - log_z)
    });
}

/// What `each` makes of a row's logits and its target.
fn from_logits(
    precision: Precision,
    hidden: &[f32],
    weight: &[f32],
    targets: &[u32],
    out: &mut [f32],
    each: impl Fn(&[f32], usize) -> f32 + Sync,
) {
    assert_eq!(
        out.len(),
        targets.len(),
        "token_logprobs: one result for each target"
    );
    if targets.is_empty() {
        return;
    }
    let (dim, vocab) = check("token_logprobs", hidden, weight, targets);
    let chunk = rows_by_chunk(vocab).min(targets.len());
    let mut logits = scratch(chunk * vocab);
    let parts = hidden
        .chunks(chunk * dim)
        .zip(targets.chunks(chunk))
        .zip(out.chunks_mut(chunk));
    for ((hidden, targets), out) in parts {
        let logits = &mut logits[..targets.len() * vocab];
        let weight = Mat::row_major(weight, dim).transposed();
        matmul(
            precision,
            targets.len(),
            vocab,
            dim,
            Mat::row_major(hidden, dim),
            weight,
            logits,
            false,
            None,
        );
        let logits = &*logits;
        let out = Disjoint::new(out);
        parallel_for(targets.len(), |row| {
            let logits = &logits[row * vocab..][..vocab];
            // SAFETY: each task has its own row.
            let out = unsafe { out.slice(row, 1) };
            out[0] = each(logits, targets[row] as usize);
        });
    }
}
