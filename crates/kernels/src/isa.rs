//! Which instruction set the kernels run on: found at run time, once; `ONTOGENY_ISA` can lower it.

use std::sync::OnceLock;

/// An instruction set with kernels of its own, from the plainest up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Isa {
    /// What every machine of the architecture has; vectorised by the compiler.
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, and nothing beyond.
    Avx512Basic,
    /// AVX-512 as above, with products of bf16 and of bytes where the CPU has AVX512-BF16 and VNNI.
    Avx512,
    /// AVX-512 as above, and AMX tiles for bf16 products.
    Amx,
}

/// The instruction set in use: the best that the CPU and the operating system allow, or the one named by the
/// environment variable `ONTOGENY_ISA` (`amx`, `avx512`, `avx512-basic`, `avx2`, `portable`) where that is lower.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let best = best();
        match std::env::var("ONTOGENY_ISA").as_deref() {
            Ok("portable") => Isa::Portable,
            Ok("avx2") => best.min(Isa::Avx2),
            Ok("avx512-basic") => best.min(Isa::Avx512Basic),
            Ok("avx512") => best.min(Isa::Avx512),
            _ => best,
        }
    })
}

#[cfg(target_arch = "x86_64")]
fn best() -> Isa {
    use std::is_x86_feature_detected as has;
    if !(has!("avx2") && has!("fma") && has!("f16c")) {
        return Isa::Portable;
    }
    if !(has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")) {
        return Isa::Avx2;
    }
    if has!("avx512bf16") && crate::gemm::amx::available() {
        Isa::Amx
    } else if has!("avx512bf16") || has!("avx512vnni") {
        Isa::Avx512
    } else {
        Isa::Avx512Basic
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn best() -> Isa {
    Isa::Portable
}

/// Whether products of bf16 pairs run in hardware.
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        isa() >= Isa::Avx512 && std::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
