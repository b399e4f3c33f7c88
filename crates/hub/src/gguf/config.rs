//! The architecture that a file's head tells, and its names for our tensors.

use models::decoder::family::Family;
use models::decoder::{Config, LayerType, RopeScaling};

use super::file::{Entry, File};
use crate::{Error, Result};

/// What `general.architecture` calls each family. Mistral's files say llama.
const ARCHITECTURES: [(&str, &str); 6] = [
    ("llama", "llama"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("phi3", "phi3"),
    ("gemma3", "gemma3_text"),
    ("gpt2", "gpt2"),
];

/// One layer in this many of Gemma 3 sees everything; files do not say so.
const GEMMA_PATTERN: usize = 6;
/// The base of the rotary frequencies in its other layers; files do not say so either.
const GEMMA_LOCAL_BASE: f32 = 10_000.0;

pub(super) fn config(file: &File) -> Result<Config> {
    let architecture = file.text("general.architecture")?;
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    let Some((prefix, model_type)) = known else {
        let names: Vec<_> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
        return Err(file.wrong(format!(
            "`general.architecture` is {architecture}: {} are read",
            names.join(", ")
        )));
    };
    let family = Family::of(model_type).expect("the table names families there are");
    let key = |name: &str| format!("{prefix}.{name}");
    let has = |name: &str| file.entries.contains_key(&key(name));
    let count = |name: &str| file.count(&key(name));
    let float = |name: &str| file.float(&key(name));
    let or = |name: &str, default: usize| if has(name) { count(name) } else { Ok(default) };
    let float_or = |name: &str, default: f32| if has(name) { float(name) } else { Ok(default) };

    let (hidden_size, heads) = (
        count("embedding_length")?,
        count("attention.head_count")?.max(1),
    );
    let layers = count("block_count")?;
    let head_dim = or("attention.key_length", hidden_size / heads)?;
    let turning = or("rope.dimension_count", head_dim)?;
    let context = count("context_length")?;
    let token = |name: &str| {
        let key = format!("tokenizer.ggml.{name}_token_id");
        file.count(&key).unwrap_or(0) as u32
    };
    let eps = if family == Family::Gpt2 {
        "attention.layer_norm_epsilon"
    } else {
        "attention.layer_norm_rms_epsilon"
    };
    let gemma = family == Family::Gemma3;
    let window = match family {
        Family::Gemma3 | Family::Phi3 if has("attention.sliding_window") => {
            Some(count("attention.sliding_window")?).filter(|&window| window > 0)
        }
        _ => None,
    };
    let slides = |layer: usize| match (layer + 1).is_multiple_of(GEMMA_PATTERN) {
        true => LayerType::FullAttention,
        false => LayerType::SlidingAttention,
    };
    let config = Config {
        architectures: vec![family.architecture().to_owned()],
        model_type: (*model_type).to_owned(),
        vocab_size: file.tensor("token_embd.weight")?.shape[0],
        hidden_size,
        intermediate_size: count("feed_forward_length")?,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: or("attention.head_count_kv", heads)?,
        head_dim,
        max_position_embeddings: context,
        rms_norm_eps: float(eps)?,
        rope_theta: float_or("rope.freq_base", 10_000.0)?,
        tie_word_embeddings: !file.tensors.contains_key("output.weight"),
        initializer_range: 0.02,
        bos_token_id: token("bos"),
        eos_token_id: token("eos"),
        hidden_act: match family {
            Family::Gemma3 | Family::Gpt2 => "gelu_pytorch_tanh".to_owned(),
            _ => "silu".to_owned(),
        },
        attention_bias: family == Family::Llama && file.tensors.contains_key("blk.0.attn_q.bias"),
        mlp_bias: family == Family::Llama && file.tensors.contains_key("blk.0.ffn_up.bias"),
        sliding_window: window,
        layer_types: (gemma && window.is_some())
            .then(|| (0..layers.min(1 << 16)).map(slides).collect()),
        rope_local_base_freq: gemma.then_some(GEMMA_LOCAL_BASE),
        rope_scaling: scaling(file, prefix, context)?,
        partial_rotary_factor: (turning != head_dim).then(|| turning as f32 / head_dim as f32),
        query_pre_attn_scalar: None,
    };
    config.validate().map_err(|source| Error::Config {
        path: file.path().to_owned(),
        source,
    })?;
    Ok(config)
}

/// Stretched positions: by one factor, or by the factor of each frequency that a tensor holds.
fn scaling(file: &File, prefix: &str, context: usize) -> Result<Option<RopeScaling>> {
    let key = |name: &str| format!("{prefix}.rope.scaling.{name}");
    let numbers = |name: &str| -> Result<Option<Vec<f64>>> {
        let Some(described) = file.tensors.get(name) else {
            return Ok(None);
        };
        if described.kind != 0 {
            return Err(file.wrong(format!("tensor `{name}` is not stored as F32")));
        }
        let &[count] = &described.shape[..] else {
            return Err(file.wrong(format!("tensor `{name}` is no vector")));
        };
        let bytes = file.bytes_of(name, count.saturating_mul(4))?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        Ok(Some(values.into_iter().map(f64::from).collect()))
    };
    if let Some(factors) = numbers("rope_freqs.weight")? {
        return Ok(Some(RopeScaling::LongRope {
            short_factor: factors.clone(),
            long_factor: factors,
            original_max_position_embeddings: context,
            attention_factor: Some(1.0),
        }));
    }
    if let (Some(short_factor), Some(long_factor)) = (
        numbers("rope_factors_short.weight")?,
        numbers("rope_factors_long.weight")?,
    ) {
        return Ok(Some(RopeScaling::LongRope {
            short_factor,
            long_factor,
            original_max_position_embeddings: file.count(&key("original_context_length"))?,
            attention_factor: file.float(&key("attn_factor")).ok().map(f64::from),
        }));
    }
    match file.entries.get(&key("type")) {
        None => Ok(None),
        Some(Entry::Text(kind)) if kind == "none" => Ok(None),
        Some(Entry::Text(kind)) if kind == "linear" => Ok(Some(RopeScaling::Linear {
            factor: file.float(&key("factor"))?.into(),
        })),
        Some(other) => Err(file.wrong(format!(
            "`{}` is {other:?}: none and linear are read, and factors in tensors",
            key("type")
        ))),
    }
}

/// Where a tensor of ours is in the file: its name, and which rows of it when it shares them with others.
pub(super) struct Inside {
    pub(super) name: String,
    /// The first row, and how many rows there are in all.
    pub(super) part: Option<(usize, usize)>,
}

pub(super) fn inside(config: &Config, name: &str) -> Inside {
    let family = config.family();
    let joined = matches!(family, Family::Phi3 | Family::Gpt2);
    let (q, kv) = (
        config.num_attention_heads * config.head_dim,
        config.num_key_value_heads * config.head_dim,
    );
    let (all, ffn) = (q + 2 * kv, config.intermediate_size);
    let name_in_file = name_in_file(name, config.norms_behind());
    let (from, to, part) = match name.rsplit('.').nth(1).unwrap_or_default() {
        "q_proj" if joined => ("attn_q", "attn_qkv", (0, all)),
        "k_proj" if joined => ("attn_k", "attn_qkv", (q, all)),
        "v_proj" if joined => ("attn_v", "attn_qkv", (q + kv, all)),
        "gate_proj" if family == Family::Phi3 => ("ffn_gate", "ffn_up", (0, 2 * ffn)),
        "up_proj" if family == Family::Phi3 => ("ffn_up", "ffn_up", (ffn, 2 * ffn)),
        _ => {
            return Inside {
                name: name_in_file,
                part: None,
            };
        }
    };
    Inside {
        name: name_in_file.replace(from, to),
        part: Some(part),
    }
}

/// A tensor's name in the file, when it has one of its own.
pub(crate) fn name_in_file(name: &str, norms_behind: bool) -> String {
    const PARTS: [(&str, &str); 15] = [
        ("model.embed_tokens", "token_embd"),
        ("model.embed_positions", "position_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let behind = if norms_behind {
        "post_attention_norm"
    } else {
        "ffn_norm"
    };
    let name = name
        .replace("model.layers.", "blk.")
        .replace("input_layernorm", "attn_norm")
        .replace("post_attention_layernorm", behind);
    PARTS
        .iter()
        .fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
}
