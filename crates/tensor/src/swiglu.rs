//! The gate of SwiGLU (Shazeer 2020, equation 5): `silu(gate) · up`.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::activation::{swiglu_backward, swiglu_forward};

use crate::{buffers, flex, profile};

/// `gate · sigmoid(gate) · up`, element by element; both tensors have one shape.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    if flex::on_cpu(&gate.device()) {
        let y = Dispatch::swiglu(gate.into_dispatch(), up.into_dispatch());
        return Tensor::from_dispatch(y);
    }
    portable(gate, up)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    burn::tensor::activation::silu(gate) * up
}

#[backend_extension(Flex, Autodiff)]
trait SwigluOp: Backend {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SwigluOp for Flex {
    fn swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        forward(&gate, &up)
    }
}

pub(crate) fn forward(gate: &FlexTensor, up: &FlexTensor) -> FlexTensor {
    let _timed = profile::time("swiglu", 0.0);
    let mut y = buffers::take(gate.layout().num_elements());
    swiglu_forward(&flex::floats(gate), &flex::floats(up), &mut y);
    flex::tensor(y, flex::dims(gate))
}

/// Of the gate and of `up`.
pub(crate) fn gradients(dy: &FlexTensor, gate: &FlexTensor, up: &FlexTensor) -> [FlexTensor; 2] {
    let _timed = profile::time("swiglu, gradients", 0.0);
    let elements = gate.layout().num_elements();
    let (mut dgate, mut dup) = (buffers::take(elements), buffers::take(elements));
    swiglu_backward(
        &flex::floats(dy),
        &flex::floats(gate),
        &flex::floats(up),
        &mut dgate,
        &mut dup,
    );
    [dgate, dup].map(|gradient| flex::tensor(gradient, flex::dims(gate)))
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 2> for SwigluBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (gate, up) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        for (node, gradient) in ops.parents.into_iter().zip(gradients(&dy, &gate, &up)) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
        buffers::give_all([dy, gate, up]);
    }
}

impl<C: CheckpointStrategy> SwigluOp for Autodiff<Flex, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let (gate, gate_node) = gate.into_parts();
        let (up, up_node) = up.into_parts();
        let y = Flex::swiglu(gate.clone(), up.clone());
        match SwigluBackward
            .prepare::<C>([gate_node, up_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((gate, up), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients2, random};

    #[test]
    fn cpu_path_equals_portable_path() {
        let inputs = || (random([3, 5, 37], 1) * 8.0, random([3, 5, 37], 2));
        agree(
            1e-5,
            || gradients2(inputs().0, inputs().1, swiglu),
            || gradients2(inputs().0, inputs().1, portable),
        );
    }
}
