//! Root-mean-square norm (Zhang and Sennrich, 2019) and layer norm (Ba, Kiros and Hinton, 2016), forward and backward.
//!
//! A row's sums run over sixteen lanes and are then halved, whatever the number of rows. Gradients of weights are summed
//! over blocks of [`ROWS_BY_TASK`] rows, and the blocks' sums in order.

use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for};
use crate::scratch::scratch;

/// Rows whose contribution to the gradient of the weights is summed by one task.
const ROWS_BY_TASK: usize = 64;

/// One row's slices as (whole groups of lanes, rest).
type Split<'a> = (&'a [[f32; LANES]], &'a [f32]);

#[inline(always)]
fn sum_of_squares<V: Lanes>((whole, rest): Split<'_>, mean: f32) -> f32 {
    let mean = V::splat(mean);
    let mut sum = V::splat(0.0);
    for x in whole {
        let x = V::load(x).sub(mean);
        sum = x.mul_add(x, sum);
    }
    if !rest.is_empty() {
        // Padding with the mean adds nothing.
        let mut padded = [0.0; LANES];
        mean.store(&mut padded);
        let x = V::load_part(rest, padded[0]).sub(mean);
        sum = x.mul_add(x, sum);
    }
    sum.sum()
}

#[inline(always)]
fn sum<V: Lanes>((whole, rest): Split<'_>) -> f32 {
    let mut sum = V::splat(0.0);
    for x in whole {
        sum = sum.add(V::load(x));
    }
    sum.add(V::load_part(rest, 0.0)).sum()
}

fn rows_of(operation: &str, x: &[f32], dim: usize) -> usize {
    assert!(
        dim > 0 && x.len().is_multiple_of(dim),
        "{operation}: {} values are not rows of {dim}",
        x.len()
    );
    x.len() / dim
}

fn assert_len(operation: &str, name: &str, got: usize, expected: usize) {
    assert_eq!(got, expected, "{operation}: length of {name}");
}

/// `out = x / √(mean(x²) + eps) · weight` for each row; `x`, `out` are `[rows, dim]`, `weight` `[dim]`, and
/// `inv_rms` `[rows]` keeps 1 / √(mean(x²) + eps) for the backward pass.
///
/// # Panics
/// When the lengths do not fit each other.
pub fn rms_norm_forward(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32], inv_rms: &mut [f32]) {
    let dim = weight.len();
    let rows = rows_of("rms_norm_forward", x, dim);
    assert_len("rms_norm_forward", "out", out.len(), x.len());
    assert_len("rms_norm_forward", "inv_rms", inv_rms.len(), rows);
    let inv_rms = Disjoint::new(inv_rms);
    parallel_chunks_mut(out, ROWS_BY_TASK * dim, |task, out| {
        let start = task * ROWS_BY_TASK;
        let rows = out.len() / dim;
        // SAFETY: each task has its own rows.
        let inv_rms = unsafe { inv_rms.slice(start, rows) };
        rms_rows(
            &x[start * dim..(start + rows) * dim],
            weight,
            eps,
            out,
            inv_rms,
        );
    });
}

dispatch!(fn rms_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32], inv_rms: &mut [f32]) = rms_rows_body);

#[inline(always)]
fn rms_rows_body<V: Lanes>(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
    inv_rms: &mut [f32],
) {
    let dim = weight.len();
    let weight = weight.as_chunks::<LANES>();
    for ((x, out), inv_rms) in x
        .chunks_exact(dim)
        .zip(out.chunks_exact_mut(dim))
        .zip(inv_rms)
    {
        let x = x.as_chunks::<LANES>();
        *inv_rms = 1.0 / (sum_of_squares::<V>(x, 0.0) / dim as f32 + eps).sqrt();
        let factor = V::splat(*inv_rms);
        let (outs, out) = out.as_chunks_mut::<LANES>();
        for ((x, weight), out) in x.0.iter().zip(weight.0).zip(outs) {
            V::load(x).mul(factor).mul(V::load(weight)).store(out);
        }
        V::load_part(x.1, 0.0)
            .mul(factor)
            .mul(V::load_part(weight.1, 0.0))
            .store_part(out);
    }
}

/// The gradients of [`rms_norm_forward`]. `dweight` is overwritten.
///
/// # Panics
/// When the lengths do not fit each other.
pub fn rms_norm_backward(
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    inv_rms: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    let dim = weight.len();
    let rows = rows_of("rms_norm_backward", x, dim);
    assert_len("rms_norm_backward", "dy", dy.len(), x.len());
    assert_len("rms_norm_backward", "inv_rms", inv_rms.len(), rows);
    assert_len("rms_norm_backward", "dx", dx.len(), x.len());
    assert_len("rms_norm_backward", "dweight", dweight.len(), dim);
    let mut partial = scratch(rows.div_ceil(ROWS_BY_TASK) * dim);
    let partials = Disjoint::new(&mut partial);
    parallel_chunks_mut(dx, ROWS_BY_TASK * dim, |task, dx| {
        let start = task * ROWS_BY_TASK;
        let rows = start..start + dx.len() / dim;
        let values = start * dim..start * dim + dx.len();
        // SAFETY: each task has its own part.
        let partial = unsafe { partials.slice(task * dim, dim) };
        partial.fill(0.0);
        rms_backward_rows(
            &dy[values.clone()],
            &x[values],
            weight,
            &inv_rms[rows],
            dx,
            partial,
        );
    });
    add_partials(&partial, dweight);
}

dispatch!(
    fn rms_backward_rows(
        dy: &[f32],
        x: &[f32],
        weight: &[f32],
        inv_rms: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
    ) = rms_backward_body
);

#[inline(always)]
fn rms_backward_body<V: Lanes>(
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    inv_rms: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    let dim = weight.len();
    let (weights, weight) = weight.as_chunks::<LANES>();
    let (dweights, dweight) = dweight.as_chunks_mut::<LANES>();
    let rows = dy
        .chunks_exact(dim)
        .zip(x.chunks_exact(dim))
        .zip(dx.chunks_exact_mut(dim))
        .zip(inv_rms);
    for (((dy, x), dx), &inv_rms) in rows {
        let ((dys, dy), (xs, x)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
        let (dxs, dx) = dx.as_chunks_mut::<LANES>();
        let tail = |part: &[f32]| V::load_part(part, 0.0);
        let inv = V::splat(inv_rms);
        // With h = x·inv: dx = inv · (dy·w − h · mean(dy·w·h)), dw += dy·h.
        let mut dot = V::splat(0.0);
        for ((dy, x), (w, dw)) in dys
            .iter()
            .zip(xs)
            .zip(weights.iter().zip(dweights.iter_mut()))
        {
            let (dy, h) = (V::load(dy), V::load(x).mul(inv));
            dot = dy.mul(V::load(w)).mul_add(h, dot);
            dy.mul_add(h, V::load(dw)).store(dw);
        }
        let h = tail(x).mul(inv);
        dot = tail(dy).mul(tail(weight)).mul_add(h, dot);
        tail(dy).mul_add(h, tail(dweight)).store_part(dweight);
        let back = V::splat(-dot.sum() / dim as f32);
        for (((dy, x), w), dx) in dys.iter().zip(xs).zip(weights).zip(dxs) {
            let h = V::load(x).mul(inv);
            h.mul_add(back, V::load(dy).mul(V::load(w)))
                .mul(inv)
                .store(dx);
        }
        h.mul_add(back, tail(dy).mul(tail(weight)))
            .mul(inv)
            .store_part(dx);
    }
}

/// Adds the tasks' sums in order.
fn add_partials(partial: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for part in partial.chunks_exact(out.len()) {
        out.iter_mut()
            .zip(part)
            .for_each(|(out, part)| *out += part);
    }
}

/// `out = (x − mean(x)) / √(var(x) + eps) · weight + bias` for each row; `x`, `out` are `[rows, dim]`, `weight` and
/// `bias` `[dim]`; `mean` and `inv_std`, `[rows]` each, are kept for the backward pass.
///
/// # Panics
/// When the lengths do not fit each other.
pub fn layer_norm_forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
    mean: &mut [f32],
    inv_std: &mut [f32],
) {
    let dim = weight.len();
    let rows = rows_of("layer_norm_forward", x, dim);
    assert_len("layer_norm_forward", "bias", bias.len(), dim);
    assert_len("layer_norm_forward", "out", out.len(), x.len());
    assert_len("layer_norm_forward", "mean", mean.len(), rows);
    assert_len("layer_norm_forward", "inv_std", inv_std.len(), rows);
    let (mean, inv_std) = (Disjoint::new(mean), Disjoint::new(inv_std));
    parallel_chunks_mut(out, ROWS_BY_TASK * dim, |task, out| {
        let start = task * ROWS_BY_TASK;
        let rows = out.len() / dim;
        // SAFETY: each task has its own rows.
        let (mean, inv_std) = unsafe { (mean.slice(start, rows), inv_std.slice(start, rows)) };
        layer_rows(
            &x[start * dim..(start + rows) * dim],
            weight,
            bias,
            eps,
            out,
            mean,
            inv_std,
        );
    });
}

dispatch!(
    fn layer_rows(
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        out: &mut [f32],
        mean: &mut [f32],
        inv_std: &mut [f32],
    ) = layer_rows_body
);

#[inline(always)]
fn layer_rows_body<V: Lanes>(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
    mean: &mut [f32],
    inv_std: &mut [f32],
) {
    let dim = weight.len();
    let (weight, bias) = (weight.as_chunks::<LANES>(), bias.as_chunks::<LANES>());
    let rows = x
        .chunks_exact(dim)
        .zip(out.chunks_exact_mut(dim))
        .zip(mean.iter_mut().zip(inv_std));
    for ((x, out), (mean, inv_std)) in rows {
        let x = x.as_chunks::<LANES>();
        *mean = sum::<V>(x) / dim as f32;
        *inv_std = 1.0 / (sum_of_squares::<V>(x, *mean) / dim as f32 + eps).sqrt();
        let (centre, factor) = (V::splat(*mean), V::splat(*inv_std));
        let (outs, out) = out.as_chunks_mut::<LANES>();
        for (((x, weight), bias), out) in x.0.iter().zip(weight.0).zip(bias.0).zip(outs) {
            V::load(x)
                .sub(centre)
                .mul(factor)
                .mul_add(V::load(weight), V::load(bias))
                .store(out);
        }
        let tail = |part: &[f32]| V::load_part(part, 0.0);
        tail(x.1)
            .sub(centre)
            .mul(factor)
            .mul_add(tail(weight.1), tail(bias.1))
            .store_part(out);
    }
}

/// The gradients of [`layer_norm_forward`]. `dweight` and `dbias` are overwritten.
///
/// # Panics
/// When the lengths do not fit each other.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
pub fn layer_norm_backward(
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let dim = weight.len();
    let rows = rows_of("layer_norm_backward", x, dim);
    assert_len("layer_norm_backward", "dy", dy.len(), x.len());
    assert_len("layer_norm_backward", "mean", mean.len(), rows);
    assert_len("layer_norm_backward", "inv_std", inv_std.len(), rows);
    assert_len("layer_norm_backward", "dx", dx.len(), x.len());
    assert_len("layer_norm_backward", "dweight", dweight.len(), dim);
    assert_len("layer_norm_backward", "dbias", dbias.len(), dim);
    let tasks = rows.div_ceil(ROWS_BY_TASK);
    let (mut dweights, mut dbiases) = (scratch(tasks * dim), scratch(tasks * dim));
    {
        let (dweights, dbiases, dx) = (
            Disjoint::new(&mut dweights),
            Disjoint::new(&mut dbiases),
            Disjoint::new(dx),
        );
        parallel_for(tasks, |task| {
            let rows = task * ROWS_BY_TASK..rows.min((task + 1) * ROWS_BY_TASK);
            let values = rows.start * dim..rows.end * dim;
            // SAFETY: each task has its own parts.
            let (dx, dweight, dbias) = unsafe {
                let dx = dx.slice(values.start, values.len());
                (
                    dx,
                    dweights.slice(task * dim, dim),
                    dbiases.slice(task * dim, dim),
                )
            };
            dweight.fill(0.0);
            dbias.fill(0.0);
            let (mean, inv_std) = (&mean[rows.clone()], &inv_std[rows]);
            layer_backward_rows(
                &dy[values.clone()],
                &x[values],
                weight,
                mean,
                inv_std,
                dx,
                dweight,
                dbias,
            );
        });
    }
    add_partials(&dweights, dweight);
    add_partials(&dbiases, dbias);
}

dispatch!(
    #[expect(clippy::too_many_arguments, reason = "each is a tensor of the operation")]
    fn layer_backward_rows(
        dy: &[f32],
        x: &[f32],
        weight: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) = layer_backward_body
);

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
fn layer_backward_body<V: Lanes>(
    dy: &[f32],
    x: &[f32],
    weight: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let dim = weight.len();
    let (weights, weight) = weight.as_chunks::<LANES>();
    let (dweights, dweight) = dweight.as_chunks_mut::<LANES>();
    let (dbiases, dbias) = dbias.as_chunks_mut::<LANES>();
    let rows = dy
        .chunks_exact(dim)
        .zip(x.chunks_exact(dim))
        .zip(dx.chunks_exact_mut(dim))
        .zip(mean.iter().zip(inv_std));
    for (((dy, x), dx), (&mean, &inv_std)) in rows {
        let ((dys, dy), (xs, x)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
        let (dxs, dx) = dx.as_chunks_mut::<LANES>();
        let (inv, mean) = (V::splat(inv_std), V::splat(mean));
        // With h = (x − mean)·inv: dx = inv · (dy·w − mean(dy·w) − h · mean(dy·w·h)), dw += dy·h, db += dy.
        let (mut plain, mut dot) = (V::splat(0.0), V::splat(0.0));
        let parameters = weights
            .iter()
            .zip(dweights.iter_mut().zip(dbiases.iter_mut()));
        for ((dy, x), (w, (dw, db))) in dys.iter().zip(xs).zip(parameters) {
            let (dy, h) = (V::load(dy), V::load(x).sub(mean).mul(inv));
            let g = dy.mul(V::load(w));
            plain = plain.add(g);
            dot = g.mul_add(h, dot);
            dy.mul_add(h, V::load(dw)).store(dw);
            V::load(db).add(dy).store(db);
        }
        let tail = |part: &[f32]| V::load_part(part, 0.0);
        let (h, g) = (tail(x).sub(mean).mul(inv), tail(dy).mul(tail(weight)));
        plain = plain.add(g);
        dot = g.mul_add(h, dot);
        tail(dy).mul_add(h, tail(dweight)).store_part(dweight);
        tail(dbias).add(tail(dy)).store_part(dbias);
        let (shift, back) = (
            V::splat(plain.sum() / dim as f32),
            V::splat(-dot.sum() / dim as f32),
        );
        for (((dy, x), w), dx) in dys.iter().zip(xs).zip(weights).zip(dxs) {
            let h = V::load(x).sub(mean).mul(inv);
            h.mul_add(back, V::load(dy).mul(V::load(w)).sub(shift))
                .mul(inv)
                .store(dx);
        }
        h.mul_add(back, g.sub(shift)).mul(inv).store_part(dx);
    }
}
