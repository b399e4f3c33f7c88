//! Every kernel beside its plain reference, on one thread: `cargo xtask bench` prints the ratios and compares them with
//! those stored.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kernels::attention::{
    AttentionShape, KvPages, PageSpan, attention_backward, attention_forward, attention_paged,
};
use kernels::gemm::{Mat, Precision, matmul};
use kernels::optimizer::{AdamW, adamw_step, sum_of_squares};
use kernels::quant::{Format, Weights};
use kernels::{activation, columns, embedding, loss, norm, reference, rope};

/// Pairs a kernel with its reference under one name.
fn pair(c: &mut Criterion, name: &str, mut kernel: impl FnMut(), mut plain: impl FnMut()) {
    let mut group = c.benchmark_group(name);
    group.bench_function("kernel", |b| b.iter(&mut kernel));
    group.bench_function("reference", |b| b.iter(&mut plain));
    group.finish();
}

fn values(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5)
        .collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn products(c: &mut Criterion) {
    let (m, n, k) = (128, 128, 256);
    let (x, w) = (values(m * k), values(n * k));
    let mut out = vec![0.0; m * n];
    for (case, a, b) in [
        (
            "x·Wᵀ",
            Mat::row_major(&x, k),
            Mat::row_major(&w, k).transposed(),
        ),
        ("dy·W", Mat::row_major(&x, k), Mat::row_major(&w, n)),
        (
            "dyᵀ·x",
            Mat::row_major(&x, m).transposed(),
            Mat::row_major(&w, n),
        ),
    ] {
        for (precision, name) in [(Precision::F32, "f32"), (Precision::Bf16, "bf16")] {
            pair(
                c,
                &format!("matmul {name} {case}"),
                || matmul(precision, m, n, k, a, b, &mut out, false, None),
                || drop(black_box(reference::matmul(m, n, k, a, b))),
            );
        }
    }
    let one = Mat::row_major(&x[..k], k);
    let weight = Mat::row_major(&w, k).transposed();
    let mut row = vec![0.0; n];
    pair(
        c,
        "matmul f32 one row",
        || matmul(Precision::F32, 1, n, k, one, weight, &mut row, false, None),
        || drop(black_box(reference::matmul(1, n, k, one, weight))),
    );
}

fn of_few_bits(c: &mut Criterion) {
    let (n, k) = (128, 256);
    for format in Format::ALL {
        let count = n * k / format.weights();
        let mut blocks = vec![0x5a_u8; count * format.bytes()];
        for block in blocks.chunks_exact_mut(format.bytes()) {
            let at = if format == Format::Q6K { 208 } else { 0 };
            block[at..at + 2].copy_from_slice(&[0, 0x3c]);
        }
        let weights = Weights::new(format, n, k, &blocks);
        let mut dense = vec![0.0; n * k];
        for (row, out) in dense.chunks_exact_mut(k).enumerate() {
            weights.row(row, out);
        }
        for m in [1, 64] {
            let x = values(m * k);
            let mut out = vec![0.0; m * n];
            let (a, b) = (
                Mat::row_major(&x, k),
                Mat::row_major(&dense, k).transposed(),
            );
            pair(
                c,
                &format!("matmul {format:?} {m} rows"),
                || kernels::quant::matmul(&x, &weights, &mut out),
                || drop(black_box(reference::matmul(m, n, k, a, b))),
            );
        }
    }
}

fn attentions(c: &mut Criterion) {
    const SCALE: f32 = 0.125;
    let shape = AttentionShape {
        batch: 1,
        q_len: 64,
        k_len: 64,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
    };
    let (q, k) = (values(64 * 4 * 64), values(64 * 2 * 64));
    let causal: Vec<[u32; 2]> = (1..=64).map(|end| [0, end]).collect();
    let (q64, k64) = (wide(&q), wide(&k));
    let plain = || {
        let scale = f64::from(SCALE);
        drop(black_box(reference::attention(
            &shape, &q64, &k64, &k64, &causal, scale,
        )));
    };
    let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; 4 * 64]);
    pair(
        c,
        "attention",
        || attention_forward(&shape, &q, &k, &k, &causal, SCALE, &mut out, &mut lse),
        plain,
    );
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; k.len()]);
    pair(
        c,
        "attention, gradients",
        || {
            attention_backward(
                &shape, &q, &k, &k, &out, &q, &lse, &causal, SCALE, &mut dq, &mut dk, &mut dv,
            );
        },
        plain,
    );
    let mut pages = KvPages::new(2, 64);
    let table = [0, 1];
    let span = |start, tokens| PageSpan {
        pages: &table,
        start,
        tokens,
    };
    pages.write(&[span(0, 64)], &k, &k);
    let one = AttentionShape { q_len: 1, ..shape };
    let (row, all) = (&q[..4 * 64], [[0, 64]]);
    let row64 = wide(row);
    let mut attended = vec![0.0; row.len()];
    pair(
        c,
        "attention from pages, one row",
        || attention_paged(&pages, &[span(63, 1)], 4, row, &all, SCALE, &mut attended),
        || {
            let scale = f64::from(SCALE);
            drop(black_box(reference::attention(
                &one, &row64, &k64, &k64, &all, scale,
            )));
        },
    );
}

fn norms(c: &mut Criterion) {
    let (rows, dim) = (256, 384);
    let (x, w) = (values(rows * dim), values(dim));
    let (x64, w64) = (wide(&x), wide(&w));
    let (mut out, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let (mut inv, mut mean) = (vec![0.0; rows], vec![0.0; rows]);
    let (mut dw, mut db) = (vec![0.0; dim], vec![0.0; dim]);
    let rms = || drop(black_box(reference::rms_norm(&x64, &w64, 1e-5)));
    pair(
        c,
        "rms_norm",
        || norm::rms_norm_forward(&x, &w, 1e-5, &mut out, &mut inv),
        rms,
    );
    pair(
        c,
        "rms_norm, gradients",
        || norm::rms_norm_backward(&x, &x, &w, &inv, &mut dx, &mut dw),
        rms,
    );
    let layer = || drop(black_box(reference::layer_norm(&x64, &w64, &w64, 1e-5)));
    pair(
        c,
        "layer_norm",
        || norm::layer_norm_forward(&x, &w, &w, 1e-5, &mut out, &mut mean, &mut inv),
        layer,
    );
    pair(
        c,
        "layer_norm, gradients",
        || norm::layer_norm_backward(&x, &x, &w, &mean, &inv, &mut dx, &mut dw, &mut db),
        layer,
    );
    pair(
        c,
        "column_sums",
        || columns::column_sums(&x, &mut dw),
        || drop(black_box(reference::column_sums(&x64, dim))),
    );
}

fn elementwise(c: &mut Criterion) {
    let n = 64 * 1024;
    let (gate, up) = (values(n), values(n));
    let (gate64, up64) = (wide(&gate), wide(&up));
    let (mut out, mut other) = (vec![0.0; n], vec![0.0; n]);
    let mut out64 = vec![0.0; n];
    let mut swiglu = || {
        let inputs = gate64.iter().zip(&up64);
        for (out, (gate, up)) in out64.iter_mut().zip(inputs) {
            *out = reference::swiglu(*gate, *up);
        }
    };
    pair(
        c,
        "swiglu",
        || activation::swiglu_forward(&gate, &up, &mut out),
        &mut swiglu,
    );
    pair(
        c,
        "swiglu, gradients",
        || activation::swiglu_backward(&up, &gate, &up, &mut out, &mut other),
        &mut swiglu,
    );
    let mut out64 = vec![0.0; n];
    let mut gelu = || {
        for (out, x) in out64.iter_mut().zip(&gate64) {
            *out = reference::gelu(*x);
        }
    };
    pair(
        c,
        "gelu",
        || activation::gelu_forward(&gate, &mut out),
        &mut gelu,
    );
    pair(
        c,
        "gelu, gradients",
        || activation::gelu_backward(&up, &gate, &mut out),
        &mut gelu,
    );
    let (heads, head_dim) = (4, 64);
    let positions: Vec<u32> = (0..(n / heads / head_dim) as u32).collect();
    pair(
        c,
        "rope",
        || {
            rope::rope(
                &gate,
                &positions,
                heads,
                head_dim,
                &rope::Rotary::new(1e4, head_dim),
                false,
                &mut out,
            );
        },
        || {
            for (i, head) in gate64.chunks_exact(head_dim).enumerate() {
                black_box(reference::rope(head, positions[i / heads], 1e4, false));
            }
        },
    );
}

fn learning(c: &mut Criterion) {
    let n = 256 * 1024;
    let step = AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 1,
        gradient_scale: 1.0,
    };
    let (mut p, g, mut m, mut v) = (values(n), values(n), vec![0.0; n], vec![0.0; n]);
    let (mut p64, g64, mut m64, mut v64) = (wide(&p), wide(&g), vec![0.0; n], vec![0.0; n]);
    pair(
        c,
        "adamw",
        || adamw_step(&step, &mut p, &g, &mut m, &mut v),
        || reference::adamw(&step, &mut p64, &g64, &mut m64, &mut v64),
    );
    pair(
        c,
        "sum_of_squares",
        || {
            black_box(sum_of_squares(&g));
        },
        || {
            black_box(g64.iter().map(|x| x * x).sum::<f64>());
        },
    );
    let (rows, dim, vocab) = (64, 64, 512);
    let (hidden, weight) = (values(rows * dim), values(vocab * dim));
    let (hidden64, weight64) = (wide(&hidden), wide(&weight));
    let targets: Vec<u32> = (0..rows as u32).map(|i| i * 31 % vocab as u32).collect();
    let weights = vec![1.0 / rows as f32; rows];
    let mut losses = vec![0.0; rows];
    let plain = || {
        black_box(reference::lm_loss(
            &hidden64, &weight64, &targets, &weights, 0.0,
        ));
    };
    pair(
        c,
        "token_logprobs",
        || loss::token_logprobs(Precision::F32, &hidden, &weight, &targets, &mut losses),
        plain,
    );
    let (mut dhidden, mut dweight) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
    let mut losses = vec![0.0; rows];
    pair(
        c,
        "lm_loss, gradients",
        || {
            loss::lm_loss_forward_backward(
                Precision::F32,
                &hidden,
                &weight,
                &targets,
                &weights,
                0.0,
                &mut dhidden,
                Some(&mut dweight),
                &mut losses,
            );
        },
        plain,
    );
    let ids: Vec<u32> = (0..4096).map(|i| i * 7919 % vocab as u32).collect();
    let dout = values(ids.len() * dim);
    let dout64 = wide(&dout);
    let (mut table, mut table64) = (vec![0.0; vocab * dim], vec![0.0; vocab * dim]);
    pair(
        c,
        "embedding, gradient",
        || embedding::embedding_backward(&dout, &ids, dim, &mut table),
        || reference::embedding_backward(&dout64, &ids, dim, &mut table64),
    );
}

fn settings() -> Criterion {
    // Other threads would bring the machine's other work into the ratios.
    kernels::pool::set_threads(1);
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
}

criterion_group! {
    name = all;
    config = settings();
    targets = products, of_few_bits, attentions, norms, elementwise, learning
}
criterion_main!(all);
