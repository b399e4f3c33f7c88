//! The register tile: MR rows by NV × 16 columns of C kept in registers while k runs.

use crate::lanes::{LANES, Lanes};

/// How one word of A meets 16 words of B. A word is an f32, or a pair of bf16 that belong to neighbouring k.
pub(crate) trait Arithmetic {
    type V: Lanes;
    /// `sum + a · b`.
    fn step(a: Self::V, b: Self::V, sum: Self::V) -> Self::V;
}

/// Words are f32.
pub(crate) struct Single<V>(std::marker::PhantomData<V>);

impl<V: Lanes> Arithmetic for Single<V> {
    type V = V;
    #[inline(always)]
    fn step(a: V, b: V, sum: V) -> V {
        a.mul_add(b, sum)
    }
}

/// An operand walked along k: the distance between neighbouring rows (or 0, for B) and between neighbouring k.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) start: *const f32,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// What becomes of the sums.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// They replace C.
    Store,
    /// They are added to C when complete.
    Add,
    /// They start from C, so that a sum may be taken up where an earlier tile left it, to the same bits.
    Resume,
}

/// One tile of C = A·B over `words` steps of k.
///
/// # Safety
/// For i < MR, p < words, j < 16·NV: `a.start + i·a.row + p·a.step` and `b.start + p·b.step + j` must be readable and
/// `c + i·c_row + j` writable.
#[inline(always)]
pub(crate) unsafe fn tile<D: Arithmetic, const MR: usize, const NV: usize>(
    words: usize,
    a: Walk,
    b: Walk,
    c: *mut f32,
    c_row: usize,
    into: Into,
) {
    let mut sums = [[D::V::splat(0.0); NV]; MR];
    if into == Into::Resume {
        for (i, row) in sums.iter_mut().enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                // SAFETY: within the bounds promised by the caller.
                *sum = unsafe { D::V::read(c.add(i * c_row + j * LANES)) };
            }
        }
    }
    // By the time the sums are complete, C has come: its rows lie on as many pages.
    for i in 0..MR {
        for j in 0..NV {
            D::V::prefetch::<true>(c.wrapping_add(i * c_row + j * LANES));
        }
        D::V::prefetch::<true>(c.wrapping_add(i * c_row + NV * LANES - 1));
    }
    let (mut a_at, mut b_at) = (a.start, b.start);
    for _ in 0..words {
        // SAFETY: within the bounds promised by the caller.
        unsafe {
            let mut b_row = [D::V::splat(0.0); NV];
            for (j, lanes) in b_row.iter_mut().enumerate() {
                *lanes = D::V::read(b_at.add(j * LANES));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let a_word = D::V::splat(*a_at.add(i * a.row));
                for (sum, b_lanes) in row.iter_mut().zip(b_row) {
                    *sum = D::step(a_word, b_lanes, *sum);
                }
            }
            a_at = a_at.wrapping_add(a.step);
            b_at = b_at.wrapping_add(b.step);
        }
    }
    for (i, row) in sums.into_iter().enumerate() {
        for (j, sum) in row.into_iter().enumerate() {
            // SAFETY: within the bounds promised by the caller.
            unsafe {
                let at = c.add(i * c_row + j * LANES);
                if into == Into::Add {
                    D::V::read(at).add(sum).write(at);
                } else {
                    sum.write(at);
                }
            }
        }
    }
}

/// As [`tile`], for any number of rows, in as few steps of 12 (or `max`), 8, 4, 2, 1 rows as it takes.
///
/// # Safety
/// As [`tile`], with `rows` in place of MR.
#[inline(always)]
pub(crate) unsafe fn tile_rows<D: Arithmetic, const MAX: usize, const NV: usize>(
    mut rows: usize,
    words: usize,
    mut a: Walk,
    b: Walk,
    mut c: *mut f32,
    c_row: usize,
    into: Into,
) {
    macro_rules! take {
        ($n:expr) => {
            while rows >= $n {
                // SAFETY: at least this many rows are left of those the caller promised.
                unsafe {
                    tile::<D, { $n }, NV>(words, a, b, c, c_row, into);
                    a.start = a.start.wrapping_add($n * a.row);
                    c = c.wrapping_add($n * c_row);
                }
                rows -= $n;
            }
        };
    }
    take!(MAX);
    if MAX > 8 {
        take!(8);
    }
    if MAX > 4 {
        take!(4);
    }
    take!(2);
    take!(1);
}

/// A block of C: packed panels of A against packed panels of B.
pub(crate) struct Block<'a> {
    /// Words of k in the panels.
    pub(crate) words: usize,
    /// Panels of A, one after the other, `words · MR` each.
    pub(crate) a: &'a [f32],
    /// Panels of B, one after the other, `words · NR` each.
    pub(crate) b: &'a [f32],
    /// Top left element of the block in C.
    pub(crate) c: *mut f32,
    pub(crate) c_row: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Add to C rather than overwrite it.
    pub(crate) add: bool,
    /// Added last of all, one per column.
    pub(crate) bias: Option<&'a [f32]>,
}

/// Computes a block tile by tile.
#[inline(always)]
pub(crate) fn block<D: Arithmetic, const MR: usize, const NV: usize>(x: &Block<'_>) {
    let width = NV * LANES;
    let into = if x.add { Into::Add } else { Into::Store };
    for (panel, b) in x.b.chunks_exact(x.words * width).enumerate() {
        let col = panel * width;
        let cols = width.min(x.cols - col);
        let b = Walk {
            start: b.as_ptr(),
            row: 0,
            step: width,
        };
        for (panel, a) in x.a.chunks_exact(x.words * MR).enumerate() {
            let row = panel * MR;
            let rows = MR.min(x.rows - row);
            let a = Walk {
                start: a.as_ptr(),
                row: 1,
                step: MR,
            };
            // SAFETY: the panels hold `words` steps; rows and columns are within the block of C that the driver lent.
            unsafe {
                let c = x.c.add(row * x.c_row + col);
                if rows == MR && cols == width {
                    tile::<D, MR, NV>(x.words, a, b, c, x.c_row, into);
                } else if cols == width {
                    tile_rows::<D, MR, NV>(rows, x.words, a, b, c, x.c_row, into);
                } else {
                    let mut edge = [[0.0_f32; 64]; 16];
                    tile_rows::<D, MR, NV>(
                        rows,
                        x.words,
                        a,
                        b,
                        edge.as_mut_ptr().cast(),
                        64,
                        Into::Store,
                    );
                    for (i, edge) in edge[..rows].iter().enumerate() {
                        for (j, sum) in edge[..cols].iter().enumerate() {
                            let at = c.add(i * x.c_row + j);
                            *at = if x.add { *at + sum } else { *sum };
                        }
                    }
                }
                if let Some(bias) = x.bias {
                    for i in 0..rows {
                        let c = std::slice::from_raw_parts_mut(c.add(i * x.c_row), cols);
                        c.iter_mut()
                            .zip(&bias[col..])
                            .for_each(|(c, bias)| *c += bias);
                    }
                }
            }
        }
    }
}

/// Products of small strided operands, any number of rows by groups of 16 columns.
pub(crate) trait Product: Lanes {
    /// C = A·B over `words` steps of k for `rows` rows and `groups` × 16 columns.
    ///
    /// # Safety
    /// As [`tile`], with `rows` in place of MR and `groups` in place of NV.
    #[expect(clippy::too_many_arguments, reason = "the shape of a BLAS call")]
    unsafe fn product(
        rows: usize,
        groups: usize,
        words: usize,
        a: Walk,
        b: Walk,
        c: *mut f32,
        c_row: usize,
        into: Into,
    );
}

macro_rules! product {
    ($lanes:ty, $max:literal, $groups:literal $(, $features:literal)?) => {
        impl Product for $lanes {
            #[inline(always)]
            unsafe fn product(
                rows: usize,
                groups: usize,
                words: usize,
                a: Walk,
                b: Walk,
                c: *mut f32,
                c_row: usize,
                into: Into,
            ) {
                $(#[target_feature(enable = $features)])?
                #[inline(never)]
                #[expect(clippy::too_many_arguments, reason = "the shape of a BLAS call")]
                unsafe fn run(
                    rows: usize,
                    groups: usize,
                    words: usize,
                    a: Walk,
                    b: Walk,
                    c: *mut f32,
                    c_row: usize,
                    into: Into,
                ) {
                    let mut group = 0;
                    while group < groups {
                        let b = Walk { start: b.start.wrapping_add(group * LANES), ..b };
                        let c = c.wrapping_add(group * LANES);
                        // SAFETY: the caller's promise, narrowed to these columns.
                        unsafe {
                            if groups - group >= $groups {
                                if a.row == 1 {
                                    // With a constant distance the addresses cost no registers.
                                    let a = Walk { row: 1, ..a };
                                    tile_rows::<Single<$lanes>, $max, $groups>(rows, words, a, b, c, c_row, into);
                                } else {
                                    tile_rows::<Single<$lanes>, $max, $groups>(rows, words, a, b, c, c_row, into);
                                }
                                group += $groups;
                            } else {
                                tile_rows::<Single<$lanes>, $max, 1>(rows, words, a, b, c, c_row, into);
                                group += 1;
                            }
                        }
                    }
                }
                // SAFETY: the caller's promise; these lanes exist only where their features do.
                unsafe { run(rows, groups, words, a, b, c, c_row, into) }
            }
        }
    };
}

product!(crate::lanes::Portable, 2, 1);
#[cfg(target_arch = "x86_64")]
product!(crate::lanes::Avx2, 6, 1, "avx2,fma");
#[cfg(target_arch = "x86_64")]
product!(
    crate::lanes::Avx512,
    12,
    2,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
);
