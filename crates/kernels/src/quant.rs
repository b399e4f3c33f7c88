//! Products with weights of few bits, for inference: `y = x · Wᵀ` with W as it comes in GGUF files.
//!
//! The weights are laid out anew once, at load: sixteen rows side by side, so that one instruction multiplies four
//! columns of all sixteen. Each row of x is rounded to eight bits in groups of 32 columns; products within a group are
//! exact integers, and the groups' sums are added in f32 in the order of the columns. So a row of y has the same bits
//! alone and in any batch, on any number of threads.

mod activations;
mod block;
mod encode;
mod product;

use half::f16;

pub use block::{Format, dequantize};
pub use encode::quantize;

use crate::lanes::LANES;
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for, threads};
use crate::region::{Plain, Region};
use activations::Activations;

/// Columns of a group.
const GROUP: usize = 32;
/// Bytes of one line: four columns of sixteen rows, as codes of eight bits.
const LINE: usize = 4 * LANES;

/// Sixteen rows by four columns of codes, or bits of them.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; LINE]);

// SAFETY: bytes, as many as the alignment.
unsafe impl Plain for Line {}
// SAFETY: bits of numbers.
unsafe impl Plain for [f16; LANES] {}

/// A matrix of weights, laid out for the products.
pub struct Weights {
    rows: usize,
    cols: usize,
    format: Format,
    /// `[panel][group][lines of a group]`.
    lines: Region<Line>,
    /// `[panel][group]`, one for each half of a group where those differ, then the lowest weights where there are any.
    commons: Region<[f16; LANES]>,
}

impl Weights {
    /// Lays out `rows` by `cols` weights, given as the file's blocks, row by row.
    ///
    /// # Panics
    /// When `cols` is not a whole number of blocks, or `blocks` is not as long as they are.
    #[must_use]
    pub fn new(format: Format, rows: usize, cols: usize, blocks: &[u8]) -> Self {
        assert!(
            cols.is_multiple_of(format.weights()),
            "Weights::new: rows of {cols} weights are no whole blocks of {format:?}"
        );
        let row_bytes = cols / format.weights() * format.bytes();
        assert_eq!(
            blocks.len(),
            rows * row_bytes,
            "Weights::new: bytes of {rows}×{cols} weights in {format:?}"
        );
        let (panels, groups) = (rows.div_ceil(LANES), cols / GROUP);
        let (lines, commons) = (lines_of(format), commons_of(format));
        let mut weights = Self {
            rows,
            cols,
            format,
            lines: Region::zeros(panels * groups * lines),
            commons: Region::zeros(panels * groups * commons),
        };
        let groups_by_block = format.weights() / GROUP;
        let all_lines = Disjoint::new(&mut weights.lines);
        let all_commons = Disjoint::new(&mut weights.commons);
        parallel_for(panels, |panel| {
            // SAFETY: each task has its own panel.
            let (panel_lines, panel_commons) = unsafe {
                (
                    all_lines.slice(panel * groups * lines, groups * lines),
                    all_commons.slice(panel * groups * commons, groups * commons),
                )
            };
            for lane in 0..LANES.min(rows - panel * LANES) {
                let row = &blocks[(panel * LANES + lane) * row_bytes..][..row_bytes];
                for group in 0..groups {
                    let block = &row[group / groups_by_block * format.bytes()..][..format.bytes()];
                    let (codes, common) = format.group(block, group % groups_by_block);
                    place(
                        format.bits(),
                        lane,
                        &codes,
                        &mut panel_lines[group * lines..][..lines],
                    );
                    let here = &mut panel_commons[group * commons..][..commons];
                    here[0][lane] = f16::from_f32(common[0].scale);
                    if commons == 2 {
                        here[1][lane] = f16::from_f32(match format.zero() {
                            Some(_) => common[1].scale,
                            None => common[0].low,
                        });
                    }
                }
            }
        });
        weights
    }

    /// Rows: outputs of the product.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: inputs of the product.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How the weights came.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.commons)
    }

    fn groups(&self) -> usize {
        self.cols / GROUP
    }

    fn panels(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Panels of one task: few enough to stay in the second-level cache while all rows of x go past, and tasks enough
    /// for all threads.
    fn share(&self) -> usize {
        let bytes = self.cols * self.format.bits() as usize * LANES / 8;
        let fitting = (256 * 1024 / bytes).max(1);
        self.panels().div_ceil(4 * threads()).clamp(1, fitting)
    }

    /// One row as f32, for embeddings.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not a row long.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(
            row < self.rows && out.len() == self.cols,
            "Weights::row: row {row} of {}×{} into {} values",
            self.rows,
            self.cols,
            out.len()
        );
        let (panel, lane) = (row / LANES, row % LANES);
        for (group, out) in out.chunks_exact_mut(GROUP).enumerate() {
            self.lane(panel, group, lane, &self.codes(panel, group), out);
        }
    }

    /// All rows as f32, for products that need them so.
    ///
    /// # Panics
    /// When `out` is not as long as the matrix.
    pub fn values(&self, out: &mut [f32]) {
        let [rows, cols] = [self.rows, self.cols];
        assert!(
            out.len() == rows * cols,
            "Weights::values: {rows}×{cols} into {} values",
            out.len()
        );
        // A group's codes are unpacked once for all rows of its panel.
        parallel_chunks_mut(out, LANES * cols, |panel, out| {
            for group in 0..self.groups() {
                let codes = self.codes(panel, group);
                for (lane, row) in out.chunks_exact_mut(cols).enumerate() {
                    let out = &mut row[group * GROUP..][..GROUP];
                    self.lane(panel, group, lane, &codes, out);
                }
            }
        });
    }

    /// The codes of sixteen rows' group, a line for each four columns.
    fn codes(&self, panel: usize, group: usize) -> [Line; GROUP / 4] {
        let lines = lines_of(self.format);
        let at = panel * self.groups() + group;
        product::codes(self.format.bits(), &self.lines[at * lines..][..lines])
    }

    /// One row of a group.
    fn lane(
        &self,
        panel: usize,
        group: usize,
        lane: usize,
        codes: &[Line; GROUP / 4],
        out: &mut [f32],
    ) {
        let commons = commons_of(self.format);
        let at = panel * self.groups() + group;
        let common = &self.commons[at * commons..][..commons];
        let first = common[0][lane].to_f32();
        let second = common[commons - 1][lane].to_f32();
        let zero = self.format.zero();
        for (chunk, (out, line)) in out.chunks_exact_mut(4).zip(codes).enumerate() {
            let scale = if commons == 2 && zero.is_some() && chunk >= GROUP / 8 {
                second
            } else {
                first
            };
            for (out, &code) in out.iter_mut().zip(&line.0[4 * lane..]) {
                *out = match zero {
                    Some(zero) => scale * (i32::from(code) - zero) as f32,
                    None => scale * f32::from(code) + second,
                };
            }
        }
    }
}

/// Lines of a group: the codes' bits in planes of four, then one or two more; or all eight.
fn lines_of(format: Format) -> usize {
    match format.bits() {
        4 => 4,
        5 => 5,
        6 => 6,
        _ => 8,
    }
}

/// Numbers that a row's group has in common.
fn commons_of(format: Format) -> usize {
    match format.zero() {
        Some(_) if format != Format::Q6K => 1,
        _ => 2,
    }
}

/// Puts the codes of one row's group into the lines of its panel. Four columns make a chunk: chunk c has its low four bits
/// in line c mod 4, in the low nibbles for c below 4; its fifth bits are the 64 bits at byte 8c of line 4; its fifth and
/// sixth bits are in line 4 + c div 4, at bits 2 · (c mod 4). Codes of eight bits have a line for each chunk.
fn place(bits: u32, lane: usize, codes: &[u8; GROUP], lines: &mut [Line]) {
    for (column, &code) in codes.iter().enumerate() {
        let (chunk, at) = (column / 4, 4 * lane + column % 4);
        if bits == 8 {
            lines[chunk].0[at] = code;
            continue;
        }
        lines[chunk % 4].0[at] |= (code & 15) << (4 * (chunk / 4));
        match bits {
            5 => lines[4].0[8 * chunk + at / 8] |= (code >> 4) << (at % 8),
            6 => lines[4 + chunk / 4].0[at] |= (code >> 4) << (2 * (chunk % 4)),
            _ => {}
        }
    }
}

/// `out = x · Wᵀ`: `x` is `[m, cols]`, `out` `[m, rows]`.
///
/// # Panics
/// When the lengths do not fit each other.
pub fn matmul(x: &[f32], weights: &Weights, out: &mut [f32]) {
    matmul_each(x, [weights], [out]);
}

/// [`matmul`] of one `x` by several matrices, which share the rounding of `x` and a round of the threads.
///
/// # Panics
/// When the lengths do not fit each other.
pub fn matmul_each<const N: usize>(x: &[f32], weights: [&Weights; N], outs: [&mut [f32]; N]) {
    let Some(cols) = weights.first().map(|weights| weights.cols) else {
        return;
    };
    for (weights, out) in weights.iter().zip(&outs) {
        let rows = weights.rows;
        let fit = x.len() * rows == out.len() * cols && weights.cols == cols;
        assert!(
            fit && cols > 0 && x.len().is_multiple_of(cols),
            "quant::matmul: x of {} values by {rows}×{} into {}",
            x.len(),
            weights.cols,
            out.len()
        );
    }
    if x.is_empty() {
        return;
    }
    let x = Activations::new(x, cols);
    let shares = weights.map(Weights::share);
    let mut tasks = 0;
    let firsts: [usize; N] = std::array::from_fn(|i| {
        let first = tasks;
        tasks += weights[i].panels().div_ceil(shares[i]);
        first
    });
    let outs = outs.map(Disjoint::new);
    parallel_for(tasks, |task| {
        let matrix = firsts.partition_point(|first| *first <= task) - 1;
        let (weights, share) = (weights[matrix], shares[matrix]);
        let first = (task - firsts[matrix]) * share;
        let panels = first..weights.panels().min(first + share);
        product::panels(weights, panels, &x, &outs[matrix]);
    });
}
