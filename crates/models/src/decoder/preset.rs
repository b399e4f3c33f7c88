//! The dial of a recipe's `[model]`.

use serde::{Deserialize, Serialize};

use super::config::{Config, ConfigError};

/// The dial of a recipe's `[model]`: the depth sets everything, and any field set here overrides it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    /// Number of blocks; the width is 64 times as much.
    pub depth: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Features of the residual stream.
    pub hidden_size: Option<usize>,
    /// Features inside the feed-forward block.
    pub intermediate_size: Option<usize>,
    /// Query heads.
    pub num_attention_heads: Option<usize>,
    /// Key and value heads.
    pub num_key_value_heads: Option<usize>,
    /// Features of a head.
    pub head_dim: Option<usize>,
    /// Base of the rotary frequencies.
    pub rope_theta: Option<f32>,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: Option<bool>,
}

impl Default for Preset {
    fn default() -> Self {
        Self {
            depth: 4,
            context: 512,
            hidden_size: None,
            intermediate_size: None,
            num_attention_heads: None,
            num_key_value_heads: None,
            head_dim: None,
            rope_theta: None,
            tie_word_embeddings: None,
        }
    }
}

impl Preset {
    /// The dial's end: 128 blocks of width 8,192 have about 100 billion parameters.
    pub const MAX_DEPTH: usize = 128;

    /// The architecture for a vocabulary.
    ///
    /// # Errors
    /// When the numbers do not fit each other.
    pub fn config(&self, vocab_size: usize) -> Result<Config, ConfigError> {
        // By their own names: the fields they set have others.
        for (field, got, most) in [
            ("depth", self.depth, Self::MAX_DEPTH),
            ("context", self.context, usize::MAX),
        ] {
            if !(1..=most).contains(&got) {
                let expected = match most {
                    usize::MAX => "1 or more".to_owned(),
                    most => format!("1 to {most}"),
                };
                return Err(ConfigError {
                    field,
                    got: got.to_string(),
                    expected,
                });
            }
        }
        let mut config = Config::from_depth(self.depth, vocab_size, self.context);
        if let Some(hidden_size) = self.hidden_size {
            config.hidden_size = hidden_size;
            config.initializer_range = (hidden_size as f32).sqrt().recip();
            config.intermediate_size = (hidden_size * 8 / 3).next_multiple_of(64);
        }
        let set = |field: &mut usize, value: Option<usize>| *field = value.unwrap_or(*field);
        set(&mut config.intermediate_size, self.intermediate_size);
        set(&mut config.num_attention_heads, self.num_attention_heads);
        set(&mut config.num_key_value_heads, self.num_key_value_heads);
        set(&mut config.head_dim, self.head_dim);
        config.rope_theta = self.rope_theta.unwrap_or(config.rope_theta);
        config.tie_word_embeddings = self
            .tie_word_embeddings
            .unwrap_or(config.tie_word_embeddings);
        config.validate()?;
        Ok(config)
    }
}
