//! From f32 to the blocks of GGUF files, as llama.cpp's own quantiser does without an importance matrix: the same scales
//! are tried in the same order, so that files of equal weights agree.

use half::f16;

use super::block::Format;
use crate::pool::{Disjoint, parallel_for};

/// Below this, all weights of a group count as zero.
const NOTHING: f32 = 1e-15;
/// Blocks of one task.
const SHARE: usize = 64;

/// Quantises whole blocks of `weights`; the bytes are a function of each block alone.
///
/// # Panics
/// When `weights` is not a whole number of blocks, or `blocks` does not fit them.
pub fn quantize(format: Format, weights: &[f32], blocks: &mut [u8]) {
    let (count, bytes) = (format.weights(), format.bytes());
    assert!(
        weights.len().is_multiple_of(count) && blocks.len() == weights.len() / count * bytes,
        "quantize: {} weights into {} bytes of {format:?}",
        weights.len(),
        blocks.len()
    );
    let number = weights.len() / count;
    let all = Disjoint::new(blocks);
    parallel_for(number.div_ceil(SHARE), |task| {
        let first = task * SHARE;
        let some = SHARE.min(number - first);
        // SAFETY: each task has its own blocks.
        let blocks = unsafe { all.slice(first * bytes, some * bytes) };
        let weights = &weights[first * count..][..some * count];
        for (x, block) in weights
            .chunks_exact(count)
            .zip(blocks.chunks_exact_mut(bytes))
        {
            block.fill(0);
            match format {
                Format::Q4_0 | Format::Q5_0 => about_zero(format, x, block),
                Format::Q4_1 | Format::Q5_1 => from_lowest(format, x, block),
                Format::Q8_0 => eight_bits(x, block),
                Format::Q4K | Format::Q5K => groups_from_lowest(format, x, block),
                Format::Q6K => groups_about_zero(x, block),
            }
        }
    });
}

fn put(block: &mut [u8], at: usize, value: f32) -> f32 {
    let value = f16::from_f32(value);
    block[at..at + 2].copy_from_slice(&value.to_le_bytes());
    value.to_f32()
}

fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.recip() }
}

/// The first weight of the largest magnitude, with its sign.
fn extreme(x: &[f32]) -> f32 {
    let larger = |most: f32, &v: &f32| if most.abs() < v.abs() { v } else { most };
    x.iter().fold(0.0, larger)
}

/// The nearest whole number, within bounds; halves go to even numbers.
fn nearest(x: f32, low: f32, high: f32) -> f32 {
    x.round_ties_even().clamp(low, high)
}

/// Low four bits behind the head of the block, the first half of the weights in low nibbles; fifth bits before them.
fn place(block: &mut [u8], head: usize, fifth: bool, codes: impl Iterator<Item = u8>) {
    let nibbles = if fifth { head + 4 } else { head };
    for (i, code) in codes.enumerate() {
        block[nibbles + i % 16] |= (code & 15) << (4 * (i / 16));
        if fifth {
            block[head + i / 8] |= (code >> 4) << (i % 8);
        }
    }
}

fn about_zero(format: Format, x: &[f32], block: &mut [u8]) {
    let zero = format.zero().unwrap_or(0) as f32;
    let scale = extreme(x) / -zero;
    put(block, 0, scale);
    let inverse = inverse(scale);
    let codes = x
        .iter()
        .map(|v| (v * inverse + zero + 0.5).min(2.0 * zero - 1.0) as u8);
    place(block, 2, format == Format::Q5_0, codes);
}

fn from_lowest(format: Format, x: &[f32], block: &mut [u8]) {
    let low = x.iter().copied().fold(f32::INFINITY, f32::min);
    let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let most = ((1 << format.bits()) - 1) as f32;
    let scale = (high - low) / most;
    put(block, 0, scale);
    put(block, 2, low);
    let inverse = inverse(scale);
    let codes = x
        .iter()
        .map(|v| ((v - low) * inverse + 0.5).min(most) as u8);
    place(block, 4, format == Format::Q5_1, codes);
}

fn eight_bits(x: &[f32], block: &mut [u8]) {
    let scale = extreme(x).abs() / 127.0;
    put(block, 0, scale);
    let inverse = inverse(scale);
    for (v, byte) in x.iter().zip(&mut block[2..]) {
        *byte = ((v * inverse).round() as i8).cast_unsigned();
    }
}

/// Scale and lowest weight (its negative) of 32 weights for codes up to `most`: the pair of the least squares, weighted
/// by magnitude, over roundings at several scales.
fn fit_from_lowest(x: &[f32], most: f32) -> (f32, f32) {
    let squares: f32 = x.iter().fold(0.0, |sum, v| sum + v * v);
    let mean = (squares / 32.0).sqrt();
    let (first, step, steps) = if most > 15.0 {
        (-0.5, 0.1, 15)
    } else {
        (-1.0, 0.1, 20)
    };
    let mut low = x.iter().copied().fold(x[0], f32::min);
    let high = x.iter().copied().fold(x[0], f32::max);
    let (mut sum_w, mut sum_x) = (0.0, 0.0);
    for v in x {
        let w = mean + v.abs();
        sum_w += w;
        sum_x += w * v;
    }
    low = low.min(0.0);
    if high == low {
        return (0.0, -low);
    }
    let inverse = most / (high - low);
    let mut scale = inverse.recip();
    let mut best = x.iter().fold(0.0, |sum, v| {
        let off = scale * nearest(inverse * (v - low), 0.0, most) + low - v;
        sum + (mean + v.abs()) * (off * off)
    });
    // The codes of later tries begin at the lowest weight of the best one before.
    for at in 0..=steps {
        let inverse = (first + step * at as f32 + most) / (high - low);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        let mut codes = [0.0_f32; 32];
        for (v, code) in x.iter().zip(&mut codes) {
            let w = mean + v.abs();
            *code = nearest(inverse * (v - low), 0.0, most);
            sum_l += w * *code;
            sum_l2 += w * *code * *code;
            sum_xl += w * *code * v;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 {
            continue;
        }
        let mut tried = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut tried_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if tried_low > 0.0 {
            tried_low = 0.0;
            tried = sum_xl / sum_l2;
        }
        let off = x.iter().zip(&codes).fold(0.0, |sum, (v, code)| {
            let off = tried * code + tried_low - v;
            sum + (mean + v.abs()) * (off * off)
        });
        if off < best {
            (best, scale, low) = (off, tried, tried_low);
        }
    }
    (scale, -low)
}

fn groups_from_lowest(format: Format, x: &[f32], block: &mut [u8]) {
    let most = if format == Format::Q4K { 15.0 } else { 31.0 };
    let fits: [(f32, f32); 8] =
        std::array::from_fn(|group| fit_from_lowest(&x[32 * group..][..32], most));
    let largest_scale = fits.iter().fold(0.0, |most, fit| f32::max(most, fit.0));
    let largest_low = fits.iter().fold(0.0, |most, fit| f32::max(most, fit.1));
    let share = |largest: f32| if largest > 0.0 { 63.0 / largest } else { 0.0 };
    let scale = put(block, 0, largest_scale / 63.0);
    let low = put(block, 2, largest_low / 63.0);
    let nibbles = if format == Format::Q4K { 16 } else { 48 };
    for (group, fit) in fits.iter().enumerate() {
        let of_scale = nearest(share(largest_scale) * fit.0, 0.0, 63.0) as u8;
        let of_low = nearest(share(largest_low) * fit.1, 0.0, 63.0) as u8;
        let packed = &mut block[4..16];
        if group < 4 {
            packed[group] |= of_scale;
            packed[group + 4] |= of_low;
        } else {
            packed[group + 4] |= of_scale & 15 | (of_low & 15) << 4;
            packed[group - 4] |= of_scale >> 4 << 6;
            packed[group] |= of_low >> 4 << 6;
        }
        let (scale, low) = (scale * f32::from(of_scale), low * f32::from(of_low));
        for (i, v) in x[32 * group..][..32].iter().enumerate() {
            // With no scale any code means the lowest weight.
            let code = if scale == 0.0 {
                0
            } else {
                nearest((v + low) / scale, 0.0, most) as u8
            };
            block[nibbles + 32 * (group / 2) + i] |= (code & 15) << (4 * (group % 2));
            if format == Format::Q5K {
                block[16 + i] |= (code >> 4) << group;
            }
        }
    }
}

/// The scale of 16 weights for codes from -32 to 31: that of the least squares, weighted by the squares of the weights,
/// over roundings at several scales.
fn fit_about_zero(x: &[f32]) -> f32 {
    let extreme = extreme(x);
    if extreme.abs() < NOTHING {
        return 0.0;
    }
    let sums = |inverse: f32| {
        x.iter().fold((0.0, 0.0), |(lx, l2), v| {
            let (code, w) = (nearest(inverse * v, -32.0, 31.0), v * v);
            (lx + w * v * code, l2 + w * code * code)
        })
    };
    let (lx, l2) = sums(-32.0 / extreme);
    let mut scale = if l2 == 0.0 { 0.0 } else { lx / l2 };
    let mut best = scale * lx;
    for step in (-9..=9).filter(|step| *step != 0) {
        let (lx, l2) = sums(-(32.0 + 0.1 * step as f32) / extreme);
        if l2 > 0.0 && lx * lx > best * l2 {
            scale = lx / l2;
            best = scale * lx;
        }
    }
    scale
}

fn groups_about_zero(x: &[f32], block: &mut [u8]) {
    let fits: [f32; 16] = std::array::from_fn(|group| fit_about_zero(&x[16 * group..][..16]));
    let largest = extreme(&fits);
    if largest.abs() < NOTHING {
        return;
    }
    let share = -128.0 / largest;
    let common = put(block, 208, share.recip());
    for (group, fit) in fits.iter().enumerate() {
        let of_scale = nearest(share * fit, -128.0, 127.0);
        block[192 + group] = (of_scale as i8).cast_unsigned();
        let scale = common * of_scale;
        for (i, v) in x[16 * group..][..16].iter().enumerate() {
            let code = if scale == 0.0 {
                32
            } else {
                (nearest(v / scale, -32.0, 31.0) + 32.0) as u8
            };
            // Halves of 128 weights; in each, quarters of 32 share 64 bytes of nibbles and 32 bytes of pairs.
            let (half, at) = ((16 * group + i) / 128, (16 * group + i) % 128);
            let (quarter, column) = (at / 32, at % 32);
            block[64 * half + 32 * (quarter % 2) + column] |= (code & 15) << (4 * (quarter / 2));
            block[128 + 32 * half + column] |= (code >> 4) << (2 * quarter);
        }
    }
}
