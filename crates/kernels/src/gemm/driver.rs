//! The loops around the tiles, and how they are shared out among threads.

use super::Mat;
use super::engine::{Engine, k_block};
use super::pack::Panel;
use super::tile::Block;
use crate::pool::{Disjoint, parallel_for, threads};
use crate::scratch::scratch;

/// Up to this many rows B is not packed ahead: each thread packs a panel, uses it for every row, and forgets it.
const FEW_ROWS: usize = 48;
/// Rows and columns of C covered by one round of packing, which bounds the working memory.
const ROUND_ROWS: usize = 12 * 1024;
const ROUND_COLS: usize = 16 * 1024;
/// Words packed by one task.
const PACKED_BY_TASK: usize = 16 * 1024;

/// One product to be computed.
pub(super) struct Product<'a> {
    pub(super) engine: Engine,
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: Mat<'a>,
    pub(super) b: Mat<'a>,
    pub(super) accumulate: bool,
    pub(super) bias: Option<&'a [f32]>,
}

impl Product<'_> {
    pub(super) fn run(&self, c: &mut [f32]) {
        if self.m <= FEW_ROWS {
            self.few_rows(c);
        } else {
            self.packed(c);
        }
    }

    /// The blocks of k in order: (first, length).
    fn k_blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (k, length) = (self.k, k_block(self.k));
        (0..k).step_by(length).map(move |first| (first, length.min(k - first)))
    }

    fn panel_of_a(&self, row: usize, k0: usize, k: usize) -> Panel<'_> {
        let width = self.engine.panel_rows();
        let data = self.a.rows_from(row).cols_from(k0);
        let lanes = width.min(self.m - row);
        Panel { data: data.data, lane_stride: data.row_stride, k_stride: data.col_stride, lanes, k, width }
    }

    fn panel_of_b(&self, col: usize, k0: usize, k: usize) -> Panel<'_> {
        let width = self.engine.panel_cols();
        let data = self.b.cols_from(col).rows_from(k0);
        let lanes = width.min(self.n - col);
        Panel { data: data.data, lane_stride: data.col_stride, k_stride: data.row_stride, lanes, k, width }
    }

    /// The bias for columns from `col` on, when this is the last block of k.
    fn bias_from(&self, col: usize, k_end: usize) -> Option<&[f32]> {
        self.bias.filter(|_| k_end == self.k).map(|bias| &bias[col..])
    }

    /// Bound by reading B once: every thread streams panels of B past all of A.
    fn few_rows(&self, c: &mut [f32]) {
        let engine = self.engine;
        let (height, width) = (engine.panel_rows(), engine.panel_cols());
        let panels = self.m.div_ceil(height);
        let block_words = panels * height * engine.words(k_block(self.k));
        let mut packed = scratch(block_words * self.k_blocks().count());
        for ((k0, k), out) in self.k_blocks().zip(packed.chunks_exact_mut(block_words)) {
            let words = engine.words(k);
            for (panel, out) in out.chunks_exact_mut(words * height).take(panels).enumerate() {
                engine.pack(self.panel_of_a(panel * height, k0, k), out);
            }
        }
        let packed = &*packed;
        let c = Disjoint::new(c);
        // Enough work to be worth handing over: some 64 KiB of B.
        let cols_by_task = (16 * 1024 / self.k).next_multiple_of(width).max(width);
        parallel_for(self.n.div_ceil(cols_by_task), |task| {
            let end = self.n.min((task + 1) * cols_by_task);
            for col in (task * cols_by_task..end).step_by(width) {
                let cols = width.min(self.n - col);
                for ((k0, k), a) in self.k_blocks().zip(packed.chunks_exact(block_words)) {
                    let words = engine.words(k);
                    let mut b = scratch(words * width);
                    engine.pack(self.panel_of_b(col, k0, k), &mut b);
                    engine.block(&Block {
                        words,
                        a: &a[..panels * height * words],
                        b: &b,
                        // The columns of different tasks do not overlap.
                        c: c.as_mut_ptr().wrapping_add(col),
                        c_row: self.n,
                        rows: self.m,
                        cols,
                        add: self.accumulate || k0 > 0,
                        bias: self.bias_from(col, k0 + k),
                    });
                }
            }
        });
    }

    /// Packs both operands a block of k at a time, then shares out blocks of C.
    fn packed(&self, c: &mut [f32]) {
        let c = Disjoint::new(c);
        for row in (0..self.m).step_by(ROUND_ROWS) {
            for col in (0..self.n).step_by(ROUND_COLS) {
                let rows = ROUND_ROWS.min(self.m - row);
                let cols = ROUND_COLS.min(self.n - col);
                for (k0, k) in self.k_blocks() {
                    self.round(&c, Span { first: row, len: rows }, Span { first: col, len: cols }, k0, k);
                }
            }
        }
    }

    fn round(&self, c: &Disjoint<'_, f32>, rows: Span, cols: Span, k0: usize, k: usize) {
        let engine = self.engine;
        let (height, width) = (engine.panel_rows(), engine.panel_cols());
        let words = engine.words(k);
        let (a_panels, b_panels) = (rows.len.div_ceil(height), cols.len.div_ceil(width));
        let (a_panel, b_panel) = (words * height, words * width);
        let mut a_packed = scratch(a_panels * a_panel);
        let mut b_packed = scratch(b_panels * b_panel);
        {
            let (a_out, b_out) = (Disjoint::new(&mut a_packed), Disjoint::new(&mut b_packed));
            let a_by_task = (PACKED_BY_TASK / a_panel).max(1);
            let b_by_task = (PACKED_BY_TASK / b_panel).max(1);
            let a_tasks = a_panels.div_ceil(a_by_task);
            parallel_for(a_tasks + b_panels.div_ceil(b_by_task), |task| {
                if task < a_tasks {
                    for panel in task * a_by_task..a_panels.min((task + 1) * a_by_task) {
                        // SAFETY: each panel is packed by one task.
                        let out = unsafe { a_out.slice(panel * a_panel, a_panel) };
                        engine.pack(self.panel_of_a(rows.first + panel * height, k0, k), out);
                    }
                } else {
                    let task = task - a_tasks;
                    for panel in task * b_by_task..b_panels.min((task + 1) * b_by_task) {
                        // SAFETY: each panel is packed by one task.
                        let out = unsafe { b_out.slice(panel * b_panel, b_panel) };
                        engine.pack(self.panel_of_b(cols.first + panel * width, k0, k), out);
                    }
                }
            });
        }
        let (a_packed, b_packed) = (&*a_packed, &*b_packed);
        // Blocks of C whose operands fit the second-level cache, smaller where there would be too few of them.
        let (mut high, mut wide) = (192_usize.div_ceil(height), 512_usize.div_ceil(width));
        while a_panels.div_ceil(high) * b_panels.div_ceil(wide) < 6 * threads() && (high > 4 || wide > 4) {
            let wider = wide > 1 && wide * width >= high * height;
            if wider { wide = wide.div_ceil(2) } else { high = high.div_ceil(2) }
        }
        let (down, across) = (a_panels.div_ceil(high), b_panels.div_ceil(wide));
        parallel_for(down * across, |task| {
            let (i, j) = (task / across * high, task % across * wide);
            let (i_end, j_end) = (a_panels.min(i + high), b_panels.min(j + wide));
            let (row, col) = (rows.first + i * height, cols.first + j * width);
            engine.block(&Block {
                words,
                a: &a_packed[i * a_panel..i_end * a_panel],
                b: &b_packed[j * b_panel..j_end * b_panel],
                // The blocks of different tasks do not overlap.
                c: c.as_mut_ptr().wrapping_add(row * self.n + col),
                c_row: self.n,
                rows: (rows.first + rows.len).min(rows.first + i_end * height) - row,
                cols: (cols.first + cols.len).min(cols.first + j_end * width) - col,
                add: self.accumulate || k0 > 0,
                bias: self.bias_from(col, k0 + k),
            });
        });
    }
}

/// A stretch of rows or columns.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    len: usize,
}
