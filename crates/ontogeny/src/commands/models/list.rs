//! `ontogeny models list`: what is here, and what could be.

use std::collections::BTreeMap;

use artifact::{Artifact, Id};
use clap::Args;
use hub::Architecture;
use hub::catalogue::{self, HELD, Known, ROOM_TOKENS};
use hub::memory::Plan;
use serde_json::{Value, json};

use super::stage;
use crate::context::Context;
use crate::output::{Output, table};
use crate::{machine, quantity};

/// What `--help` adds.
pub(super) const HELP: &str = "\
Sizes are those of all weights in each format. A model fits when the weights, and the keys and values of
one sequence of 4,096 tokens, have room in this machine's memory: as f32, which is how weights of
safetensors are held, or else as a GGUF file of q8_0 or q4_0. What others use of the memory does not
count; the last line says how much is free now. The table is a choice, not a limit: any model of a
family that is read can be imported.

Examples:
  ontogeny models list --fits
  ontogeny models list --installed
  ontogeny models list --json";

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only the models of the store
    #[arg(long)]
    installed: bool,
    /// Only what fits this machine's memory
    #[arg(long)]
    fits: bool,
}

/// A model of the store.
struct Installed {
    artifact: Artifact,
    names: Vec<String>,
    architecture: Option<Architecture>,
    plan: Option<Plan>,
}

impl Installed {
    /// Bytes that one sequence needs.
    fn needed(&self) -> Option<u64> {
        let plan = self.plan.as_ref()?;
        Some(plan.total(1, plan.context.min(ROOM_TOKENS)))
    }

    fn json(&self) -> Value {
        json!({
            "model": self.artifact.id, "names": self.names, "stage": stage(&self.artifact),
            "kind": self.architecture.as_ref().map(Architecture::kind),
            "parameters": self.architecture.as_ref().map(Architecture::parameters), "path": self.artifact.path,
            "created_unix": self.artifact.manifest.created_unix,
            "weight_bytes": self.plan.map(|plan| plan.weight_bytes), "needed_bytes": self.needed(),
            "context": self.plan.map(|plan| plan.context),
        })
    }
}

pub(super) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let memory = machine::memory_bytes();
    let free = machine::free_bytes();
    let mut installed = of_store(context)?;
    let mut known: Vec<&Known> = if arguments.installed {
        Vec::new()
    } else {
        catalogue::all().iter().collect()
    };
    if let Some(memory) = memory.filter(|_| arguments.fits) {
        installed.retain(|one| one.needed().is_none_or(|needed| needed <= memory));
        known.retain(|one| one.fits(memory).is_some());
    }
    let here = sources(&installed);
    let mut parts = vec![here_table(&installed)];
    if !known.is_empty() {
        parts.push(known_table(&known, memory, &here));
    }
    parts.push(match (memory, free) {
        (Some(memory), Some(free)) => format!(
            "this machine: {} of memory, {} free now",
            quantity::bytes(memory as f64),
            quantity::bytes(free as f64)
        ),
        _ => "this machine: the system does not tell its memory".to_owned(),
    });
    let catalogue: Vec<Value> = known
        .iter()
        .map(|one| known_json(one, memory, free, &here))
        .collect();
    let models: Vec<Value> = installed.iter().map(Installed::json).collect();
    Ok(Output::new(
        parts.join("\n\n"),
        json!({
            "models": models, "catalogue": catalogue,
            "machine": { "memory_bytes": memory, "free_bytes": free },
        }),
    ))
}

fn of_store(context: &Context) -> anyhow::Result<Vec<Installed>> {
    let store = context.store()?;
    let refs = store.refs()?;
    let models = store.list()?.into_iter();
    let models = models.filter(|one| one.manifest.kind == "model");
    let described = models.map(|artifact| Installed {
        names: refs
            .iter()
            .filter(|(_, id)| *id == artifact.id)
            .map(|(name, _)| name.clone())
            .collect(),
        // One that is broken is listed all the same, so that it can be removed.
        architecture: hub::read_architecture(&artifact.path).ok(),
        plan: hub::memory::plan(&artifact.path).ok(),
        artifact,
    });
    Ok(described.collect())
}

/// Which artifacts came from where, by the source that importing noted.
fn sources(installed: &[Installed]) -> BTreeMap<String, Vec<Id>> {
    let mut found: BTreeMap<String, Vec<Id>> = BTreeMap::new();
    for one in installed {
        let source = one.artifact.manifest.metric("source");
        if let Some(source) = source.and_then(Value::as_str) {
            let id = one.artifact.id.clone();
            found.entry(source.to_owned()).or_default().push(id);
        }
    }
    found
}

fn here_table(installed: &[Installed]) -> String {
    if installed.is_empty() {
        return "no models here yet; `ontogeny run` raises one, `ontogeny models import` fetches one"
            .to_owned();
    }
    let rows = installed.iter().map(|one| {
        let metric = |name| number(one.artifact.manifest.metric(name));
        vec![
            if one.names.is_empty() {
                "–".to_owned()
            } else {
                one.names.join(", ")
            },
            one.artifact.id.short().to_owned(),
            one.architecture
                .as_ref()
                .map_or_else(dash, |shape| shape.kind().to_owned()),
            stage(&one.artifact),
            one.architecture
                .as_ref()
                .map_or_else(dash, |shape| quantity::short(shape.parameters() as f64)),
            one.plan
                .map_or_else(dash, |plan| quantity::bytes(plan.weight_bytes as f64)),
            metric("validation_bits_per_byte"),
            metric("loss"),
        ]
    });
    let heads = [
        "here",
        "id",
        "kind",
        "stage",
        "parameters",
        "in memory",
        "bits/byte",
        "loss",
    ];
    table(&heads, &rows.collect::<Vec<_>>())
}

fn known_table(known: &[&Known], memory: Option<u64>, here: &BTreeMap<String, Vec<Id>>) -> String {
    let rows = known.iter().map(|one| {
        let mut row = vec![
            format!(
                "{}{}",
                one.name,
                if here.contains_key(&one.source) {
                    " (here)"
                } else {
                    ""
                }
            ),
            one.purpose.name().to_owned(),
            quantity::short(one.parameters as f64),
            quantity::count(one.context as u64),
        ];
        row.extend(HELD.map(|storage| quantity::bytes(one.weight_bytes(storage) as f64)));
        row.extend([
            match memory {
                None => "?".to_owned(),
                Some(memory) => one
                    .fits(memory)
                    .map_or_else(|| "no".to_owned(), |storage| storage.name().to_owned()),
            },
            languages(one),
            format!("{}{}", one.licence, if one.gated { " +" } else { "" }),
        ]);
        row
    });
    let heads = [
        "to be had",
        "for",
        "parameters",
        "context",
        "f32",
        "bf16",
        "q8_0",
        "q4",
        "fits as",
        "languages",
        "licence",
    ];
    let drawn = table(&heads, &rows.collect::<Vec<_>>());
    let note = if known.iter().any(|one| one.gated) {
        "\n+ the publisher's terms must be accepted on its page, and HF_TOKEN set"
    } else {
        ""
    };
    format!("{drawn}\n\n`ontogeny models import NAME` fetches one{note}")
}

/// `en`, `8` where several are named, `100+` where not all are.
fn languages(known: &Known) -> String {
    match (known.language_count, &known.languages[..]) {
        (Some(count), _) => format!("{count}+"),
        (None, [only]) => only.clone(),
        (None, several) => several.len().to_string(),
    }
}

fn known_json(
    known: &Known,
    memory: Option<u64>,
    free: Option<u64>,
    here: &BTreeMap<String, Vec<Id>>,
) -> Value {
    let [f32, bf16, q8_0, q4] = HELD.map(|storage| known.weight_bytes(storage));
    let needed = |storage| known.needed_bytes(storage);
    let fits =
        |memory: Option<u64>| memory.and_then(|memory| known.fits(memory).map(hub::Storage::name));
    json!({
        "name": known.name, "source": known.source, "family": known.family, "purpose": known.purpose,
        "modality": known.purpose.modality(), "parameters": known.parameters, "context": known.context,
        "licence": known.licence, "gated": known.gated, "languages": known.languages,
        "language_count": known.language_count.unwrap_or(known.languages.len()),
        "weight_bytes": { "f32": f32, "bf16": bf16, "q8_0": q8_0, "q4": q4 },
        "needed_bytes": { "f32": needed(HELD[0]), "q8_0": needed(HELD[2]), "q4": needed(HELD[3]) },
        "fits": fits(memory), "fits_now": fits(free),
        "installed": here.get(&known.source).cloned().unwrap_or_default(),
    })
}

fn dash() -> String {
    "–".to_owned()
}

fn number(value: Option<&Value>) -> String {
    value
        .and_then(Value::as_f64)
        .map_or_else(dash, |value| format!("{value:.3}"))
}
