//! Rotary position embedding (Su et al., "RoFormer", 2021), in the half-split order of Hugging Face's Llama: element i
//! of a head turns with element i + half of those that turn.

use std::sync::{Arc, PoisonError, RwLock};

use crate::lanes::{LANES, Lanes, dispatch};
use crate::pool::parallel_chunks_mut;

/// Positions from here on are computed when they occur instead of being kept in a table.
const KEPT_POSITIONS: usize = 1 << 18;
/// Values handled by one task.
const VALUES_BY_TASK: usize = 16 * 1024;

/// Which elements of a head turn, and how fast: the first `2 · frequencies.len()`, pair i by position · frequencies\[i\].
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    frequencies: Arc<[f64]>,
    amplitude: f64,
}

impl Rotary {
    /// `dim` elements with the frequencies theta^(−2i/dim).
    pub fn new(theta: f32, dim: usize) -> Self {
        let half = dim / 2;
        let frequency = |i: usize| f64::from(theta).powf(-(i as f64) / half as f64);
        Self::from_frequencies((0..half).map(frequency).collect(), 1.0)
    }

    /// Frequencies of any kind; what turns is multiplied by `amplitude` too.
    pub fn from_frequencies(frequencies: Vec<f64>, amplitude: f64) -> Self {
        Self {
            frequencies: frequencies.into(),
            amplitude,
        }
    }

    /// Elements of a head that turn.
    pub fn dim(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// The frequency of each pair, in radians a position.
    pub fn frequencies(&self) -> &[f64] {
        &self.frequencies
    }

    /// By how much what turns is multiplied.
    pub fn amplitude(&self) -> f64 {
        self.amplitude
    }

    /// Cosines, then sines, of a position's angles, computed in f64.
    fn fill(&self, position: u32, out: &mut [f32]) {
        let (cosines, sines) = out.split_at_mut(self.frequencies.len());
        let places = cosines.iter_mut().zip(sines);
        for (&frequency, (cosine, sine)) in self.frequencies.iter().zip(places) {
            let angle = f64::from(position) * frequency;
            *cosine = (angle.cos() * self.amplitude) as f32;
            *sine = (angle.sin() * self.amplitude) as f32;
        }
    }
}

/// For positions 0, 1, …: half as many cosines as elements turn, then as many sines.
struct Table {
    rotary: Rotary,
    values: Vec<f32>,
}

static TABLES: RwLock<Vec<Arc<Table>>> = RwLock::new(Vec::new());

/// A table that reaches at least `positions`, kept for later calls.
fn table(rotary: &Rotary, positions: usize) -> Arc<Table> {
    let dim = rotary.dim();
    let fits =
        |table: &&Arc<Table>| table.rotary == *rotary && table.values.len() >= positions * dim;
    if let Some(table) = TABLES
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .find(fits)
    {
        return Arc::clone(table);
    }
    let mut values = vec![0.0; positions.next_power_of_two() * dim];
    parallel_chunks_mut(&mut values, 64 * dim, |task, out| {
        for (i, out) in out.chunks_exact_mut(dim).enumerate() {
            rotary.fill((task * 64 + i) as u32, out);
        }
    });
    let table = Arc::new(Table {
        rotary: rotary.clone(),
        values,
    });
    let mut tables = TABLES.write().unwrap_or_else(PoisonError::into_inner);
    tables.retain(|old| old.rotary != *rotary);
    tables.push(Arc::clone(&table));
    table
}

/// Rotates `x`, `[rows, heads, head_dim]`, by the position of each row; `inverse` rotates back, which is also the
/// gradient. Elements of a head behind those that turn stay as they are.
///
/// # Panics
/// When nothing turns, more should turn than a head has, or the lengths do not fit each other.
pub fn rope(
    x: &[f32],
    positions: &[u32],
    heads: usize,
    head_dim: usize,
    rotary: &Rotary,
    inverse: bool,
    out: &mut [f32],
) {
    let dim = rotary.dim();
    let width = heads * head_dim;
    assert!(
        (1..=head_dim).contains(&dim),
        "rope: {dim} elements of a head of {head_dim} cannot turn"
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
    let table = table(rotary, kept.map_or(1, |&p| p as usize + 1));
    let rows_by_task = (VALUES_BY_TASK / width).max(1);
    parallel_chunks_mut(out, rows_by_task * width, |task, out| {
        let first = task * rows_by_task;
        let mut far = Vec::new();
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let position = positions[first + i];
            let at = position as usize * dim;
            let angles = if (position as usize) < KEPT_POSITIONS {
                &table.values[at..at + dim]
            } else {
                far.resize(dim, 0.0);
                rotary.fill(position, &mut far);
                &far
            };
            rotate_row(
                &x[(first + i) * width..][..width],
                head_dim,
                angles,
                inverse,
                out,
            );
        }
    });
}

dispatch!(
    fn rotate_row(x: &[f32], head_dim: usize, angles: &[f32], inverse: bool, out: &mut [f32]) = rotate_row_body
);

#[inline(always)]
fn rotate_row_body<V: Lanes>(
    x: &[f32],
    head_dim: usize,
    angles: &[f32],
    inverse: bool,
    out: &mut [f32],
) {
    let half = angles.len() / 2;
    let (cosines, sines) = angles.split_at(half);
    let sign = V::splat(if inverse { -1.0 } else { 1.0 });
    for (x, out) in x.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)) {
        let ((x, still), (out, rest)) = (x.split_at(2 * half), out.split_at_mut(2 * half));
        rest.copy_from_slice(still);
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
