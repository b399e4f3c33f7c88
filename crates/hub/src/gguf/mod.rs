//! Models in GGUF files: every decoder family, its weights as they are, few bits and all.

mod config;
mod file;
mod sentence_piece;
pub(crate) mod storage;
mod tokenizer;
pub(crate) mod write;

use std::path::Path;

use ::tokenizer::Tokenizer;
use models::Values;
use models::decoder::family::Family;
use models::decoder::{Config, Decoder};
use tensor::quantised::Quantised;
use tensor::{Device, Precision};

use crate::{LoadedModel, Result};
pub(crate) use config::name_in_file;
use config::{config, inside};
pub(crate) use file::File;
use storage::Storage;
pub(crate) use tokenizer::tokenizer;

/// Reads a `.gguf` file onto a device. On the CPU matrices stay in the file's formats.
///
/// # Errors
/// Names what is missing, unknown or broken.
pub(crate) fn load(path: &Path, id: &str, device: &Device) -> Result<LoadedModel> {
    let file = File::open(path)?;
    Ok(LoadedModel {
        tokenizer: tokenizer(&file)?,
        decoder: decoder(&file, device)?,
        id: id.to_owned(),
    })
}

/// Reads the weights alone.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_decoder(path: &Path, device: &Device) -> Result<Decoder> {
    decoder(&File::open(path)?, device)
}

/// The tokenizer alone.
///
/// # Errors
/// As [`load`].
pub(crate) fn tokenizer_of(path: &Path) -> Result<Tokenizer> {
    tokenizer(&File::open(path)?)
}

fn decoder(file: &File, device: &Device) -> Result<Decoder> {
    let config = config(file)?;
    let on_cpu = *device == Device::flex();
    Decoder::build(&config, Precision::F32, device, |name, shape| {
        let values = values(file, &config, name, shape)?;
        Ok(if on_cpu {
            values
        } else {
            Values::Dense(values.dense())
        })
    })
}

/// The architecture of a file.
///
/// # Errors
/// As [`load`], which reads the weights too.
pub(crate) fn read_config(path: &Path) -> Result<Config> {
    config(&File::open(path)?)
}

/// How a tensor is stored, and its bytes as they lie in the file; Llama's rows of queries and keys in pairs.
pub(crate) fn bytes<'a>(
    file: &'a File,
    config: &Config,
    name: &str,
    shape: &[usize],
) -> Result<(Storage, &'a [u8])> {
    let place = inside(config, name);
    let inside = place.name;
    let described = file.tensor(&inside)?;
    let mut in_file = shape.to_vec();
    if let Some((_, rows)) = place.part {
        in_file[0] = rows;
    }
    if described.shape != in_file {
        return Err(file.wrong(format!(
            "tensor `{inside}` has shape {:?}, its head asks for {in_file:?}",
            described.shape
        )));
    }
    let storage = Storage::numbered(described.kind).ok_or_else(|| {
        file.wrong(format!(
            "tensor `{inside}` is stored as kind {}: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are read",
            described.kind
        ))
    })?;
    // A vector is a row; of one that several share, ours is a stretch.
    let (cols, rows) = match *shape {
        [features] if place.part.is_some() => (1, features),
        [features] => (features, 1),
        _ => (
            shape.last().copied().unwrap_or(1),
            shape.iter().rev().skip(1).product(),
        ),
    };
    let row_bytes = storage.row_bytes(cols).ok_or_else(|| {
        let name = storage.name();
        file.wrong(format!(
            "tensor `{inside}` has rows of {cols} weights, no whole blocks of {name}"
        ))
    })?;
    let (first, all) = place.part.unwrap_or((0, rows));
    let bytes = file.bytes_of(&inside, all * row_bytes)?;
    Ok((storage, &bytes[first * row_bytes..][..rows * row_bytes]))
}

fn values(file: &File, config: &Config, name: &str, shape: &[usize]) -> Result<Values> {
    let (storage, bytes) = bytes(file, config, name, shape)?;
    let ordered;
    let bytes = match name.rsplit('.').nth(1) {
        Some("q_proj" | "k_proj") if config.family() == Family::Llama => {
            let row_bytes = bytes.len() / shape[0].max(1);
            ordered = halves_from_pairs(bytes, row_bytes, config.head_dim);
            &ordered[..]
        }
        _ => bytes,
    };
    Ok(match (storage, shape) {
        (Storage::Blocks(format), &[rows, cols]) => {
            Values::Quantised(Quantised::new(format, [rows, cols], bytes))
        }
        // Gemma's files hold norms' weights whole, ours their difference from one.
        (storage, &[_]) if config.norm_offset() != 0.0 => {
            let whole = storage.decode(bytes).into_iter();
            Values::Dense(whole.map(|weight| weight - config.norm_offset()).collect())
        }
        (storage, _) => Values::Dense(storage.decode(bytes)),
    })
}

/// GGUF's Llama turns feature 2i of a head with feature 2i + 1, ours feature i with feature i + half a head: the rows of
/// queries and keys change places.
pub(crate) fn halves_from_pairs(rows: &[u8], row_bytes: usize, head_dim: usize) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(rows.len());
    for head in rows.chunks(head_dim * row_bytes) {
        for part in 0..2 {
            for row in head.chunks(row_bytes).skip(part).step_by(2) {
                ordered.extend_from_slice(row);
            }
        }
    }
    ordered
}

/// The way back from [`halves_from_pairs`].
pub(crate) fn pairs_from_halves(rows: &[u8], row_bytes: usize, head_dim: usize) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(rows.len());
    for head in rows.chunks(head_dim * row_bytes) {
        let (first, second) = head.split_at(head.len() / 2);
        for (first, second) in first.chunks(row_bytes).zip(second.chunks(row_bytes)) {
            ordered.extend_from_slice(first);
            ordered.extend_from_slice(second);
        }
    }
    ordered
}
