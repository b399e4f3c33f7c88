//! `ontogeny models show`: one model, as its files and its history describe it.

use std::path::Path;

use artifact::{Artifact, Manifest};
use clap::Args;
use hub::Architecture;
use hub::about::{self, Group, Stored};
use hub::memory::Plan;
use models::decoder::Config;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Output, table};
use crate::quantity;

/// What `--help` adds.
pub(super) const HELP: &str = "\
The memory is what answering needs on the CPU: weights as f32, except where a GGUF file's matrices have
few bits; keys and values as f32, taken as sequences grow. The server answers up to 32 at once.

Examples:
  ontogeny models show quickstart
  ontogeny models show SmolLM2-135M-Instruct.Q8_0.gguf --tensors";

/// Sequences that the engine answers at once.
const SEQUENCES: u64 = 32;
/// Metrics that `show` tells in its own words.
const TOLD: [&str; 2] = ["parameters", "architecture"];

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, a folder, or a .gguf file
    model: String,
    /// List the tensors: names, shapes, how they are stored, bytes
    #[arg(long)]
    tensors: bool,
}

/// Rows of two columns.
type Rows = Vec<[String; 2]>;

pub(super) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let (path, id) = hub::resolve(&store, &arguments.model)?;
    let shape = hub::read_architecture(&path)?;
    let plan = hub::memory::plan(&path)?;
    let tensors = about::tensors(&path)?;
    let template = about::chat_template(&path)?;
    let licence = about::licence(&path)?;
    let adapter = adapter(&path)?;
    let manifest = Artifact::open(&path).ok().map(|artifact| artifact.manifest);

    let mut rows: Rows = vec![
        ["model".to_owned(), id.clone()],
        ["files".to_owned(), path.display().to_string()],
    ];
    rows.push([
        "architecture".to_owned(),
        format!("{} ({})", shape.model_type(), shape.kind()),
    ]);
    rows.push([
        "parameters".to_owned(),
        quantity::short(shape.parameters() as f64),
    ]);
    rows.extend(sizes(&shape));
    rows.push(["stored as".to_owned(), stored_as(&tensors)]);
    if let Architecture::Decoder(_) = &shape {
        rows.push([
            "chat template".to_owned(),
            template.as_ref().map_or_else(
                || "none; conversations are asked in ChatML".to_owned(),
                |template| format!("{} characters", quantity::count(template.len() as u64)),
            ),
        ]);
    }
    rows.push([
        "licence".to_owned(),
        licence.as_ref().map_or_else(
            || "unknown".to_owned(),
            |found| format!("{} ({})", found.name, found.found_in),
        ),
    ]);
    if let Some(adapter) = &adapter {
        rows.extend(adapter.rows());
    }
    rows.extend(memory(&plan));
    rows.extend(manifest.iter().flat_map(history));

    let mut text = left_table(&rows);
    let groups = about::grouped(&tensors);
    if arguments.tensors {
        text = format!("{text}\n\n{}", group_table(&groups));
    }
    let mut json = json!({
        "model": id, "path": path, "kind": shape.kind(), "parameters": shape.parameters(), "config": config(&shape),
        "chat_template": template, "licence": licence, "adapter": adapter.map(|adapter| adapter.json),
        "memory": {
            "weight_bytes": plan.weight_bytes, "bytes_per_token": plan.bytes_per_token,
            "context": plan.context, "context_bytes": plan.bytes_per_token * plan.context as u64,
            "total_bytes": { "1": plan.total(1, plan.context), "32": plan.total(SEQUENCES, plan.context) },
        },
        "tensor_groups": groups,
        "metrics": manifest.as_ref().map(|manifest| &manifest.metrics),
        "measured": manifest.as_ref().map(|manifest| &manifest.measured),
        "inputs": manifest.as_ref().map(|manifest| &manifest.inputs),
    });
    if arguments.tensors {
        json["tensors"] = json!(tensors);
    }
    Ok(Output::new(text, json))
}

/// As its `config.json` has it.
fn config(shape: &Architecture) -> Value {
    match shape {
        Architecture::Decoder(config) => json!(config.decoder),
        Architecture::Encoder(config) => json!(config),
        Architecture::EncoderDecoder(config) => json!(config),
    }
}

fn sizes(shape: &Architecture) -> Rows {
    let count = |number: usize| quantity::count(number as u64);
    let (layers, width, inside, heads, vocabulary, context) = match shape {
        Architecture::Decoder(config) => return decoder_sizes(&config.decoder),
        Architecture::Encoder(config) => (
            config.num_hidden_layers.to_string(),
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.vocab_size,
            count(config.context()),
        ),
        Architecture::EncoderDecoder(config) => (
            format!(
                "{} in the encoder, {} in the decoder",
                config.num_layers,
                config.decoder_layers()
            ),
            config.d_model,
            config.d_ff,
            config.num_heads,
            config.vocab_size,
            "without end; keys are told by their distance".to_owned(),
        ),
    };
    let inside = format!(
        "{}, {} inside the feed-forward blocks",
        count(width),
        count(inside)
    );
    vec![
        ["layers".to_owned(), layers],
        ["width".to_owned(), inside],
        ["heads".to_owned(), heads.to_string()],
        ["vocabulary".to_owned(), count(vocabulary)],
        ["context".to_owned(), context],
    ]
}

fn decoder_sizes(decoder: &Config) -> Rows {
    let count = |number: usize| quantity::count(number as u64);
    let mut rows = vec![
        ["layers".to_owned(), decoder.num_hidden_layers.to_string()],
        [
            "width".to_owned(),
            format!(
                "{}, {} inside the feed-forward blocks",
                count(decoder.hidden_size),
                count(decoder.intermediate_size)
            ),
        ],
        [
            "heads".to_owned(),
            format!(
                "{} of {} features, {} for keys and values",
                decoder.num_attention_heads, decoder.head_dim, decoder.num_key_value_heads
            ),
        ],
        [
            "vocabulary".to_owned(),
            format!(
                "{}{}",
                count(decoder.vocab_size),
                if decoder.tie_word_embeddings {
                    ", the head is the embedding table"
                } else {
                    ""
                }
            ),
        ],
        ["context".to_owned(), count(decoder.max_position_embeddings)],
    ];
    if let Some(window) = decoder.sliding_window {
        let reach = match &decoder.layer_types {
            None => "in all layers",
            Some(_) => "in some layers",
        };
        rows.push(["window".to_owned(), format!("{} {reach}", count(window))]);
    }
    rows
}

/// `bf16 (269 MiB in 272 tensors)`, the largest share first.
fn stored_as(tensors: &[Stored]) -> String {
    let mut kinds: Vec<(&str, usize, u64)> = Vec::new();
    for tensor in tensors {
        match kinds.iter_mut().find(|kind| kind.0 == tensor.storage) {
            Some(kind) => *kind = (kind.0, kind.1 + 1, kind.2 + tensor.bytes),
            None => kinds.push((&tensor.storage, 1, tensor.bytes)),
        }
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.2));
    let told = kinds.iter().map(|(name, count, bytes)| {
        let size = quantity::bytes(*bytes as f64);
        let tensors = if *count == 1 { "tensor" } else { "tensors" };
        format!("{name} ({size} in {count} {tensors})")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What an adapter is beside its base.
struct Adapter {
    json: Value,
    base: String,
    rank: usize,
    alpha: f32,
    targets: String,
}

fn adapter(path: &Path) -> anyhow::Result<Option<Adapter>> {
    if !hub::is_adapter(path) {
        return Ok(None);
    }
    let config = hub::read_adapter_config(path)?;
    let targets = match &config.target_modules {
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(", ")
        }
        Value::String(pattern) => pattern.clone(),
        _ => "as its tensors say".to_owned(),
    };
    let base = config.base_model_name_or_path.clone().unwrap_or_default();
    Ok(Some(Adapter {
        json: json!({
            "base": base, "rank": config.r, "alpha": config.lora_alpha, "targets": config.target_modules,
            "rank_pattern": config.rank_pattern,
        }),
        base,
        rank: config.r,
        alpha: config.lora_alpha,
        targets,
    }))
}

impl Adapter {
    fn rows(&self) -> Rows {
        vec![
            ["adapter of".to_owned(), self.base.clone()],
            [
                "rank".to_owned(),
                format!("{}, α {}", self.rank, self.alpha),
            ],
            ["targets".to_owned(), self.targets.clone()],
        ]
    }
}

fn memory(plan: &Plan) -> Rows {
    let bytes = |number: u64| quantity::bytes(number as f64);
    let context = quantity::count(plan.context as u64);
    vec![
        ["weights in memory".to_owned(), bytes(plan.weight_bytes)],
        [
            "keys and values".to_owned(),
            format!(
                "{} a token, {} for {context} tokens",
                bytes(plan.bytes_per_token),
                bytes(plan.bytes_per_token * plan.context as u64)
            ),
        ],
        [
            "in all".to_owned(),
            format!(
                "{} with one full sequence, {} with {SEQUENCES}",
                bytes(plan.total(1, plan.context)),
                bytes(plan.total(SEQUENCES, plan.context))
            ),
        ],
    ]
}

/// What the manifest measured, and what the model was made from.
fn history(manifest: &Manifest) -> Rows {
    let measured = [&manifest.metrics, &manifest.measured];
    let fields = measured.into_iter().filter_map(Value::as_object).flatten();
    let told = fields.filter(|(name, _)| !TOLD.contains(&name.as_str()));
    let mut rows: Rows = told
        .filter_map(|(name, value)| Some([name.replace('_', " "), plain(name, value)?]))
        .collect();
    for input in &manifest.inputs {
        rows.push([format!("made from ({})", input.role), input.id.to_string()]);
    }
    rows
}

/// A number rounded for reading, by what it counts; a string as it is.
fn plain(name: &str, value: &Value) -> Option<String> {
    let number = match value {
        Value::String(text) => return Some(text.clone()),
        Value::Number(number) => number.as_f64()?,
        _ => return None,
    };
    Some(if name.ends_with("_bytes") {
        quantity::bytes(number)
    } else if name == "seconds" || name.ends_with("_seconds") {
        quantity::duration(number)
    } else if number.fract() == 0.0 && number.abs() < 1e15 {
        let sign = if number < 0.0 { "-" } else { "" };
        format!("{sign}{}", quantity::count(number.abs() as u64))
    } else if number.abs() >= 1000.0 {
        quantity::short(number)
    } else if number.abs() >= 0.001 {
        format!("{number:.3}")
    } else {
        format!("{number:.2e}")
    })
}

fn group_table(groups: &[Group]) -> String {
    let rows = groups.iter().map(|group| {
        let shape: Vec<String> = group.shape.iter().map(usize::to_string).collect();
        vec![
            group.pattern.clone(),
            group.count.to_string(),
            shape.join(" × "),
            group.storage.clone(),
            quantity::bytes(group.bytes as f64),
        ]
    });
    let heads = ["tensors", "how many", "shape", "stored as", "bytes"];
    table(&heads, &rows.collect::<Vec<_>>())
}

/// Two columns, both flush left.
fn left_table(rows: &[[String; 2]]) -> String {
    let width = rows.iter().map(|[name, _]| name.chars().count());
    let width = width.max().unwrap_or(0);
    let lines = rows.iter().map(|[name, value]| {
        let gap = " ".repeat(width - name.chars().count());
        format!("{name}{gap}  {value}").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_by_what_they_count() {
        for (name, value, expected) in [
            ("peak_rss_bytes", json!(1_331_439_861), "1.24 GiB"),
            ("seconds", json!(185.2), "3 min 05 s"),
            ("tokens", json!(1_234_567), "1,234,567"),
            ("loss", json!(1.234_567_89), "1.235"),
            ("learning_rate", json!(0.000_012_3), "1.23e-5"),
            ("tokens_per_second", json!(20_123.456), "20.1 k"),
            ("stage", json!("import"), "import"),
        ] {
            assert_eq!(plain(name, &value).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(plain("curve", &json!([1, 2])), None);
    }
}
