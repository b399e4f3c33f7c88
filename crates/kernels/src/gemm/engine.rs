//! The engines: a register tile with the packing that feeds it, for each instruction set and precision.

use super::Precision;
use super::pack::{self, Panel};
use super::tile::{Block, Single, block};
use crate::isa::{Isa, has_bf16, isa};
use crate::lanes::Portable;

/// A way to compute products. All panels are made of 4-byte words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    /// f32 on any machine; operands rounded to bf16 first when `rounded`.
    Portable { rounded: bool },
    /// f32 with 256-bit FMA.
    Avx2 { rounded: bool },
    /// f32 with 512-bit FMA.
    Avx512 { rounded: bool },
    /// Pairs of bf16 with `vdpbf16ps`.
    Avx512Bf16,
    /// Tiles of bf16.
    Amx,
}

const PORTABLE_ROWS: usize = if cfg!(target_arch = "aarch64") { 6 } else { 2 };
const AVX2_ROWS: usize = 6;
const AVX512_ROWS: usize = 14;

impl Engine {
    pub(crate) fn choose(precision: Precision) -> Self {
        let rounded = precision == Precision::Bf16;
        match isa() {
            Isa::Portable => Self::Portable { rounded },
            Isa::Avx2 => Self::Avx2 { rounded },
            Isa::Amx if rounded => Self::Amx,
            Isa::Avx512 if rounded && has_bf16() => Self::Avx512Bf16,
            Isa::Avx512Basic | Isa::Avx512 | Isa::Amx => Self::Avx512 { rounded },
        }
    }

    /// Length of the blocks into which a sum over `k` is split: as even as possible, and a function of k alone.
    pub(crate) fn k_block(self, k: usize) -> usize {
        // As long as panels of both operands stay in the first-level cache, more or less; on tiles, in the second.
        let longest = if self == Self::Amx { 1536 } else { 384 };
        k.div_ceil(k.div_ceil(longest)).next_multiple_of(32)
    }

    /// Rows of A in a panel.
    pub(crate) fn panel_rows(self) -> usize {
        match self {
            Self::Portable { .. } => PORTABLE_ROWS,
            Self::Avx2 { .. } => AVX2_ROWS,
            Self::Avx512 { .. } | Self::Avx512Bf16 => AVX512_ROWS,
            Self::Amx => 32,
        }
    }

    /// Columns of B in a panel.
    pub(crate) fn panel_cols(self) -> usize {
        match self {
            Self::Portable { .. } | Self::Avx2 { .. } => 16,
            Self::Avx512 { .. } | Self::Avx512Bf16 | Self::Amx => 32,
        }
    }

    /// Words that hold `k` values of one row.
    pub(crate) fn words(self, k: usize) -> usize {
        match self {
            Self::Portable { .. } | Self::Avx2 { .. } | Self::Avx512 { .. } => k,
            Self::Avx512Bf16 => k.div_ceil(2),
            Self::Amx => k.div_ceil(32) * 16,
        }
    }

    /// Packs one panel of A.
    pub(crate) fn pack_a(self, panel: Panel<'_>, out: &mut [f32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => super::pack_avx512::pack_tiles(panel, out),
            _ => self.pack_b(panel, out),
        }
    }

    /// Packs one panel of B (whose lanes are columns).
    pub(crate) fn pack_b(self, panel: Panel<'_>, out: &mut [f32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => super::pack_avx512::pack_bf16(panel, out),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => {
                super::pack_avx512::pack_bf16(panel, out);
                out[panel.k.div_ceil(2) * panel.width..].fill(0.0);
            }
            Self::Portable { rounded } | Self::Avx2 { rounded } | Self::Avx512 { rounded } => {
                match self {
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx512 { .. } => super::pack_avx512::pack_f32(panel, out),
                    _ => pack::pack(panel, out),
                }
                if rounded {
                    pack::round_to_bf16(&mut out[..panel.k * panel.width]);
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Amx => unreachable!("chosen on x86-64 only"),
        }
    }

    /// Computes one block of C.
    pub(crate) fn block(self, x: &Block<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `choose` found the features on this CPU.
            Self::Avx2 { .. } => unsafe { x86::avx2(x) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `choose` found the features on this CPU.
            Self::Avx512 { .. } => unsafe { x86::avx512(x) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `choose` found the features on this CPU.
            Self::Avx512Bf16 => unsafe { x86::avx512_bf16(x) },
            #[cfg(target_arch = "x86_64")]
            Self::Amx => super::amx::block(x),
            _ => block::<Single<Portable>, PORTABLE_ROWS, 1>(x),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m512bh, _mm512_dpbf16_ps};

    use super::super::tile::{Arithmetic, Block, Single, block};
    use super::{AVX2_ROWS, AVX512_ROWS};
    use crate::lanes::{Avx2, Avx512};

    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn avx2(x: &Block<'_>) {
        block::<Single<Avx2>, AVX2_ROWS, 1>(x);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(crate) fn avx512(x: &Block<'_>) {
        block::<Single<Avx512>, AVX512_ROWS, 2>(x);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    pub(crate) fn avx512_bf16(x: &Block<'_>) {
        block::<PairsOfBf16, AVX512_ROWS, 2>(x);
    }

    /// Words are pairs of bf16.
    struct PairsOfBf16;

    impl Arithmetic for PairsOfBf16 {
        type V = Avx512;
        #[inline(always)]
        fn step(a: Avx512, b: Avx512, sum: Avx512) -> Avx512 {
            // SAFETY: reached only through `avx512_bf16`; all are 64 plain bytes.
            unsafe {
                let pairs = |x: Avx512| std::mem::transmute::<_, __m512bh>(x.0);
                Avx512(_mm512_dpbf16_ps(sum.0, pairs(a), pairs(b)))
            }
        }
    }
}
