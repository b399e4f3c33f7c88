//! Sums of equally long slices.

use crate::lanes::{LANES, Lanes, dispatch};
use crate::math::ELEMENTS_BY_TASK;
use crate::pool::parallel_chunks_mut;

/// `out = a + b`.
///
/// # Panics
/// When the lengths differ.
pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    assert!(
        a.len() == b.len() && b.len() == out.len(),
        "add: all slices must be equally long"
    );
    parallel_chunks_mut(out, ELEMENTS_BY_TASK, |i, out| {
        let part = i * ELEMENTS_BY_TASK..i * ELEMENTS_BY_TASK + out.len();
        add_part(&a[part.clone()], &b[part], out);
    });
}

dispatch!(fn add_part(a: &[f32], b: &[f32], out: &mut [f32]) = add_body);

#[inline(always)]
fn add_body<V: Lanes>(a: &[f32], b: &[f32], out: &mut [f32]) {
    let ((many_a, a), (many_b, b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let (outs, out) = out.as_chunks_mut::<LANES>();
    for ((a, b), out) in many_a.iter().zip(many_b).zip(outs) {
        V::load(a).add(V::load(b)).store(out);
    }
    V::load_part(a, 0.0)
        .add(V::load_part(b, 0.0))
        .store_part(out);
}

/// `sum += x` for each of the others, in their order.
///
/// # Panics
/// When the lengths differ.
pub fn add_all(sum: &mut [f32], others: &[&[f32]]) {
    assert!(
        others.iter().all(|x| x.len() == sum.len()),
        "add_all: all slices must be equally long"
    );
    parallel_chunks_mut(sum, ELEMENTS_BY_TASK, |i, sum| {
        for x in others {
            add_to_part(sum, &x[i * ELEMENTS_BY_TASK..][..sum.len()]);
        }
    });
}

dispatch!(fn add_to_part(sum: &mut [f32], x: &[f32]) = add_to_body);

#[inline(always)]
fn add_to_body<V: Lanes>(sum: &mut [f32], x: &[f32]) {
    let (sums, sum) = sum.as_chunks_mut::<LANES>();
    let (xs, x) = x.as_chunks::<LANES>();
    for (sum, x) in sums.iter_mut().zip(xs) {
        V::load(sum).add(V::load(x)).store(sum);
    }
    V::load_part(sum, 0.0)
        .add(V::load_part(x, 0.0))
        .store_part(sum);
}
