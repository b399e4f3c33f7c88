//! The backward pass: scores are computed again, a tile at a time, from the log-sum-exp that the forward pass kept.
//!
//! With P = exp(scale·QKᵀ − lse) and D_i = dO_i·O_i: dV = PᵀdO, dS = scale · P ∘ (dO·Vᵀ − D), dQ = dS·K, dK = dSᵀ·Q.
//! One task handles one head of keys, so that sums into dK and dV have one order.

use super::{AttentionShape, PANEL, ROWS, pack, pack_keys};
use crate::gemm::tile::{Into, Product, Walk};
use crate::lanes::{LANES, dispatch};
use crate::math::exp;
use crate::pool::{Disjoint, parallel_for};
use crate::scratch::scratch;

/// Query rows and keys of one tile.
const TILE_ROWS: usize = 8 * ROWS;
const TILE_KEYS: usize = 8 * PANEL;
/// Distance between rows of a tile; not a multiple of 4 KiB, which would crowd one set of the first-level cache.
const WIDTH: usize = TILE_KEYS + LANES;

pub(super) struct Inputs<'a> {
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    pub(super) out: &'a [f32],
    pub(super) dout: &'a [f32],
    pub(super) lse: &'a [f32],
    pub(super) ranges: &'a [[u32; 2]],
    pub(super) scale: f32,
}

/// One head of keys and the query heads it serves.
struct Task<'a> {
    shape: &'a AttentionShape,
    x: &'a Inputs<'a>,
    batch: usize,
    kv_head: usize,
    dq: *mut f32,
    dk: *mut f32,
    dv: *mut f32,
}

pub(super) fn run(
    shape: &AttentionShape,
    x: &Inputs<'_>,
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    dq.fill(0.0);
    dk.fill(0.0);
    dv.fill(0.0);
    if x.q.is_empty() || x.k.is_empty() {
        return;
    }
    let (dq, dk, dv) = (Disjoint::new(dq), Disjoint::new(dk), Disjoint::new(dv));
    parallel_for(shape.batch * shape.kv_heads, |task| {
        let (batch, kv_head) = (task / shape.kv_heads, task % shape.kv_heads);
        // Tasks write different sequences or different heads of them.
        let (dq, dk, dv) = (dq.as_mut_ptr(), dk.as_mut_ptr(), dv.as_mut_ptr());
        kv_head_backward(&Task {
            shape,
            x,
            batch,
            kv_head,
            dq,
            dk,
            dv,
        });
    });
}

dispatch!(fn kv_head_backward(task: &Task<'_>) = kv_head_body);

#[inline(always)]
fn kv_head_body<V: Product>(t: &Task<'_>) {
    let AttentionShape {
        q_len,
        k_len,
        heads,
        kv_heads,
        head_dim,
        ..
    } = *t.shape;
    let at = (t.batch * k_len * kv_heads + t.kv_head) * head_dim;
    let panels = k_len.div_ceil(PANEL) * PANEL * head_dim;
    let (mut k_packed, mut v_packed) = (scratch(panels), scratch(panels));
    pack_keys(t.shape, &t.x.k[at..], 0, k_len, &mut k_packed);
    pack_keys(t.shape, &t.x.v[at..], 0, k_len, &mut v_packed);
    let (mut p, mut ds) = (scratch(TILE_ROWS * WIDTH), scratch(TILE_ROWS * WIDTH));
    let (mut q_packed, mut dout_packed) =
        (scratch(TILE_ROWS * head_dim), scratch(TILE_ROWS * head_dim));
    for head in t.kv_head * t.shape.group()..(t.kv_head + 1) * t.shape.group() {
        for first in (0..q_len).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(q_len - first);
            let ranges = &t.x.ranges[t.batch * q_len + first..][..rows];
            let Some((low, high)) = span(ranges) else {
                continue;
            };
            let q_at = ((t.batch * q_len + first) * heads + head) * head_dim;
            let block = Block {
                k_at: at,
                q_at,
                ranges,
                lse: &t.x.lse[(t.batch * heads + head) * q_len + first..][..rows],
                k_packed: &k_packed,
                v_packed: &v_packed,
            };
            for row in (0..rows).step_by(ROWS) {
                let (lanes, at, part) = (
                    ROWS.min(rows - row),
                    q_at + row * t.shape.q_row(),
                    row * head_dim,
                );
                let part = part..part + ROWS * head_dim;
                pack(
                    &t.x.q[at..],
                    t.shape.q_row(),
                    lanes,
                    head_dim,
                    ROWS,
                    &mut q_packed[part.clone()],
                );
                pack(
                    &t.x.dout[at..],
                    t.shape.q_row(),
                    lanes,
                    head_dim,
                    ROWS,
                    &mut dout_packed[part],
                );
            }
            let mut d = [0.0; TILE_ROWS];
            for (i, d) in d[..rows].iter_mut().enumerate() {
                let part = q_at + i * t.shape.q_row()..q_at + i * t.shape.q_row() + head_dim;
                *d = dot::<V>(&t.x.dout[part.clone()], &t.x.out[part]);
            }
            for key in (low / PANEL * PANEL..high).step_by(TILE_KEYS) {
                let end = high.min(key + TILE_KEYS);
                score_tile::<V>(
                    t,
                    &block,
                    &q_packed,
                    &dout_packed,
                    &d,
                    key,
                    end,
                    &mut p,
                    &mut ds,
                );
                gradients_of_tile::<V>(t, &block, &p, &ds, key, end);
            }
        }
    }
}

/// Query rows of one head.
struct Block<'a> {
    k_at: usize,
    q_at: usize,
    ranges: &'a [[u32; 2]],
    lse: &'a [f32],
    k_packed: &'a [f32],
    v_packed: &'a [f32],
}

/// The keys that any of the rows attends to.
fn span(ranges: &[[u32; 2]]) -> Option<(usize, usize)> {
    let held = ranges.iter().filter(|[low, high]| low < high);
    let low = held.clone().map(|r| r[0] as usize).min()?;
    Some((low, held.map(|r| r[1] as usize).max()?))
}

#[inline(always)]
fn dot<V: Product>(a: &[f32], b: &[f32]) -> f32 {
    let mut sum = V::splat(0.0);
    for (a, b) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        sum = V::load(a).mul_add(V::load(b), sum);
    }
    sum.sum()
}

/// P and dS for keys `key..end`; zero outside the rows' ranges, up to whole panels.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined part of one loop")]
fn score_tile<V: Product>(
    t: &Task<'_>,
    block: &Block<'_>,
    q_packed: &[f32],
    dout_packed: &[f32],
    d: &[f32],
    key: usize,
    end: usize,
    p: &mut [f32],
    ds: &mut [f32],
) {
    let head_dim = t.shape.head_dim;
    let scale = V::splat(t.x.scale);
    let padded = (end - key).next_multiple_of(PANEL);
    for (row, ranges) in (0..).step_by(ROWS).zip(block.ranges.chunks(ROWS)) {
        let (low, high) = span(ranges).unwrap_or((0, 0));
        for panel in (key..end)
            .step_by(PANEL)
            .filter(|&panel| panel < high && panel + PANEL > low)
        {
            let b = |packed: &[f32]| Walk {
                start: packed[panel * head_dim..].as_ptr(),
                row: 0,
                step: PANEL,
            };
            let a = |packed: &[f32]| Walk {
                start: packed[row * head_dim..].as_ptr(),
                row: 1,
                step: ROWS,
            };
            let (rows, at) = (ranges.len(), row * WIDTH + panel - key);
            assert!(at + (rows - 1) * WIDTH + PANEL <= p.len().min(ds.len()));
            // SAFETY: the panels hold head_dim steps; the tiles were checked.
            unsafe {
                let (p, ds) = (p.as_mut_ptr().add(at), ds.as_mut_ptr().add(at));
                let groups = PANEL / LANES;
                V::product(
                    rows,
                    groups,
                    head_dim,
                    a(q_packed),
                    b(block.k_packed),
                    p,
                    WIDTH,
                    Into::Store,
                );
                V::product(
                    rows,
                    groups,
                    head_dim,
                    a(dout_packed),
                    b(block.v_packed),
                    ds,
                    WIDTH,
                    Into::Store,
                );
            }
        }
        for (i, range) in (row..).zip(ranges) {
            let inside = |x: u32| (x as usize).clamp(key, end) - key;
            let (from, to) = (inside(range[0]), inside(range[1]).max(inside(range[0])));
            let (p, ds) = (
                &mut p[i * WIDTH..i * WIDTH + padded],
                &mut ds[i * WIDTH..i * WIDTH + padded],
            );
            for x in [&mut *p, &mut *ds] {
                x[..from].fill(0.0);
                x[to..].fill(0.0);
            }
            let (shift, d) = (V::splat(-block.lse[i]), V::splat(-d[i]));
            let (ps, p) = p[from..to].as_chunks_mut::<LANES>();
            let (dss, ds) = ds[from..to].as_chunks_mut::<LANES>();
            for (p, ds) in ps.iter_mut().zip(dss) {
                let weight = exp(V::load(p).mul_add(scale, shift));
                weight.store(p);
                V::load(ds).add(d).mul(weight).mul(scale).store(ds);
            }
            let weight = exp(V::load_part(p, 0.0).mul_add(scale, shift));
            weight.store_part(p);
            V::load_part(ds, 0.0)
                .add(d)
                .mul(weight)
                .mul(scale)
                .store_part(ds);
        }
    }
}

/// Adds a tile's share to dQ, dK and dV.
#[inline(always)]
fn gradients_of_tile<V: Product>(
    t: &Task<'_>,
    block: &Block<'_>,
    p: &[f32],
    ds: &[f32],
    key: usize,
    end: usize,
) {
    let (q_row, k_row) = (t.shape.q_row(), t.shape.k_row());
    let groups = t.shape.head_dim / LANES;
    let spans: [(usize, usize); TILE_ROWS / ROWS] = {
        let mut ranges = block.ranges.chunks(ROWS);
        std::array::from_fn(|_| ranges.next().and_then(span).unwrap_or((0, 0)))
    };
    for (row, &(low, high)) in (0..block.ranges.len()).step_by(ROWS).zip(&spans) {
        let (from, to) = (low.clamp(key, end), high.clamp(key, end));
        if from < to {
            let rows = ROWS.min(block.ranges.len() - row);
            let a = Walk {
                start: ds[row * WIDTH + from - key..].as_ptr(),
                row: WIDTH,
                step: 1,
            };
            let b = Walk {
                start: t.x.k[block.k_at + from * k_row..].as_ptr(),
                row: 0,
                step: k_row,
            };
            // SAFETY: rows of this block, keys below k_len.
            unsafe {
                let dq = t.dq.add(block.q_at + row * q_row);
                V::product(rows, groups, to - from, a, b, dq, q_row, Into::Resume);
            }
        }
    }
    for from in (key..end).step_by(ROWS) {
        let keys = ROWS.min(end - from);
        let meets = |&(low, high): &(usize, usize)| low < from + keys && high > from;
        let Some(first) = spans.iter().position(meets) else {
            continue;
        };
        let last = spans.iter().rposition(meets).map_or(first, |last| last) + 1;
        let (first, last) = (first * ROWS, (last * ROWS).min(block.ranges.len()));
        let at = first * WIDTH + from - key;
        let a = |tile: &[f32]| Walk {
            start: tile[at..].as_ptr(),
            row: 1,
            step: WIDTH,
        };
        let b = |x: &[f32]| Walk {
            start: x[block.q_at + first * q_row..].as_ptr(),
            row: 0,
            step: q_row,
        };
        // SAFETY: rows of this block, keys below k_len.
        unsafe {
            let at = block.k_at + from * k_row;
            V::product(
                keys,
                groups,
                last - first,
                a(p),
                b(t.x.dout),
                t.dv.add(at),
                k_row,
                Into::Resume,
            );
            V::product(
                keys,
                groups,
                last - first,
                a(ds),
                b(t.x.q),
                t.dk.add(at),
                k_row,
                Into::Resume,
            );
        }
    }
}
