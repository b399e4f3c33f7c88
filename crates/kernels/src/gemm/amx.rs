//! Products of bf16 on AMX tiles: 16 rows by 64 bytes each, multiplied by one instruction.
//!
//! The instructions have no stable intrinsics, so they are written as assembly. Linux lends the tile registers only to a
//! process that asks (arch_prctl, `ARCH_REQ_XCOMP_PERM`).

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use super::tile::Block;

/// Rows of A, and columns of B, in a panel: two tiles of each.
pub(super) const PANEL: usize = 32;
/// Words (pairs of bf16) of k in a tile.
pub(super) const CHUNK: usize = 16;

/// Whether the CPU has bf16 tiles and the operating system has lent them to this process.
pub(crate) fn available() -> bool {
    const XSAVE_ENABLED: u32 = 1 << 27;
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const STATES: u32 = 0b11 << 17; // Tile configuration and tile data.
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & XSAVE_ENABLED == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    if features & BF16 == 0 || features & TILE == 0 {
        return false;
    }
    let enabled: u32;
    // SAFETY: XGETBV is there, since the operating system uses XSAVE.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack));
    };
    enabled & STATES == STATES && permitted()
}

#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_GET_XCOMP_PERM: u64 = 0x1022;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut granted = 0_u64;
    // SAFETY: the first call only asks, the second writes 8 bytes to `granted`.
    let answers = unsafe {
        [
            arch_prctl(ARCH_REQ_XCOMP_PERM, TILE_DATA),
            arch_prctl(ARCH_GET_XCOMP_PERM, (&raw mut granted) as u64),
        ]
    };
    answers == [0, 0] && granted >> TILE_DATA & 1 == 1
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// # Safety
/// As the system call with this code and argument.
#[cfg(target_os = "linux")]
unsafe fn arch_prctl(code: u64, argument: u64) -> i64 {
    const ARCH_PRCTL: i64 = 158;
    let answer: i64;
    // SAFETY: a system call by the ABI of Linux on x86-64; what it does is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") code,
            in("rsi") argument,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_in_row: [u16; 16],
    rows: [u8; 16],
}

/// Every tile of 16 rows and 64 bytes.
static FULL_TILES: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_in_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Computes a block of C. Panels of A are `[chunk][32 rows][16 words]`, panels of B `[word][32 columns]`; `words` is a
/// multiple of [`CHUNK`].
pub(super) fn block(x: &Block<'_>) {
    assert!(x.words.is_multiple_of(CHUNK));
    // SAFETY: the engine is chosen only where `available`; the configuration is a valid one.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const FULL_TILES, options(nostack, readonly)) };
    for (panel, b) in x.b.chunks_exact(x.words * PANEL).enumerate() {
        let col = panel * PANEL;
        let cols = PANEL.min(x.cols - col);
        for (panel, a) in x.a.chunks_exact(x.words * PANEL).enumerate() {
            let row = panel * PANEL;
            let rows = PANEL.min(x.rows - row);
            // SAFETY: the panels hold `words` words; rows and columns are within the block of C that the driver lent.
            unsafe {
                let c = x.c.add(row * x.c_row + col);
                if rows == PANEL && cols == PANEL {
                    tile(x.words / CHUNK, a, b, c, x.c_row, x.add, false);
                } else {
                    edge(x.words / CHUNK, a, b, c, x, rows, cols);
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
    // SAFETY: leaves the tile registers as they were before.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// A tile that reaches past the block is computed aside.
///
/// # Safety
/// `rows` × `cols` of C from `c` on must be within the block `x`, and the panels hold `chunks` chunks.
unsafe fn edge(
    chunks: usize,
    a: &[f32],
    b: &[f32],
    c: *mut f32,
    x: &Block<'_>,
    rows: usize,
    cols: usize,
) {
    let mut aside = [[0.0_f32; PANEL]; PANEL];
    // SAFETY: the caller's promise.
    unsafe {
        if x.add {
            for (i, aside) in aside[..rows].iter_mut().enumerate() {
                aside[..cols].copy_from_slice(std::slice::from_raw_parts(c.add(i * x.c_row), cols));
            }
        }
        tile(
            chunks,
            a,
            b,
            aside.as_mut_ptr().cast(),
            PANEL,
            x.add,
            rows <= 16,
        );
        for (i, aside) in aside[..rows].iter().enumerate() {
            std::slice::from_raw_parts_mut(c.add(i * x.c_row), cols)
                .copy_from_slice(&aside[..cols]);
        }
    }
}

/// 32×32 of C (or only the upper 16×32): four tiles of sums, to which products of two tiles of A and two of B are added.
/// With `resume` the sums start from C.
///
/// # Safety
/// The panels must hold `chunks` chunks, C the whole of 32×32, and the tiles must be configured.
unsafe fn tile(
    chunks: usize,
    a: &[f32],
    b: &[f32],
    c: *mut f32,
    c_row: usize,
    resume: bool,
    upper_only: bool,
) {
    debug_assert!(a.len().min(b.len()) >= chunks * CHUNK * PANEL);
    let lower = c.wrapping_add(16 * c_row);
    let c_row = 4 * c_row;
    // SAFETY: reads the panels and 32×32 of C, writes 32×32 of C, and changes only tile registers besides.
    unsafe {
        if resume {
            asm!(
                "tileloadd tmm0, [{c} + {row}*1]",
                "tileloadd tmm1, [{c} + {row}*1 + 64]",
                "tileloadd tmm2, [{d} + {row}*1]",
                "tileloadd tmm3, [{d} + {row}*1 + 64]",
                c = in(reg) c, d = in(reg) lower, row = in(reg) c_row,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, readonly),
            );
        } else {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, nomem),
            );
        }
        if upper_only {
            asm!(
                "2:",
                "tileloadd tmm4, [{a} + {sixty_four}*1]",
                "tileloadd tmm6, [{b} + {sixty_four}*2]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {sixty_four}*2 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {n}",
                "jnz 2b",
                a = inout(reg) a.as_ptr() => _, b = inout(reg) b.as_ptr() => _, n = inout(reg) chunks => _,
                sixty_four = in(reg) 64_u64,
                options(nostack, readonly),
            );
        } else {
            asm!(
                "2:",
                "tileloadd tmm4, [{a} + {sixty_four}*1]",
                "tileloadd tmm6, [{b} + {sixty_four}*2]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {sixty_four}*2 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {sixty_four}*1 + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {n}",
                "jnz 2b",
                a = inout(reg) a.as_ptr() => _, b = inout(reg) b.as_ptr() => _, n = inout(reg) chunks => _,
                sixty_four = in(reg) 64_u64,
                options(nostack, readonly),
            );
        }
        asm!(
            "tilestored [{c} + {row}*1], tmm0",
            "tilestored [{c} + {row}*1 + 64], tmm1",
            "tilestored [{d} + {row}*1], tmm2",
            "tilestored [{d} + {row}*1 + 64], tmm3",
            c = in(reg) c, d = in(reg) lower, row = in(reg) c_row,
            options(nostack),
        );
    }
}
