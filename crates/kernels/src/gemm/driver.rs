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
/// Words of the smaller operand that are packed at a time, to stay in the cache that cores share.
const PACKED: usize = 1024 * 1024;
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

    /// Packs the smaller operand, as many blocks of k at a time as caches hold, then shares out blocks of C.
    fn packed(&self, c: &mut [f32]) {
        let c = Disjoint::new(c);
        let blocks: Vec<_> = self.k_blocks().collect();
        let words = self.engine.words(self.engine.k_block(self.k));
        for row in (0..self.m).step_by(ROUND_ROWS) {
            for col in (0..self.n).step_by(ROUND_COLS) {
                let rows = Span {
                    first: row,
                    len: ROUND_ROWS.min(self.m - row),
                };
                let cols = Span {
                    first: col,
                    len: ROUND_COLS.min(self.n - col),
                };
                let held = PACKED / (rows.len.min(cols.len) * words);
                for blocks in blocks.chunks(held.max(1)) {
                    self.round(&c, rows, cols, blocks);
                }
            }
        }
    }

    /// Some blocks of k: the smaller operand is packed first, by all; then each task takes a share of the larger and,
    /// block by block, packs it, so that it stays in its second-level cache as C does, and multiplies.
    fn round(&self, c: &Disjoint<'_, f32>, rows: Span, cols: Span, blocks: &[(usize, usize)]) {
        let engine = self.engine;
        let a = Side {
            engine,
            width: engine.panel_rows(),
            len: rows.len,
            pack: &|lane, k0, k, out: &mut [f32]| {
                engine.pack_a(self.panel_of_a(rows.first + lane, k0, k), out);
            },
        };
        let b = Side {
            engine,
            width: engine.panel_cols(),
            len: cols.len,
            pack: &|lane, k0, k, out: &mut [f32]| {
                engine.pack_b(self.panel_of_b(cols.first + lane, k0, k), out);
            },
        };
        let down = rows.len >= cols.len;
        let (all, shared) = if down { (b, a) } else { (a, b) };
        let packed = all.packed_by_all(blocks);
        let size = all.panels() * all.width * engine.words(blocks[0].1);
        let most = SHARE / (engine.words(blocks[0].1) * shared.width);
        let share = share(shared.panels(), most);
        parallel_for(shared.panels().div_ceil(share), |task| {
            let panels = task * share..shared.panels().min((task + 1) * share);
            let first = panels.start * shared.width;
            for (&(k0, k), all_packed) in blocks.iter().zip(packed.chunks(size)) {
                let words = engine.words(k);
                let mut share = scratch(panels.len() * words * shared.width);
                shared.pack(panels.start, (k0, k), &mut share);
                let all_packed = &all_packed[..all.panels() * words * all.width];
                let (row, col) = if down { (first, 0) } else { (0, first) };
                let (a, b): (&[f32], &[f32]) = if down {
                    (&share, all_packed)
                } else {
                    (all_packed, &share)
                };
                engine.block(&Block {
                    words,
                    a,
                    b,
                    // The blocks of different tasks do not overlap.
                    c: c.as_mut_ptr()
                        .wrapping_add((rows.first + row) * self.n + cols.first + col),
                    c_row: self.n,
                    rows: (rows.len - row).min(a.len() / words),
                    cols: (cols.len - col).min(b.len() / words),
                    add: self.accumulate || k0 > 0,
                    bias: self.bias_from(cols.first + col, k0 + k),
                });
            }
        });
    }
}

type Pack<'a> = dyn Fn(usize, usize, usize, &mut [f32]) + Sync + 'a;

/// One operand of a round.
#[derive(Clone, Copy)]
struct Side<'a> {
    engine: Engine,
    /// Lanes of a panel.
    width: usize,
    /// Lanes in all.
    len: usize,
    /// Packs the panel from this lane on: (lane, first k, number of k, panel).
    pack: &'a Pack<'a>,
}

impl Side<'_> {
    fn panels(&self) -> usize {
        self.len.div_ceil(self.width)
    }

    /// Packs as many panels, from `first` on, as `out` holds.
    fn pack(&self, first: usize, (k0, k): (usize, usize), out: &mut [f32]) {
        let size = self.engine.words(k) * self.width;
        for (panel, out) in (first..).zip(out.chunks_exact_mut(size)) {
            (self.pack)(panel * self.width, k0, k, out);
        }
    }

    /// Every panel of every block, in parallel. Blocks lie as far apart as the first, which is the longest, is long.
    fn packed_by_all(&self, blocks: &[(usize, usize)]) -> Scratch {
        let size = self.panels() * self.width * self.engine.words(blocks[0].1);
        let by_task = (PACKED_BY_TASK * self.panels() / size).max(1);
        let mut packed = scratch(blocks.len() * size);
        let mut tasks = Vec::new();
        for (&(k0, k), block) in blocks.iter().zip(packed.chunks_mut(size)) {
            let panel = self.width * self.engine.words(k);
            let parts = block[..self.panels() * panel].chunks_mut(by_task * panel);
            tasks.extend(
                (0..)
                    .step_by(by_task)
                    .zip(parts)
                    .map(|(first, part)| (first, (k0, k), part)),
            );
        }
        parallel_chunks_mut(&mut tasks, 1, |_, tasks| {
            for (first, block, part) in tasks {
                self.pack(*first, *block, part);
            }
        });
        drop(tasks);
        packed
    }
}

/// How many of `panels` a task takes: at most `most`, and few enough that all threads have several tasks.
fn share(panels: usize, most: usize) -> usize {
    (panels / (6 * threads())).clamp(1, most.max(1))
}

/// A stretch of rows or columns.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    len: usize,
}
