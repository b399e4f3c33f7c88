//! Root mean square layer normalisation (Zhang and Sennrich 2019, equation 4).

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use kernels::norm::{rms_norm_backward, rms_norm_forward};

use crate::{buffers, flex, profile};

/// `x / sqrt(mean(x²) + eps) · weight`, over the last dimension.
///
/// Shapes: `x` `[…, hidden]`, `weight` `[hidden]`, result like `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f32) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        let y = Dispatch::rms_norm(x.into_dispatch(), weight.into_dispatch(), eps);
        return Tensor::from_dispatch(y);
    }
    portable(x, weight, eps)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f32) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1); // […, 1]
    let normal = x / (mean_square + eps).sqrt(); // […, hidden]
    normal * weight.unsqueeze::<D>()
}

#[backend_extension(Flex, Autodiff)]
trait RmsNormOp: Backend {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;
}

/// The result, and `1 / sqrt(mean(x²) + eps)` of each row for the backward.
fn forward(x: &FlexTensor, weight: &FlexTensor, eps: f32) -> (FlexTensor, Vec<f32>) {
    let _timed = profile::time("rms_norm", 0.0);
    let (values, w) = (flex::floats(x), flex::floats(weight));
    let mut y = buffers::take(values.len());
    let mut inv_rms = vec![0.0; values.len() / w.len()];
    rms_norm_forward(&values, &w, eps, &mut y, &mut inv_rms);
    (flex::tensor(y, flex::dims(x)), inv_rms)
}

impl RmsNormOp for Flex {
    fn rms_norm(x: FlexTensor, weight: FlexTensor, eps: f32) -> FlexTensor {
        forward(&x, &weight, eps).0
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = (FlexTensor, FlexTensor, Vec<f32>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let _timed = profile::time("rms_norm, gradients", 0.0);
        let (x, weight, inv_rms) = ops.state;
        let [x_node, weight_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        let (dy, values, w) = (
            flex::floats(&upstream),
            flex::floats(&x),
            flex::floats(&weight),
        );
        let (mut dx, mut dw) = (buffers::take(values.len()), vec![0.0; w.len()]);
        rms_norm_backward(&dy, &values, &w, &inv_rms, &mut dx, &mut dw);
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, flex::tensor(dx, flex::dims(&x)));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, flex::tensor(dw, [w.len()]));
        }
        drop((dy, values));
        buffers::give(upstream);
        buffers::give(x);
    }
}

impl<C: CheckpointStrategy> RmsNormOp for Autodiff<Flex, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (y, inv_rms) = forward(&x, &weight, eps);
        match RmsNormBackward
            .prepare::<C>([x_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, weight, inv_rms), y),
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
            let inputs = || (random([2, rows, hidden], 1), random([hidden], 2));
            agree(
                1e-5,
                || gradients2(inputs().0, inputs().1, |x, w| rms_norm(x, w, 1e-5)),
                || gradients2(inputs().0, inputs().1, |x, w| portable(x, w, 1e-5)),
            );
        }
    }
}
