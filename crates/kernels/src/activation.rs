//! SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020) and GELU in its tanh form (Hendrycks and Gimpel, 2016).

use crate::lanes::{LANES, Lanes, dispatch};
use crate::math::{ELEMENTS_BY_TASK, parallel_parts, sigmoid, tanh};
use crate::pool::parallel_chunks_mut;

/// `out = silu(gate) · up`, elementwise, with silu(x) = x / (1 + e^−x).
///
/// # Panics
/// When the lengths differ.
pub fn swiglu_forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(
        gate.len() == up.len() && up.len() == out.len(),
        "swiglu_forward: all slices must be equally long"
    );
    parallel_chunks_mut(out, ELEMENTS_BY_TASK, |i, out| {
        let part = i * ELEMENTS_BY_TASK..i * ELEMENTS_BY_TASK + out.len();
        swiglu_part(&gate[part.clone()], &up[part], out);
    });
}

dispatch!(fn swiglu_part(gate: &[f32], up: &[f32], out: &mut [f32]) = swiglu_body);

#[inline(always)]
fn swiglu_body<V: Lanes>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let ((gates, gate), (ups, up)) = (gate.as_chunks::<LANES>(), up.as_chunks::<LANES>());
    let (outs, out) = out.as_chunks_mut::<LANES>();
    for ((gate, up), out) in gates.iter().zip(ups).zip(outs) {
        swiglu(V::load(gate), V::load(up)).store(out);
    }
    swiglu(V::load_part(gate, 0.0), V::load_part(up, 0.0)).store_part(out);
}

#[inline(always)]
fn swiglu<V: Lanes>(gate: V, up: V) -> V {
    gate.mul(sigmoid(gate)).mul(up)
}

/// The gradients of [`swiglu_forward`]: `dgate = dy · up · silu′(gate)`, `dup = dy · silu(gate)`.
///
/// # Panics
/// When the lengths differ.
pub fn swiglu_backward(dy: &[f32], gate: &[f32], up: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    let n = dy.len();
    let fits = gate.len() == n && up.len() == n && dgate.len() == n && dup.len() == n;
    assert!(fits, "swiglu_backward: all slices must be equally long");
    parallel_parts(dgate, dup, |start, dgate, dup| {
        let part = start..start + dgate.len();
        swiglu_backward_part(
            &dy[part.clone()],
            &gate[part.clone()],
            &up[part],
            dgate,
            dup,
        );
    });
}

dispatch!(
    fn swiglu_backward_part(dy: &[f32], gate: &[f32], up: &[f32], dgate: &mut [f32], dup: &mut [f32])
        = swiglu_backward_body
);

#[inline(always)]
fn swiglu_backward_body<V: Lanes>(
    dy: &[f32],
    gate: &[f32],
    up: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) {
    let ((dys, dy), (gates, gate), (ups, up)) = (
        dy.as_chunks::<LANES>(),
        gate.as_chunks::<LANES>(),
        up.as_chunks::<LANES>(),
    );
    let ((dgates, dgate), (dups, dup)) =
        (dgate.as_chunks_mut::<LANES>(), dup.as_chunks_mut::<LANES>());
    for ((((dy, gate), up), dgate), dup) in dys.iter().zip(gates).zip(ups).zip(dgates).zip(dups) {
        let (a, b) = swiglu_gradient(V::load(dy), V::load(gate), V::load(up));
        a.store(dgate);
        b.store(dup);
    }
    let (a, b) = swiglu_gradient(
        V::load_part(dy, 0.0),
        V::load_part(gate, 0.0),
        V::load_part(up, 0.0),
    );
    a.store_part(dgate);
    b.store_part(dup);
}

#[inline(always)]
fn swiglu_gradient<V: Lanes>(dy: V, gate: V, up: V) -> (V, V) {
    let one = V::splat(1.0);
    let s = sigmoid(gate);
    let silu = gate.mul(s);
    // silu′ = s + silu · (1 − s)
    let slope = silu.mul_add(one.sub(s), s);
    (dy.mul(up).mul(slope), dy.mul(silu))
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `out = x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`, elementwise.
///
/// # Panics
/// When the lengths differ.
pub fn gelu_forward(x: &[f32], out: &mut [f32]) {
    assert_eq!(
        x.len(),
        out.len(),
        "gelu_forward: x and out must be equally long"
    );
    parallel_chunks_mut(out, ELEMENTS_BY_TASK, |i, out| {
        let start = i * ELEMENTS_BY_TASK;
        gelu_part(&x[start..start + out.len()], out);
    });
}

dispatch!(fn gelu_part(x: &[f32], out: &mut [f32]) = gelu_body);

#[inline(always)]
fn gelu_body<V: Lanes>(x: &[f32], out: &mut [f32]) {
    let (xs, x) = x.as_chunks::<LANES>();
    let (outs, out) = out.as_chunks_mut::<LANES>();
    for (x, out) in xs.iter().zip(outs) {
        gelu(V::load(x)).store(out);
    }
    gelu(V::load_part(x, 0.0)).store_part(out);
}

#[inline(always)]
fn gelu_tanh<V: Lanes>(x: V) -> V {
    let cubic = x.mul(x).mul_add(V::splat(CUBIC), V::splat(1.0));
    tanh(x.mul(V::splat(SQRT_2_OVER_PI)).mul(cubic))
}

#[inline(always)]
fn gelu<V: Lanes>(x: V) -> V {
    let half = x.mul(V::splat(0.5));
    // The zero of 1 + tanh meets −∞ only at x = −∞, whose limit is 0: a finite factor keeps it from being NaN.
    let factor = V::splat(-1e30).max(half);
    factor.mul(V::splat(1.0).add(gelu_tanh(x)))
}

/// The gradient of [`gelu_forward`]: `dx = dy · gelu′(x)`.
///
/// # Panics
/// When the lengths differ.
pub fn gelu_backward(dy: &[f32], x: &[f32], dx: &mut [f32]) {
    assert!(
        dy.len() == x.len() && x.len() == dx.len(),
        "gelu_backward: all slices must be equally long"
    );
    parallel_chunks_mut(dx, ELEMENTS_BY_TASK, |i, dx| {
        let part = i * ELEMENTS_BY_TASK..i * ELEMENTS_BY_TASK + dx.len();
        gelu_backward_part(&dy[part.clone()], &x[part], dx);
    });
}

dispatch!(fn gelu_backward_part(dy: &[f32], x: &[f32], dx: &mut [f32]) = gelu_backward_body);

#[inline(always)]
fn gelu_backward_body<V: Lanes>(dy: &[f32], x: &[f32], dx: &mut [f32]) {
    let ((dys, dy), (xs, x)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let (dxs, dx) = dx.as_chunks_mut::<LANES>();
    for ((dy, x), dx) in dys.iter().zip(xs).zip(dxs) {
        gelu_gradient(V::load(dy), V::load(x)).store(dx);
    }
    gelu_gradient(V::load_part(dy, 0.0), V::load_part(x, 0.0)).store_part(dx);
}

#[inline(always)]
fn gelu_gradient<V: Lanes>(dy: V, x: V) -> V {
    let one = V::splat(1.0);
    let half = V::splat(0.5);
    // Beyond ±30 the slope is 0 or 1 and the powers below would only overflow.
    let x = V::splat(30.0).min(V::splat(-30.0).max(x));
    let t = gelu_tanh(x);
    let inner = x
        .mul(x)
        .mul_add(V::splat(3.0 * CUBIC), one)
        .mul(V::splat(SQRT_2_OVER_PI));
    // half (1 + t) + half · x · (1 − t²) · inner
    let bell = t.mul(t).mul_add(V::splat(-1.0), one).mul(x).mul(inner);
    dy.mul(half.mul(one.add(t).add(bell)))
}
