//! Models in GGUF files: every decoder family, its weights as they are, few bits and all.

mod config;
mod file;
mod sentence_piece;
mod tokenizer;

use std::path::Path;

use ::tokenizer::Tokenizer;
use models::Values;
use models::decoder::family::Family;
use models::decoder::{Config, Decoder};
use tensor::quantised::{Format, Quantised};
use tensor::{Device, Precision};

use crate::{LoadedModel, Result};
use config::{config, inside};
use file::File;

/// Reads a `.gguf` file onto a device. On the CPU matrices stay in the file's formats.
///
/// # Errors
/// Names what is missing, unknown or broken.
pub(crate) fn load(path: &Path, id: &str, device: &Device) -> Result<LoadedModel> {
    let file = File::open(path)?;
    Ok(LoadedModel {
        tokenizer: tokenizer::tokenizer(&file)?,
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
    tokenizer::tokenizer(&File::open(path)?)
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

/// How a tensor is stored.
enum Stored {
    F32,
    F16,
    Bf16,
    Blocks(Format),
}

fn stored(kind: u32) -> Option<Stored> {
    Some(match kind {
        0 => Stored::F32,
        1 => Stored::F16,
        2 => Stored::Blocks(Format::Q4_0),
        3 => Stored::Blocks(Format::Q4_1),
        6 => Stored::Blocks(Format::Q5_0),
        7 => Stored::Blocks(Format::Q5_1),
        8 => Stored::Blocks(Format::Q8_0),
        12 => Stored::Blocks(Format::Q4K),
        13 => Stored::Blocks(Format::Q5K),
        14 => Stored::Blocks(Format::Q6K),
        30 => Stored::Bf16,
        _ => return None,
    })
}

fn values(file: &File, config: &Config, name: &str, shape: &[usize]) -> Result<Values> {
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
    let stored = stored(described.kind).ok_or_else(|| {
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
    let row_bytes = match stored {
        Stored::F32 => 4 * cols,
        Stored::F16 | Stored::Bf16 => 2 * cols,
        Stored::Blocks(format) if cols.is_multiple_of(format.weights()) => {
            cols / format.weights() * format.bytes()
        }
        Stored::Blocks(format) => {
            return Err(file.wrong(format!(
                "tensor `{inside}` has rows of {cols} weights, no whole blocks of {format:?}"
            )));
        }
    };
    let (first, all) = place.part.unwrap_or((0, rows));
    let bytes = &file.bytes_of(&inside, all * row_bytes)?[first * row_bytes..][..rows * row_bytes];
    let ordered;
    let bytes = match name.rsplit('.').nth(1) {
        Some("q_proj" | "k_proj") if config.family() == Family::Llama => {
            let row_bytes = bytes.len() / shape[0];
            ordered = halves_from_pairs(bytes, row_bytes, config.head_dim);
            &ordered[..]
        }
        _ => bytes,
    };
    // Gemma's files hold norms' weights whole, ours their difference from one.
    let whole_norm = shape.len() == 1 && config.norm_offset() != 0.0;
    Ok(match stored {
        Stored::Blocks(format) => Values::Quantised(Quantised::new(format, [rows, cols], bytes)),
        Stored::F32 if whole_norm => Values::Dense(
            bytemuck::pod_collect_to_vec::<_, f32>(bytes)
                .into_iter()
                .map(|weight| weight - config.norm_offset())
                .collect(),
        ),
        Stored::F32 => Values::Dense(bytemuck::pod_collect_to_vec(bytes)),
        Stored::F16 => Values::Dense(halves(bytes, |bits| half::f16::from_bits(bits).to_f32())),
        Stored::Bf16 => Values::Dense(halves(bytes, |bits| half::bf16::from_bits(bits).to_f32())),
    })
}

fn halves(bytes: &[u8], value: impl Fn(u16) -> f32) -> Vec<f32> {
    let pairs = bytes.as_chunks::<2>().0;
    pairs
        .iter()
        .map(|b| value(u16::from_le_bytes(*b)))
        .collect()
}

/// GGUF's Llama turns feature 2i of a head with feature 2i + 1, ours feature i with feature i + half a head: the rows of
/// queries and keys change places.
fn halves_from_pairs(rows: &[u8], row_bytes: usize, head_dim: usize) -> Vec<u8> {
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
