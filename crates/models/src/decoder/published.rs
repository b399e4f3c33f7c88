//! A `config.json` as the families publish it: fields of several names, many of them optional.

use serde::{Deserialize, Deserializer};

use super::config::{Config, ConfigError, LayerType, RopeScaling};
use super::family::Family;

/// Every field that any family has, under any of its names.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    architectures: Option<Vec<String>>,
    #[serde(default = "llama")]
    model_type: String,
    vocab_size: usize,
    #[serde(alias = "n_embd")]
    hidden_size: usize,
    #[serde(alias = "n_inner")]
    intermediate_size: Option<usize>,
    #[serde(alias = "n_layer")]
    num_hidden_layers: usize,
    #[serde(alias = "n_head")]
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(alias = "n_positions")]
    max_position_embeddings: Option<usize>,
    #[serde(alias = "layer_norm_epsilon")]
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f32>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<Rope>,
    original_max_position_embeddings: Option<usize>,
    rope_local_base_freq: Option<f32>,
    partial_rotary_factor: Option<f32>,
    tie_word_embeddings: Option<bool>,
    initializer_range: Option<f32>,
    bos_token_id: Option<Tokens>,
    eos_token_id: Option<Tokens>,
    #[serde(alias = "activation_function")]
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default, deserialize_with = "given")]
    sliding_window: Option<Option<usize>>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    #[serde(alias = "_sliding_window_pattern")]
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<LayerType>>,
    query_pre_attn_scalar: Option<f32>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    use_bidirectional_attention: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
}

fn llama() -> String {
    "llama".to_owned()
}

/// Tells a field that is null from one that is not there.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// One token, or several of which the first is the one that ends documents.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tokens {
    One(u32),
    Several(Vec<u32>),
}

impl Tokens {
    fn first(&self) -> Option<u32> {
        match self {
            Self::One(token) => Some(*token),
            Self::Several(tokens) => tokens.first().copied(),
        }
    }
}

/// The rotary fields that newer files keep together, for all layers or for each type of layer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RopeParameters {
    ByLayer {
        full_attention: Rope,
        sliding_attention: Rope,
    },
    Same(Rope),
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Rope {
    rope_type: Option<String>,
    /// The older name of `rope_type`; some files have both.
    r#type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    short_factor: Option<Vec<f64>>,
    long_factor: Option<Vec<f64>>,
    attention_factor: Option<f64>,
    partial_rotary_factor: Option<f32>,
}

impl Rope {
    fn scaling(&self, original: Option<usize>) -> Result<Option<RopeScaling>, ConfigError> {
        let kind = self.rope_type.as_deref().or(self.r#type.as_deref());
        let kind = kind.unwrap_or("default");
        let missing = |field| ConfigError {
            field,
            got: "absent".to_owned(),
            expected: format!("a value, as rope_type is {kind}"),
        };
        let original = self.original_max_position_embeddings.or(original);
        let original = original.ok_or_else(|| missing("original_max_position_embeddings"));
        Ok(match kind {
            "default" => None,
            "linear" => Some(RopeScaling::Linear {
                factor: self.factor.ok_or_else(|| missing("factor"))?,
            }),
            "llama3" => Some(RopeScaling::Llama3 {
                factor: self.factor.ok_or_else(|| missing("factor"))?,
                low_freq_factor: self
                    .low_freq_factor
                    .ok_or_else(|| missing("low_freq_factor"))?,
                high_freq_factor: self
                    .high_freq_factor
                    .ok_or_else(|| missing("high_freq_factor"))?,
                original_max_position_embeddings: original?,
            }),
            "longrope" | "su" => Some(RopeScaling::LongRope {
                short_factor: self
                    .short_factor
                    .clone()
                    .ok_or_else(|| missing("short_factor"))?,
                long_factor: self
                    .long_factor
                    .clone()
                    .ok_or_else(|| missing("long_factor"))?,
                original_max_position_embeddings: original?,
                attention_factor: self.attention_factor,
            }),
            other => {
                return Err(ConfigError {
                    field: "rope_type",
                    got: other.to_owned(),
                    expected: "default, linear, llama3 or longrope".to_owned(),
                });
            }
        })
    }
}

impl TryFrom<Published> for Config {
    type Error = ConfigError;

    fn try_from(file: Published) -> Result<Self, ConfigError> {
        let Some(family) = Family::of(&file.model_type) else {
            let known: Vec<_> = Family::ALL.iter().map(|(_, name, _)| *name).collect();
            return Err(ConfigError {
                field: "model_type",
                got: file.model_type,
                expected: format!("one of {}", known.join(", ")),
            });
        };
        file.refuse_what_is_not_computed()?;
        let defaults = family.defaults();
        let heads = file.num_attention_heads;
        let (layers, window) = (file.num_hidden_layers, file.window(family));
        let layer_types = window.and_then(|_| file.layer_types(family));
        let (global, local) = match file.rope_parameters {
            Some(RopeParameters::ByLayer {
                full_attention,
                sliding_attention,
            }) => (full_attention, sliding_attention.rope_theta),
            Some(RopeParameters::Same(rope)) => (rope, None),
            None => (Rope::default(), None),
        };
        let local = local.or(file.rope_local_base_freq);
        let local = local.or((family == Family::Gemma3).then_some(10_000.0));
        let original = file.original_max_position_embeddings;
        let rope_scaling = match &file.rope_scaling {
            Some(scaling) => scaling.scaling(original)?,
            None => global.scaling(original)?,
        };
        let eos = file.eos_token_id.as_ref().and_then(Tokens::first);
        let bos = file.bos_token_id.as_ref().and_then(Tokens::first);
        let default_head_dim = match family {
            Family::Gemma3 => 256,
            Family::Qwen3 => 128,
            _ => file.hidden_size / heads.max(1),
        };
        let config = Self {
            architectures: file
                .architectures
                .unwrap_or_else(|| vec![family.architecture().to_owned()]),
            model_type: file.model_type,
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            intermediate_size: file.intermediate_size.unwrap_or(4 * file.hidden_size),
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: file.num_key_value_heads.unwrap_or(heads),
            head_dim: file.head_dim.unwrap_or(default_head_dim),
            max_position_embeddings: file
                .max_position_embeddings
                .unwrap_or(defaults.max_position_embeddings),
            rms_norm_eps: file.rms_norm_eps.unwrap_or(defaults.norm_eps),
            rope_theta: file
                .rope_theta
                .or(global.rope_theta)
                .unwrap_or(defaults.rope_theta),
            tie_word_embeddings: file
                .tie_word_embeddings
                .unwrap_or(defaults.tie_word_embeddings),
            initializer_range: file.initializer_range.unwrap_or(0.02),
            bos_token_id: bos.or(eos).unwrap_or(0),
            eos_token_id: eos.unwrap_or(0),
            hidden_act: file
                .hidden_activation
                .or(file.hidden_act)
                .unwrap_or_else(|| defaults.hidden_act.to_owned()),
            attention_bias: file.attention_bias,
            mlp_bias: file.mlp_bias,
            sliding_window: window,
            layer_types,
            rope_local_base_freq: local,
            rope_scaling,
            partial_rotary_factor: file.partial_rotary_factor.or(global.partial_rotary_factor),
            query_pre_attn_scalar: file
                .query_pre_attn_scalar
                .or((family == Family::Gemma3).then_some(256.0)),
        };
        config.validate()?;
        Ok(config)
    }
}

impl Published {
    /// Fields that would change what is computed, in ways that nothing here does.
    fn refuse_what_is_not_computed(&self) -> Result<(), ConfigError> {
        let given = [
            (
                "attn_logit_softcapping",
                self.attn_logit_softcapping.is_some(),
            ),
            (
                "final_logit_softcapping",
                self.final_logit_softcapping.is_some(),
            ),
            (
                "use_bidirectional_attention",
                self.use_bidirectional_attention == Some(true),
            ),
            (
                "scale_attn_by_inverse_layer_idx",
                self.scale_attn_by_inverse_layer_idx == Some(true),
            ),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(ConfigError {
                field,
                got: "set".to_owned(),
                expected: "absent: it is not computed here".to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn window(&self, family: Family) -> Option<usize> {
        let default = match family {
            Family::Mistral | Family::Gemma3 => Some(4096),
            _ => None,
        };
        let window = self.sliding_window.unwrap_or(default);
        match family {
            Family::Qwen2 | Family::Qwen3 => {
                window.filter(|_| self.use_sliding_window == Some(true))
            }
            Family::Mistral | Family::Phi3 | Family::Gemma3 => window,
            Family::Llama | Family::Gpt2 => None,
        }
    }

    fn layer_types(&self, family: Family) -> Option<Vec<LayerType>> {
        if let Some(types) = &self.layer_types {
            return Some(types.clone());
        }
        let slides: Box<dyn Fn(usize) -> bool> = match family {
            Family::Gemma3 => {
                let pattern = self.sliding_window_pattern.unwrap_or(6).max(1);
                Box::new(move |layer| !(layer + 1).is_multiple_of(pattern))
            }
            Family::Qwen2 | Family::Qwen3 => {
                let first = self.max_window_layers.unwrap_or(28);
                Box::new(move |layer| layer >= first)
            }
            _ => return None,
        };
        let kind = |layer| match slides(layer) {
            true => LayerType::SlidingAttention,
            false => LayerType::FullAttention,
        };
        Some((0..self.num_hidden_layers.min(1 << 16)).map(kind).collect())
    }
}
