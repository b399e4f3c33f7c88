//! `ontogeny models`: what is in the store.

use std::path::{Path, PathBuf};

use artifact::Artifact;
use clap::Subcommand;
use hub::Architecture;
use serde_json::{Value, json};

use super::export;
use crate::context::Context;
use crate::display::Mark;
use crate::output::{Output, table};
use crate::quantity;
use crate::refusal::Refusal;

/// The models in the store
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All models: names, ids, sizes, what they measured
    List,
    /// One model: shape, files, metrics, inputs
    #[command(after_help = "Example:\n  ontogeny models show quickstart")]
    Show {
        /// An artifact id or its unique prefix, a name, a folder, or a .gguf file
        model: String,
    },
    /// Copy a model of elsewhere into the store
    #[command(
        after_help = "A folder as Hugging Face has it (config.json, safetensors, tokenizer.json) or a .gguf file.\n\
                      Families that write: llama, mistral, qwen2, qwen3, phi3, gemma3, gpt2. Encoders, for `ontogeny embed`: \
                      bert, roberta, xlm-roberta. LoRA adapters as PEFT writes them, with --base.

\
                      Examples:\n  ontogeny models import SmolLM2-135M-Instruct.Q4_1.gguf --name smollm2\n  \
                      ontogeny models import ./Qwen3-0.6B\n  \
                      ontogeny models import ./peft-folder --base smollm2 --name shop"
    )]
    Import {
        /// The folder, or the .gguf file
        path: PathBuf,
        /// A name for it; that of the folder or file when left out
        #[arg(long)]
        name: Option<String>,
        /// The model that an adapter was trained on
        #[arg(long, value_name = "MODEL")]
        base: Option<String>,
    },
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
        Command::List => list(context),
        Command::Show { model } => show(model, context),
        Command::Import { path, name, base } => {
            import(path, name.as_deref(), base.as_deref(), context)
        }
        Command::Merge { adapter, name } => merge(adapter, name.as_deref(), context),
        Command::Compare(arguments) => super::compare::execute(arguments, context),
        Command::Export(arguments) => export::execute(arguments, context),
        Command::Remove { model, force } => remove(model, *force, context),
    }
}

fn list(context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let refs = store.refs()?;
    let models: Vec<Artifact> = store
        .list()?
        .into_iter()
        .filter(|one| one.manifest.kind == "model")
        .collect();
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for model in &models {
        let names: Vec<&str> = refs
            .iter()
            .filter(|(_, id)| *id == model.id)
            .map(|(name, _)| name.as_str())
            .collect();
        let architecture = hub::read_architecture(&model.path).ok();
        let parameters = architecture.as_ref().map(Architecture::parameters);
        let kind = architecture.as_ref().map(kind);
        let stage = stage(model);
        rows.push(vec![
            if names.is_empty() {
                "–".to_owned()
            } else {
                names.join(", ")
            },
            model.id.short().to_owned(),
            kind.unwrap_or("–").to_owned(),
            stage.clone(),
            parameters.map_or_else(|| "–".to_owned(), |count| quantity::short(count as f64)),
            number(model.manifest.metric("validation_bits_per_byte")),
            number(model.manifest.metric("loss")),
        ]);
        objects.push(json!({
            "model": model.id, "names": names, "kind": kind, "stage": stage, "parameters": parameters, "path": model.path,
            "created_unix": model.manifest.created_unix,
        }));
    }
    let text = if rows.is_empty() {
        "no models yet; `ontogeny run` raises one".to_owned()
    } else {
        table(
            &[
                "name",
                "id",
                "kind",
                "stage",
                "parameters",
                "bits/byte",
                "loss",
            ],
            &rows,
        )
    };
    Ok(Output::new(text, json!({ "models": objects })))
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

fn number(value: Option<&Value>) -> String {
    value
        .and_then(Value::as_f64)
        .map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

fn show(wanted: &str, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let (path, id) = hub::resolve(&store, wanted)?;
    let architecture = hub::read_architecture(&path)?;
    let mut rows = vec![
        vec!["model".to_owned(), id.clone()],
        vec!["folder".to_owned(), path.display().to_string()],
        vec![
            "parameters".to_owned(),
            quantity::count(architecture.parameters() as u64),
        ],
    ];
    let (shape, config) = shape(&architecture);
    rows.extend(shape.map(|(name, value)| vec![name.to_owned(), value]));
    let manifest = Artifact::open(&path).ok().map(|artifact| artifact.manifest);
    if let Some(manifest) = &manifest {
        for (name, value) in [&manifest.metrics, &manifest.measured]
            .into_iter()
            .filter_map(Value::as_object)
            .flatten()
        {
            if value.is_number() || value.is_string() {
                rows.push(vec![
                    name.replace('_', " "),
                    value.to_string().trim_matches('"').to_owned(),
                ]);
            }
        }
        for input in &manifest.inputs {
            rows.push(vec![
                format!("made from ({})", input.role),
                input.id.to_string(),
            ]);
        }
    }
    let json = json!({
        "model": id, "path": path, "kind": kind(&architecture), "parameters": architecture.parameters(), "config": config,
        "metrics": manifest.as_ref().map(|manifest| &manifest.metrics),
        "inputs": manifest.as_ref().map(|manifest| &manifest.inputs),
    });
    Ok(Output::new(left_table(&rows), json))
}

/// What a model does with texts.
fn kind(architecture: &Architecture) -> &'static str {
    match architecture {
        Architecture::Decoder(_) => "decoder",
        Architecture::Encoder(_) => "encoder",
    }
}

/// A model's sizes in words, and its config.
fn shape(architecture: &Architecture) -> ([(&'static str, String); 5], Value) {
    let (layers, width, heads, vocabulary, context, config) = match architecture {
        Architecture::Decoder(config) => {
            let decoder = &config.decoder;
            let heads = format!(
                "{} ({} for keys and values)",
                decoder.num_attention_heads, decoder.num_key_value_heads
            );
            (
                decoder.num_hidden_layers,
                decoder.hidden_size,
                heads,
                decoder.vocab_size,
                decoder.max_position_embeddings,
                json!(decoder),
            )
        }
        Architecture::Encoder(encoder) => (
            encoder.num_hidden_layers,
            encoder.hidden_size,
            encoder.num_attention_heads.to_string(),
            encoder.vocab_size,
            encoder.context(),
            json!(encoder),
        ),
    };
    let rows = [
        ("layers", layers.to_string()),
        ("width", width.to_string()),
        ("heads", heads),
        ("vocabulary", quantity::count(vocabulary as u64)),
        ("context", quantity::count(context as u64)),
    ];
    (rows, config)
}

/// Two columns, both flush left.
fn left_table(rows: &[Vec<String>]) -> String {
    let width = rows
        .iter()
        .map(|row| row[0].chars().count())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{}{}  {}",
                row[0],
                " ".repeat(width - row[0].chars().count()),
                row[1]
            )
        })
        .collect();
    lines.join("\n")
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

fn import(
    path: &Path,
    name: Option<&str>,
    base: Option<&str>,
    context: &Context,
) -> anyhow::Result<Output> {
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
    let base = match base {
        Some(base) => {
            let (_, id) = hub::resolve(&store, base)?;
            Some(store.get(&id)?)
        }
        None => None,
    };
    let artifact = hub::import(&store, path, base.as_ref(), display.progress())?;
    let name = name.map_or_else(|| hub::model_name(path), str::to_owned);
    store.set_ref(&name, &artifact.id)?;
    let parameters = hub::read_architecture(&artifact.path)?.parameters();
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
