//! Low-rank adaptation (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3): beside a
//! matrix W that stays as it is, `y = W x + s · B A x`, with A of few rows and B of few columns. With a W of few bits
//! this is QLoRA (Dettmers et al. 2023).
//!
//! Shape legend: `r` the rank, `in` and `out` the features of W.

use std::collections::BTreeMap;

use artifact::Seed;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tensor::{Device, Module, Param, Precision, Tensor, burn, linear};

use crate::decoder::ConfigError;

/// An adapter's shape, in the fields of PEFT's `adapter_config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Rank of every adapted matrix.
    pub r: usize,
    /// α: the product counts α / r, or α / √r with `use_rslora`.
    pub lora_alpha: f32,
    /// Rank-stabilised scaling (Kalajdzievski 2023).
    pub use_rslora: bool,
    /// Which matrices are adapted, by the last part of their names; all of the blocks' when empty.
    pub target_modules: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: 32.0,
            use_rslora: false,
            target_modules: Vec::new(),
        }
    }
}

impl Config {
    /// Whether the numbers make an adapter.
    ///
    /// # Errors
    /// Names the first field that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |field, got: String, expected: &str| {
            Err(ConfigError {
                field,
                got,
                expected: expected.to_owned(),
            })
        };
        if self.r == 0 || self.r > 4096 {
            return wrong("r", self.r.to_string(), "between 1 and 4,096");
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha != 0.0) {
            return wrong(
                "lora_alpha",
                self.lora_alpha.to_string(),
                "a number other than 0",
            );
        }
        Ok(())
    }

    /// s: how much the product of rank `r` counts.
    pub fn scale(&self, r: usize) -> f32 {
        let r = r as f32;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// Whether the matrix of this name is adapted.
    pub fn targets(&self, module: &str) -> bool {
        let last = module.rsplit('.').next().unwrap_or(module);
        self.target_modules.is_empty() || self.target_modules.iter().any(|name| name == last)
    }
}

/// What is added to one matrix, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// `r`.
    pub rank: usize,
    /// `[r, in]`, in row-major order.
    pub a: Vec<f32>,
    /// `[out, r]`, in row-major order.
    pub b: Vec<f32>,
    /// s.
    pub scale: f32,
}

impl Pair {
    /// As training begins: A uniform within ±1/√in as PyTorch's `kaiming_uniform_(a=√5)`, B zero, so that nothing is
    /// added yet.
    pub fn init(config: &Config, [out, features]: [usize; 2], name: &str, seed: Seed) -> Self {
        let bound = 1.0 / (features as f32).sqrt();
        let mut rng = seed.derive(name).rng();
        Self {
            rank: config.r,
            a: (0..config.r * features)
                .map(|_| rng.random_range(-bound..bound))
                .collect(),
            b: vec![0.0; out * config.r],
            scale: config.scale(config.r),
        }
    }
}

/// An adapter on the host: a pair for each adapted matrix, by its name in Llama's checkpoints without `.weight`, such
/// as `model.layers.0.self_attn.q_proj`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// The pairs.
    pub pairs: BTreeMap<String, Pair>,
}

impl Adapter {
    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        let pairs = self.pairs.values();
        pairs.map(|pair| pair.a.len() + pair.b.len()).sum()
    }
}

/// What is added to one matrix, beside it.
#[derive(Module, Debug)]
pub(crate) struct LowRank {
    a: Param<Tensor<2>>, // [r, in]
    b: Param<Tensor<2>>, // [out, r]
    #[module(skip)]
    scale: f32,
}

impl LowRank {
    /// Of a pair whose lengths fit a matrix of `[out, in]`.
    pub(crate) fn new(pair: &Pair, [out, features]: [usize; 2], device: &Device) -> Self {
        let matrix = |values: &[f32], shape| {
            Param::from_tensor(tensor::from_vec(values.to_vec(), shape, device))
        };
        Self {
            a: matrix(&pair.a, [pair.rank, features]),
            b: matrix(&pair.b, [out, pair.rank]),
            scale: pair.scale,
        }
    }

    /// `s · B A x`. Shapes: `x` `[batch, seq, in]`, result `[batch, seq, out]`.
    pub(crate) fn forward(&self, x: Tensor<3>, precision: Precision) -> Tensor<3> {
        let low = linear(x, self.a.val(), precision) * self.scale; // [batch, seq, r]
        linear(low, self.b.val(), precision) // [batch, seq, out]
    }

    /// `s · B A`, `[out, in]`, in f32 and without gradients.
    pub(crate) fn product(&self) -> Tensor<2> {
        let [a, b] = [&self.a, &self.b].map(|param| param.val().without_autodiff());
        b.matmul(a) * self.scale // [out, in]
    }

    pub(crate) fn pair(&self) -> Pair {
        Pair {
            rank: self.a.val().dims()[0],
            a: tensor::to_vec(self.a.val()),
            b: tensor::to_vec(self.b.val()),
            scale: self.scale,
        }
    }

    /// The same, to be trained or not.
    pub(crate) fn trained(self, trained: bool) -> Self {
        self.set_require_grad(trained)
    }
}
