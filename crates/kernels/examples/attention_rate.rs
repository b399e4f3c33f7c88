//! Prints the time of attention, forward and backward, in the shapes of training and of decoding, and of the other
//! operations of a training step. With any argument, attention in the first of these shapes only, for a profiler.

#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::time::Instant;

use kernels::attention::{AttentionShape, attention_backward, attention_forward};

fn best_ms(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    let mut runs = 0;
    while runs < 5 || begin.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        runs += 1;
    }
    best
}

fn values(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5)
        .collect()
}

fn main() {
    println!(
        "instruction set {:?}, {} threads",
        kernels::isa::isa(),
        kernels::pool::threads()
    );
    let first_only = std::env::args().len() > 1;
    let shapes = if first_only { 1 } else { usize::MAX };
    for (batch, q_len, k_len, heads, kv_heads, head_dim) in [
        (16, 256, 256, 6, 6, 64),
        (16, 256, 256, 12, 12, 32),
        (8, 512, 512, 9, 3, 64),
        (1, 2048, 2048, 9, 3, 64),
        (1, 1, 2048, 9, 3, 64),
        (16, 1, 1024, 9, 3, 64),
    ]
    .into_iter()
    .take(shapes)
    {
        let shape = AttentionShape {
            batch,
            q_len,
            k_len,
            heads,
            kv_heads,
            head_dim,
        };
        let (q, k) = (
            values(batch * q_len * heads * head_dim),
            values(batch * k_len * kv_heads * head_dim),
        );
        let ranges: Vec<[u32; 2]> = (0..batch * q_len)
            .map(|i| [0, (k_len - q_len + i % q_len + 1) as u32])
            .collect();
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; batch * heads * q_len]);
        let forward =
            best_ms(|| attention_forward(&shape, &q, &k, &k, &ranges, 0.125, &mut out, &mut lse));
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; k.len()]);
        let backward = best_ms(|| {
            attention_backward(
                &shape, &q, &k, &k, &out, &q, &lse, &ranges, 0.125, &mut dq, &mut dk, &mut dv,
            );
        });
        let pairs: f64 = ranges.iter().map(|r| f64::from(r[1] - r[0])).sum::<f64>()
            * (heads * head_dim) as f64
            * 2e-6;
        println!(
            "attention {shape:?}: forward {forward:.3} ms ({:.0} GFLOP/s), backward {backward:.3} ms ({:.0} GFLOP/s)",
            2.0 * pairs / forward,
            5.0 * pairs / backward
        );
    }
    if !first_only {
        others();
    }
}

fn others() {
    let (rows, dim, wide) = (4096, 384, 1536);
    let (x, w, g) = (values(rows * dim), values(dim), values(rows * wide));
    let (mut out, mut inv, mut dx, mut dw) = (
        vec![0.0; x.len()],
        vec![0.0; rows],
        vec![0.0; x.len()],
        vec![0.0; dim],
    );
    let ms = best_ms(|| kernels::norm::rms_norm_forward(&x, &w, 1e-5, &mut out, &mut inv));
    println!("rms_norm forward {rows}×{dim}: {ms:.3} ms");
    let ms = best_ms(|| kernels::norm::rms_norm_backward(&out, &x, &w, &inv, &mut dx, &mut dw));
    println!("rms_norm backward {rows}×{dim}: {ms:.3} ms");
    let (mut a, mut b) = (vec![0.0; g.len()], vec![0.0; g.len()]);
    let ms = best_ms(|| kernels::activation::gelu_forward(&g, &mut a));
    println!("gelu forward {rows}×{wide}: {ms:.3} ms");
    let ms = best_ms(|| kernels::activation::gelu_backward(&g, &g, &mut a));
    println!("gelu backward {rows}×{wide}: {ms:.3} ms");
    let ms = best_ms(|| kernels::activation::swiglu_forward(&g, &g, &mut a));
    println!("swiglu forward {rows}×{wide}: {ms:.3} ms");
    let ms = best_ms(|| kernels::activation::swiglu_backward(&g, &g, &g, &mut a, &mut b));
    println!("swiglu backward {rows}×{wide}: {ms:.3} ms");
    let positions: Vec<u32> = (0..rows as u32).map(|i| i % 256).collect();
    let rotary = kernels::rope::Rotary::new(1e4, 64);
    let ms = best_ms(|| kernels::rope::rope(&x, &positions, 6, 64, &rotary, false, &mut dx));
    println!("rope {rows}×6×64: {ms:.3} ms");
    let n = 14_000_000;
    let (mut p, grad, mut m, mut v) = (values(n), values(n), vec![0.0; n], vec![0.0; n]);
    let step = kernels::optimizer::AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 1,
        gradient_scale: 1.0,
    };
    let ms = best_ms(|| kernels::optimizer::adamw_step(&step, &mut p, &grad, &mut m, &mut v));
    println!("adamw 14 M: {ms:.3} ms");
    let ms = best_ms(|| {
        std::hint::black_box(kernels::optimizer::sum_of_squares(&grad));
    });
    println!("sum of squares 14 M: {ms:.3} ms");
    let vocab = 4096;
    let (weight, weights) = (values(vocab * dim), vec![1.0 / rows as f32; rows]);
    let targets: Vec<u32> = (0..rows as u32).map(|i| i * 31 % vocab as u32).collect();
    let (mut dweight, mut losses) = (vec![0.0; weight.len()], vec![0.0; rows]);
    for precision in [
        kernels::gemm::Precision::F32,
        kernels::gemm::Precision::Bf16,
    ] {
        let ms = best_ms(|| {
            kernels::loss::lm_loss_forward_backward(
                precision,
                &x,
                &weight,
                &targets,
                &weights,
                0.0,
                &mut dx,
                Some(&mut dweight),
                &mut losses,
            );
        });
        println!("lm_loss {rows}×{dim}, vocabulary {vocab}, {precision:?}: {ms:.3} ms");
    }
}
