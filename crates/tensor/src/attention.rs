//! Scaled dot-product attention (Vaswani et al. 2017, equation 1) with grouped queries (Ainslie et
//! al. 2023), where every query row names the range of keys that it may see.
//!
//! One range per row says all that a decoder needs: causality (the range ends behind the row's own
//! key), documents packed into one sequence (it begins at the document's first key), a sliding
//! window, and decoding from a cache.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{Int, Tensor, TensorData};
use kernels::attention::{
    AttentionShape, DistanceBias, attention_backward, attention_biased, attention_forward,
};

use crate::{buffers, flex, profile};

/// The keys that each query row attends: `lo..hi` within the row's own batch entry, `batch · seq` of them.
pub type KeyRanges = Arc<[[u32; 2]]>;

/// `softmax(q · kᵀ · scale) · v` over each row's key range; a row with an empty range gives zeros.
///
/// Shapes: `q` `[batch, seq, heads, head_dim]`, `k` and `v` `[batch, keys, kv_heads, head_dim]`,
/// result like `q`; query head `h` reads key head `h / (heads / kv_heads)`.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    ranges: &KeyRanges,
    scale: f32,
) -> Tensor<4> {
    if flex::on_cpu(&q.device()) {
        let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
        return Tensor::from_dispatch(Dispatch::attention(q, k, v, ranges.clone(), scale));
    }
    portable(q, k, v, ranges, scale)
}

/// [`attention`] where `bias[h, d + reach]` is added to the scaled score of a key that stands `d` behind the query, or
/// before it when negative; what is further away than `reach` counts as that (Raffel et al. 2020, "T5", section 2.1).
///
/// Shapes as in [`attention`]; `bias` `[heads, 2 · reach + 1]`. `first` says where the first query row stands among the
/// keys. Without gradients the scores are never whole in memory.
pub fn attention_by_distance(
    [q, k, v]: [Tensor<4>; 3],
    ranges: &KeyRanges,
    scale: f32,
    bias: Tensor<2>,
    first: usize,
) -> Tensor<4> {
    let device = q.device();
    if flex::on_cpu(&device) && !device.is_autodiff() {
        let held = [q, k, v].map(|x| {
            let held = x.try_into_primitive::<Flex>();
            held.expect("a tensor of the CPU without gradients")
        });
        let [q, k, v] = &held;
        let s = shape(q, k);
        let _timed = profile::time("attention", flops(&s, ranges));
        let table = flex::to_vec(bias);
        let mut out = buffers::take(s.batch * s.q_len * s.heads * s.head_dim);
        let bias = DistanceBias {
            reach: table.len() / s.heads / 2,
            table: &table,
            first,
        };
        let (q, k, v) = (flex::floats(q), flex::floats(k), flex::floats(v));
        attention_biased(&s, &q, &k, &v, ranges, scale, bias, &mut out);
        let dims = [s.batch, s.q_len, s.heads, s.head_dim];
        return flex::from_vec(out, dims, &device);
    }
    let (seq, keys) = (q.dims()[1], k.dims()[1]);
    let reach = bias.dims()[1] as i64 / 2;
    let places: Vec<i32> = (0..seq)
        .flat_map(|row| {
            let position = (first + row) as i64;
            (0..keys as i64).map(move |key| ((key - position).clamp(-reach, reach) + reach) as i32)
        })
        .collect();
    let count = places.len();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
    let heads = bias.dims()[0];
    let bias = bias.select(1, places).reshape([1, heads, seq, keys]); // [1, heads, seq, keys]
    scored(q, k, v, ranges, scale, Some(bias))
}

/// The same from Burn's operations, with the score matrix in memory.
pub fn portable(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    ranges: &[[u32; 2]],
    scale: f32,
) -> Tensor<4> {
    scored(q, k, v, ranges, scale, None)
}

fn scored(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    ranges: &[[u32; 2]],
    scale: f32,
    bias: Option<Tensor<4>>,
) -> Tensor<4> {
    let [batch, seq, heads, _] = q.dims();
    let [_, keys, kv_heads, _] = k.dims();
    let device = q.device();
    let visible: Vec<f32> = ranges
        .iter()
        .flat_map(|&[lo, hi]| {
            (0..keys as u32).map(move |key| f32::from(u8::from(lo <= key && key < hi)))
        })
        .collect();
    let visible =
        flex::from_vec(visible, [batch, 1, seq, keys], &device).expand([batch, heads, seq, keys]);
    let per_query = |t: Tensor<4>| {
        let [_, _, _, head_dim] = t.dims();
        let group = heads / kv_heads;
        t.swap_dims(1, 2) // [batch, kv_heads, keys, head_dim]
            .unsqueeze_dim::<5>(2) // [batch, kv_heads, 1, keys, head_dim]
            .expand([batch, kv_heads, group, keys, head_dim])
            .reshape([batch, heads, keys, head_dim])
    };
    let q = q.swap_dims(1, 2); // [batch, heads, seq, head_dim]
    let scores = q.matmul(per_query(k).swap_dims(2, 3)) * scale; // [batch, heads, seq, keys]
    let scores = match bias {
        Some(bias) => scores + bias, // [batch, heads, seq, keys]
        None => scores,
    };
    let hidden = visible.clone().equal_elem(0.0);
    let scores = scores.mask_fill(hidden, -1e30);
    let peak = scores.clone().detach().max_dim(3); // [batch, heads, seq, 1]
    let weights = (scores - peak).exp() * visible; // [batch, heads, seq, keys]
    let sums = weights.clone().sum_dim(3).clamp_min(f32::MIN_POSITIVE); // [batch, heads, seq, 1]
    (weights / sums).matmul(per_query(v)).swap_dims(1, 2) // [batch, seq, heads, head_dim]
}

#[backend_extension(Flex, Autodiff)]
trait AttentionOp: Backend {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f32,
    ) -> FloatTensor<Self>;
}

pub(crate) fn shape(q: &FlexTensor, k: &FlexTensor) -> AttentionShape {
    let (q, k) = (flex::dims(q), flex::dims(k));
    AttentionShape {
        batch: q[0],
        q_len: q[1],
        k_len: k[1],
        heads: q[2],
        kv_heads: k[2],
        head_dim: q[3],
    }
}

/// Floating-point operations of the two products over the keys that are seen.
pub(crate) fn flops(shape: &AttentionShape, ranges: &[[u32; 2]]) -> f64 {
    let seen: f64 = ranges
        .iter()
        .map(|[lo, hi]| f64::from(hi.saturating_sub(*lo)))
        .sum();
    4.0 * seen * (shape.heads * shape.head_dim) as f64
}

/// The result, and the log-sum-exp of each row and head for the backward.
fn forward(
    q: &FlexTensor,
    k: &FlexTensor,
    v: &FlexTensor,
    ranges: &[[u32; 2]],
    scale: f32,
) -> (FlexTensor, Vec<f32>) {
    let s = shape(q, k);
    let _timed = profile::time("attention", flops(&s, ranges));
    let mut out = buffers::take(s.batch * s.q_len * s.heads * s.head_dim);
    let mut lse = vec![0.0; s.batch * s.heads * s.q_len];
    attention_forward(
        &s,
        &flex::floats(q),
        &flex::floats(k),
        &flex::floats(v),
        ranges,
        scale,
        &mut out,
        &mut lse,
    );
    (flex::tensor(out, flex::dims(q)), lse)
}

impl AttentionOp for Flex {
    fn attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        ranges: KeyRanges,
        scale: f32,
    ) -> FlexTensor {
        forward(&q, &k, &v, &ranges, scale).0
    }
}

#[derive(Debug)]
struct AttentionBackward;

#[derive(Clone, Debug)]
struct Saved {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    out: FlexTensor,
    lse: Vec<f32>,
    ranges: KeyRanges,
    scale: f32,
}

impl Backward<Flex, 3> for AttentionBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let saved = ops.state;
        // Five products instead of two.
        let work = 2.5 * flops(&shape(&saved.q, &saved.k), &saved.ranges);
        let _timed = profile::time("attention, gradients", work);
        let dout = grads.consume::<Flex>(&ops.node);
        let (q, k, v) = (
            flex::floats(&saved.q),
            flex::floats(&saved.k),
            flex::floats(&saved.v),
        );
        let (mut dq, mut dk, mut dv) = (
            buffers::take(q.len()),
            buffers::take(k.len()),
            buffers::take(v.len()),
        );
        attention_backward(
            &shape(&saved.q, &saved.k),
            &q,
            &k,
            &v,
            &flex::floats(&saved.out),
            &flex::floats(&dout),
            &saved.lse,
            &saved.ranges,
            saved.scale,
            &mut dq,
            &mut dk,
            &mut dv,
        );
        let results = [(dq, &saved.q), (dk, &saved.k), (dv, &saved.v)];
        for (node, (gradient, input)) in ops.parents.into_iter().zip(results) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, flex::tensor(gradient, flex::dims(input)));
            }
        }
        drop((q, k, v));
        buffers::give_all([dout, saved.q, saved.k, saved.v, saved.out]);
    }
}

impl<C: CheckpointStrategy> AttentionOp for Autodiff<Flex, C> {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        ranges: KeyRanges,
        scale: f32,
    ) -> FloatTensor<Self> {
        let (q, q_node) = q.into_parts();
        let (k, k_node) = k.into_parts();
        let (v, v_node) = v.into_parts();
        let (out, lse) = forward(&q, &k, &v, &ranges, scale);
        match AttentionBackward
            .prepare::<C>([q_node, k_node, v_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(
                Saved {
                    q,
                    k,
                    v,
                    out: out.clone(),
                    lse,
                    ranges,
                    scale,
                },
                out,
            ),
            OpsKind::UnTracked(prep) => prep.finish(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, gradients3, random};

    fn compare(seq: usize, heads: usize, kv_heads: usize, head_dim: usize, ranges: KeyRanges) {
        let batch = 2;
        let inputs = || {
            [(heads, 1), (kv_heads, 2), (kv_heads, 3)]
                .map(|(h, seed)| random([batch, seq, h, head_dim], seed))
        };
        let scale = (head_dim as f32).powf(-0.5);
        agree(
            2e-5,
            || gradients3(inputs(), |q, k, v| attention(q, k, v, &ranges, scale)),
            || gradients3(inputs(), |q, k, v| portable(q, k, v, &ranges, scale)),
        );
    }

    #[test]
    fn causal() {
        for (seq, heads, kv_heads, head_dim) in
            [(1, 1, 1, 8), (7, 4, 2, 16), (65, 6, 3, 32), (130, 2, 1, 64)]
        {
            let ranges = (0..2 * seq)
                .map(|row| [0, (row % seq) as u32 + 1])
                .collect();
            compare(seq, heads, kv_heads, head_dim, ranges);
        }
    }

    #[test]
    fn a_bias_by_distance() {
        let whole = |rows: u32| (0..2 * rows).map(|_| [0, rows]).collect::<KeyRanges>();
        let causal = |rows: u32, first: u32| {
            (0..2 * rows)
                .map(|row| [0, first + row % rows + 1])
                .collect::<KeyRanges>()
        };
        let documents = (0..140)
            .map(|row| match row % 70 {
                0..20 => [0, 20],
                20 => [9, 9],
                _ => [21, 70],
            })
            .collect();
        for (seq, keys, first, reach, ranges) in [
            (1, 1, 0, 2, whole(1)),
            (70, 70, 0, 3, whole(70)),
            (70, 70, 0, 128, whole(70)),
            (5, 40, 35, 8, causal(5, 35)),
            (70, 70, 0, 16, documents),
        ] {
            let (heads, head_dim) = (3, 20);
            let x = |rows, seed| random([2, rows, heads, head_dim], seed);
            let (q, k, v) = (x(seq, 1), x(keys, 2), x(keys, 3));
            let bias = random([heads, 2 * reach + 1], 4);
            let tracked = attention_by_distance(
                [q.clone(), k.clone(), v.clone()],
                &ranges,
                0.5,
                bias.clone(),
                first,
            );
            let plain = [q, k, v].map(Tensor::inner);
            let plain = attention_by_distance(plain, &ranges, 0.5, bias.inner(), first);
            let (tracked, plain) = (flex::to_vec(tracked), flex::to_vec(plain));
            for (a, b) in plain.iter().zip(&tracked) {
                assert!((a - b).abs() < 2e-5, "{a} and {b} at reach {reach}");
            }
        }
    }

    #[test]
    fn packed_documents_and_an_empty_range() {
        let row = |i: u32| match i {
            0..5 => [0, i + 1],
            5..40 => [5, i + 1],
            40 => [3, 3],
            _ => [41, i + 1],
        };
        compare(90, 4, 2, 32, (0..180).map(|i| row(i % 90)).collect());
    }
}
