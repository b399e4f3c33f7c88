//! An adapter of SmolLM2-135M, trained here and by PyTorch with PEFT.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::export::export;
use super::inference::published;
use super::train::{self, Work};
use crate::python::cache;
use crate::steps::root;

/// Runs both sides in turns, prints their rates, and lets PEFT load what we have trained.
///
/// # Errors
/// A run fails, or the losses differ.
#[expect(clippy::print_stdout, reason = "the line is the result")]
pub(super) fn run(
    dump: &Path,
    steps: usize,
    rounds: usize,
    precision: Option<&str>,
    text: Option<&Path>,
) -> anyhow::Result<()> {
    let file = published()?;
    let folder = cache()?.join("lora/smollm2");
    if !folder.join("model.safetensors").is_file() {
        export(None, &file, &["safetensors"], &folder)?;
    }
    std::fs::create_dir_all(dump)?;
    let dump = std::path::absolute(dump)?;
    let text = match text {
        Some(text) => std::path::absolute(text)?,
        None => documentation(&dump)?,
    };
    let work = Work::Lora {
        folder,
        quantised: vec![("q4_1".to_owned(), file)],
        text,
    };
    train::run(&dump, &work, steps, rounds, precision)?;
    println!(
        "the adapter trained here, loaded by PEFT: {:.4} for the first batch",
        train::trained(&dump)?
    );
    Ok(())
}

/// The project's own documentation as one text: some that every clone has.
fn documentation(dump: &Path) -> anyhow::Result<PathBuf> {
    let mut all = String::new();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/log.md",
        "docs/benchmarks.md",
    ] {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path);
        all += &text.with_context(|| format!("cannot read {}", path.display()))?;
    }
    let path = dump.join("text.txt");
    std::fs::write(&path, all)?;
    Ok(path)
}
