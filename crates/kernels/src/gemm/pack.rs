//! Copying an operand into panels: `width` lanes (rows of A or columns of B) side by side, one group for each word of k.

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

/// The nearest bf16, ties to even, as f32. NaN stays NaN.
pub(crate) fn round_to_bf16(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

/// Packs f32 words, on any machine.
pub(crate) fn pack(x: Panel<'_>, rounded: bool, out: &mut [f32]) {
    let round = |value: f32| if rounded { round_to_bf16(value) } else { value };
    for (p, group) in out.chunks_exact_mut(x.width).take(x.k).enumerate() {
        let at = p * x.k_stride;
        let (lanes, padding) = group.split_at_mut(x.lanes);
        if x.lane_stride == 1 {
            lanes
                .iter_mut()
                .zip(&x.data[at..])
                .for_each(|(out, value)| *out = round(*value));
        } else {
            for (lane, out) in lanes.iter_mut().enumerate() {
                *out = round(x.data[at + lane * x.lane_stride]);
            }
        }
        padding.fill(0.0);
    }
}
