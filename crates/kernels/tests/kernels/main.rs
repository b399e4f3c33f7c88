//! The kernels against their plain versions, and the properties that hold to the bit.

mod attention;
mod elementwise;
mod gemm;
mod head;
mod isas;
mod norms;
mod pool;
mod quant;

/// Reproducible values in −1..1.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Every element within `tolerance` of the expected, relative to 1 or to the expected where larger.
#[track_caller]
fn assert_close(got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(got) - expected).abs() / expected.abs().max(1.0);
        assert!(
            error <= tolerance,
            "element {i}: got {got}, expected {expected}, error {error:e}"
        );
    }
}

/// Runs `f` with one thread and with three, and asserts that the results are the same.
#[track_caller]
fn same_for_any_threads<T: PartialEq + std::fmt::Debug>(f: impl Fn() -> T) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    kernels::pool::set_threads(1);
    let alone = f();
    kernels::pool::set_threads(3);
    let together = f();
    kernels::pool::set_threads(2);
    assert!(
        alone == together,
        "results differ between one thread and three"
    );
}
