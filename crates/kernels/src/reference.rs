//! Plain versions of the operations, in f64 and one element at a time, to read beside the papers and to test against.

use crate::attention::AttentionShape;
use crate::gemm::Mat;
use crate::optimizer::AdamW;

fn wide(x: f32) -> f64 {
    f64::from(x)
}

/// C = A·B.
pub fn matmul(m: usize, n: usize, k: usize, a: Mat<'_>, b: Mat<'_>) -> Vec<f64> {
    let at = |x: &Mat<'_>, i: usize, j: usize| wide(x.data[i * x.row_stride + j * x.col_stride]);
    let element = |i, j| (0..k).map(|p| at(&a, i, p) * at(&b, p, j)).sum();
    (0..m * n).map(|c| element(c / n, c % n)).collect()
}

/// x / √(mean(x²) + eps) · weight, row by row.
pub fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let row = |x: &[f64]| {
        let inv = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
        x.iter()
            .zip(weight)
            .map(|(x, w)| x * inv * w)
            .collect::<Vec<_>>()
    };
    x.chunks_exact(weight.len()).flat_map(row).collect()
}

/// (x − mean) / √(variance + eps) · weight + bias, row by row.
pub fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let row = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let inv = 1.0 / (variance + eps).sqrt();
        x.iter()
            .zip(weight.iter().zip(bias))
            .map(|(x, (w, b))| (x - mean) * inv * w + b)
            .collect::<Vec<_>>()
    };
    x.chunks_exact(weight.len()).flat_map(row).collect()
}

/// silu(gate) · up.
pub fn swiglu(gate: f64, up: f64) -> f64 {
    gate / (1.0 + (-gate).exp()) * up
}

/// GELU in its tanh form.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

/// GELU in its exact form, x · Φ(x): Φ(x) − 1/2 is the density times x + x³/3 + x⁵/(3·5) + …, all terms of one sign;
/// beyond 8 the tail is below 1e-15.
pub fn erf_gelu(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return x.max(0.0);
    }
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (mut term, mut sum, mut factor) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        factor += 2.0;
        term *= x * x / factor;
        sum += term;
    }
    x * (0.5 + density * sum)
}

/// Rotates one head, elements i and i + head_dim/2 together.
pub fn rope(x: &[f64], position: u32, theta: f64, inverse: bool) -> Vec<f64> {
    let half = x.len() / 2;
    let sign = if inverse { -1.0 } else { 1.0 };
    let mut out = vec![0.0; x.len()];
    for i in 0..half {
        let angle = sign * f64::from(position) * theta.powf(-(i as f64) / half as f64);
        out[i] = x[i] * angle.cos() - x[i + half] * angle.sin();
        out[i + half] = x[i + half] * angle.cos() + x[i] * angle.sin();
    }
    out
}

/// Attention over ranges of keys; shapes as in [`crate::attention::attention_forward`].
pub fn attention(
    shape: &AttentionShape,
    q: &[f64],
    k: &[f64],
    v: &[f64],
    ranges: &[[u32; 2]],
    scale: f64,
) -> Vec<f64> {
    let AttentionShape {
        batch,
        q_len,
        k_len,
        heads,
        kv_heads,
        head_dim,
    } = *shape;
    let mut out = vec![0.0; q.len()];
    for b in 0..batch {
        for i in 0..q_len {
            for head in 0..heads {
                let at = ((b * q_len + i) * heads + head) * head_dim;
                let key_at =
                    |j: usize| ((b * k_len + j) * kv_heads + head / (heads / kv_heads)) * head_dim;
                let keys = ranges[b * q_len + i][0] as usize..ranges[b * q_len + i][1] as usize;
                let score = |j: usize| {
                    (0..head_dim)
                        .map(|d| q[at + d] * k[key_at(j) + d])
                        .sum::<f64>()
                        * scale
                };
                let largest = keys.clone().map(score).fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = keys.clone().map(|j| (score(j) - largest).exp()).sum();
                for j in keys {
                    let p = (score(j) - largest).exp() / total;
                    (0..head_dim).for_each(|d| out[at + d] += p * v[key_at(j) + d]);
                }
            }
        }
    }
    out
}

/// The log-probabilities of one row of logits.
pub fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_z = largest + logits.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
    logits.iter().map(|x| x - log_z).collect()
}

/// Σ weights\[i\] · (−ln p(target_i) + z_loss · (ln Z_i)²) for `hidden` `[rows, dim]` and `weight` `[vocab, dim]`.
pub fn lm_loss(
    hidden: &[f64],
    weight: &[f64],
    targets: &[u32],
    weights: &[f32],
    z_loss: f64,
) -> f64 {
    let dim = hidden.len() / targets.len();
    let row = |(i, x): (usize, &[f64])| {
        let logits: Vec<f64> = weight
            .chunks_exact(dim)
            .map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum())
            .collect();
        let log_p = log_softmax(&logits)[targets[i] as usize];
        let log_z = logits[targets[i] as usize] - log_p;
        wide(weights[i]) * (z_loss * log_z * log_z - log_p)
    };
    hidden
        .chunks_exact(dim)
        .enumerate()
        .filter(|&(i, _)| weights[i] != 0.0)
        .map(row)
        .sum()
}

/// The gradient of `f` at `x` by central differences.
pub fn gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    let mut at = x.to_vec();
    let mut slope = |i: usize| {
        at[i] = x[i] + step;
        let above = f(&at);
        at[i] = x[i] - step;
        let below = f(&at);
        at[i] = x[i];
        (above - below) / (2.0 * step)
    };
    (0..x.len()).map(&mut slope).collect()
}

/// One step of AdamW over parameters with their means of gradients and of squared gradients.
pub fn adamw(step: &AdamW, param: &mut [f64], grad: &[f64], m: &mut [f64], v: &mut [f64]) {
    let (beta1, beta2) = (wide(step.beta1), wide(step.beta2));
    let left = |beta: f64| 1.0 - beta.powf(step.step as f64);
    for i in 0..param.len() {
        let gradient = wide(step.gradient_scale) * grad[i];
        m[i] = beta1 * m[i] + (1.0 - beta1) * gradient;
        v[i] = beta2 * v[i] + (1.0 - beta2) * gradient * gradient;
        let (m_hat, v_hat) = (m[i] / left(beta1), v[i] / left(beta2));
        param[i] *= 1.0 - wide(step.lr) * wide(step.weight_decay);
        param[i] -= wide(step.lr) * m_hat / (v_hat.sqrt() + wide(step.eps));
    }
}

/// The gradient of an embedding table: each row of `dout` `[rows, dim]` added to the entry it came from.
pub fn embedding_backward(dout: &[f64], ids: &[u32], dim: usize, dtable: &mut [f64]) {
    for (dout, &id) in dout.chunks_exact(dim).zip(ids) {
        let entry = &mut dtable[id as usize * dim..][..dim];
        entry.iter_mut().zip(dout).for_each(|(sum, d)| *sum += d);
    }
}

/// The sum of each column of `x` `[rows, columns]`.
pub fn column_sums(x: &[f64], columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for row in x.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
}
