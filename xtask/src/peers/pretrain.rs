//! Pre-training in PyTorch: the same bits per byte?

use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::Value;

use super::{number, output, script};
use crate::python;
use crate::steps::cargo;

/// The largest difference in validation bits per byte that two runs of the same work may have.
const TOLERANCE: f64 = 0.02;

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
