//! Prints GFLOP/s of products in the shapes and transpositions of training, and of decoding.

#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::time::Instant;

use kernels::gemm::{Mat, Precision, matmul};

fn best_seconds(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    let mut runs = 0;
    while runs < 5 || begin.elapsed().as_secs_f64() < 0.2 {
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
    let values: Vec<f32> = (0..4096 * 4096)
        .map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5)
        .collect();
    println!(
        "{:>22} {:>12} {:>10} {:>10}",
        "m × n × k", "case", "f32", "bf16"
    );
    let shapes = [
        (4096, 1536, 384),
        (4096, 384, 1536),
        (384, 1536, 4096),
        (4096, 384, 384),
        (4096, 4096, 384),
    ];
    for (m, n, k) in shapes {
        for (case, a_transposed, b_transposed) in [
            ("x·Wᵀ", false, true),
            ("dy·W", false, false),
            ("dyᵀ·x", true, false),
            ("aᵀ·bᵀ", true, true),
        ] {
            let a = if a_transposed {
                Mat::row_major(&values, m).transposed()
            } else {
                Mat::row_major(&values, k)
            };
            let b = if b_transposed {
                Mat::row_major(&values, k).transposed()
            } else {
                Mat::row_major(&values, n)
            };
            let mut c = vec![0.0; m * n];
            let rates = [Precision::F32, Precision::Bf16].map(|precision| {
                let seconds =
                    best_seconds(|| matmul(precision, m, n, k, a, b, &mut c, false, None));
                2.0 * (m * n * k) as f64 / seconds / 1e9
            });
            println!(
                "{:>22} {case:>12} {:>10.0} {:>10.0}",
                format!("{m} × {n} × {k}"),
                rates[0],
                rates[1]
            );
        }
    }
    println!("few rows, x·Wᵀ: GB/s of W read as f32");
    for m in [1, 4, 8, 16, 32, 64] {
        let (n, k) = (4096, 4096);
        let mut c = vec![0.0; m * n];
        let (a, b) = (
            Mat::row_major(&values, k),
            Mat::row_major(&values, k).transposed(),
        );
        let rates = [Precision::F32, Precision::Bf16].map(|precision| {
            let seconds = best_seconds(|| matmul(precision, m, n, k, a, b, &mut c, false, None));
            (n * k * 4) as f64 / seconds / 1e9
        });
        println!(
            "{:>22} {:>12} {:>10.1} {:>10.1}",
            format!("{m} × {n} × {k}"),
            "x·Wᵀ",
            rates[0],
            rates[1]
        );
    }
}
