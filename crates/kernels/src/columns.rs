//! Sums down the columns of a matrix: the gradient of a bias.
//!
//! **Invariance.** Each sum is one chain over the rows in order, whatever the number of threads.

use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::parallel_chunks_mut;

/// Columns that one task adds up.
const COLUMNS_BY_TASK: usize = 4 * LANES;

/// `out[j] = Σ_i x[i, j]`, with `x` `[rows, out.len()]`.
///
/// # Panics
/// When `x` is no whole number of rows.
pub fn column_sums(x: &[f32], out: &mut [f32]) {
    let columns = out.len();
    if columns == 0 {
        return;
    }
    assert!(
        x.len().is_multiple_of(columns),
        "column_sums: {} values are no rows of {columns}",
        x.len()
    );
    parallel_chunks_mut(out, COLUMNS_BY_TASK, |task, out| {
        sums(x, columns, task * COLUMNS_BY_TASK, out);
    });
}

dispatch!(fn sums(x: &[f32], columns: usize, first: usize, out: &mut [f32]) = sums_body);

#[inline(always)]
fn sums_body<V: Lanes>(x: &[f32], columns: usize, first: usize, out: &mut [f32]) {
    let mut sums = [V::splat(0.0); COLUMNS_BY_TASK / LANES];
    for row in x.chunks_exact(columns) {
        let (whole, rest) = row[first..first + out.len()].as_chunks::<LANES>();
        for (sum, x) in sums.iter_mut().zip(whole) {
            *sum = sum.add(V::load(x));
        }
        if let Some(sum) = sums.get_mut(whole.len()).filter(|_| !rest.is_empty()) {
            *sum = sum.add(V::load_part(rest, 0.0));
        }
    }
    for (sum, out) in sums.iter().zip(out.chunks_mut(LANES)) {
        sum.store_part(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_chain_of_additions() {
        for (rows, columns) in [(0, 3), (1, 1), (5, 17), (33, 130), (7, 64)] {
            let x: Vec<f32> = (0..rows * columns)
                .map(|i| ((i * 7919) % 1013) as f32 / 17.0 - 30.0)
                .collect();
            let mut expected = vec![0.0_f32; columns];
            for row in x.chunks_exact(columns) {
                expected.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            let mut got = vec![f32::NAN; columns];
            column_sums(&x, &mut got);
            assert_eq!(got, expected, "{rows} × {columns}");
        }
    }
}
