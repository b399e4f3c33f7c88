//! The Gaussian error linear unit (Hendrycks and Gimpel 2016, section 2) in its exact form, as BERT has it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::activation::{erf_gelu_backward, erf_gelu_forward};

use crate::{buffers, flex, profile};

/// `x · Φ(x)` with the normal distribution's `Φ(x) = (1 + erf(x / √2)) / 2`, element by element.
pub fn erf_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        return Tensor::from_dispatch(Dispatch::exact_gelu(x.into_dispatch()));
    }
    portable(x)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let below = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
    x * 0.5 * below
}

#[backend_extension(Flex, Autodiff)]
trait ErfGeluOp: Backend {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl ErfGeluOp for Flex {
    fn exact_gelu(x: FlexTensor) -> FlexTensor {
        forward(&x)
    }
}

fn forward(x: &FlexTensor) -> FlexTensor {
    let _timed = profile::time("erf_gelu", 0.0);
    let mut y = buffers::take(x.layout().num_elements());
    erf_gelu_forward(&flex::floats(x), &mut y);
    flex::tensor(y, flex::dims(x))
}

fn gradient(dy: &FlexTensor, x: &FlexTensor) -> FlexTensor {
    let _timed = profile::time("erf_gelu, gradient", 0.0);
    let mut dx = buffers::take(x.layout().num_elements());
    erf_gelu_backward(&flex::floats(dy), &flex::floats(x), &mut dx);
    flex::tensor(dx, flex::dims(x))
}

#[derive(Debug)]
struct ErfGeluBackward;

impl Backward<Flex, 1> for ErfGeluBackward {
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

impl<C: CheckpointStrategy> ErfGeluOp for Autodiff<Flex, C> {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let y = Flex::exact_gelu(x.clone());
        match ErfGeluBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
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
            || gradients1(input(), erf_gelu),
            || gradients1(input(), portable),
        );
    }
}
