//! A seeded choice of items, the same for every candidate.

use artifact::Seed;
use rand::seq::SliceRandom;

/// `limit` of the indices below `n` in ascending order, chosen by `seed`; all of them when `limit` is 0 or not below `n`.
pub(crate) fn choose(n: usize, limit: usize, seed: Seed) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..n).collect();
    if limit == 0 || limit >= n {
        return indices;
    }
    indices.shuffle(&mut seed.rng());
    indices.truncate(limit);
    indices.sort_unstable();
    indices
}

/// The chosen items of a list.
pub(crate) fn choose_from<T: Clone>(items: &[T], limit: usize, seed: Seed) -> Vec<T> {
    choose(items.len(), limit, seed)
        .into_iter()
        .map(|i| items[i].clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_takes_all() {
        assert_eq!(choose(4, 0, Seed(1)), [0, 1, 2, 3]);
        assert_eq!(choose(4, 9, Seed(1)), [0, 1, 2, 3]);
    }

    #[test]
    fn a_choice_is_distinct_ordered_and_repeatable() {
        let chosen = choose(1_000, 50, Seed(1));
        assert_eq!(chosen.len(), 50);
        assert!(chosen.is_sorted_by(|a, b| a < b));
        assert_eq!(chosen, choose(1_000, 50, Seed(1)));
        assert_ne!(chosen, choose(1_000, 50, Seed(2)));
    }
}
