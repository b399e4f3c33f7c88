//! Training steps in PyTorch: who is faster, and do the losses agree?

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{number, output, script};
use crate::python;
use crate::steps::cargo;

/// Tokens of a row.
const CONTEXT: usize = 256;
/// How far the losses of the first ten steps may differ, where products are in f32 on both sides, and in bf16.
const TOLERANCE: [(&str, f64); 2] = [("f32", 1e-3), ("bf16", 2e-2)];
/// As much again for a model of 30 blocks that was not trained in bf16.
const TOLERANCE_OF_LORA: f64 = 2.0;
/// The first steps of a run, which compile and allocate.
const WARM_UP: usize = 5;
const MODES: [&str; 4] = ["eager-f32", "eager-bf16", "compiled-f32", "compiled-bf16"];

/// One engine in one precision.
#[derive(Default)]
struct Engine {
    name: String,
    /// Of a step, in each round.
    milliseconds: Vec<f64>,
    losses: Vec<f64>,
    peak_bytes: f64,
}

/// The work, and how our side of it is run.
pub(super) enum Work {
    /// Our own architecture at a depth.
    Modern { depth: usize },
    /// A GPT of 6 layers, 6 heads, width 384, vocabulary 4,096.
    Gpt,
    /// A LoRA adapter beside SmolLM2-135M, its weights in f32 and as files of few bits hold them.
    Lora {
        /// The model as a folder that Python loads.
        folder: PathBuf,
        /// Files of few bits, which the other side does not read.
        quantised: Vec<(String, PathBuf)>,
        /// What is learned.
        text: PathBuf,
    },
}

impl Work {
    /// Rows of a step.
    fn rows(&self) -> usize {
        match self {
            Self::Lora { .. } => 8,
            _ => 16,
        }
    }

    /// The other side's script.
    fn script(&self) -> &'static str {
        match self {
            Self::Lora { .. } => "lora.py",
            _ => "step.py",
        }
    }

    /// Our ways to do it.
    fn ours(&self) -> Vec<String> {
        let quantised = match self {
            Self::Lora { quantised, .. } => &quantised[..],
            _ => &[],
        };
        let named = quantised.iter().map(|(name, _)| name.as_str());
        ["f32", "bf16"]
            .into_iter()
            .chain(named)
            .map(|way| format!("ontogeny {way}"))
            .collect()
    }
}

/// Runs all engines in turns and prints what they took.
///
/// # Errors
/// A run fails, or losses differ by more than the tolerance.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(super) fn run(
    dump: &Path,
    work: &Work,
    steps: usize,
    rounds: usize,
    precision: Option<&str>,
) -> anyhow::Result<()> {
    let python = python::with_torch()?;
    let ours = work.ours();
    let rows = work.rows();
    let theirs = MODES.map(|mode| format!("pytorch {mode}"));
    let mut engines: Vec<Engine> = ours
        .into_iter()
        .chain(theirs)
        .filter(|name| precision.is_none_or(|precision| name.ends_with(precision)))
        .map(|name| Engine {
            name,
            ..Engine::default()
        })
        .collect();
    let mut parameters = 0.0;
    for _ in 0..rounds {
        for engine in &mut engines {
            if let Some(precision) = engine.name.clone().strip_prefix("ontogeny ") {
                match work {
                    Work::Modern { depth } => modern(engine, precision, dump, *depth, steps)?,
                    Work::Gpt => engine.take(&gpt(precision, dump, steps)?)?,
                    Work::Lora { .. } => engine.take(&lora(work, precision, dump, steps)?)?,
                }
            } else {
                let mode = engine.name.trim_start_matches("pytorch ");
                let run = output(script(&python, work.script(), dump)?.arg(mode))?;
                parameters = number(&run, "parameters")?;
                engine.take(&run)?;
            }
        }
    }
    println!(
        "{:.1} M parameters, {rows} rows of {CONTEXT} tokens, {steps} steps, {rounds} rounds",
        parameters / 1e6
    );
    println!(
        "{:<22} {:>10} {:>18} {:>10} {:>10} {:>10}",
        "engine", "ms a step", "of the rounds", "tokens/s", "MiB", "last loss"
    );
    for engine in &engines {
        println!(
            "{:<22} {:>10.0} {:>18} {:>10.0} {:>10.0} {:>10.4}",
            engine.name,
            engine.best(),
            format!(
                "{:.0} to {:.0}",
                engine.best(),
                engine.milliseconds.iter().fold(0.0_f64, |a, b| a.max(*b))
            ),
            (rows * CONTEXT) as f64 / engine.best() * 1e3,
            engine.peak_bytes / f64::from(1 << 20),
            engine.losses.last().copied().unwrap_or(f64::NAN),
        );
    }
    let fastest = |name: &str| {
        engines
            .iter()
            .filter(|engine| engine.name.starts_with(name))
            .min_by(|a, b| a.best().total_cmp(&b.best()))
            .context("an engine ran")
    };
    let (mine, other) = (fastest("ontogeny")?, fastest("pytorch")?);
    println!(
        "{} is {:.2} times as fast as {}, with {:.2} times its memory",
        mine.name,
        other.best() / mine.best(),
        other.name,
        mine.peak_bytes / other.peak_bytes
    );
    for (precision, tolerance) in TOLERANCE {
        let tolerance = match work {
            Work::Lora { .. } => TOLERANCE_OF_LORA * tolerance,
            _ => tolerance,
        };
        let of = |name: String| engines.iter().find(|engine| engine.name == name);
        let (Some(a), Some(b)) = (
            of(format!("ontogeny {precision}")),
            of(format!("pytorch eager-{precision}")),
        ) else {
            continue;
        };
        let difference = a
            .losses
            .iter()
            .zip(&b.losses)
            .take(10)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        println!("largest difference of the first ten losses in {precision}: {difference:.1e}");
        if difference.is_nan() || difference > tolerance {
            bail!("the losses differ by more than {tolerance}");
        }
    }
    Ok(())
}

impl Engine {
    /// What a run printed: `milliseconds` of each step, `losses`, `peak_rss_bytes`.
    fn take(&mut self, run: &Value) -> anyhow::Result<()> {
        let mut steps = numbers(&run["milliseconds"])?.split_off(WARM_UP);
        steps.sort_by(f64::total_cmp);
        let median = steps
            .get(steps.len() / 2)
            .context("too few steps to measure")?;
        self.milliseconds.push(*median);
        self.losses = numbers(&run["losses"])?;
        self.peak_bytes = number(run, "peak_rss_bytes")?;
        Ok(())
    }

    /// Of its rounds the fastest: what others on the machine add is not the engine's.
    fn best(&self) -> f64 {
        self.milliseconds
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min)
    }
}

/// Steps of a GPT; writes what the peer reads.
fn gpt(precision: &str, dump: &Path, steps: usize) -> anyhow::Result<Value> {
    let mut command = cargo(&[
        "run",
        "--release",
        "-p",
        "train",
        "--example",
        "gpt_steps",
        "--",
    ]);
    command
        .arg(std::path::absolute(dump)?)
        .args(["cpu", precision]);
    let shape = [6, 384, 4096, CONTEXT, Work::Gpt.rows(), steps];
    output(command.args(shape.map(|n| n.to_string())))
}

/// Steps of an adapter; those in f32 write what the peer reads.
fn lora(work: &Work, way: &str, dump: &Path, steps: usize) -> anyhow::Result<Value> {
    let Work::Lora {
        folder,
        quantised,
        text,
    } = work
    else {
        bail!("another work");
    };
    let few_bits = quantised.iter().find(|(name, _)| name == way);
    let (model, precision, dump) = match few_bits {
        // The peer reads the adapter of the base that it can read.
        Some((_, file)) => (file, "bf16", dump.join(way)),
        None => (folder, way, dump.to_owned()),
    };
    let mut command = cargo(&[
        "run",
        "--release",
        "-p",
        "train",
        "--example",
        "lora_steps",
        "--",
    ]);
    command
        .arg(std::path::absolute(dump)?)
        .args([model, text])
        .arg(precision);
    let shape = [CONTEXT, work.rows(), steps];
    output(command.args(shape.map(|n| n.to_string())))
}

/// The adapter that our steps have trained, loaded by PEFT: its loss of the first batch.
pub(super) fn trained(dump: &Path) -> anyhow::Result<f64> {
    let python = python::with_torch()?;
    let told = output(script(&python, "lora.py", dump)?.arg("trained"))?;
    number(&told, "loss")
}

/// Steps of our own architecture; the run writes what the peer reads.
fn modern(
    engine: &mut Engine,
    precision: &str,
    dump: &Path,
    depth: usize,
    steps: usize,
) -> anyhow::Result<()> {
    // A home of its own, so that the run is not found finished.
    let home = tempfile::tempdir()?;
    let mut command = cargo(&["run", "--release", "--", "pretrain", "--json"]);
    command
        .arg("peers/train-modern.toml")
        .arg("--home")
        .arg(home.path())
        .arg("--dump-peer")
        .arg(std::path::absolute(dump)?);
    let hidden = 64 * depth;
    let kv_heads = (1..=depth.div_ceil(2))
        .rev()
        .find(|kv| depth.is_multiple_of(*kv));
    for setting in [
        format!("model.depth={depth}"),
        format!("model.hidden_size={hidden}"),
        format!(
            "model.intermediate_size={}",
            (hidden * 8 / 3).next_multiple_of(64)
        ),
        format!("model.num_attention_heads={depth}"),
        format!("model.num_key_value_heads={}", kv_heads.unwrap_or(1)),
        "model.head_dim=64".to_owned(),
        format!("pretrain.precision={precision}"),
        format!("pretrain.batch_size={}", Work::Gpt.rows()),
        format!("model.context={CONTEXT}"),
        format!("pretrain.tokens={}", steps * Work::Gpt.rows() * CONTEXT),
    ] {
        command.arg("--set").arg(setting);
    }
    let told = output(&mut command)?;
    let path = told["path"].as_str().context("no `path`")?;
    let read = |file: &str| -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(
            Path::new(path).join(file),
        )?)?)
    };
    let (made, measured) = (read("artifact.json")?, read("measured.json")?);
    let mut rates: Vec<f64> = measured["measured"]["throughput"]
        .as_array()
        .into_iter()
        .flatten()
        .skip(1)
        .filter_map(|point| point["tokens_per_second"].as_f64())
        .collect();
    rates.sort_by(f64::total_cmp);
    let rate = *rates
        .get(rates.len() / 2)
        .context("too few steps to measure")?;
    engine
        .milliseconds
        .push((Work::Gpt.rows() * CONTEXT) as f64 / rate * 1e3);
    engine.losses = made["metrics"]["curve"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|point| point["loss"].as_f64())
        .collect();
    engine.peak_bytes = number(&told, "peak_rss_bytes")?;
    Ok(())
}

pub(super) fn numbers(list: &Value) -> anyhow::Result<Vec<f64>> {
    let list = list.as_array().context("no list of numbers")?;
    list.iter()
        .map(|value| value.as_f64().context("no number"))
        .collect()
}
