//! The forward pass: blocks of query rows that share most of their keys.

use super::paged::KvPages;
use super::{AttentionShape, DistanceBias, HeadBias, PANEL, ROWS, gather, pack, pack_rows};
use crate::gemm::tile::{Into, Product, Walk};
use crate::lanes::{LANES, dispatch};
use crate::math::exp;
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for, threads};
use crate::scratch::scratch;

/// Query rows given to one task.
pub(super) const ROWS_BY_TASK: usize = 20 * ROWS;
/// With so many heads of keys for each thread, a task takes a whole one, whose copy stays in its second-level cache.
const HEADS_BY_THREAD: usize = 4;
/// Rows whose ranges begin further apart than this are not handled together.
const NEAR: usize = 16;

/// Query rows against one head of keys.
pub(super) struct Head<'a> {
    /// A multiple of the lanes.
    pub(super) head_dim: usize,
    /// Query rows, `q_row` apart (in `out` too).
    pub(super) q: &'a [f32],
    pub(super) q_row: usize,
    pub(super) held: Held<'a>,
    /// Keys that there are.
    pub(super) k_len: usize,
    pub(super) ranges: &'a [[u32; 2]],
    pub(super) scale: f32,
    pub(super) bias: Option<HeadBias<'a>>,
    pub(super) out: *mut f32,
}

/// How the keys and values of one head lie in memory.
#[derive(Clone, Copy)]
pub(super) enum Held<'a> {
    /// Panels of all keys; all values, `row` apart.
    Dense {
        panels: &'a [f32],
        values: &'a [f32],
        row: usize,
    },
    /// In the pages of a sequence.
    Paged {
        pages: &'a KvPages,
        table: &'a [u32],
        head: usize,
    },
}

impl<'a> Held<'a> {
    /// The panel `[head_dim][PANEL]` of the keys from `key`, a multiple of [`PANEL`], on.
    #[inline(always)]
    fn panel(self, key: usize, head_dim: usize) -> &'a [f32] {
        match self {
            Self::Dense { panels, .. } => &panels[key * head_dim..][..PANEL * head_dim],
            Self::Paged { pages, table, head } => pages.keys(table[key / PANEL], head),
        }
    }

    /// Values from `key` on, the distance between them, and the first key whose value does not lie so any more.
    #[inline(always)]
    fn values(self, key: usize) -> (&'a [f32], usize, usize) {
        match self {
            Self::Dense { values, row, .. } => (&values[key * row..], row, usize::MAX),
            Self::Paged { pages, table, head } => {
                let (page, at) = (key / PANEL, key % PANEL);
                let (values, row) = pages.values(table[page], head);
                (&values[at * row..], row, (page + 1) * PANEL)
            }
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a tensor of the operation"
)]
pub(super) fn run(
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
    let AttentionShape {
        batch,
        q_len,
        k_len,
        heads,
        kv_heads,
        head_dim,
    } = *shape;
    if q.is_empty() || k.is_empty() {
        out.fill(0.0);
        lse.fill(f32::NEG_INFINITY);
        return;
    }
    // Keys and values of one head, copied together: panels of all keys, then the values as rows.
    let panels = k_len.div_ceil(PANEL) * PANEL * head_dim;
    let held = panels + k_len * head_dim;
    let copy = |head: usize, held: &mut [f32]| {
        let (b, head) = (head / kv_heads, head % kv_heads);
        let at = (b * k_len * kv_heads + head) * head_dim;
        let (keys, values) = held.split_at_mut(panels);
        gather(&k[at..], shape.k_row(), head_dim, values);
        pack_rows(values, head_dim, PANEL, keys);
        gather(&v[at..], shape.k_row(), head_dim, values);
    };
    let (out, lse) = (Disjoint::new(out), Disjoint::new(lse));
    let rows_of_head = |b: usize, head: usize, first_row: usize, rows: usize, held: &[f32]| {
        let rows = rows.min(q_len - first_row);
        let q_at = ((b * q_len + first_row) * heads + head) * head_dim;
        let head_of_keys = Head {
            head_dim,
            q: &q[q_at..],
            q_row: shape.q_row(),
            held: Held::Dense {
                panels: &held[..panels],
                values: &held[panels..],
                row: head_dim,
            },
            k_len,
            ranges: &ranges[b * q_len + first_row..][..rows],
            scale,
            bias: bias.as_ref().map(|bias| bias.of_head(head, first_row)),
            // Tasks write different rows or different heads of them.
            out: out.as_mut_ptr().wrapping_add(q_at),
        };
        let lse_at = (b * heads + head) * q_len + first_row;
        // SAFETY: each task has its own part.
        head_rows(&head_of_keys, unsafe { lse.slice(lse_at, rows) });
    };
    let group = shape.group();
    if batch * kv_heads >= HEADS_BY_THREAD * threads() {
        parallel_for(batch * kv_heads, |task| {
            let mut held = scratch(held);
            copy(task, &mut held);
            let (b, kv_head) = (task / kv_heads, task % kv_heads);
            for head in kv_head * group..(kv_head + 1) * group {
                rows_of_head(b, head, 0, q_len, &held);
            }
        });
        return;
    }
    let mut all = scratch(batch * kv_heads * held);
    parallel_chunks_mut(&mut all, held, copy);
    let all = &*all;
    let parts = q_len.div_ceil(ROWS_BY_TASK);
    parallel_for(batch * heads * parts, |task| {
        let (pair, part) = (task / parts, task % parts);
        let (b, head) = (pair / heads, pair % heads);
        let held = &all[(b * kv_heads + head / group) * held..][..held];
        rows_of_head(b, head, part * ROWS_BY_TASK, ROWS_BY_TASK, held);
    });
}

/// How many of the first rows are worth handling together, and the keys of all of them.
fn block_of_rows(ranges: &[[u32; 2]]) -> (usize, usize, usize) {
    let [low, high] = ranges[0].map(|x| x as usize);
    let (mut first, mut last, mut rows) = (low, high, 1);
    for range in ranges[1..].iter().take(ROWS - 1) {
        let [l, h] = range.map(|x| x as usize);
        if l >= h || l.abs_diff(low) > NEAR {
            break;
        }
        (first, last, rows) = (first.min(l), last.max(h), rows + 1);
    }
    (rows, first, last)
}

dispatch!(pub(super) fn head_rows(x: &Head<'_>, lse: &mut [f32]) = head_rows_body);

#[inline(always)]
fn head_rows_body<V: Product>(x: &Head<'_>, lse: &mut [f32]) {
    let (head_dim, q_row) = (x.head_dim, x.q_row);
    // Rows a multiple of 4 KiB apart would all fall into one set of the first-level cache.
    let width = x.k_len.next_multiple_of(PANEL) + LANES;
    let mut scores = scratch(ROWS * width);
    let mut q_packed = scratch(ROWS * head_dim);
    let mut row = 0;
    while row < x.ranges.len() {
        if x.ranges[row][0] >= x.ranges[row][1] {
            // SAFETY: a row of this task's part of the output.
            unsafe { std::slice::from_raw_parts_mut(x.out.add(row * q_row), head_dim) }.fill(0.0);
            lse[row] = f32::NEG_INFINITY;
            row += 1;
            continue;
        }
        let (rows, first, last) = block_of_rows(&x.ranges[row..]);
        let q = &x.q[row * q_row..];
        pack(q, q_row, rows, head_dim, ROWS, &mut q_packed);
        score_rows::<V>(x, &q_packed, rows, first, last, &mut scores, width);
        let ranges = &x.ranges[row..row + rows];
        let mut sums = [0.0; ROWS];
        for (i, [low, high]) in ranges.iter().enumerate() {
            let scores = &mut scores[i * width..(i + 1) * width];
            scores[first..*low as usize].fill(0.0);
            scores[*high as usize..last].fill(0.0);
            if let Some(bias) = &x.bias {
                bias.add(scores, row + i, [*low as usize, *high as usize], x.scale);
            }
            let scores = &mut scores[*low as usize..*high as usize];
            let largest = largest_scaled::<V>(scores, x.scale);
            sums[i] = exponentiate::<V>(scores, x.scale, largest);
            lse[row + i] = (f64::from(largest) + f64::from(sums[i]).ln()) as f32;
        }
        let out = x.out.wrapping_add(row * q_row);
        weigh_values::<V>(x, &scores, width, ranges, out);
        for (i, sum) in sums[..rows].iter().enumerate() {
            // SAFETY: a row of this task's part of the output.
            let out = unsafe { std::slice::from_raw_parts_mut(out.add(i * q_row), head_dim) };
            let factor = V::splat(1.0 / sum);
            for out in out.as_chunks_mut::<LANES>().0 {
                // Adding zero turns −0, which a sum that vanishes may or may not be, into 0.
                V::load(out).mul(factor).add(V::splat(0.0)).store(out);
            }
        }
        row += rows;
    }
}

/// Scores of a block of rows for keys `first..last` (and some around them), unscaled.
#[inline(always)]
fn score_rows<V: Product>(
    x: &Head<'_>,
    q_packed: &[f32],
    rows: usize,
    first: usize,
    last: usize,
    scores: &mut [f32],
    width: usize,
) {
    for key in (first / PANEL * PANEL..last).step_by(PANEL) {
        let panel = x.held.panel(key, x.head_dim);
        let a = Walk {
            start: q_packed.as_ptr(),
            row: 1,
            step: ROWS,
        };
        // Rows of padding cost less than one more tile.
        let rows = rows.next_power_of_two().min(ROWS);
        let b = Walk {
            start: panel.as_ptr(),
            row: 0,
            step: PANEL,
        };
        assert!((rows - 1) * width + key + PANEL <= scores.len());
        // SAFETY: the panels hold head_dim steps; the scores were checked.
        unsafe {
            let c = scores.as_mut_ptr().add(key);
            V::product(rows, PANEL / LANES, x.head_dim, a, b, c, width, Into::Store);
        }
    }
}

#[inline(always)]
fn largest_scaled<V: Product>(scores: &[f32], scale: f32) -> f32 {
    let scale = V::splat(scale);
    let (whole, rest) = scores.as_chunks::<LANES>();
    let mut largest = V::splat(f32::NEG_INFINITY);
    for s in whole {
        largest = V::load(s).mul(scale).max(largest);
    }
    // Repeating a score that is there changes no maximum.
    largest = V::load_part(rest, scores[0]).mul(scale).max(largest);
    largest.largest()
}

/// Scores become e^(scale · score − largest); returns their sum.
#[inline(always)]
fn exponentiate<V: Product>(scores: &mut [f32], scale: f32, largest: f32) -> f32 {
    let (scale, shift) = (V::splat(scale), V::splat(-largest));
    let mut sum = V::splat(0.0);
    let (whole, rest) = scores.as_chunks_mut::<LANES>();
    for s in whole {
        let p = exp(V::load(s).mul_add(scale, shift));
        sum = sum.add(p);
        p.store(s);
    }
    let p = exp(V::load_part(rest, 0.0).mul_add(scale, shift));
    p.store_part(rest);
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    sum.add(V::load(&last)).sum()
}

/// Σ_j p_ij v_j for a block of rows. Weights of keys outside a row's range are 0, and do no harm to its sum unless the
/// value is infinite or NaN: then the keys that not all rows share are taken row by row.
#[inline(always)]
fn weigh_values<V: Product>(
    x: &Head<'_>,
    p: &[f32],
    width: usize,
    ranges: &[[u32; 2]],
    out: *mut f32,
) {
    let (q_row, groups) = (x.q_row, x.head_dim / LANES);
    let lows = || ranges.iter().map(|r| r[0] as usize);
    let highs = || ranges.iter().map(|r| r[1] as usize);
    let (first, low) = (lows().min().unwrap_or(0), lows().max().unwrap_or(0));
    let (high, last) = (highs().min().unwrap_or(0), highs().max().unwrap_or(0));
    let part = |row: usize, rows: usize, from: usize, to: usize| {
        let (mut key, mut into) = (from, Into::Store);
        while key < to {
            let (values, step, end) = x.held.values(key);
            let end = end.min(to);
            let a = Walk {
                start: p[row * width + key..].as_ptr(),
                row: width,
                step: 1,
            };
            let b = Walk {
                start: values.as_ptr(),
                row: 0,
                step,
            };
            // SAFETY: weights and values of keys key..end are there for each of the rows.
            unsafe {
                let out = out.add(row * q_row);
                V::product(rows, groups, end - key, a, b, out, q_row, into);
            }
            (key, into) = (end, Into::Resume);
        }
    };
    if finite::<V>(x, first, low.min(last)) && finite::<V>(x, high.max(first), last) {
        return part(0, ranges.len(), first, last);
    }
    for (i, range) in ranges.iter().enumerate() {
        part(i, 1, range[0] as usize, range[1] as usize);
    }
}

/// Whether all values of keys `from..to` are finite.
#[inline(always)]
fn finite<V: Product>(x: &Head<'_>, from: usize, to: usize) -> bool {
    let mut sum = V::splat(0.0);
    for key in from..to {
        let value = &x.held.values(key).0[..x.head_dim];
        for value in value.as_chunks::<LANES>().0 {
            sum = V::load(value).mul_add(V::splat(0.0), sum);
        }
    }
    sum.sum() == 0.0
}
