//! How fast our own architecture trains from 1 to 200 million parameters, and at contexts from 256 to 8,192 tokens:
//! `scaling [f32|bf16]`. There should be no cliff: floating-point operations per second within a quarter of each other.

#![expect(clippy::print_stdout, reason = "an example that prints")]

use models::decoder::Config;
use tensor::{Device, Precision};
use train::plan::calibrate;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tokens of a step, or one row where the context is longer.
const TOKENS: usize = 2048;
const VOCABULARY: usize = 4096;
/// Depth and context.
const CASES: [(usize, usize); 8] = [
    (2, 256),
    (4, 256),
    (6, 256),
    (10, 256),
    (16, 256),
    (6, 1024),
    (6, 4096),
    (6, 8192),
];

fn main() -> Result<(), train::Error> {
    let precision = match std::env::args().nth(1).as_deref() {
        None | Some("bf16") => Precision::Bf16,
        Some("f32") => Precision::F32,
        Some(other) => panic!("expected f32 or bf16, got {other}"),
    };
    println!(
        "{:>6} {:>12} {:>8} {:>10} {:>10} {:>16}",
        "depth", "parameters", "context", "tokens/s", "GFLOP/s", "forward GFLOP/s"
    );
    for (depth, context) in CASES {
        let model = Config::from_depth(depth, VOCABULARY, context);
        let rows = (TOKENS / context).max(1);
        let device = Device::flex();
        let measured = calibrate(&model, precision, rows, context, &device, 1.0)?;
        // The calibration counts half of the context, these rows are full.
        let counted = model.flops_per_token(context / 2);
        let (train, read) = (
            measured.training_flops_per_second / counted / 3.0,
            measured.forward_flops_per_second / counted,
        );
        let flops = model.flops_per_token(context);
        println!(
            "{depth:>6} {:>12} {context:>8} {train:>10.0} {:>10.1} {:>16.1}",
            model.parameters(),
            3.0 * train * flops / 1e9,
            read * flops / 1e9,
        );
    }
    Ok(())
}
