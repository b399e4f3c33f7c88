//! The decoder-only transformer: the Llama family (Touvron et al. 2023) with RMSNorm before each half-block, rotary
//! positions, grouped-query attention, SwiGLU and a tied or untied head, and the families that differ from it by what
//! [`family`] lists.
//!
//! Shape legend: `batch` sequences of `seq` tokens, `hidden` features in the residual stream,
//! `heads` query heads and `kv_heads` key heads of `head_dim` features, `ffn` features inside the
//! feed-forward block, `vocab` tokens.

mod adapters;
mod config;
pub mod family;
mod linear;
mod preset;
mod published;

use artifact::Seed;
use tensor::lm_loss::Targets;
use tensor::{
    Device, Int, Module, Param, Precision, Rotary, Tensor, TensorData, add, attention, burn,
    embedding, fork, gelu, layer_norm, lm_loss, rms_norm, rope,
};

pub use adapters::AdapterError;
pub use config::{Config, ConfigError, LayerType, RopeScaling};
pub use preset::Preset;

use self::linear::Linear;
use crate::{InitialWeights, KvCache, Matrix, Rows, Values, initial};

/// The weights, in Hugging Face's `[out_features, in_features]`.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Matrix,                      // [vocab, hidden]
    embed_positions: Option<Param<Tensor<2>>>, // [context, hidden]
    layers: Vec<Block>,
    norm: Norm,
    lm_head: Option<Matrix>, // [vocab, hidden]
    #[module(skip)]
    reach: Vec<Reach>,
    #[module(skip)]
    config: Config,
    #[module(skip)]
    precision: Precision,
}

/// How a layer sees: what turns queries and keys, and how far back it looks.
#[derive(Clone, Debug)]
struct Reach {
    rotary: Option<Rotary>,
    window: Option<usize>,
}

/// One layer: attention and feed-forward, each behind its norm and added to the stream.
#[derive(Module, Debug)]
pub struct Block {
    input_layernorm: Norm,
    q_proj: Linear,               // hidden → heads · head_dim
    k_proj: Linear,               // hidden → kv_heads · head_dim
    v_proj: Linear,               // hidden → kv_heads · head_dim
    q_norm: Option<Norm>,         // over head_dim
    k_norm: Option<Norm>,         // over head_dim
    o_proj: Linear,               // heads · head_dim → hidden
    attention_norm: Option<Norm>, // behind attention
    feed_forward_layernorm: Norm,
    gate_proj: Option<Linear>,       // hidden → ffn
    up_proj: Linear,                 // hidden → ffn
    down_proj: Linear,               // ffn → hidden
    feed_forward_norm: Option<Norm>, // behind the feed-forward block
}

/// RMSNorm (Zhang and Sennrich 2019); LayerNorm (Ba et al. 2016) where there is a bias.
#[derive(Module, Debug)]
struct Norm {
    weight: Param<Tensor<1>>,       // [features]
    bias: Option<Param<Tensor<1>>>, // [features]
}

impl Norm {
    fn forward<const D: usize>(&self, x: Tensor<D>, config: &Config) -> Tensor<D> {
        let (weight, eps) = (self.weight.val(), config.rms_norm_eps);
        match (&self.bias, config.norm_offset()) {
            (Some(bias), _) => layer_norm(x, weight, bias.val(), eps), // […, features]
            (None, 0.0) => rms_norm(x, weight, eps),                   // […, features]
            (None, offset) => rms_norm(x, weight + offset, eps),       // […, features]
        }
    }
}

impl Decoder {
    /// Builds the model from a source of tensors, asked by the names and shapes of [`Config::tensors`].
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
        macro_rules! when {
            ($there:expr, $built:expr) => {
                if $there { Some($built) } else { None }
            };
        }
        macro_rules! norm {
            () => {
                Norm {
                    weight: vector!(),
                    bias: when!(config.layer_norm(), vector!()),
                }
            };
        }
        macro_rules! linear {
            ($bias:expr) => {
                Linear {
                    weight: matrix!(),
                    bias: when!($bias, vector!()),
                    adapters: Vec::new(),
                }
            };
        }
        let embed_tokens = matrix!();
        let embed_positions = when!(
            config.learned_positions(),
            next().map(|(values, shape)| Param::from_tensor(tensor::from_vec(
                values.dense(),
                [shape[0], shape[1]],
                device
            )))?
        );
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            layers.push(Block {
                input_layernorm: norm!(),
                q_proj: linear!(config.qkv_bias()),
                k_proj: linear!(config.qkv_bias()),
                v_proj: linear!(config.qkv_bias()),
                q_norm: when!(config.head_norms(), norm!()),
                k_norm: when!(config.head_norms(), norm!()),
                o_proj: linear!(config.output_bias()),
                attention_norm: when!(config.norms_behind(), norm!()),
                feed_forward_layernorm: norm!(),
                gate_proj: when!(config.gated(), linear!(config.feed_forward_bias())),
                up_proj: linear!(config.feed_forward_bias()),
                down_proj: linear!(config.feed_forward_bias()),
                feed_forward_norm: when!(config.norms_behind(), norm!()),
            });
        }
        let norm = norm!();
        let lm_head = when!(!config.tie_word_embeddings, matrix!());
        let reach = (0..config.num_hidden_layers).map(|layer| Reach {
            rotary: config.rotary(layer),
            window: config.window(layer),
        });
        Ok(Self {
            embed_tokens,
            embed_positions,
            layers,
            norm,
            lm_head,
            reach: reach.collect(),
            config: config.clone(),
            precision,
        })
    }

    /// Random weights, norms that change nothing, biases at zero.
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

    /// The same model with products computed otherwise.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.norm.weight.val().device()
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
        let mut x = self.embed(tokens, rows); // [batch, seq, hidden]
        for index in 0..self.layers.len() {
            let cache: Option<&mut dyn KvCache> = match cache {
                Some(ref mut cache) => Some(&mut **cache),
                None => None,
            };
            x = self.block(index, x, rows, cache); // [batch, seq, hidden]
        }
        self.norm(x) // [batch, seq, hidden]
    }

    pub(crate) fn embed(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        let [batch, seq] = tokens.dims();
        let device = tokens.device();
        let x = self.embed_tokens.embedding(tokens); // [batch, seq, hidden]
        let x = match self.config.embedding_scale() {
            Some(scale) => x * scale, // [batch, seq, hidden]
            None => x,
        };
        let Some(table) = &self.embed_positions else {
            return x; // [batch, seq, hidden]
        };
        let positions: Vec<i32> = rows.positions.iter().map(|&p| p as i32).collect();
        let positions = Tensor::from_data(TensorData::new(positions, [batch, seq]), &device); // [batch, seq]
        add(x, embedding(table.val(), positions)) // [batch, seq, hidden]
    }

    pub(crate) fn block(
        &self,
        index: usize,
        x: Tensor<3>,
        rows: &Rows,
        cache: Option<&mut dyn KvCache>,
    ) -> Tensor<3> {
        let cache = cache.map(|cache| (cache, index));
        let reach = &self.reach[index];
        self.layers[index].forward(x, rows, reach, cache, &self.config, self.precision) // [batch, seq, hidden]
    }

    pub(crate) fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.norm.forward(x, &self.config) // [batch, seq, hidden]
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
    fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let fixed = [
            &self.q_proj,
            &self.k_proj,
            &self.v_proj,
            &self.o_proj,
            &self.up_proj,
            &self.down_proj,
        ];
        let all = fixed.into_iter().chain(&self.gate_proj);
        all.map(|linear| &linear.weight)
    }

    fn forward(
        &self,
        x: Tensor<3>,
        rows: &Rows,
        reach: &Reach,
        cache: Option<(&mut dyn KvCache, usize)>,
        config: &Config,
        precision: Precision,
    ) -> Tensor<3> {
        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = self.input_layernorm.forward(h, config); // [batch, seq, hidden]
        let h = self.attention(h, rows, reach, cache, config, precision); // [batch, seq, hidden]
        let h = match &self.attention_norm {
            Some(norm) => norm.forward(h, config), // [batch, seq, hidden]
            None => h,
        };
        let x = add(x, h); // [batch, seq, hidden]

        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = self.feed_forward_layernorm.forward(h, config); // [batch, seq, hidden]
        let h = self.feed_forward(h, rows, config, precision); // [batch, seq, hidden]
        let h = match &self.feed_forward_norm {
            Some(norm) => norm.forward(h, config), // [batch, seq, hidden]
            None => h,
        };
        add(x, h) // [batch, seq, hidden]
    }

    fn attention(
        &self,
        h: Tensor<3>,
        rows: &Rows,
        reach: &Reach,
        cache: Option<(&mut dyn KvCache, usize)>,
        config: &Config,
        precision: Precision,
    ) -> Tensor<3> {
        let [batch, seq, _] = h.dims();
        let (heads, kv_heads, head_dim) = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        );
        let scale = config.attention_scale();
        let normed = |x: Tensor<4>, norm: &Option<Norm>| match norm {
            Some(norm) => norm.forward(x, config),
            None => x,
        };
        let turned = |x: Tensor<4>| match &reach.rotary {
            Some(rotary) => rope(x, &rows.positions, rotary),
            None => x,
        };

        let projections = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [q, k, v] = Linear::forward_each(projections, h, rows, precision); // [batch, seq, … · head_dim]
        let q = q.reshape([batch, seq, heads, head_dim]); // [batch, seq, heads, head_dim]
        let k = k.reshape([batch, seq, kv_heads, head_dim]); // [batch, seq, kv_heads, head_dim]
        let v = v.reshape([batch, seq, kv_heads, head_dim]); // [batch, seq, kv_heads, head_dim]
        let q = turned(normed(q, &self.q_norm)); // [batch, seq, heads, head_dim]
        let k = turned(normed(k, &self.k_norm)); // [batch, seq, kv_heads, head_dim]
        let attended = match (cache, reach.window) {
            (Some((cache, layer)), window) => cache.attend(layer, q, k, v, window, scale),
            (None, Some(window)) => attention(q, k, v, &rows.within(window), scale),
            (None, None) => attention(q, k, v, &rows.ranges, scale),
        }; // [batch, seq, heads, head_dim]
        let attended = attended.reshape([batch, seq, heads * head_dim]); // [batch, seq, heads · head_dim]
        self.o_proj.forward(attended, rows, precision) // [batch, seq, hidden]
    }

    fn feed_forward(
        &self,
        h: Tensor<3>,
        rows: &Rows,
        config: &Config,
        precision: Precision,
    ) -> Tensor<3> {
        let Some(gate_proj) = &self.gate_proj else {
            let h = self.up_proj.forward(h, rows, precision); // [batch, seq, ffn]
            return self.down_proj.forward_gelu(h, rows, precision); // [batch, seq, hidden]
        };
        let [gate, up] = Linear::forward_each([gate_proj, &self.up_proj], h, rows, precision); // [batch, seq, ffn]
        if config.hidden_act != "silu" {
            return self.down_proj.forward(gelu(gate) * up, rows, precision); // [batch, seq, hidden]
        }
        self.down_proj.forward_swiglu(gate, up, rows, precision) // [batch, seq, hidden]
    }
}
