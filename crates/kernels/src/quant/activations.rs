//! The left operand, rounded to eight bits in groups.

use super::GROUP;
use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::{Disjoint, parallel_for};

/// Rows handled by one task.
const ROWS_BY_TASK: usize = 8;

/// Rows of signed codes; a value is `scale · code`.
pub(super) struct Activations {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// `[rows, cols]`.
    pub(super) codes: Vec<i8>,
    /// `[rows, groups]`.
    pub(super) scales: Vec<f32>,
    /// Sums of the codes of each half of a group: `[rows, groups]`.
    pub(super) sums: Vec<[i32; 2]>,
}

impl Activations {
    /// Rounds each group of 32 values by its largest magnitude. NaN and infinities make their group NaN.
    pub(super) fn new(x: &[f32], cols: usize) -> Self {
        let rows = x.len() / cols;
        let groups = cols / GROUP;
        let mut made = Self {
            rows,
            cols,
            codes: vec![0; x.len()],
            scales: vec![0.0; rows * groups],
            sums: vec![[0; 2]; rows * groups],
        };
        let codes = Disjoint::new(&mut made.codes);
        let scales = Disjoint::new(&mut made.scales);
        let sums = Disjoint::new(&mut made.sums);
        parallel_for(rows.div_ceil(ROWS_BY_TASK), |task| {
            let first = task * ROWS_BY_TASK;
            let n = ROWS_BY_TASK.min(rows - first);
            // SAFETY: each task has its own rows.
            let (codes, scales, sums) = unsafe {
                (
                    codes.slice(first * cols, n * cols),
                    scales.slice(first * groups, n * groups),
                    sums.slice(first * groups, n * groups),
                )
            };
            round_groups(&x[first * cols..][..n * cols], codes, scales, sums);
        });
        made
    }
}

dispatch!(fn round_groups(x: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [[i32; 2]]) = round_groups_body);

#[inline(always)]
fn round_groups_body<V: Lanes>(
    x: &[f32],
    codes: &mut [i8],
    scales: &mut [f32],
    sums: &mut [[i32; 2]],
) {
    let groups = x.as_chunks::<GROUP>().0.iter();
    let codes = codes.as_chunks_mut::<GROUP>().0;
    for (((x, codes), scale), sums) in groups.zip(codes).zip(scales).zip(sums) {
        (*scale, *sums) = round::<V>(x, codes);
    }
}

/// Adding it to a number of small magnitude rounds that to the nearest integer, ties to even, into the low bits.
const ROUNDING: f32 = (3 << 22) as f32;

#[inline(always)]
fn round<V: Lanes>(x: &[f32; GROUP], codes: &mut [i8; GROUP]) -> (f32, [i32; 2]) {
    let zero = V::splat(0.0);
    let (mut largest, mut finite) = (zero, zero);
    for x in x.as_chunks::<LANES>().0 {
        let x = V::load(x);
        largest = x.abs().max(largest);
        finite = x.mul_add(zero, finite);
    }
    if finite.sum() != 0.0 {
        codes.fill(0);
        return (f32::NAN, [0; 2]);
    }
    let scale = largest.largest() / 127.0;
    // A group so small that its scale vanishes is zero.
    let inverse = if scale.is_normal() { 1.0 / scale } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUNDING).to_bits() as i8;
    }
    let sum = |half: &[i8]| half.iter().map(|&code| i32::from(code)).sum();
    (scale, [sum(&codes[..16]), sum(&codes[16..])])
}
