//! Exact attention without a full matrix of scores (after Dao et al., "FlashAttention", 2022), over a range of keys for
//! each query row: causality, windows, packed documents and cached decoding are all ranges.
//!
//! **Invariance.** Each score is one chain of multiply-adds over head_dim; a row's exponentials are summed over sixteen
//! lanes counted from the first key of its range; its output is one chain over the keys of the range in order. So a row
//! has the same bits wherever its document lies in a packed sequence, and whether it is computed alone or in a batch.

mod backward;
mod forward;
mod paged;

pub use paged::{KvPages, PAGE, PageSpan, attention_paged};

use crate::gemm::engine::Engine;
use crate::gemm::pack::Panel;
use crate::lanes::{LANES, Lanes, Portable};

/// Keys side by side in a packed panel.
const PANEL: usize = 32;
/// Query rows handled together.
const ROWS: usize = 12;
/// How many rows ahead are asked for where rows of a head are gathered.
const ROWS_AHEAD: usize = 16;

/// The shape of an attention call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: usize,
    /// Query rows of each.
    pub q_len: usize,
    /// Keys of each.
    pub k_len: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl AttentionShape {
    fn queries(&self) -> usize {
        self.batch * self.q_len * self.heads * self.head_dim
    }

    fn keys(&self) -> usize {
        self.batch * self.k_len * self.kv_heads * self.head_dim
    }

    /// Distance between a query row's head and the same head of the next row.
    fn q_row(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Distance between a key's head and the same head of the next key.
    fn k_row(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The same with heads widened to whole groups of lanes.
    fn padded(&self) -> Self {
        Self {
            head_dim: self.head_dim.next_multiple_of(LANES),
            ..*self
        }
    }

    fn check(&self, operation: &str, q: &[f32], k: &[f32], v: &[f32], ranges: &[[u32; 2]]) {
        let heads =
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads) && self.head_dim > 0;
        assert!(
            heads,
            "{operation}: heads must be a multiple of kv_heads, and head_dim positive: {self:?}"
        );
        assert_eq!(
            q.len(),
            self.queries(),
            "{operation}: q must be [batch, q_len, heads, head_dim] of {self:?}"
        );
        assert_eq!(
            k.len(),
            self.keys(),
            "{operation}: k must be [batch, k_len, kv_heads, head_dim] of {self:?}"
        );
        assert_eq!(
            v.len(),
            self.keys(),
            "{operation}: v must be [batch, k_len, kv_heads, head_dim] of {self:?}"
        );
        assert_eq!(
            ranges.len(),
            self.batch * self.q_len,
            "{operation}: one range for each query row of {self:?}"
        );
        if let Some([low, high]) = ranges
            .iter()
            .find(|[low, high]| low < high && *high as usize > self.k_len)
        {
            panic!(
                "{operation}: the range {low}..{high} reaches past the {} keys",
                self.k_len
            );
        }
    }
}

/// What is added to a scaled score by how far its key stands behind the query (Raffel et al. 2020, section 2.1).
#[derive(Clone, Copy, Debug)]
pub struct DistanceBias<'a> {
    /// `[heads, 2 · reach + 1]`: for distances from −reach to reach; those further away count as these.
    pub table: &'a [f32],
    /// The largest distance with a value of its own.
    pub reach: usize,
    /// Where the first query row stands among the keys.
    pub first: usize,
}

impl DistanceBias<'_> {
    /// Of one head, whose first row is the `row`-th.
    fn of_head(&self, head: usize, row: usize) -> HeadBias<'_> {
        let width = 2 * self.reach + 1;
        HeadBias {
            table: &self.table[head * width..][..width],
            reach: self.reach,
            position: self.first + row,
        }
    }
}

/// A [`DistanceBias`] of one head.
#[derive(Clone, Copy)]
struct HeadBias<'a> {
    table: &'a [f32],
    reach: usize,
    /// Of the first row among the keys.
    position: usize,
}

impl HeadBias<'_> {
    /// Adds what belongs to keys `low..high` of the `row`-th row to their scores, which will be multiplied by `scale`.
    fn add(&self, scores: &mut [f32], row: usize, [low, high]: [usize; 2], scale: f32) {
        let (reach, position) = (self.reach, self.position + row);
        let inverse = 1.0 / scale;
        let near = position.saturating_sub(reach).clamp(low, high);
        let far = (position + reach + 1).clamp(near, high);
        for score in &mut scores[low..near] {
            *score += inverse * self.table[0];
        }
        // Empty where the range ends before what has values of its own.
        let first = (near + reach).saturating_sub(position);
        let values = self.table[first.min(self.table.len())..].iter();
        for (score, value) in scores[near..far].iter_mut().zip(values) {
            *score += inverse * value;
        }
        for score in &mut scores[far..high] {
            *score += inverse * self.table[2 * reach];
        }
    }
}

/// [`attention_forward`] with a bias by distance, and without what a backward pass would need.
///
/// # Panics
/// As [`attention_forward`], and when the table is not `[heads, 2 · reach + 1]`.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
pub fn attention_biased(
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    bias: DistanceBias<'_>,
    out: &mut [f32],
) {
    assert_eq!(
        bias.table.len(),
        shape.heads * (2 * bias.reach + 1),
        "attention_biased: the table is [heads, 2 · reach + 1]"
    );
    let mut lse = vec![0.0; shape.batch * shape.heads * shape.q_len];
    with_bias(shape, q, k, v, ranges, scale, Some(bias), out, &mut lse);
}

/// Attention: `out[i] = Σ_j softmax_j(scale · q_i·k_j) v_j` over the keys `ranges[i]`.
///
/// `q` and `out` are `[batch, q_len, heads, head_dim]`, `k` and `v` `[batch, k_len, kv_heads, head_dim]`; `ranges`,
/// `[batch · q_len]`, holds for each row the keys low..high of its own sequence. `lse`, `[batch, heads, q_len]`, receives
/// ln Σ exp of the scaled scores for the backward pass. A row with an empty range gives zeros, and −∞ in `lse`.
///
/// # Panics
/// When the lengths do not fit the shape, or a range reaches past the keys.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
pub fn attention_forward(
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    out: &mut [f32],
    lse: &mut [f32],
) {
    with_bias(shape, q, k, v, ranges, scale, None, out, lse);
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
fn with_bias(
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    bias: Option<DistanceBias<'_>>,
    out: &mut [f32],
    lse: &mut [f32],
) {
    shape.check("attention_forward", q, k, v, ranges);
    assert_eq!(
        out.len(),
        q.len(),
        "attention_forward: out must be as long as q"
    );
    assert_eq!(
        lse.len(),
        shape.batch * shape.heads * shape.q_len,
        "attention_forward: lse is [batch, heads, q_len]"
    );
    if shape.head_dim.is_multiple_of(LANES) {
        return forward::run(shape, q, k, v, ranges, scale, bias, out, lse);
    }
    let wide = shape.padded();
    let (from, to) = (shape.head_dim, wide.head_dim);
    let mut wide_out = vec![0.0; wide.queries()];
    let (q, k, v) = (widen(q, from, to), widen(k, from, to), widen(v, from, to));
    forward::run(&wide, &q, &k, &v, ranges, scale, bias, &mut wide_out, lse);
    narrow(&wide_out, to, from, out);
}

/// The gradients of [`attention_forward`], given its results `out` and `lse`; overwrites `dq`, `dk` and `dv`.
///
/// # Panics
/// When the lengths do not fit the shape, or a range reaches past the keys.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
pub fn attention_backward(
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    dout: &[f32],
    lse: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    const NAME: &str = "attention_backward";
    shape.check(NAME, q, k, v, ranges);
    let queries = out.len() == q.len() && dout.len() == q.len() && dq.len() == q.len();
    assert!(queries, "{NAME}: out, dout and dq must be as long as q");
    assert!(
        dk.len() == k.len() && dv.len() == k.len(),
        "{NAME}: dk and dv must be as long as k"
    );
    assert_eq!(
        lse.len(),
        shape.batch * shape.heads * shape.q_len,
        "{NAME}: lse is [batch, heads, q_len]"
    );
    if shape.head_dim.is_multiple_of(LANES) {
        return backward::run(
            shape,
            &backward::Inputs {
                q,
                k,
                v,
                out,
                dout,
                lse,
                ranges,
                scale,
            },
            dq,
            dk,
            dv,
        );
    }
    let wide = shape.padded();
    let (from, to) = (shape.head_dim, wide.head_dim);
    let [q, k, v, out, dout] = [q, k, v, out, dout].map(|x| widen(x, from, to));
    let inputs = backward::Inputs {
        q: &q,
        k: &k,
        v: &v,
        out: &out,
        dout: &dout,
        lse,
        ranges,
        scale,
    };
    let (mut wide_dq, mut wide_dk, mut wide_dv) =
        (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    backward::run(&wide, &inputs, &mut wide_dq, &mut wide_dk, &mut wide_dv);
    narrow(&wide_dq, to, from, dq);
    narrow(&wide_dk, to, from, dk);
    narrow(&wide_dv, to, from, dv);
}

/// Rows of `from` values padded with zeros to `to`.
fn widen(x: &[f32], from: usize, to: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len() / from * to];
    for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        out[..from].copy_from_slice(x);
    }
    out
}

/// The first `to` of each `from` values.
fn narrow(x: &[f32], from: usize, to: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        out.copy_from_slice(&x[..to]);
    }
}

/// Packs `lanes` rows of `head_dim` values, `row` apart, as `[head_dim][width]`.
fn pack(rows: &[f32], row: usize, lanes: usize, head_dim: usize, width: usize, out: &mut [f32]) {
    let panel = Panel {
        data: rows,
        lane_stride: row,
        k_stride: 1,
        lanes,
        k: head_dim,
        width,
    };
    Engine::choose(crate::gemm::Precision::F32).pack_b(panel, out);
}

/// Packs each `width` rows of `head_dim` values, the last of them fewer perhaps, as `[head_dim][width]`.
fn pack_rows(x: &[f32], head_dim: usize, width: usize, out: &mut [f32]) {
    let size = width * head_dim;
    for (x, out) in x.chunks(size).zip(out.chunks_exact_mut(size)) {
        pack(x, head_dim, x.len() / head_dim, head_dim, width, out);
    }
}

/// Rows of `head_dim` values, `row` apart, side by side.
fn gather(from: &[f32], row: usize, head_dim: usize, out: &mut [f32]) {
    for (from, out) in from.chunks(row).zip(out.chunks_exact_mut(head_dim)) {
        // No prefetcher of the processor sees a pattern in such rows.
        for line in (0..head_dim).step_by(LANES) {
            Portable::prefetch::<false>(from.as_ptr().wrapping_add(ROWS_AHEAD * row + line));
        }
        out.copy_from_slice(&from[..head_dim]);
    }
}
