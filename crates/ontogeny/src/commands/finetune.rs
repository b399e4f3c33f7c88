//! `ontogeny finetune`: one stage alone.

use clap::Args;

use super::stage::{self, StageArguments};
use crate::context::Context;
use crate::life;
use crate::output::Output;
use crate::refusal::Refusal;

const STAGES: [&str; 6] = [
    "world",
    "data",
    "tokenizer",
    "shards",
    "pretrain",
    "finetune",
];

/// Fine-tuning alone: from a model and questions with answers to one that answers
///
/// What comes before it is found in the store, or done first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ontogeny finetune --base 3f2a --instructions questions.jsonl")]
pub(crate) struct Arguments {
    #[command(flatten)]
    stage: StageArguments,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    stage::execute(&arguments.stage, &STAGES, context, |upbringing| {
        let base = super::pretrain::base(upbringing)?;
        life::finetune(upbringing, &base)?.ok_or_else(|| {
            Refusal::usage("instructions", "there is nothing to fine-tune on")
                .hint("give questions with answers: --instructions FILE.jsonl")
                .into()
        })
    })
}
