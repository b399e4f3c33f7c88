//! Unanswerable: a question of any grounded kind whose subject the context lacks.

use super::{Asked, arithmetic, comparison, lookup, policy, recommendation, summary};
use crate::dice::Dice;
use crate::splits::Split;

/// Draws one; nothing when the draw did not work out.
pub(crate) fn draw(split: Split, d: &mut Dice) -> Option<Asked> {
    match d.below(100) {
        0..42 => lookup::draw(split, false, d),
        42..52 => policy::draw(split, false, d),
        52..66 => comparison::draw(split, false, d),
        66..80 => arithmetic::draw(split, false, d),
        80..92 => recommendation::draw(split, false, d),
        _ => summary::draw(split, false, d),
    }
}
