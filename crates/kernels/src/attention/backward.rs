//! The backward pass: scores are computed again, a tile at a time, from the log-sum-exp that the forward pass kept.
//!
//! With P = exp(scale·QKᵀ − lse) and D_i = dO_i·O_i: dV = PᵀdO, dS = scale · P ∘ (dO·Vᵀ − D), dQ = dS·K, dK = dSᵀ·Q.
//! One task handles one head of keys, so that sums into dK and dV have one order.

use super::{AttentionShape, PANEL, ROWS, gather, pack_rows};
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
    if x.q.is_empty() || x.k.is_empty() {
        dq.fill(0.0);
        dk.fill(0.0);
        dv.fill(0.0);
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

/// Everything of the head is copied together first: as rows of a larger tensor each would lie on another page, and all
/// of them in few sets of the first-level cache.
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
    let (q_row, k_row) = (t.shape.q_row(), t.shape.k_row());
    let panels = k_len.div_ceil(PANEL) * PANEL * head_dim;
    let (mut k_packed, mut v_packed) = (scratch(panels), scratch(panels));
    let [mut k, mut dk, mut dv] = [(); 3].map(|()| scratch(k_len * head_dim));
    gather(&t.x.v[at..], k_row, head_dim, &mut k);
    pack_rows(&k, head_dim, PANEL, &mut v_packed);
    gather(&t.x.k[at..], k_row, head_dim, &mut k);
    pack_rows(&k, head_dim, PANEL, &mut k_packed);
    dk.fill(0.0);
    dv.fill(0.0);
    let keys = Keys {
        k: &k,
        k_packed: &k_packed,
        v_packed: &v_packed,
    };
    let [mut q, mut dout, mut q_packed, mut dout_packed, mut dq] =
        [(); 5].map(|()| scratch(TILE_ROWS * head_dim));
    let [mut p, mut ds] = [(); 2].map(|()| scratch(TILE_ROWS * WIDTH));
    for head in t.kv_head * t.shape.group()..(t.kv_head + 1) * t.shape.group() {
        for first in (0..q_len).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(q_len - first);
            let q_at = ((t.batch * q_len + first) * heads + head) * head_dim;
            let ranges = &t.x.ranges[t.batch * q_len + first..][..rows];
            let dq = &mut dq[..rows * head_dim];
            dq.fill(0.0);
            if let Some((low, high)) = span(ranges) {
                for (x, row, packed) in [
                    (t.x.q, &mut q, &mut q_packed),
                    (t.x.dout, &mut dout, &mut dout_packed),
                ] {
                    gather(&x[q_at..], q_row, head_dim, &mut row[..rows * head_dim]);
                    pack_rows(&row[..rows * head_dim], head_dim, ROWS, packed);
                }
                let mut d = [0.0; TILE_ROWS];
                gather(&t.x.out[q_at..], q_row, head_dim, dq);
                for ((d, dout), out) in d
                    .iter_mut()
                    .zip(dout.chunks_exact(head_dim))
                    .zip(dq.chunks_exact(head_dim))
                {
                    *d = dot::<V>(dout, out);
                }
                dq.fill(0.0);
                let queries = Queries {
                    ranges,
                    lse: &t.x.lse[(t.batch * heads + head) * q_len + first..][..rows],
                    d: &d,
                    q: &q,
                    dout: &dout,
                    q_packed: &q_packed,
                    dout_packed: &dout_packed,
                };
                for key in (low / PANEL * PANEL..high).step_by(TILE_KEYS) {
                    let tile = Tile {
                        queries: &queries,
                        keys: &keys,
                        head_dim,
                        key,
                        end: high.min(key + TILE_KEYS),
                    };
                    tile.scores::<V>(t.x.scale, &mut p, &mut ds);
                    tile.gradients::<V>(&p, &ds, dq, &mut dk, &mut dv);
                }
            }
            // SAFETY: rows of this task's head.
            unsafe { scatter(dq, t.dq.add(q_at), q_row, head_dim) };
        }
    }
    // SAFETY: keys of this task's head.
    unsafe {
        scatter(&dk, t.dk.add(at), k_row, head_dim);
        scatter(&dv, t.dv.add(at), k_row, head_dim);
    }
}

/// The inverse of [`gather`].
///
/// # Safety
/// As many rows of `head_dim` values, `row` apart, must be writable at `out`.
unsafe fn scatter(from: &[f32], out: *mut f32, row: usize, head_dim: usize) {
    for (i, from) in from.chunks_exact(head_dim).enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            out.add(i * row)
                .copy_from_nonoverlapping(from.as_ptr(), head_dim);
        };
    }
}

/// Keys and values of one head.
struct Keys<'a> {
    /// `[k_len, head_dim]`
    k: &'a [f32],
    k_packed: &'a [f32],
    v_packed: &'a [f32],
}

/// Query rows of one head.
struct Queries<'a> {
    ranges: &'a [[u32; 2]],
    lse: &'a [f32],
    d: &'a [f32],
    /// `[rows, head_dim]`, as is `dout`.
    q: &'a [f32],
    dout: &'a [f32],
    q_packed: &'a [f32],
    dout_packed: &'a [f32],
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

/// Query rows against the keys `key..end`.
struct Tile<'a> {
    queries: &'a Queries<'a>,
    keys: &'a Keys<'a>,
    head_dim: usize,
    key: usize,
    end: usize,
}

impl Tile<'_> {
    /// P and dS; zero outside the rows' ranges, up to whole panels.
    #[inline(always)]
    fn scores<V: Product>(&self, scale: f32, p: &mut [f32], ds: &mut [f32]) {
        let Self {
            queries: x,
            keys,
            head_dim,
            key,
            end,
        } = *self;
        let scale = V::splat(scale);
        let padded = (end - key).next_multiple_of(PANEL);
        for (row, ranges) in (0..).step_by(ROWS).zip(x.ranges.chunks(ROWS)) {
            let (low, high) = span(ranges).unwrap_or((0, 0));
            for panel in (key..end)
                .step_by(PANEL)
                .filter(|&panel| panel < high && panel + PANEL > low)
            {
                let at = row * WIDTH + panel - key;
                for (a, b, out) in [
                    (x.q_packed, keys.k_packed, &mut *p),
                    (x.dout_packed, keys.v_packed, &mut *ds),
                ] {
                    let a = Walk {
                        start: a[row * head_dim..][..ROWS * head_dim].as_ptr(),
                        row: 1,
                        step: ROWS,
                    };
                    let b = Walk {
                        start: b[panel * head_dim..][..PANEL * head_dim].as_ptr(),
                        row: 0,
                        step: PANEL,
                    };
                    let rows = ranges.len();
                    let c = out[at..][..(rows - 1) * WIDTH + PANEL].as_mut_ptr();
                    // SAFETY: the panels hold head_dim steps; the slices were checked.
                    unsafe {
                        V::product(rows, PANEL / LANES, head_dim, a, b, c, WIDTH, Into::Store);
                    }
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
                let (shift, d) = (V::splat(-x.lse[i]), V::splat(-x.d[i]));
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

    /// Adds the tile's share to dQ `[rows, head_dim]`, dK and dV `[k_len, head_dim]`.
    #[inline(always)]
    fn gradients<V: Product>(
        &self,
        p: &[f32],
        ds: &[f32],
        dq: &mut [f32],
        dk: &mut [f32],
        dv: &mut [f32],
    ) {
        let Self {
            queries: x,
            keys,
            head_dim,
            key,
            end,
        } = *self;
        let groups = head_dim / LANES;
        let spans: [(usize, usize); TILE_ROWS / ROWS] = {
            let mut ranges = x.ranges.chunks(ROWS);
            std::array::from_fn(|_| ranges.next().and_then(span).unwrap_or((0, 0)))
        };
        // `count` steps over rows of `x` from `first` on.
        let along = |x: &[f32], first: usize, count: usize| Walk {
            start: x[first * head_dim..][..count * head_dim].as_ptr(),
            row: 0,
            step: head_dim,
        };
        for (row, &(low, high)) in (0..x.ranges.len()).step_by(ROWS).zip(&spans) {
            let (from, to) = (low.clamp(key, end), high.clamp(key, end));
            if from < to {
                let rows = ROWS.min(x.ranges.len() - row);
                let a = Walk {
                    start: ds[row * WIDTH + from - key..][..(rows - 1) * WIDTH + to - from]
                        .as_ptr(),
                    row: WIDTH,
                    step: 1,
                };
                let b = along(keys.k, from, to - from);
                let c = dq[row * head_dim..][..rows * head_dim].as_mut_ptr();
                // SAFETY: the slices were checked.
                unsafe {
                    V::product(rows, groups, to - from, a, b, c, head_dim, Into::Resume);
                }
            }
        }
        for from in (key..end).step_by(ROWS) {
            let count = ROWS.min(end - from);
            let meets = |&(low, high): &(usize, usize)| low < from + count && high > from;
            let Some(first) = spans.iter().position(meets) else {
                continue;
            };
            let last = spans.iter().rposition(meets).map_or(first, |last| last) + 1;
            let (first, last) = (first * ROWS, (last * ROWS).min(x.ranges.len()));
            let rows = last - first;
            for (tile, rows_of, sums) in [(p, x.dout, &mut *dv), (ds, x.q, &mut *dk)] {
                let a = Walk {
                    start: tile[first * WIDTH + from - key..][..(rows - 1) * WIDTH + count]
                        .as_ptr(),
                    row: 1,
                    step: WIDTH,
                };
                let b = along(rows_of, first, rows);
                let c = sums[from * head_dim..][..count * head_dim].as_mut_ptr();
                // SAFETY: the slices were checked.
                unsafe { V::product(count, groups, rows, a, b, c, head_dim, Into::Resume) };
            }
        }
    }
}
