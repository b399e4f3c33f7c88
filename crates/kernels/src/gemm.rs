//! Matrix products over strided views, in f32 or in bf16 with f32 accumulation.
//!
//! The loops follow Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): both operands
//! are copied into panels that a register tile walks along k.
//!
//! **Batch invariance.** Each element of C is a sum over k in blocks whose lengths depend on k alone; within a block the
//! terms are added one after the other, and the blocks' sums are added in order (on AMX tiles, each block starts from
//! what is there). Neither m, n, the place of a row in the
//! batch, the tile it falls in, nor the number of threads has a say, so a row has the same bits in every batch.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
mod driver;
pub(crate) mod engine;
pub(crate) mod pack;
#[cfg(target_arch = "x86_64")]
mod pack_avx512;
mod peak;
pub(crate) mod tile;

pub use peak::peak;

/// A strided view of a matrix: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    /// The values, of which the view uses some or all.
    pub data: &'a [f32],
    /// Distance between an element and the one below it.
    pub row_stride: usize,
    /// Distance between an element and the one to its right.
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A contiguous row-major matrix with `cols` columns.
    pub fn row_major(data: &'a [f32], cols: usize) -> Self {
        Self {
            data,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The same values with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    fn rows_from(self, row: usize) -> Self {
        Self {
            data: &self.data[row * self.row_stride..],
            ..self
        }
    }

    fn cols_from(self, col: usize) -> Self {
        Self {
            data: &self.data[col * self.col_stride..],
            ..self
        }
    }

    fn check(&self, name: &str, rows: usize, cols: usize) {
        if rows > 0 && cols > 0 {
            let last = (rows - 1) * self.row_stride + (cols - 1) * self.col_stride;
            assert!(
                last < self.data.len(),
                "matmul: {name} as {rows}×{cols} with strides ({}, {}) needs {} values, got {}",
                self.row_stride,
                self.col_stride,
                last + 1,
                self.data.len()
            );
        }
    }
}

/// How the products of a matrix multiplication are formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// Operands rounded to the nearest bf16 (ties to even), sums in f32. Where the CPU has no such instruction the
    /// rounded operands are multiplied in f32.
    Bf16,
}

/// C = A·B, or C + A·B when `accumulate`, plus `bias` on every row.
///
/// `a` is m×k, `b` is k×n, `c` is row-major m×n, `bias` has length n and is added once.
///
/// # Panics
/// When `c` is not m·n long, `bias` is not n long, or a view reaches past its data.
#[expect(clippy::too_many_arguments, reason = "the shape of a BLAS call")]
pub fn matmul(
    precision: Precision,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: &mut [f32],
    accumulate: bool,
    bias: Option<&[f32]>,
) {
    a.check("A", m, k);
    b.check("B", k, n);
    assert_eq!(c.len(), m * n, "matmul: C must be {m}×{n}");
    if let Some(bias) = bias {
        assert_eq!(
            bias.len(),
            n,
            "matmul: bias must have one value per column of C"
        );
    }
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        for row in c.chunks_exact_mut(n) {
            if !accumulate {
                row.fill(0.0);
            }
            if let Some(bias) = bias {
                row.iter_mut().zip(bias).for_each(|(c, b)| *c += b);
            }
        }
        return;
    }
    let engine = engine::Engine::choose(precision);
    driver::Product {
        engine,
        m,
        n,
        k,
        a,
        b,
        accumulate,
        bias,
    }
    .run(c);
}
