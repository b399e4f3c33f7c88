//! A model's folder, read and written whole.

use std::fs;
use std::path::Path;

use models::Values;
use models::decoder::{Config, Decoder};
use serde::{Deserialize, Serialize};
use tensor::{Device, Precision};
use tokenizer::Tokenizer;

use crate::weights::{self, HostTensor, Weights};
use crate::{Error, Result, gguf};

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
    if folder.is_file() {
        return Ok(ModelConfig {
            decoder: gguf::read_config(folder)?,
            precision: Products::F32,
        });
    }
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

/// Reads a model's folder, or a `.gguf` file, onto a device.
///
/// # Errors
/// Names the file, and in it the tensor or field, that is missing or does not fit.
pub fn load(folder: &Path, id: &str, device: &Device) -> Result<LoadedModel> {
    if folder.is_file() {
        return gguf::load(folder, id, device);
    }
    let config = read_config(folder)?;
    let tokenizer = Tokenizer::load(folder)?;
    let path = folder.join("model.safetensors");
    let weights = Weights::open(&path)?;
    if tokenizer.vocab_size() > config.decoder.vocab_size {
        let (tokens, rows) = (tokenizer.vocab_size(), config.decoder.vocab_size);
        return Err(Error::weights(
            &path,
            format!("the tokenizer has {tokens} tokens, the embedding table {rows} rows"),
        ));
    }
    let source = |name: &str, shape: &[usize]| weights.get(name, shape).map(Values::from);
    let decoder = Decoder::build(&config.decoder, config.precision.into(), device, source)?;
    Ok(LoadedModel {
        decoder,
        tokenizer,
        id: id.to_owned(),
    })
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
    let mut config_json = serde_json::to_value(&config).expect("a config is numbers and strings");
    config_json["torch_dtype"] = "float32".into();
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
    tokenizer.save(folder)?;
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
