//! Products of codes by the instructions of x86-64: `vpdpbusd` where it is, else `vpmaddubsw`.

use std::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use super::{Activations, Disjoint, Dots, GROUP, LANES, Line, Weights, by_format};
use crate::lanes::{Avx2, Avx512};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn vnni(w: &Weights, range: Range<usize>, x: &Activations, out: &Disjoint<'_, f32>) {
    by_format::<Vnni>(w, range, x, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn avx512(w: &Weights, range: Range<usize>, x: &Activations, out: &Disjoint<'_, f32>) {
    by_format::<Pairs512>(w, range, x, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn avx2(w: &Weights, range: Range<usize>, x: &Activations, out: &Disjoint<'_, f32>) {
    by_format::<Pairs256>(w, range, x, out);
}

/// The codes of a group. Used only beneath functions that enable AVX-512.
#[inline(always)]
fn unpack<const BITS: u32>(lines: &[Line]) -> [__m512i; 8] {
    let planes = if BITS == 8 { 8 } else { BITS as usize };
    assert!(lines.len() >= planes);
    // SAFETY: AVX-512 is the caller's promise; lines were counted and are aligned.
    unsafe {
        let line = |i: usize| _mm512_load_si512(lines.as_ptr().add(i).cast());
        let mut codes = [_mm512_setzero_si512(); 8];
        if BITS == 8 {
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = line(i);
            }
            return codes;
        }
        let nibble = _mm512_set1_epi8(15);
        for i in 0..4 {
            let both = line(i);
            codes[i] = _mm512_and_si512(both, nibble);
            codes[i + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
        }
        if BITS == 5 {
            let sixteen = _mm512_set1_epi8(16);
            let masks: *const u64 = lines.as_ptr().add(4).cast();
            for (i, codes) in codes.iter_mut().enumerate() {
                let high = u64::from_le(masks.add(i).read());
                *codes = _mm512_mask_add_epi8(*codes, high, *codes, sixteen);
            }
        }
        if BITS == 6 {
            let pair = _mm512_set1_epi8(0x30);
            for half in 0..2 {
                let bits = line(4 + half);
                let at = 4 * half;
                let or =
                    |codes: __m512i, high| _mm512_or_si512(codes, _mm512_and_si512(high, pair));
                codes[at] = or(codes[at], _mm512_slli_epi16::<4>(bits));
                codes[at + 1] = or(codes[at + 1], _mm512_slli_epi16::<2>(bits));
                codes[at + 2] = or(codes[at + 2], bits);
                codes[at + 3] = or(codes[at + 3], _mm512_srli_epi16::<2>(bits));
            }
        }
        codes
    }
}

/// Used only beneath functions that enable AVX-512.
#[inline(always)]
fn widen(x: &[f16; LANES]) -> Avx512 {
    // SAFETY: AVX-512 is the caller's promise; sixteen halves are 32 bytes.
    unsafe { Avx512(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast()))) }
}

/// Four columns of a row of x.
#[inline(always)]
fn word(x: &[i8; GROUP], chunk: usize) -> i32 {
    let [a, b, c, d] = x.as_chunks::<4>().0[chunk];
    i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8])
}

/// Four products of bytes added in each of sixteen lanes (`vpdpbusd`). Used only beneath [`vnni`].
struct Vnni;

impl Dots for Vnni {
    type V = Avx512;
    type Codes = [__m512i; 8];

    #[inline(always)]
    fn unpack<const BITS: u32>(lines: &[Line]) -> [__m512i; 8] {
        unpack::<BITS>(lines)
    }

    #[inline(always)]
    fn dot<const BITS: u32>(
        codes: &[__m512i; 8],
        x: &[i8; GROUP],
        chunks: Range<usize>,
        minus: i32,
    ) -> Avx512 {
        // SAFETY: reached only through `vnni`.
        unsafe {
            // Two chains, since each step waits for the one before.
            let mut sums = [_mm512_set1_epi32(-minus), _mm512_setzero_si512()];
            for chunk in chunks {
                let x = _mm512_set1_epi32(word(x, chunk));
                sums[chunk % 2] = _mm512_dpbusd_epi32(sums[chunk % 2], codes[chunk], x);
            }
            Avx512(_mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], sums[1])))
        }
    }

    #[inline(always)]
    fn widen(x: &[f16; LANES]) -> Avx512 {
        widen(x)
    }
}

/// How many sums of two products 16 bits hold. A code of eight bits is taken as a magnitude of at most 128 and a sign;
/// magnitudes of x are at most 127.
const fn pairs_in_sixteen_bits(bits: u32) -> usize {
    let largest = if bits == 8 { 128 } else { (1 << bits) - 1 };
    i16::MAX as usize / (2 * largest * 127)
}

/// Two products of bytes added in each of 32 lanes of 16 bits (`vpmaddubsw`), which are added up as far as they fit. Used
/// only beneath [`avx512`].
struct Pairs512;

impl Dots for Pairs512 {
    type V = Avx512;
    /// Codes, or for eight bits their magnitudes, and which are negative.
    type Codes = ([__m512i; 8], [__mmask64; 8]);

    #[inline(always)]
    fn unpack<const BITS: u32>(lines: &[Line]) -> Self::Codes {
        let mut codes = unpack::<BITS>(lines);
        let mut negative = [0; 8];
        if BITS == 8 {
            // SAFETY: reached only through `avx512`.
            unsafe {
                for (codes, negative) in codes.iter_mut().zip(&mut negative) {
                    let signed = _mm512_xor_si512(*codes, _mm512_set1_epi8(i8::MIN));
                    *negative = _mm512_movepi8_mask(signed);
                    *codes = _mm512_abs_epi8(signed);
                }
            }
        }
        (codes, negative)
    }

    #[inline(always)]
    fn dot<const BITS: u32>(
        (codes, negative): &Self::Codes,
        x: &[i8; GROUP],
        chunks: Range<usize>,
        minus: i32,
    ) -> Avx512 {
        // SAFETY: reached only through `avx512`.
        unsafe {
            let mut sum = _mm512_set1_epi32(if BITS == 8 { 0 } else { -minus });
            let mut first = chunks.start;
            while first < chunks.end {
                let end = chunks
                    .end
                    .min(first + const { pairs_in_sixteen_bits(BITS) });
                let mut some = pairs_of_512::<BITS>(codes[first], negative[first], word(x, first));
                for chunk in first + 1..end {
                    let more = pairs_of_512::<BITS>(codes[chunk], negative[chunk], word(x, chunk));
                    some = _mm512_add_epi16(some, more);
                }
                sum = _mm512_add_epi32(sum, _mm512_madd_epi16(some, _mm512_set1_epi16(1)));
                first = end;
            }
            Avx512(_mm512_cvtepi32_ps(sum))
        }
    }

    #[inline(always)]
    fn widen(x: &[f16; LANES]) -> Avx512 {
        widen(x)
    }
}

/// Sums of two products each. Used only beneath [`avx512`].
#[inline(always)]
unsafe fn pairs_of_512<const BITS: u32>(codes: __m512i, negative: __mmask64, x: i32) -> __m512i {
    // SAFETY: AVX-512 is the caller's promise.
    unsafe {
        let mut x = _mm512_set1_epi32(x);
        if BITS == 8 {
            x = _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x);
        }
        _mm512_maddubs_epi16(codes, x)
    }
}

/// [`Pairs512`] in halves. Used only beneath [`avx2`].
struct Pairs256;

impl Dots for Pairs256 {
    type V = Avx2;
    type Codes = [[__m256i; 2]; 8];

    #[inline(always)]
    fn unpack<const BITS: u32>(lines: &[Line]) -> Self::Codes {
        // Five bits are four and one in another line.
        let bytes = match BITS {
            5 => super::unpack::<4>(lines),
            _ => super::unpack::<BITS>(lines),
        };
        // SAFETY: reached only through `avx2`; a line is 64 aligned bytes.
        unsafe {
            let mut codes = [[_mm256_setzero_si256(); 2]; 8];
            for (codes, line) in codes.iter_mut().zip(&bytes) {
                let halves: *const __m256i = line.0.as_ptr().cast();
                *codes = [_mm256_load_si256(halves), _mm256_load_si256(halves.add(1))];
            }
            if BITS == 5 {
                let fifth = lines[4].0.as_chunks::<4>().0;
                for (codes, fifth) in codes.iter_mut().zip(fifth.as_chunks::<2>().0) {
                    for (codes, fifth) in codes.iter_mut().zip(fifth) {
                        *codes = _mm256_or_si256(*codes, sixteens(i32::from_le_bytes(*fifth)));
                    }
                }
            }
            codes
        }
    }

    #[inline(always)]
    fn dot<const BITS: u32>(
        codes: &Self::Codes,
        x: &[i8; GROUP],
        chunks: Range<usize>,
        minus: i32,
    ) -> Avx2 {
        // SAFETY: reached only through `avx2`.
        unsafe {
            let mut sums = [_mm256_set1_epi32(if BITS == 8 { 0 } else { -minus }); 2];
            let mut first = chunks.start;
            while first < chunks.end {
                let end = chunks
                    .end
                    .min(first + const { pairs_in_sixteen_bits(BITS) });
                let mut some = pairs_of_256::<BITS>(codes[first], word(x, first));
                for (chunk, codes) in codes.iter().enumerate().take(end).skip(first + 1) {
                    let more = pairs_of_256::<BITS>(*codes, word(x, chunk));
                    some[0] = _mm256_add_epi16(some[0], more[0]);
                    some[1] = _mm256_add_epi16(some[1], more[1]);
                }
                let one = _mm256_set1_epi16(1);
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(some[0], one));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(some[1], one));
                first = end;
            }
            Avx2(_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1]))
        }
    }

    #[inline(always)]
    fn widen(x: &[f16; LANES]) -> Avx2 {
        // SAFETY: reached only through `avx2`; sixteen halves are 32 bytes.
        unsafe {
            let halves: *const __m128i = x.as_ptr().cast();
            Avx2(
                _mm256_cvtph_ps(_mm_loadu_si128(halves)),
                _mm256_cvtph_ps(_mm_loadu_si128(halves.add(1))),
            )
        }
    }
}

/// 16 in each byte whose bit is set. Used only beneath [`avx2`].
#[inline(always)]
unsafe fn sixteens(bits: i32) -> __m256i {
    // SAFETY: AVX2 is the caller's promise.
    unsafe {
        let byte_of_lane = _mm256_setr_epi64x(
            0,
            0x0101_0101_0101_0101,
            0x0202_0202_0202_0202,
            0x0303_0303_0303_0303,
        );
        let bit_of_lane = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of_lane);
        let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of_lane), bit_of_lane);
        _mm256_and_si256(set, _mm256_set1_epi8(16))
    }
}

/// Sums of two products each, in 32 lanes of 16 bits. Used only beneath [`avx2`].
#[inline(always)]
unsafe fn pairs_of_256<const BITS: u32>([low, high]: [__m256i; 2], x: i32) -> [__m256i; 2] {
    // SAFETY: AVX2 is the caller's promise.
    unsafe {
        let x = _mm256_set1_epi32(x);
        if BITS == 8 {
            let sign = _mm256_set1_epi8(i8::MIN);
            let (low, high) = (_mm256_xor_si256(low, sign), _mm256_xor_si256(high, sign));
            return [
                _mm256_maddubs_epi16(_mm256_abs_epi8(low), _mm256_sign_epi8(x, low)),
                _mm256_maddubs_epi16(_mm256_abs_epi8(high), _mm256_sign_epi8(x, high)),
            ];
        }
        [_mm256_maddubs_epi16(low, x), _mm256_maddubs_epi16(high, x)]
    }
}
