//! The blocks in which GGUF files keep weights of few bits: a few numbers that all weights of a block share, and a code
//! for each weight. A weight is `scale · code + low`, whatever the format.

use half::f16;

/// A block format of GGUF, by its name there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Four bits about zero, one scale for 32 weights.
    Q4_0,
    /// Four bits from a lowest weight up.
    Q4_1,
    /// Five bits about zero.
    Q5_0,
    /// Five bits from a lowest weight up.
    Q5_1,
    /// Eight bits, signed.
    Q8_0,
    /// Four bits; eight groups of 32 weights, whose scales and lowest weights have six bits themselves.
    Q4K,
    /// Five bits, likewise.
    Q5K,
    /// Six bits about zero; sixteen groups of 16 weights, whose scales have eight bits.
    Q6K,
}

/// What the weights of a group have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Common {
    pub(super) scale: f32,
    pub(super) low: f32,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// Weights of a block.
    #[must_use]
    pub fn weights(self) -> usize {
        match self {
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
            _ => 32,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Bits of a code.
    pub(super) fn bits(self) -> u32 {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q4K => 4,
            Self::Q5_0 | Self::Q5_1 | Self::Q5K => 5,
            Self::Q6K => 6,
            Self::Q8_0 => 8,
        }
    }

    /// The code of weight zero, where the codes lie about zero.
    pub(super) fn zero(self) -> Option<i32> {
        match self {
            Self::Q4_0 => Some(8),
            Self::Q5_0 => Some(16),
            Self::Q6K => Some(32),
            Self::Q8_0 => Some(128),
            _ => None,
        }
    }

    /// Reads group `group` of 32 weights of a block: codes, and what each half of them has in common.
    pub(super) fn group(self, block: &[u8], group: usize) -> ([u8; 32], [Common; 2]) {
        let number = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let mut codes = [0_u8; 32];
        // The first half of the group in low nibbles, the second in high ones.
        let split = |codes: &mut [u8; 32], nibbles: &[u8]| {
            for (i, byte) in nibbles.iter().enumerate() {
                codes[i] = byte & 15;
                codes[i + 16] = byte >> 4;
            }
        };
        let about_zero = |scale: f32| {
            let zero = self.zero().unwrap_or(0) as f32;
            let low = -zero * scale;
            [Common { scale, low }; 2]
        };
        let common = match self {
            Self::Q4_0 => {
                split(&mut codes, &block[2..18]);
                about_zero(number(0))
            }
            Self::Q4_1 => {
                split(&mut codes, &block[4..20]);
                [Common {
                    scale: number(0),
                    low: number(2),
                }; 2]
            }
            Self::Q5_0 => {
                split(&mut codes, &block[6..22]);
                fifth_bits(&mut codes, &block[2..6]);
                about_zero(number(0))
            }
            Self::Q5_1 => {
                split(&mut codes, &block[8..24]);
                fifth_bits(&mut codes, &block[4..8]);
                [Common {
                    scale: number(0),
                    low: number(2),
                }; 2]
            }
            Self::Q8_0 => {
                for (code, byte) in codes.iter_mut().zip(&block[2..34]) {
                    *code = byte.wrapping_add(128);
                }
                about_zero(number(0))
            }
            Self::Q4K | Self::Q5K => {
                let nibbles = if self == Self::Q4K { 16 } else { 48 };
                // Groups 2j and 2j+1 are the low and the high nibbles of the same 32 bytes.
                let bytes = &block[nibbles + 32 * (group / 2)..][..32];
                for (code, byte) in codes.iter_mut().zip(bytes) {
                    *code = if group.is_multiple_of(2) {
                        byte & 15
                    } else {
                        byte >> 4
                    };
                }
                if self == Self::Q5K {
                    for (code, high) in codes.iter_mut().zip(&block[16..48]) {
                        *code |= (high >> group & 1) << 4;
                    }
                }
                let (scale, lowest) = six_bits(&block[4..16], group);
                let (scale, low) = (number(0) * f32::from(scale), -number(2) * f32::from(lowest));
                [Common { scale, low }; 2]
            }
            Self::Q6K => {
                // Halves of 128 weights; in each, four groups share 64 bytes of low nibbles and 32 of high pairs.
                let (half, part) = (group / 4, group % 4);
                let low = &block[64 * half + 32 * (part % 2)..][..32];
                let high = &block[128 + 32 * half..][..32];
                for ((code, low), high) in codes.iter_mut().zip(low).zip(high) {
                    let nibble = if part < 2 { low & 15 } else { low >> 4 };
                    *code = nibble | (high >> (2 * part) & 3) << 4;
                }
                let scale = |i: usize| number(208) * f32::from(block[192 + 2 * group + i] as i8);
                let [first, second] = [scale(0), scale(1)].map(about_zero);
                [first[0], second[0]]
            }
        };
        (codes, common)
    }
}

/// Bit 4 of each code, from 32 bits.
fn fifth_bits(codes: &mut [u8; 32], bits: &[u8]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bits[i / 8] >> (i % 8) & 1) << 4;
    }
}

/// The scale and the lowest weight of a group, six bits each, from the twelve bytes of a block of eight groups.
fn six_bits(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let both = packed[group + 4];
        (
            both & 15 | packed[group - 4] >> 6 << 4,
            both >> 4 | packed[group] >> 6 << 4,
        )
    }
}

/// The weights of whole blocks, as they are in the file: the reference for the products.
///
/// # Panics
/// When `blocks` are not whole, or `out` does not fit them.
pub fn dequantize(format: Format, blocks: &[u8], out: &mut [f32]) {
    assert!(
        blocks.len().is_multiple_of(format.bytes())
            && out.len() == blocks.len() / format.bytes() * format.weights(),
        "dequantize: {format:?} of {} bytes into {} weights",
        blocks.len(),
        out.len()
    );
    let blocks = blocks.chunks_exact(format.bytes());
    for (block, out) in blocks.zip(out.chunks_exact_mut(format.weights())) {
        for (group, out) in out.chunks_exact_mut(32).enumerate() {
            let (codes, common) = format.group(block, group);
            for (i, (out, code)) in out.iter_mut().zip(codes).enumerate() {
                let Common { scale, low } = common[i / 16];
                *out = match format.zero() {
                    Some(zero) => scale * (i32::from(code) - zero) as f32,
                    None => scale * f32::from(code) + low,
                };
            }
        }
    }
}
