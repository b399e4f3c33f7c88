//! `ontogeny pretrain`: one stage alone.

use artifact::Artifact;
use clap::Args;

use super::stage::{self, StageArguments};
use crate::context::Context;
use crate::life::{self, Nursery};
use crate::output::Output;

const STAGES: [&str; 5] = ["world", "data", "tokenizer", "shards", "pretrain"];

/// Pre-training alone: from documents to a base model
///
/// What comes before it is found in the store, or done first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ontogeny pretrain --data texts/ --set model.depth=4 --set pretrain.tokens=5000000")]
pub(crate) struct Arguments {
    #[command(flatten)]
    stage: StageArguments,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    stage::execute(&arguments.stage, &STAGES, context, |nursery| {
        let read = life::data(nursery)?;
        life::pretrain(nursery, &read)
    })
}

/// The model to go on from: the one named, or the recipe's own pre-training.
pub(crate) fn base(nursery: &mut Nursery<'_>) -> anyhow::Result<Artifact> {
    if let Some(base) = nursery.sources.base(nursery.recipe, nursery.store)? {
        return Ok(base);
    }
    let read = life::data(nursery)?;
    life::pretrain(nursery, &read)
}
