//! `ontogeny models`: what is in the store, and what could be.

mod list;
mod show;

use std::path::{Path, PathBuf};

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
    /// Copy a model of elsewhere into the store
    #[command(
        after_help = "A folder as Hugging Face has it (config.json, safetensors, tokenizer.json) or a .gguf file.\n\
                      Families: llama, mistral, qwen2, qwen3, phi3, gemma3, gpt2.\n\n\
                      Examples:\n  ontogeny models import SmolLM2-135M-Instruct.Q4_1.gguf --name smollm2\n  \
                      ontogeny models import ./Qwen3-0.6B"
    )]
    Import {
        /// The folder, or the .gguf file
        path: PathBuf,
        /// A name for it; that of the folder or file when left out
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
        Command::Import { path, name } => import(path, name.as_deref(), context),
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

fn import(path: &Path, name: Option<&str>, context: &Context) -> anyhow::Result<Output> {
    if !path.exists() {
        return Err(
            Refusal::usage("path", format!("there is no {}", path.display()))
                .hint("name a folder with a config.json, or a .gguf file")
                .into(),
        );
    }
    let store = context.store()?;
    let display = context.display("models import", &["import"]);
    display.mark("import", Mark::Running, "");
    let artifact = hub::import(&store, path, display.progress())?;
    let name = name.map_or_else(|| hub::model_name(path), str::to_owned);
    store.set_ref(&name, &artifact.id)?;
    let parameters = hub::read_config(&artifact.path)?.decoder.parameters();
    let remark = format!("{} parameters", quantity::short(parameters as f64));
    display.mark("import", Mark::Done, &remark);
    display.finish();
    Ok(Output::new(
        format!("{name}: {}, {remark}", artifact.id.short()),
        json!({ "model": artifact.id, "name": name, "path": artifact.path, "parameters": parameters }),
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
