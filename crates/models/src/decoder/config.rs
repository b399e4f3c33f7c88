//! The fields of a Hugging Face `config.json`, as decoders here use them.

use serde::{Deserialize, Serialize};

use super::family::Family;
use super::published::Published;

/// No model is deeper; a file that tells of one is broken.
const MOST_LAYERS: usize = 4096;

/// An architecture. Read from what any of the families publishes; written under the names of Llama's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Published")]
pub struct Config {
    /// Class name that Hugging Face loads.
    pub architectures: Vec<String>,
    /// Family name.
    pub model_type: String,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Features inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// ε of the norms.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    pub initializer_range: f32,
    /// Token before a document.
    pub bos_token_id: u32,
    /// Token that ends a document.
    pub eos_token_id: u32,
    /// Activation of the feed-forward block.
    pub hidden_act: String,
    /// Whether the matrices of attention have biases, where the family leaves it open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attention_bias: bool,
    /// Whether the matrices of the feed-forward block have biases, where the family leaves it open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mlp_bias: bool,
    /// How many keys, its own included, a token sees in layers with a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// Which layers have a window; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerType>>,
    /// Base of the rotary frequencies in layers with a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_local_base_freq: Option<f32>,
    /// How rotary frequencies differ from powers of the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// The share of a head's features that turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f32>,
    /// The number whose root divides scores, where it is not that of a head's features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_pre_attn_scalar: Option<f32>,
}

/// How far a layer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// All the way back.
    FullAttention,
    /// As far as the window.
    SlidingAttention,
}

/// How rotary frequencies are stretched for contexts longer than those of pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// All by the same factor (Chen et al. 2023).
    Linear {
        /// By how much.
        factor: f64,
    },
    /// The slow ones only (Llama 3.1).
    Llama3 {
        /// By how much.
        factor: f64,
        /// Those that turn less often than this over the original context are stretched in full.
        low_freq_factor: f64,
        /// Those that turn more often than this are left alone.
        high_freq_factor: f64,
        /// The context of pre-training.
        original_max_position_embeddings: usize,
    },
    /// Each by a factor of its own (Ding et al. 2024).
    LongRope {
        /// Within the original context.
        short_factor: Vec<f64>,
        /// Beyond it.
        long_factor: Vec<f64>,
        /// The context of pre-training.
        original_max_position_embeddings: usize,
        /// By how much what turns is multiplied; from the contexts when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        attention_factor: Option<f64>,
    },
}

/// Why a configuration describes no model.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("model config: `{field}` is {got}, expected {expected}")]
pub struct ConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// Its value.
    pub got: String,
    /// What it must be.
    pub expected: String,
}

impl Config {
    /// The preset of a depth: one dial sets width, heads and feed-forward size.
    ///
    /// Width is 64 · depth, heads have 64 features, keys have half as many heads as queries where
    /// that divides, models shallower than 12 tie their head, and initial weights have the deviation
    /// 1/√width, at which a product keeps its input's scale.
    pub fn from_depth(depth: usize, vocab_size: usize, context: usize) -> Self {
        let hidden_size = 64 * depth;
        let num_key_value_heads = (1..=depth.div_ceil(2))
            .rev()
            .find(|kv| depth.is_multiple_of(*kv))
            .unwrap_or(1);
        Self {
            architectures: vec![Family::Llama.architecture().to_owned()],
            model_type: "llama".to_owned(),
            vocab_size,
            hidden_size,
            intermediate_size: (hidden_size * 8 / 3).next_multiple_of(64),
            num_hidden_layers: depth,
            num_attention_heads: depth,
            num_key_value_heads,
            head_dim: 64,
            max_position_embeddings: context,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            tie_word_embeddings: depth < 12,
            initializer_range: (hidden_size as f32).sqrt().recip(),
            bos_token_id: 0,
            eos_token_id: 0,
            hidden_act: "silu".to_owned(),
            attention_bias: false,
            mlp_bias: false,
            sliding_window: None,
            layer_types: None,
            rope_local_base_freq: None,
            rope_scaling: None,
            partial_rotary_factor: None,
            query_pre_attn_scalar: None,
        }
    }

    /// Whether the numbers fit each other.
    ///
    /// # Errors
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |field, got: &dyn ToString, expected: &str| {
            Err(ConfigError {
                field,
                got: got.to_string(),
                expected: expected.to_owned(),
            })
        };
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (field, value) in sizes {
            if value == 0 || value > 1 << 24 {
                return wrong(field, &value, "between 1 and 16,777,216");
            }
        }
        if self.num_hidden_layers > MOST_LAYERS {
            let expected = format!("at most {MOST_LAYERS}");
            return wrong("num_hidden_layers", &self.num_hidden_layers, &expected);
        }
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            let heads = format!(
                "a divisor of num_attention_heads = {}",
                self.num_attention_heads
            );
            return wrong("num_key_value_heads", &self.num_key_value_heads, &heads);
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) || self.head_dim > 1024 {
            return wrong("head_dim", &self.head_dim, "an even number up to 1,024");
        }
        self.validate_family()
    }

    /// Every tensor under its name in Llama's checkpoints (what Llama has not, under that of the family which has it),
    /// with its shape, in the order in which the parameters of a decoder are visited.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let Self {
            vocab_size: vocab,
            hidden_size: hidden,
            intermediate_size: ffn,
            head_dim,
            ..
        } = *self;
        let (q, kv) = (
            self.num_attention_heads * head_dim,
            self.num_key_value_heads * head_dim,
        );
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, hidden])];
        if self.learned_positions() {
            let shape = vec![self.max_position_embeddings, hidden];
            tensors.push(("model.embed_positions.weight".to_owned(), shape));
        }
        let (qkv_bias, output_bias, ffn_bias) = (
            self.qkv_bias(),
            self.output_bias(),
            self.feed_forward_bias(),
        );
        let (layer_norm, behind) = (self.layer_norm(), self.norms_behind());
        // Where Gemma has a norm behind attention, Llama's name of the one before the feed-forward block is taken.
        let before_feed_forward = if behind {
            "pre_feedforward_layernorm"
        } else {
            "post_attention_layernorm"
        };
        for layer in 0..self.num_hidden_layers {
            let mut add = |name: &str, shape: &[usize], bias: bool| {
                let name = format!("model.layers.{layer}.{name}");
                tensors.push((format!("{name}.weight"), shape.to_vec()));
                if bias {
                    tensors.push((format!("{name}.bias"), vec![shape[0]]));
                }
            };
            add("input_layernorm", &[hidden], layer_norm);
            add("self_attn.q_proj", &[q, hidden], qkv_bias);
            add("self_attn.k_proj", &[kv, hidden], qkv_bias);
            add("self_attn.v_proj", &[kv, hidden], qkv_bias);
            if self.head_norms() {
                add("self_attn.q_norm", &[head_dim], false);
                add("self_attn.k_norm", &[head_dim], false);
            }
            add("self_attn.o_proj", &[hidden, q], output_bias);
            if behind {
                add("post_attention_layernorm", &[hidden], false);
            }
            add(before_feed_forward, &[hidden], layer_norm);
            if self.gated() {
                add("mlp.gate_proj", &[ffn, hidden], ffn_bias);
            }
            add("mlp.up_proj", &[ffn, hidden], ffn_bias);
            add("mlp.down_proj", &[hidden, ffn], ffn_bias);
            if behind {
                add("post_feedforward_layernorm", &[hidden], false);
            }
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
        if layer_norm {
            tensors.push(("model.norm.bias".to_owned(), vec![hidden]));
        }
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_owned(), vec![vocab, hidden]));
        }
        tensors
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// Floating-point operations of one token's forward pass in a sequence of `context` tokens: two
    /// for each weight of a product, and the scores and sums over half the context on average. A
    /// training step costs three times this.
    pub fn flops_per_token(&self, context: usize) -> f64 {
        let products = self
            .tensors()
            .into_iter()
            .filter(|(name, shape)| shape.len() == 2 && !name.contains("embed"));
        let weights: usize = products
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        let head = if self.tie_word_embeddings {
            self.vocab_size * self.hidden_size
        } else {
            0
        };
        let attention =
            2 * self.num_hidden_layers * self.num_attention_heads * self.head_dim * context;
        2.0 * (weights + head) as f64 + attention as f64
    }
}
