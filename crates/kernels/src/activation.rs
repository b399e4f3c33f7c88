//! SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020) and GELU (Hendrycks and Gimpel, 2016) in its tanh form and
//! in the exact one.

use crate::lanes::{LANES, Lanes, dispatch};
use crate::math::{ELEMENTS_BY_TASK, exp, parallel_parts, sigmoid, tanh};
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

/// `out = x · Φ(x)` with the normal distribution's Φ(x) = (1 + erf(x / √2)) / 2, elementwise.
///
/// # Panics
/// When the lengths differ.
pub fn erf_gelu_forward(x: &[f32], out: &mut [f32]) {
    assert_eq!(
        x.len(),
        out.len(),
        "erf_gelu_forward: x and out must be equally long"
    );
    parallel_chunks_mut(out, ELEMENTS_BY_TASK, |i, out| {
        let start = i * ELEMENTS_BY_TASK;
        erf_gelu_part(&x[start..start + out.len()], out);
    });
}

dispatch!(fn erf_gelu_part(x: &[f32], out: &mut [f32]) = erf_gelu_body);

#[inline(always)]
fn erf_gelu_body<V: Lanes>(x: &[f32], out: &mut [f32]) {
    let (xs, x) = x.as_chunks::<LANES>();
    let (outs, out) = out.as_chunks_mut::<LANES>();
    for (x, out) in xs.iter().zip(outs) {
        erf_gelu(V::load(x)).store(out);
    }
    erf_gelu(V::load_part(x, 0.0)).store_part(out);
}

/// Beyond this Φ(−x) is 0 in f32; NaN passes through.
#[inline(always)]
fn size<V: Lanes>(x: V) -> V {
    V::splat(15.0).min(x.abs())
}

/// (Φ(−size), e^(−size²/2)) for 0 ≤ size ≤ 15.
///
/// Φ(−x) · e^(x²/2) falls smoothly from 1/2 to 1/(√(2π) x): t · p(t) with t = 1 / (1 + 0.35 x) and the polynomial p,
/// fitted here by reweighted least squares, meets it within 3.2e-8 of itself.
#[inline(always)]
fn normal_tail<V: Lanes>(size: V) -> (V, V) {
    let bell = exp(size.mul(size).mul(V::splat(-0.5)));
    let one = V::splat(1.0);
    let t = one.div(size.mul_add(V::splat(0.35), one));
    let mut p = V::splat(-0.029_164_145);
    for coefficient in [
        0.144_061_86,
        -0.255_904_05,
        0.159_395_38,
        -0.023_265_513,
        0.105_575_5,
        0.119_815_33,
        0.139_864_36,
        0.139_621_26,
    ] {
        p = p.mul_add(t, V::splat(coefficient));
    }
    (p.mul(t).mul(bell), bell)
}

#[inline(always)]
fn erf_gelu<V: Lanes>(x: V) -> V {
    // x · Φ(x) is x − x · Φ(−x) on the right and −|x| · Φ(−|x|) on the left: nothing cancels.
    let size = size(x);
    let (tail, _) = normal_tail(size);
    x.max(V::splat(0.0)).sub(size.mul(tail))
}

/// The gradient of [`erf_gelu_forward`]: `dx = dy · (Φ(x) + x · φ(x))` with the normal density φ.
///
/// # Panics
/// When the lengths differ.
pub fn erf_gelu_backward(dy: &[f32], x: &[f32], dx: &mut [f32]) {
    assert!(
        dy.len() == x.len() && x.len() == dx.len(),
        "erf_gelu_backward: all slices must be equally long"
    );
    parallel_chunks_mut(dx, ELEMENTS_BY_TASK, |i, dx| {
        let part = i * ELEMENTS_BY_TASK..i * ELEMENTS_BY_TASK + dx.len();
        erf_gelu_backward_part(&dy[part.clone()], &x[part], dx);
    });
}

dispatch!(
    fn erf_gelu_backward_part(dy: &[f32], x: &[f32], dx: &mut [f32]) = erf_gelu_backward_body
);

#[inline(always)]
fn erf_gelu_backward_body<V: Lanes>(dy: &[f32], x: &[f32], dx: &mut [f32]) {
    let ((dys, dy), (xs, x)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let (dxs, dx) = dx.as_chunks_mut::<LANES>();
    for ((dy, x), dx) in dys.iter().zip(xs).zip(dxs) {
        erf_gelu_gradient(V::load(dy), V::load(x)).store(dx);
    }
    erf_gelu_gradient(V::load_part(dy, 0.0), V::load_part(x, 0.0)).store_part(dx);
}

#[inline(always)]
fn erf_gelu_gradient<V: Lanes>(dy: V, x: V) -> V {
    const ONE_OVER_SQRT_2_PI: f32 = 0.398_942_3;
    let size = size(x);
    let (tail, bell) = normal_tail(size);
    let half = V::splat(0.5);
    let below = half.sub(tail).with_sign_of(x).add(half);
    let density = bell.mul(V::splat(ONE_OVER_SQRT_2_PI));
    dy.mul(size.with_sign_of(x).mul_add(density, below))
}
