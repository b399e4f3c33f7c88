//! Products of an activation: `swiglu(gate, up) · Wᵀ` and `gelu(x) · Wᵀ + b`. What the activation gives is as wide as
//! the feed-forward block and cheap to compute, so it is computed again in the backward pass instead of being kept.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::gemm::Precision;

use crate::affine::bias_gradient;
use crate::linear::{input_gradient, product, weight_gradient};
use crate::{affine, buffers, flex, gelu, linear, swiglu};

/// `swiglu(gate, up) · Wᵀ`.
///
/// Shapes: `gate` and `up` `[…, in_features]`, `weight` `[out_features, in_features]`, result `[…, out_features]`.
pub fn swiglu_linear<const D: usize>(
    gate: Tensor<D>,
    up: Tensor<D>,
    weight: Tensor<2>,
    precision: Precision,
) -> Tensor<D> {
    if flex::on_cpu(&gate.device()) {
        let (up, weight) = (up.into_dispatch(), weight.into_dispatch());
        let y = Dispatch::swiglu_linear(gate.into_dispatch(), up, weight, precision);
        return Tensor::from_dispatch(y);
    }
    linear::portable(swiglu::portable(gate, up), weight, precision)
}

/// `gelu(x) · Wᵀ + b`.
///
/// Shapes: `x` `[…, in_features]`, `weight` `[out_features, in_features]`, `bias` `[out_features]`, result
/// `[…, out_features]`.
pub fn gelu_affine<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
        let y = Dispatch::gelu_affine(x.into_dispatch(), weight, bias, precision);
        return Tensor::from_dispatch(y);
    }
    affine::portable(gelu::portable(x), weight, bias, precision)
}

#[backend_extension(Flex, Autodiff)]
trait ActivatedOp: Backend {
    fn swiglu_linear(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    fn gelu_affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

impl ActivatedOp for Flex {
    fn swiglu_linear(
        gate: FlexTensor,
        up: FlexTensor,
        weight: FlexTensor,
        precision: Precision,
    ) -> FlexTensor {
        let h = swiglu::forward(&gate, &up);
        let y = product(&h, &weight, None, precision);
        buffers::give(h);
        y
    }

    fn gelu_affine(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        precision: Precision,
    ) -> FlexTensor {
        let h = gelu::forward(&x);
        let y = product(&h, &weight, Some(&bias), precision);
        buffers::give(h);
        y
    }
}

#[derive(Debug)]
struct SwigluLinearBackward;

impl Backward<Flex, 3> for SwigluLinearBackward {
    type State = ([FlexTensor; 3], Precision);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([gate, up, weight], precision) = ops.state;
        let [gate_node, up_node, weight_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        if let Some(node) = weight_node {
            let h = swiglu::forward(&gate, &up);
            let dw = weight_gradient(&upstream, &h, &weight, precision);
            grads.register::<Flex>(node.id, dw);
            buffers::give(h);
        }
        let dh = input_gradient(&upstream, &weight, &gate, precision);
        buffers::give(upstream);
        let [dgate, dup] = swiglu::gradients(&dh, &gate, &up);
        for (node, gradient) in [(gate_node, dgate), (up_node, dup)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
        buffers::give_all([dh, gate, up]);
    }
}

#[derive(Debug)]
struct GeluAffineBackward;

impl Backward<Flex, 3> for GeluAffineBackward {
    type State = (FlexTensor, FlexTensor, Precision);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, weight, precision) = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        if let Some(node) = weight_node {
            let h = gelu::forward(&x);
            let dw = weight_gradient(&upstream, &h, &weight, precision);
            grads.register::<Flex>(node.id, dw);
            buffers::give(h);
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, bias_gradient(&upstream, &weight));
        }
        if let Some(node) = x_node {
            let dh = input_gradient(&upstream, &weight, &x, precision);
            grads.register::<Flex>(node.id, gelu::gradient(&dh, &x));
            buffers::give(dh);
        }
        buffers::give_all([upstream, x]);
    }
}

impl<C: CheckpointStrategy> ActivatedOp for Autodiff<Flex, C> {
    fn swiglu_linear(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (gate, gate_node) = gate.into_parts();
        let (up, up_node) = up.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let y = Flex::swiglu_linear(gate.clone(), up.clone(), weight.clone(), precision);
        match SwigluLinearBackward
            .prepare::<C>([gate_node, up_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(([gate, up, weight], precision), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn gelu_affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let y = Flex::gelu_affine(x.clone(), weight.clone(), bias, precision);
        match GeluAffineBackward
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
    use crate::linear::linear;
    use crate::swiglu::swiglu;
    use crate::testing::{agree, gradients2, gradients3, random};

    const F32: Precision = Precision::F32;

    #[test]
    fn cpu_path_equals_portable_path() {
        let (input, output) = (37, 19);
        let square = || [1, 2, 3].map(|seed| random([input, input], seed) * 4.0);
        agree(
            1e-5,
            || gradients3(square(), |gate, up, w| swiglu_linear(gate, up, w, F32)),
            || {
                gradients3(square(), |gate, up, w| {
                    linear::portable(swiglu::portable(gate, up), w, F32)
                })
            },
        );
        let (x, w, b) = (
            || random([2, 5, input], 1) * 4.0,
            || random([output, input], 2),
            || random([output], 3),
        );
        let portable = |x, w, b| affine::portable(gelu::portable(x), w, b, F32);
        agree(
            1e-5,
            || gradients2(x(), w(), |x: Tensor<3>, w| gelu_affine(x, w, b(), F32)),
            || gradients2(x(), w(), |x: Tensor<3>, w| portable(x, w, b())),
        );
        agree(
            1e-5,
            || gradients2(x(), b(), |x: Tensor<3>, b| gelu_affine(x, w(), b, F32)),
            || gradients2(x(), b(), |x: Tensor<3>, b| portable(x, w(), b)),
        );
    }

    #[test]
    fn together_or_one_after_the_other_gives_the_same_bits() {
        let inputs = || [1, 2, 3].map(|seed| random([40, 40], seed));
        for precision in [F32, Precision::Bf16] {
            let together = gradients3(inputs(), |gate, up, w| {
                swiglu_linear(gate, up, w, precision)
            });
            let apart = gradients3(inputs(), |gate, up, w| {
                linear(swiglu(gate, up), w, precision)
            });
            assert_eq!(together, apart);
        }
    }
}
