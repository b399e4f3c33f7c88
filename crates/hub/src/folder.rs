//! A model's folder, read and written whole.

use std::fs;
use std::path::{Path, PathBuf};

use models::Values;
use models::decoder::{Config, Decoder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tensor::{Device, Precision};
use tokenizer::Tokenizer;

use crate::adapter::{base_of, is_adapter, load_with_base};
use crate::checkpoint::Checkpoint;
use crate::weights::{self, HostTensor};
use crate::{Error, Result, encoder, gguf, names};

/// `config.json`: the architecture in Hugging Face's fields, and how we compute products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The architecture.
    #[serde(flatten)]
    pub decoder: Config,
    /// `f32` or `bf16` products; the precision of training, so that every later use agrees with it to the bit.
    #[serde(default)]
    pub precision: Products,
}

/// How products are computed. Weights are stored as f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Products {
    /// In 32-bit floats.
    #[default]
    F32,
    /// Operands rounded to bfloat16, sums in f32.
    Bf16,
}

impl From<Products> for Precision {
    fn from(products: Products) -> Self {
        match products {
            Products::F32 => Self::F32,
            Products::Bf16 => Self::Bf16,
        }
    }
}

impl From<Precision> for Products {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// The other name under which Llama's layers are known, and its class.
pub(crate) const MISTRAL: (&str, &str) = ("mistral", "MistralForCausalLM");

/// A model in memory with what is needed to talk to it.
#[derive(Debug)]
pub struct LoadedModel {
    /// The weights.
    pub decoder: Decoder,
    /// Text to tokens and back, with the chat template.
    pub tokenizer: Tokenizer,
    /// Artifact id, or the folder's name.
    pub id: String,
}

/// Reads and checks a folder's `config.json`, or the head of a `.gguf` file.
///
/// # Errors
/// When it is missing, is no JSON, or its numbers do not fit each other.
pub fn read_config(folder: &Path) -> Result<ModelConfig> {
    if is_adapter(folder) {
        return read_config(&base_of(folder)?);
    }
    if let Some(file) = gguf_of(folder) {
        return Ok(ModelConfig {
            decoder: gguf::read_config(&file)?,
            precision: Products::F32,
        });
    }
    encoder::refuse(folder)?;
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let config: ModelConfig = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    config
        .decoder
        .validate()
        .map_err(|source| Error::Config { path, source })?;
    Ok(config)
}

/// The GGUF file that is the model: the path itself, or the only one in a folder without a `config.json`.
pub(crate) fn gguf_of(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    if path.join("config.json").is_file() {
        return None;
    }
    let entries = fs::read_dir(path)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut files = entries.filter(|path| path.extension().is_some_and(|ending| ending == "gguf"));
    let first = files.next()?;
    files.next().is_none().then_some(first)
}

/// Reads a model's folder, a `.gguf` file, or an adapter with its base, onto a device.
///
/// # Errors
/// Names the file, and in it the tensor or field, that is missing or does not fit.
pub fn load(folder: &Path, id: &str, device: &Device) -> Result<LoadedModel> {
    if is_adapter(folder) {
        return load_with_base(folder, id, device);
    }
    if let Some(file) = gguf_of(folder) {
        return gguf::load(&file, id, device);
    }
    encoder::refuse(folder)?;
    let tokenizer = Tokenizer::load(folder)?;
    let decoder = load_decoder(folder, device)?;
    let (tokens, rows) = (tokenizer.vocab_size(), decoder.config().vocab_size);
    if tokens > rows {
        return Err(Error::weights(
            &folder.join("config.json"),
            format!("the tokenizer has {tokens} tokens, the embedding table {rows} rows"),
        ));
    }
    Ok(LoadedModel {
        decoder,
        tokenizer,
        id: id.to_owned(),
    })
}

/// The tokenizer of a model's folder or `.gguf` file, which need not hold weights.
///
/// # Errors
/// As [`load`].
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    if is_adapter(path) && !path.join("tokenizer.json").is_file() {
        return tokenizer(&base_of(path)?);
    }
    match gguf_of(path) {
        Some(file) => gguf::tokenizer_of(&file),
        None => Ok(Tokenizer::load(path)?),
    }
}

/// Reads the weights of a model's folder, or of a `.gguf` file, onto a device.
///
/// # Errors
/// As [`load`].
pub fn load_decoder(folder: &Path, device: &Device) -> Result<Decoder> {
    if is_adapter(folder) {
        return Ok(load_with_base(folder, "", device)?.decoder);
    }
    if let Some(file) = gguf_of(folder) {
        return gguf::load_decoder(&file, device);
    }
    let config = read_config(folder)?;
    let checkpoint = Checkpoint::open_folder(folder)?;
    Decoder::build(
        &config.decoder,
        config.precision.into(),
        device,
        |name, shape| values(&checkpoint, &config.decoder, name, shape).map(Values::from),
    )
}

/// A tensor of ours out of the family's files, which some publishers write without the model's own prefix.
pub(crate) fn values(
    checkpoint: &Checkpoint,
    config: &Config,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>> {
    let place = names::place(config, name, shape);
    let bare = place.name.split_once('.').map_or("", |(_, rest)| rest);
    let found = if checkpoint.shape(&place.name).is_none() && checkpoint.shape(bare).is_some() {
        bare
    } else {
        &place.name
    };
    Ok(place.take(checkpoint.get(found, &place.shape)?))
}

/// Writes a model's folder: weights, config, tokenizer.
///
/// # Errors
/// When a file cannot be written.
pub fn save(folder: &Path, decoder: &Decoder, tokenizer: &Tokenizer) -> Result<()> {
    let config = ModelConfig {
        decoder: decoder.config().clone(),
        precision: decoder.precision().into(),
    };
    describe(folder, &config, None, tokenizer, "float32")?;
    let names = config.decoder.tensors().into_iter().map(|(name, _)| name);
    let tensors: Vec<HostTensor> = names
        .zip(weights::parameters(decoder))
        .map(|(name, (shape, values))| HostTensor {
            name,
            shape,
            values,
        })
        .collect();
    weights::write(
        &folder.join("model.safetensors"),
        &tensors,
        &[("format", "pt".to_owned())],
    )
}

/// Writes everything of a model's folder but the weights; `published` is the `config.json` that it came with.
pub(crate) fn describe(
    folder: &Path,
    config: &ModelConfig,
    published: Option<&Value>,
    tokenizer: &Tokenizer,
    dtype: &str,
) -> Result<()> {
    let mut config_json = match published {
        Some(published) => published.clone(),
        None => serde_json::to_value(config).expect("a config is numbers and strings"),
    };
    config_json["torch_dtype"] = dtype.into();
    if published.is_none() && config.decoder.model_type == MISTRAL.0 {
        config_json["sliding_window"] = Value::Null;
    }
    if let Some(dtype_of_tensors) = config_json.get_mut("dtype") {
        *dtype_of_tensors = dtype.into();
    }
    config_json["precision"] = serde_json::to_value(config.precision).expect("a name is a string");
    let generation = serde_json::json!({
        "bos_token_id": config.decoder.bos_token_id,
        "eos_token_id": [tokenizer.end_of_text(), tokenizer.end_of_turn()],
    });
    for (name, value) in [
        ("config.json", config_json),
        ("generation_config.json", generation),
    ] {
        let text = serde_json::to_string_pretty(&value).expect("values are JSON") + "\n";
        artifact::write_atomic(&folder.join(name), text.as_bytes())?;
    }
    Ok(tokenizer.save(folder)?)
}
