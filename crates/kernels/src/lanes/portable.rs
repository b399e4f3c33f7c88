//! Lanes as a plain array, for the compiler to vectorise.

use super::{LANES, Lanes};

#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// 2^n for n in -126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn read(p: *const f32) -> Self {
        // SAFETY: readable by the caller's promise; f32 arrays have the alignment of f32.
        Self(unsafe { *p.cast() })
    }
    #[inline(always)]
    unsafe fn write(self, p: *mut f32) {
        // SAFETY: writable by the caller's promise.
        unsafe { *p.cast() = self.0 }
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    fn load_part(x: &[f32], fill: f32) -> Self {
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        Self(lanes)
    }
    #[inline(always)]
    fn store_part(self, out: &mut [f32]) {
        out.copy_from_slice(&self.0[..out.len()]);
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // Without an FMA instruction `f32::mul_add` is a slow library call, so two roundings it is.
        self.mul(factor).add(addend)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // Adding 1.5·2^23 leaves no fraction bits, and rounds to even on the way.
        const MAGIC: f32 = 12_582_912.0;
        Self(self.0.map(|x| (x + MAGIC) - MAGIC))
    }
    #[inline(always)]
    fn scale(self, n: Self) -> Self {
        self.zip(n, |x, n| {
            // NaN lanes arrive here too: the cast makes them 0.
            let n = n as i32;
            let half = n >> 1;
            x * power_of_two(half) * power_of_two(n - half)
        })
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }
    #[inline(always)]
    fn with_sign_of(self, sign: Self) -> Self {
        self.zip(sign, f32::copysign)
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let x = self.0;
        let eight: [f32; 8] = std::array::from_fn(|i| x[i] + x[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.0
            .into_iter()
            .fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }
}
