//! A tensor that goes several ways.
//!
//! Burn adds up the gradients of such a tensor one by one as they arrive, each time on one thread and into fresh
//! memory. Here they wait for each other and are summed in one pass, in the order of the branches.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::{buffers, flex, profile};

/// The same tensor for each of `N` uses.
pub fn fork<const D: usize, const N: usize>(x: Tensor<D>) -> [Tensor<D>; N] {
    if !flex::on_cpu(&x.device()) {
        return std::array::from_fn(|_| x.clone());
    }
    let arrived = Arrived::default();
    let trunk = Dispatch::trunk(x.into_dispatch(), arrived.clone());
    std::array::from_fn(|branch| {
        let branch = Dispatch::branch(trunk.clone(), arrived.clone(), branch);
        Tensor::from_dispatch(branch)
    })
}

/// The gradients that have come back so far, with their branches.
type Arrived = Arc<Mutex<Vec<(usize, FlexTensor)>>>;

#[backend_extension(Flex, Autodiff)]
trait ForkOp: Backend {
    fn trunk(x: FloatTensor<Self>, arrived: Arrived) -> FloatTensor<Self>;
    fn branch(trunk: FloatTensor<Self>, arrived: Arrived, branch: usize) -> FloatTensor<Self>;
}

impl ForkOp for Flex {
    fn trunk(x: FlexTensor, _: Arrived) -> FlexTensor {
        x
    }

    fn branch(trunk: FlexTensor, _: Arrived, _: usize) -> FlexTensor {
        trunk
    }
}

/// Lets a gradient wait.
#[derive(Debug)]
struct BranchBackward;

impl Backward<Flex, 1> for BranchBackward {
    type State = (Arrived, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (arrived, branch) = ops.state;
        let upstream = grads.consume::<Flex>(&ops.node);
        let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.push((branch, upstream));
    }
}

/// Runs when every branch that the result depends on has run.
#[derive(Debug)]
struct TrunkBackward;

impl Backward<Flex, 1> for TrunkBackward {
    type State = Arrived;

    fn backward(self, ops: Ops<Arrived, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut arrived = ops.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gradients = std::mem::take(&mut *arrived);
        gradients.sort_by_key(|&(branch, _)| branch);
        let mut gradients = gradients.into_iter().map(|(_, gradient)| gradient);
        let ([Some(node)], Some(first)) = (ops.parents, gradients.next()) else {
            return;
        };
        grads.register::<Flex>(node.id, sum(first, gradients.collect()));
    }
}

fn sum(first: FlexTensor, others: Vec<FlexTensor>) -> FlexTensor {
    if others.is_empty() {
        return first;
    }
    let _timed = profile::time("gradients of several uses, summed", 0.0);
    let shape = flex::dims(&first);
    let mut sum = buffers::owned(first).unwrap_or_else(|first| {
        let values = flex::floats(&first);
        let mut sum = buffers::take(values.len());
        sum.copy_from_slice(&values);
        sum
    });
    {
        let others: Vec<_> = others.iter().map(flex::floats).collect();
        let others: Vec<&[f32]> = others.iter().map(|x| &**x).collect();
        kernels::add::add_all(&mut sum, &others);
    }
    others.into_iter().for_each(buffers::give);
    flex::tensor(sum, shape)
}

impl<C: CheckpointStrategy> ForkOp for Autodiff<Flex, C> {
    fn trunk(x: FloatTensor<Self>, arrived: Arrived) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match TrunkBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(arrived, x),
            OpsKind::UnTracked(prep) => prep.finish(x),
        }
    }

    fn branch(trunk: FloatTensor<Self>, arrived: Arrived, branch: usize) -> FloatTensor<Self> {
        let (x, node) = trunk.into_parts();
        match BranchBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((arrived, branch), x),
            OpsKind::UnTracked(prep) => prep.finish(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients1, random};

    #[test]
    fn gradients_are_those_of_a_tensor_used_several_times() {
        let input = || random([3, 40, 37], 1);
        agree(
            1e-6,
            || {
                gradients1(input(), |x| {
                    let [a, b, c] = fork(x);
                    a * 2.0 + b.clone() * b + c.exp()
                })
            },
            || {
                gradients1(input(), |x| {
                    x.clone() * 2.0 + x.clone() * x.clone() + x.exp()
                })
            },
        );
    }

    #[test]
    fn a_branch_that_leads_nowhere_has_no_gradient() {
        let input = || random([3, 37], 1);
        agree(
            0.0,
            || {
                gradients1(input(), |x| {
                    let [a, unused, c] = fork(x);
                    drop(unused);
                    a * 2.0 + c * 3.0
                })
            },
            || gradients1(input(), |x| x.clone() * 2.0 + x * 3.0),
        );
    }

    #[test]
    fn forks_of_forks() {
        let input = || random([4, 1200], 1);
        agree(
            1e-6,
            || {
                gradients1(input(), |x| {
                    let [a, b] = fork(x);
                    let [b, c] = fork(b.exp());
                    crate::add(a, b) * c
                })
            },
            || gradients1(input(), |x| (x.clone() + x.clone().exp()) * x.exp()),
        );
    }
}
