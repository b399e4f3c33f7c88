//! The left operand, rounded to eight bits in groups.

use super::GROUP;
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
            let x = x[first * cols..][..n * cols].as_chunks::<GROUP>().0;
            let codes = codes.as_chunks_mut::<GROUP>().0;
            for (((x, codes), scale), sums) in x.iter().zip(codes).zip(scales).zip(sums) {
                (*scale, *sums) = round(x, codes);
            }
        });
        made
    }
}

fn round(x: &[f32; GROUP], codes: &mut [i8; GROUP]) -> (f32, [i32; 2]) {
    let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    if !x.iter().all(|x| x.is_finite()) {
        codes.fill(0);
        return (f32::NAN, [0; 2]);
    }
    let scale = largest / 127.0;
    // A group so small that its scale vanishes is zero.
    let inverse = if scale.is_normal() { 1.0 / scale } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse).round_ties_even() as i8;
    }
    let sum = |half: &[i8]| half.iter().map(|&code| i32::from(code)).sum();
    (scale, [sum(&codes[..16]), sum(&codes[16..])])
}
