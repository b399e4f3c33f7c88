//! Encoder-decoders from Hugging Face folders: T5 and mT5.

use std::fs;
use std::path::Path;

use models::t5::{Config, T5};
use tensor::{Device, Precision};
use tokenizer::Tokenizer;

use crate::checkpoint::Checkpoint;
use crate::{Error, Result};

/// An encoder-decoder in memory with its tokenizer.
#[derive(Debug)]
pub struct LoadedSeq2Seq {
    /// The weights.
    pub model: T5,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Artifact id, or the folder's name.
    pub id: String,
}

/// Whether a folder's `config.json` is of a family that is read here.
pub fn is_seq2seq(folder: &Path) -> bool {
    let kind = || {
        let text = fs::read_to_string(folder.join("config.json")).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(value["model_type"].as_str()?.to_owned())
    };
    kind().is_some_and(|kind| models::t5::FAMILIES.contains(&kind.as_str()))
}

/// Reads and checks a folder's `config.json`. Whether there is a head of its own, the weights say: programs disagree
/// about what the config's field means.
///
/// # Errors
/// When a file is missing or broken, or the numbers do not fit each other.
pub fn read_seq2seq_config(folder: &Path) -> Result<Config> {
    config(folder, &Checkpoint::open_folder(folder)?)
}

fn config(folder: &Path, checkpoint: &Checkpoint) -> Result<Config> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut config: Config = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    config.scale_decoder_outputs = Some(config.scales_outputs());
    config.tie_word_embeddings = checkpoint.shape("lm_head.weight").is_none();
    config
        .validate()
        .map_err(|source| Error::Config { path, source })?;
    Ok(config)
}

/// Reads the weights of an encoder-decoder's folder onto a device.
///
/// # Errors
/// Names the file, and in it the tensor or field, that is missing or does not fit.
pub fn load_t5(folder: &Path, device: &Device) -> Result<T5> {
    let checkpoint = Checkpoint::open_folder(folder)?;
    let config = config(folder, &checkpoint)?;
    // Older files have the table once for each stack.
    let table = ["shared.weight", "encoder.embed_tokens.weight"]
        .into_iter()
        .find(|name| checkpoint.shape(name).is_some());
    T5::build(&config, Precision::F32, device, |name, shape| {
        let name = match (name, table) {
            ("shared.weight", Some(there)) => there,
            _ => name,
        };
        checkpoint.get(name, shape)
    })
}

/// Reads an encoder-decoder's folder onto a device.
///
/// # Errors
/// As [`load_t5`]; when the tokenizer has more tokens than the table has rows.
pub fn load_seq2seq(folder: &Path, id: &str, device: &Device) -> Result<LoadedSeq2Seq> {
    let tokenizer = Tokenizer::load(folder)?;
    let model = load_t5(folder, device)?;
    let (tokens, rows) = (tokenizer.vocab_size(), model.config().vocab_size);
    if tokens > rows {
        return Err(Error::weights(
            &folder.join("config.json"),
            format!("the tokenizer has {tokens} tokens, the embedding table {rows} rows"),
        ));
    }
    Ok(LoadedSeq2Seq {
        model,
        tokenizer,
        id: id.to_owned(),
    })
}
