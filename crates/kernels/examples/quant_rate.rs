//! Prints how fast products with weights of few bits are: GB/s of weights for one row, GOP/s for many.

#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::time::Instant;

use kernels::quant::{Format, Weights, matmul};

fn best_seconds(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    let mut runs = 0;
    while runs < 5 || begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn main() {
    println!(
        "instruction set {:?}, {} threads",
        kernels::isa::isa(),
        kernels::pool::threads()
    );
    let (rows, cols) = (16_384, 2048);
    println!(
        "{:>6} {:>9} {:>14} {:>14} {:>14} {:>14}",
        "format", "bits", "1 row, GB/s", "4 rows, GB/s", "32 rows, GOP/s", "512 rows, GOP/s"
    );
    for format in Format::ALL {
        // All scales 1: what the weights are does not matter here.
        let count = rows * cols / format.weights();
        let mut blocks = vec![0x5a_u8; count * format.bytes()];
        for block in blocks.chunks_exact_mut(format.bytes()) {
            let at = if format == Format::Q6K { 208 } else { 0 };
            block[at..at + 2].copy_from_slice(&[0, 0x3c]);
        }
        let weights = Weights::new(format, rows, cols, &blocks);
        let rate = |m: usize| {
            let x: Vec<f32> = (0..m * cols).map(|i| (i % 17) as f32 - 8.0).collect();
            let mut out = vec![0.0; m * rows];
            best_seconds(|| matmul(&x, &weights, &mut out))
        };
        let bytes = weights.bytes() as f64;
        let operations = |m: usize| 2.0 * (m * rows * cols) as f64;
        println!(
            "{:>6} {:>9.2} {:>14.1} {:>14.1} {:>14.0} {:>14.0}",
            format!("{format:?}"),
            8.0 * bytes / (rows * cols) as f64,
            bytes / rate(1) / 1e9,
            bytes / rate(4) / 1e9,
            operations(32) / rate(32) / 1e9,
            operations(512) / rate(512) / 1e9,
        );
    }
}
