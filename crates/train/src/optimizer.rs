//! AdamW over the parameters of a model that are trained, with the gradients' global norm.

use serde::{Deserialize, Serialize};
use tensor::burn::module::{ModuleMapper, ModuleVisitor, Param};
use tensor::{AdamW, Gradients, Module, Tensor, adamw, sum_of_squares};

/// The optimiser's constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// ε, outside the square root.
    pub epsilon: f32,
    /// λ on matrices; norms do not decay.
    pub weight_decay: f32,
    /// Largest norm of all gradients together; a larger one is scaled down. 0 turns it off.
    pub gradient_clip: f32,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            gradient_clip: 1.0,
        }
    }
}

/// The moments of every trained parameter, in the order of visiting, each flat.
#[derive(Debug, Default)]
pub(crate) struct Optimizer {
    pub(crate) moments: Vec<Option<[Tensor<1>; 2]>>,
    /// Steps taken.
    pub(crate) step: u64,
}

/// The gradients of every trained parameter, in the order of visiting, each flat.
pub(crate) type FlatGradients = Vec<Tensor<1>>;

/// Takes the gradients of `module` out of all of `grads`, adding them to those of earlier micro-batches.
pub(crate) fn collect(module: &impl Module, grads: Vec<Gradients>, sum: &mut FlatGradients) {
    struct Collect<'a> {
        grads: Vec<Gradients>,
        sum: &'a mut FlatGradients,
        index: usize,
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if !value.is_require_grad() {
                return;
            }
            let elements = value.shape().num_elements();
            let parts = self.grads.iter_mut();
            let gradient = match parts
                .filter_map(|grads| value.grad_remove(grads))
                .reduce(|sum, part| sum + part)
            {
                Some(gradient) => gradient.reshape([elements]),
                None => Tensor::zeros([elements], &value.device().without_autodiff()),
            };
            if self.index < self.sum.len() {
                let earlier = self.sum[self.index].clone();
                self.sum[self.index] = earlier + gradient;
            } else {
                self.sum.push(gradient);
            }
            self.index += 1;
        }
    }
    module.visit(&mut Collect {
        grads,
        sum,
        index: 0,
    });
}

/// The norm of all gradients together.
pub(crate) fn norm(gradients: &FlatGradients) -> f64 {
    gradients
        .iter()
        .map(|gradient| sum_of_squares(gradient.clone()))
        .sum::<f64>()
        .sqrt()
}

impl Optimizer {
    /// Moves every trained parameter against its gradient.
    pub(crate) fn update<M: Module>(
        &mut self,
        module: M,
        gradients: FlatGradients,
        config: &OptimizerConfig,
        learning_rate: f64,
        gradient_scale: f64,
    ) -> M {
        self.step += 1;
        self.moments.resize_with(gradients.len(), || None);
        let hyper = AdamW {
            learning_rate: learning_rate as f32,
            beta1: config.beta1,
            beta2: config.beta2,
            epsilon: config.epsilon,
            weight_decay: config.weight_decay,
            step: self.step,
            gradient_scale: gradient_scale as f32,
        };
        let mut gradients = gradients.into_iter();
        module.map(&mut Update {
            hyper,
            gradients: &mut gradients,
            moments: &mut self.moments,
            index: 0,
        })
    }
}

struct Update<'a> {
    hyper: AdamW,
    gradients: &'a mut std::vec::IntoIter<Tensor<1>>,
    moments: &'a mut [Option<[Tensor<1>; 2]>],
    index: usize,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.val().is_require_grad() {
            return param;
        }
        let (id, value, mapper) = param.consume();
        let shape = value.dims();
        let gradient = self
            .gradients
            .next()
            .expect("one gradient for each parameter, in one order");
        let value = value
            .without_autodiff()
            .reshape([shape.iter().product::<usize>()]);
        let [m, v] = self.moments[self.index].take().unwrap_or_else(|| {
            let zeros = || Tensor::zeros(value.dims(), &value.device());
            [zeros(), zeros()]
        });
        let hyper = AdamW {
            weight_decay: if D > 1 { self.hyper.weight_decay } else { 0.0 },
            ..self.hyper
        };
        let [value, m, v] = adamw(hyper, gradient, [value, m, v]);
        self.moments[self.index] = Some([m, v]);
        self.index += 1;
        Param::from_mapped_value(id, value.reshape(shape).autodiff().require_grad(), mapper)
    }
}
