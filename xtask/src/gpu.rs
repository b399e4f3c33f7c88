//! Everything about a GPU in one command: do the operations agree with the CPU, and how fast does it train?

use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::peers::{number, output, script};
use crate::python;
use crate::steps::{cargo, run as run_step};

/// Tokens of a step: rows, and tokens of a row.
const ROWS: usize = 16;
const CONTEXT: usize = 1024;
/// Layers, width, vocabulary: large enough to keep a GPU busy, about 124 million parameters.
const SHAPE: [usize; 3] = [12, 768, 32_768];
/// The first steps of a run, which compile and allocate.
const WARM_UP: usize = 5;
/// Dense bf16 products with f32 sums that makers state, in TFLOP/s.
const PEAKS: [(&str, f64); 6] = [
    ("H100", 989.0),
    ("H200", 989.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("RTX 4090", 165.0),
    ("L4", 121.0),
];

/// Builds with the feature `device`, checks each operation against the CPU, trains a GPT of 124 million parameters in
/// bf16 and in f32, and prints tokens/s and the share of the peak beside PyTorch's, eager and compiled.
///
/// # Errors
/// A build or a run fails, or an operation disagrees with the CPU.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(device: &str, steps: usize, peak: Option<f64>) -> anyhow::Result<()> {
    let (feature, _) = device.split_once(':').unwrap_or((device, ""));
    let features = format!("tensor/{feature}");
    eprintln!("── every operation on {device} against the CPU");
    run_step(
        cargo(&["test", "--release", "-p", "tensor", "--features", feature])
            .env("ONTOGENY_TEST_DEVICE", device),
    )?;
    let dump = tempfile::tempdir()?;
    let peak = peak.or_else(|| {
        let name = gpu_name()?;
        PEAKS
            .iter()
            .find(|(known, _)| name.contains(known))
            .map(|(_, peak)| *peak)
    });
    println!(
        "{:<22} {:>10} {:>10} {:>10} {:>8} {:>10}",
        "engine", "ms a step", "tokens/s", "TFLOP/s", "MFU", "last loss"
    );
    let mut flops = 0.0;
    for precision in ["bf16", "f32"] {
        let mut command = cargo(&["run", "--release", "-p", "train", "--example", "gpt_steps"]);
        command.args(["--features", &features, "--"]);
        command.arg(dump.path()).args([device, precision]);
        let [layers, width, vocabulary] = SHAPE;
        let shape = [layers, width, vocabulary, CONTEXT, ROWS, steps];
        let told = output(command.args(shape.map(|n| n.to_string())))?;
        flops = number(&told, "flops")?;
        println!(
            "{}",
            row(&format!("ontogeny {precision}"), &told, flops, peak)?
        );
    }
    if feature != "cuda" {
        println!("PyTorch is compared on cuda alone");
        return Ok(());
    }
    let python = python::with_torch()?;
    for mode in ["eager-bf16", "compiled-bf16", "compiled-f32"] {
        let told = output(script(&python, "step.py", dump.path())?.args([mode, "cuda"]))?;
        println!("{}", row(&format!("pytorch {mode}"), &told, flops, peak)?);
    }
    Ok(())
}

fn row(name: &str, told: &Value, flops: f64, peak: Option<f64>) -> anyhow::Result<String> {
    let times = told["milliseconds"].as_array().context("no milliseconds")?;
    let mut times: Vec<f64> = times
        .iter()
        .skip(WARM_UP)
        .filter_map(Value::as_f64)
        .collect();
    times.sort_by(f64::total_cmp);
    let milliseconds = *times.get(times.len() / 2).context("too few steps")?;
    let rate = flops / milliseconds / 1e9;
    let losses = told["losses"].as_array().context("no losses")?;
    Ok(format!(
        "{name:<22} {milliseconds:>10.1} {:>10.0} {rate:>10.1} {:>8} {:>10.4}",
        (ROWS * CONTEXT) as f64 / milliseconds * 1e3,
        peak.map_or_else(
            || "?".to_owned(),
            |peak| format!("{:.1} %", 100.0 * rate / peak)
        ),
        losses.last().and_then(Value::as_f64).unwrap_or(f64::NAN),
    ))
}

/// What the driver calls the first GPU.
fn gpu_name() -> Option<String> {
    let told = Command::new("nvidia-smi")
        .args(["--query-gpu=name", "--format=csv,noheader"])
        .output()
        .ok()?;
    let name = String::from_utf8(told.stdout).ok()?;
    Some(name.lines().next()?.to_owned())
}
