//! Matrices of few bits, as GGUF files hold them, for inference: products, rows as embeddings, log-probabilities.
//!
//! On the CPU they stay as they are; another device gets their values in f32.

use std::sync::Arc;

use burn::backend::Flex;
use burn::tensor::{Device, Int, Tensor};
use kernels::loss::log_softmax_row;
use kernels::quant::{Weights, matmul_each};

pub use kernels::quant::Format;

use crate::{buffers, flex, profile};

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
        let mut values = vec![0.0; rows * cols];
        for (row, out) in values.chunks_exact_mut(cols).enumerate() {
            self.0.row(row, out);
        }
        flex::from_vec(values, [rows, cols], device)
    }

    /// `x · Wᵀ`, with x rounded to eight bits in groups of 32.
    ///
    /// Shapes: `x` `[…, in_features]`, result `[…, out_features]`.
    ///
    /// # Panics
    /// When `x` is not on the CPU without gradients: these weights are not trained.
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
        let x = x
            .try_into_primitive::<Flex>()
            .expect("quantised weights serve on the CPU, without gradients");
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
        let exact = crate::linear::portable(
            x.clone(),
            weight.values(&device),
            kernels::gemm::Precision::F32,
        );
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
