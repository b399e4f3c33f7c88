//! The language-model loss: head product and cross-entropy in one operation, so that the logits
//! are never whole in memory. The backward needs one scalar from above, so the gradients are made
//! together with the loss, chunk by chunk, while the chunk's logits are at hand.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{Int, Tensor, TensorData};
use kernels::gemm::Precision;
use kernels::loss::lm_loss_forward_backward;

use crate::linear::portable_product;
use crate::tracked::tracked;
use crate::{buffers, flex, profile};

/// What each row should have predicted, and how much it counts.
#[derive(Clone, Debug)]
pub struct Targets {
    /// One token id for each row.
    pub ids: Arc<[u32]>,
    /// One factor for each row; 0 leaves the row out, a negative one pushes away from the token.
    pub weights: Arc<[f32]>,
    /// How much `(ln Z)²` counts, with Z the sum of exponentiated logits: it keeps logits from drifting where a softmax
    /// does not see it (Chowdhery et al. 2022, section 5).
    pub z_loss: f32,
}

/// `Σ weights · (z_loss · (ln Z)² − log softmax(hidden · weightᵀ)[ids])`, a tensor of one element.
///
/// Shapes: `hidden` `[rows, hidden]`, `weight` `[vocab, hidden]`, `targets` of `rows`.
pub fn lm_loss(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: &Targets,
    precision: Precision,
) -> Tensor<1> {
    if flex::on_cpu(&hidden.device()) {
        let (hidden, weight) = (hidden.into_dispatch(), weight.into_dispatch());
        return Tensor::from_dispatch(Dispatch::lm_loss(
            hidden,
            weight,
            targets.clone(),
            precision,
        ));
    }
    portable(hidden, weight, targets, precision)
}

/// The same from Burn's operations, with the logits in memory.
pub fn portable(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: &Targets,
    precision: Precision,
) -> Tensor<1> {
    let device = hidden.device();
    let rows = targets.ids.len();
    let weights = flex::from_vec(targets.weights.to_vec(), [rows], &device);
    let logits = portable_product(hidden, weight.transpose(), precision); // [rows, vocab]
    let mut losses = portable_logprobs(logits.clone(), &targets.ids).neg(); // [rows]
    if targets.z_loss != 0.0 {
        let largest = logits.clone().max_dim(1).detach(); // [rows, 1]
        let log_z = (logits - largest.clone()).exp().sum_dim(1).log() + largest; // [rows, 1]
        losses = losses
            + log_z
                .powi_scalar(2)
                .mul_scalar(targets.z_loss)
                .reshape([rows]);
    }
    (losses * weights).sum()
}

/// Shapes: `logits` `[rows, vocab]`, result `[rows]`.
fn portable_logprobs(logits: Tensor<2>, ids: &[u32]) -> Tensor<1> {
    let rows = ids.len();
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows, 1]), &logits.device());
    burn::tensor::activation::log_softmax(logits, 1)
        .gather(1, ids)
        .reshape([rows])
}

/// The log-probability of each row's target, without gradients.
///
/// Shapes as in [`lm_loss`]; the result has one value for each row.
pub fn token_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    ids: &[u32],
    precision: Precision,
) -> Vec<f32> {
    let (hidden, weight) = (plain(hidden), plain(weight));
    match (
        hidden.clone().try_into_primitive::<Flex>(),
        weight.clone().try_into_primitive::<Flex>(),
    ) {
        (Ok(hidden), Ok(weight)) => {
            let mut found = vec![0.0; ids.len()];
            let _timed = profile::time("lm_loss", flops(ids.len(), &weight));
            kernels::loss::token_logprobs(
                precision,
                &flex::floats(&hidden),
                &flex::floats(&weight),
                ids,
                &mut found,
            );
            found
        }
        _ => flex::to_vec(portable_logprobs(
            portable_product(hidden, weight.transpose(), precision),
            ids,
        )),
    }
}

/// The tensor without its part in any gradient.
fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.device().is_autodiff() {
        tensor.inner()
    } else {
        tensor
    }
}

#[backend_extension(Flex, Autodiff)]
trait LmLossOp: Backend {
    fn lm_loss(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Targets,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

impl LmLossOp for Flex {
    fn lm_loss(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: Targets,
        precision: Precision,
    ) -> FlexTensor {
        let mut losses = vec![0.0; targets.ids.len()];
        let _timed = profile::time("lm_loss", flops(targets.ids.len(), &weight));
        let (h, w) = (flex::floats(&hidden), flex::floats(&weight));
        kernels::loss::token_losses(precision, &h, &w, &targets.ids, targets.z_loss, &mut losses);
        weighted_sum(&losses, &targets)
    }
}

/// Floating-point operations of the head's product.
fn flops(rows: usize, weight: &FlexTensor) -> f64 {
    let dims = flex::dims(weight);
    2.0 * (rows * dims[0] * dims[1]) as f64
}

/// In f64 and in row order: one sum for any thread count.
fn weighted_sum(losses: &[f32], targets: &Targets) -> FlexTensor {
    let counted = losses
        .iter()
        .zip(targets.weights.iter())
        .filter(|(_, weight)| **weight != 0.0);
    let sum: f64 = counted
        .map(|(&loss, &weight)| f64::from(loss) * f64::from(weight))
        .sum();
    flex::tensor(vec![sum as f32], [1])
}

#[derive(Debug)]
struct LmLossBackward;

impl Backward<Flex, 2> for LmLossBackward {
    /// The gradients of hidden states and weight (unless that stays as it is) for an upstream gradient of 1.
    type State = (FlexTensor, Option<FlexTensor>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node);
        let upstream = flex::floats(&upstream)[0];
        let [hidden_node, weight_node] = ops.parents;
        let (dhidden, dweight) = ops.state;
        for (node, gradient) in [(hidden_node, Some(dhidden)), (weight_node, dweight)] {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, scaled(gradient, upstream));
            }
        }
    }
}

fn scaled(mut gradient: FlexTensor, factor: f32) -> FlexTensor {
    if factor != 1.0 {
        gradient
            .storage_mut::<f32>()
            .iter_mut()
            .for_each(|g| *g *= factor);
    }
    gradient
}

impl<C: CheckpointStrategy> LmLossOp for Autodiff<Flex, C> {
    fn lm_loss(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Targets,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (hidden, hidden_node) = hidden.into_parts();
        let trained = tracked::<C>(weight.node());
        let (weight, weight_node) = weight.into_parts();
        match LmLossBackward
            .prepare::<C>([hidden_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let rows = targets.weights.iter().filter(|w| **w != 0.0).count();
                let products = if trained { 3.0 } else { 2.0 };
                let _timed =
                    profile::time("lm_loss, with gradients", products * flops(rows, &weight));
                let (h, w) = (flex::floats(&hidden), flex::floats(&weight));
                let mut dh = buffers::take(h.len());
                let mut dw = trained.then(|| buffers::take(w.len()));
                let mut losses = vec![0.0; targets.ids.len()];
                let (ids, weights) = (&targets.ids, &targets.weights);
                lm_loss_forward_backward(
                    precision,
                    &h,
                    &w,
                    ids,
                    weights,
                    targets.z_loss,
                    &mut dh,
                    dw.as_deref_mut(),
                    &mut losses,
                );
                let state = (
                    flex::tensor(dh, flex::dims(&hidden)),
                    dw.map(|dw| flex::tensor(dw, flex::dims(&weight))),
                );
                let loss = weighted_sum(&losses, &targets);
                prep.finish(state, loss)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(Flex::lm_loss(hidden, weight, targets, precision))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients2, random};

    fn targets(rows: usize, vocab: u32, z_loss: f32) -> Targets {
        Targets {
            z_loss,
            ids: (0..rows as u32).map(|i| i * 7 % vocab).collect(),
            weights: (0..rows).map(|i| [0.5, 0.0, 1.0, -0.25][i % 4]).collect(),
        }
    }

    #[test]
    fn cpu_path_equals_portable_path() {
        for (rows, hidden, vocab, z_loss) in [
            (1, 4, 5, 0.0),
            (33, 24, 70, 1e-2),
            (300, 32, 515, 0.0),
            (300, 32, 515, 1e-3),
        ] {
            let targets = targets(rows, vocab as u32, z_loss);
            let inputs = || (random([rows, hidden], 1), random([vocab, hidden], 2));
            agree(
                2e-5,
                || {
                    gradients2(inputs().0, inputs().1, |h, w| {
                        lm_loss(h, w, &targets, Precision::F32)
                    })
                },
                || {
                    gradients2(inputs().0, inputs().1, |h, w| {
                        portable(h, w, &targets, Precision::F32)
                    })
                },
            );
        }
    }

    #[test]
    fn a_head_that_stays_changes_nothing_else() {
        let targets = targets(33, 70, 0.0);
        let gradient = |trained: bool| {
            let hidden = random([33, 24], 1).require_grad();
            let weight = random([70, 24], 2).set_require_grad(trained);
            let loss = lm_loss(hidden.clone(), weight, &targets, Precision::F32);
            let mut gradients = loss.backward();
            flex::to_vec(hidden.grad_remove(&mut gradients).expect("a gradient"))
        };
        assert_eq!(gradient(true), gradient(false));
    }

    #[test]
    fn logprobs_are_the_loss_negated() {
        let (hidden, weight) = (random([9, 16], 1), random([40, 16], 2));
        let targets = Targets {
            weights: vec![1.0; 9].into(),
            ..targets(9, 40, 0.0)
        };
        let logprobs = token_logprobs(hidden.clone(), weight.clone(), &targets.ids, Precision::F32);
        let loss = flex::to_vec(lm_loss(hidden, weight, &targets, Precision::F32))[0];
        let sum: f64 = logprobs.iter().map(|&l| -f64::from(l)).sum();
        assert_eq!(loss, sum as f32);
    }
}
