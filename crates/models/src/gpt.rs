//! The decoder-only transformer of GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"):
//! LayerNorm before each half-block, learned positions, attention with as many key heads as query heads, GELU, biases
//! everywhere, the embedding table as head.
//!
//! Shape legend: `batch` sequences of `seq` tokens, `hidden` features in the residual stream, `heads` heads of
//! `head_dim` features, `ffn` features inside the feed-forward block, `vocab` tokens, `context` positions.

use artifact::Seed;
use serde::{Deserialize, Serialize};
use tensor::lm_loss::Targets;
use tensor::{
    Device, Int, Module, Param, Precision, Tensor, TensorData, add, affine, attention, burn,
    embedding, fork, gelu_affine, layer_norm, lm_loss,
};

use crate::{Rows, initial};

/// The fields of a Hugging Face `config.json` for `GPT2LMHeadModel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Family name.
    pub model_type: String,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Features of the residual stream.
    pub n_embd: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Heads.
    pub n_head: usize,
    /// Features inside the feed-forward block; four times the width when absent.
    pub n_inner: Option<usize>,
    /// Longest sequence, in tokens.
    pub n_positions: usize,
    /// ε of the norms.
    pub layer_norm_epsilon: f32,
    /// Standard deviation of the initial weights.
    pub initializer_range: f32,
    /// Activation of the feed-forward block: GELU in its tanh form.
    pub activation_function: String,
}

impl Config {
    /// GPT-2's proportions: heads of 64 features, a feed-forward block four times as wide.
    pub fn new(layers: usize, width: usize, vocab_size: usize, context: usize) -> Self {
        Self {
            model_type: "gpt2".to_owned(),
            vocab_size,
            n_embd: width,
            n_layer: layers,
            n_head: (width / 64).max(1),
            n_inner: None,
            n_positions: context,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            activation_function: "gelu_new".to_owned(),
        }
    }

    fn ffn(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Every tensor under its Hugging Face name, with its shape, in the order in which the parameters of [`Gpt`] are
    /// visited. Matrices are `[out_features, in_features]`; Hugging Face keeps those of the blocks the other way round.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, ffn) = (self.n_embd, self.ffn());
        let mut tensors = vec![
            (
                "transformer.wte.weight".to_owned(),
                vec![self.vocab_size, hidden],
            ),
            (
                "transformer.wpe.weight".to_owned(),
                vec![self.n_positions, hidden],
            ),
        ];
        for layer in 0..self.n_layer {
            let block = [
                ("ln_1.weight", vec![hidden]),
                ("ln_1.bias", vec![hidden]),
                ("attn.q.weight", vec![hidden, hidden]),
                ("attn.q.bias", vec![hidden]),
                ("attn.k.weight", vec![hidden, hidden]),
                ("attn.k.bias", vec![hidden]),
                ("attn.v.weight", vec![hidden, hidden]),
                ("attn.v.bias", vec![hidden]),
                ("attn.c_proj.weight", vec![hidden, hidden]),
                ("attn.c_proj.bias", vec![hidden]),
                ("ln_2.weight", vec![hidden]),
                ("ln_2.bias", vec![hidden]),
                ("mlp.c_fc.weight", vec![ffn, hidden]),
                ("mlp.c_fc.bias", vec![ffn]),
                ("mlp.c_proj.weight", vec![hidden, ffn]),
                ("mlp.c_proj.bias", vec![hidden]),
            ];
            tensors.extend(
                block.map(|(name, shape)| (format!("transformer.h.{layer}.{name}"), shape)),
            );
        }
        tensors.push(("transformer.ln_f.weight".to_owned(), vec![hidden]));
        tensors.push(("transformer.ln_f.bias".to_owned(), vec![hidden]));
        tensors
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// Floating-point operations of one token's forward pass in a sequence of `context` tokens: two for each weight of
    /// a product, and the scores and sums over half the context on average. A training step costs three times this.
    pub fn flops_per_token(&self, context: usize) -> f64 {
        let block = self.n_embd * (4 * self.n_embd + 2 * self.ffn());
        let head = self.vocab_size * self.n_embd;
        let attention = 2 * self.n_layer * self.n_embd * context;
        2.0 * (self.n_layer * block + head) as f64 + attention as f64
    }
}

/// The weights, in `[out_features, in_features]`.
#[derive(Module, Debug)]
pub struct Gpt {
    wte: Param<Tensor<2>>, // [vocab, hidden]
    wpe: Param<Tensor<2>>, // [context, hidden]
    layers: Vec<Block>,
    ln_f: Norm,
    #[module(skip)]
    config: Config,
    #[module(skip)]
    precision: Precision,
}

/// One layer: attention and feed-forward, each behind its norm and added to the stream.
#[derive(Module, Debug)]
struct Block {
    ln_1: Norm,
    query: Affine,  // hidden → hidden
    key: Affine,    // hidden → hidden
    value: Affine,  // hidden → hidden
    c_proj: Affine, // hidden → hidden
    ln_2: Norm,
    c_fc: Affine,     // hidden → ffn
    mlp_proj: Affine, // ffn → hidden
}

#[derive(Module, Debug)]
struct Norm {
    weight: Param<Tensor<1>>, // [hidden]
    bias: Param<Tensor<1>>,   // [hidden]
}

#[derive(Module, Debug)]
struct Affine {
    weight: Param<Tensor<2>>, // [out_features, in_features]
    bias: Param<Tensor<1>>,   // [out_features]
}

impl Norm {
    fn forward(&self, x: Tensor<3>, epsilon: f32) -> Tensor<3> {
        layer_norm(x, self.weight.val(), self.bias.val(), epsilon) // [batch, seq, hidden]
    }
}

impl Affine {
    fn forward(&self, x: Tensor<3>, precision: Precision) -> Tensor<3> {
        affine(x, self.weight.val(), self.bias.val(), precision) // [batch, seq, out_features]
    }
}

impl Gpt {
    /// Builds the model from a source of tensors, asked by name and shape in the order of [`Config::tensors`].
    ///
    /// # Errors
    /// Whatever the source says.
    pub fn build<E>(
        config: &Config,
        precision: Precision,
        device: &Device,
        mut source: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut tensors = config.tensors().into_iter();
        let mut next = || {
            let (name, shape) = tensors.next().expect("`tensors` lists what is built here");
            source(&name, &shape).map(|values| (values, shape))
        };
        macro_rules! matrix {
            () => {
                next().map(|(values, shape)| {
                    Param::from_tensor(tensor::from_vec(values, [shape[0], shape[1]], device))
                })?
            };
        }
        macro_rules! vector {
            () => {
                next().map(|(values, shape)| {
                    Param::from_tensor(tensor::from_vec(values, [shape[0]], device))
                })?
            };
        }
        macro_rules! norm {
            () => {
                Norm {
                    weight: vector!(),
                    bias: vector!(),
                }
            };
        }
        macro_rules! affine {
            () => {
                Affine {
                    weight: matrix!(),
                    bias: vector!(),
                }
            };
        }
        let (wte, wpe) = (matrix!(), matrix!());
        let mut layers = Vec::with_capacity(config.n_layer);
        for _ in 0..config.n_layer {
            layers.push(Block {
                ln_1: norm!(),
                query: affine!(),
                key: affine!(),
                value: affine!(),
                c_proj: affine!(),
                ln_2: norm!(),
                c_fc: affine!(),
                mlp_proj: affine!(),
            });
        }
        Ok(Self {
            wte,
            wpe,
            layers,
            ln_f: norm!(),
            config: config.clone(),
            precision,
        })
    }

    /// Normal weights, the projections into the residual stream narrower by √(2 · layers); norms at one, biases at zero.
    pub fn init(config: &Config, precision: Precision, seed: Seed, device: &Device) -> Self {
        let narrow = (2.0 * config.n_layer as f32).sqrt().recip();
        let built = Self::build(config, precision, device, |name, shape| {
            let elements = shape.iter().product();
            let values = if name.ends_with("bias") {
                vec![0.0; elements]
            } else if shape.len() == 1 {
                vec![1.0; elements]
            } else {
                let share = if name.ends_with("c_proj.weight") {
                    narrow
                } else {
                    1.0
                };
                let deviation = config.initializer_range * share;
                initial::normal(elements, deviation, seed.derive(name))
            };
            Ok::<_, std::convert::Infallible>(values)
        });
        let Ok(gpt) = built;
        gpt
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn embed(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        let [batch, seq] = tokens.dims();
        let positions: Vec<i32> = rows.positions.iter().map(|&p| p as i32).collect();
        let positions = TensorData::new(positions, [batch, seq]);
        let positions = Tensor::from_data(positions, &tokens.device()); // [batch, seq]
        let positions = embedding(self.wpe.val(), positions); // [batch, seq, hidden]
        add(embedding(self.wte.val(), tokens), positions) // [batch, seq, hidden]
    }

    pub(crate) fn block(&self, index: usize, x: Tensor<3>, rows: &Rows) -> Tensor<3> {
        self.layers[index].forward(x, rows, &self.config, self.precision) // [batch, seq, hidden]
    }

    pub(crate) fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.ln_f.forward(x, self.config.layer_norm_epsilon) // [batch, seq, hidden]
    }

    /// The final hidden states of each token, behind the last norm.
    pub fn forward(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        let mut x = self.embed(tokens, rows); // [batch, seq, hidden]
        for index in 0..self.layers.len() {
            x = self.block(index, x, rows); // [batch, seq, hidden]
        }
        self.norm(x) // [batch, seq, hidden]
    }

    /// The weighted sum of the targets' cross-entropies.
    pub fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        let [batch, seq, features] = hidden.dims();
        let hidden = hidden.reshape([batch * seq, features]); // [batch · seq, hidden]
        lm_loss(hidden, self.wte.val(), targets, self.precision) // [1]
    }
}

impl Block {
    fn forward(
        &self,
        x: Tensor<3>,
        rows: &Rows,
        config: &Config,
        precision: Precision,
    ) -> Tensor<3> {
        let [batch, seq, hidden] = x.dims();
        let (heads, head_dim) = (config.n_head, hidden / config.n_head);
        let scale = (head_dim as f32).sqrt().recip();
        let split = |x: Tensor<3>| x.reshape([batch, seq, heads, head_dim]);

        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = self.ln_1.forward(h, config.layer_norm_epsilon); // [batch, seq, hidden]
        let [to_q, to_k, to_v] = fork(h); // [batch, seq, hidden]
        let q = split(self.query.forward(to_q, precision)); // [batch, seq, heads, head_dim]
        let k = split(self.key.forward(to_k, precision)); // [batch, seq, heads, head_dim]
        let v = split(self.value.forward(to_v, precision)); // [batch, seq, heads, head_dim]
        let attended = attention(q, k, v, &rows.ranges, scale); // [batch, seq, heads, head_dim]
        let attended = attended.reshape([batch, seq, hidden]); // [batch, seq, hidden]
        let x = add(x, self.c_proj.forward(attended, precision)); // [batch, seq, hidden]

        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = self.ln_2.forward(h, config.layer_norm_epsilon); // [batch, seq, hidden]
        let h = self.c_fc.forward(h, precision); // [batch, seq, ffn]
        let Affine { weight, bias } = &self.mlp_proj;
        add(x, gelu_affine(h, weight.val(), bias.val(), precision)) // [batch, seq, hidden]
    }
}
