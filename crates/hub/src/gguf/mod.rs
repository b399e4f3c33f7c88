//! Models in GGUF files: the Llama family, its weights as they are, few bits and all.

mod file;
mod tokenizer;

use std::path::Path;

use models::Values;
use models::decoder::{Config, Decoder};
use tensor::quantised::{Format, Quantised};
use tensor::{Device, Precision};

use crate::{Error, LoadedModel, Result};
use file::File;

/// Reads a `.gguf` file onto a device. On the CPU matrices stay in the file's formats.
///
/// # Errors
/// Names what is missing, unknown or broken.
pub(crate) fn load(path: &Path, id: &str, device: &Device) -> Result<LoadedModel> {
    let file = File::open(path)?;
    let config = config(&file)?;
    let tokenizer = tokenizer::tokenizer(&file)?;
    let on_cpu = *device == Device::flex();
    let decoder = Decoder::build(&config, Precision::F32, device, |name, shape| {
        let values = values(&file, &config, name, shape)?;
        Ok::<_, Error>(if on_cpu {
            values
        } else {
            Values::Dense(values.dense())
        })
    })?;
    Ok(LoadedModel {
        decoder,
        tokenizer,
        id: id.to_owned(),
    })
}

/// The architecture of a file.
///
/// # Errors
/// As [`load`], which reads the weights too.
pub(crate) fn read_config(path: &Path) -> Result<Config> {
    config(&File::open(path)?)
}

fn config(file: &File) -> Result<Config> {
    let architecture = file.text("general.architecture")?;
    if architecture != "llama" {
        return Err(file.wrong(format!(
            "`general.architecture` is {architecture}: llama is read"
        )));
    }
    let count = |name: &str| file.count(&format!("llama.{name}"));
    let (hidden_size, heads) = (
        count("embedding_length")?,
        count("attention.head_count")?.max(1),
    );
    let has = |name: &str| file.entries.contains_key(&format!("llama.{name}"));
    let or = |name: &str, default: usize| if has(name) { count(name) } else { Ok(default) };
    let head_dim = or("attention.key_length", hidden_size / heads)?;
    if or("rope.dimension_count", head_dim)? != head_dim || has("rope.scaling.type") {
        return Err(file
            .wrong("rotary positions are stretched or of part of a head, which is not read yet"));
    }
    let token = |name: &str| {
        let key = format!("tokenizer.ggml.{name}_token_id");
        file.count(&key).unwrap_or(0) as u32
    };
    let float = |name: &str| file.float(&format!("llama.{name}"));
    let config = Config {
        architectures: vec!["LlamaForCausalLM".to_owned()],
        model_type: "llama".to_owned(),
        vocab_size: file.tensor("token_embd.weight")?.shape[0],
        hidden_size,
        intermediate_size: count("feed_forward_length")?,
        num_hidden_layers: count("block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: or("attention.head_count_kv", heads)?,
        head_dim,
        max_position_embeddings: count("context_length")?,
        rms_norm_eps: float("attention.layer_norm_rms_epsilon")?,
        rope_theta: if has("rope.freq_base") {
            float("rope.freq_base")?
        } else {
            10_000.0
        },
        tie_word_embeddings: !file.tensors.contains_key("output.weight"),
        initializer_range: 0.02,
        bos_token_id: token("bos"),
        eos_token_id: token("eos"),
        hidden_act: "silu".to_owned(),
    };
    config.validate().map_err(|source| Error::Config {
        path: file.path().to_owned(),
        source,
    })?;
    Ok(config)
}

/// A tensor's name in the file.
fn name_in_file(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".to_owned(),
        "model.norm.weight" => return "output_norm.weight".to_owned(),
        "lm_head.weight" => return "output.weight".to_owned(),
        _ => {}
    }
    const PARTS: [(&str, &str); 9] = [
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let name = name.replace("model.layers.", "blk.");
    PARTS
        .iter()
        .fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
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
    let inside = name_in_file(name);
    let described = file.tensor(&inside)?;
    if described.shape != shape {
        return Err(file.wrong(format!(
            "tensor `{inside}` has shape {:?}, its head asks for {shape:?}",
            described.shape
        )));
    }
    let stored = stored(described.kind).ok_or_else(|| {
        file.wrong(format!(
            "tensor `{inside}` is stored as kind {}: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are read",
            described.kind
        ))
    })?;
    let cols = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().product::<usize>() / cols.max(1);
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
    let bytes = file.bytes_of(&inside, rows * row_bytes)?;
    let ordered;
    let bytes = match name.rsplit('.').nth(1) {
        Some("q_proj" | "k_proj") => {
            ordered = halves_from_pairs(bytes, row_bytes, config.head_dim);
            &ordered[..]
        }
        _ => bytes,
    };
    Ok(match stored {
        Stored::Blocks(format) => Values::Quantised(Quantised::new(format, [rows, cols], bytes)),
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
