//! What this machine can do at best, to hold the kernels' rates against.

use std::time::{Duration, Instant};

use super::Precision;
use super::engine::Engine;
use super::tile::Block;
use crate::pool::{parallel_for, threads};
use crate::scratch::scratch;

/// Values of k in a tile.
const K: usize = 256;
/// Tiles between two looks at the clock.
const TILES: usize = 256;
/// How long each thread computes.
const TIME: Duration = Duration::from_millis(60);

/// Floating-point operations a second of all threads on tiles whose operands are in the first-level cache: what a product
/// could reach if it never waited for memory.
#[must_use]
pub fn peak(precision: Precision) -> f64 {
    let engine = Engine::choose(precision);
    let (height, width, words) = (engine.panel_rows(), engine.panel_cols(), engine.words(K));
    let rates: Vec<std::sync::Mutex<f64>> = (0..threads()).map(|_| 0.0.into()).collect();
    parallel_for(rates.len(), |thread| {
        let (mut a, mut b) = (scratch(words * height), scratch(words * width));
        a.fill(0.0);
        b.fill(0.0);
        let mut c = scratch(height * width);
        let (begin, mut tiles) = (Instant::now(), 0);
        while begin.elapsed() < TIME {
            for _ in 0..TILES {
                engine.block(&Block {
                    words,
                    a: &a,
                    b: &b,
                    c: c.as_mut_ptr(),
                    c_row: width,
                    rows: height,
                    cols: width,
                    add: false,
                    bias: None,
                });
            }
            tiles += TILES;
        }
        let operations = 2.0 * (tiles * height * width * K) as f64;
        if let Ok(mut rate) = rates[thread].lock() {
            *rate = operations / begin.elapsed().as_secs_f64();
        }
    });
    rates
        .into_iter()
        .filter_map(|rate| rate.into_inner().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_computes() {
        assert!(peak(Precision::F32) > 0.0 && peak(Precision::Bf16) > 0.0);
    }
}
