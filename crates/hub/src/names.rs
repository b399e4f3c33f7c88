//! Where a decoder's tensors lie in the checkpoints of its family.

use models::decoder::Config;
use models::decoder::family::Family;

/// A tensor of ours in a file: all of one of the file's tensors, or some of its rows, or turned over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The file's tensor.
    pub(crate) name: String,
    /// Its shape in the file.
    pub(crate) shape: Vec<usize>,
    /// Which out features of it are ours: the first, and how many.
    pub(crate) part: Option<(usize, usize)>,
    /// Whether the file has `[in_features, out_features]`.
    pub(crate) turned: bool,
}

/// Where the tensor that [`Config::tensors`] calls `name` lies.
pub(crate) fn place(config: &Config, name: &str, shape: &[usize]) -> Place {
    let whole = |name: String| Place {
        name,
        shape: shape.to_vec(),
        part: None,
        turned: false,
    };
    match config.family() {
        Family::Phi3 => fused(config, name, shape).unwrap_or_else(|| whole(name.to_owned())),
        Family::Gpt2 => gpt2(config, name, shape),
        _ => whole(name.to_owned()),
    }
}

/// How many rows stand before a projection where those of one input are kept together, and how many stand there.
fn within(config: &Config, projection: &str) -> Option<(&'static str, usize, usize)> {
    let q = config.num_attention_heads * config.head_dim;
    let kv = config.num_key_value_heads * config.head_dim;
    let ffn = config.intermediate_size;
    Some(match projection {
        "q_proj" => ("qkv_proj", 0, q + 2 * kv),
        "k_proj" => ("qkv_proj", q, q + 2 * kv),
        "v_proj" => ("qkv_proj", q + kv, q + 2 * kv),
        "gate_proj" => ("gate_up_proj", 0, 2 * ffn),
        "up_proj" => ("gate_up_proj", ffn, 2 * ffn),
        _ => return None,
    })
}

/// Phi-3 keeps what multiplies the same input in one matrix.
fn fused(config: &Config, name: &str, shape: &[usize]) -> Option<Place> {
    let projection = name.rsplit('.').nth(1)?;
    let (joined, first, rows) = within(config, projection)?;
    let mut in_file = shape.to_vec();
    in_file[0] = rows;
    Some(Place {
        name: name.replace(projection, joined),
        shape: in_file,
        part: Some((first, shape[0])),
        turned: false,
    })
}

/// GPT-2 has its own names, and its matrices the other way round.
fn gpt2(config: &Config, name: &str, shape: &[usize]) -> Place {
    const PARTS: [(&str, &str); 12] = [
        ("model.embed_tokens", "transformer.wte"),
        ("model.embed_positions", "transformer.wpe"),
        ("model.norm", "transformer.ln_f"),
        ("model.layers", "transformer.h"),
        ("input_layernorm", "ln_1"),
        ("post_attention_layernorm", "ln_2"),
        ("self_attn.o_proj", "attn.c_proj"),
        ("self_attn.q_proj", "attn.c_attn"),
        ("self_attn.k_proj", "attn.c_attn"),
        ("self_attn.v_proj", "attn.c_attn"),
        ("mlp.up_proj", "mlp.c_fc"),
        ("mlp.down_proj", "mlp.c_proj"),
    ];
    let in_file = PARTS.iter().fold(name.to_owned(), |name, (ours, theirs)| {
        name.replace(ours, theirs)
    });
    let projection = name.rsplit('.').nth(1).unwrap_or_default();
    let turned = shape.len() == 2 && name.contains("_proj");
    let mut place = Place {
        name: in_file,
        shape: shape.to_vec(),
        part: None,
        turned,
    };
    if let Some(("qkv_proj", first, rows)) = within(config, projection) {
        place.part = Some((first, shape[0]));
        place.shape[0] = rows;
    }
    if turned {
        place.shape.reverse();
    }
    place
}

impl Place {
    /// Our values out of the file's.
    pub(crate) fn take(&self, values: Vec<f32>) -> Vec<f32> {
        let values = if self.turned {
            turn_over(&values, self.shape[0], self.shape[1])
        } else {
            values
        };
        let Some((first, count)) = self.part else {
            return values;
        };
        let rows = if self.turned {
            self.shape[1]
        } else {
            self.shape[0]
        };
        let row = values.len() / rows;
        values[first * row..(first + count) * row].to_vec()
    }
}

/// `[rows, cols]` to `[cols, rows]`.
pub(crate) fn turn_over(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut turned = Vec::with_capacity(values.len());
    for col in 0..cols {
        turned.extend((0..rows).map(|row| values[row * cols + col]));
    }
    turned
}
