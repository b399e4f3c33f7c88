//! From a row of logits to a token.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::Sampling;

/// A chosen token, with log-probabilities of the model itself.
pub(crate) struct Chosen {
    pub(crate) id: u32,
    pub(crate) logprob: f32,
    pub(crate) top: Vec<(u32, f32)>,
}

/// Chooses a token from its logits, which are turned into log-probabilities in place.
pub(crate) fn choose(
    logits: &mut [f32],
    sampling: &Sampling,
    rng: &mut ChaCha8Rng,
    report: usize,
) -> Chosen {
    tensor::log_softmax_row(logits);
    let logprobs = &*logits;
    let id = if sampling.temperature == 0.0 {
        likeliest(logprobs)
    } else {
        draw(logprobs, sampling, rng)
    };
    let top = ranked(logprobs, report)
        .into_iter()
        .map(|id| (id, logprobs[id as usize]))
        .collect();
    Chosen {
        id,
        logprob: logprobs[id as usize],
        top,
    }
}

/// The first of the likeliest tokens.
fn likeliest(logprobs: &[f32]) -> u32 {
    let mut best = 0;
    for (id, &logprob) in logprobs.iter().enumerate() {
        if logprob > logprobs[best] {
            best = id;
        }
    }
    best as u32
}

/// The `count` likeliest tokens, likeliest first, equal ones in order of id.
fn ranked(logprobs: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(logprobs.len());
    let mut ids: Vec<u32> = (0..logprobs.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        logprobs[*b as usize]
            .total_cmp(&logprobs[*a as usize])
            .then(a.cmp(b))
    };
    if count == 0 {
        return Vec::new();
    }
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

/// A draw from the tempered distribution of the tokens that the filters keep.
fn draw(logprobs: &[f32], sampling: &Sampling, rng: &mut ChaCha8Rng) -> u32 {
    let kept = if sampling.top_k == 0 {
        logprobs.len()
    } else {
        sampling.top_k
    };
    let ids = ranked(logprobs, kept);
    let peak = logprobs[ids[0] as usize];
    let weight = |id: u32| f64::from((logprobs[id as usize] - peak) / sampling.temperature).exp();
    let mut weights: Vec<f64> = ids.iter().map(|&id| weight(id)).collect();
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let mut keep = 0;
    for weight in &weights {
        let enough = sum >= f64::from(sampling.top_p) * total;
        if keep > 0 && (enough || *weight < f64::from(sampling.min_p)) {
            break;
        }
        sum += weight;
        keep += 1;
    }
    weights.truncate(keep);
    let mut rest = rng.random::<f64>() * sum;
    for (id, weight) in ids.iter().zip(&weights) {
        rest -= weight;
        if rest < 0.0 {
            return *id;
        }
    }
    ids[keep - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifact::Seed;

    fn counts(sampling: &Sampling) -> [usize; 4] {
        let mut rng = Seed(1).rng();
        let mut counts = [0; 4];
        for _ in 0..4000 {
            let mut logits = [0.5f32, 0.25, 0.125, 0.125].map(f32::ln);
            counts[choose(&mut logits, sampling, &mut rng, 0).id as usize] += 1;
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
        let [a, b, c, d] = counts(&sampling());
        assert!(
            (1850..2150).contains(&a) && (850..1150).contains(&b),
            "{a} {b} {c} {d}"
        );
    }

    #[test]
    fn filters_keep_what_they_say() {
        assert_eq!(
            counts(&Sampling {
                top_k: 1,
                ..sampling()
            }),
            [4000, 0, 0, 0]
        );
        assert_eq!(
            counts(&Sampling {
                top_p: 0.5,
                ..sampling()
            }),
            [4000, 0, 0, 0]
        );
        let [_, b, c, d] = counts(&Sampling {
            top_p: 0.6,
            ..sampling()
        });
        assert!(b > 0 && c == 0 && d == 0);
        let [_, b, c, d] = counts(&Sampling {
            min_p: 0.4,
            ..sampling()
        });
        assert!(b > 0 && c == 0 && d == 0);
    }

    #[test]
    fn greedy_takes_the_first_of_equals_and_reports_logprobs() {
        let mut logits = [0.0f32, 2.0, 2.0];
        let chosen = choose(&mut logits, &Sampling::default(), &mut Seed(1).rng(), 2);
        assert_eq!(
            (
                chosen.id,
                chosen.top.len(),
                chosen.top[0].0,
                chosen.top[1].0
            ),
            (1, 2, 1, 2)
        );
        let expected = -(2.0 + (-2.0f32).exp()).ln();
        assert!((chosen.logprob - expected).abs() < 1e-6);
    }
}
