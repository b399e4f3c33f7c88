use kernels::activation::{
    erf_gelu_backward, erf_gelu_forward, gelu_backward, gelu_forward, swiglu_backward,
    swiglu_forward,
};
use kernels::embedding::{embedding_backward, embedding_forward};
use kernels::math::{exp_slice, sigmoid_slice, tanh_slice};
use kernels::optimizer::{AdamW, adamw_step, sum_of_squares};
use kernels::reference;
use kernels::rope::{Rotary, rope};
use proptest::prelude::*;

use crate::{assert_close, bits, same_for_any_threads, values, wide};

fn apply(f: fn(&[f32], &mut [f32]), x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len()];
    f(x, &mut out);
    out
}

/// Largest relative error of `f` over a dense grid of `low..high`.
fn worst(f: fn(&[f32], &mut [f32]), exact: fn(f64) -> f64, low: f32, high: f32) -> f64 {
    let x: Vec<f32> = (0..200_003)
        .map(|i| low + (high - low) * i as f32 / 200_003.0)
        .collect();
    let errors = apply(f, &x).into_iter().zip(&x).map(|(got, &x)| {
        let expected = exact(f64::from(x));
        ((f64::from(got) - expected) / expected).abs()
    });
    errors.filter(|error| !error.is_nan()).fold(0.0, f64::max)
}

#[test]
fn functions_are_accurate_to_about_two_units_in_the_last_place() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    assert!(worst(exp_slice, f64::exp, -87.0, 88.7) < 2.5e-7);
    assert!(worst(sigmoid_slice, sigmoid, -80.0, 80.0) < 4e-7);
    assert!(worst(tanh_slice, f64::tanh, -12.0, 12.0) < 4e-7);
    assert!(worst(tanh_slice, f64::tanh, -1e-3, 1e-3) < 4e-7);
    assert!(worst(erf_gelu_forward, reference::erf_gelu, -2.0, 12.0) < 6e-7);
}

#[test]
fn functions_are_right_at_the_ends_and_at_zero() {
    let ends = [
        f32::NEG_INFINITY,
        -1e30,
        -0.0,
        0.0,
        1e30,
        f32::INFINITY,
        f32::NAN,
    ];
    assert_eq!(
        apply(exp_slice, &ends)[..6],
        [0.0, 0.0, 1.0, 1.0, f32::INFINITY, f32::INFINITY]
    );
    assert_eq!(
        apply(sigmoid_slice, &ends)[..6],
        [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]
    );
    assert_eq!(
        bits(&apply(tanh_slice, &ends)[..6]),
        bits(&[-1.0, -1.0, -0.0, 0.0, 1.0, 1.0])
    );
    let gelus = [gelu_forward, erf_gelu_forward];
    for f in [exp_slice, sigmoid_slice, tanh_slice, gelus[0], gelus[1]] {
        assert!(apply(f, &ends)[6].is_nan());
    }
    for gelu in gelus {
        assert_eq!(
            apply(gelu, &ends)[..6],
            [0.0, 0.0, 0.0, 0.0, 1e30, f32::INFINITY]
        );
    }
    // Near the end of the subnormal numbers, too.
    assert_close(
        &apply(exp_slice, &[-100.0, 88.72]),
        &[(-100.0_f64).exp(), f64::from(88.72_f32).exp()],
        1e-6,
    );
}

proptest! {
    #[test]
    fn activations_and_their_gradients(n in 0_usize..100, size in 0.1_f32..8.0, seed: u64) {
        let scaled = |seed| values(n, seed).iter().map(|x| x * size).collect::<Vec<f32>>();
        let (gate, up, dy) = (scaled(seed), scaled(seed ^ 1), values(n, seed ^ 2));
        let mut out = vec![0.0; n];
        swiglu_forward(&gate, &up, &mut out);
        let (gate64, up64, dy64) = (wide(&gate), wide(&up), wide(&dy));
        let each = |f: &dyn Fn(usize) -> f64| (0..n).map(f).collect::<Vec<_>>();
        assert_close(&out, &each(&|i| reference::swiglu(gate64[i], up64[i])), 1e-6);
        let (mut dgate, mut dup) = (vec![0.0; n], vec![0.0; n]);
        swiglu_backward(&dy, &gate, &up, &mut dgate, &mut dup);
        let slope = |f: &dyn Fn(f64) -> f64, x: f64| reference::gradient(&[x], |x| f(x[0]))[0];
        assert_close(&dgate, &each(&|i| dy64[i] * slope(&|x| reference::swiglu(x, up64[i]), gate64[i])), 1e-5);
        assert_close(&dup, &each(&|i| dy64[i] * reference::swiglu(gate64[i], 1.0)), 1e-5);
        gelu_forward(&gate, &mut out);
        assert_close(&out, &each(&|i| reference::gelu(gate64[i])), 1e-6);
        gelu_backward(&dy, &gate, &mut dup);
        assert_close(&dup, &each(&|i| dy64[i] * slope(&reference::gelu, gate64[i])), 1e-5);
        erf_gelu_forward(&gate, &mut out);
        assert_close(&out, &each(&|i| reference::erf_gelu(gate64[i])), 1e-6);
        erf_gelu_backward(&dy, &gate, &mut dup);
        assert_close(&dup, &each(&|i| dy64[i] * slope(&reference::erf_gelu, gate64[i])), 1e-5);
    }

    #[test]
    fn sums(n in 0_usize..40_000, seed: u64) {
        let [a, b, c] = [0, 1, 2].map(|i| values(n, seed ^ i));
        let mut sum = vec![0.0; n];
        kernels::add::add(&a, &b, &mut sum);
        prop_assert!((0..n).all(|i| sum[i] == a[i] + b[i]));
        kernels::add::add_all(&mut sum, &[&c, &a]);
        prop_assert!((0..n).all(|i| sum[i] == a[i] + b[i] + c[i] + a[i]));
    }

    #[test]
    fn rotation_and_its_inverse(
        rows in 1_usize..6, heads in 1_usize..4, half in 1_usize..40, still in 0_usize..20, seed: u64,
    ) {
        let head_dim = 2 * half + still;
        let rotary = Rotary::new(10_000.0, 2 * half);
        let x = values(rows * heads * head_dim, seed);
        let positions: Vec<u32> =
            (0..rows as u32).map(|i| if i == 3 { 3_000_000_000 } else { i * 37 + (seed % 500) as u32 }).collect();
        let (mut turned, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        rope(&x, &positions, heads, head_dim, &rotary, false, &mut turned);
        rope(&turned, &positions, heads, head_dim, &rotary, true, &mut back);
        let expected: Vec<f64> = wide(&x).chunks_exact(head_dim).enumerate()
            .flat_map(|(i, x)| {
                let mut y = reference::rope(&x[..2 * half], positions[i / heads], 10_000.0, false);
                y.extend(&x[2 * half..]);
                y
            })
            .collect();
        assert_close(&turned, &expected, 1e-6);
        assert_close(&back, &wide(&x), 1e-6);
    }

    #[test]
    fn embedding_takes_and_adds_rows(ids in prop::collection::vec(0_u32..20, 0..60), dim in 1_usize..40, seed: u64) {
        let (table, dout) = (values(20 * dim, seed), values(ids.len() * dim, seed ^ 1));
        let mut out = vec![0.0; ids.len() * dim];
        embedding_forward(&table, &ids, dim, &mut out);
        for (row, &id) in ids.iter().enumerate() {
            prop_assert_eq!(&out[row * dim..][..dim], &table[id as usize * dim..][..dim]);
        }
        let mut expected = vec![0.0; 20 * dim];
        reference::embedding_backward(&wide(&dout), &ids, dim, &mut expected);
        let mut dtable = vec![0.0; 20 * dim];
        embedding_backward(&dout, &ids, dim, &mut dtable);
        assert_close(&dtable, &expected, 1e-6);
    }

    #[test]
    fn adamw_follows_the_paper(n in 0_usize..70, step in 1_u64..1000, seed: u64) {
        let adamw = AdamW { lr: 0.01, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 };
        let (mut p, g, mut m) = (values(n, seed), values(n, seed ^ 1), values(n, seed ^ 2));
        let mut v: Vec<f32> = values(n, seed ^ 3).iter().map(|x| x * x).collect();
        let [mut expected, g64, mut m64, mut v64] = [wide(&p), wide(&g), wide(&m), wide(&v)];
        reference::adamw(&adamw, &mut expected, &g64, &mut m64, &mut v64);
        adamw_step(&adamw, &mut p, &g, &mut m, &mut v);
        assert_close(&p, &expected, 1e-4);
    }
}

#[test]
fn threads_do_not_matter() {
    let (x, y) = (values(100_003, 1), values(100_003, 2));
    same_for_any_threads(|| {
        let mut out = vec![0.0; x.len()];
        swiglu_forward(&x, &y, &mut out);
        (sum_of_squares(&x).to_bits(), bits(&out))
    });
    let expected: f64 = wide(&x).iter().map(|x| x * x).sum();
    assert!((sum_of_squares(&x) / expected - 1.0).abs() < 1e-12);
    let ids: Vec<u32> = (0..5000).map(|i| i * 7919 % 97).collect();
    same_for_any_threads(|| {
        let mut table = vec![0.0; 97 * 20];
        embedding_backward(&x[..100_000], &ids, 20, &mut table);
        bits(&table)
    });
}
