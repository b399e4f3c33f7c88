//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) in one pass over memory.

use crate::lanes::{LANES, Lanes, dispatch};
use crate::math::ELEMENTS_BY_TASK;
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for};

/// One step of AdamW: what holds for all of its elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub eps: f32,
    /// Share of the parameter taken off at each step, times the learning rate.
    pub weight_decay: f32,
    /// Number of this step, from 1.
    pub step: u64,
    /// Factor on every gradient before use (clipping, averaging).
    pub gradient_scale: f32,
}

/// The factors that the inner loop needs.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    beta1: f32,
    beta2: f32,
    keep: f32,
    rate: f32,
    root: f32,
    eps: f32,
}

/// Takes one step: updates `param` and the running means `m` and `v` (zeros before the first step).
///
/// # Panics
/// When the lengths differ, or `step` is 0.
pub fn adamw_step(step: &AdamW, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
    let len = param.len();
    assert!(
        grad.len() == len && m.len() == len && v.len() == len,
        "adamw_step: all slices must be equally long"
    );
    assert!(step.step > 0, "adamw_step: steps count from 1");
    let left = |beta: f32| 1.0 - f64::from(beta).powf(step.step as f64);
    let factors = Factors {
        gradient: step.gradient_scale,
        beta1: step.beta1,
        beta2: step.beta2,
        keep: 1.0 - step.lr * step.weight_decay,
        rate: (f64::from(step.lr) / left(step.beta1)) as f32,
        root: (1.0 / left(step.beta2).sqrt()) as f32,
        eps: step.eps,
    };
    let (m, v) = (Disjoint::new(m), Disjoint::new(v));
    parallel_chunks_mut(param, ELEMENTS_BY_TASK, |task, param| {
        let (start, len) = (task * ELEMENTS_BY_TASK, param.len());
        // SAFETY: parts of different tasks do not overlap.
        let (m, v) = unsafe { (m.slice(start, len), v.slice(start, len)) };
        adamw_part(factors, param, &grad[start..start + len], m, v);
    });
}

dispatch!(fn adamw_part(f: Factors, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) = adamw_body);

#[inline(always)]
fn adamw_body<V: Lanes>(f: Factors, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
    let (params, param) = param.as_chunks_mut::<LANES>();
    let (grads, grad) = grad.as_chunks::<LANES>();
    let ((ms, m), (vs, v)) = (m.as_chunks_mut::<LANES>(), v.as_chunks_mut::<LANES>());
    for ((param, grad), (m, v)) in params.iter_mut().zip(grads).zip(ms.iter_mut().zip(vs)) {
        let (p1, m1, v1) = update(f, V::load(param), V::load(grad), V::load(m), V::load(v));
        p1.store(param);
        m1.store(m);
        v1.store(v);
    }
    let tail = |part: &[f32]| V::load_part(part, 0.0);
    let (p1, m1, v1) = update(f, tail(param), tail(grad), tail(m), tail(v));
    p1.store_part(param);
    m1.store_part(m);
    v1.store_part(v);
}

#[inline(always)]
fn update<V: Lanes>(f: Factors, param: V, grad: V, m: V, v: V) -> (V, V, V) {
    let grad = grad.mul(V::splat(f.gradient));
    let m = m
        .mul(V::splat(f.beta1))
        .add(grad.mul(V::splat(1.0 - f.beta1)));
    let v = v
        .mul(V::splat(f.beta2))
        .add(grad.mul(grad).mul(V::splat(1.0 - f.beta2)));
    let size = v.sqrt().mul(V::splat(f.root)).add(V::splat(f.eps));
    let param = param
        .mul(V::splat(f.keep))
        .sub(m.mul(V::splat(f.rate)).div(size));
    (param, m, v)
}

/// Σ x², summed in f64 over fixed blocks and then in order, so that the result is the same for any number of threads.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let mut sums = vec![0.0; x.len().div_ceil(ELEMENTS_BY_TASK)];
    let parts = Disjoint::new(&mut sums);
    parallel_for(x.len().div_ceil(ELEMENTS_BY_TASK), |task| {
        let part = &x[task * ELEMENTS_BY_TASK..x.len().min((task + 1) * ELEMENTS_BY_TASK)];
        // SAFETY: each task has its own place.
        let sum = unsafe { parts.slice(task, 1) };
        sum[0] = squares_part(part);
    });
    sums.iter().sum()
}

dispatch!(fn squares_part(x: &[f32]) -> f64 = squares_body);

#[inline(always)]
fn squares_body<V: Lanes>(x: &[f32]) -> f64 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0_f64; LANES];
    for x in whole {
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    sums.iter().sum::<f64>()
        + rest
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
}
