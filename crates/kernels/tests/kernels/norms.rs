use kernels::norm::{layer_norm_backward, layer_norm_forward, rms_norm_backward, rms_norm_forward};
use kernels::reference;
use proptest::prelude::*;

use crate::{assert_close, bits, same_for_any_threads, values, wide};

const EPS: f32 = 1e-5;

struct Case {
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    dy: Vec<f32>,
}

fn case(rows: usize, dim: usize, seed: u64) -> Case {
    let n = rows * dim;
    Case {
        x: values(n, seed),
        w: values(dim, seed ^ 1),
        b: values(dim, seed ^ 2),
        dy: values(n, seed ^ 3),
    }
}

/// Output, then gradients of x and of the weight.
fn rms(case: &Case) -> [Vec<f32>; 3] {
    let Case { x, w, dy, .. } = case;
    let (mut out, mut inv) = (vec![0.0; x.len()], vec![0.0; x.len() / w.len()]);
    rms_norm_forward(x, w, EPS, &mut out, &mut inv);
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![7.0; w.len()]);
    rms_norm_backward(dy, x, w, &inv, &mut dx, &mut dw);
    [out, dx, dw]
}

/// Output, then gradients of x, of the weight and of the bias.
fn layer(case: &Case) -> [Vec<f32>; 4] {
    let Case { x, w, b, dy } = case;
    let rows = x.len() / w.len();
    let (mut out, mut mean, mut inv) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
    layer_norm_forward(x, w, b, EPS, &mut out, &mut mean, &mut inv);
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![7.0; w.len()], vec![7.0; w.len()]);
    layer_norm_backward(dy, x, w, &mean, &inv, &mut dx, &mut dw, &mut db);
    [out, dx, dw, db]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn norms_agree_with_the_papers_and_their_gradients_with_differences(rows in 1_usize..5, dim in 2_usize..50, seed: u64) {
        let case = case(rows, dim, seed);
        let (x, w, b, dy) = (wide(&case.x), wide(&case.w), wide(&case.b), wide(&case.dy));
        let eps = f64::from(EPS);
        let [out, dx, dw] = rms(&case);
        assert_close(&out, &reference::rms_norm(&x, &w, eps), 1e-5);
        assert_close(&dx, &reference::gradient(&x, |x| dot(&dy, &reference::rms_norm(x, &w, eps))), 1e-4);
        assert_close(&dw, &reference::gradient(&w, |w| dot(&dy, &reference::rms_norm(&x, w, eps))), 1e-4);
        let [out, dx, dw, db] = layer(&case);
        // Two values close to each other have a variance as small as their rounding errors.
        let tolerance = if dim < 4 { 0.05 } else { 1e-3 };
        assert_close(&out, &reference::layer_norm(&x, &w, &b, eps), tolerance);
        assert_close(&dx, &reference::gradient(&x, |x| dot(&dy, &reference::layer_norm(x, &w, &b, eps))), tolerance);
        assert_close(&dw, &reference::gradient(&w, |w| dot(&dy, &reference::layer_norm(&x, w, &b, eps))), tolerance);
        assert_close(&db, &reference::gradient(&b, |b| dot(&dy, &reference::layer_norm(&x, &w, b, eps))), tolerance);
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_batch(rows in 1_usize..200, dim in 1_usize..50, row in 0_usize..200, seed: u64) {
        let all = case(rows, dim, seed);
        let row = row % rows;
        let part = row * dim..(row + 1) * dim;
        let one = Case { x: all.x[part.clone()].to_vec(), w: all.w.clone(), b: all.b.clone(), dy: all.dy[part.clone()].to_vec() };
        for (one, all) in rms(&one).iter().zip(rms(&all)).take(2) {
            prop_assert_eq!(bits(one), bits(&all[part.clone()]));
        }
        for (one, all) in layer(&one).iter().zip(layer(&all)).take(2) {
            prop_assert_eq!(bits(one), bits(&all[part.clone()]));
        }
    }
}

#[test]
fn threads_do_not_matter() {
    let case = case(700, 33, 5);
    same_for_any_threads(|| rms(&case).map(|x| bits(&x)));
    same_for_any_threads(|| layer(&case).map(|x| bits(&x)));
}
