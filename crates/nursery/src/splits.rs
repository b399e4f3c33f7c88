//! Which entity combinations belong to training and which are held out.
//!
//! The rule is a hash of the combination alone, not of the world's seed: no document of any seed ever shows a
//! combination that some held-out question asks about. Single words (a brand, a first name, a digit) occur on both sides.

use crate::dice::stable_hash;

/// One side of the division of entity combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// May occur in documents, instructions and preferences.
    Training,
    /// Occurs in held-out questions only.
    HeldOut,
}

/// One combination in eight is held out.
const ONE_IN: u64 = 8;

/// The side on which a combination such as "Thalor Drift" or "Mara Lindqvist" lies.
#[must_use]
pub fn split_of(combination: &str) -> Split {
    if stable_hash(0x5eed_0001, combination).is_multiple_of(ONE_IN) {
        Split::HeldOut
    } else {
        Split::Training
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_in_eight_is_held_out() {
        let held = (0..8000)
            .filter(|i| split_of(&format!("Thalor {i}")) == Split::HeldOut)
            .count();
        assert!((850..1150).contains(&held), "{held}");
    }
}
