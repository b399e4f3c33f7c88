//! `ontogeny models`: what is in the store, and what could be.

mod import;
mod list;
mod show;

use artifact::Artifact;
use clap::Subcommand;
use serde_json::{Value, json};

use super::export;
use crate::context::Context;
use crate::display::Mark;
use crate::output::Output;
use crate::quantity;
use crate::refusal::Refusal;

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
    /// Take an adapter into its base: a model of its own
    #[command(after_help = "Example:\n  ontogeny models merge shop --name shop-merged")]
    Merge {
        /// An adapter: an artifact id, its unique prefix, or a name
        adapter: String,
        /// A name for the model
        #[arg(long)]
        name: Option<String>,
    },
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
        Command::Merge { adapter, name } => merge(adapter, name.as_deref(), context),
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

fn merge(adapter: &str, name: Option<&str>, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let (folder, id) = hub::resolve(&store, adapter)?;
    let Ok(artifact) = store.get(&id) else {
        let said = format!("{} is not in the store", folder.display());
        return Err(Refusal::usage("adapter", said)
            .hint("import it first: `ontogeny models import FOLDER --base MODEL`")
            .into());
    };
    let display = context.display("models merge", &["merge"]);
    display.mark("merge", Mark::Running, "");
    let merged = hub::merge(&store, &artifact, display.progress())?;
    if let Some(name) = name {
        store.set_ref(name, &merged.id)?;
    }
    let parameters = hub::read_config(&merged.path)?.decoder.parameters();
    let remark = format!("{} parameters", quantity::short(parameters as f64));
    display.mark("merge", Mark::Done, &remark);
    display.finish();
    Ok(Output::new(
        format!("{}: {remark}", name.unwrap_or(merged.id.short())),
        json!({ "model": merged.id, "name": name, "path": merged.path, "parameters": parameters }),
    ))
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
