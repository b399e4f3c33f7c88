use kernels::gemm::{Mat, Precision, matmul};
use kernels::reference;
use proptest::prelude::*;

use crate::{assert_close, bits, same_for_any_threads, values};

/// The nearest bf16, by dropping the lower half of the bits, ties to even.
fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// A matrix in one of four layouts: row-major, column-major, each plain or with gaps.
fn layout(kind: usize, rows: usize, cols: usize, data: &[f32]) -> Mat<'_> {
    match kind {
        0 => Mat {
            data,
            row_stride: cols,
            col_stride: 1,
        },
        1 => Mat {
            data,
            row_stride: 1,
            col_stride: rows,
        },
        2 => Mat {
            data,
            row_stride: cols + 3,
            col_stride: 1,
        },
        _ => Mat {
            data,
            row_stride: 2,
            col_stride: 2 * rows + 1,
        },
    }
}

fn space(rows: usize, cols: usize) -> usize {
    (rows + 1) * (2 * cols + 3) + (cols + 1) * (2 * rows + 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn agrees_with_the_plain_product(
        m in 1_usize..80, n in 1_usize..80, k in 0_usize..900,
        a_kind in 0_usize..4, b_kind in 0_usize..4, accumulate: bool, with_bias: bool, half: bool, seed: u64,
    ) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let (a_data, b_data) = (values(space(m, k), seed), values(space(k, n), seed ^ 1));
        let (a, b) = (layout(a_kind, m, k, &a_data), layout(b_kind, k, n, &b_data));
        let (mut c, bias) = (values(m * n, seed ^ 2), values(n, seed ^ 3));
        let round = |data: &[f32]| data.iter().map(|&x| if half { bf16(x) } else { x }).collect::<Vec<_>>();
        let (a_round, b_round) = (round(&a_data), round(&b_data));
        let (a_ref, b_ref) = (Mat { data: &a_round, ..a }, Mat { data: &b_round, ..b });
        let mut expected = reference::matmul(m, n, k, a_ref, b_ref);
        for (i, expected) in expected.iter_mut().enumerate() {
            *expected += if accumulate { f64::from(c[i]) } else { 0.0 } + if with_bias { f64::from(bias[i % n]) } else { 0.0 };
        }
        matmul(precision, m, n, k, a, b, &mut c, accumulate, with_bias.then_some(&bias[..]));
        assert_close(&c, &expected, 5e-5);
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_batch(
        m in 1_usize..130, n in 1_usize..70, k in 1_usize..900, row in 0_usize..130, b_kind in 0_usize..4, half: bool, seed: u64,
    ) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let row = row % m;
        let (a, b, bias) = (values(m * k, seed), values(space(k, n), seed ^ 1), values(n, seed ^ 2));
        let b = layout(b_kind, k, n, &b);
        let mut all = vec![0.0; m * n];
        matmul(precision, m, n, k, Mat::row_major(&a, k), b, &mut all, false, Some(&bias));
        let mut one = vec![0.0; n];
        matmul(precision, 1, n, k, Mat::row_major(&a[row * k..][..k], k), b, &mut one, false, Some(&bias));
        prop_assert_eq!(bits(&one), bits(&all[row * n..][..n]));
        // Nor do the other columns matter.
        let mut last = [0.0];
        matmul(precision, 1, 1, k, Mat::row_major(&a[row * k..][..k], k),
            Mat { data: &b.data[(n - 1) * b.col_stride..], ..b }, &mut last, false, Some(&bias[n - 1..]));
        prop_assert_eq!(last[0].to_bits(), one[n - 1].to_bits());
    }
}

#[test]
fn a_row_of_a_large_product_has_the_bits_of_a_small_one() {
    for precision in [Precision::F32, Precision::Bf16] {
        let (m, n, k) = (4096, 96, 1000);
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let b = Mat::row_major(&b, k).transposed();
        let mut all = vec![0.0; m * n];
        matmul(
            precision,
            m,
            n,
            k,
            Mat::row_major(&a, k),
            b,
            &mut all,
            false,
            None,
        );
        for rows in [1, 3, 8, 13, 47, 49, 200] {
            let first = 4096 - rows - 7;
            let mut some = vec![0.0; rows * n];
            matmul(
                precision,
                rows,
                n,
                k,
                Mat::row_major(&a[first * k..], k),
                b,
                &mut some,
                false,
                None,
            );
            assert!(
                bits(&some) == bits(&all[first * n..(first + rows) * n]),
                "{rows} rows, {precision:?}"
            );
        }
    }
}

#[test]
fn threads_do_not_matter() {
    for (m, n, k) in [(5, 300, 700), (300, 200, 900), (64, 64, 64)] {
        for precision in [Precision::F32, Precision::Bf16] {
            let (a, b) = (values(m * k, 3), values(k * n, 4));
            same_for_any_threads(|| {
                let mut c = vec![0.0; m * n];
                matmul(
                    precision,
                    m,
                    n,
                    k,
                    Mat::row_major(&a, k),
                    Mat::row_major(&b, n),
                    &mut c,
                    false,
                    None,
                );
                bits(&c)
            });
        }
    }
}

#[test]
fn nan_and_infinity_reach_their_row_or_column_and_no_other() {
    for precision in [Precision::F32, Precision::Bf16] {
        for m in [3, 60] {
            let (n, k) = (37, 45);
            let (mut a, mut b) = (values(m * k, 5), values(k * n, 6));
            a[2 * k + 7] = f32::NAN;
            a[k + 3] = f32::INFINITY;
            b[44 * n + 36] = f32::NAN;
            let mut c = vec![0.0; m * n];
            matmul(
                precision,
                m,
                n,
                k,
                Mat::row_major(&a, k),
                Mat::row_major(&b, n),
                &mut c,
                false,
                None,
            );
            for (i, c) in c.iter().enumerate() {
                let (row, col) = (i / n, i % n);
                assert_eq!(
                    c.is_nan(),
                    row == 2 || col == 36,
                    "({row}, {col}) = {c}, {precision:?}"
                );
                assert_eq!(
                    c.is_infinite(),
                    row == 1 && col != 36,
                    "({row}, {col}) = {c}, {precision:?}"
                );
            }
        }
    }
}

#[test]
#[should_panic(expected = "needs 16 values, got 15")]
fn a_view_past_its_data_is_refused() {
    let mut c = [0.0; 16];
    let a = [0.0; 15];
    matmul(
        Precision::F32,
        4,
        4,
        4,
        Mat::row_major(&a, 4),
        Mat::row_major(&a, 4),
        &mut c,
        false,
        None,
    );
}
