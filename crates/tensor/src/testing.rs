//! What the operations' tests share: random tensors, and values with gradients of both paths.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor};

use crate::flex::{from_vec, to_vec};

thread_local! {
    /// Where [`random`] puts its tensors; `None`: the CPU.
    static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
}

/// Where the portable paths run: the CPU, or the device that `ONTOGENY_TEST_DEVICE` names.
fn portable_device() -> Option<Device> {
    let name = std::env::var("ONTOGENY_TEST_DEVICE").ok()?;
    Some(crate::device::parse(&name).expect("ONTOGENY_TEST_DEVICE names a device of this build"))
}

/// Reproducible values in about [-1, 1] on the differentiable CPU device, or on the one where the
/// portable path is being computed.
pub(crate) fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let values = (0..shape.iter().product::<usize>())
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
        })
        .collect();
    let device = DEVICE.with_borrow(|d| d.clone().unwrap_or_else(Device::flex));
    from_vec(values, shape, &device.autodiff())
}

/// A fixed projection to a scalar, so that every output element has its own upstream gradient.
fn project<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    let weights = random(y.dims(), 99);
    (y * weights).sum()
}

/// `[value, gradient of x]` of `f`.
pub(crate) fn gradients1<const A: usize, const D: usize>(
    x: Tensor<A>,
    f: impl Fn(Tensor<A>) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let x = x.require_grad();
    let y = f(x.clone());
    let grads = project(y.clone()).backward();
    vec![to_vec(y), to_vec(x.grad(&grads).expect("x takes part"))]
}

/// `[value, gradient of a, gradient of b]` of `f`.
pub(crate) fn gradients2<const A: usize, const B: usize, const D: usize>(
    a: Tensor<A>,
    b: Tensor<B>,
    f: impl Fn(Tensor<A>, Tensor<B>) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let (a, b) = (a.require_grad(), b.require_grad());
    let y = f(a.clone(), b.clone());
    let grads = project(y.clone()).backward();
    vec![
        to_vec(y),
        to_vec(a.grad(&grads).expect("a takes part")),
        to_vec(b.grad(&grads).expect("b takes part")),
    ]
}

/// `[value, gradients of a, b, c]` of `f`.
pub(crate) fn gradients3<const A: usize, const D: usize>(
    [a, b, c]: [Tensor<A>; 3],
    f: impl Fn(Tensor<A>, Tensor<A>, Tensor<A>) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let (a, b, c) = (a.require_grad(), b.require_grad(), c.require_grad());
    let y = f(a.clone(), b.clone(), c.clone());
    let grads = project(y.clone()).backward();
    let mut found = vec![to_vec(y)];
    found.extend(
        [a, b, c]
            .into_iter()
            .map(|t| to_vec(t.grad(&grads).expect("all take part"))),
    );
    found
}

/// What the CPU path and the portable path give agrees within `tolerance`, relative to the largest
/// value of each tensor. A tensor of values near 0 counts as 0.01: a gradient that is exactly 0 in
/// one order of sums is rounding error (3e-8 was seen) in another.
pub(crate) fn agree(
    tolerance: f32,
    cpu: impl FnOnce() -> Vec<Vec<f32>>,
    portable: impl FnOnce() -> Vec<Vec<f32>>,
) {
    let got = cpu();
    DEVICE.set(portable_device());
    let expected = portable();
    DEVICE.set(None);
    assert_eq!(got.len(), expected.len());
    for (which, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_eq!(got.len(), expected.len(), "tensor {which}");
        let scale = expected.iter().fold(1e-2f32, |m, x| m.max(x.abs()));
        for (i, (g, e)) in got.iter().zip(expected).enumerate() {
            assert!(
                (g - e).abs() <= tolerance * scale,
                "tensor {which}, element {i}: got {g}, expected {e}"
            );
        }
    }
}
