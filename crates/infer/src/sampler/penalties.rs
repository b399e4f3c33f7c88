//! Penalties by what stands in the prompt and the answer, and biases.

use std::collections::{BTreeMap, BTreeSet};

use crate::Sampling;

/// What stands in a sequence, as far as it was counted.
#[derive(Debug, Default)]
pub(super) struct Penalties {
    counted: usize,
    /// Tokens of the prompt and the answer.
    seen: BTreeSet<u32>,
    /// How often each stands in the answer.
    answer: BTreeMap<u32, u32>,
}

impl Penalties {
    /// By how much the logits of tokens change.
    pub(super) fn changes(
        &mut self,
        sampling: &Sampling,
        logits: &[f32],
        tokens: &[u32],
        prompt: usize,
        changes: &mut Vec<(u32, f32)>,
    ) {
        let Sampling {
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            ..
        } = *sampling;
        changes.extend(sampling.logit_bias.iter().map(|(id, bias)| (*id, *bias)));
        let repetition = repetition_penalty != 1.0;
        if !repetition && presence_penalty == 0.0 && frequency_penalty == 0.0 {
            return;
        }
        for (at, id) in tokens.iter().enumerate().skip(self.counted) {
            self.seen.insert(*id);
            if at >= prompt {
                *self.answer.entry(*id).or_default() += 1;
            }
        }
        self.counted = tokens.len();
        for id in self.seen.iter().filter(|_| repetition) {
            let logit = logits.get(*id as usize).copied().unwrap_or(0.0);
            let punished = if logit > 0.0 {
                logit / repetition_penalty
            } else {
                logit * repetition_penalty
            };
            changes.push((*id, punished - logit));
        }
        for (id, count) in &self.answer {
            changes.push((*id, -presence_penalty - frequency_penalty * *count as f32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_what_it_says() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            logit_bias: [(9, -100.0)].into(),
            ..Sampling::default()
        };
        let mut penalties = Penalties::default();
        let mut changes = Vec::new();
        let logits = [1.0, -1.0, 4.0, 4.0];
        penalties.changes(&sampling, &logits, &[0, 1, 2], 2, &mut changes);
        assert_eq!(
            changes,
            [(9, -100.0), (0, -0.5), (1, -1.0), (2, -2.0), (2, -0.75)]
        );
        changes.clear();
        penalties.changes(&sampling, &logits, &[0, 1, 2, 2], 2, &mut changes);
        assert_eq!(changes[4], (2, -1.0));
    }
}
