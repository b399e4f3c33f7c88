//! The encoder-decoder transformer T5 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
//! Text-to-Text Transformer"), its version 1.1 with a gated GELU (Shazeer 2020), and mT5 (Xue et al. 2021): RMSNorm
//! before each part, no biases, scores unscaled, and in place of positions a bias on each score by the distance of key
//! and query, shared by all layers of a stack.
//!
//! Shape legend: `batch` sequences of `seq` tokens in the decoder and `source` in the encoder, `hidden` features in the
//! residual stream, `heads` heads of `head_dim` features, `ffn` features inside the feed-forward block, `vocab` tokens,
//! `buckets` of distances.

mod config;

use artifact::Seed;
use tensor::{
    Device, Int, KeyRanges, Module, Param, Precision, Tensor, TensorData, add, attention,
    attention_by_distance, burn, embedding, fork, gelu, linear, rms_norm,
};

pub use config::{Config, FAMILIES};

use crate::{Rows, initial};

/// The weights, in Hugging Face's `[out_features, in_features]`.
#[derive(Module, Debug)]
pub struct T5 {
    shared: Param<Tensor<2>>, // [vocab, hidden]
    encoder: Stack,
    decoder: Stack,
    lm_head: Option<Param<Tensor<2>>>, // [vocab, hidden]
    #[module(skip)]
    config: Config,
    #[module(skip)]
    precision: Precision,
}

/// The encoder or the decoder.
#[derive(Module, Debug)]
struct Stack {
    relative_attention_bias: Param<Tensor<2>>, // [buckets, heads]
    blocks: Vec<Block>,
    final_layer_norm: Param<Tensor<1>>, // [hidden]
}

/// One layer: attention to its own stack, in the decoder then to the encoder's, and feed-forward, each added to the
/// stream.
#[derive(Module, Debug)]
struct Block {
    self_attention: Attention,
    cross_attention: Option<Attention>,
    feed_forward: FeedForward,
}

#[derive(Module, Debug)]
struct Attention {
    layer_norm: Param<Tensor<1>>, // [hidden]
    q: Param<Tensor<2>>,          // [heads · head_dim, hidden]
    k: Param<Tensor<2>>,          // [heads · head_dim, hidden]
    v: Param<Tensor<2>>,          // [heads · head_dim, hidden]
    o: Param<Tensor<2>>,          // [hidden, heads · head_dim]
}

#[derive(Module, Debug)]
struct FeedForward {
    layer_norm: Param<Tensor<1>>,   // [hidden]
    wi: Param<Tensor<2>>,           // [ffn, hidden]
    wi_1: Option<Param<Tensor<2>>>, // [ffn, hidden]
    wo: Param<Tensor<2>>,           // [hidden, ffn]
}

/// What decoding keeps of the tokens before: keys and values of each layer, and of the source once.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    own: Vec<[Tensor<4>; 2]>,
    source: Vec<[Tensor<4>; 2]>,
}

impl Cache {
    /// Tokens of the answer that are held.
    pub fn held(&self) -> usize {
        self.own.first().map_or(0, |[keys, _]| keys.dims()[1])
    }
}

impl T5 {
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
        macro_rules! attention {
            () => {
                Attention {
                    layer_norm: vector!(),
                    q: matrix!(),
                    k: matrix!(),
                    v: matrix!(),
                    o: matrix!(),
                }
            };
        }
        macro_rules! stack {
            ($layers:expr, $crossed:expr) => {{
                let relative_attention_bias = matrix!();
                let mut blocks = Vec::with_capacity($layers);
                for _ in 0..$layers {
                    let self_attention = attention!();
                    let cross_attention = if $crossed { Some(attention!()) } else { None };
                    let layer_norm = vector!();
                    let wi = matrix!();
                    let wi_1 = if config.gated() {
                        Some(matrix!())
                    } else {
                        None
                    };
                    blocks.push(Block {
                        self_attention,
                        cross_attention,
                        feed_forward: FeedForward {
                            layer_norm,
                            wi,
                            wi_1,
                            wo: matrix!(),
                        },
                    });
                }
                Stack {
                    relative_attention_bias,
                    blocks,
                    final_layer_norm: vector!(),
                }
            }};
        }
        Ok(Self {
            shared: matrix!(),
            encoder: stack!(config.num_layers, false),
            decoder: stack!(config.decoder_layers(), true),
            lm_head: if config.tie_word_embeddings {
                None
            } else {
                Some(matrix!())
            },
            config: config.clone(),
            precision,
        })
    }

    /// Normal weights by the sizes of their inputs, as the paper's; norms at one.
    pub fn init(config: &Config, precision: Precision, seed: Seed, device: &Device) -> Self {
        let built = Self::build(config, precision, device, |name, shape| {
            let elements: usize = shape.iter().product();
            let &[_, inputs] = shape else {
                return Ok::<_, std::convert::Infallible>(vec![1.0; elements]);
            };
            let deviation = match name.rsplit('.').nth(1) {
                Some("shared") => 1.0,
                // Scores are not scaled, so queries are.
                Some("q") => ((inputs * config.d_kv) as f32).sqrt().recip(),
                Some("relative_attention_bias") => (config.d_model as f32).sqrt().recip(),
                _ => (inputs as f32).sqrt().recip(),
            };
            Ok(initial::normal(elements, deviation, seed.derive(name)))
        });
        let Ok(model) = built;
        model
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The encoder's last hidden states, `[batch, source, hidden]`, of `tokens` `[batch, source]`; each row sees the
    /// rows of its own text ([`Rows::texts`]).
    pub fn encode(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        let reach = self.reach();
        let bias = self.encoder.bias(&self.config, true, reach); // [heads, 2 · reach + 1]
        let mut x = embedding(self.shared.val(), tokens); // [batch, source, hidden]
        for block in &self.encoder.blocks {
            let attend = |q, k, v| {
                attention_by_distance([q, k, v], &rows.ranges, 1.0, bias.clone(), 0) // [batch, source, heads, head_dim]
            };
            x = block.self_attention.forward(x, self, attend); // [batch, source, hidden]
            x = block.feed_forward.forward(x, self); // [batch, source, hidden]
        }
        self.norm(x, &self.encoder.final_layer_norm) // [batch, source, hidden]
    }

    /// The decoder's last hidden states, `[batch, seq, hidden]`, of `tokens` `[batch, seq]` that follow what the cache
    /// holds; `encoded` `[batch, source, hidden]` is what they are about, of which entry `b` has `lengths[b]` rows.
    pub fn decode(
        &self,
        tokens: Tensor<2, Int>,
        encoded: &Tensor<3>,
        lengths: &[usize],
        cache: &mut Cache,
    ) -> Tensor<3> {
        let [batch, seq] = tokens.dims();
        let held = cache.held();
        let bias = self.decoder.bias(&self.config, false, self.reach()); // [heads, 2 · reach + 1]
        let own = Rows::continued(&vec![held; batch], seq).ranges;
        let each = lengths.iter().map(|&length| [0, length as u32]);
        let source: KeyRanges = each.flat_map(|range| vec![range; seq]).collect();
        let mut x = embedding(self.shared.val(), tokens); // [batch, seq, hidden]
        for (index, block) in self.decoder.blocks.iter().enumerate() {
            let attend = |q, k: Tensor<4>, v: Tensor<4>| {
                let [k, v] = match cache.own.get(index) {
                    Some([keys, values]) => [(keys, k), (values, v)]
                        .map(|(held, new)| Tensor::cat(vec![held.clone(), new], 1)),
                    None => [k, v],
                }; // [batch, held + seq, heads, head_dim]
                let kept = [k.clone(), v.clone()];
                match cache.own.get_mut(index) {
                    Some(held) => *held = kept,
                    None => cache.own.push(kept),
                }
                attention_by_distance([q, k, v], &own, 1.0, bias.clone(), held) // [batch, seq, heads, head_dim]
            };
            x = block.self_attention.forward(x, self, attend); // [batch, seq, hidden]
            if let Some(cross) = &block.cross_attention {
                if cache.source.len() == index {
                    cache.source.push(cross.keys_and_values(encoded, self));
                }
                let [k, v] = cache.source[index].clone(); // [batch, source, heads, head_dim]
                x = cross.forward_to(x, self, |q| attention(q, k, v, &source, 1.0)); // [batch, seq, hidden]
            }
            x = block.feed_forward.forward(x, self); // [batch, seq, hidden]
        }
        self.norm(x, &self.decoder.final_layer_norm) // [batch, seq, hidden]
    }

    /// Shapes: `hidden` `[batch, seq, hidden]`, result `[batch, seq, vocab]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let hidden = if self.config.scales_outputs() {
            hidden * (self.config.d_model as f32).sqrt().recip() // [batch, seq, hidden]
        } else {
            hidden
        };
        let head = self.lm_head.as_ref().unwrap_or(&self.shared); // [vocab, hidden]
        linear(hidden, head.val(), self.precision) // [batch, seq, vocab]
    }

    /// The largest distance with a bias of its own.
    fn reach(&self) -> usize {
        self.config.relative_attention_max_distance
    }

    fn norm(&self, x: Tensor<3>, weight: &Param<Tensor<1>>) -> Tensor<3> {
        rms_norm(x, weight.val(), self.config.layer_norm_epsilon) // [batch, seq, hidden]
    }

    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, seq, _] = x.dims();
        x.reshape([batch, seq, self.config.num_heads, self.config.d_kv]) // [batch, seq, heads, head_dim]
    }
}

impl Stack {
    /// The bias of each distance from −reach to reach, `[heads, 2 · reach + 1]`.
    fn bias(&self, config: &Config, both_ways: bool, reach: usize) -> Tensor<2> {
        let table = self.relative_attention_bias.val(); // [buckets, heads]
        let reach = reach as i64;
        let buckets: Vec<i32> = (-reach..=reach)
            .map(|distance| config.bucket(distance, both_ways) as i32)
            .collect();
        let count = buckets.len();
        let buckets = Tensor::from_data(TensorData::new(buckets, [count]), &table.device());
        table.select(0, buckets).transpose() // [heads, 2 · reach + 1]
    }
}

impl Attention {
    /// Attention to the same rows, added to them. Shapes: `x` `[batch, seq, hidden]`, result like it.
    fn forward(
        &self,
        x: Tensor<3>,
        model: &T5,
        attend: impl FnOnce(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>,
    ) -> Tensor<3> {
        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = model.norm(h, &self.layer_norm); // [batch, seq, hidden]
        let [h, to_keys] = fork(h); // [batch, seq, hidden]
        let [k, v] = self.keys_and_values(&to_keys, model); // [batch, seq, heads, head_dim]
        let q = model.split(linear(h, self.q.val(), model.precision)); // [batch, seq, heads, head_dim]
        add(x, self.out(attend(q, k, v), model)) // [batch, seq, hidden]
    }

    /// Attention to other rows, added to `x`. Shapes: `x` `[batch, seq, hidden]`, result like it.
    fn forward_to(
        &self,
        x: Tensor<3>,
        model: &T5,
        attend: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<3> {
        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = model.norm(h, &self.layer_norm); // [batch, seq, hidden]
        let q = model.split(linear(h, self.q.val(), model.precision)); // [batch, seq, heads, head_dim]
        add(x, self.out(attend(q), model)) // [batch, seq, hidden]
    }

    fn keys_and_values(&self, x: &Tensor<3>, model: &T5) -> [Tensor<4>; 2] {
        let mut uses = fork::<3, 2>(x.clone()).into_iter();
        [&self.k, &self.v].map(|weight| {
            let x = uses.next().expect("one for each");
            model.split(linear(x, weight.val(), model.precision)) // [batch, seq, heads, head_dim]
        })
    }

    fn out(&self, attended: Tensor<4>, model: &T5) -> Tensor<3> {
        let [batch, seq, heads, head_dim] = attended.dims();
        let attended = attended.reshape([batch, seq, heads * head_dim]); // [batch, seq, heads · head_dim]
        linear(attended, self.o.val(), model.precision) // [batch, seq, hidden]
    }
}

impl FeedForward {
    /// Shapes: `x` `[batch, seq, hidden]`, result like it.
    fn forward(&self, x: Tensor<3>, model: &T5) -> Tensor<3> {
        let precision = model.precision;
        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = model.norm(h, &self.layer_norm); // [batch, seq, hidden]
        let [h, second] = fork(h); // [batch, seq, hidden]
        let inner = linear(h, self.wi.val(), precision); // [batch, seq, ffn]
        let inner = match &self.wi_1 {
            Some(wi_1) => gelu(inner) * linear(second, wi_1.val(), precision), // [batch, seq, ffn]
            None => burn::tensor::activation::relu(inner),                     // [batch, seq, ffn]
        };
        add(x, linear(inner, self.wo.val(), precision)) // [batch, seq, hidden]
    }
}
