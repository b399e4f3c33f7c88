//! The same work done by other engines, side by side with ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::Value;

use crate::python;
use crate::steps::{cargo, root};

/// The largest difference in validation bits per byte that two runs of the same work may have.
const TOLERANCE: f64 = 0.02;

#[derive(Subcommand)]
pub(crate) enum Peer {
    /// PyTorch pre-trains the same shape from the same initial weights on the same tokens in the same order.
    Pretrain {
        /// Folder for what the peer reads: initial weights, batches, learning rates.
        #[arg(long, default_value = "target/peers/pretrain")]
        dump: PathBuf,
        /// Recipe of the run; the quick start when absent.
        recipe: Option<String>,
        /// Documents of the run; without them the recipe's own.
        #[arg(long)]
        data: Vec<PathBuf>,
        /// Further settings of the run, KEY=VALUE.
        #[arg(long = "set")]
        settings: Vec<String>,
    },
}

/// Runs one comparison and prints it.
///
/// # Errors
/// A run fails, or the two differ by more than the tolerance.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(peer: &Peer) -> anyhow::Result<()> {
    let Peer::Pretrain {
        dump,
        recipe,
        data,
        settings,
    } = peer;
    let python = python::with_torch()?;
    let ours = ours(dump, recipe.as_deref(), data, settings)?;
    let theirs = theirs(&python, dump)?;
    let name = "validation_bits_per_byte";
    let [mine, other] = [number(&ours, name)?, number(&theirs, name)?];
    println!(
        "{:<12} {:>14} {:>10} {:>10} {:>8}",
        "engine", "bits per byte", "loss", "tokens/s", "seconds"
    );
    for (engine, run) in [("ontogeny", &ours), ("pytorch", &theirs)] {
        println!(
            "{engine:<12} {:>14.4} {:>10.4} {:>10.0} {:>8.1}",
            number(run, name)?,
            number(run, "loss")?,
            number(run, "tokens_per_second")?,
            number(run, "seconds")?
        );
    }
    println!(
        "{} parameters, {} tokens; difference {:+.4}",
        theirs["parameters"],
        theirs["tokens"],
        mine - other
    );
    if (mine - other).abs() > TOLERANCE {
        bail!("the two differ by more than {TOLERANCE} bits per byte");
    }
    Ok(())
}

/// Our run, which writes into `dump` what the peer reads.
fn ours(
    dump: &Path,
    recipe: Option<&str>,
    data: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<Value> {
    let mut command = cargo(&["run", "--release", "--", "pretrain", "--json"]);
    command
        .args(recipe)
        .arg("--dump-peer")
        .arg(std::path::absolute(dump)?);
    for path in data {
        command.arg("--data").arg(std::path::absolute(path)?);
    }
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    output(&mut command)
}

/// The same work in PyTorch.
fn theirs(python: &Path, dump: &Path) -> anyhow::Result<Value> {
    let script = root().join("peers/pretrain.py");
    output(
        Command::new(python)
            .arg(script)
            .arg(std::path::absolute(dump)?),
    )
}

/// What a command prints to stdout, as JSON; its stderr is shown as it comes.
fn output(command: &mut Command) -> anyhow::Result<Value> {
    let shown = format!("{command:?}");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, told.trim());
    }
    serde_json::from_str(&told).with_context(|| format!("{shown} printed no JSON: {told}"))
}

fn number(run: &Value, name: &str) -> anyhow::Result<f64> {
    run[name]
        .as_f64()
        .with_context(|| format!("no number `{name}` in {run}"))
}
