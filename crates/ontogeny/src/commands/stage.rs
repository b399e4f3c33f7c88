//! What `pretrain`, `finetune` and `align` have in common: one stage of a recipe, from what comes before it.

use std::path::PathBuf;

use artifact::Artifact;
use clap::Args;
use serde_json::{Value, json};

use super::run::{Given, hand_out_model};
use crate::context::Context;
use crate::journal::Journal;
use crate::life::Upbringing;
use crate::output::Output;
use crate::quantity;
use crate::recipe::Choice;
use crate::sources::Sources;

/// The arguments of a stage.
#[derive(Debug, Args)]
pub(crate) struct StageArguments {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    given: Given,
    /// The model to go on from: an artifact id or its prefix, a name, a folder, or a .gguf file
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// A name for the model
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Copy the model to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs one stage and tells what it made.
pub(crate) fn execute(
    arguments: &StageArguments,
    stages: &[&'static str],
    context: &Context,
    work: impl FnOnce(&mut Upbringing<'_>) -> anyhow::Result<Artifact>,
) -> anyhow::Result<Output> {
    let mut flags = arguments.given.layer();
    if let Some(base) = &arguments.base {
        flags.push(("--base", "model.base", json!(base)));
    }
    let recipe = arguments
        .choice
        .resolve_stage(stages.last().copied(), flags)?;
    let store = context.store()?;
    let journal = Journal::open(context.display(&recipe.name, stages), &store)?;
    let mut upbringing = Upbringing {
        recipe: &recipe,
        sources: Sources::default(),
        store: &store,
        device: &context.device,
        journal,
    };
    let model = work(&mut upbringing)?;
    upbringing.journal.close();
    if let Some(name) = &arguments.name {
        store.set_ref(name, &model.id)?;
    }
    if let Some(out) = &arguments.out {
        hand_out_model(&model, out)?;
    }
    let number = |name: &str| model.manifest.metric(name).cloned().unwrap_or(Value::Null);
    let json = json!({
        "model": model.id,
        "name": arguments.name,
        "path": model.path,
        "seconds": number("seconds"),
        "tokens": number("tokens"),
        "tokens_per_second": number("tokens_per_second"),
        "loss": number("loss"),
        "validation_bits_per_byte": number("validation_bits_per_byte"),
        "peak_rss_bytes": artifact::peak_rss_bytes(),
    });
    let seconds = json["seconds"]
        .as_f64()
        .map_or_else(|| "–".to_owned(), quantity::duration);
    let rows = [
        vec![
            "model".to_owned(),
            arguments
                .name
                .clone()
                .unwrap_or_else(|| model.id.short().to_owned()),
        ],
        vec!["made".to_owned(), crate::remark::model(&model)],
        vec!["in".to_owned(), seconds],
        vec!["folder".to_owned(), model.path.display().to_string()],
    ];
    let lines: Vec<String> = rows
        .iter()
        .map(|row| format!("{:<8}{}", row[0], row[1]))
        .collect();
    Ok(Output::new(lines.join("\n"), json))
}
