//! AdamW (Loshchilov and Hutter 2019, algorithm 2), in one pass over each parameter.

use burn::backend::flex::FlexTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::{buffers, flex, profile};

/// The constants of one optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// α times the schedule's multiplier.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// ε, outside the square root.
    pub epsilon: f32,
    /// λ; the parameter shrinks by `learning_rate · weight_decay`.
    pub weight_decay: f32,
    /// t, from 1, for the bias correction.
    pub step: u64,
    /// Factor on every gradient, from clipping and averaging.
    pub gradient_scale: f32,
}

/// A parameter with its first and second moments, after one step.
///
/// All tensors have one shape and live on a device without gradients; storage that nobody else
/// holds is updated in place.
pub fn adamw<const D: usize>(
    hyper: AdamW,
    gradient: Tensor<D>,
    [parameter, m, v]: [Tensor<D>; 3],
) -> [Tensor<D>; 3] {
    if flex::on_cpu(&parameter.device()) {
        let (p, m, v) = Dispatch::adamw(
            parameter.into_dispatch(),
            gradient.into_dispatch(),
            m.into_dispatch(),
            v.into_dispatch(),
            hyper,
        );
        return [p, m, v].map(Tensor::from_dispatch);
    }
    portable(hyper, gradient, [parameter, m, v])
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(
    hyper: AdamW,
    gradient: Tensor<D>,
    [parameter, m, v]: [Tensor<D>; 3],
) -> [Tensor<D>; 3] {
    let AdamW {
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
        step,
        gradient_scale,
    } = hyper;
    let gradient = gradient * gradient_scale;
    let m = m * beta1 + gradient.clone() * (1.0 - beta1);
    let v = v * beta2 + gradient.square() * (1.0 - beta2);
    let unbiased = |beta: f32| (1.0 - f64::from(beta).powf(step as f64)) as f32;
    let update = (m.clone() / unbiased(beta1)) / ((v.clone() / unbiased(beta2)).sqrt() + epsilon);
    let parameter = parameter * (1.0 - learning_rate * weight_decay) - update * learning_rate;
    [parameter, m, v]
}

/// The sum of the squares of all elements, in an order that no thread count changes.
pub fn sum_of_squares<const D: usize>(tensor: Tensor<D>) -> f64 {
    match tensor.clone().try_into_primitive::<Flex>() {
        Ok(tensor) => kernels::optimizer::sum_of_squares(&flex::floats(&tensor)),
        Err(_) => f64::from(flex::to_vec(tensor.square().sum())[0]),
    }
}

#[backend_extension(Flex)]
trait AdamWOp: Backend {
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        hyper: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamWOp for Flex {
    fn adamw(
        parameter: FlexTensor,
        gradient: FlexTensor,
        m: FlexTensor,
        v: FlexTensor,
        hyper: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let _timed = profile::time("adamw", 0.0);
        let [mut parameter, mut m, mut v] = [parameter, m, v].map(dense);
        let hyper = kernels::optimizer::AdamW {
            lr: hyper.learning_rate,
            beta1: hyper.beta1,
            beta2: hyper.beta2,
            eps: hyper.epsilon,
            weight_decay: hyper.weight_decay,
            step: hyper.step,
            gradient_scale: hyper.gradient_scale,
        };
        kernels::optimizer::adamw_step(
            &hyper,
            parameter.storage_mut(),
            &flex::floats(&gradient),
            m.storage_mut(),
            v.storage_mut(),
        );
        buffers::give(gradient);
        (parameter, m, v)
    }
}

/// A tensor whose storage is exactly its elements in order.
fn dense(tensor: FlexTensor) -> FlexTensor {
    let exact = tensor.bytes().len() == 4 * tensor.layout().num_elements();
    if exact && tensor.is_contiguous() {
        tensor
    } else {
        flex::tensor(flex::floats(&tensor).into_owned(), flex::dims(&tensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, random};

    #[test]
    fn cpu_path_equals_portable_path() {
        let inputs = || {
            let [p, m, v] = [1, 2, 3].map(|seed| random([13, 70], seed).inner());
            [p, m, v.abs()]
        };
        let gradient = || random([13, 70], 4).inner();
        let hyper = AdamW {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            step: 3,
            gradient_scale: 0.5,
        };
        let values = |tensors: [Tensor<2>; 3]| tensors.map(flex::to_vec).to_vec();
        agree(
            1e-5,
            || values(adamw(hyper, gradient(), inputs())),
            || values(portable(hyper, gradient(), inputs())),
        );
    }
}
