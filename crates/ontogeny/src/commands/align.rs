//! `ontogeny align`: one stage alone.

use clap::Args;

use super::stage::{self, StageArguments};
use crate::context::Context;
use crate::life;
use crate::output::Output;
use crate::refusal::Refusal;

const STAGES: [&str; 7] = [
    "world",
    "data",
    "tokenizer",
    "shards",
    "pretrain",
    "finetune",
    "align",
];

/// Alignment (DPO) alone: from a model that answers and pairs of answers to one that answers better
///
/// What comes before it is found in the store, or done first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ontogeny align --base 3f2a --preferences pairs.jsonl")]
pub(crate) struct Arguments {
    #[command(flatten)]
    stage: StageArguments,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    stage::execute(&arguments.stage, &STAGES, context, |upbringing| {
        let base = match upbringing
            .sources
            .base(upbringing.recipe, upbringing.store)?
        {
            Some(base) => Some(base),
            None => {
                let base = super::pretrain::base(upbringing)?;
                life::finetune(upbringing, &base)?
            }
        };
        life::align(upbringing, base.as_ref())?.ok_or_else(|| {
            Refusal::usage("preferences", "there is nothing to align with")
                .hint("give pairs of answers: --preferences FILE.jsonl, or rate served ones")
                .into()
        })
    })
}
