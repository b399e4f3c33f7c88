//! An encoder's folder: BERT, RoBERTa and XLM-RoBERTa as Hugging Face's `transformers` writes them, with what
//! sentence-transformers puts beside.

use std::fs;
use std::path::Path;

use models::encoder::{Config, Encoder, FAMILIES};
use models::sentence::SentenceEncoder;
use serde_json::Value;
use tensor::{Device, Precision};
use tokenizer::Reader;

use crate::adapter::is_adapter;
use crate::checkpoint::Checkpoint;
use crate::folder::gguf_of;
use crate::sentence::{self, Modules, Preparation};
use crate::{Error, Result};

pub use crate::sentence::Prompts;

/// What models with a head put before an encoder's tensors.
const PREFIXES: [&str; 3] = ["", "bert.", "roberta."];

/// An encoder in memory with what is needed to make vectors of texts.
#[derive(Debug)]
pub struct LoadedEncoder {
    /// Tokens to vectors.
    pub model: SentenceEncoder,
    /// Text to tokens.
    pub reader: Reader,
    /// What may be set before a text.
    pub prompts: Prompts,
    /// Artifact id, or the folder's name.
    pub id: String,
}

/// The family of the encoder in a folder; `None` for everything else, broken files included.
pub(crate) fn family(path: &Path) -> Option<String> {
    if is_adapter(path) || gguf_of(path).is_some() {
        return None;
    }
    // A model whose list of modules is broken is an encoder all the same.
    let transformer = Modules::read(path).map_or_else(|_| path.to_owned(), |all| all.transformer);
    let text = fs::read_to_string(transformer.join("config.json")).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    let name = config.get("model_type")?.as_str()?;
    FAMILIES.contains(&name).then(|| name.to_owned())
}

/// Refuses an encoder where a model that writes is wanted.
pub(crate) fn refuse(folder: &Path) -> Result<()> {
    match family(folder) {
        Some(family) => Err(Error::Encoder {
            path: folder.to_owned(),
            family,
        }),
        None => Ok(()),
    }
}

/// Reads and checks the `config.json` of an encoder's folder.
///
/// # Errors
/// When it is missing, is no JSON, or its numbers do not fit each other; when the model is no encoder.
pub fn read_encoder_config(folder: &Path) -> Result<Config> {
    if is_adapter(folder) || gguf_of(folder).is_some() {
        return Err(Error::NotAnEncoder {
            path: folder.to_owned(),
            family: if is_adapter(folder) {
                "an adapter"
            } else {
                "a GGUF file"
            }
            .to_owned(),
        });
    }
    config_in(folder, &Modules::read(folder)?)
}

fn config_in(folder: &Path, modules: &Modules) -> Result<Config> {
    let path = modules.transformer.join("config.json");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut value: Value = sentence::parse(&path, &text)?;
    let family = value["model_type"].as_str().unwrap_or("no model_type");
    if !FAMILIES.contains(&family) {
        return Err(Error::NotAnEncoder {
            path: folder.to_owned(),
            family: family.to_owned(),
        });
    }
    // Files leave out what is the family's own default.
    let padding = u8::from(family != "bert");
    if value["pad_token_id"].is_null() {
        value["pad_token_id"] = padding.into();
    }
    let config: Config = sentence::parse(&path, &value.to_string())?;
    config
        .validate()
        .map_err(|source| Error::Config { path, source })?;
    Ok(config)
}

/// Reads an encoder's folder onto a device.
///
/// # Errors
/// Names the file, and in it the tensor or field, that is missing or does not fit.
pub fn load_encoder(folder: &Path, id: &str, device: &Device) -> Result<LoadedEncoder> {
    if is_adapter(folder) || gguf_of(folder).is_some() {
        read_encoder_config(folder)?;
    }
    let modules = Modules::read(folder)?;
    let config = config_in(folder, &modules)?;
    let files = &modules.transformer;

    let (preparation, said_by) = Preparation::read(files)?;
    let mut reader = Reader::load(files)?;
    if preparation.do_lower_case == Some(true) {
        reader = reader.lowercasing()?;
    }
    let stated = preparation.max_seq_length.or(reader.stated_length());
    let longest = stated.map_or(config.context(), |tokens| tokens.min(config.context()));
    let reader = reader
        .fitted(longest, config.vocab_size)
        .map_err(|error| Error::weights(&said_by, error.to_string()))?;

    let (pooling, steps) = modules.load(config.hidden_size, device)?;
    let checkpoint = Checkpoint::open_folder(files)?;
    let encoder = Encoder::build(&config, Precision::F32, device, |name, shape| {
        values(&checkpoint, name, shape)
    })?;
    Ok(LoadedEncoder {
        model: SentenceEncoder {
            encoder,
            pooling,
            steps,
        },
        reader,
        prompts: Prompts::read(folder)?,
        id: id.to_owned(),
    })
}

/// A tensor of ours out of a file that may put a head's prefix before it, or call a norm's parts as TensorFlow did.
fn values(checkpoint: &Checkpoint, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let older = name
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta");
    let found = PREFIXES
        .iter()
        .flat_map(|prefix| [format!("{prefix}{name}"), format!("{prefix}{older}")])
        .find(|name| checkpoint.shape(name).is_some());
    checkpoint.get(found.as_deref().unwrap_or(name), shape)
}
