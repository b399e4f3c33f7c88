//! A GGUF file that llama.cpp loads.

use std::fs;
use std::path::Path;

use artifact::Progress;
use models::decoder::Config;
use models::decoder::family::Family;

use super::source::{Held, Source};
use super::{Exported, each, whole};
use crate::gguf::storage::Storage;
use crate::gguf::{self, write};
use crate::{Error, Result};

/// Writes the GGUF file `out` from the model at `from`, its matrices in `storage` where their shapes allow it.
///
/// # Errors
/// What cannot be read, stored or written, by name; an older file is then still whole.
pub fn to_gguf(
    from: &Path,
    id: &str,
    out: &Path,
    storage: Storage,
    progress: &Progress,
) -> Result<Exported> {
    let source = Source::open(from)?;
    let config = &source.config.decoder;
    let plain = config.rope_scaling.is_none() && config.sliding_window.is_none();
    let (architecture, in_pairs) = match config.family() {
        Family::Llama if plain && !config.attention_bias && !config.mlp_bias => ("llama", true),
        // Without a window its layers are Llama's.
        Family::Mistral if plain => ("llama", true),
        Family::Qwen2 if plain => ("qwen2", false),
        Family::Qwen3 if plain => ("qwen3", false),
        _ => {
            let reason = format!(
                "a model of the type `{}`{} cannot be written as GGUF yet; llama, mistral, qwen2 and qwen3 can where \
                 positions are not stretched and windows do not slide; export as safetensors instead",
                config.model_type,
                if plain {
                    ""
                } else {
                    " with stretched positions or sliding windows"
                }
            );
            return Err(Error::weights(from, reason));
        }
    };
    let mut head = write::Head::default();
    head.architecture(architecture, id, config, storage);
    let notes = head.tokenizer(&source.tokenizer, config);
    let mut notes = notes.map_err(|why| Error::weights(from, format!("the tokenizer: {why}")))?;
    let tensors = config.tensors();
    let mut described = Vec::with_capacity(tensors.len());
    for (name, shape) in &tensors {
        let head = *name == head_name(config);
        let mut chosen = write::choice(storage, shape, head);
        if let Held::Gguf(file) = &source.weights
            && shape.len() == 2
            && gguf::bytes(file, config, name, shape)?.0 == storage
        {
            chosen = storage;
        }
        let rows = shape.iter().rev().skip(1).product::<usize>();
        let row = chosen.row_bytes(shape.last().copied().unwrap_or(1));
        let length = rows * row.expect("`choice` gives whole blocks");
        described.push((
            gguf::name_in_file(name, config.norms_behind()),
            shape.clone(),
            chosen,
            length,
        ));
    }
    notes.extend(otherwise(&described, storage));
    whole(out, progress, |to| {
        head.write(&described, to)?;
        let mut chosen = described.iter().map(|one| one.2);
        each(&tensors, progress, |name, shape| {
            let storage = chosen.next().unwrap_or(Storage::F32);
            let bytes = source.stored(out, (name, shape), storage, in_pairs)?;
            write::padded(&bytes, to).map_err(Error::io("write", out))
        })
    })?;
    Ok(Exported {
        parameters: config.parameters(),
        bytes: fs::metadata(out).map_err(Error::io("read", out))?.len(),
        notes,
    })
}

/// The tensor that makes the logits.
fn head_name(config: &Config) -> &'static str {
    if config.tie_word_embeddings {
        "model.embed_tokens.weight"
    } else {
        "lm_head.weight"
    }
}

/// Which matrices are stored in another way than asked.
fn otherwise(tensors: &[(String, Vec<usize>, Storage, usize)], asked: Storage) -> Vec<String> {
    let matrices = || tensors.iter().filter(|one| one.1.len() == 2);
    let others = Storage::names().filter_map(Storage::named);
    let others = others.filter(|other| *other != asked).filter_map(|other| {
        let mut found = matrices().filter(|one| one.2 == other);
        let (first, more) = (found.next()?, found.count());
        let which = match more {
            0 => first.0.clone(),
            more => format!("{} and {more} more", first.0),
        };
        let (other, cols) = (other.name(), first.1[1]);
        Some(format!(
            "{which} in {other} (rows of {cols}), as llama.cpp does for {}",
            asked.name()
        ))
    });
    others.collect()
}
