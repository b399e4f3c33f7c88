//! `ontogeny models`: what is in the store, and what could be.

mod import;
mod list;
mod show;

use artifact::Artifact;
use clap::Subcommand;
use serde_json::{Value, json};

use super::export;
use crate::context::Context;
use crate::output::Output;

/// The models in the store
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The models that are here, and known open ones with what each needs and whether it fits
    #[command(after_help = list::HELP)]
    List(list::Arguments),
    /// One model: architecture, memory, licence, tensors, metrics, inputs
    #[command(after_help = show::HELP)]
    Show(show::Arguments),
    /// Bring a model of elsewhere into the store
    #[command(after_help = import::HELP)]
    Import(import::Arguments),
    /// Candidates side by side on your own task: quality, speed, memory, cost
    Compare(super::compare::Arguments),
    /// Write a model for Python's transformers (a folder of safetensors) or llama.cpp (a GGUF file)
    #[command(
        after_help = "Examples:\n  ontogeny models export quickstart --format safetensors --out quickstart/\n  ontogeny models export quickstart --format gguf --quant q8_0 --out quickstart.gguf"
    )]
    Export(export::Arguments),
    /// Delete a model from the store
    Remove {
        /// An artifact id, its unique prefix, or a name
        model: String,
        /// Delete it even when other artifacts were made from it
        #[arg(long)]
        force: bool,
    },
}

pub(crate) fn execute(command: &Command, context: &Context) -> anyhow::Result<Output> {
    match command {
        Command::List(arguments) => list::execute(arguments, context),
        Command::Show(arguments) => show::execute(arguments, context),
        Command::Import(arguments) => import::execute(arguments, context),
        Command::Compare(arguments) => super::compare::execute(arguments, context),
        Command::Export(arguments) => export::execute(arguments, context),
        Command::Remove { model, force } => remove(model, *force, context),
    }
}

/// How a model came to be, by its inputs: `pretrain`, `finetune` or `align`.
pub(crate) fn stage(model: &Artifact) -> String {
    let has = |role: &str| model.manifest.inputs.iter().any(|input| input.role == role);
    let named = model
        .manifest
        .metric("stage")
        .and_then(Value::as_str)
        .map(str::to_owned);
    named.unwrap_or_else(|| {
        let stage = match (has("preferences") || has("feedback"), has("instructions")) {
            (true, _) => "align",
            (_, true) => "finetune",
            _ => "pretrain",
        };
        stage.to_owned()
    })
}

fn remove(wanted: &str, force: bool, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let (_, id) = hub::resolve(&store, wanted)?;
    let artifact = store.get(&id)?;
    store.remove(&artifact.id, force)?;
    Ok(Output::new(
        format!("removed {}", artifact.id.short()),
        json!({ "removed": artifact.id }),
    ))
}
