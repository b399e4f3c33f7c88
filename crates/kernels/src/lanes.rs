//! Sixteen f32 lanes, the unit in which every kernel here is written.
//!
//! A kernel is one `#[inline(always)]` body generic over [`Lanes`]; [`dispatch`](crate::lanes::dispatch) instantiates it
//! once for each instruction set and picks one at run time. Lane `i` always takes the same steps in the same order, so
//! the instruction sets differ only in whether `mul_add` rounds once or twice.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// Number of lanes.
pub(crate) const LANES: usize = 16;

/// Sixteen f32 values. Implementations for an instruction set may be used only beneath a `#[target_feature]` function
/// that enables it; the macro `dispatch` sees to that.
pub(crate) trait Lanes: Copy {
    /// Reads 16 values from `p`.
    ///
    /// # Safety
    /// `p..p + 16` must be readable.
    unsafe fn read(p: *const f32) -> Self;
    /// Writes 16 values to `p`.
    ///
    /// # Safety
    /// `p..p + 16` must be writable.
    unsafe fn write(self, p: *mut f32);
    /// Every lane `x`.
    fn splat(x: f32) -> Self;
    /// The values of `x` in the first `x.len() ≤ 16` lanes, `fill` in the others.
    fn load_part(x: &[f32], fill: f32) -> Self;
    /// Stores the first `out.len() ≤ 16` lanes.
    fn store_part(self, out: &mut [f32]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
    /// `self * factor + addend`, rounded once where the instruction set can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self > other ? self : other`, so `other` when either is NaN.
    fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`, so `other` when either is NaN.
    fn min(self, other: Self) -> Self;
    /// Nearest integer, ties to even; for magnitudes below 2^22.
    fn round(self) -> Self;
    /// `self * 2^n` for integral `n` in -252..=254, rounded once.
    fn scale(self, n: Self) -> Self;
    fn abs(self) -> Self;
    /// Magnitude of `self`, sign of `sign`.
    fn with_sign_of(self, sign: Self) -> Self;
    /// The sum of all lanes, by halving: lanes 8 apart, then 4, 2, 1.
    fn sum(self) -> f32;
    /// The largest lane (any order gives the same).
    fn largest(self) -> f32;

    /// Asks for the cache line at `p`, which will be read soon, or written.
    #[inline(always)]
    fn prefetch<const WRITE: bool>(p: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: hints, which may name any address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
            if WRITE {
                _mm_prefetch::<_MM_HINT_ET0>(p.cast());
            } else {
                _mm_prefetch::<_MM_HINT_T0>(p.cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
    /// Sixteen values from an array.
    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        // SAFETY: the array has 16 values.
        unsafe { Self::read(x.as_ptr()) }
    }
    /// Sixteen values into an array.
    #[inline(always)]
    fn store(self, out: &mut [f32; LANES]) {
        // SAFETY: the array has 16 places.
        unsafe { self.write(out.as_mut_ptr()) }
    }
}

/// Defines a function that runs a body generic over [`Lanes`] on the instruction set in use:
/// `dispatch!(pub(crate) fn name(x: &[f32]) -> f32 = body);`
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<$crate::lanes::Avx512>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<$crate::lanes::Avx2>($($arg),*)
                }
                match $crate::isa::isa() {
                    $crate::isa::Isa::Amx | $crate::isa::Isa::Avx512 | $crate::isa::Isa::Avx512Basic => {
                        // SAFETY: `isa` found the features on this CPU.
                        return unsafe { avx512($($arg),*) };
                    }
                    // SAFETY: `isa` found the features on this CPU.
                    $crate::isa::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::isa::Isa::Portable => {}
                }
            }
            $body::<$crate::lanes::Portable>($($arg),*)
        }
    };
}
pub(crate) use dispatch;
