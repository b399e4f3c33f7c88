//! The shape of a T5, as its publishers write it.

use serde::{Deserialize, Serialize};

use crate::decoder::ConfigError;

/// The fields of a Hugging Face `config.json` for `T5ForConditionalGeneration` or `MT5ForConditionalGeneration`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Family name: `t5` or `mt5`.
    pub model_type: String,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Features of the residual stream.
    pub d_model: usize,
    /// Features of a head.
    pub d_kv: usize,
    /// Features inside the feed-forward block.
    pub d_ff: usize,
    /// Blocks of the encoder.
    pub num_layers: usize,
    /// Blocks of the decoder; as many as the encoder's when left out.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    /// Heads.
    pub num_heads: usize,
    /// Values of the bias, each for a range of distances.
    #[serde(default = "defaults::relative_attention_num_buckets")]
    pub relative_attention_num_buckets: usize,
    /// Distances from here on share one value.
    #[serde(default = "defaults::relative_attention_max_distance")]
    pub relative_attention_max_distance: usize,
    /// `relu`, or `gated-gelu`.
    #[serde(default = "defaults::feed_forward_proj")]
    pub feed_forward_proj: String,
    /// ε of the norms.
    #[serde(default = "defaults::layer_norm_epsilon")]
    pub layer_norm_epsilon: f32,
    /// Whether the embedding table serves as head.
    #[serde(default = "defaults::tie_word_embeddings")]
    pub tie_word_embeddings: bool,
    /// Whether the head's input is scaled by 1/√hidden; in T5 where the table serves as head, when left out.
    #[serde(default)]
    pub scale_decoder_outputs: Option<bool>,
    /// The decoder's first token.
    #[serde(default)]
    pub decoder_start_token_id: u32,
    /// Ends a text.
    #[serde(default = "defaults::eos_token_id")]
    pub eos_token_id: u32,
    /// Fills a batch.
    #[serde(default)]
    pub pad_token_id: u32,
}

mod defaults {
    pub(super) fn relative_attention_num_buckets() -> usize {
        32
    }
    pub(super) fn relative_attention_max_distance() -> usize {
        128
    }
    pub(super) fn feed_forward_proj() -> String {
        "relu".to_owned()
    }
    pub(super) fn layer_norm_epsilon() -> f32 {
        1e-6
    }
    pub(super) fn tie_word_embeddings() -> bool {
        true
    }
    pub(super) fn eos_token_id() -> u32 {
        1
    }
}

/// The families that are read.
pub const FAMILIES: [&str; 2] = ["t5", "mt5"];

impl Config {
    /// Blocks of the decoder.
    pub fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
    }

    /// Whether the head's input is scaled by 1/√hidden.
    pub fn scales_outputs(&self) -> bool {
        let said = self.scale_decoder_outputs;
        self.model_type == "t5" && said.unwrap_or(self.tie_word_embeddings)
    }

    pub(super) fn gated(&self) -> bool {
        self.feed_forward_proj == "gated-gelu"
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
        let distance = self.relative_attention_max_distance;
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.decoder_layers()),
            ("num_heads", self.num_heads),
            ("relative_attention_max_distance", distance),
        ];
        for (field, value) in sizes {
            if value == 0 || value > 1 << 24 {
                return wrong(field, &value, "between 1 and 16,777,216");
            }
        }
        for (field, layers) in [
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.decoder_layers()),
        ] {
            if layers > 1024 {
                return wrong(field, &layers, "at most 1,024");
            }
        }
        let buckets = self.relative_attention_num_buckets;
        if buckets < 4 || !buckets.is_multiple_of(2) || buckets > 2 * distance || distance > 1 << 16
        {
            let expected = format!("an even number from 4 to 2 · {distance}");
            return wrong("relative_attention_num_buckets", &buckets, &expected);
        }
        if !FAMILIES.contains(&self.model_type.as_str()) {
            return wrong("model_type", &self.model_type, &FAMILIES.join(", "));
        }
        if !(self.gated() || self.feed_forward_proj == "relu") {
            let got = &self.feed_forward_proj;
            return wrong("feed_forward_proj", got, "relu or gated-gelu");
        }
        Ok(())
    }

    /// Every tensor under its Hugging Face name, with its shape, in the order in which the parameters of [`T5`] are
    /// visited.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, ffn, inner) = (self.d_model, self.d_ff, self.num_heads * self.d_kv);
        let mut tensors = vec![("shared.weight".to_owned(), vec![self.vocab_size, hidden])];
        for (stack, layers) in [
            ("encoder", self.num_layers),
            ("decoder", self.decoder_layers()),
        ] {
            let bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
            let shape = vec![self.relative_attention_num_buckets, self.num_heads];
            tensors.push((format!("{stack}.{bias}"), shape));
            for block in 0..layers {
                let mut add = |part: &str, shape: &[usize]| {
                    tensors.push((
                        format!("{stack}.block.{block}.layer.{part}.weight"),
                        shape.to_vec(),
                    ));
                };
                let mut attention = |at: usize, name: &str| {
                    add(&format!("{at}.layer_norm"), &[hidden]);
                    for part in ["q", "k", "v"] {
                        add(&format!("{at}.{name}.{part}"), &[inner, hidden]);
                    }
                    add(&format!("{at}.{name}.o"), &[hidden, inner]);
                };
                attention(0, "SelfAttention");
                let last = if stack == "decoder" {
                    attention(1, "EncDecAttention");
                    2
                } else {
                    1
                };
                add(&format!("{last}.layer_norm"), &[hidden]);
                let wi: &[&str] = if self.gated() {
                    &["wi_0", "wi_1"]
                } else {
                    &["wi"]
                };
                for part in wi {
                    add(&format!("{last}.DenseReluDense.{part}"), &[ffn, hidden]);
                }
                add(&format!("{last}.DenseReluDense.wo"), &[hidden, ffn]);
            }
            tensors.push((format!("{stack}.final_layer_norm.weight"), vec![hidden]));
        }
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocab_size, hidden]));
        }
        tensors
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        let tensors = self.tensors();
        let sizes = tensors
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>());
        sizes.sum()
    }

    /// Floating-point operations of one token of the answer, with a source of `source` tokens and as many of the answer
    /// before it: two for each weight of the decoder's products and the head's, and the scores and sums.
    pub fn flops_per_token(&self, source: usize, before: usize) -> f64 {
        let inner = self.num_heads * self.d_kv;
        let products = if self.gated() { 3 } else { 2 };
        let block = 6 * self.d_model * inner + products * self.d_model * self.d_ff;
        let attention = 4 * inner * (source + before);
        let head = 2 * self.vocab_size * self.d_model;
        (self.decoder_layers() * (2 * block + attention) + head) as f64
    }

    /// The bucket of a key `distance` behind the query (before it when negative): half of the buckets for small
    /// distances, one each, the others ever wider. With `both_ways` half of all for either direction.
    pub(super) fn bucket(&self, distance: i64, both_ways: bool) -> usize {
        let mut buckets = self.relative_attention_num_buckets;
        let mut first = 0;
        let before = if both_ways {
            buckets /= 2;
            first = if distance > 0 { buckets } else { 0 };
            distance.unsigned_abs() as usize
        } else {
            (-distance).max(0) as usize
        };
        let exact = buckets / 2;
        if before < exact {
            return first + before;
        }
        // As Python computes it: in f32, step by step.
        let reach = (self.relative_attention_max_distance as f32 / exact as f32).ln();
        let share = (before as f32 / exact as f32).ln() / reach;
        let wide = exact + (share * (buckets - exact) as f32) as usize;
        first + wide.min(buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        serde_json::from_value(serde_json::json!({
            "model_type": "t5", "vocab_size": 40, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2,
            "num_heads": 4
        }))
        .expect("the required fields")
    }

    #[test]
    fn small_distances_have_buckets_of_their_own() {
        let config = config();
        // From the paper's own code.
        for (distance, both_ways, bucket) in [
            (0, true, 0),
            (-7, true, 7),
            (7, true, 23),
            (-8, true, 8),
            (-20, true, 10),
            (-127, true, 15),
            (1000, true, 31),
            (5, false, 0),
            (-15, false, 15),
            (-16, false, 16),
            (-60, false, 26),
            (-500, false, 31),
        ] {
            assert_eq!(config.bucket(distance, both_ways), bucket, "{distance}");
        }
    }

    #[test]
    fn numbers_that_fit_no_model_are_refused_by_field() {
        let refused = |change: &dyn Fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.validate().expect_err("refused").field
        };
        assert_eq!(refused(&|c| c.d_kv = 0), "d_kv");
        assert_eq!(refused(&|c| c.num_layers = 1 << 20), "num_layers");
        assert_eq!(
            refused(&|c| c.relative_attention_num_buckets = 3),
            "relative_attention_num_buckets"
        );
        assert_eq!(
            refused(&|c| c.feed_forward_proj = "tanh".to_owned()),
            "feed_forward_proj"
        );
        config().validate().expect("fits");
    }
}
