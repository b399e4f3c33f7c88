//! The loops around the tiles, and how they are shared out among threads.

use super::Mat;
use super::engine::Engine;
use super::pack::Panel;
use super::tile::Block;
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for, threads};
use crate::scratch::{Scratch, scratch};

/// Up to this many rows B is not packed ahead: each thread packs a panel, uses it for every row, and forgets it.
const FEW_ROWS: usize = 48;
/// Rows and columns of C covered by one round of packing, which bounds the working memory.
const ROUND_ROWS: usize = 12 * 1024;
const ROUND_COLS: usize = 16 * 1024;
/// Words packed by one task.
const PACKED_BY_TASK: usize = 16 * 1024;
/// Words of the larger operand that a task packs for itself, to stay in its second-level cache.
const SHARE: usize = 80 * 1024;

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
        let (k, length) = (self.k, self.engine.k_block(self.k));
        (0..k)
            .step_by(length)
            .map(move |first| (first, length.min(k - first)))
    }

    fn panel_of_a(&self, row: usize, k0: usize, k: usize) -> Panel<'_> {
        let width = self.engine.panel_rows();
        let data = self.a.rows_from(row).cols_from(k0);
        let lanes = width.min(self.m - row);
        Panel {
            data: data.data,
            lane_stride: data.row_stride,
            k_stride: data.col_stride,
            lanes,
            k,
            width,
        }
    }

    fn panel_of_b(&self, col: usize, k0: usize, k: usize) -> Panel<'_> {
        let width = self.engine.panel_cols();
        let data = self.b.cols_from(col).rows_from(k0);
        let lanes = width.min(self.n - col);
        Panel {
            data: data.data,
            lane_stride: data.col_stride,
            k_stride: data.row_stride,
            lanes,
            k,
            width,
        }
    }

    /// The bias for columns from `col` on, when this is the last block of k.
    fn bias_from(&self, col: usize, k_end: usize) -> Option<&[f32]> {
        self.bias
            .filter(|_| k_end == self.k)
            .map(|bias| &bias[col..])
    }

    /// Bound by reading B once: every thread streams panels of B past all of A.
    fn few_rows(&self, c: &mut [f32]) {
        let engine = self.engine;
        let (height, width) = (engine.panel_rows(), engine.panel_cols());
        let panels = self.m.div_ceil(height);
        let block_words = panels * height * engine.words(engine.k_block(self.k));
        let mut packed = scratch(block_words * self.k_blocks().count());
        for ((k0, k), out) in self.k_blocks().zip(packed.chunks_exact_mut(block_words)) {
            let words = engine.words(k);
            for (panel, out) in out
                .chunks_exact_mut(words * height)
                .take(panels)
                .enumerate()
            {
                engine.pack_a(self.panel_of_a(panel * height, k0, k), out);
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
                    engine.pack_b(self.panel_of_b(col, k0, k), &mut b);
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
                    self.round(
                        &c,
                        Span {
                            first: row,
                            len: rows,
                        },
                        Span {
                            first: col,
                            len: cols,
                        },
                        k0,
                        k,
                    );
                }
            }
        }
    }

    /// One block of k: the smaller operand is packed first, by all; then each task packs a share of the larger, which
    /// stays in its second-level cache, and multiplies.
    fn round(&self, c: &Disjoint<'_, f32>, rows: Span, cols: Span, k0: usize, k: usize) {
        let engine = self.engine;
        let (height, width) = (engine.panel_rows(), engine.panel_cols());
        let words = engine.words(k);
        let pack_a = |first: usize, out: &mut [f32]| {
            for (panel, out) in out.chunks_exact_mut(words * height).enumerate() {
                engine.pack_a(
                    self.panel_of_a(rows.first + (first + panel) * height, k0, k),
                    out,
                );
            }
        };
        let pack_b = |first: usize, out: &mut [f32]| {
            for (panel, out) in out.chunks_exact_mut(words * width).enumerate() {
                engine.pack_b(
                    self.panel_of_b(cols.first + (first + panel) * width, k0, k),
                    out,
                );
            }
        };
        let block = |i: usize, a: &[f32], j: usize, b: &[f32]| {
            let (row, col) = (rows.first + i * height, cols.first + j * width);
            engine.block(&Block {
                words,
                a,
                b,
                // The blocks of different tasks do not overlap.
                c: c.as_mut_ptr().wrapping_add(row * self.n + col),
                c_row: self.n,
                rows: (rows.first + rows.len - row).min(a.len() / words),
                cols: (cols.first + cols.len - col).min(b.len() / words),
                add: self.accumulate || k0 > 0,
                bias: self.bias_from(col, k0 + k),
            });
        };
        let (down, across) = (rows.len.div_ceil(height), cols.len.div_ceil(width));
        if rows.len >= cols.len {
            let b = packed_by_all(across, words * width, &pack_b);
            let share = share(down, SHARE / (words * height));
            parallel_for(down.div_ceil(share), |task| {
                let first = task * share;
                let mut a = scratch(share.min(down - first) * words * height);
                pack_a(first, &mut a);
                block(first, &a, 0, &b);
            });
        } else {
            let a = packed_by_all(down, words * height, &pack_a);
            let share = share(across, SHARE / (words * width));
            parallel_for(across.div_ceil(share), |task| {
                let first = task * share;
                let mut b = scratch(share.min(across - first) * words * width);
                pack_b(first, &mut b);
                block(0, &a, first, &b);
            });
        }
    }
}

/// How many of `panels` a task takes: at most `most`, and few enough that all threads have several tasks.
fn share(panels: usize, most: usize) -> usize {
    (panels / (6 * threads())).clamp(1, most.max(1))
}

/// `panels` panels of `size` words, packed in parallel.
fn packed_by_all(
    panels: usize,
    size: usize,
    pack: &(impl Fn(usize, &mut [f32]) + Sync),
) -> Scratch {
    let mut packed = scratch(panels * size);
    let by_task = (PACKED_BY_TASK / size).max(1);
    parallel_chunks_mut(&mut packed, by_task * size, |task, out| {
        pack(task * by_task, out);
    });
    packed
}

/// A stretch of rows or columns.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    len: usize,
}
