//! From a row of logits to a token. A request's draws come from its own random stream, one for each token, so they depend on
//! nothing else that the engine does.

mod draw;
mod dry;
mod penalties;

use artifact::Seed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokenizer::Tokenizer;

use self::dry::Runs;
use self::penalties::Penalties;
use crate::Sampling;

/// Up to so many are ranked in one walk over the vocabulary.
const FEW: usize = 64;

/// A chosen token, with log-probabilities of the model itself.
pub(crate) struct Chosen {
    pub(crate) id: u32,
    pub(crate) logprob: f32,
    pub(crate) top: Vec<(u32, f32)>,
}

/// Chooses the tokens of one answer.
pub(crate) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    penalties: Penalties,
    runs: Option<Runs>,
    scores: Vec<f32>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            rng: Seed(sampling.seed).derive("sampling").rng(),
            penalties: Penalties::default(),
            runs: sampling.dry.clone().map(Runs::new),
            scores: Vec::new(),
            sampling,
        }
    }

    /// Chooses the token behind `tokens`, of which the first `prompt` are the prompt's, from its logits, which are turned into
    /// log-probabilities in place. Only tokens whose bits are set in `allowed` come into question.
    pub(crate) fn choose(
        &mut self,
        logits: &mut [f32],
        (tokens, prompt): (&[u32], usize),
        allowed: Option<&[u32]>,
        report: usize,
        tokenizer: &Tokenizer,
    ) -> Chosen {
        let mut changes = Vec::new();
        self.penalties
            .changes(&self.sampling, logits, tokens, prompt, &mut changes);
        if let Some(runs) = &mut self.runs {
            runs.changes(tokens, tokenizer, &mut changes);
        }
        tensor::log_softmax_row(logits);
        let logprobs = &*logits;
        let changed = !changes.is_empty() || allowed.is_some();
        if changed {
            self.scores.clear();
            self.scores.extend_from_slice(logprobs);
            for (id, change) in changes {
                if let Some(score) = self.scores.get_mut(id as usize) {
                    *score += change;
                }
            }
        }
        if let Some(allowed) = allowed {
            forbid(&mut self.scores, allowed);
        }
        let scores = if changed { &self.scores[..] } else { logprobs };
        let id = if self.sampling.temperature == 0.0 {
            likeliest(scores)
        } else {
            draw::draw(scores, &self.sampling, self.rng.random())
        };
        let top = ranked(logprobs, report).into_iter();
        Chosen {
            id,
            logprob: logprobs[id as usize],
            top: top.map(|id| (id, logprobs[id as usize])).collect(),
        }
    }
}

/// What the model itself says of `id` in a row of logits, with the `report` likeliest beside it.
pub(crate) fn told(logits: &mut [f32], id: u32, report: usize) -> Chosen {
    tensor::log_softmax_row(logits);
    let top = ranked(logits, report).into_iter();
    Chosen {
        id,
        logprob: logits[id as usize],
        top: top.map(|id| (id, logits[id as usize])).collect(),
    }
}

/// Takes the tokens out of question whose bits are not set.
fn forbid(scores: &mut [f32], allowed: &[u32]) {
    for (word, scores) in scores.chunks_mut(32).enumerate() {
        let word = allowed.get(word).copied().unwrap_or(0);
        if word == u32::MAX {
            continue;
        }
        for (bit, score) in scores.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// The first of the likeliest tokens.
pub(crate) fn likeliest(scores: &[f32]) -> u32 {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter().position(|score| *score == best).unwrap_or(0) as u32
}

/// The `count` likeliest tokens, likeliest first, equal ones in order of id.
fn ranked(scores: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(scores.len());
    if count == 0 {
        return Vec::new();
    }
    let order = |a: &u32, b: &u32| {
        scores[*b as usize]
            .total_cmp(&scores[*a as usize])
            .then(a.cmp(b))
    };
    let mut ids: Vec<u32> = Vec::with_capacity(count.min(FEW) + 1);
    if count <= FEW {
        let mut least = f32::NEG_INFINITY;
        for (id, score) in scores.iter().enumerate() {
            if *score > least || ids.len() < count {
                let id = id as u32;
                let at = ids.partition_point(|other| order(other, &id).is_lt());
                ids.insert(at, id);
                ids.truncate(count);
                if ids.len() == count {
                    least = scores[ids[count - 1] as usize];
                }
            }
        }
        return ids;
    }
    ids.extend(0..scores.len() as u32);
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, order);
        ids.truncate(count);
    }
    ids.sort_unstable_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_same_for_few_and_for_many() {
        let scores: Vec<f32> = (0..500u32).map(|i| (i * 7919 % 101) as f32).collect();
        let mut all: Vec<u32> = (0..500).collect();
        all.sort_by(|a, b| {
            scores[*b as usize]
                .total_cmp(&scores[*a as usize])
                .then(a.cmp(b))
        });
        for count in [0, 1, 5, 64, 65, 300, 500, 900] {
            assert_eq!(ranked(&scores, count), all[..count.min(500)], "{count}");
        }
    }

    #[test]
    fn the_first_of_equals_is_the_likeliest_and_logprobs_are_told() {
        let mut logits = [0.0f32, 2.0, 2.0];
        assert_eq!(likeliest(&logits), 1);
        let chosen = told(&mut logits, 1, 2);
        assert_eq!(
            (chosen.top.len(), chosen.top[0].0, chosen.top[1].0),
            (2, 1, 2)
        );
        let expected = -(2.0 + (-2.0f32).exp()).ln();
        assert!((chosen.logprob - expected).abs() < 1e-6);
    }

    #[test]
    fn forbidden_tokens_are_out_of_question() {
        let mut scores = vec![1.0; 70];
        forbid(&mut scores, &[u32::MAX, 0b100]);
        let left: Vec<usize> = (0..70).filter(|i| scores[*i] == 1.0).collect();
        assert_eq!(left, (0..32).chain([34]).collect::<Vec<_>>());
    }
}
