//! Adapters of a decoder: attached, trained alone, taken out, merged.

use tensor::Module;

use super::linear::Linear;
use super::{Block, Decoder};
use crate::lora::{Adapter, Config, LowRank, Pair};
use artifact::Seed;

/// An adapter that does not fit a model.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// It changes a matrix that the model has not.
    #[error("the adapter changes `{module}`, which this model has not; it has {there}")]
    Unknown {
        /// The matrix.
        module: String,
        /// Some that there are.
        there: String,
    },
    /// One of its matrices has another shape.
    #[error("the adapter's {which} for `{module}` has {got} values, {expected} are needed")]
    Shape {
        /// The matrix.
        module: String,
        /// `A` or `B`.
        which: &'static str,
        /// Values that it has.
        got: usize,
        /// Values for this model.
        expected: usize,
    },
}

impl Decoder {
    /// A new adapter as training begins: nothing is added yet.
    ///
    /// # Errors
    /// When a target is no matrix of the blocks.
    pub fn new_adapter(&self, config: &Config, seed: Seed) -> Result<Adapter, AdapterError> {
        let modules = self.modules();
        for target in &config.target_modules {
            let known = |name: &String| name.rsplit('.').next() == Some(target.as_str());
            if !modules.iter().any(|(name, _)| known(name)) {
                return Err(unknown(target, &modules));
            }
        }
        let pairs = modules.into_iter().filter(|(name, _)| config.targets(name));
        Ok(Adapter {
            pairs: pairs
                .map(|(name, dims)| {
                    let pair = Pair::init(config, dims, &name, seed);
                    (name, pair)
                })
                .collect(),
        })
    }

    /// Puts an adapter beside the matrices that it changes, and returns its number.
    ///
    /// # Errors
    /// When it does not fit; the model is then as it was.
    pub fn attach(&mut self, adapter: &Adapter) -> Result<usize, AdapterError> {
        let modules = self.modules();
        for (module, pair) in &adapter.pairs {
            let Some((_, [out, features])) = modules.iter().find(|(name, _)| name == module) else {
                return Err(unknown(module, &modules));
            };
            for (which, got, expected) in [
                ("A", pair.a.len(), pair.rank * features),
                ("B", pair.b.len(), out * pair.rank),
            ] {
                if got != expected {
                    let module = module.clone();
                    return Err(AdapterError::Shape {
                        module,
                        which,
                        got,
                        expected,
                    });
                }
            }
        }
        let device = self.device();
        self.each_linear(|name, linear| linear.attach(adapter.pairs.get(name), &device));
        Ok(self.adapters() - 1)
    }

    /// Number of adapters attached.
    pub fn adapters(&self) -> usize {
        self.layers
            .first()
            .map_or(0, |block| block.q_proj.adapters.len())
    }

    /// An attached adapter, with its present values.
    pub fn adapter(&self, index: usize) -> Adapter {
        let mut found = Adapter::default();
        for (layer, block) in self.layers.iter().enumerate() {
            for (name, linear) in block.linears() {
                if let Some(Some(adapter)) = linear.adapters.get(index) {
                    let name = format!("model.layers.{layer}.{name}");
                    found.pairs.insert(name, adapter.pair());
                }
            }
        }
        found
    }

    /// The model with its adapters taken into its matrices, those in f32 then.
    #[must_use]
    pub fn merged(mut self) -> Self {
        let device = self.device();
        self.each_linear(|_, linear| linear.merge(&device));
        self
    }

    /// The model to be trained in its adapters alone.
    #[must_use]
    pub fn train_adapters(self) -> Self {
        let mut decoder = self.set_require_grad(false);
        decoder.each_linear(|_, linear| {
            let adapters = std::mem::take(&mut linear.adapters).into_iter();
            linear.adapters = adapters
                .map(|one| one.map(|one| LowRank::trained(one, true)))
                .collect();
        });
        decoder
    }

    /// The model with every matrix in f32, so that all can be trained and written.
    #[must_use]
    pub fn dense(mut self) -> Self {
        let device = self.device();
        let heads = [&mut self.embed_tokens]
            .into_iter()
            .chain(&mut self.lm_head);
        heads.for_each(|matrix| matrix.make_dense(&device));
        self.each_linear(|_, linear| linear.weight.make_dense(&device));
        self
    }

    /// The blocks' matrices: names and `[out, in]`.
    fn modules(&self) -> Vec<(String, [usize; 2])> {
        let layers = self.layers.iter().enumerate();
        let named = layers.flat_map(|(layer, block)| {
            let linears = block.linears().into_iter();
            linears.map(move |(name, one)| (format!("model.layers.{layer}.{name}"), one.dims()))
        });
        named.collect()
    }

    fn each_linear(&mut self, mut with: impl FnMut(&str, &mut Linear)) {
        for (layer, block) in self.layers.iter_mut().enumerate() {
            for (name, linear) in block.linears_mut() {
                with(&format!("model.layers.{layer}.{name}"), linear);
            }
        }
    }
}

fn unknown(module: &str, modules: &[(String, [usize; 2])]) -> AdapterError {
    let first = modules
        .iter()
        .filter(|(name, _)| name.starts_with("model.layers.0."));
    let last = first.filter_map(|(name, _)| name.rsplit('.').next());
    AdapterError::Unknown {
        module: module.to_owned(),
        there: last.collect::<Vec<_>>().join(", "),
    }
}

impl Block {
    fn linears(&self) -> Vec<(&'static str, &Linear)> {
        let mut all = vec![
            ("self_attn.q_proj", &self.q_proj),
            ("self_attn.k_proj", &self.k_proj),
            ("self_attn.v_proj", &self.v_proj),
            ("self_attn.o_proj", &self.o_proj),
        ];
        all.extend(self.gate_proj.as_ref().map(|gate| ("mlp.gate_proj", gate)));
        all.extend([
            ("mlp.up_proj", &self.up_proj),
            ("mlp.down_proj", &self.down_proj),
        ]);
        all
    }

    fn linears_mut(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let mut all = vec![
            ("self_attn.q_proj", &mut self.q_proj),
            ("self_attn.k_proj", &mut self.k_proj),
            ("self_attn.v_proj", &mut self.v_proj),
            ("self_attn.o_proj", &mut self.o_proj),
        ];
        all.extend(self.gate_proj.as_mut().map(|gate| ("mlp.gate_proj", gate)));
        all.extend([
            ("mlp.up_proj", &mut self.up_proj),
            ("mlp.down_proj", &mut self.down_proj),
        ]);
        all
    }
}
