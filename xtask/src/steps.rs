//! Runs commands one after another and says how long each took.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// The repository's root: where cargo runs this now, not where it was built, since clones may share their builds.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("started by `cargo xtask`");
    PathBuf::from(here).join("..")
}

/// A cargo command in the repository's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What `cargo run` told this program about its own package; build scripts that look at it (ring's does) would take it
    // for a change, and everything above them would be compiled again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started or ends with another code than 0.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// Named steps with their times.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, f64, Option<String>)>,
}

impl Steps {
    /// Does one step; a failure is kept and the next step is done all the same.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()>) {
        eprintln!("── {name}");
        let started = Instant::now();
        let failure = work().err().map(|error| format!("{error:#}"));
        self.done
            .push((name.to_owned(), started.elapsed().as_secs_f64(), failure));
    }

    /// Notes a step that was left out, and why.
    pub(crate) fn left_out(&mut self, name: &str, why: &str) {
        eprintln!("── {name}: left out, {why}");
    }

    /// Prints the table of times.
    ///
    /// # Errors
    /// Names the steps that failed.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        eprintln!();
        for (name, seconds, failure) in &self.done {
            let outcome = failure
                .as_deref()
                .map_or_else(|| "ok".to_owned(), |why| format!("FAILED: {why}"));
            eprintln!("{name:<24} {seconds:>8.1} s  {outcome}");
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|(_, _, failure)| failure.is_some())
            .map(|(name, ..)| name.as_str())
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            bail!("failed: {}", failed.join(", "))
        }
    }
}
