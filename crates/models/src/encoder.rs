//! The transformer encoder of BERT (Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers") and of
//! XLM-RoBERTa (Conneau et al. 2019, "Unsupervised Cross-lingual Representation Learning at Scale"): every token attends
//! to its whole text, LayerNorm stands behind each half-block, positions are learned. The two differ in where positions
//! begin, in the number of token types and in ε.
//!
//! Shape legend: `batch` entries of `seq` rows, each row a token of some text or padding; `hidden` features in the
//! residual stream, `heads` heads of `head_dim` features, `ffn` features inside the feed-forward block, `vocab` tokens,
//! `positions` learned positions, `types` token types.

use artifact::Seed;
use serde::{Deserialize, Serialize};
use tensor::{
    Device, Int, Module, Param, Precision, Tensor, TensorData, add, affine, attention, burn,
    embedding, erf_gelu, fork, gelu, layer_norm,
};

use crate::decoder::ConfigError;
use crate::{Rows, initial};

/// The fields of a Hugging Face `config.json` for `BertModel`, `RobertaModel` or `XLMRobertaModel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Family name: `bert`, `roberta` or `xlm-roberta`.
    pub model_type: String,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features inside the feed-forward block.
    pub intermediate_size: usize,
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    /// Rows of the token type table.
    #[serde(default = "defaults::type_vocab_size")]
    pub type_vocab_size: usize,
    /// ε of the norms.
    #[serde(default = "defaults::layer_norm_eps")]
    pub layer_norm_eps: f32,
    /// Token of padding; the positions of the RoBERTa family begin behind it.
    #[serde(default)]
    pub pad_token_id: usize,
    /// Activation of the feed-forward block: `gelu` (the exact form) or `gelu_new` (the tanh form).
    #[serde(default = "defaults::hidden_act")]
    pub hidden_act: String,
    /// `absolute`: learned positions, added once.
    #[serde(default = "defaults::position_embedding_type")]
    pub position_embedding_type: String,
    /// Whether rows see only what stands before them. An encoder's see all.
    #[serde(default)]
    pub is_decoder: bool,
    /// Standard deviation of the initial weights.
    #[serde(default = "defaults::initializer_range")]
    pub initializer_range: f32,
}

mod defaults {
    pub(super) fn type_vocab_size() -> usize {
        2
    }
    pub(super) fn layer_norm_eps() -> f32 {
        1e-12
    }
    pub(super) fn hidden_act() -> String {
        "gelu".to_owned()
    }
    pub(super) fn position_embedding_type() -> String {
        "absolute".to_owned()
    }
    pub(super) fn initializer_range() -> f32 {
        0.02
    }
}

/// The families that are read.
pub const FAMILIES: [&str; 3] = ["bert", "roberta", "xlm-roberta"];

/// No encoder is deeper; a config that tells of one is broken, and its list of tensors would fill the memory.
const MOST_LAYERS: usize = 4096;

impl Config {
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
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
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
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a divisor of hidden_size = {}", self.hidden_size);
            return wrong("num_attention_heads", &self.num_attention_heads, &expected);
        }
        if !FAMILIES.contains(&self.model_type.as_str()) {
            return wrong("model_type", &self.model_type, &FAMILIES.join(", "));
        }
        if self.pad_token_id >= self.vocab_size {
            let expected = format!("below vocab_size = {}", self.vocab_size);
            return wrong("pad_token_id", &self.pad_token_id, &expected);
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return wrong("layer_norm_eps", &self.layer_norm_eps, "between 0 and 1");
        }
        if self.first_position() >= self.max_position_embeddings {
            let expected = format!("more than {}, where positions begin", self.first_position());
            let got = self.max_position_embeddings;
            return wrong("max_position_embeddings", &got, &expected);
        }
        if self.form().is_none() {
            return wrong("hidden_act", &self.hidden_act, "gelu or gelu_new");
        }
        if self.position_embedding_type != "absolute" {
            let got = &self.position_embedding_type;
            return wrong("position_embedding_type", got, "absolute");
        }
        if self.is_decoder {
            return wrong("is_decoder", &self.is_decoder, "false");
        }
        Ok(())
    }

    /// Row of the position table for the first token of a text: in RoBERTa's family the one behind padding's.
    pub fn first_position(&self) -> usize {
        if self.model_type == "bert" {
            0
        } else {
            self.pad_token_id + 1
        }
    }

    /// Longest text, in tokens.
    pub fn context(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    fn form(&self) -> Option<Form> {
        match self.hidden_act.as_str() {
            "gelu" => Some(Form::Exact),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Form::Tanh),
            _ => None,
        }
    }

    /// Every tensor under its Hugging Face name (without the `bert.` or `roberta.` that a model with a head puts before
    /// it), with its shape, in the order in which the parameters of [`Encoder`] are visited.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, ffn) = (self.hidden_size, self.intermediate_size);
        let named = |part: &str, shape: Vec<usize>| (format!("embeddings.{part}"), shape);
        let mut tensors = vec![
            named("word_embeddings.weight", vec![self.vocab_size, hidden]),
            named(
                "position_embeddings.weight",
                vec![self.max_position_embeddings, hidden],
            ),
            named(
                "token_type_embeddings.weight",
                vec![self.type_vocab_size, hidden],
            ),
            named("LayerNorm.weight", vec![hidden]),
            named("LayerNorm.bias", vec![hidden]),
        ];
        for layer in 0..self.num_hidden_layers {
            for (part, shape) in [
                ("attention.self.query", [hidden, hidden]),
                ("attention.self.key", [hidden, hidden]),
                ("attention.self.value", [hidden, hidden]),
                ("attention.output.dense", [hidden, hidden]),
                ("attention.output.LayerNorm", [hidden, 0]),
                ("intermediate.dense", [ffn, hidden]),
                ("output.dense", [hidden, ffn]),
                ("output.LayerNorm", [hidden, 0]),
            ] {
                // A norm's weight is a vector.
                let weight = shape.into_iter().filter(|&size| size > 0).collect();
                let name = format!("encoder.layer.{layer}.{part}");
                tensors.push((format!("{name}.weight"), weight));
                tensors.push((format!("{name}.bias"), vec![shape[0]]));
            }
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

    /// Floating-point operations of one token's forward pass in a text of `length` tokens: two for each weight of a
    /// product, and the scores and sums over the whole text.
    pub fn flops_per_token(&self, length: usize) -> f64 {
        let block = self.hidden_size * (4 * self.hidden_size + 2 * self.intermediate_size);
        let attention = 4 * self.hidden_size * length;
        (self.num_hidden_layers * (2 * block + attention)) as f64
    }
}

/// How the activation is computed.
#[derive(Clone, Copy, Debug)]
enum Form {
    Exact,
    Tanh,
}

/// The weights, in Hugging Face's `[out_features, in_features]`.
#[derive(Module, Debug)]
pub struct Encoder {
    word_embeddings: Param<Tensor<2>>,       // [vocab, hidden]
    position_embeddings: Param<Tensor<2>>,   // [positions, hidden]
    token_type_embeddings: Param<Tensor<2>>, // [types, hidden]
    norm: Norm,
    layers: Vec<Block>,
    #[module(skip)]
    config: Config,
    #[module(skip)]
    precision: Precision,
}

/// One layer: attention and feed-forward, each added to the stream and normalised there.
#[derive(Module, Debug)]
struct Block {
    query: Affine,            // hidden → hidden
    key: Affine,              // hidden → hidden
    value: Affine,            // hidden → hidden
    attention_output: Affine, // hidden → hidden
    attention_norm: Norm,
    intermediate: Affine, // hidden → ffn
    output: Affine,       // ffn → hidden
    output_norm: Norm,
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

impl Encoder {
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
        let word_embeddings = matrix!();
        let position_embeddings = matrix!();
        let token_type_embeddings = matrix!();
        let norm = norm!();
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            layers.push(Block {
                query: affine!(),
                key: affine!(),
                value: affine!(),
                attention_output: affine!(),
                attention_norm: norm!(),
                intermediate: affine!(),
                output: affine!(),
                output_norm: norm!(),
            });
        }
        Ok(Self {
            word_embeddings,
            position_embeddings,
            token_type_embeddings,
            norm,
            layers,
            config: config.clone(),
            precision,
        })
    }

    /// Normal weights; norms at one, biases at zero.
    pub fn init(config: &Config, precision: Precision, seed: Seed, device: &Device) -> Self {
        let built = Self::build(config, precision, device, |name, shape| {
            let elements = shape.iter().product();
            Ok::<_, std::convert::Infallible>(match (name.ends_with("bias"), shape.len()) {
                (true, _) => vec![0.0; elements],
                (false, 1) => vec![1.0; elements],
                _ => initial::normal(elements, config.initializer_range, seed.derive(name)),
            })
        });
        let Ok(encoder) = built;
        encoder
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The sum of word, position and type of each row, normalised.
    fn embed(&self, tokens: Tensor<2, Int>, types: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        let [batch, seq] = tokens.dims();
        let first = self.config.first_position() as u32;
        let positions: Vec<i32> = rows.positions.iter().map(|&p| (first + p) as i32).collect();
        let positions = TensorData::new(positions, [batch, seq]);
        let positions = Tensor::from_data(positions, &tokens.device()); // [batch, seq]
        let positions = embedding(self.position_embeddings.val(), positions); // [batch, seq, hidden]
        let types = embedding(self.token_type_embeddings.val(), types); // [batch, seq, hidden]
        let words = embedding(self.word_embeddings.val(), tokens); // [batch, seq, hidden]
        let x = add(add(words, types), positions); // [batch, seq, hidden]
        self.norm.forward(x, self.config.layer_norm_eps) // [batch, seq, hidden]
    }

    /// The last hidden states, `[batch, seq, hidden]`, of `tokens` and their `types`, both `[batch, seq]`.
    ///
    /// `rows` names each row's position and the rows of its own text ([`Rows::texts`]); no position may reach
    /// [`Config::context`].
    pub fn forward(&self, tokens: Tensor<2, Int>, types: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        let mut x = self.embed(tokens, types, rows); // [batch, seq, hidden]
        for layer in &self.layers {
            x = layer.forward(x, rows, &self.config, self.precision); // [batch, seq, hidden]
        }
        x // [batch, seq, hidden]
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
        let (heads, epsilon) = (config.num_attention_heads, config.layer_norm_eps);
        let head_dim = hidden / heads;
        let scale = (head_dim as f32).sqrt().recip();
        let split = |x: Tensor<3>| x.reshape([batch, seq, heads, head_dim]);

        let [x, to_q, to_k, to_v] = fork(x); // [batch, seq, hidden]
        let q = split(self.query.forward(to_q, precision)); // [batch, seq, heads, head_dim]
        let k = split(self.key.forward(to_k, precision)); // [batch, seq, heads, head_dim]
        let v = split(self.value.forward(to_v, precision)); // [batch, seq, heads, head_dim]
        let attended = attention(q, k, v, &rows.ranges, scale); // [batch, seq, heads, head_dim]
        let attended = attended.reshape([batch, seq, hidden]); // [batch, seq, hidden]
        let attended = self.attention_output.forward(attended, precision); // [batch, seq, hidden]
        let x = self.attention_norm.forward(add(x, attended), epsilon); // [batch, seq, hidden]

        let [x, h] = fork(x); // [batch, seq, hidden]
        let h = self.intermediate.forward(h, precision); // [batch, seq, ffn]
        let h = match config.form() {
            Some(Form::Tanh) => gelu(h),             // [batch, seq, ffn]
            Some(Form::Exact) | None => erf_gelu(h), // [batch, seq, ffn]
        };
        let h = self.output.forward(h, precision); // [batch, seq, hidden]
        self.output_norm.forward(add(x, h), epsilon) // [batch, seq, hidden]
    }
}
