//! LoRA adapters in PEFT's layout: `adapter_config.json` beside `adapter_model.safetensors`, with the base by name.
//!
//! Families that keep several matrices in one (Phi-3, GPT-2) have one pair for all of them there. Pairs trained here
//! for each become one of their ranks together, with zeros where a part has nothing to say: the same product.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use models::decoder::{Config, Decoder};
use models::lora::{self, Adapter, Pair};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tensor::Device;
use tokenizer::Tokenizer;

use crate::checkpoint::Checkpoint;
use crate::folder::{LoadedModel, Products, gguf_of};
use crate::names::{Place, place};
use crate::weights::{self, HostTensor};
use crate::{Error, Result, load};

const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the names of the model's own modules.
const PREFIX: &str = "base_model.model.";

/// `adapter_config.json`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// `LORA`.
    pub peft_type: String,
    /// `CAUSAL_LM`.
    #[serde(default)]
    pub task_type: Option<String>,
    /// The base: an artifact's id, a folder, or a name of the publisher's.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank where `rank_pattern` says nothing else.
    pub r: usize,
    /// α where `alpha_pattern` says nothing else.
    pub lora_alpha: f32,
    /// Share of the inputs that training leaves out; none here.
    #[serde(default)]
    pub lora_dropout: f32,
    /// α / √r instead of α / r.
    #[serde(default)]
    pub use_rslora: bool,
    /// Names of the adapted matrices, or a pattern.
    #[serde(default)]
    pub target_modules: Value,
    /// Ranks of their own, by the ends of names.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// α of their own, by the ends of names.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f32>,
    /// `none`: biases stay as they are.
    #[serde(default = "none")]
    pub bias: String,
    /// Whether the base has its matrices the other way round, as GPT-2 has.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// Weight-decomposed adapters (Liu et al. 2024), which are not read.
    #[serde(default)]
    pub use_dora: bool,
    /// Biases of their own for B, which are not read.
    #[serde(default)]
    pub lora_bias: bool,
    /// Other parts trained in full, which are not read.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Ready to be used.
    #[serde(default)]
    pub inference_mode: bool,
}

fn none() -> String {
    "none".to_owned()
}

/// Whether a folder holds an adapter and not a model.
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG).is_file() && !folder.join("config.json").is_file()
}

/// Reads and checks a folder's `adapter_config.json`.
///
/// # Errors
/// When it is missing, is no JSON, or asks for what is not read here.
pub fn read_adapter_config(folder: &Path) -> Result<AdapterConfig> {
    let path = folder.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let config: AdapterConfig = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    let saved = config.modules_to_save.as_ref();
    let refused = [
        (config.peft_type != "LORA", "peft_type", "LORA is read"),
        (config.use_dora, "use_dora", "plain LoRA is read"),
        (config.bias != "none", "bias", "`none` is read"),
        (config.lora_bias, "lora_bias", "false is read"),
        (
            saved.is_some_and(|modules| !modules.is_empty()),
            "modules_to_save",
            "pairs of low rank are read and nothing beside them",
        ),
    ];
    for (wrong, field, expected) in refused {
        if wrong {
            return Err(Error::weights(&path, format!("`{field}`: {expected}")));
        }
    }
    Ok(config)
}

/// The base of an adapter: an artifact beside it, or a folder or `.gguf` file, named from the adapter's folder or
/// from where the program runs.
///
/// # Errors
/// When there is none of that name.
pub fn base_of(folder: &Path) -> Result<PathBuf> {
    let config = read_adapter_config(folder)?;
    let named = config.base_model_name_or_path.unwrap_or_default();
    let beside = folder.canonicalize().ok();
    let beside = beside.as_deref().and_then(Path::parent);
    let places = [beside, Some(folder), Some(Path::new(""))];
    let mut places = places.into_iter().flatten().map(|place| place.join(&named));
    // An adapter is no base: two that name each other, or one that names itself, would be read for ever.
    let is_model = |path: &PathBuf| {
        !is_adapter(path) && (path.join("config.json").is_file() || gguf_of(path).is_some())
    };
    if !named.is_empty()
        && let Some(path) = places.find(is_model)
    {
        return Ok(path);
    }
    Err(Error::weights(
        &folder.join(CONFIG),
        format!(
            "the adapter's base `{named}` is neither an artifact nor a folder here; give it with the base: \
             `--adapter NAME={}` beside the base's name, or set `base_model_name_or_path` to its folder",
            folder.display()
        ),
    ))
}

/// Reads an adapter for a base of this shape.
///
/// # Errors
/// When a file is broken, or has a tensor that is no part of a pair for one of the base's matrices.
pub fn read_adapter(folder: &Path, base: &Config) -> Result<Adapter> {
    let about = read_adapter_config(folder)?;
    let path = folder.join(WEIGHTS);
    if !path.is_file() && folder.join("adapter_model.bin").is_file() {
        return Err(Error::weights(
            &folder.join("adapter_model.bin"),
            "a pickle can run any program when it is read, so it is not read here; PEFT's `save_pretrained` writes \
             safetensors",
        ));
    }
    let checkpoint = Checkpoint::open(&path)?;
    let mut left: Vec<String> = checkpoint.names();
    let mut adapter = Adapter::default();
    for (module, place) in places(base) {
        let in_file = place.name.trim_end_matches(".weight");
        let Some([a_name, b_name]) = pair_names(&checkpoint, in_file) else {
            continue;
        };
        left.retain(|name| *name != a_name && *name != b_name);
        let [rows, features] = in_and_out(&place);
        let shape = checkpoint.shape(&a_name).unwrap_or_default();
        let rank = match shape[..] {
            [rank, width] if width == features && (1..=1 << 16).contains(&rank) => rank,
            _ => {
                let reason = format!(
                    "tensor `{a_name}` is {shape:?}, expected [r, {features}] for this base"
                );
                return Err(Error::weights(&path, reason));
            }
        };
        let a = checkpoint.get(&a_name, &[rank, features])?;
        let mut b = checkpoint.get(&b_name, &[rows, rank])?;
        if let Some((first, count)) = place.part {
            b = b[first * rank..(first + count) * rank].to_vec();
        }
        let alpha = pattern(&about.alpha_pattern, in_file).unwrap_or(about.lora_alpha);
        let scaled = lora::Config {
            lora_alpha: alpha,
            use_rslora: about.use_rslora,
            ..lora::Config::default()
        };
        let scale = scaled.scale(rank);
        adapter.pairs.insert(module, Pair { rank, a, b, scale });
    }
    if let Some(name) = left.first() {
        return Err(Error::weights(
            &path,
            format!(
                "tensor `{name}` belongs to no matrix of the base's blocks ({} of {} layers)",
                base.model_type, base.num_hidden_layers
            ),
        ));
    }
    if adapter.pairs.is_empty() {
        return Err(Error::weights(&path, "holds no pair for the base"));
    }
    Ok(adapter)
}

/// Every adaptable matrix of a decoder, with its place in the family's checkpoints.
fn places(base: &Config) -> impl Iterator<Item = (String, Place)> {
    let matrices = base.tensors().into_iter();
    let matrices =
        matrices.filter(|(name, shape)| shape.len() == 2 && name.ends_with("_proj.weight"));
    matrices.map(|(name, shape)| {
        let place = place(base, &name, &shape);
        (name.trim_end_matches(".weight").to_owned(), place)
    })
}

/// `[out, in]` of a place's matrix in the file.
fn in_and_out(place: &Place) -> [usize; 2] {
    match (&place.shape[..], place.turned) {
        (&[features, out], true) | (&[out, features], false) => [out, features],
        _ => [0, 0],
    }
}

/// The names of a module's A and B in a file; some programs write the adapter's own name into them.
fn pair_names(checkpoint: &Checkpoint, module: &str) -> Option<[String; 2]> {
    ["", ".default"].into_iter().find_map(|own| {
        let [a, b] = ["A", "B"].map(|which| format!("{PREFIX}{module}.lora_{which}{own}.weight"));
        checkpoint.shape(&a).map(|_| [a, b])
    })
}

/// What a pattern says of a module: the entry that is the end of its name.
fn pattern<T: Copy>(patterns: &BTreeMap<String, T>, module: &str) -> Option<T> {
    let found = patterns
        .iter()
        .find(|(end, _)| module == *end || module.ends_with(&format!(".{end}")));
    found.map(|(_, value)| *value)
}

/// Reads the base of an adapter with the adapter beside its matrices.
pub(crate) fn load_with_base(folder: &Path, id: &str, device: &Device) -> Result<LoadedModel> {
    let base = base_of(folder)?;
    let LoadedModel {
        decoder, tokenizer, ..
    } = load(&base, id, device)?;
    let mut decoder = match adapter_products(folder)? {
        Some(products) => decoder.with_precision(products.into()),
        None => decoder,
    };
    attach(&mut decoder, folder)?;
    let own = folder.join("tokenizer.json").is_file();
    let tokenizer = if own {
        Tokenizer::load(folder)?
    } else {
        tokenizer
    };
    Ok(LoadedModel {
        decoder,
        tokenizer,
        id: id.to_owned(),
    })
}

/// Puts an adapter beside the matrices of its base and returns its number.
///
/// # Errors
/// When it cannot be read, or is for another model.
pub fn attach(decoder: &mut Decoder, folder: &Path) -> Result<usize> {
    let adapter = read_adapter(folder, decoder.config())?;
    let attached = decoder.attach(&adapter);
    attached.map_err(|error| Error::weights(&folder.join(WEIGHTS), error.to_string()))
}

/// How products were computed when an adapter was trained, where that is told.
///
/// # Errors
/// When the file that tells it is broken.
pub fn adapter_products(folder: &Path) -> Result<Option<Products>> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        precision: Option<Products>,
    }
    let path = folder.join(OURS);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let told: Told = serde_json::from_str(&text).map_err(|source| Error::Json { path, source })?;
    Ok(told.precision)
}

/// What PEFT's config has no field for.
const OURS: &str = "ontogeny.json";

/// Names another base in an adapter's folder.
pub(crate) fn rename_base(folder: &Path, base: &str) -> Result<()> {
    let path = folder.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut about: Value = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    about["base_model_name_or_path"] = base.into();
    let text = serde_json::to_string_pretty(&about).expect("values are JSON") + "\n";
    Ok(artifact::write_atomic(&path, text.as_bytes())?)
}

/// Writes the first adapter of a decoder, with the tokenizer that it was trained with.
///
/// # Errors
/// When a file cannot be written.
pub fn save_adapter(
    folder: &Path,
    decoder: &Decoder,
    config: &lora::Config,
    base: &str,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let adapter = decoder.adapter(0);
    let mut joined: BTreeMap<String, Vec<(Place, &Pair)>> = BTreeMap::new();
    for (module, place) in places(decoder.config()) {
        if let Some(pair) = adapter.pairs.get(&module) {
            let name = place.name.trim_end_matches(".weight").to_owned();
            joined.entry(name).or_default().push((place, pair));
        }
    }
    let mut tensors = Vec::new();
    let (mut ranks, mut alphas) = (BTreeMap::new(), BTreeMap::new());
    let mut targets: Vec<String> = Vec::new();
    for (name, parts) in joined {
        let last = last_two(&name);
        if !targets.contains(&last) {
            targets.push(last.clone());
        }
        let rank: usize = parts.iter().map(|(_, pair)| pair.rank).sum();
        let scale = parts.first().map_or(1.0, |(_, pair)| pair.scale);
        let ours = rank as f32;
        let alpha = scale * if config.use_rslora { ours.sqrt() } else { ours };
        if rank != config.r {
            ranks.insert(last.clone(), rank);
        }
        if rank != config.r || scale != config.scale(rank) {
            alphas.insert(last, alpha);
        }
        let [a, b] = together(&parts, rank);
        for (which, (shape, values)) in [("A", a), ("B", b)] {
            tensors.push(HostTensor {
                name: format!("{PREFIX}{name}.lora_{which}.weight"),
                shape,
                values,
            });
        }
    }
    let about = AdapterConfig {
        peft_type: "LORA".to_owned(),
        task_type: Some("CAUSAL_LM".to_owned()),
        base_model_name_or_path: Some(base.to_owned()),
        r: config.r,
        lora_alpha: config.lora_alpha,
        lora_dropout: 0.0,
        use_rslora: config.use_rslora,
        target_modules: targets.into(),
        rank_pattern: ranks,
        alpha_pattern: alphas,
        bias: none(),
        fan_in_fan_out: decoder.config().model_type == "gpt2",
        use_dora: false,
        lora_bias: false,
        modules_to_save: None,
        inference_mode: true,
    };
    let ours = serde_json::json!({ "precision": Products::from(decoder.precision()) });
    let about = serde_json::to_value(about).expect("a config is numbers and strings");
    for (name, value) in [(CONFIG, about), (OURS, ours)] {
        let text = serde_json::to_string_pretty(&value).expect("values are JSON") + "\n";
        artifact::write_atomic(&folder.join(name), text.as_bytes())?;
    }
    tokenizer.save(folder)?;
    let format = [("format", "pt".to_owned())];
    weights::write(&folder.join(WEIGHTS), &tensors, &format)
}

/// A module's name within its block's half: `self_attn.q_proj`; GPT-2 has a `c_proj` in both halves.
fn last_two(name: &str) -> String {
    let parts: Vec<&str> = name.rsplit('.').take(2).collect();
    match parts[..] {
        [last, half] if last.starts_with("c_") => format!("{half}.{last}"),
        [last, ..] => last.to_owned(),
        [] => name.to_owned(),
    }
}

/// Shape and values.
type Stored = (Vec<usize>, Vec<f32>);

/// One A and one B of several pairs that multiply the same input: the As one below the other, each B in its rows and
/// its columns.
fn together(parts: &[(Place, &Pair)], rank: usize) -> [Stored; 2] {
    let [rows, features] = parts.first().map_or([0, 0], |(place, _)| in_and_out(place));
    let mut a = Vec::with_capacity(rank * features);
    let mut b = vec![0.0; rows * rank];
    let mut column = 0;
    for (place, pair) in parts {
        a.extend_from_slice(&pair.a);
        let first = place.part.map_or(0, |(first, _)| first);
        for (row, values) in pair.b.chunks_exact(pair.rank).enumerate() {
            b[(first + row) * rank + column..][..pair.rank].copy_from_slice(values);
        }
        column += pair.rank;
    }
    [(vec![rank, features], a), (vec![rows, rank], b)]
}
