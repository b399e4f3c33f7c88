//! Whether a tensor has a part in gradients, which Burn tells to an operation in preparation only.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};

#[derive(Debug)]
struct Asking;

impl Backward<Flex, 1> for Asking {
    type State = ();

    fn backward(self, _: Ops<(), 1>, _: &mut Gradients, _: &mut Checkpointer) {
        unreachable!("an operation that is only prepared has no backward pass");
    }
}

/// Whether gradients come back to a node.
pub(crate) fn tracked<C: CheckpointStrategy>(node: NodeGuard) -> bool {
    let asked = Asking.prepare::<C>([node]).compute_bound().stateful();
    matches!(asked, OpsKind::Tracked(_))
}
