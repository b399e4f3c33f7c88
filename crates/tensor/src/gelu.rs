//! The Gaussian error linear unit (Hendrycks and Gimpel 2016) in its tanh form, as GPT-2 has it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::activation::{gelu_backward, gelu_forward};

use crate::{buffers, flex, profile};

/// `0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`, element by element.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        return Tensor::from_dispatch(Dispatch::tanh_gelu(x.into_dispatch()));
    }
    portable(x)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cube = x.clone().powi_scalar(3);
    let inner = (x.clone() + cube * 0.044_715) * std::f64::consts::FRAC_2_PI.sqrt();
    x * 0.5 * (inner.tanh() + 1.0)
}

#[backend_extension(Flex, Autodiff)]
trait GeluOp: Backend {
    fn tanh_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl GeluOp for Flex {
    fn tanh_gelu(x: FlexTensor) -> FlexTensor {
        forward(&x)
    }
}

pub(crate) fn forward(x: &FlexTensor) -> FlexTensor {
    let _timed = profile::time("gelu", 0.0);
    let mut y = buffers::take(x.layout().num_elements());
    gelu_forward(&flex::floats(x), &mut y);
    flex::tensor(y, flex::dims(x))
}

pub(crate) fn gradient(dy: &FlexTensor, x: &FlexTensor) -> FlexTensor {
    let _timed = profile::time("gelu, gradient", 0.0);
    let mut dx = buffers::take(x.layout().num_elements());
    gelu_backward(&flex::floats(dy), &flex::floats(x), &mut dx);
    flex::tensor(dx, flex::dims(x))
}

#[derive(Debug)]
struct GeluBackward;

impl Backward<Flex, 1> for GeluBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let x = ops.state;
        let [node] = ops.parents;
        let dy = grads.consume::<Flex>(&ops.node);
        if let Some(node) = node {
            grads.register::<Flex>(node.id, gradient(&dy, &x));
        }
        buffers::give_all([dy, x]);
    }
}

impl<C: CheckpointStrategy> GeluOp for Autodiff<Flex, C> {
    fn tanh_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let y = Flex::tanh_gelu(x.clone());
        match GeluBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients1, random};

    #[test]
    fn cpu_path_equals_portable_path() {
        let input = || random([3, 5, 37], 1) * 6.0;
        agree(
            1e-5,
            || gradients1(input(), gelu),
            || gradients1(input(), portable),
        );
    }
}
