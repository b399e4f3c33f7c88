//! `y = x · Wᵀ + b`: the product of [`linear`](crate::linear) with its bias added as the product is written.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::columns::column_sums;
use kernels::gemm::Precision;

use crate::linear::{input_gradient, product, weight_gradient};
use crate::{buffers, flex, linear, profile};

/// `x · Wᵀ + b`.
///
/// Shapes: `x` `[…, in_features]`, `weight` `[out_features, in_features]`, `bias` `[out_features]`, result
/// `[…, out_features]`.
pub fn affine<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
        let y = Dispatch::affine(x.into_dispatch(), weight, bias, precision);
        return Tensor::from_dispatch(y);
    }
    portable(x, weight, bias, precision)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    linear::portable(x, weight, precision) + bias.unsqueeze::<D>()
}

#[backend_extension(Flex, Autodiff)]
trait AffineOp: Backend {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

impl AffineOp for Flex {
    fn affine(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        precision: Precision,
    ) -> FlexTensor {
        product(&x, &weight, Some(&bias), precision)
    }
}

/// The sum of the rows of `dY`, in the length of the weight's rows.
pub(crate) fn bias_gradient(upstream: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let _timed = profile::time("bias, gradient", 0.0);
    let mut db = vec![0.0; flex::dims(weight)[0]];
    column_sums(&flex::floats(upstream), &mut db);
    let shape = [db.len()];
    flex::tensor(db, shape)
}

#[derive(Debug)]
struct AffineBackward;

impl Backward<Flex, 3> for AffineBackward {
    type State = (FlexTensor, FlexTensor, Precision);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, weight, precision) = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        if let Some(node) = x_node {
            let dx = input_gradient(&upstream, &weight, &x, precision);
            grads.register::<Flex>(node.id, dx);
        }
        if let Some(node) = weight_node {
            let dw = weight_gradient(&upstream, &x, &weight, precision);
            grads.register::<Flex>(node.id, dw);
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, bias_gradient(&upstream, &weight));
        }
        buffers::give_all([upstream, x]);
    }
}

impl<C: CheckpointStrategy> AffineOp for Autodiff<Flex, C> {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let y = Flex::affine(x.clone(), weight.clone(), bias, precision);
        match AffineBackward
            .prepare::<C>([x_node, weight_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, weight, precision), y),
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
        for (rows, input, output) in [(1, 5, 3), (7, 33, 17), (64, 96, 130)] {
            let (x, w) = (
                || random([2, rows, input], 1),
                || random([output, input], 2),
            );
            let b = || random([output], 3);
            agree(
                1e-5,
                || gradients2(x(), w(), |x, w| affine(x, w, b(), Precision::F32)),
                || gradients2(x(), w(), |x, w| portable(x, w, b(), Precision::F32)),
            );
            agree(
                1e-5,
                || gradients2(x(), b(), |x, b| affine(x, w(), b, Precision::F32)),
                || gradients2(x(), b(), |x, b| portable(x, w(), b, Precision::F32)),
            );
        }
    }
}
