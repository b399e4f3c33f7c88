//! What tells the published decoder families apart, beside the numbers of their configs.

use tensor::Rotary;

use super::config::{Config, ConfigError, LayerType, RopeScaling};

/// A family by its `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 1 to 3, SmolLM2, and everything raised here (Touvron et al. 2023).
    Llama,
    /// Sliding windows in every layer (Jiang et al. 2023).
    Mistral,
    /// Biases on queries, keys and values (Yang et al. 2024).
    Qwen2,
    /// Norms on the heads of queries and keys (Yang et al. 2025).
    Qwen3,
    /// One matrix for queries, keys and values in its files, one for gate and up (Abdin et al. 2024).
    Phi3,
    /// Norms behind the half-blocks too, norms on heads, five local layers for one global (Gemma Team 2025).
    Gemma3,
    /// LayerNorm, learned positions, GELU without a gate, biases everywhere (Radford et al. 2019).
    Gpt2,
}

impl Family {
    /// All, by `model_type` and by the class that Hugging Face loads.
    pub const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Llama, "llama", "LlamaForCausalLM"),
        (Self::Mistral, "mistral", "MistralForCausalLM"),
        (Self::Qwen2, "qwen2", "Qwen2ForCausalLM"),
        (Self::Qwen3, "qwen3", "Qwen3ForCausalLM"),
        (Self::Phi3, "phi3", "Phi3ForCausalLM"),
        (Self::Gemma3, "gemma3_text", "Gemma3ForCausalLM"),
        (Self::Gpt2, "gpt2", "GPT2LMHeadModel"),
    ];

    /// By a config's `model_type`.
    pub fn of(model_type: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, name, _)| *name == model_type);
        found.map(|(family, _, _)| *family)
    }

    /// The class that Hugging Face loads.
    pub fn architecture(self) -> &'static str {
        let found = Self::ALL.iter().find(|(family, _, _)| *family == self);
        found.map_or("LlamaForCausalLM", |(_, _, class)| class)
    }

    /// What Hugging Face's config class takes for a field that is not there.
    pub(super) fn defaults(self) -> Defaults {
        let usual = Defaults {
            norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: false,
            hidden_act: "silu",
            max_position_embeddings: 2048,
        };
        match self {
            Self::Llama => usual,
            Self::Mistral => Defaults {
                max_position_embeddings: 131_072,
                ..usual
            },
            Self::Qwen2 | Self::Qwen3 => Defaults {
                max_position_embeddings: 32_768,
                ..usual
            },
            Self::Phi3 => Defaults {
                norm_eps: 1e-5,
                max_position_embeddings: 4096,
                ..usual
            },
            Self::Gemma3 => Defaults {
                rope_theta: 1_000_000.0,
                tie_word_embeddings: true,
                hidden_act: "gelu_pytorch_tanh",
                max_position_embeddings: 131_072,
                ..usual
            },
            Self::Gpt2 => Defaults {
                norm_eps: 1e-5,
                tie_word_embeddings: true,
                hidden_act: "gelu_new",
                max_position_embeddings: 1024,
                ..usual
            },
        }
    }
}

/// Values of absent fields.
pub(super) struct Defaults {
    pub(super) norm_eps: f32,
    pub(super) rope_theta: f32,
    pub(super) tie_word_embeddings: bool,
    pub(super) hidden_act: &'static str,
    pub(super) max_position_embeddings: usize,
}

impl Config {
    /// The family; Llama when its name is none we know, which [`Config::validate`] refuses.
    pub fn family(&self) -> Family {
        Family::of(&self.model_type).unwrap_or(Family::Llama)
    }

    /// Whether norms subtract the mean and add a bias.
    pub fn layer_norm(&self) -> bool {
        self.family() == Family::Gpt2
    }

    /// What norms add to their weights: Gemma's files hold the difference from one.
    pub fn norm_offset(&self) -> f32 {
        f32::from(u8::from(self.family() == Family::Gemma3))
    }

    /// Whether the heads of queries and keys have norms of their own.
    pub fn head_norms(&self) -> bool {
        matches!(self.family(), Family::Qwen3 | Family::Gemma3)
    }

    /// Whether what a half-block adds to the stream goes through a norm.
    pub fn norms_behind(&self) -> bool {
        self.family() == Family::Gemma3
    }

    /// Whether queries, keys and values have biases.
    pub fn qkv_bias(&self) -> bool {
        self.attention_bias || matches!(self.family(), Family::Qwen2 | Family::Gpt2)
    }

    /// Whether the output of attention has a bias.
    pub fn output_bias(&self) -> bool {
        self.attention_bias || self.family() == Family::Gpt2
    }

    /// Whether the matrices of the feed-forward block have biases.
    pub fn feed_forward_bias(&self) -> bool {
        self.mlp_bias || self.family() == Family::Gpt2
    }

    /// Whether the feed-forward block has a gate.
    pub fn gated(&self) -> bool {
        self.family() != Family::Gpt2
    }

    /// Whether positions have learned vectors, and nothing turns.
    pub fn learned_positions(&self) -> bool {
        self.family() == Family::Gpt2
    }

    /// What scores are multiplied by.
    pub fn attention_scale(&self) -> f32 {
        let features = self.query_pre_attn_scalar.unwrap_or(self.head_dim as f32);
        features.sqrt().recip()
    }

    /// What token vectors are multiplied by.
    pub fn embedding_scale(&self) -> Option<f32> {
        (self.family() == Family::Gemma3).then(|| (self.hidden_size as f32).sqrt())
    }

    /// How many keys, its own included, a token of this layer sees; all before it when `None`.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let slides = match &self.layer_types {
            Some(types) => types.get(layer) == Some(&LayerType::SlidingAttention),
            None => true,
        };
        self.sliding_window.filter(|_| slides)
    }

    /// The longest sequence, in tokens, that a session here may have.
    pub fn context(&self) -> usize {
        match &self.rope_scaling {
            // Beyond it another set of frequencies would hold, and keys in the cache would have been turned by this one.
            Some(RopeScaling::LongRope {
                original_max_position_embeddings,
                ..
            }) => self
                .max_position_embeddings
                .min(*original_max_position_embeddings),
            _ => self.max_position_embeddings,
        }
    }

    /// How this layer turns queries and keys.
    pub fn rotary(&self, layer: usize) -> Option<Rotary> {
        if self.learned_positions() {
            return None;
        }
        let dim = self.rotary_dim();
        if let (Some(theta), Some(_)) = (self.rope_local_base_freq, self.window(layer)) {
            return Some(Rotary::new(theta, dim));
        }
        let plain = Rotary::new(self.rope_theta, dim);
        let Some(scaling) = &self.rope_scaling else {
            return Some(plain);
        };
        let frequencies = plain.frequencies().iter().copied();
        Some(match scaling {
            RopeScaling::Linear { factor } => {
                Rotary::from_frequencies(frequencies.map(|f| f / factor).collect(), 1.0)
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let original = *original_max_position_embeddings as f64;
                let stretched = |frequency: f64| {
                    let turns = original * frequency / std::f64::consts::TAU;
                    // From nothing stretched, for those that turn often, to all.
                    let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor))
                        .clamp(0.0, 1.0);
                    kept * frequency + (1.0 - kept) * frequency / factor
                };
                Rotary::from_frequencies(frequencies.map(stretched).collect(), 1.0)
            }
            RopeScaling::LongRope {
                short_factor,
                attention_factor,
                original_max_position_embeddings,
                ..
            } => {
                let original = *original_max_position_embeddings as f64;
                let stretch = self.max_position_embeddings as f64 / original;
                let amplitude = attention_factor.unwrap_or_else(|| {
                    if stretch > 1.0 {
                        (1.0 + stretch.ln() / original.ln()).sqrt()
                    } else {
                        1.0
                    }
                });
                let shorter = frequencies.zip(short_factor).map(|(f, factor)| f / factor);
                Rotary::from_frequencies(shorter.collect(), amplitude)
            }
        })
    }

    fn rotary_dim(&self) -> usize {
        let share = self.partial_rotary_factor.unwrap_or(1.0);
        ((self.head_dim as f64 * f64::from(share)) as usize) / 2 * 2
    }

    /// Whether the fields that only some families have fit the others.
    pub(super) fn validate_family(&self) -> Result<(), ConfigError> {
        let wrong = |field, got: String, expected: String| {
            Err(ConfigError {
                field,
                got,
                expected,
            })
        };
        if Family::of(&self.model_type).is_none() {
            let known: Vec<_> = Family::ALL.iter().map(|(_, name, _)| *name).collect();
            let expected = format!("one of {}", known.join(", "));
            return wrong("model_type", self.model_type.clone(), expected);
        }
        let gelu = matches!(self.family(), Family::Gemma3 | Family::Gpt2);
        let acts: &[&str] = if gelu {
            &["gelu_pytorch_tanh", "gelu_new"]
        } else {
            &["silu"]
        };
        if !acts.contains(&self.hidden_act.as_str()) {
            return wrong("hidden_act", self.hidden_act.clone(), acts.join(" or "));
        }
        if let Some(types) = &self.layer_types
            && types.len() != self.num_hidden_layers
        {
            let expected = format!("one for each of {} layers", self.num_hidden_layers);
            return wrong("layer_types", types.len().to_string(), expected);
        }
        if self.sliding_window == Some(0) {
            return wrong("sliding_window", "0".to_owned(), "1 or more".to_owned());
        }
        let dim = self.rotary_dim();
        if !(2..=self.head_dim).contains(&dim) {
            let got = format!("{:?}", self.partial_rotary_factor);
            return wrong("partial_rotary_factor", got, "above 0, up to 1".to_owned());
        }
        match &self.rope_scaling {
            Some(RopeScaling::LongRope { short_factor, .. }) if short_factor.len() != dim / 2 => {
                let expected = format!("{} numbers", dim / 2);
                wrong(
                    "rope_scaling.short_factor",
                    short_factor.len().to_string(),
                    expected,
                )
            }
            Some(RopeScaling::Linear { factor } | RopeScaling::Llama3 { factor, .. })
                if factor.is_nan() || *factor <= 0.0 =>
            {
                wrong(
                    "rope_scaling.factor",
                    factor.to_string(),
                    "above 0".to_owned(),
                )
            }
            _ => Ok(()),
        }
    }
}
