//! A folder that Python's `transformers` loads.

use std::fs;
use std::path::Path;

use artifact::Progress;
use models::decoder::family::Family;
use serde_json::{Map, Value, json};
use tokenizer::Tokenizer;

use super::source::{InFile, Source, laid_out};
use super::{Exported, each, whole};
use crate::folder::{MISTRAL, describe};
use crate::gguf::storage::Storage;
use crate::{Error, Result};

/// Writes the folder `out` from the model at `from`: weights in `storage` (f32, f16 or bf16), config, tokenizer.
///
/// # Errors
/// What cannot be read, stored or written, by name; the files before are then whole.
pub fn to_folder(
    from: &Path,
    out: &Path,
    storage: Storage,
    progress: &Progress,
) -> Result<Exported> {
    let source = Source::open(from)?;
    let family = source.config.decoder.family();
    let of_its_own = matches!(family, Family::Phi3 | Family::Gpt2 | Family::Gemma3);
    if of_its_own && source.published.is_none() {
        let reason = format!(
            "a GGUF file of the type `{}` does not say all that its folder's config.json needs: export from the folder",
            source.config.decoder.model_type
        );
        return Err(Error::weights(from, reason));
    }
    let (kind, dtype) = match storage {
        Storage::F16 => ("F16", "float16"),
        Storage::Bf16 => ("BF16", "bfloat16"),
        _ => ("F32", "float32"),
    };
    let tensors = laid_out(&source.config.decoder);
    // In this order and no other: equal models give equal bytes.
    let mut header = vec![json!({ "format": "pt" }).to_string()];
    let mut offset = 0;
    for InFile { shape, .. } in &tensors {
        let size = if kind == "F32" { 4 } else { 2 };
        let end = offset + shape.iter().product::<usize>() * size;
        header.push(
            json!({ "dtype": kind, "shape": shape, "data_offsets": [offset, end] }).to_string(),
        );
        offset = end;
    }
    let names = ["__metadata__"].into_iter();
    let names = names.chain(tensors.iter().map(|tensor| tensor.name.as_str()));
    let fields = names
        .zip(&header)
        .map(|(name, told)| format!("{}:{told}", Value::from(name)));
    let mut header = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    header.extend(std::iter::repeat_n(
        ' ',
        header.len().next_multiple_of(8) - header.len(),
    ));

    fs::create_dir_all(out).map_err(Error::io("create", out))?;
    let mut config = source.config.clone();
    let mut notes = Vec::new();
    let (width, heads) = (
        config.decoder.hidden_size,
        config.decoder.num_attention_heads,
    );
    let mut published = source.published.clone();
    if config.decoder.family() == Family::Llama && !width.is_multiple_of(heads) {
        let (model_type, class) = MISTRAL;
        if let Some(published) = &mut published {
            published["model_type"] = model_type.into();
            published["architectures"] = json!([class]);
            published["sliding_window"] = Value::Null;
        }
        (config.decoder.model_type, config.decoder.architectures) =
            (model_type.to_owned(), vec![class.to_owned()]);
        notes.push(format!(
            "named a Mistral model, whose layers are the same: Python's Llama refuses a width of {width} with {heads} heads"
        ));
    }
    describe(
        out,
        &config,
        published.as_ref(),
        &with_class(&source.tokenizer)?,
        dtype,
    )?;
    let path = out.join("model.safetensors");
    whole(&path, progress, |to| {
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(header.as_bytes())?;
        let sized: Vec<_> = tensors
            .iter()
            .map(|one| (one.name.clone(), one.shape.clone()))
            .collect();
        let mut in_file = tensors.iter();
        each(&sized, progress, |_, _| {
            let one = in_file.next().expect("one for each");
            let bytes = source.assembled(&path, one, storage)?;
            to.write_all(&bytes).map_err(Error::io("write", &path))
        })
    })?;
    Ok(Exported {
        parameters: source.config.decoder.parameters(),
        bytes: (8 + header.len() + offset) as u64,
        notes,
    })
}

/// The tokenizer with what Python needs to know which class reads it.
fn with_class(tokenizer: &Tokenizer) -> Result<Tokenizer> {
    let mut config = tokenizer.config().clone();
    if !config.is_object() {
        config = Value::Object(Map::new());
    }
    if config["tokenizer_class"].is_null() {
        config["tokenizer_class"] = "PreTrainedTokenizerFast".into();
    }
    let clean = &mut config["clean_up_tokenization_spaces"];
    if clean.is_null() {
        *clean = false.into();
    }
    Ok(Tokenizer::from_json(
        tokenizer.to_json()?.as_bytes(),
        config,
    )?)
}
