//! Copying an operand into panels: `width` lanes (rows of A or columns of B) side by side, one group for each word of k.

use crate::lanes::{Lanes, dispatch};

/// What goes into one panel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    /// The values, from the panel's first on.
    pub(crate) data: &'a [f32],
    /// Distance between neighbouring lanes.
    pub(crate) lane_stride: usize,
    /// Distance between neighbouring k.
    pub(crate) k_stride: usize,
    /// Lanes that exist, at most `width`; the others are packed as zeros.
    pub(crate) lanes: usize,
    /// Values of k that exist; a last word is filled up with zeros.
    pub(crate) k: usize,
    /// Lanes in the panel.
    pub(crate) width: usize,
}

dispatch!(
    /// Every value becomes the nearest bf16, ties to even, as f32. NaN stays NaN.
    pub(crate) fn round_to_bf16(values: &mut [f32]) = round_body
);

#[inline(always)]
fn round_body<V: Lanes>(values: &mut [f32]) {
    for value in values {
        let bits = value.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        // Rounding up could carry a NaN's bits into its sign.
        let kept = if value.is_nan() {
            bits | 0x0040_0000
        } else {
            nearest
        };
        *value = f32::from_bits(kept & 0xffff_0000);
    }
}

/// Packs f32 words, on any machine.
pub(crate) fn pack(x: Panel<'_>, out: &mut [f32]) {
    for (p, group) in out.chunks_exact_mut(x.width).take(x.k).enumerate() {
        let at = p * x.k_stride;
        let (lanes, padding) = group.split_at_mut(x.lanes);
        if x.lane_stride == 1 {
            lanes.copy_from_slice(&x.data[at..at + x.lanes]);
        } else {
            for (lane, out) in lanes.iter_mut().enumerate() {
                *out = x.data[at + lane * x.lane_stride];
            }
        }
        padding.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_the_type_does() {
        let mut values = vec![
            f32::NAN,
            -f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
        ];
        values.extend([
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::from_bits(0x7f80_0001),
            1e-45,
        ]);
        values.extend((0..70_000_u32).map(|i| f32::from_bits(i.wrapping_mul(61_489))));
        let expected: Vec<u32> = values
            .iter()
            .map(|&value| half::bf16::from_f32(value).to_f32().to_bits())
            .collect();
        round_to_bf16(&mut values);
        let got: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(got, expected);
    }
}
