//! Packing with AVX-512: 16×16 words are turned over in registers.

use std::arch::x86_64::*;

use super::pack::Panel;

/// Packs f32 words. AVX-512 must be there (the engine sees to that).
pub(super) fn pack_f32(x: Panel<'_>, out: &mut [f32]) {
    check(&x, x.k, out);
    // SAFETY: the engine is chosen only where the features are; bounds were checked.
    unsafe { single(x, out.as_mut_ptr()) }
}

/// Packs pairs of bf16, rounded to nearest even. AVX512-BF16 must be there (the engine sees to that).
pub(super) fn pack_bf16(x: Panel<'_>, out: &mut [f32]) {
    check(&x, x.k.div_ceil(2), out);
    // SAFETY: the engine is chosen only where the features are; bounds were checked.
    unsafe { pairs(x, out.as_mut_ptr()) }
}

/// Packs pairs of bf16 for A on tiles: `[chunk][width rows][16 words]`, filled up with zeros. AVX512-BF16 must be there
/// (the engine sees to that).
pub(super) fn pack_tiles(x: Panel<'_>, out: &mut [f32]) {
    check(&x, x.k.div_ceil(32) * 16, out);
    // SAFETY: the engine is chosen only where the features are; bounds were checked.
    unsafe { tiles(x, out.as_mut_ptr()) }
}

fn check(x: &Panel<'_>, words: usize, out: &[f32]) {
    assert!(x.lanes <= x.width && out.len() >= words * x.width);
    if x.lanes > 0 && x.k > 0 {
        assert!((x.lanes - 1) * x.lane_stride + (x.k - 1) * x.k_stride < x.data.len());
    }
}

/// How far ahead operands are fetched: values along a row, or rows. Packing is bound by waiting for them.
const AHEAD_IN_ROW: usize = 96;
const AHEAD_IN_ROWS: usize = 12;

/// Asks for the cache line at `p`, which may lie outside the data.
#[inline(always)]
fn soon(p: *const f32) {
    // SAFETY: a hint, which may name any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
}

/// The first `n` of 16 lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1_u32 << n.min(16)) - 1) as __mmask16
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn single(x: Panel<'_>, out: *mut f32) {
    // SAFETY: masks keep every access within the bounds that `check` established.
    unsafe {
        let data = x.data.as_ptr();
        if x.lane_stride == 1 {
            let (low, high) = (first(x.lanes), first(x.lanes.saturating_sub(16)));
            let (low_room, high_room) = (first(x.width), first(x.width.saturating_sub(16)));
            for p in 0..x.k {
                let at = data.wrapping_add(p * x.k_stride);
                soon(at.wrapping_add(AHEAD_IN_ROWS * x.k_stride));
                let out = out.add(p * x.width);
                _mm512_mask_storeu_ps(out, low_room, _mm512_maskz_loadu_ps(low, at));
                if high_room != 0 {
                    soon(at.wrapping_add(AHEAD_IN_ROWS * x.k_stride + 16));
                    let value = _mm512_maskz_loadu_ps(high, at.wrapping_add(16));
                    _mm512_mask_storeu_ps(out.wrapping_add(16), high_room, value);
                }
            }
            return;
        }
        for lane in (0..x.width).step_by(16) {
            let here = first(x.lanes.saturating_sub(lane));
            let room = first(x.width - lane);
            let data = data.wrapping_add(lane * x.lane_stride);
            let out = out.add(lane);
            if x.k_stride == 1 {
                for p in (0..x.k).step_by(16) {
                    let along = first(x.k - p);
                    let mut rows = [_mm512_setzero_ps(); 16];
                    for (i, row) in rows.iter_mut().enumerate() {
                        if here >> i & 1 == 1 {
                            let at = data.wrapping_add(i * x.lane_stride + p);
                            soon(at.wrapping_add(AHEAD_IN_ROW));
                            *row = _mm512_maskz_loadu_ps(along, at);
                        }
                    }
                    let columns = transpose(rows);
                    for (i, column) in columns.into_iter().take(x.k - p).enumerate() {
                        _mm512_mask_storeu_ps(out.add((p + i) * x.width), room, column);
                    }
                }
            } else {
                for p in 0..x.k {
                    let mut group = [0.0; 16];
                    for (i, value) in group
                        .iter_mut()
                        .enumerate()
                        .take(x.lanes.saturating_sub(lane))
                    {
                        *value = *data.wrapping_add(i * x.lane_stride + p * x.k_stride);
                    }
                    _mm512_mask_storeu_ps(
                        out.add(p * x.width),
                        room,
                        _mm512_loadu_ps(group.as_ptr()),
                    );
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pairs(x: Panel<'_>, out: *mut f32) {
    // SAFETY: masks keep every access within the bounds that `check` established.
    unsafe {
        let data = x.data.as_ptr();
        let words = x.k.div_ceil(2);
        if x.lane_stride == 1 {
            let interleave = interleaved();
            for p in 0..words {
                for lane in (0..x.width).step_by(16) {
                    let at = data.wrapping_add(2 * p * x.k_stride + lane);
                    let here = first(x.lanes.saturating_sub(lane));
                    let odd = if 2 * p + 1 < x.k { here } else { 0 };
                    soon(at.wrapping_add(AHEAD_IN_ROWS * x.k_stride));
                    soon(at.wrapping_add((AHEAD_IN_ROWS + 1) * x.k_stride));
                    let even = _mm512_maskz_loadu_ps(here, at);
                    let odd = _mm512_maskz_loadu_ps(odd, at.wrapping_add(x.k_stride));
                    let halves = as_integers(_mm512_cvtne2ps_pbh(odd, even));
                    let value = _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleave, halves));
                    _mm512_mask_storeu_ps(
                        out.add(p * x.width + lane),
                        first(x.width - lane),
                        value,
                    );
                }
            }
            return;
        }
        for lane in (0..x.width).step_by(16) {
            let here = first(x.lanes.saturating_sub(lane));
            let room = first(x.width - lane);
            let data = data.wrapping_add(lane * x.lane_stride);
            let out = out.add(lane);
            if x.k_stride == 1 {
                for p in (0..x.k).step_by(32) {
                    let (low, high) = (first(x.k - p), first((x.k - p).saturating_sub(16)));
                    let mut rows = [_mm512_setzero_ps(); 16];
                    for (i, row) in rows.iter_mut().enumerate() {
                        if here >> i & 1 == 1 {
                            let at = data.wrapping_add(i * x.lane_stride + p);
                            soon(at.wrapping_add(AHEAD_IN_ROW));
                            soon(at.wrapping_add(AHEAD_IN_ROW + 16));
                            let low = _mm512_maskz_loadu_ps(low, at);
                            let high = _mm512_maskz_loadu_ps(high, at.wrapping_add(16));
                            *row = _mm512_castsi512_ps(as_integers(_mm512_cvtne2ps_pbh(high, low)));
                        }
                    }
                    let columns = transpose(rows);
                    for (i, column) in columns.into_iter().take(words - p / 2).enumerate() {
                        _mm512_mask_storeu_ps(out.add((p / 2 + i) * x.width), room, column);
                    }
                }
            } else {
                let interleave = interleaved();
                for p in 0..words {
                    let mut group = [[0.0; 16]; 2];
                    for (half, group) in group.iter_mut().enumerate() {
                        let p = 2 * p + half;
                        let lanes = if p < x.k {
                            x.lanes.saturating_sub(lane)
                        } else {
                            0
                        };
                        for (i, value) in group.iter_mut().enumerate().take(lanes) {
                            *value = *data.wrapping_add(i * x.lane_stride + p * x.k_stride);
                        }
                    }
                    let (even, odd) = (
                        _mm512_loadu_ps(group[0].as_ptr()),
                        _mm512_loadu_ps(group[1].as_ptr()),
                    );
                    let halves = as_integers(_mm512_cvtne2ps_pbh(odd, even));
                    let value = _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleave, halves));
                    _mm512_mask_storeu_ps(out.add(p * x.width), room, value);
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tiles(x: Panel<'_>, out: *mut f32) {
    // SAFETY: masks keep every read within the bounds that `check` established, and it checked the output.
    unsafe {
        let data = x.data.as_ptr();
        let interleave = interleaved();
        for chunk in 0..x.k.div_ceil(32) {
            let p = chunk * 32;
            let out = out.add(chunk * x.width * 16);
            let (low, high) = (first(x.k - p), first((x.k - p).saturating_sub(16)));
            if x.k_stride == 1 {
                for lane in 0..x.lanes {
                    let at = data.wrapping_add(lane * x.lane_stride + p);
                    soon(at.wrapping_add(AHEAD_IN_ROW));
                    soon(at.wrapping_add(AHEAD_IN_ROW + 16));
                    let (low, high) = (
                        _mm512_maskz_loadu_ps(low, at),
                        _mm512_maskz_loadu_ps(high, at.wrapping_add(16)),
                    );
                    _mm512_storeu_si512(
                        out.add(lane * 16).cast(),
                        as_integers(_mm512_cvtne2ps_pbh(high, low)),
                    );
                }
                for lane in x.lanes..x.width {
                    _mm512_storeu_ps(out.add(lane * 16), _mm512_setzero_ps());
                }
                continue;
            }
            for lane in (0..x.width).step_by(16) {
                // Words of 16 lanes, one row for each word; then turned over.
                if x.lane_stride == 1 {
                    let here = first(x.lanes.saturating_sub(lane));
                    let there = |k: usize| if k < x.k { here } else { 0 };
                    let mut words = [_mm512_setzero_ps(); 16];
                    for (i, words) in words.iter_mut().enumerate() {
                        let (even, odd) = (p + 2 * i, p + 2 * i + 1);
                        let at = data.wrapping_add(even * x.k_stride + lane);
                        soon(at.wrapping_add(32 * x.k_stride));
                        soon(at.wrapping_add(33 * x.k_stride));
                        let even = _mm512_maskz_loadu_ps(there(even), at);
                        let odd = _mm512_maskz_loadu_ps(there(odd), at.wrapping_add(x.k_stride));
                        let halves = as_integers(_mm512_cvtne2ps_pbh(odd, even));
                        *words = _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleave, halves));
                    }
                    for (i, column) in transpose(words).into_iter().enumerate() {
                        _mm512_storeu_ps(out.add((lane + i) * 16), column);
                    }
                    continue;
                }
                let mut words = [[0.0_f32; 16]; 16];
                let lanes = x.lanes.saturating_sub(lane).min(16);
                let part = Panel {
                    data: &x.data[(lane * x.lane_stride + p * x.k_stride).min(x.data.len())..],
                    ..x
                };
                if lanes > 0 {
                    pairs(
                        Panel {
                            lanes,
                            k: 32.min(x.k - p),
                            width: 16,
                            ..part
                        },
                        words.as_mut_ptr().cast(),
                    );
                }
                let columns = transpose(words.map(|row| _mm512_loadu_ps(row.as_ptr())));
                for (i, column) in columns.into_iter().enumerate() {
                    _mm512_storeu_ps(out.add((lane + i) * 16), column);
                }
            }
        }
    }
}

#[inline(always)]
fn as_integers(x: __m512bh) -> __m512i {
    // SAFETY: both are 64 plain bytes.
    unsafe { std::mem::transmute(x) }
}

/// Indices that bring 16 low and 16 high halves together pair by pair.
#[inline(always)]
fn interleaved() -> __m512i {
    let indices: [u16; 32] = std::array::from_fn(|i| (i / 2 + 16 * (i % 2)) as u16);
    // SAFETY: both are 64 plain bytes.
    unsafe { std::mem::transmute(indices) }
}

/// Turns 16 rows of 16 words into 16 columns.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn transpose(r: [__m512; 16]) -> [__m512; 16] {
    let mut t = r;
    // 2×2 within quarters, then 4×4 within quarters, then the quarters.
    for i in (0..16).step_by(4) {
        let (a, b, c, d) = (r[i], r[i + 1], r[i + 2], r[i + 3]);
        let (ab0, ab1) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd0, cd1) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let join = |lo, hi| (_mm512_castps_pd(lo), _mm512_castps_pd(hi));
        let ((p, q), (s, u)) = (join(ab0, cd0), join(ab1, cd1));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, q));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, q));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(s, u));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(s, u));
    }
    let mut out = t;
    for i in 0..4 {
        let (a, b, c, d) = (t[i], t[i + 4], t[i + 8], t[i + 12]);
        let (ab0, ab1) = (
            _mm512_shuffle_f32x4::<0x88>(a, b),
            _mm512_shuffle_f32x4::<0xdd>(a, b),
        );
        let (cd0, cd1) = (
            _mm512_shuffle_f32x4::<0x88>(c, d),
            _mm512_shuffle_f32x4::<0xdd>(c, d),
        );
        out[i] = _mm512_shuffle_f32x4::<0x88>(ab0, cd0);
        out[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab1, cd1);
        out[i + 8] = _mm512_shuffle_f32x4::<0xdd>(ab0, cd0);
        out[i + 12] = _mm512_shuffle_f32x4::<0xdd>(ab1, cd1);
    }
    out
}
