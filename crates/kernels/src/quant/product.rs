//! The inner loops: a few rows of x against a panel of sixteen rows of weights.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use half::f16;

use super::activations::Activations;
use super::block::Format;
use super::{GROUP, LINE, Line, Weights};
use crate::isa::{Isa, isa};
use crate::lanes::{LANES, Lanes, Portable};
use crate::pool::Disjoint;

/// Lines that a single row asks for ahead of their use: it waits for memory, and the hardware's own look-ahead ends with
/// every page.
const AHEAD: usize = 64;

/// How an instruction set multiplies codes.
trait Dots {
    type V: Lanes;
    /// The codes of a group, eight chunks of four columns.
    type Codes;
    fn unpack<const BITS: u32>(lines: &[Line]) -> Self::Codes;
    /// Σ codes · x over the chunks, less `minus`, for each of the sixteen rows. Exact.
    fn dot<const BITS: u32>(
        codes: &Self::Codes,
        x: &[i8; GROUP],
        chunks: Range<usize>,
        minus: i32,
    ) -> Self::V;
    fn widen(x: &[f16; LANES]) -> Self::V;
}

/// Rows of x against panels of weights; writes their part of `out`.
pub(super) fn panels(
    weights: &Weights,
    range: Range<usize>,
    x: &Activations,
    out: &Disjoint<'_, f32>,
) {
    #[cfg(target_arch = "x86_64")]
    match isa() {
        Isa::Avx512 | Isa::Amx if std::is_x86_feature_detected!("avx512vnni") => {
            // SAFETY: the features were found on this CPU.
            return unsafe { x86::vnni(weights, range, x, out) };
        }
        Isa::Avx512Basic | Isa::Avx512 | Isa::Amx => {
            // SAFETY: the features were found on this CPU.
            return unsafe { x86::avx512(weights, range, x, out) };
        }
        Isa::Avx2 => {
            // SAFETY: the features were found on this CPU.
            return unsafe { x86::avx2(weights, range, x, out) };
        }
        Isa::Portable => {}
    }
    by_format::<Plain<Portable>>(weights, range, x, out);
}

#[inline(always)]
fn by_format<D: Dots>(w: &Weights, range: Range<usize>, x: &Activations, out: &Disjoint<'_, f32>) {
    match w.format {
        Format::Q4_0 => all::<D, 4, 8, 1>(w, range, x, out),
        Format::Q4_1 | Format::Q4K => all::<D, 4, 0, 2>(w, range, x, out),
        Format::Q5_0 => all::<D, 5, 16, 1>(w, range, x, out),
        Format::Q5_1 | Format::Q5K => all::<D, 5, 0, 2>(w, range, x, out),
        Format::Q6K => all::<D, 6, 32, 2>(w, range, x, out),
        Format::Q8_0 => all::<D, 8, 128, 1>(w, range, x, out),
    }
}

/// `ZERO` is the code of weight zero, or 0 where groups have a lowest weight; `COMMONS` the numbers of a group.
#[inline(always)]
fn all<D: Dots, const BITS: u32, const ZERO: i32, const COMMONS: usize>(
    w: &Weights,
    range: Range<usize>,
    x: &Activations,
    out: &Disjoint<'_, f32>,
) {
    let mut first = 0;
    while first < x.rows {
        let left = x.rows - first;
        macro_rules! take {
            ($rows:literal) => {{
                for panel in range.clone() {
                    tile::<D, BITS, ZERO, COMMONS, $rows>(w, panel, x, first, out);
                }
                first += $rows;
            }};
        }
        match left {
            8.. => take!(8),
            4.. => take!(4),
            2.. => take!(2),
            _ => take!(1),
        }
    }
}

/// `ROWS` rows of x against one panel. A row's sums do not depend on how many there are.
#[inline(always)]
fn tile<D: Dots, const BITS: u32, const ZERO: i32, const COMMONS: usize, const ROWS: usize>(
    w: &Weights,
    panel: usize,
    x: &Activations,
    first: usize,
    out: &Disjoint<'_, f32>,
) {
    let groups = w.groups();
    let lines = w.lines.len() / (w.rows.div_ceil(LANES) * groups);
    let panel_lines = &w.lines[panel * groups * lines..][..groups * lines];
    let panel_commons = &w.commons[panel * groups * COMMONS..][..groups * COMMONS];
    let codes: [&[[i8; GROUP]]; ROWS] = std::array::from_fn(|i| {
        x.codes[(first + i) * x.cols..][..x.cols]
            .as_chunks::<GROUP>()
            .0
    });
    let scales: [&[f32]; ROWS] =
        std::array::from_fn(|i| &x.scales[(first + i) * groups..][..groups]);
    let sums: [&[[i32; 2]]; ROWS] =
        std::array::from_fn(|i| &x.sums[(first + i) * groups..][..groups]);
    let mut acc = [D::V::splat(0.0); ROWS];
    for group in 0..groups {
        if ROWS == 1 {
            let ahead = panel_lines.as_ptr().wrapping_add(group * lines + AHEAD);
            for line in 0..lines {
                D::V::prefetch::<false>(ahead.wrapping_add(line).cast());
            }
        }
        let unpacked = D::unpack::<BITS>(&panel_lines[group * lines..][..lines]);
        let common: [D::V; COMMONS] =
            std::array::from_fn(|i| D::widen(&panel_commons[group * COMMONS + i]));
        for (i, acc) in acc.iter_mut().enumerate() {
            let (codes, [left, right]) = (&codes[i][group], sums[i][group]);
            let scale = D::V::splat(scales[i][group]);
            if COMMONS == 1 {
                let dot = D::dot::<BITS>(&unpacked, codes, 0..8, ZERO * (left + right));
                *acc = dot.mul_add(common[0].mul(scale), *acc);
            } else if ZERO == 0 {
                let dot = D::dot::<BITS>(&unpacked, codes, 0..8, 0);
                *acc = dot.mul_add(common[0].mul(scale), *acc);
                let sum = D::V::splat((left + right) as f32).mul(scale);
                *acc = common[1].mul_add(sum, *acc);
            } else {
                let halves = [(0..4, left), (4..8, right)];
                for ((chunks, sum), common) in halves.into_iter().zip(common) {
                    let dot = D::dot::<BITS>(&unpacked, codes, chunks, ZERO * sum);
                    *acc = dot.mul_add(common.mul(scale), *acc);
                }
            }
        }
    }
    let lanes = LANES.min(w.rows - panel * LANES);
    for (i, acc) in acc.into_iter().enumerate() {
        // SAFETY: the panels of different tasks do not overlap.
        let out = unsafe { out.slice((first + i) * w.rows + panel * LANES, lanes) };
        acc.store_part(out);
    }
}

/// The codes of a group, one byte each.
pub(super) fn codes(bits: u32, lines: &[Line]) -> [Line; 8] {
    match bits {
        4 => unpack::<4>(lines),
        5 => unpack::<5>(lines),
        6 => unpack::<6>(lines),
        _ => unpack::<8>(lines),
    }
}

#[inline(always)]
fn unpack<const BITS: u32>(lines: &[Line]) -> [Line; 8] {
    let mut out = [Line([0; LINE]); 8];
    for (chunk, out) in out.iter_mut().enumerate() {
        if BITS == 8 {
            *out = lines[chunk];
            continue;
        }
        let nibbles = &lines[chunk % 4].0;
        for (out, byte) in out.0.iter_mut().zip(nibbles) {
            *out = (byte >> (4 * (chunk / 4))) & 15;
        }
        if BITS == 5 {
            for (i, out) in out.0.iter_mut().enumerate() {
                *out |= ((lines[4].0[8 * chunk + i / 8] >> (i % 8)) & 1) << 4;
            }
        }
        if BITS == 6 {
            for (out, byte) in out.0.iter_mut().zip(&lines[4 + chunk / 4].0) {
                *out |= ((byte >> (2 * (chunk % 4))) & 3) << 4;
            }
        }
    }
    out
}

/// Plain Rust, which the compiler vectorises as it can.
struct Plain<V>(std::marker::PhantomData<V>);

impl<V: Lanes> Dots for Plain<V> {
    type V = V;
    type Codes = [Line; 8];

    #[inline(always)]
    fn unpack<const BITS: u32>(lines: &[Line]) -> [Line; 8] {
        unpack::<BITS>(lines)
    }

    #[inline(always)]
    fn dot<const BITS: u32>(
        codes: &[Line; 8],
        x: &[i8; GROUP],
        chunks: Range<usize>,
        minus: i32,
    ) -> V {
        let mut sums = [-minus; LANES];
        for chunk in chunks {
            let x = &x[4 * chunk..4 * chunk + 4];
            for (sum, codes) in sums.iter_mut().zip(codes[chunk].0.as_chunks::<4>().0) {
                for (code, x) in codes.iter().zip(x) {
                    *sum += i32::from(*code) * i32::from(*x);
                }
            }
        }
        V::load(&sums.map(|sum| sum as f32))
    }

    #[inline(always)]
    fn widen(x: &[f16; LANES]) -> V {
        V::load(&x.map(f16::to_f32))
    }
}
