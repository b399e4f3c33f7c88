//! The decoder-only transformer of the Llama family (Touvron et al. 2023): RMSNorm before each
//! half-block, rotary positions, grouped-query attention, SwiGLU, a tied or untied head.
//!
//! Shape legend: `batch` sequences of `seq` tokens, `hidden` features in the residual stream,
//! `heads` query heads and `kv_heads` key heads of `head_dim` features, `ffn` features inside the
//! feed-forward block, `vocab` tokens.

use artifact::Seed;
use serde::{Deserialize, Serialize};
use tensor::lm_loss::Targets;
use tensor::{
    Device, Int, Module, Param, Precision, Tensor, add, attention, burn, fork, lm_loss, rms_norm,
    rope,
};

use crate::{InitialWeights, KvCache, Matrix, Rows, Values, initial};

/// The fields of a Hugging Face `config.json` for `LlamaForCausalLM`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Class name that Hugging Face loads.
    #[serde(default = "defaults::architectures")]
    pub architectures: Vec<String>,
    /// Family name.
    #[serde(default = "defaults::model_type")]
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
    #[serde(default = "defaults::initializer_range")]
    pub initializer_range: f32,
    /// Token before a document.
    pub bos_token_id: u32,
    /// Token that ends a document.
    pub eos_token_id: u32,
    /// Activation of the gate.
    #[serde(default = "defaults::hidden_act")]
    pub hidden_act: String,
}

mod defaults {
    pub(super) fn architectures() -> Vec<String> {
        vec!["LlamaForCausalLM".to_owned()]
    }
    pub(super) fn model_type() -> String {
        "llama".to_owned()
    }
    pub(super) fn initializer_range() -> f32 {
        0.02
    }
    pub(super) fn hidden_act() -> String {
        "silu".to_owned()
    }
}

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
            architectures: defaults::architectures(),
            model_type: defaults::model_type(),
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
            hidden_act: defaults::hidden_act(),
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
        if self.hidden_act != "silu" {
            return wrong("hidden_act", &self.hidden_act, "silu");
        }
        if self.model_type != "llama" {
            return wrong("model_type", &self.model_type, "llama");
        }
        Ok(())
    }

    /// Every tensor of a checkpoint under its Hugging Face name, with its shape, in the order in
    /// which the parameters of [`Decoder`] are visited.
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
        for layer in 0..self.num_hidden_layers {
            let block = [
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![q, hidden]),
                ("self_attn.k_proj", vec![kv, hidden]),
                ("self_attn.v_proj", vec![kv, hidden]),
                ("self_attn.o_proj", vec![hidden, q]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![ffn, hidden]),
                ("mlp.up_proj", vec![ffn, hidden]),
                ("mlp.down_proj", vec![hidden, ffn]),
            ];
            tensors.extend(
                block.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)),
            );
        }
        tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
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

/// The weights, in Hugging Face's `[out_features, in_features]`.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Matrix, // [vocab, hidden]
    layers: Vec<Block>,
    norm: Param<Tensor<1>>,  // [hidden]
    lm_head: Option<Matrix>, // [vocab, hidden]
    #[module(skip)]
    config: Config,
    #[module(skip)]
    precision: Precision,
}

/// One layer: attention and feed-forward, each behind its norm and added to the stream.
#[derive(Module, Debug)]
pub struct Block {
    input_layernorm: Param<Tensor<1>>,          // [hidden]
    q_proj: Matrix,                             // [heads · head_dim, hidden]
    k_proj: Matrix,                             // [kv_heads · head_dim, hidden]
    v_proj: Matrix,                             // [kv_heads · head_dim, hidden]
    o_proj: Matrix,                             // [hidden, heads · head_dim]
    post_attention_layernorm: Param<Tensor<1>>, // [hidden]
    gate_proj: Matrix,                          // [ffn, hidden]
    up_proj: Matrix,                            // [ffn, hidden]
    down_proj: Matrix,                          // [hidden, ffn]
}

impl Decoder {
    /// Builds the model from a source of tensors, asked by Hugging Face name and shape.
    ///
    /// # Errors
    /// Whatever the source says.
    pub fn build<E>(
        config: &Config,
        precision: Precision,
        device: &Device,
        mut source: impl FnMut(&str, &[usize]) -> Result<Values, E>,
    ) -> Result<Self, E> {
        let mut tensors = config.tensors().into_iter();
        let mut next = || {
            let (name, shape) = tensors.next().expect("`tensors` lists what is built here");
            source(&name, &shape).map(|values| (values, shape))
        };
        macro_rules! vector {
            () => {
                next().map(|(values, shape)| {
                    Param::from_tensor(tensor::from_vec(values.dense(), [shape[0]], device))
                })?
            };
        }
        macro_rules! matrix {
            () => {
                next().map(|(values, shape)| Matrix::new(values, [shape[0], shape[1]], device))?
            };
        }
        let embed_tokens = matrix!();
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            layers.push(Block {
                input_layernorm: vector!(),
                q_proj: matrix!(),
                k_proj: matrix!(),
                v_proj: matrix!(),
                o_proj: matrix!(),
                post_attention_layernorm: vector!(),
                gate_proj: matrix!(),
                up_proj: matrix!(),
                down_proj: matrix!(),
            });
        }
        let norm = vector!();
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(matrix!())
        };
        Ok(Self {
            embed_tokens,
            layers,
            norm,
            lm_head,
            config: config.clone(),
            precision,
        })
    }

    /// Random weights, norms at one.
    pub fn init(
        config: &Config,
        weights: InitialWeights,
        precision: Precision,
        seed: Seed,
        device: &Device,
    ) -> Self {
        let mut source = initial::Source::new(weights, config, seed);
        let built = Self::build(config, precision, device, |name, shape| {
            Ok::<_, std::convert::Infallible>(source.tensor(name, shape).into())
        });
        let Ok(decoder) = built;
        decoder
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How products are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.norm.val().device()
    }

    /// Bytes of the weights in memory.
    pub fn bytes(&self) -> usize {
        let blocks = self.layers.iter().flat_map(Block::matrices);
        let matrices = [&self.embed_tokens].into_iter().chain(&self.lm_head);
        matrices.chain(blocks).map(Matrix::bytes).sum()
    }

    /// The weight of the head, `[vocab, hidden]`.
    pub fn head(&self) -> &Matrix {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// The final hidden states; training, rollouts, evaluation and serving all come through here.
    ///
    /// Shapes: `tokens` `[batch, seq]`, `rows` of `batch · seq`, result `[batch, seq, hidden]`.
    pub fn forward(
        &self,
        tokens: Tensor<2, Int>,
        rows: &Rows,
        mut cache: Option<&mut dyn KvCache>,
    ) -> Tensor<3> {
        let mut x = self.embed(tokens); // [batch, seq, hidden]
        for index in 0..self.layers.len() {
            let cache: Option<&mut dyn KvCache> = match cache {
                Some(ref mut cache) => Some(&mut **cache),
                None => None,
            };
            x = self.block(index, x, rows, cache); // [batch, seq, hidden]
        }
        self.norm(x) // [batch, seq, hidden]
    }

    pub(crate) fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.embed_tokens.embedding(tokens) // [batch, seq, hidden]
    }

    pub(crate) fn block(
        &self,
        index: usize,
        x: Tensor<3>,
        rows: &Rows,
        cache: Option<&mut dyn KvCache>,
    ) -> Tensor<3> {
        let cache = cache.map(|cache| (cache, index));
        self.layers[index].forward(x, rows, cache, &self.config, self.precision) // [batch, seq, hidden]
    }

    pub(crate) fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        rms_norm(x, self.norm.val(), self.config.rms_norm_eps) // [batch, seq, hidden]
    }

    /// Shapes: `hidden` `[batch, seq, hidden]`, result `[batch, seq, vocab]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.head().forward(hidden, self.precision) // [batch, seq, vocab]
    }

    /// The weighted cross-entropy of the targets, one element. Shapes: `hidden` `[batch, seq, hidden]`.
    pub fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        let head = self.head().values(&hidden.device()); // [vocab, hidden]
        let hidden = flat(hidden); // [batch · seq, hidden]
        lm_loss(hidden, head, targets, self.precision) // [1]
    }

    /// The log-probability of a target for each row. Shapes: `hidden` `[batch, seq, hidden]`.
    pub fn token_logprobs(&self, hidden: Tensor<3>, targets: &[u32]) -> Vec<f32> {
        self.head()
            .token_logprobs(flat(hidden), targets, self.precision) // [batch · seq]
    }
}

/// `[batch, seq, hidden]` to `[batch · seq, hidden]`.
fn flat(hidden: Tensor<3>) -> Tensor<2> {
    let [batch, seq, features] = hidden.dims();
    hidden.reshape([batch * seq, features])
}

impl Block {
    fn matrices(&self) -> [&Matrix; 7] {
        [
            &self.q_proj,
            &self.k_proj,
            &self.v_proj,
            &self.o_proj,
            &self.gate_proj,
            &self.up_proj,
            &self.down_proj,
        ]
    }

    fn forward(
        &self,
        x: Tensor<3>,
        rows: &Rows,
        cache: Option<(&mut dyn KvCache, usize)>,
        config: &Config,
        precision: Precision,
    ) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        let (heads, kv_heads, head_dim) = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        );
        let scale = (head_dim as f32).sqrt().recip();

        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = rms_norm(h, self.input_layernorm.val(), config.rms_norm_eps); // [batch, seq, hidden]
        let [q, k, v] =
            Matrix::forward_each([&self.q_proj, &self.k_proj, &self.v_proj], h, precision);
        let q = q.reshape([batch, seq, heads, head_dim]); // [batch, seq, heads, head_dim]
        let k = k.reshape([batch, seq, kv_heads, head_dim]); // [batch, seq, kv_heads, head_dim]
        let v = v.reshape([batch, seq, kv_heads, head_dim]); // [batch, seq, kv_heads, head_dim]
        let q = rope(q, &rows.positions, config.rope_theta); // [batch, seq, heads, head_dim]
        let k = rope(k, &rows.positions, config.rope_theta); // [batch, seq, kv_heads, head_dim]
        let attended = match cache {
            Some((cache, layer)) => cache.attend(layer, q, k, v, scale),
            None => attention(q, k, v, &rows.ranges, scale),
        }; // [batch, seq, heads, head_dim]
        let attended = attended.reshape([batch, seq, heads * head_dim]); // [batch, seq, heads · head_dim]
        let x = add(x, self.o_proj.forward(attended, precision)); // [batch, seq, hidden]

        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = rms_norm(h, self.post_attention_layernorm.val(), config.rms_norm_eps); // [batch, seq, hidden]
        let [gate, up] = Matrix::forward_each([&self.gate_proj, &self.up_proj], h, precision); // [batch, seq, ffn]
        add(x, self.down_proj.forward_swiglu(gate, up, precision)) // [batch, seq, hidden]
    }
}
