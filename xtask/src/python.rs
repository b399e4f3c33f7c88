//! Virtual environments for the Python side of fixtures and peers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::steps::{root, run};

/// The packages fixtures and peers need, beside what `.ci/run` installs. Gigabytes, so never part of CI.
const REQUIREMENTS: &str = "peers/requirements.txt";

/// The Python of a virtual environment that holds `peers/requirements.txt`, made when absent.
///
/// # Errors
/// Python 3 is missing, or a package cannot be installed.
pub(crate) fn with_torch() -> anyhow::Result<PathBuf> {
    let environment = cache()?.join("venv-peers");
    let python = environment.join("bin/python");
    let requirements = root().join(REQUIREMENTS);
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let stamp = environment.join("requirements.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    eprintln!(
        "making {} (PyTorch is large, this takes minutes)",
        environment.display()
    );
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment))
    .context("Python 3 with venv is needed")?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// Where builds and environments outside the clone live.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let cache = base.join("ontogeny");
    std::fs::create_dir_all(&cache)
        .with_context(|| format!("cannot create {}", cache.display()))?;
    Ok(cache)
}
