//! Rotary position embedding (Su et al., "RoFormer", 2021), in the half-split order of Hugging Face's Llama: element i
//! of a head turns with element i + head_dim/2.

use std::sync::{Arc, PoisonError, RwLock};

use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::parallel_chunks_mut;

/// Positions from here on are computed when they occur instead of being kept in a table.
const KEPT_POSITIONS: usize = 1 << 18;
/// Values handled by one task.
const VALUES_BY_TASK: usize = 16 * 1024;

/// For positions 0, 1, …: `half` cosines, then `half` sines each.
struct Table {
    theta: f32,
    half: usize,
    values: Vec<f32>,
}

static TABLES: RwLock<Vec<Arc<Table>>> = RwLock::new(Vec::new());

/// Cosines and sines of position · theta^(−2i/head_dim), computed in f64.
fn fill(position: u32, theta: f32, out: &mut [f32]) {
    let half = out.len() / 2;
    let (cosines, sines) = out.split_at_mut(half);
    for (i, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
        let angle = f64::from(position) * f64::from(theta).powf(-(i as f64) / half as f64);
        *cosine = angle.cos() as f32;
        *sine = angle.sin() as f32;
    }
}

/// A table that reaches at least `positions`, kept for later calls.
fn table(theta: f32, half: usize, positions: usize) -> Arc<Table> {
    let fits = |table: &&Arc<Table>| {
        table.theta.to_bits() == theta.to_bits()
            && table.half == half
            && table.values.len() >= positions * 2 * half
    };
    if let Some(table) = TABLES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .find(fits)
    {
        return Arc::clone(table);
    }
    let mut values = vec![0.0; positions.next_power_of_two() * 2 * half];
    parallel_chunks_mut(&mut values, 64 * 2 * half, |task, out| {
        for (i, out) in out.chunks_exact_mut(2 * half).enumerate() {
            fill((task * 64 + i) as u32, theta, out);
        }
    });
    let table = Arc::new(Table {
        theta,
        half,
        values,
    });
    let mut tables = TABLES.write().unwrap_or_else(PoisonError::into_inner);
    tables.retain(|old| old.theta.to_bits() != theta.to_bits() || old.half != half);
    tables.push(Arc::clone(&table));
    table
}

/// Rotates `x`, `[rows, heads, head_dim]`, by the position of each row; `inverse` rotates back, which is also the
/// gradient.
///
/// # Panics
/// When `head_dim` is odd or zero, or the lengths do not fit each other.
pub fn rope(
    x: &[f32],
    positions: &[u32],
    heads: usize,
    head_dim: usize,
    theta: f32,
    inverse: bool,
    out: &mut [f32],
) {
    let width = heads * head_dim;
    assert!(
        head_dim > 0 && head_dim.is_multiple_of(2),
        "rope: head_dim must be even, got {head_dim}"
    );
    assert_eq!(
        x.len(),
        positions.len() * width,
        "rope: x must be [{}, {heads}, {head_dim}]",
        positions.len()
    );
    assert_eq!(out.len(), x.len(), "rope: out must be as long as x");
    if x.is_empty() {
        return;
    }
    let kept = positions
        .iter()
        .filter(|&&p| (p as usize) < KEPT_POSITIONS)
        .max();
    let table = table(theta, head_dim / 2, kept.map_or(1, |&p| p as usize + 1));
    let rows_by_task = (VALUES_BY_TASK / width).max(1);
    parallel_chunks_mut(out, rows_by_task * width, |task, out| {
        let first = task * rows_by_task;
        let mut far = Vec::new();
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let position = positions[first + i];
            let at = position as usize * head_dim;
            let angles = if (position as usize) < KEPT_POSITIONS {
                &table.values[at..at + head_dim]
            } else {
                far.resize(head_dim, 0.0);
                fill(position, theta, &mut far);
                &far
            };
            rotate_row(&x[(first + i) * width..][..width], angles, inverse, out);
        }
    });
}

dispatch!(fn rotate_row(x: &[f32], angles: &[f32], inverse: bool, out: &mut [f32]) = rotate_row_body);

#[inline(always)]
fn rotate_row_body<V: Lanes>(x: &[f32], angles: &[f32], inverse: bool, out: &mut [f32]) {
    let half = angles.len() / 2;
    let (cosines, sines) = angles.split_at(half);
    let sign = V::splat(if inverse { -1.0 } else { 1.0 });
    for (x, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
        let ((x0, x1), (out0, out1)) = (x.split_at(half), out.split_at_mut(half));
        for i in (0..half).step_by(LANES) {
            let part = i..half.min(i + LANES);
            let load = |values: &[f32]| V::load_part(&values[part.clone()], 0.0);
            let (a, b, cos, sin) = (load(x0), load(x1), load(cosines), load(sines).mul(sign));
            a.mul(cos)
                .sub(b.mul(sin))
                .store_part(&mut out0[part.clone()]);
            b.mul(cos).add(a.mul(sin)).store_part(&mut out1[part]);
        }
    }
}
