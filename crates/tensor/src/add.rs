//! The sum of two tensors of one shape, such as the residual stream and what a half-block adds to it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::{buffers, flex, profile};

/// `a + b`, element by element. Shapes: all the same.
pub fn add<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if flex::on_cpu(&a.device()) {
        assert_eq!(a.dims(), b.dims(), "add: tensors of one shape");
        let sum = Dispatch::add_tensors(a.into_dispatch(), b.into_dispatch());
        return Tensor::from_dispatch(sum);
    }
    a + b
}

#[backend_extension(Flex, Autodiff)]
trait AddOp: Backend {
    fn add_tensors(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl AddOp for Flex {
    fn add_tensors(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let _timed = profile::time("add", 0.0);
        let shape = flex::dims(&a);
        // Addition commutes to the bit.
        let (other, mut sum) = match buffers::owned(b) {
            Ok(b) => (a, b),
            Err(b) => match buffers::owned(a) {
                Ok(a) => (b, a),
                Err(a) => {
                    let mut sum = buffers::take(a.layout().num_elements());
                    kernels::add::add(&flex::floats(&a), &flex::floats(&b), &mut sum);
                    return flex::tensor(sum, shape);
                }
            },
        };
        kernels::add::add_all(&mut sum, &[&flex::floats(&other)]);
        flex::tensor(sum, shape)
    }
}

#[derive(Debug)]
struct AddBackward;

impl Backward<Flex, 2> for AddBackward {
    type State = ();

    fn backward(self, ops: Ops<(), 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node);
        for node in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(node.id, upstream.clone());
        }
    }
}

impl<C: CheckpointStrategy> AddOp for Autodiff<Flex, C> {
    fn add_tensors(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let (a, a_node) = a.into_parts();
        let (b, b_node) = b.into_parts();
        let sum = Flex::add_tensors(a, b);
        match AddBackward
            .prepare::<C>([a_node, b_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((), sum),
            OpsKind::UnTracked(prep) => prep.finish(sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients2, random};

    #[test]
    fn equals_burns() {
        for shape in [[3, 5, 37], [1, 1, 1], [16, 64, 33]] {
            let inputs = || (random(shape, 1), random(shape, 2));
            agree(
                0.0,
                || gradients2(inputs().0, inputs().1, add),
                || gradients2(inputs().0, inputs().1, |a, b| a + b),
            );
        }
    }

    #[test]
    fn overwrites_nothing_that_somebody_holds() {
        let (a, b) = (random([8, 1000], 1), random([8, 1000], 2));
        let held = flex::to_vec(a.clone());
        let sum = flex::to_vec(add(a.clone(), b));
        assert_eq!(flex::to_vec(a), held);
        assert_ne!(sum, held);
    }
}
