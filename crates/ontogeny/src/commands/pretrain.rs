//! `ontogeny pretrain`: one stage alone.

use std::path::{Path, PathBuf};

use artifact::Artifact;
use clap::Args;

use super::stage::{self, StageArguments};
use crate::context::Context;
use crate::life::{self, Read, Upbringing};
use crate::output::Output;

const STAGES: [&str; 5] = ["world", "data", "tokenizer", "shards", "pretrain"];

/// Pre-training alone: from documents to a base model
///
/// What comes before it is found in the store, or done first.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ontogeny pretrain --data texts/ --set model.depth=4 --set pretrain.tokens=5000000"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stage: StageArguments,
    /// Also write what another framework needs to repeat the run: `cargo xtask peers pretrain` reads it
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    dump_peer: Option<PathBuf>,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    stage::execute(&arguments.stage, &STAGES, context, |upbringing| {
        let read = life::data(upbringing)?;
        if let Some(folder) = &arguments.dump_peer {
            dump_peer(upbringing, &read, folder)?;
        }
        life::pretrain(upbringing, &read)
    })
}

/// The initial weights, batches and learning rates of the run that follows.
fn dump_peer(upbringing: &mut Upbringing<'_>, read: &Read, folder: &Path) -> anyhow::Result<()> {
    let base = upbringing
        .sources
        .base(upbringing.recipe, upbringing.store)?;
    let inputs = train::pretrain::Inputs {
        shards: &read.shards,
        tokenizer: &read.tokenizer,
        model: &upbringing.recipe.model.preset,
        base: base.as_ref(),
        device: upbringing.device,
    };
    Ok(train::dump_peer(
        &upbringing.recipe.pretrain,
        inputs,
        folder,
    )?)
}

/// The model to go on from: the one named, or the recipe's own pre-training.
pub(crate) fn base(upbringing: &mut Upbringing<'_>) -> anyhow::Result<Artifact> {
    if let Some(base) = upbringing
        .sources
        .base(upbringing.recipe, upbringing.store)?
    {
        return Ok(base);
    }
    let read = life::data(upbringing)?;
    life::pretrain(upbringing, &read)
}
