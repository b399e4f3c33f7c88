//! Rows of the embedding table; the gradient sums each id's rows in a fixed order.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::IntTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Int;
use burn::tensor::Tensor;
use kernels::embedding::{embedding_backward, embedding_forward};

use crate::{buffers, flex, profile};

/// Looks up a row of the table for every token id.
///
/// Shapes: `table` `[vocab, hidden]`, `ids` `[batch, seq]`, result `[batch, seq, hidden]`.
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    if flex::on_cpu(&table.device()) {
        return Tensor::from_dispatch(Dispatch::embedding(
            table.into_dispatch(),
            ids.into_dispatch(),
        ));
    }
    portable(table, ids)
}

/// The same from Burn's operations.
pub fn portable(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let [batch, seq] = ids.dims();
    let hidden = table.dims()[1];
    table
        .select(0, ids.reshape([batch * seq]))
        .reshape([batch, seq, hidden])
}

#[backend_extension(Flex, Autodiff)]
trait EmbeddingOp: Backend {
    fn embedding(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;
}

fn look_up(table: &FlexTensor, ids: &[u32], shape: &[usize]) -> FlexTensor {
    let _timed = profile::time("embedding", 0.0);
    let hidden = flex::dims(table)[1];
    let mut rows = buffers::take(ids.len() * hidden);
    embedding_forward(&flex::floats(table), ids, hidden, &mut rows);
    flex::tensor(rows, [shape[0], shape[1], hidden])
}

impl EmbeddingOp for Flex {
    fn embedding(table: FlexTensor, ids: FlexTensor) -> FlexTensor {
        look_up(&table, &flex::ids(&ids), &flex::dims(&ids))
    }
}

#[derive(Debug)]
struct EmbeddingBackward;

impl Backward<Flex, 1> for EmbeddingBackward {
    /// The ids, and the table's shape.
    type State = (Vec<u32>, [usize; 2]);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (ids, [vocab, hidden]) = ops.state;
        let [table_node] = ops.parents;
        let dy = grads.consume::<Flex>(&ops.node);
        if let Some(node) = table_node {
            let _timed = profile::time("embedding, gradient", 0.0);
            let mut dtable = vec![0.0; vocab * hidden];
            embedding_backward(&flex::floats(&dy), &ids, hidden, &mut dtable);
            grads.register::<Flex>(node.id, flex::tensor(dtable, [vocab, hidden]));
        }
        buffers::give(dy);
    }
}

impl<C: CheckpointStrategy> EmbeddingOp for Autodiff<Flex, C> {
    fn embedding(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let (table, table_node) = table.into_parts();
        let dims = flex::dims(&table);
        let shape = flex::dims(&ids);
        let ids = flex::ids(&ids);
        let y = look_up(&table, &ids, &shape);
        match EmbeddingBackward
            .prepare::<C>([table_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((ids, [dims[0], dims[1]]), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients1, random};
    use burn::tensor::TensorData;

    #[test]
    fn cpu_path_equals_portable_path() {
        let table = || random([11, 6], 1);
        let ids = || {
            let ids = TensorData::new(vec![3i32, 0, 10, 3, 3, 7, 0, 1], [2, 4]);
            Tensor::<2, Int>::from_data(ids, &table().device())
        };
        agree(
            1e-6,
            || gradients1(table(), |t| embedding(t, ids())),
            || gradients1(table(), |t| portable(t, ids())),
        );
    }
}
