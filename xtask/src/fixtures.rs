//! Reference values made by PyTorch: small files, committed, so that tests need no PyTorch.

use std::process::Command;

use anyhow::{Context, bail};

use crate::python;
use crate::steps::{self, root};

/// Runs every generator `peers/fixtures/*.py`; each writes its files beside itself.
pub(crate) fn run(only: Option<&str>) -> anyhow::Result<()> {
    let folder = root().join("peers/fixtures");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter(|path| {
            only.is_none_or(|only| {
                path.file_stem()
                    .is_some_and(|stem| stem.to_string_lossy().contains(only))
            })
        })
        .collect();
    scripts.sort();
    if scripts.is_empty() {
        bail!(
            "no generator in {} fits {}",
            folder.display(),
            only.unwrap_or("*")
        );
    }
    let python = python::with_torch()?;
    for script in scripts {
        eprintln!("── {}", script.display());
        steps::run(Command::new(&python).arg(&script).current_dir(&folder))?;
    }
    Ok(())
}
