//! Layer normalisation (Ba, Kiros and Hinton 2016, equation 4).

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::norm::{layer_norm_backward, layer_norm_forward};

use crate::{buffers, flex, profile};

/// `(x − mean) / sqrt(variance + eps) · weight + bias`, over the last dimension.
///
/// Shapes: `x` `[…, hidden]`, `weight` and `bias` `[hidden]`, result like `x`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f32,
) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
        let y = Dispatch::fused_layer_norm(x.into_dispatch(), weight, bias, eps);
        return Tensor::from_dispatch(y);
    }
    portable(x, weight, bias, eps)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f32,
) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1); // […, hidden]
    let variance = centred.clone().square().mean_dim(D - 1); // […, 1]
    let normal = centred / (variance + eps).sqrt(); // […, hidden]
    normal * weight.unsqueeze::<D>() + bias.unsqueeze::<D>()
}

#[backend_extension(Flex, Autodiff)]
trait LayerNormOp: Backend {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;
}

/// Mean and `1 / sqrt(variance + eps)` of each row, for the backward.
#[derive(Clone, Debug)]
struct Moments {
    mean: Vec<f32>,
    inv_std: Vec<f32>,
}

fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    eps: f32,
) -> (FlexTensor, Moments) {
    let _timed = profile::time("layer_norm", 0.0);
    let (values, w, b) = (flex::floats(x), flex::floats(weight), flex::floats(bias));
    let mut y = buffers::take(values.len());
    let rows = values.len() / w.len();
    let (mut mean, mut inv_std) = (vec![0.0; rows], vec![0.0; rows]);
    layer_norm_forward(&values, &w, &b, eps, &mut y, &mut mean, &mut inv_std);
    (flex::tensor(y, flex::dims(x)), Moments { mean, inv_std })
}

impl LayerNormOp for Flex {
    fn fused_layer_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        eps: f32,
    ) -> FlexTensor {
        forward(&x, &weight, &bias, eps).0
    }
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<Flex, 3> for LayerNormBackward {
    type State = (FlexTensor, FlexTensor, Moments);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let _timed = profile::time("layer_norm, gradients", 0.0);
        let (x, weight, Moments { mean, inv_std }) = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        let (dy, values, w) = (
            flex::floats(&upstream),
            flex::floats(&x),
            flex::floats(&weight),
        );
        let hidden = w.len();
        let mut dx = buffers::take(values.len());
        let (mut dw, mut db) = (vec![0.0; hidden], vec![0.0; hidden]);
        layer_norm_backward(&dy, &values, &w, &mean, &inv_std, &mut dx, &mut dw, &mut db);
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, flex::tensor(dx, flex::dims(&x)));
        }
        for (node, gradient) in [(weight_node, dw), (bias_node, db)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, flex::tensor(gradient, [hidden]));
            }
        }
        drop((dy, values));
        buffers::give_all([upstream, x]);
    }
}

impl<C: CheckpointStrategy> LayerNormOp for Autodiff<Flex, C> {
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (y, moments) = forward(&x, &weight, &bias, eps);
        match LayerNormBackward
            .prepare::<C>([x_node, weight_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, weight, moments), y),
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
        for (rows, hidden) in [(1, 3), (9, 64), (70, 129)] {
            let x = || random([2, rows, hidden], 1) + 0.5;
            let (weight, bias) = (|| random([hidden], 2), || random([hidden], 3));
            agree(
                2e-5,
                || gradients2(x(), weight(), |x, w| layer_norm(x, w, bias(), 1e-5)),
                || gradients2(x(), weight(), |x, w| portable(x, w, bias(), 1e-5)),
            );
            agree(
                2e-5,
                || gradients2(x(), bias(), |x, b| layer_norm(x, weight(), b, 1e-5)),
                || gradients2(x(), bias(), |x, b| portable(x, weight(), b, 1e-5)),
            );
        }
    }
}
