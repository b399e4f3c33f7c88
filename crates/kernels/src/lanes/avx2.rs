//! Lanes in two 256-bit registers, with FMA.

use std::arch::x86_64::*;

use super::{LANES, Lanes};

#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(crate) __m256, pub(crate) __m256);

/// Runs intrinsics on lanes that exist only where AVX2 and FMA were found.
macro_rules! simd {
    ($e:expr) => {
        // SAFETY: this type is used only beneath functions that enable AVX2 and FMA (see `dispatch`).
        unsafe { $e }
    };
}

macro_rules! both {
    ($f:ident, $($x:expr),+) => {
        Self(simd!($f($($x.0),+)), simd!($f($($x.1),+)))
    };
}

/// Sum by halving: 4 apart, 2 apart, 1 apart.
///
/// # Safety
/// AVX2 must be there.
#[inline(always)]
pub(super) unsafe fn sum_of_eight(x: __m256) -> f32 {
    simd!({
        let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    })
}

/// `x * 2^n` in two exact steps and one that may round.
#[inline(always)]
unsafe fn scale_eight(x: __m256, n: __m256) -> __m256 {
    simd!({
        let bias = _mm256_set1_epi32(127);
        let n = _mm256_cvtps_epi32(n);
        let half = _mm256_srai_epi32::<1>(n);
        let rest = _mm256_sub_epi32(n, half);
        let half = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias)));
        let rest = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias)));
        _mm256_mul_ps(_mm256_mul_ps(x, half), rest)
    })
}

impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn read(p: *const f32) -> Self {
        Self(simd!(_mm256_loadu_ps(p)), simd!(_mm256_loadu_ps(p.add(8))))
    }
    #[inline(always)]
    unsafe fn write(self, p: *mut f32) {
        simd!({
            _mm256_storeu_ps(p, self.0);
            _mm256_storeu_ps(p.add(8), self.1);
        });
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        let x = simd!(_mm256_set1_ps(x));
        Self(x, x)
    }
    #[inline(always)]
    fn load_part(x: &[f32], fill: f32) -> Self {
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        Self::load(&lanes)
    }
    #[inline(always)]
    fn store_part(self, out: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        out.copy_from_slice(&lanes[..out.len()]);
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        both!(_mm256_add_ps, self, other)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        both!(_mm256_sub_ps, self, other)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        both!(_mm256_mul_ps, self, other)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        both!(_mm256_div_ps, self, other)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        both!(_mm256_sqrt_ps, self)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        both!(_mm256_fmadd_ps, self, factor, addend)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        both!(_mm256_max_ps, self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        both!(_mm256_min_ps, self, other)
    }
    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        Self(
            simd!(_mm256_round_ps::<NEAREST>(self.0)),
            simd!(_mm256_round_ps::<NEAREST>(self.1)),
        )
    }
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        both!(scale_eight, self, n)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        let minus = Self::splat(-0.0);
        both!(_mm256_andnot_ps, minus, self)
    }
    #[inline(always)]
    fn with_sign_of(self, sign: Self) -> Self {
        let minus = Self::splat(-0.0);
        let (size, sign) = (
            both!(_mm256_andnot_ps, minus, self),
            both!(_mm256_and_ps, minus, sign),
        );
        both!(_mm256_or_ps, size, sign)
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        simd!(sum_of_eight(_mm256_add_ps(self.0, self.1)))
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        lanes
            .into_iter()
            .fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
}
