//! Rotary position embedding (Su et al. 2021, equation 34), in the half-split layout of the
//! Hugging Face Llama: feature `i` turns with feature `i + dim / 2`, where `dim` features of a head turn.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
pub use kernels::rope::Rotary;

use crate::{buffers, flex, profile};

/// Turns each head by the angle of its row's position.
///
/// Shapes: `x` `[batch, seq, heads, head_dim]`, `positions` one for each of the `batch · seq` rows.
pub fn rope(x: Tensor<4>, positions: &Arc<[u32]>, rotary: &Rotary) -> Tensor<4> {
    if flex::on_cpu(&x.device()) {
        let (positions, rotary) = (positions.clone(), rotary.clone());
        return Tensor::from_dispatch(Dispatch::rope(x.into_dispatch(), positions, rotary));
    }
    portable(x, positions, rotary)
}

/// The same from Burn's operations.
pub fn portable(x: Tensor<4>, positions: &[u32], rotary: &Rotary) -> Tensor<4> {
    let [batch, seq, heads, head_dim] = x.dims();
    let (dim, half) = (rotary.dim(), rotary.dim() / 2);
    let angle = |turn: fn(f64) -> f64| {
        let values = positions.iter().flat_map(|&position| {
            let frequencies = rotary.frequencies().iter();
            frequencies.map(move |f| (turn(f64::from(position) * f) * rotary.amplitude()) as f32)
        });
        flex::from_vec(values.collect(), [batch, seq, 1, half], &x.device())
            .expand([batch, seq, heads, half])
    };
    let (cos, sin) = (angle(f64::cos), angle(f64::sin)); // [batch, seq, heads, half]
    let a = x.clone().narrow(3, 0, half); // [batch, seq, heads, half]
    let b = x.clone().narrow(3, half, half); // [batch, seq, heads, half]
    let turned_a = a.clone() * cos.clone() - b.clone() * sin.clone();
    let turned_b = b * cos + a * sin;
    let mut parts = vec![turned_a, turned_b];
    if dim < head_dim {
        parts.push(x.narrow(3, dim, head_dim - dim));
    }
    Tensor::cat(parts, 3) // [batch, seq, heads, head_dim]
}

#[backend_extension(Flex, Autodiff)]
trait RopeOp: Backend {
    fn rope(x: FloatTensor<Self>, positions: Arc<[u32]>, rotary: Rotary) -> FloatTensor<Self>;
}

fn turn(x: &FlexTensor, positions: &[u32], rotary: &Rotary, inverse: bool) -> FlexTensor {
    let _timed = profile::time(if inverse { "rope, gradient" } else { "rope" }, 0.0);
    let dims = flex::dims(x);
    let values = flex::floats(x);
    let mut y = buffers::take(values.len());
    kernels::rope::rope(
        &values, positions, dims[2], dims[3], rotary, inverse, &mut y,
    );
    flex::tensor(y, dims)
}

impl RopeOp for Flex {
    fn rope(x: FlexTensor, positions: Arc<[u32]>, rotary: Rotary) -> FlexTensor {
        turn(&x, &positions, &rotary, false)
    }
}

#[derive(Debug)]
struct RopeBackward;

impl Backward<Flex, 1> for RopeBackward {
    type State = (Arc<[u32]>, Rotary);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (positions, rotary) = ops.state;
        let [x_node] = ops.parents;
        let dy = grads.consume::<Flex>(&ops.node);
        if let Some(node) = x_node {
            // A rotation's transpose is the rotation back.
            grads.register::<Flex>(node.id, turn(&dy, &positions, &rotary, true));
        }
        buffers::give(dy);
    }
}

impl<C: CheckpointStrategy> RopeOp for Autodiff<Flex, C> {
    fn rope(x: FloatTensor<Self>, positions: Arc<[u32]>, rotary: Rotary) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let y = turn(&x, &positions, &rotary, false);
        buffers::give(x);
        match RopeBackward
            .prepare::<C>([x_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((positions, rotary), y),
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
        let stretched = Rotary::from_frequencies(vec![1.0, 0.3, 0.01], 1.25);
        for (head_dim, rotary) in [
            (2, Rotary::new(10_000.0, 2)),
            (32, Rotary::new(10_000.0, 32)),
            (64, Rotary::new(500_000.0, 48)),
            (8, stretched),
        ] {
            let x = || random([2, 7, 3, head_dim], 1);
            agree(
                1e-5,
                || gradients1(x(), |x| rope(x, &positions, &rotary)),
                || gradients1(x(), |x| portable(x, &positions, &rotary)),
            );
        }
    }
}
