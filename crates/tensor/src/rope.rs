//! Rotary position embedding (Su et al. 2021, equation 34), in the half-split layout of the
//! Hugging Face Llama: feature `i` turns with feature `i + head_dim / 2`.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::{buffers, flex, profile};

/// Turns each head by the angle of its row's position.
///
/// Shapes: `x` `[batch, seq, heads, head_dim]`, `positions` one for each of the `batch · seq` rows.
pub fn rope(x: Tensor<4>, positions: &Arc<[u32]>, theta: f32) -> Tensor<4> {
    if flex::on_cpu(&x.device()) {
        return Tensor::from_dispatch(Dispatch::rope(x.into_dispatch(), positions.clone(), theta));
    }
    portable(x, positions, theta)
}

/// The same from Burn's operations.
pub fn portable(x: Tensor<4>, positions: &[u32], theta: f32) -> Tensor<4> {
    let [batch, seq, heads, head_dim] = x.dims();
    let half = head_dim / 2;
    let angle = |turn: fn(f64) -> f64| {
        let values = positions.iter().flat_map(|&position| {
            (0..half).map(move |i| {
                let frequency = f64::from(theta).powf(-2.0 * i as f64 / head_dim as f64);
                turn(f64::from(position) * frequency) as f32
            })
        });
        flex::from_vec(values.collect(), [batch, seq, 1, half], &x.device())
            .expand([batch, seq, heads, half])
    };
    let (cos, sin) = (angle(f64::cos), angle(f64::sin)); // [batch, seq, heads, half]
    let a = x.clone().narrow(3, 0, half); // [batch, seq, heads, half]
    let b = x.narrow(3, half, half); // [batch, seq, heads, half]
    let turned_a = a.clone() * cos.clone() - b.clone() * sin.clone();
    let turned_b = b * cos + a * sin;
    Tensor::cat(vec![turned_a, turned_b], 3) // [batch, seq, heads, head_dim]
}

#[backend_extension(Flex, Autodiff)]
trait RopeOp: Backend {
    fn rope(x: FloatTensor<Self>, positions: Arc<[u32]>, theta: f32) -> FloatTensor<Self>;
}

fn turn(x: &FlexTensor, positions: &[u32], theta: f32, inverse: bool) -> FlexTensor {
    let _timed = profile::time(if inverse { "rope, gradient" } else { "rope" }, 0.0);
    let dims = flex::dims(x);
    let values = flex::floats(x);
    let mut y = buffers::take(values.len());
    kernels::rope::rope(&values, positions, dims[2], dims[3], theta, inverse, &mut y);
    flex::tensor(y, dims)
}

impl RopeOp for Flex {
    fn rope(x: FlexTensor, positions: Arc<[u32]>, theta: f32) -> FlexTensor {
        turn(&x, &positions, theta, false)
    }
}

#[derive(Debug)]
struct RopeBackward;

impl Backward<Flex, 1> for RopeBackward {
    type State = (Arc<[u32]>, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (positions, theta) = ops.state;
        let [x_node] = ops.parents;
        let dy = grads.consume::<Flex>(&ops.node);
        if let Some(node) = x_node {
            // A rotation's transpose is the rotation back.
            grads.register::<Flex>(node.id, turn(&dy, &positions, theta, true));
        }
        buffers::give(dy);
    }
}

impl<C: CheckpointStrategy> RopeOp for Autodiff<Flex, C> {
    fn rope(x: FloatTensor<Self>, positions: Arc<[u32]>, theta: f32) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let y = turn(&x, &positions, theta, false);
        buffers::give(x);
        match RopeBackward
            .prepare::<C>([x_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((positions, theta), y),
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
        let positions: Arc<[u32]> = (0..14).map(|i| if i < 5 { i } else { 3 * i }).collect();
        for head_dim in [2, 32, 64] {
            let x = || random([2, 7, 3, head_dim], 1);
            agree(
                1e-5,
                || gradients1(x(), |x| rope(x, &positions, 10_000.0)),
                || gradients1(x(), |x| portable(x, &positions, 10_000.0)),
            );
        }
    }
}
