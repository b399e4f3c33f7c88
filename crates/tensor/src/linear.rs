//! `y = x · Wᵀ`, with the weight in `[out_features, in_features]` as in PyTorch and Hugging Face.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{FloatDType, Tensor};
use kernels::gemm::{Mat, Precision, matmul};

use crate::{buffers, flex, profile};

/// `x · Wᵀ`.
///
/// Shapes: `x` `[…, in_features]`, `weight` `[out_features, in_features]`, result `[…, out_features]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, precision: Precision) -> Tensor<D> {
    if flex::on_cpu(&x.device()) {
        let y = Dispatch::linear(x.into_dispatch(), weight.into_dispatch(), precision);
        return Tensor::from_dispatch(y);
    }
    portable(x, weight, precision)
}

/// The same from Burn's operations.
pub fn portable<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    precision: Precision,
) -> Tensor<D> {
    let [out_features, in_features] = weight.dims();
    let mut shape = x.dims();
    let rows = shape.iter().product::<usize>() / in_features;
    let x = x.reshape([rows, in_features]); // [rows, in_features]
    let y = portable_product(x, weight.transpose(), precision); // [rows, out_features]
    shape[D - 1] = out_features;
    y.reshape(shape)
}

/// `a · b`, with operands and result in bf16 where that is asked for and the device has it. Shapes: `a` `[m, k]`, `b`
/// `[k, n]`, result `[m, n]` in f32.
pub(crate) fn portable_product(a: Tensor<2>, b: Tensor<2>, precision: Precision) -> Tensor<2> {
    if precision == Precision::Bf16 && a.device().supports_dtype(FloatDType::BF16) {
        let bf16 = |x: Tensor<2>| x.cast(FloatDType::BF16);
        return bf16(a).matmul(bf16(b)).cast(FloatDType::F32);
    }
    a.matmul(b)
}

#[backend_extension(Flex, Autodiff)]
trait LinearOp: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

impl LinearOp for Flex {
    fn linear(x: FlexTensor, weight: FlexTensor, precision: Precision) -> FlexTensor {
        product(&x, &weight, None, precision)
    }
}

/// `x · Wᵀ`, plus a bias on every row.
pub(crate) fn product(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    precision: Precision,
) -> FlexTensor {
    let (out_features, in_features) = weight_dims(weight);
    let mut shape = flex::dims(x);
    let (x, w, bias) = (
        flex::floats(x),
        flex::floats(weight),
        bias.map(flex::floats),
    );
    let rows = x.len() / in_features;
    let _timed = profile::time("linear", flops(rows, weight));
    let mut y = buffers::take(rows * out_features);
    let a = Mat {
        data: &x,
        row_stride: in_features,
        col_stride: 1,
    };
    let b = Mat {
        data: &w,
        row_stride: 1,
        col_stride: in_features,
    };
    matmul(
        precision,
        rows,
        out_features,
        in_features,
        a,
        b,
        &mut y,
        false,
        bias.as_deref(),
    );
    if let Some(last) = shape.last_mut() {
        *last = out_features;
    }
    flex::tensor(y, shape)
}

/// `dY · W`, in the shape of `x`.
pub(crate) fn input_gradient(
    upstream: &FlexTensor,
    weight: &FlexTensor,
    x: &FlexTensor,
    precision: Precision,
) -> FlexTensor {
    let (dy, w) = (flex::floats(upstream), flex::floats(weight));
    let (out_features, in_features) = weight_dims(weight);
    let rows = dy.len() / out_features;
    let _timed = profile::time("linear, gradient of the input", flops(rows, weight));
    let mut dx = buffers::take(rows * in_features);
    let a = Mat {
        data: &dy,
        row_stride: out_features,
        col_stride: 1,
    };
    let b = Mat {
        data: &w,
        row_stride: in_features,
        col_stride: 1,
    };
    matmul(
        precision,
        rows,
        in_features,
        out_features,
        a,
        b,
        &mut dx,
        false,
        None,
    );
    flex::tensor(dx, flex::dims(x))
}

/// `dYᵀ · X`.
pub(crate) fn weight_gradient(
    upstream: &FlexTensor,
    x: &FlexTensor,
    weight: &FlexTensor,
    precision: Precision,
) -> FlexTensor {
    let (dy, values) = (flex::floats(upstream), flex::floats(x));
    let (out_features, in_features) = weight_dims(weight);
    let rows = dy.len() / out_features;
    let _timed = profile::time("linear, gradient of the weight", flops(rows, weight));
    let mut dw = buffers::take(out_features * in_features);
    let a = Mat {
        data: &dy,
        row_stride: 1,
        col_stride: out_features,
    };
    let b = Mat {
        data: &values,
        row_stride: in_features,
        col_stride: 1,
    };
    matmul(
        precision,
        out_features,
        in_features,
        rows,
        a,
        b,
        &mut dw,
        false,
        None,
    );
    flex::tensor(dw, [out_features, in_features])
}

/// Floating-point operations of one of the products.
fn flops(rows: usize, weight: &FlexTensor) -> f64 {
    let (out_features, in_features) = weight_dims(weight);
    2.0 * (rows * out_features * in_features) as f64
}

fn weight_dims(weight: &FlexTensor) -> (usize, usize) {
    let dims = flex::dims(weight);
    (dims[0], dims[1])
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 2> for LinearBackward {
    type State = (FlexTensor, FlexTensor, Precision);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, weight, precision) = ops.state;
        let [x_node, weight_node] = ops.parents;
        let upstream = grads.consume::<Flex>(&ops.node);
        if let Some(node) = x_node {
            let dx = input_gradient(&upstream, &weight, &x, precision);
            grads.register::<Flex>(node.id, dx);
        }
        if let Some(node) = weight_node {
            let dw = weight_gradient(&upstream, &x, &weight, precision);
            grads.register::<Flex>(node.id, dw);
        }
        buffers::give_all([upstream, x]);
    }
}

impl<C: CheckpointStrategy> LinearOp for Autodiff<Flex, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let y = Flex::linear(x.clone(), weight.clone(), precision);
        match LinearBackward
            .prepare::<C>([x_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, weight, precision), y),
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
        for (rows, input, output) in [(1, 5, 3), (7, 33, 17), (64, 96, 130)] {
            // In bf16 the portable path rounds what it gives, too.
            for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 1e-2)] {
                let (x, w) = (
                    || random([2, rows, input], 1),
                    || random([output, input], 2),
                );
                agree(
                    tolerance,
                    || gradients2(x(), w(), |x, w| linear(x, w, precision)),
                    || gradients2(x(), w(), |x, w| portable(x, w, precision)),
                );
            }
        }
    }
}
