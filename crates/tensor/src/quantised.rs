//! Matrices of few bits, as GGUF files hold them: products, rows as embeddings, log-probabilities.
//!
//! On the CPU they stay as they are; another device gets their values in f32. They are not trained themselves, but
//! gradients go through them (Dettmers et al. 2023, QLoRA): the product's own, as if x had not been rounded.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{Device, Int, Tensor};
use kernels::gemm::{Mat, Precision, matmul};
use kernels::loss::log_softmax_row;
use kernels::quant::{Weights, matmul_each};

pub use kernels::quant::Format;

use crate::{buffers, flex, fork, profile};

/// Rows whose logits are in memory at a time: those of a long document by a large vocabulary would fill it.
const LOGIT_ROWS: usize = 64;

/// A matrix `[out_features, in_features]` of few bits; clones share it.
#[derive(Clone)]
pub struct Quantised(Arc<Weights>);

impl std::fmt::Debug for Quantised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quantised({:?}, {:?})", self.0.format(), self.dims())
    }
}

impl Quantised {
    /// From a file's blocks, row by row.
    ///
    /// # Panics
    /// When a row is not a whole number of blocks, or `blocks` is not as long as the rows are.
    pub fn new(format: Format, [rows, cols]: [usize; 2], blocks: &[u8]) -> Self {
        Self(Arc::new(Weights::new(format, rows, cols, blocks)))
    }

    /// `[out_features, in_features]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.0.rows(), self.0.cols()]
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The values in f32: `[out_features, in_features]`.
    pub fn values(&self, device: &Device) -> Tensor<2> {
        let [rows, cols] = self.dims();
        let mut values = buffers::take(rows * cols);
        self.0.values(&mut values);
        flex::from_vec(values, [rows, cols], device)
    }

    /// `x · Wᵀ`, with x rounded to eight bits in groups of 32.
    ///
    /// Shapes: `x` `[…, in_features]`, result `[…, out_features]`.
    ///
    /// # Panics
    /// When `x` is not on the CPU.
    pub fn linear<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let [y] = Self::linear_each([self], x);
        y
    }

    /// [`Self::linear`] of one `x` by several matrices at once, to the same bits.
    ///
    /// # Panics
    /// As [`Self::linear`].
    pub fn linear_each<const D: usize, const N: usize>(
        weights: [&Self; N],
        x: Tensor<D>,
    ) -> [Tensor<D>; N] {
        let (dims, device) = (x.dims(), x.device());
        if device.is_autodiff() {
            let mut uses = fork::<D, N>(x).into_iter();
            return weights.map(|weight| {
                let x = uses.next().expect("one for each matrix");
                let y = Dispatch::quantised_linear(x.into_dispatch(), weight.clone());
                Tensor::from_dispatch(y)
            });
        }
        let x = x
            .try_into_primitive::<Flex>()
            .expect("quantised weights serve on the CPU");
        let x = flex::floats(&x);
        let count = x.len() / dims[D - 1];
        let work: usize = weights.iter().map(|w| w.0.rows() * w.0.cols()).sum();
        let _timed = profile::time("quantised linear", 2.0 * (count * work) as f64);
        let mut ys = weights.map(|w| buffers::take(count * w.0.rows()));
        let outs = ys.each_mut().map(Vec::as_mut_slice);
        matmul_each(&x, weights.map(|w| &*w.0), outs);
        let mut rows = weights.iter().map(|w| w.0.rows());
        ys.map(|y| {
            let mut shape = dims;
            shape[D - 1] = rows.next().unwrap_or(0);
            flex::from_vec(y, shape, &device)
        })
    }

    /// A row for every token id.
    ///
    /// Shapes: `ids` `[batch, seq]`, result `[batch, seq, in_features]`.
    pub fn embedding(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, seq] = ids.dims();
        let device = ids.device();
        let cols = self.0.cols();
        let ids = ids.into_data().convert::<i32>();
        let ids: Vec<i32> = ids.try_to_vec().expect("converted just above");
        let mut rows = buffers::take(ids.len() * cols);
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(cols)) {
            self.0.row(id as usize, row);
        }
        flex::from_vec(rows, [batch, seq, cols], &device)
    }

    /// The log-probability of each row's target, with this matrix as head.
    ///
    /// Shapes: `hidden` `[rows, in_features]`, `ids` of `rows`.
    pub fn token_logprobs(&self, hidden: Tensor<2>, ids: &[u32]) -> Vec<f32> {
        let [rows, _] = hidden.dims();
        let mut found = Vec::with_capacity(rows);
        for start in (0..rows).step_by(LOGIT_ROWS) {
            let some = LOGIT_ROWS.min(rows - start);
            let mut logits = flex::to_vec(self.linear(hidden.clone().narrow(0, start, some))); // [some, vocab]
            let targets = &ids[start..start + some];
            for (row, &id) in logits.chunks_exact_mut(self.0.rows()).zip(targets) {
                log_softmax_row(row);
                found.push(row[id as usize]);
            }
        }
        found
    }
}

#[backend_extension(Flex, Autodiff)]
trait QuantisedLinearOp: Backend {
    fn quantised_linear(x: FloatTensor<Self>, weight: Quantised) -> FloatTensor<Self>;
}

impl QuantisedLinearOp for Flex {
    fn quantised_linear(x: FlexTensor, weight: Quantised) -> FlexTensor {
        let mut shape = flex::dims(&x);
        let [out_features, in_features] = weight.dims();
        let x = flex::floats(&x);
        let rows = x.len() / in_features;
        let _timed = profile::time(
            "quantised linear",
            2.0 * (rows * out_features * in_features) as f64,
        );
        let mut y = buffers::take(rows * out_features);
        matmul_each(&x, [&*weight.0], [&mut y]);
        if let Some(last) = shape.last_mut() {
            *last = out_features;
        }
        flex::tensor(y, shape)
    }
}

#[derive(Debug)]
struct QuantisedLinearBackward;

impl Backward<Flex, 1> for QuantisedLinearBackward {
    /// The matrix, and the shape of `x`.
    type State = (Quantised, Vec<usize>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (weight, shape) = ops.state;
        let [x_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        if let Some(node) = x_node {
            let dx = input_gradient(&flex::floats(&upstream), &weight);
            grads.register::<Flex>(node.id, flex::tensor(dx, shape));
        }
        buffers::give(upstream);
    }
}

/// `dY · W`, with W as bfloat16: what a few bits can tell, it nearly can.
fn input_gradient(dy: &[f32], weight: &Quantised) -> Vec<f32> {
    let [out_features, in_features] = weight.dims();
    let rows = dy.len() / out_features;
    let _timed = profile::time(
        "quantised linear, gradient of the input",
        2.0 * (rows * out_features * in_features) as f64,
    );
    let mut values = buffers::take(out_features * in_features);
    weight.0.values(&mut values);
    let mut dx = buffers::take(rows * in_features);
    matmul(
        Precision::Bf16,
        rows,
        in_features,
        out_features,
        Mat::row_major(dy, out_features),
        Mat::row_major(&values, in_features),
        &mut dx,
        false,
        None,
    );
    buffers::give(flex::tensor(values, [out_features, in_features]));
    dx
}

impl<C: CheckpointStrategy> QuantisedLinearOp for Autodiff<Flex, C> {
    fn quantised_linear(x: FloatTensor<Self>, weight: Quantised) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let shape = flex::dims(&x);
        let y = Flex::quantised_linear(x, weight.clone());
        match QuantisedLinearBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((weight, shape), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    /// Blocks of Q8_0 whose values are `scale · code`.
    fn matrix(rows: usize, cols: usize) -> Quantised {
        let mut blocks = Vec::new();
        for block in 0..rows * cols / 32 {
            blocks.extend([0x00, 0x20]); // the half-precision number 2^-7
            blocks.extend((0..32).map(|i| ((block * 31 + i * 7) % 251) as u8));
        }
        Quantised::new(Format::Q8_0, [rows, cols], &blocks)
    }

    #[test]
    fn products_are_those_of_the_values() {
        let weight = matrix(40, 96);
        let device = Device::flex();
        let x = random([2, 3, 96], 1).inner();
        let exact = crate::linear::portable(x.clone(), weight.values(&device), Precision::F32);
        let exact = flex::to_vec(exact);
        let got = flex::to_vec(weight.linear(x.clone()));
        // Eight bits for x: an error of up to 1/254 of its largest value a column, of random signs.
        for (got, exact) in got.iter().zip(&exact) {
            assert!((got - exact).abs() < 0.06, "{got} instead of {exact}");
        }
        let hidden = x.reshape([6, 96]);
        let logprobs = weight.token_logprobs(hidden, &[0, 39, 7, 8, 9, 10]);
        let mut first = got[..40].to_vec();
        log_softmax_row(&mut first);
        assert_eq!(logprobs[0].to_bits(), first[0].to_bits());
    }

    #[test]
    fn gradients_go_through() {
        let weight = matrix(40, 96);
        let x = random([2, 3, 96], 1).autodiff().require_grad();
        let [y] = Quantised::linear_each([&weight], x.clone());
        let inner = weight.linear(x.clone().inner());
        assert_eq!(flex::to_vec(y.clone()), flex::to_vec(inner));
        let upstream = random([2, 3, 40], 2).inner();
        let mut gradients = (y * upstream.clone().autodiff()).sum().backward();
        let got = flex::to_vec(x.grad_remove(&mut gradients).expect("a gradient"));
        let values = weight.values(&Device::flex());
        let exact = flex::to_vec(upstream.reshape([6, 40]).matmul(values));
        let largest = exact
            .iter()
            .fold(0.0, |most: f32, value| most.max(value.abs()));
        for (got, exact) in got.iter().zip(&exact) {
            assert!(
                (got - exact).abs() < 0.01 * largest,
                "{got} instead of {exact}"
            );
        }
    }

    #[test]
    fn embeddings_are_rows() {
        let weight = matrix(5, 64);
        let device = Device::flex();
        let ids = Tensor::<2, Int>::from_data([[4, 0], [2, 4]], &device);
        let rows = flex::to_vec(weight.embedding(ids));
        let values = flex::to_vec(weight.values(&device));
        for (row, id) in rows.chunks_exact(64).zip([4, 0, 2, 4]) {
            assert_eq!(row, &values[id * 64..][..64]);
        }
    }
}
