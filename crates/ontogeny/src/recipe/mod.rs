//! The recipe: everything a run depends on, in one TOML file whose sections are the rooms' own configs.
//!
//! `recipes/quickstart.toml` is embedded and is the bottom layer: a recipe file need only say what it does
//! differently. See [`layers`] for the order of the layers and how a wrong key is refused.

mod layers;
mod sections;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use layers::Entry;
use layers::Origin;
pub(crate) use sections::{Model, Scope, Serving, Sources};

use crate::refusal::Refusal;

/// The quick start, part of the binary.
const QUICKSTART: &str = include_str!("../../../../recipes/quickstart.toml");
/// What the quick start is called in messages.
const QUICKSTART_NAME: &str = "recipes/quickstart.toml";

/// A complete recipe: every field has its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// What the raised model is called in the store; the gate decides whether the name moves.
    pub(crate) name: String,
    /// The seed of every section that sets none of its own.
    pub(crate) seed: u64,
    /// Where documents, questions and preferences come from.
    pub(crate) sources: Sources,
    /// What the run may cost.
    pub(crate) scope: Scope,
    /// The embedded world, where no documents are given.
    pub(crate) world: nursery::World,
    /// Curation of the documents.
    pub(crate) data: data::curate::Config,
    /// Token shards.
    pub(crate) shards: data::shards::Config,
    /// The tokenizer's training.
    pub(crate) tokenizer: tokenizer::TrainConfig,
    /// The architecture, or a model to go on from.
    pub(crate) model: Model,
    /// Pre-training.
    pub(crate) pretrain: train::pretrain::Config,
    /// How rows of questions and answers are read.
    pub(crate) instructions: data::instructions::Config,
    /// Supervised fine-tuning.
    pub(crate) finetune: train::finetune::Config,
    /// How preference pairs are read.
    pub(crate) preferences: data::preferences::Config,
    /// Preference alignment.
    pub(crate) align: train::align::Config,
    /// Evaluation, prompting among it.
    pub(crate) evaluate: eval::Config,
    /// When a new model replaces the present one.
    pub(crate) gate: eval::GateConfig,
    /// Deployment.
    pub(crate) serve: Serving,
}

/// What a command line says about its recipe.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// A recipe file, or quickstart
    #[arg(value_name = "RECIPE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Set one field of the recipe, for example pretrain.steps=200; may be given several times
    ///
    /// Over the recipe file lie variables such as ONTOGENY_SET__PRETRAIN__BATCH_SIZE=8, over those --set, over that
    /// the other flags.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl Choice {
    /// The recipe that was chosen, under `flags`.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML, an unknown key, a value that does not fit its field.
    pub(crate) fn resolve(
        &self,
        flags: Vec<(&'static str, &str, Value)>,
    ) -> Result<Recipe, Refusal> {
        self.resolve_stage(None, flags)
    }

    /// The same for one stage alone, whose own fields need not be named with their section.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(crate) fn resolve_stage(
        &self,
        stage: Option<&str>,
        flags: Vec<(&'static str, &str, Value)>,
    ) -> Result<Recipe, Refusal> {
        let mut entries = Vec::new();
        if let Some(path) = &self.recipe
            && path.as_os_str() != "quickstart"
        {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Refusal::usage(
                    "recipe",
                    format!("cannot read the recipe {}: {error}", path.display()),
                )
                .hint("name a .toml file, or leave it out for the quick start")
            })?;
            entries.extend(relative_to(path, layers::from_toml(&text, path)?));
        }
        entries.extend(layers::from_environment(std::env::vars()));
        let own = entries.len()..entries.len() + self.set.len();
        for argument in &self.set {
            entries.push(layers::from_set(argument)?);
        }
        for (flag, key, value) in flags {
            entries.push(Entry {
                key: key.split('.').map(str::to_owned).collect(),
                value,
                origin: Origin::Flag(flag),
            });
        }
        if let Some(stage) = stage {
            let schema = serde_json::to_value(Recipe::from_entries(&[])?).unwrap_or(Value::Null);
            for entry in &mut entries[own] {
                layers::into_section(entry, stage, &schema);
            }
        }
        Recipe::from_entries(&entries)
    }
}

/// Sources named in a recipe file lie beside that file, not beside whoever runs it; so does a base that is no name but a
/// folder or file there.
fn relative_to(recipe: &Path, mut entries: Vec<Entry>) -> Vec<Entry> {
    let folder = recipe.parent().unwrap_or(Path::new(""));
    let beside = |value: &mut Value| {
        if let Value::String(text) = value
            && !text.is_empty()
        {
            *text = folder.join(&*text).to_string_lossy().into_owned();
        }
    };
    for entry in &mut entries {
        if entry.key == ["model", "base"]
            && let Value::String(text) = &mut entry.value
            && hub::holds_model(&folder.join(&*text))
        {
            *text = folder.join(&*text).to_string_lossy().into_owned();
        }
    }
    for entry in entries.iter_mut().filter(|entry| {
        entry
            .key
            .first()
            .is_some_and(|section| section == "sources")
    }) {
        match &mut entry.value {
            Value::Array(items) => items.iter_mut().for_each(beside),
            value => beside(value),
        }
    }
    entries
}

impl Recipe {
    /// The embedded quick start.
    #[cfg(test)]
    fn quickstart() -> Result<Self, Refusal> {
        Self::from_entries(&[])
    }

    fn from_entries(entries: &[Entry]) -> Result<Self, Refusal> {
        let mut values = Value::Object(serde_json::Map::new());
        for entry in layers::from_toml(QUICKSTART, Path::new(QUICKSTART_NAME))? {
            layers::apply(&mut values, &entry);
        }
        // The quick start leaves optional fields out; reading it once gives the complete set of keys.
        let mut complete = values.clone();
        share_seed(&mut complete, &[]);
        let quickstart: Self = serde_json::from_value(complete).map_err(|error| {
            Refusal::failed(
                "recipe",
                format!("{QUICKSTART_NAME} does not fit this version: {error}"),
            )
        })?;
        let schema = serde_json::to_value(&quickstart).unwrap_or(Value::Null);
        for entry in entries {
            layers::check_known(entry, &schema)?;
            layers::apply(&mut values, entry);
        }
        share_seed(&mut values, entries);
        let recipe: Self =
            serde_json::from_value(values).map_err(|error| blame(entries, &schema, &error))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Refuses at once what some stage would refuse after those before it had worked for minutes.
    fn check(&self) -> Result<(), Refusal> {
        self.pretrain.check().map_err(senseless)?;
        self.finetune.check().map_err(senseless)?;
        self.align.check().map_err(senseless)?;
        if self.model.base.is_none() {
            let preset = self.model.preset.config(self.tokenizer.vocab_size);
            preset.map_err(senseless)?;
        }
        Ok(())
    }

    /// The recipe as TOML, for the report and for the model's folder.
    pub(crate) fn to_toml(&self) -> String {
        // Optional fields that are unset have no TOML form.
        let value = serde_json::to_value(self)
            .map(without_nulls)
            .unwrap_or(Value::Null);
        toml::to_string_pretty(&value).unwrap_or_default()
    }
}

/// A value that is of the right type and makes no sense.
fn senseless(error: impl std::fmt::Display) -> Refusal {
    Refusal::usage("recipe", error.to_string()).hint(
        "set it in the recipe, or by --set KEY=VALUE; recipes/quickstart.toml explains every key",
    )
}

/// Gives the recipe's seed to every section that has a seed and does not set it.
fn share_seed(values: &mut Value, _entries: &[Entry]) {
    let Some(seed) = values.get("seed").cloned() else {
        return;
    };
    for section in [
        "world",
        "data",
        "pretrain",
        "instructions",
        "finetune",
        "preferences",
        "align",
        "evaluate",
        "gate",
    ] {
        if let Some(Value::Object(fields)) = values.get_mut(section) {
            fields.entry("seed").or_insert_with(|| seed.clone());
        }
    }
}

/// Finds the value that does not fit: each is tried alone on a recipe that does.
fn blame(entries: &[Entry], fitting: &Value, whole: &serde_json::Error) -> Refusal {
    for entry in entries {
        let mut tried = fitting.clone();
        layers::apply(&mut tried, entry);
        if let Err(error) = serde_json::from_value::<Recipe>(tried) {
            return Refusal::usage(
                "recipe",
                format!("`{}` in {}: {error}", entry.key.join("."), entry.origin),
            )
            .hint("recipes/quickstart.toml explains every field");
        }
    }
    Refusal::usage("recipe", format!("the recipe does not fit: {whole}"))
        .hint("recipes/quickstart.toml explains every field")
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
