//! Exponential, logistic function and hyperbolic tangent, sixteen at a time, to about 2 units in the last place.
//!
//! The exponential is e^x = 2^n · e^r with n = round(x / ln 2), |r| ≤ ln 2 / 2 (Cody and Waite's reduction in two
//! steps), and e^r − 1 by its Taylor series to r^7, whose remainder is below 6e-9.

use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::{Disjoint, parallel_for};

/// Elements given to one task by elementwise functions.
pub(crate) const ELEMENTS_BY_TASK: usize = 16 * 1024;

const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// For x within ±200: (n, e^r − 1).
#[inline(always)]
fn reduce<V: Lanes>(x: V) -> (V, V) {
    let n = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
    let r = n.mul_add(V::splat(-LN_2_HIGH), x);
    let r = n.mul_add(V::splat(-LN_2_LOW), r);
    let mut tail = V::splat(1.0 / 5040.0);
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        tail = tail.mul_add(r, V::splat(coefficient));
    }
    (n, r.mul(r).mul_add(tail, r))
}

/// e^x; 0 at −∞, ∞ from 88.73 on, exact at 0, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<V: Lanes>(x: V) -> V {
    // In this order of operands NaN passes through both.
    let x = V::splat(89.0).min(V::splat(-105.0).max(x));
    let (n, rest) = reduce(x);
    V::splat(1.0).add(rest).scale(n)
}

/// 1 / (1 + e^−x).
#[inline(always)]
pub(crate) fn sigmoid<V: Lanes>(x: V) -> V {
    let one = V::splat(1.0);
    one.div(one.add(exp(V::splat(0.0).sub(x))))
}

/// Hyperbolic tangent, as (e^2|x| − 1) / (e^2|x| + 1) with the sign of x.
#[inline(always)]
pub(crate) fn tanh<V: Lanes>(x: V) -> V {
    // From 10 on the result is 1; NaN passes through.
    let size = V::splat(10.0).min(x.abs());
    let (n, rest) = reduce(size.add(size));
    let power = V::splat(1.0).scale(n);
    let minus_one = rest.mul_add(power, power.sub(V::splat(1.0)));
    minus_one.div(minus_one.add(V::splat(2.0))).with_sign_of(x)
}

macro_rules! elementwise {
    ($(#[$meta:meta])* $name:ident, $body:ident, $lanes:ident) => {
        $(#[$meta])*
        ///
        /// # Panics
        /// When the lengths differ.
        pub fn $name(x: &[f32], out: &mut [f32]) {
            #[inline(always)]
            fn $body<V: Lanes>(x: &[f32], out: &mut [f32]) {
                let (xs, x_rest) = x.as_chunks::<LANES>();
                let (outs, out_rest) = out.as_chunks_mut::<LANES>();
                for (x, out) in xs.iter().zip(outs) {
                    $lanes(V::load(x)).store(out);
                }
                $lanes(V::load_part(x_rest, 0.0)).store_part(out_rest);
            }
            dispatch!(fn part(x: &[f32], out: &mut [f32]) = $body);
            assert_eq!(x.len(), out.len(), concat!(stringify!($name), ": x and out must be equally long"));
            crate::pool::parallel_chunks_mut(out, ELEMENTS_BY_TASK, |i, out| {
                let start = i * ELEMENTS_BY_TASK;
                part(&x[start..start + out.len()], out);
            });
        }
    };
}

elementwise!(
    /// e^x of every element.
    exp_slice, exp_body, exp
);
elementwise!(
    /// 1 / (1 + e^−x) of every element.
    sigmoid_slice, sigmoid_body, sigmoid
);
elementwise!(
    /// Hyperbolic tangent of every element.
    tanh_slice, tanh_body, tanh
);

/// Runs `f` on parts (start, a, b) of two equally long slices.
pub(crate) fn parallel_parts(
    a: &mut [f32],
    b: &mut [f32],
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let len = a.len();
    assert_eq!(len, b.len());
    let (a, b) = (Disjoint::new(a), Disjoint::new(b));
    parallel_for(len.div_ceil(ELEMENTS_BY_TASK), |task| {
        let start = task * ELEMENTS_BY_TASK;
        let part = ELEMENTS_BY_TASK.min(len - start);
        // SAFETY: parts of different tasks do not overlap.
        let (a, b) = unsafe { (a.slice(start, part), b.slice(start, part)) };
        f(start, a, b);
    });
}
