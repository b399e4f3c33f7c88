//! A draw from the tempered distribution of the tokens that the filters keep: top-k, then top-p, then min-p, then typical.

use super::ranked;
use crate::Sampling;

/// Weights are added up in blocks of this many.
const BLOCK: usize = 1024;
/// The least share of the likeliest token's weight that the search for the largest ones begins with, and each further step.
const STEP: f32 = 1.0 / 64.0;

/// The token that `uniform`, from 0 to 1, falls on. Without filters tokens lie in order of their ids, else by weight.
pub(super) fn draw(scores: &[f32], sampling: &Sampling, uniform: f64) -> u32 {
    // e^((score − largest) / temperature)
    let mut weights = scores.to_vec();
    tensor::relative_weights_row(&mut weights, 1.0 / sampling.temperature);
    let Sampling {
        top_k,
        top_p,
        min_p,
        typical_p,
        ..
    } = *sampling;
    let of_all = top_k == 0 || top_k >= scores.len();
    if of_all && top_p >= 1.0 && min_p == 0.0 && typical_p >= 1.0 {
        return of_every(&weights, uniform);
    }
    let mut ids = if of_all {
        largest(&weights, f64::from(top_p) * total(&weights), min_p)
    } else {
        ranked(&weights, top_k)
    };
    let of_k: f64 = match of_all {
        true => total(&weights),
        false => ids.iter().map(|id| f64::from(weights[*id as usize])).sum(),
    };
    let (mut sum, mut keep) = (0.0, 0);
    for id in &ids {
        let weight = weights[*id as usize];
        if keep > 0 && (sum >= f64::from(top_p) * of_k || weight < min_p) {
            break;
        }
        sum += f64::from(weight);
        keep += 1;
    }
    ids.truncate(keep);
    // What is forbidden weighs nothing, and must not take what rounding leaves.
    ids.retain(|id| weights[*id as usize] > 0.0);
    if typical_p < 1.0 {
        sum = keep_typical(&mut ids, &weights, sum, f64::from(typical_p));
    }
    let mut rest = uniform * sum;
    for id in &ids {
        rest -= f64::from(weights[*id as usize]);
        if rest < 0.0 {
            return *id;
        }
    }
    ids.last().copied().unwrap_or(0)
}

/// In eight chains side by side, whose order follows from the length alone.
fn total(weights: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (whole, rest) = weights.as_chunks::<8>();
    for weights in whole {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += f64::from(*weight);
        }
    }
    let rest: f64 = rest.iter().map(|weight| f64::from(*weight)).sum();
    sums.iter().sum::<f64>() + rest
}

fn of_every(weights: &[f32], uniform: f64) -> u32 {
    let blocks: Vec<f64> = weights.chunks(BLOCK).map(total).collect();
    let mut rest = uniform * blocks.iter().sum::<f64>();
    let mut last = 0;
    for (block, weights) in weights.chunks(BLOCK).enumerate() {
        if rest >= blocks[block] {
            rest -= blocks[block];
            continue;
        }
        for (id, weight) in weights.iter().enumerate() {
            rest -= f64::from(*weight);
            if *weight > 0.0 {
                last = block * BLOCK + id;
            }
            if rest < 0.0 {
                return last as u32;
            }
        }
        // What rounding left falls on the last that there is.
        return last as u32;
    }
    let last = weights.iter().rposition(|weight| *weight > 0.0);
    last.unwrap_or(0) as u32
}

/// The tokens of largest weight, largest first, equal ones in order of id: at least as many as have the sum `enough`, or as
/// reach `least`. Sorts few of them.
fn largest(weights: &[f32], enough: f64, least: f32) -> Vec<u32> {
    let mut threshold = STEP;
    loop {
        let over = |weight: &f32| *weight >= threshold;
        let sum: f64 = weights
            .iter()
            .filter(|weight| over(weight))
            .map(|weight| f64::from(*weight))
            .sum();
        if sum >= enough || threshold <= least || threshold < f32::MIN_POSITIVE {
            let all = threshold < f32::MIN_POSITIVE;
            let ids = weights
                .iter()
                .enumerate()
                .filter(|(_, weight)| all || over(weight));
            let mut ids: Vec<u32> = ids.map(|(id, _)| id as u32).collect();
            ids.sort_unstable_by(|a, b| {
                weights[*b as usize]
                    .total_cmp(&weights[*a as usize])
                    .then(a.cmp(b))
            });
            return ids;
        }
        threshold *= STEP;
    }
}

/// Keeps the tokens whose information is closest to the entropy, until they have the share `typical_p` of `sum`; returns
/// their sum.
fn keep_typical(ids: &mut Vec<u32>, weights: &[f32], sum: f64, typical_p: f64) -> f64 {
    let share = |id: &u32| f64::from(weights[*id as usize]) / sum;
    let surprise = |id: &u32| -share(id).max(f64::MIN_POSITIVE).ln();
    let entropy: f64 = ids.iter().map(|id| share(id) * surprise(id)).sum();
    let off = |id: &u32| (surprise(id) - entropy).abs();
    ids.sort_by(|a, b| off(a).total_cmp(&off(b)));
    let (mut kept, mut keep) = (0.0, 0);
    while keep < ids.len() && (keep == 0 || kept < typical_p) {
        kept += share(&ids[keep]);
        keep += 1;
    }
    ids.truncate(keep);
    kept * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifact::Seed;
    use rand::RngExt;

    fn counts(sampling: &Sampling) -> [usize; 4] {
        let mut rng = Seed(1).rng();
        let mut counts = [0; 4];
        let scores = [0.125f32, 0.5, 0.125, 0.25].map(f32::ln);
        for _ in 0..4000 {
            counts[draw(&scores, sampling, rng.random()) as usize] += 1;
        }
        counts
    }

    fn sampling() -> Sampling {
        Sampling {
            temperature: 1.0,
            ..Sampling::default()
        }
    }

    #[test]
    fn temperature_one_draws_the_distribution() {
        for top_k in [0, 3000] {
            let [a, b, c, d] = counts(&Sampling {
                top_k,
                ..sampling()
            });
            let all = "a quarter, a half";
            assert!(
                (1850..2150).contains(&b) && (850..1150).contains(&d),
                "{all}: {a} {b} {c} {d}"
            );
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        let kept = |sampling: Sampling| counts(&sampling).map(|count| count > 0);
        let [a, b, _, d] = [0, 1, 2, 3];
        let only = |ids: &[usize]| std::array::from_fn(|i| ids.contains(&i));
        assert_eq!(
            kept(Sampling {
                top_k: 1,
                ..sampling()
            }),
            only(&[b])
        );
        assert_eq!(
            kept(Sampling {
                top_k: 3,
                ..sampling()
            }),
            only(&[a, b, d])
        );
        assert_eq!(
            kept(Sampling {
                top_p: 0.5,
                ..sampling()
            }),
            only(&[b])
        );
        assert_eq!(
            kept(Sampling {
                top_p: 0.6,
                ..sampling()
            }),
            only(&[b, d])
        );
        assert_eq!(
            kept(Sampling {
                min_p: 0.4,
                ..sampling()
            }),
            only(&[b, d])
        );
        // The entropy is 1.75 bits: a token of 2 is closest to it, then one of 1.
        assert_eq!(
            kept(Sampling {
                typical_p: 0.2,
                ..sampling()
            }),
            only(&[d])
        );
        assert_eq!(
            kept(Sampling {
                typical_p: 0.7,
                ..sampling()
            }),
            only(&[b, d])
        );
    }

    #[test]
    fn a_thousand_small_weights_are_as_likely_as_they_are() {
        // Half of the probability on one, the rest on 5,000 others.
        let mut scores = vec![(0.5f32 / 5000.0).ln(); 5001];
        scores[7] = 0.5f32.ln();
        for top_p in [1.0, 0.9999] {
            let sampling = Sampling {
                top_p,
                ..sampling()
            };
            let draws = (0..1000).map(|i| draw(&scores, &sampling, f64::from(i) / 1000.0));
            let hits = draws.filter(|id| *id == 7).count();
            assert!((490..=510).contains(&hits), "{hits} with {top_p}");
        }
    }

    #[test]
    fn a_draw_at_the_end_falls_on_a_token_with_weight() {
        let mut scores = vec![f32::NEG_INFINITY; 3000];
        scores[5] = 0.0;
        scores[1100] = -1.0;
        assert_eq!(draw(&scores, &sampling(), 1.0), 1100);
        assert_eq!(draw(&scores, &sampling(), 0.0), 5);
    }
}
