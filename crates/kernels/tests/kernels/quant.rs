//! Products with weights of few bits against the weights as the file has them.

use half::f16;
use kernels::quant::{Format, Weights, dequantize, matmul};
use proptest::prelude::*;

use crate::{bits, same_for_any_threads, values};

/// Random blocks of `rows` by `cols` weights with scales of a usual size.
fn blocks(format: Format, rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    let count = rows * cols / format.weights();
    let random = values(count * (format.bytes() + 2), seed);
    let (bytes, scales) = random.split_at(count * format.bytes());
    let mut blocks: Vec<u8> = bytes.iter().map(|x| (x * 1e6) as i64 as u8).collect();
    let shared: &[usize] = match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q6K => &[208],
    };
    for (i, block) in blocks.chunks_exact_mut(format.bytes()).enumerate() {
        for (scale, &at) in scales[2 * i..].iter().zip(shared) {
            block[at..at + 2].copy_from_slice(&f16::from_f32(scale / 16.0).to_le_bytes());
        }
    }
    blocks
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(Format::ALL.to_vec())
}

#[test]
fn rows_are_those_of_the_file() {
    for format in Format::ALL {
        let (rows, cols) = (19, 512);
        let blocks = blocks(format, rows, cols, 1);
        let weights = Weights::new(format, rows, cols, &blocks);
        let mut expected = vec![0.0; rows * cols];
        dequantize(format, &blocks, &mut expected);
        // The groups' scales of these are products, which are rounded to f16.
        let rounded = matches!(format, Format::Q4K | Format::Q5K | Format::Q6K);
        for (row, expected) in expected.chunks_exact(cols).enumerate() {
            let mut got = vec![0.0; cols];
            weights.row(row, &mut got);
            let largest = expected.iter().fold(0.0_f32, |l, x| l.max(x.abs()));
            for (got, expected) in got.iter().zip(expected) {
                let tolerance = if rounded { 1e-3 * largest } else { 0.0 };
                assert!(
                    (got - expected).abs() <= tolerance,
                    "{format:?}, row {row}: {got} instead of {expected}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each value of x is off by half a step of its group at most.
    #[test]
    fn products_are_within_the_rounding_of_x(
        format in formats(), m in 1_usize..20, rows in 1_usize..70, blocks_by_row in 1_usize..4, seed: u64
    ) {
        let cols = blocks_by_row * format.weights();
        let blocks = blocks(format, rows, cols, seed);
        let x = values(m * cols, seed ^ 1);
        let weights = Weights::new(format, rows, cols, &blocks);
        let mut got = vec![0.0; m * rows];
        matmul(&x, &weights, &mut got);
        let mut row = vec![0.0; cols];
        for j in 0..rows {
            weights.row(j, &mut row);
            for (i, x) in x.chunks_exact(cols).enumerate() {
                let (mut exact, mut allowed) = (0.0_f64, 1e-4_f64);
                for (x, w) in x.chunks_exact(32).zip(row.chunks_exact(32)) {
                    let step = f64::from(x.iter().fold(0.0_f32, |l, x| l.max(x.abs()))) / 127.0;
                    for (x, w) in x.iter().zip(w) {
                        exact += f64::from(*x) * f64::from(*w);
                        allowed += (0.501 * step + 1e-6) * f64::from(w.abs());
                    }
                }
                let got = f64::from(got[i * rows + j]);
                prop_assert!((got - exact).abs() <= allowed, "{format:?} ({i}, {j}): {got} instead of {exact}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_batch(
        format in formats(), m in 2_usize..34, rows in 1_usize..50, at in 0_usize..34, seed: u64
    ) {
        let (cols, at) = (512, at % m);
        let weights = Weights::new(format, rows, cols, &blocks(format, rows, cols, seed));
        let x = values(m * cols, seed ^ 1);
        let (mut batch, mut alone) = (vec![0.0; m * rows], vec![0.0; rows]);
        matmul(&x, &weights, &mut batch);
        matmul(&x[at * cols..(at + 1) * cols], &weights, &mut alone);
        prop_assert_eq!(bits(&batch[at * rows..(at + 1) * rows]), bits(&alone));
    }
}

#[test]
fn threads_change_nothing() {
    for format in Format::ALL {
        let (rows, cols) = (200, 512);
        let blocks = blocks(format, rows, cols, 3);
        let x = values(9 * cols, 4);
        same_for_any_threads(|| {
            let mut out = vec![0.0; 9 * rows];
            matmul(&x, &Weights::new(format, rows, cols, &blocks), &mut out);
            bits(&out)
        });
    }
}

#[test]
fn what_is_not_finite_shows_in_its_row_alone() {
    let (rows, cols) = (5, 64);
    let weights = Weights::new(
        Format::Q4_0,
        rows,
        cols,
        &blocks(Format::Q4_0, rows, cols, 5),
    );
    let mut x = values(3 * cols, 6);
    x[cols + 40] = f32::NAN;
    x[2 * cols] = f32::INFINITY;
    let mut out = vec![0.0; 3 * rows];
    matmul(&x, &weights, &mut out);
    assert!(out[..rows].iter().all(|y| y.is_finite()));
    assert!(out[rows..].iter().all(|y| y.is_nan()));
}

/// The weights that Python's `gguf` package reads from the same blocks (`cargo xtask fixtures quants`).
#[test]
fn blocks_are_read_as_the_format_s_own_package_reads_them() {
    let fixture = std::fs::read("../../peers/fixtures/quants.bin").expect("a committed fixture");
    let mut rest = &fixture[..];
    for format in Format::ALL {
        let (blocks, after) = rest.split_at(2 * format.bytes());
        let (expected, after) = after.split_at(2 * format.weights() * 4);
        rest = after;
        let mut got = vec![0.0; 2 * format.weights()];
        dequantize(format, blocks, &mut got);
        for (i, (got, expected)) in got.iter().zip(expected.as_chunks::<4>().0).enumerate() {
            let expected = f32::from_le_bytes(*expected);
            assert!(
                (got - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "{format:?}, weight {i}: {got} instead of {expected}"
            );
        }
    }
    assert!(rest.is_empty());
}
