//! Pre-training in PyTorch: the same bits per byte?

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use super::train::numbers;
use super::{number, output, script};
use crate::python;
use crate::steps::cargo;

/// The largest difference in validation bits per byte that two runs of the same work may have.
const TOLERANCE: f64 = 0.02;
/// What counts as the same loss of a step.
const CLOSE: f64 = 1e-4;
/// Steps whose mean loss is told.
const LAST: usize = 50;

/// Runs one comparison and prints it.
///
/// # Errors
/// A run fails, or the two differ by more than the tolerance.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(
    dump: &Path,
    recipe: Option<&str>,
    data: &[PathBuf],
    settings: &[String],
) -> anyhow::Result<()> {
    let python = python::with_torch()?;
    let ours = ours(dump, recipe, data, settings)?;
    let theirs = output(&mut script(&python, "pretrain.py", dump)?)?;
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
    let (ours, theirs) = (curve(&ours)?, numbers(&theirs["losses"])?);
    if ours.len() == theirs.len() {
        let apart: Vec<f64> = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (a - b).abs())
            .collect();
        let close = apart.iter().take_while(|apart| **apart <= CLOSE).count();
        let last = |losses: &[f64]| {
            let last = &losses[losses.len().saturating_sub(LAST)..];
            last.iter().sum::<f64>() / last.len() as f64
        };
        println!(
            "loss by step: the first {close} within {CLOSE:e}, largest difference {:.1e}; mean of the last {LAST} \
             steps {:.5} and {:.5}",
            apart.iter().copied().fold(0.0, f64::max),
            last(&ours),
            last(&theirs)
        );
    } else {
        println!("{} steps: too many for a loss of each", theirs.len());
    }
    if (mine - other).abs() > TOLERANCE {
        bail!("the two differ by more than {TOLERANCE} bits per byte");
    }
    Ok(())
}

/// Our losses, one of each step in runs of up to some hundreds.
fn curve(told: &Value) -> anyhow::Result<Vec<f64>> {
    let path = Path::new(told["path"].as_str().context("no `path`")?).join("artifact.json");
    let manifest: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let points = manifest["metrics"]["curve"].as_array();
    let losses = points
        .into_iter()
        .flatten()
        .map(|point| point["loss"].as_f64());
    losses.map(|loss| loss.context("no loss")).collect()
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
