//! Lanes in one 512-bit register.

use std::arch::x86_64::*;

use super::{LANES, Lanes};

#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(crate) __m512);

/// A mask of the first `n` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    assert!(n <= LANES);
    ((1_u32 << n) - 1) as __mmask16
}

/// Runs intrinsics on lanes that exist only where AVX-512 was found.
macro_rules! simd {
    ($e:expr) => {
        // SAFETY: this type is used only beneath functions that enable AVX-512 (see `dispatch`).
        unsafe { $e }
    };
}

impl Lanes for Avx512 {
    #[inline(always)]
    unsafe fn read(p: *const f32) -> Self {
        Self(simd!(_mm512_loadu_ps(p)))
    }
    #[inline(always)]
    unsafe fn write(self, p: *mut f32) {
        simd!(_mm512_storeu_ps(p, self.0));
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self(simd!(_mm512_set1_ps(x)))
    }
    #[inline(always)]
    fn load_part(x: &[f32], fill: f32) -> Self {
        let mask = first(x.len());
        Self(simd!(_mm512_mask_loadu_ps(
            _mm512_set1_ps(fill),
            mask,
            x.as_ptr()
        )))
    }
    #[inline(always)]
    fn store_part(self, out: &mut [f32]) {
        let mask = first(out.len());
        simd!(_mm512_mask_storeu_ps(out.as_mut_ptr(), mask, self.0));
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(simd!(_mm512_add_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(simd!(_mm512_sub_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(simd!(_mm512_mul_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(simd!(_mm512_div_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(simd!(_mm512_sqrt_ps(self.0)))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(simd!(_mm512_fmadd_ps(self.0, factor.0, addend.0)))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(simd!(_mm512_max_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(simd!(_mm512_min_ps(self.0, other.0)))
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(simd!(_mm512_roundscale_ps::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(self.0)))
    }
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        Self(simd!(_mm512_scalef_ps(self.0, n.0)))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(simd!(_mm512_abs_ps(self.0)))
    }
    #[inline(always)]
    fn with_sign_of(self, sign: Self) -> Self {
        Self(simd!({
            let minus = _mm512_set1_ps(-0.0);
            _mm512_or_ps(
                _mm512_andnot_ps(minus, self.0),
                _mm512_and_ps(minus, sign.0),
            )
        }))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        simd!({
            let eight = _mm256_add_ps(
                _mm512_castps512_ps256(self.0),
                _mm512_extractf32x8_ps::<1>(self.0),
            );
            super::avx2::sum_of_eight(eight)
        })
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        simd!(_mm512_reduce_max_ps(self.0))
    }
}
